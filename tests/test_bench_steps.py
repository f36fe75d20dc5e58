"""Training steps beside PyTorch's: who takes turns, what is verified, what is recorded. Nothing depends on a time."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.bench import steps
from bitlearn.bench.claims import NotHere, _training_steps, training_steps
from bitlearn.bench.steps import ours, race, tables, verification, worker
from bitlearn.bench.steps.race import Failed

#: A process that speaks as a worker does, and writes down what it is told.
STUB = """
import json, sys
task, log, faults = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
fault = faults.get(task["way"])
print(json.dumps({"reason": "not installed: stub"} if fault == "missing" else {"ready": True}), flush=True)
for line in sys.stdin:
    do = json.loads(line)
    with open(log, "a") as file:
        print(task["way"], do["do"], do.get("steps", ""), file=file)
    if fault == "crash" and do["do"] == "run":
        sys.exit("it broke")
    answers = {
        "verify": {"agrees": fault != "wrong", "loss": 0.0},
        "start": {"losses": [2.0, 1.0], "joules_modelled": 0.003},
        "peak": {"peak_bytes": 1024, "how": "guessed"},
        "run": {
            "seconds": [0.25] * do.get("steps", 0),
            "joules": 1.5 * do.get("steps", 0) if fault == "counted" else None,
            "joules_how": "guessed too",
        },
    }
    print(json.dumps(answers[do["do"]]), flush=True)
