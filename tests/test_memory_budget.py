"""Training within a number of bytes: what is chosen, what it changes, and a limit of the operating system."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.bench import steps
from bitlearn.nn import Savings
from bitlearn.ops.dispatch import thread_scratch
from bitlearn.training import budget as budgets

NETWORK = {"filters": (64, 64, 64, 64), "dense": (64,)}


def network(precision: str = "low-memory") -> bl.nn.Model:
    return bl.models.binarynet(precision=precision, **NETWORK)


def planned(limit, narrow=(), precision="low-memory") -> bl.training.Plan:
    return bl.training.plan(network(precision), bl.optim.adam(), 32, limit, narrow=narrow)


def test_a_large_budget_saves_nothing():
    found = planned("1 GiB")
    assert (found.precision.name, found.savings, found.cost) == ("low-memory", Savings(), 1.0)
    assert found.nbytes == sum(count for _, count in found.rows) <= found.budget == 2**30


def test_a_smaller_budget_takes_more_time_and_then_fewer_bits():
    plain = planned("1 GiB")
    tight = planned(int(0.75 * plain.nbytes))
    assert tight.nbytes <= tight.budget and tight.cost > 1 and tight.precision == plain.precision
    with pytest.raises(ValueError, match=r"memory_budget must be at least (\d+) bytes") as refused:
        planned(2**20)
    text = str(refused.value)
    assert "working memory of a step" in text and "without narrow=['moments', 'gradients', 'statistics']" in text
    least = int(str(refused.value).split("at least ")[1].split()[0])
    assert planned(least).nbytes == least
    with pytest.raises(ValueError, match="memory_budget must be at least"):
        planned(least - 1)
    narrower = planned(least - 1, ["moments", "gradients"])
    assert narrower.nbytes < least and narrower.precision.moments == np.int8
    with pytest.raises(ValueError, match="must contain only moments, gradients and statistics, got 'weights'"):
        planned(least, ["weights"])
    with pytest.raises(ValueError, match="memory_budget must be bytes, or a number of KiB or MiB, got 'much'"):
        planned("much")


def test_sums_before_a_batch_norm_are_formed_again_where_its_gradient_needs_them():
    plain = planned("1 GiB", precision="float16-sign")
    tight = planned(plain.nbytes * 7 // 8, precision="float16-sign")
    assert not plain.savings.recompute and tight.savings.recompute
    assert tight.precision == plain.precision and tight.nbytes <= tight.budget
    assert not planned(planned("1 GiB").nbytes * 7 // 8).savings.recompute  # low-memory needs none


def blocks_on_bits() -> bl.nn.Model:
    """Return three blocks of convolutions of bits, of which some variants recode the weights."""
    layers = [layer for _ in range(3) for layer in (bl.nn.BinaryConv2d(128, padding="same"), bl.nn.BatchNormSign())]
    inputs = bl.nn.Spec.bits((4, 4, 128))
    return bl.nn.Model([*layers, bl.nn.Flatten(), bl.nn.Linear(10)], inputs, precision="low-memory")


def test_products_that_run_again_cost_operations_in_every_form_of_their_weights():
    """Sums formed anew are four more passes of the forward products, which recoded panels take part in too."""

    def more(variant: str) -> int:
        with bl.use_backend(variant):
            plain, anew = (
                budgets.operations(budgets.record_step(blocks_on_bits(), bl.optim.sgd(), 178, savings))
                for savings in (Savings(), Savings(keep=1))
            )
        return anew - plain

    wanted = more("reference")
    assert wanted > 0
    for variant in variants():
        assert more(variant) == pytest.approx(wanted, rel=0.05), variant


def test_some_sums_at_a_time_come_before_sums_that_are_formed_anew():
    """An update of latent replay: what fits with a layer's sums whole does not run its products four times."""
    name = steps.QUANTIZED.name
    found = bl.training.plan(steps.model(steps.REPLAYED, name), steps.optimizer("sgd", name), 178, "15.5 MiB")
    assert found.savings.keep is None and found.cost < 1.05
    anew = budgets.record_step(
        steps.model(steps.REPLAYED, name), steps.optimizer("sgd", name), 178, replace(found.savings, keep=1)
    )
    whole = budgets.record_step(steps.model(steps.REPLAYED, name), steps.optimizer("sgd", name), 178, found.savings)
    assert budgets.operations(anew) > 1.2 * budgets.operations(whole)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_a_plan_makes_and_changes_nothing(optimizer):
    model, rule = network(), bl.optim.OPTIMIZERS[optimizer]()
    before = {name: array.copy() for name, array in model.state().items()}
    found = bl.training.plan(model, rule, 32, "1 GiB")
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
    # What lasts is what a trainer really has.
    program = bl.training.Trainer(model, rule).record(32).program
    rows = dict(found.rows)
    assert rows["weights, statistics, moments"] == sum(buffer.nbytes for buffer in program.outside)
    assert rows["working memory of a step"] == program.nbytes
    assert budgets.operations(program) > 32 * 32 * 32 * 64 * 64 * 9 / 64


def test_a_plan_counts_what_threads_keep_for_large_products():
    """Only variants with tables or tiles keep anything, and a network too small for them leaves it alone."""
    tiny = bl.models.mlp((4,), 2, hidden=(8,), precision="low-memory")
    for variant in variants():
        with bl.use_backend(variant):
            each = thread_scratch("grad_weight")
            found = dict(planned("1 GiB").rows)["scratch of kernels"]
            assert found == bl.get_num_threads() * each, variant
            assert dict(bl.training.plan(tiny, bl.optim.sgd(), 8, "1 GiB").rows)["scratch of kernels"] == 0
        assert (each > 0) == (variant in ("cext:amx", "cext:avx512")), variant


