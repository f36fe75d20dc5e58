"""What a recorded step says of its memory, and what is measured of it."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np
import pytest
from small import APART

import bitlearn as bl
from bitlearn import memory
from bitlearn.cli import memory as command
from bitlearn.memory import meter as meters
from bitlearn.memory import recorded
from bitlearn.training import Trainer

MIB = 2.0**20


@pytest.fixture(autouse=True)
def without_tiles(monkeypatch):
    """What is compared here is the record's memory; one test is of what threads keep for tiles."""
    monkeypatch.setattr(recorded, "which", lambda kernel, shape=None: "cext:avx512")


def test_what_threads_keep_for_tiles_is_counted(monkeypatch):
    model, rule = bl.models.mlp((8,), 2, hidden=(8,)), bl.optim.adam()
    before = sum(row.bytes for row in memory.predict(model, rule, 4))
    monkeypatch.setattr(recorded, "which", lambda kernel, shape=None: "cext:amx")
    monkeypatch.setattr(recorded, "thread_scratch", lambda kernel: 1000)
    monkeypatch.setattr(recorded, "get_num_threads", lambda: 2)
    rows = memory.predict(model, rule, 4)
    assert sum(row.bytes for row in rows) == before + 2000
    # Beside the scratch of kernels that the record knows, under one name.
    assert memory.Row("scratch", "persistent", "uint8", 2000) in rows


def test_a_prediction_of_a_planned_step():
    model, rule = bl.models.mlp((28, 28, 1), hidden=(64, 64), precision="low-memory"), bl.optim.adam()
    savings = bl.nn.Savings(2**14, 2**12, True, True)
    program = bl.training.Trainer(model, rule, savings=savings).record(32).program
    rows = memory.predict(model, rule, 32, savings=savings)
    assert rows == recorded.rows_of(program) != memory.predict(model, rule, 32)
    energy = bl.energy.predict(model, rule, 32, savings=savings)
    assert energy == bl.energy.of_program(program) and energy != bl.energy.predict(model, rule, 32)


def small(name: str, precision: str, head: str = "binary") -> bl.nn.Model:
    """A network of the kind, with small layers."""
    if name == "mlp":
        return bl.models.mlp((16, 16, 1), hidden=(128, 128), head=head, precision=precision)
    if name in ("resnete18", "birealnet18"):
        return bl.models.build(name, (16, 16, 3), 10, width=16, blocks=(1, 1), stem="7x7", precision=precision)
    return bl.models.build(name, (32, 32, 3), 10, filters=(16, 16, 64, 64), dense=(64,), head=head, precision=precision)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory", *APART])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mlp", "binary"),
        ("mlp", "real"),
        ("cnv", "binary"),
        ("binarynet", "real"),
        ("resnete18", "real"),
        ("birealnet18", "real"),
    ],
)
def test_rows_add_up_to_the_arena_and_what_lies_outside(name, head, optimizer, precision):
    model, rule = small(name, precision, head), bl.optim.OPTIMIZERS[optimizer]()
    before = {key: array.copy() for key, array in model.state().items()}
    rows = memory.predict(model, rule, 6)
    program = recorded.record(model, rule, 6)
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, before[key])
    assert sum(row.bytes for row in rows) == program.nbytes + sum(buffer.nbytes for buffer in program.outside)
    assert all(row.bytes > 0 for row in rows) and len({(row.variable, row.lifetime) for row in rows}) == len(rows)
    # No call has more alive than the arena holds, and the one that is shown has the most.
    alive = [sum(buffer.nbytes for buffer in program.alive(call)) for call in range(len(program.calls))]
    shown = sum(row.bytes for row in rows if row.lifetime != "persistent" and row.variable != "gaps")
    assert shown == max(alive) <= program.nbytes <= 1.1 * max(alive) + 4096


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [
        # Both gradients of weights until now are kept, in float32, and the sums of the first layer as int32.
        ("standard", {"X": 32 * 8, "Y": 32 * 128 * 4, "STE mask": 32 * 16, "dW": (4 * 64 + 64 * 128) * 4}),
        # One gradient at a time, of exact sums.
        ("int8", {"X": 32 * (8 + 16), "Y": 32 * 128 * 4, "STE mask": 32 * 16, "dW": 64 * 128 * 4, "dX": 32 * 64}),
        # No sums of the first layer: its l1 norm keeps signs, which are the second layer's input.
        ("low-memory", {"X": 32 * (8 + 16), "STE mask": 32 * 16, "dX": 32 * (128 + 64) * 2}),
    ],
)
def test_what_is_alive_in_the_second_layers_backward_pass(precision, wanted):
    """Of an mlp 8-128-64-4, counted by hand: that is where a step needs the most."""
    model = bl.models.mlp((8,), 4, hidden=(128, 64), precision=precision)
    program = recorded.record(model, bl.optim.adam(), 32)
    call = program.calls[program.fullest()[0]]
    assert (call.path, call.phase) == ("linear2", "backward")
    rows = {row.variable: row.bytes for row in memory.predict(model, bl.optim.adam(), 32)}
    assert {name: rows.get(name) for name in wanted} == wanted
    assert ("Y" in rows) == ("Y" in wanted)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_persistent_rows_are_the_arrays(optimizer, precision):
    model, rule = small("cnv", precision, "real"), bl.optim.OPTIMIZERS[optimizer]()
    rows = Counter()
    for row in memory.predict(model, rule, 4):
        if row.lifetime == "persistent":
            rows[row.variable] += row.bytes
    state, parameters = Trainer(model, rule).state, model.parameters()
    wanted = {
        "W": sum(array.nbytes for name, array in parameters.items() if name.endswith("weight")),
        "beta": sum(array.nbytes for name, array in parameters.items() if name.endswith("bias")),
        "running statistics": sum(array.nbytes for array in model.statistics().values()),
        "momenta": sum(array.nbytes for array in state.values() if array.ndim),
    }
    assert {name: rows.pop(name) for name in wanted} == wanted
    assert set(rows) <= {"coefficients", "constants", "finite", "random keys"}