"""


@pytest.fixture
def stub(tmp_path):
    """A race of stubs: the entries, and what each process was told, in order."""
    (tmp_path / "stub.py").write_text(STUB)
    log = tmp_path / "log"

    def run(ways, seconds=1.0, **faults):
        def command(task):
            described = json.dumps(vars(task))
            return [sys.executable, str(tmp_path / "stub.py"), described, str(log), json.dumps(faults)]

        entries = race.race([steps.Task("mlp", way) for way in ways], seconds, command=command)
        return entries, log.read_text().splitlines() if log.exists() else []

    return run


def test_processes_take_turns(stub):
    entries, told = stub(["int8", "torch-eager"], seconds=7 * 0.5)
    assert told[:4] == ["int8 start ", "int8 peak 3", "int8 run 1", "torch-eager verify "]
    assert told[4:7] == ["torch-eager start ", "torch-eager peak 3", "torch-eager run 1"]
    assert told[7:] == ["int8 run 2", "torch-eager run 2"] * race.ROUNDS
    for entry in entries:
        assert entry["seconds"] == entry["min_seconds"] == 0.25 and entry["steps"] == 2 * race.ROUNDS
        assert entry["peak_bytes"] == 1024 and entry["losses"] == [2.0, 1.0] and entry["reason"] is None
    assert entries[0]["verified"] is None and entries[1]["verified"]["agrees"]
    assert json.loads(json.dumps(entries)) == entries


def test_a_small_batch_is_verified_on_more_examples(monkeypatch):
    seen, answers = [], []
    found = {"loss": 0.0, "cosine": 1.0, "gradient": 0.0}
    monkeypatch.setattr(verification, "of_pytorch", lambda way, model, x, y: seen.append((len(x), len(y))) or found)
    monkeypatch.setitem(sys.modules, "bitlearn.bench.steps.pytorch", SimpleNamespace(prepare=lambda task: None))
    for size in (2, 300):
        worker.serve(steps.Task("mlp", "torch-eager", size), commands("verify"), answers.append)
    assert seen == [(verification.EXAMPLES,) * 2, (300, 300)] and answers[1] == found | {"agrees": True}


def test_energy_is_that_of_a_step_or_none(stub):
    entries, _ = stub(["int8", "standard"], seconds=7 * 0.5, int8="counted")
    assert [entry["joules"] for entry in entries] == [1.5, None]
    assert all(entry["joules_modelled"] == 0.003 and entry["joules_how"] == "guessed too" for entry in entries)
    shown = [row[tables.STANDINGS.index("energy, modelled") :][:2] for row in tables.standings(entries)]
    assert shown == [("3 mJ", "1.5 J"), ("3 mJ", "")]


def test_a_slow_way_has_fewer_turns(stub, monkeypatch):
    monkeypatch.setattr(race, "SLOW_SECONDS", 0.1)
    entries, told = stub(["int8"], seconds=1e-6)
    assert entries[0]["steps"] == 4 and told.count("int8 run 1") == 5


def test_what_is_missing_is_recorded_and_ours_is_still_timed(stub):
    entries, _ = stub(["int8", "torch-eager", "torch-channels-last"], **{"torch-eager": "missing"})
    assert [entry["seconds"] for entry in entries] == [0.25, None, None]
    assert [entry["reason"] for entry in entries] == [
        None,
        "not installed: stub",
        "a network without convolutions has no maps to lay out: this is torch-eager",
    ]
    assert set(entries[0]) == set(entries[1])
    assert tables.missing(entries)[0].startswith(
        "torch-eager was not timed on mlp, batch 100, threads 1: not installed"
    )
    assert [row[1] for row in tables.standings(entries)] == ["int8"]


def test_a_wrong_way_stops_the_race_before_it_is_timed(stub):
    with pytest.raises(Failed, match="torch-eager on mlp must agree with standard before it is timed"):
        stub(["torch-eager"], **{"torch-eager": "wrong"})


def test_a_process_that_ends_says_why(stub):
    with pytest.raises(Failed, match="the process of int8 on mlp ended with 1: it broke"):
        stub(["int8"], int8="crash")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network": "vgg"}, "network must be one of mlp, cnv, binarynet, replayed, got 'vgg'"),
        ({"way": "jax"}, "way must be one of standard, .*, got 'jax'"),
        ({"batch_size": 1}, "batch size must be at least 2, got 1"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_tasks(change, reason):
    with pytest.raises(ValueError, match=reason):
        steps.Task(**{"network": "mlp", "way": "int8"} | change)


def commands(*names):
    return iter([json.dumps({"do": name, "steps": 2}) + "\n" for name in names])


@pytest.fixture
def threads():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


@pytest.mark.parametrize("policy", steps.OURS)
def test_a_worker_makes_our_steps(policy, threads):
    answers = []
    worker.serve(steps.Task("mlp", policy, 10), commands("start", "peak", "run"), answers.append)
    ready, start, peak, run = answers
    assert ready == {"ready": True} and peak["peak_bytes"] >= 0 and peak["how"]
    assert len(run["seconds"]) == 2 and min(run["seconds"]) > 0
    # Two steps of training, and the same as anybody makes them.
    trainer, batch = bl.training.Trainer(steps.model("mlp", policy), steps.optimizer()), steps.batch("mlp", 10)
    assert start["losses"] == [trainer.step(*batch, 0.001) for _ in range(2)]


def test_a_worker_says_what_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "bitlearn.bench.steps.pytorch", raising=False)
    answers = []
    worker.serve(steps.Task("mlp", "torch-eager", 10), commands(), answers.append)
    assert len(answers) == 1 and answers[0]["reason"].startswith("not installed: ")


def test_our_own_first_step_agrees_with_itself_and_not_with_another():
    batch = steps.batch("mlp", 20)
    model = verification.disturb(steps.model("mlp", "standard", tiny=True))
    first = verification.first_step(model, *batch)
    same = verification.differences(first, first)
    assert same["loss"] == 0 and same["gradient"] == 0 and same["cosine"] == pytest.approx(1)
    assert verification.agrees(same, verification.FLOAT32)
    loss, gradients = first
    turned = {key: -array if key == "linear2.weight" else array for key, array in gradients.items()}
    assert not verification.agrees(verification.differences(first, (loss, turned)), verification.BFLOAT16)
    assert not verification.agrees(verification.differences(first, (2 * loss, gradients)), verification.BFLOAT16)
    broken = {key: np.full_like(array, np.nan) for key, array in gradients.items()}
    assert not verification.agrees(verification.differences(first, (loss, broken)), verification.BFLOAT16)
    with pytest.raises(ValueError, match="gradients of the same parameters must be compared"):
        verification.differences(first, (loss, {}))


def test_the_policies_of_integers_agree_with_standard_in_direction():
    batch = steps.batch("mlp", 50)
    first, coarse = (
        verification.first_step(verification.disturb(steps.model("mlp", name)), *batch) for name in ("standard", "int8")
    )
    assert verification.agrees(verification.differences(first, coarse), verification.BFLOAT16)


def test_steps_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "steps.json"
    options = ["--steps", "mlp", "--ways", "int8", "--batch-size", "5,2", "--seconds", "1e-6", "--threads", "1"]
    assert cli.main(["bench", *options, "--json", str(path)]) == 0
    entries = json.loads(path.read_text())
    assert [entry["batch_size"] for entry in entries] == [5, 2]
    for entry in entries:
        assert entry["network"] == "mlp" and entry["way"] == "int8" and entry["steps"] == race.ROUNDS
        assert entry["machine"]["cpu"] and entry["peak_bytes"] >= 0
    assert "int8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--steps", "vgg"], "network must be one of"),
        (["--steps", "mlp", "--ways", "jax"], "way must be one of"),
        (["--steps", "mlp", "--kernels", "pack"], "not allowed with"),
        (["--profile", "mlp", "--precision", "torch-eager"], "precision must be one of"),
        (["--profile", "mlp", "--batch-size", "2,3"], "--profile needs one batch size, got 2, 3"),
        (["--plot", "x.svg"], "--plot needs --profile NETWORK"),
        (["--steps", "mlp", "--batch-size", "2,x"], "expected whole numbers separated by commas, got '2,x'"),
    ],
)
def test_bad_options(capsys, options, reason):
    assert cli.main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert reason in err and len(err.splitlines()) == 1


def test_claims_of_steps_take_the_least_of_the_ways(monkeypatch):
    figures = {"int8": 2.0, "low-memory": 4.0, "torch-eager": 20.0, "torch-compiled": 8.0, "torch-bfloat16": 1.0}
    entries = {way: {"seconds": figures.get(way), "peak_bytes": 1, "reason": "absent"} for way in steps.WAYS}
    raced = []
    monkeypatch.setattr(_training_steps, "_entries", lambda *race: raced.append(race) or entries)
    monkeypatch.setenv("BITLEARN_BACKEND", "cext:avx512")  # on a processor with tiles these claims want them left out
    found = {claim.id: claim.measure for claim in training_steps.CLAIMS}
    assert found["step-binarynet-int8-over-float32"]().value == 4.0
    assert found["step-binarynet-int8-over-eager"]().value == 10.0
    assert found["step-mlp-int8-over-fastest-batch-2"]().value == 0.5
    assert raced == [("binarynet", 100, "adam"), ("binarynet", 100, "adam"), ("mlp", 2, "adam")]
    entries["torch-eager"]["seconds"] = None
    with pytest.raises(NotHere, match="torch-eager: absent"):
        found["step-mlp-int8-over-eager"]()
    entries[steps.QUANTIZED.name] = {"seconds": 0.5, "peak_bytes": 0.25}
    assert found[f"step-replayed-{steps.QUANTIZED.name}-over-fastest"]().value == 2.0
    assert found[f"step-replayed-{steps.QUANTIZED.name}-memory-of-fastest"]().value == 4.0
    assert raced[-1] == ("replayed", 178, "sgd")


def test_ways_by_plain_sgd():
    """The policy with latent weights in integers has no moments, and is for plain SGD alone."""
    with pytest.raises(ValueError, match="way must be one of"):
        steps.Task("replayed", steps.QUANTIZED.name)
    with pytest.raises(ValueError, match="rule must be one of adam, sgd, got 'bop'"):
        steps.Task("replayed", "int8", rule="bop")
    task = steps.Task("replayed", steps.QUANTIZED.name, 4, rule="sgd")
    step = ours.start(task, *steps.batch("replayed", 4))
    assert 0 < step() < 10 and 0 < step() < 10


@pytest.mark.parametrize("network", steps.SHAPES)
@pytest.mark.parametrize("way", ["torch-eager", "torch-channels-last", "torch-bfloat16"])
def test_pytorchs_first_step_is_ours(network, way):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install bitlearn-xnor[test-all]")
    model = steps.model(network, "standard", tiny=True)
    found = verification.of_pytorch(way, model, *steps.batch(network, 20))
    allowed = verification.tolerance(way)
    assert verification.agrees(found, allowed), found


def test_pytorchs_steps_are_ours(threads):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install bitlearn-xnor[test-all]")
    losses = []
    for way in ("standard", "torch-eager"):
        answers = []
        worker.serve(steps.Task("mlp", way, 50), commands("start"), answers.append)
        losses.append(answers[1]["losses"])
    np.testing.assert_allclose(*losses, rtol=0.05)