def test_training_within_a_budget_gives_the_same_bits():
    data, held_out = small.examples("binarynet", 70), small.examples("binarynet", 20, seed=12)
    options = bl.training.Options(epochs=2, batch_size=32, seed=1)
    free, bound = (network() for _ in range(2))
    bl.training.fit(free, bl.optim.adam(), data, options, validation=held_out)
    with pytest.raises(ValueError, match="memory_budget must be at least") as refused:
        bl.training.plan(bound, bl.optim.adam(), 32, 1, validation=True, partial=True)
    least = int(str(refused.value).split("at least ")[1].split()[0])
    told = []

    class Told(bl.training.Hook):
        def on_plan(self, plan):
            told.append(plan)

    result = bl.training.fit(
        bound, bl.optim.adam(), data, options, validation=held_out, memory_budget=least, hooks=Told()
    )
    assert told == [result.plan] and result.plan.savings != Savings() and result.plan.nbytes <= least
    for name, array in free.state().items():
        np.testing.assert_array_equal(array, bound.state()[name])


LIMITED = """
import resource, sys
import numpy as np
import bitlearn as bl
from bitlearn.memory import PeakMeter
rng = np.random.default_rng(0)
x = rng.integers(0, 256, (96, 32, 32, 3), dtype=np.uint8)
data = bl.datasets.Examples(x, rng.integers(0, 10, 96), bl.datasets.prepare(x))
options = bl.training.Options(epochs=1, batch_size=48)
model = bl.models.binarynet(precision="low-memory", filters=(128, 128, 128, 128), dense=(128,))
weights = sum(array.nbytes for array in model.parameters().values())
def fit(**more):
    bl.training.fit(model, bl.optim.adam(), data, options, validation=data[:20], **more)
tiny = bl.models.mlp((4,), 2, hidden=(8,), precision="low-memory")  # what is loaded late is loaded now
bl.training.fit(tiny, bl.optim.adam(), bl.datasets.Examples(x[:8, 0, 0, :1].repeat(4, 1), np.arange(8) % 2,
    bl.datasets.prepare(x[:8, 0, 0, :1].repeat(4, 1))), bl.training.Options(epochs=1, batch_size=4))
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
meter = PeakMeter()
resource.setrlimit(resource.RLIMIT_AS, (now + BYTES - weights, resource.RLIM_INFINITY))
try:
    with meter:
        fit(**MORE)
    print("done", meter.peak_bytes + weights)
except MemoryError:
    print("no room")
"""


def limited(limit: int, more: dict) -> list[str]:
    code = LIMITED.replace("BYTES", str(limit)).replace("MORE", repr(more))
    environment = os.environ | {"BITLEARN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the address space is Linux's")
@pytest.mark.skipif(not bl.which("grad_input").startswith("cext"), reason="Numba compiles within the limit")
def test_training_stays_within_a_limit_of_the_operating_system():
    """A step that saves nothing does not fit; the planned one does, and so does what it says it needs."""
    model = bl.models.binarynet(precision="low-memory", filters=(128, 128, 128, 128), dense=(128,))
    plain = bl.training.plan(model, bl.optim.adam(), 48, "1 GiB", validation=True)
    work = dict(plain.rows)
    limit = int(work["weights, statistics, moments"] + 0.9 * work["working memory of a step"])
    # malloc asks for its heap in pieces of its own.
    slack = 2**20
    kept = limited(limit + slack, {"memory_budget": limit})
    assert kept[0] == "done" and int(kept[1]) <= limit
    assert limited(limit + slack, {}) == ["no", "room"]


def test_what_may_be_narrowed_is_one_word_or_several():
    model, rule = bl.models.mlp((28, 28, 1), hidden=(1024, 1024), precision="low-memory"), bl.optim.adam()
    least = bl.training.plan(model, rule, 32, "1 GiB").nbytes - 2**20
    one, several = (bl.training.plan(model, rule, 32, least, narrow=each) for each in ("moments", ["moments"]))
    assert one == several and one.precision != model.precision
    with pytest.raises(ValueError, match="narrow must contain only moments, gradients and statistics, got 'weights'"):
        bl.training.plan(model, rule, 32, least, narrow="weights")


def test_command(tmp_path, capsys):
    from bitlearn.cli import main

    arguments = ["train", "--precision", "low-memory", "--epochs", "1", "--max-steps", "2", "--seed", "3"]
    out = tmp_path / "found.json"
    assert main([*arguments, "--memory-budget", "8 MiB", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["memory_plan"]["bytes"] == found["peak_bytes_predicted"] <= 8 * 2**20
    shown = capsys.readouterr()
    assert "memory plan" in shown.out
    # Before the first step, not only at the end.
    assert shown.err.startswith("low-memory: ") and found["memory_plan"]["text"] in shown.err
    assert main([*arguments, "--memory-budget", "10 KiB"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory_budget must be at least" in line
    # A table on one line: what a row says is told apart from the next.
    assert re.search(r"The smallest configuration: low-memory: .*; working memory of a step [\d,]+ bytes; ", line)
    narrow = ["--memory-budget", str(found["memory_plan"]["bytes"] - 2**16), "--narrow", "moments"]
    assert main([*arguments, *narrow, "--json", str(out)]) == 0
    narrowed = json.loads(out.read_text())  # the policy that it was trained under
    assert narrowed["precision"] == narrowed["memory_plan"]["precision"]
    capsys.readouterr()
    assert main([*arguments, "--narrow", "moments"]) == 2
    assert "--narrow needs --memory-budget SIZE" in capsys.readouterr().err