@bl.nn.register
class Scale(bl.nn.Layer):
    """A user's layer: real values times a trained factor a channel, all in Python."""

    kind = "scale"

    def infer(self, spec):
        return spec

    def build(self, seed):
        self.factor = np.ones(self.spec.channels, dtype=np.float32)

    def parameters(self):
        return {"factor": self.factor}

    def settings(self):
        return {}

    def forward(self, step, x):
        y = step.empty("scaled", x.array.shape, np.float32)
        step.run(
            lambda x, w, y: np.multiply(x, w, out=y), x.array, step.constant(self.factor, "factors of one's own"), y
        )
        return bl.nn.Value(step, self.output, y), x.array

    def backward(self, step, cache, grad, *, wanted):
        values = step.empty("gradient of a factor", (1, self.spec.channels), np.float32)
        step.run(lambda d, s, x, out: out.fill(0), grad.values, grad.scale, cache, values)
        step.gradient("factor", bl.nn.ParameterGradient(values.reshape(self.spec.channels)))
        return grad

    def predict(self, step, arrays, x):
        raise NotImplementedError


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_layer_of_ones_own_counts(precision):
    batch, width = 16, 96

    def rows(own):
        layers = [bl.nn.BinaryLinear(width), bl.nn.BatchNorm(), *own, bl.nn.Sign(), bl.nn.Linear(4)]
        model = bl.nn.Model(layers, (8,), precision=precision)
        Trainer(model, bl.optim.sgd()).step(np.ones((batch, 8), np.int8), np.arange(batch) % 4, 0.1)
        return Counter({(r.variable, r.lifetime): r.bytes for r in memory.predict(model, bl.optim.sgd(), batch)})

    without, found = rows([]), rows([Scale()])
    assert found["factors of one's own", "persistent"] == 4 * width
    assert found["momenta", "persistent"] - without["momenta", "persistent"] == 4 * width  # a velocity a factor
    peaks = memory.by_variable(
        bl.nn.Model([bl.nn.BinaryLinear(width), bl.nn.BatchNorm(), Scale()], (8,), precision=precision),
        bl.optim.sgd(),
        batch,
    )
    assert peaks["scaled"] == 4 * batch * width and peaks["gradient of a factor"] == 4 * width
    assert found.total() > without.total() + 8 * width


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory", *APART])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_the_most_of_each_variable(name, precision):
    model, rule = small(name, precision), bl.optim.adam()
    rows = Counter()
    for row in memory.predict(model, rule, 8):
        rows[row.variable] += row.bytes
    peaks = memory.by_variable(model, rule, 8)
    assert set(rows) - {"gaps"} <= set(peaks)
    assert all(peaks[name] >= count for name, count in rows.items() if name != "gaps")
    words = {key: layer.inference()["words"] for key, layer in model.items() if "words" in layer.inference()}
    assert peaks["packed W"] >= max(array.nbytes for array in words.values())
    if precision == "low-memory":  # one sign a weight, of one layer at a time
        assert peaks["dW"] < 2 * max(array.nbytes for array in words.values())


def test_honest_accounting_compares_the_policies_of_this_library():
    found = memory.account("mlp", 100, "adam", "honest")
    for side, precision in ((found.standard_bytes, "standard"), (found.low_memory_bytes, "low-memory")):
        model = bl.models.mlp(precision=precision)
        assert side == sum(row.bytes for row in memory.predict(model, bl.optim.adam(), 100))
    assert found.ratio == found.standard_bytes / found.low_memory_bytes
    with pytest.raises(ValueError, match="a batch norm must get at least 2 values per channel in training, got 1"):
        memory.predict(model, bl.optim.adam(), 1)


def test_a_network_that_is_not_there():
    for accounting in memory.ACCOUNTINGS:
        with pytest.raises(ValueError, match=r"model must be one of mlp, .* got 'alexnet'"):
            memory.account("alexnet", 100, "adam", accounting)


def test_an_upper_part_is_measured_on_packed_bits():
    _, upper = small("cnv", "low-memory", "real").split("sign2")
    rows = memory.predict(upper, bl.optim.sgd(), 8)
    peaks = memory.by_variable(upper, bl.optim.sgd(), 8)
    assert peaks["X"] >= 8 * 28 * 28 * 8  # the bits behind sign2: 16 channels take a word
    assert sum(row.bytes for row in rows) >= max(peaks.values())
    assert memory.peak(upper, bl.optim.sgd(), 8, steps=1).peak_bytes >= 0


def touched(count: int) -> int:
    """Touch an array of so many bytes: more than 32 MiB, below which it may lie in memory that was freed before."""
    array = np.ones(count, dtype=np.int8)
    return int(array[0])


@pytest.mark.parametrize(
    "source", [meters._source().__class__, *([meters._Sampling] if sys.platform == "linux" else [])]
)
def test_the_meter_sees_what_is_touched(monkeypatch, source):
    monkeypatch.setattr(meters, "_source", source)
    meter = memory.PeakMeter()
    assert meter.peak_bytes == 0
    assert len(meter.how) > 10
    if sys.platform != "linux":
        pytest.skip("an earlier, higher peak may hide this one")
    # An array that is still there when the block ends is seen by sampling as well.
    with meter:
        kept = np.ones(2**27, dtype=np.int8)
    first = meter.peak_bytes
    assert first >= 0.9 * 2**27
    del kept
    with meter:
        touched(1)
    assert meter.peak_bytes == first


@pytest.mark.skipif(
    not isinstance(meters._source(), meters._HighWaterMark), reason="the kernel's mark cannot be reset here"
)
def test_a_peak_inside_a_block_is_seen_and_one_outside_is_not():
    meter = memory.PeakMeter()
    touched(2**28)
    with meter:
        touched(2**26)
    assert 0.9 * 2**26 <= meter.peak_bytes < 2**28


def test_measured_steps_leave_the_model_as_it_is():
    model = small("mlp", "low-memory")
    before = {key: array.copy() for key, array in model.state().items()}
    assert memory.peak(model, bl.optim.bop(), 16, steps=1).peak_bytes >= 0
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, before[key])
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        memory.peak(model, bl.optim.adam(), 16, steps=0)


class Lines:
    def __init__(self):
        self.text = ""

    def print(self, *objects):
        self.text += " ".join(map(str, objects)) + "\n"


@pytest.mark.parametrize("accounting", memory.ACCOUNTINGS)
def test_command(accounting):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    result = command.run(parser.parse_args(["--model", "mlp", "--accounting", accounting]))
    assert result["standard_bytes"] == sum(row["standard_bytes"] for row in result["rows"])
    assert result["low_memory_bytes"] == sum(row["low_memory_bytes"] for row in result["rows"])
    assert {"variable", "lifetime", "standard_dtype", "low_memory_dtype"} <= set(result["rows"][0])
    console = Lines()
    command.report(result, console)
    assert "momenta" in console.text and f"{result['ratio']:.2f} times" in console.text
