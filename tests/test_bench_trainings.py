"""Trainings whose results are kept: made once, read again, compared with what this code does, and reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import bitlearn as bl
from bitlearn.bench import accuracy, sweep, trainings
from bitlearn.bench.claims import NotHere, accuracy_of_policies
from bitlearn.precision import POLICIES, Precision, Quantization
from bitlearn.training import steps_in_epoch

LOSSES = [2.5, 2.0, 1.5]


def result(training: trainings.Training, test: float, losses=LOSSES) -> dict:
    """What ``bitlearn train --json`` writes of a training."""
    entry = {"loss": 0.71234, "seconds": 1.5}
    history = [entry | {"epoch": i + 1, "validation_accuracy": test - 0.01 * i} for i in range(training.epochs)]
    return {
        "dataset": training.dataset,
        "model": training.model,
        "precision": training.precision.name,
        "optimizer": "adam",
        "schedule": "cosine",
        "learning_rate": 0.001,
        "epochs": training.epochs,
        "batch_size": 100,
        "seed": training.seed,
        "training_examples": 54000,
        "test_accuracy": test,
        "first_losses": losses,
        "weights_sha256": "ab" * 32,
        "history": history,
    }


@pytest.fixture
def made(monkeypatch) -> list[tuple[str, tuple[str, ...]]]:
    """Train nothing: an accuracy falls with the bits of a policy; return what was asked for."""
    asked = []

    def trained(training, data, *options):
        asked.append((training.name, options))
        how = training.precision.input_gradient, training.precision.weight_gradient
        lost = sum(0.004 * max(0, 6 - q.bits) - 0.001 * (q.rounding == "stochastic") for q in how if q is not None)
        return result(training, 0.87 - lost + 0.001 * training.seed)

    monkeypatch.setattr(trainings, "trained", trained)
    return asked


def test_the_command_and_its_options(monkeypatch, tmp_path):
    mine = Precision("mine", Quantization(4), Quantization(8))
    training = trainings.Training("t", "fashion-mnist", "mlp", 3, 2, mine, augment=True)
    seen = []

    def run(arguments):
        seen.append((arguments, bl.get_num_threads()))
        bl.set_num_threads(arguments.threads)
        return {}

    monkeypatch.setattr(trainings.train, "run", run)
    before = bl.get_num_threads()
    assert trainings.trained(training, tmp_path, "--max-steps", "7") == {}
    arguments = seen[0][0]
    assert arguments.precision == mine and arguments.data == tmp_path / "fashion-mnist" and arguments.augment
    assert (arguments.optimizer, arguments.schedule, arguments.batch_size) == ("adam", "cosine", 100)
    assert (arguments.epochs, arguments.seed, arguments.max_steps, arguments.threads) == (3, 2, 7, 1)
    assert bl.get_num_threads() == before


def test_a_training_is_made_once(made, tmp_path):
    training = sweep.one("input", Quantization(4, "row"), 1)
    found = trainings.make(training, tmp_path, tmp_path / "kept", tmp_path / "checkpoints")
    checkpoint = str(tmp_path / "checkpoints" / f"{training.name}.checkpoint")
    assert made == [
        (training.name, ("--max-steps", "20")),
        (training.name, ("--checkpoint", checkpoint, "--resume")),
    ]
    assert found["first"] == {"steps": 20, "weights_sha256": "ab" * 32, "losses": LOSSES}
    assert found["command"] is None and sweep.baselines(0)[0].command.startswith("bitlearn train --dataset fashion-mn")
    assert found["loss"][0] == 0.7123 and found["seconds"] == 12.0 and len(found["validation_accuracy"]) == 8
    assert trainings.validation(found) == pytest.approx(0.863)
    assert trainings.make(training, tmp_path, tmp_path / "kept", tmp_path) == found and len(made) == 2
    text = (tmp_path / "kept" / f"{training.name}.json").read_text()
    assert json.loads(text) == found and str(tmp_path) not in text
    with pytest.raises(ValueError, match="must belong to the training"):
        trainings.stored(replace(training, precision=POLICIES["int8"]), tmp_path / "kept")


def test_the_data_must_be_named(monkeypatch, tmp_path):
    monkeypatch.delenv("BITLEARN_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match="--data or BITLEARN_DATA must name the folder of the data sets, got No"
    ):
        trainings.data_folder(None)
    monkeypatch.setenv("BITLEARN_DATA", str(tmp_path))
    assert trainings.data_folder(None) == tmp_path and trainings.data_folder(tmp_path) == tmp_path


def test_the_sweep(made, tmp_path, capsys):
    arguments = ["--data", str(tmp_path), "--into", str(tmp_path / "kept"), "--checkpoints", str(tmp_path / "c")]
    assert sweep.main(arguments) == 0
    # 6 widths, 2 roundings, 2 scales, 2 products, and two to compare with; three seeds of those at the edge.
    assert len(sweep.first()) == 50 == len({training.name for training in sweep.first()})
    found = sweep.present(tmp_path / "kept")
    assert set(found) == {name for name, _ in made}
    # 4 bits lose 0.007 where they round at random; 3 lose 0.011.
    assert sweep.fewest("input", found) == sweep.fewest("weight", found) == 4
    assert sweep.best("input", 4, found).rounding == "stochastic"
    names = {training.name for training in sweep.second(found)}
    assert {"both-4-2", "both-8-1", "input-3-tensor-stochastic-0", "weight-4-tensor-stochastic-2"} <= names
    assert len(names) == 3 * 10
    convolved = sweep.convolutions(found)
    assert len(convolved) == 1 + 3 * 3 and {each.model for each in convolved.values()} == {"cnv"}
    assert convolved["both", 3].precision.input_gradient == sweep.best("input", 3, found)
    printed = capsys.readouterr().out
    assert "input" in printed and "0.8630 (0.8630)" in printed and "both-4" in printed and "Convolutions" in printed
    count = len(made)
    assert sweep.main(arguments) == 0 and len(made) == count
    assert sweep.main(["--report", "--into", str(tmp_path / "none")]) == 0


@pytest.fixture
def kept(made, monkeypatch, tmp_path) -> Path:
    """A folder with every training of the comparison but the last seed of one."""
    monkeypatch.setattr(accuracy, "FOLDER", tmp_path / "kept")
    for training in accuracy.every():
        if training.name != "cifar-cnv-int8-2":
            trainings.make(training, tmp_path, accuracy.FOLDER, tmp_path / "checkpoints")
    return tmp_path / "kept"


def test_the_claim_reads_what_is_kept(kept, monkeypatch, tmp_path):
    monkeypatch.setenv("BITLEARN_DATA", str(tmp_path))
    claims = {claim.id: claim for claim in accuracy_of_policies.CLAIMS}
    found = claims["int8-accuracy-mnist-mlp"].measure()
    assert found.value == pytest.approx(0.0) and found.details["test_accuracy"]["int8"] == pytest.approx(0.871)
    with pytest.raises(NotHere, match="only 2 of 3 trainings of cifar-cnv, int8, are there"):
        claims["int8-accuracy-cifar-cnv"].measure()
    monkeypatch.setattr(trainings, "first_steps", lambda training, data: {"weights_sha256": "cd" * 32})
    with pytest.raises(NotHere, match="the first steps of mnist-mlp-int8-0 end in other weights"):
        claims["int8-accuracy-mnist-mlp"].measure()
    monkeypatch.undo()
    monkeypatch.setattr(accuracy, "FOLDER", kept)
    monkeypatch.delenv("BITLEARN_DATA", raising=False)
    with pytest.raises(NotHere, match="BITLEARN_DATA must name"):
        claims["int8-accuracy-mnist-mlp"].measure()


def test_the_table_of_accuracies(kept, capsys):
    assert accuracy.main(["--report", "--into", str(kept)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + sum(len(case.policies) for case in accuracy.CASES.values())
    assert "0.8700 0.8710 0.8720  0.8710" in lines[3]


def test_the_curves(kept, tmp_path):
    pytest.importorskip("matplotlib")
    text = accuracy.draw(kept).decode()
    assert all(
        label in text for label in (*accuracy.CASES, "int8", "int4", "low-memory", "standard", "validation accuracy")
    )
    assert accuracy.draw(tmp_path / "none") is None and accuracy.draw(kept).decode() == text


def written(folder: Path, name: str, found: dict) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found))
    return path


def test_taking_in_what_train_wrote(made, tmp_path, capsys):
    chosen = accuracy.training("mnist-mlp", "int8", 1)
    path = written(tmp_path, chosen.name, result(chosen, 0.97))
    arguments = ["--data", str(tmp_path), "--into", str(tmp_path / "kept"), "--take"]
    assert accuracy.main([*arguments, str(path)]) == 0
    stored = trainings.stored(chosen, tmp_path / "kept")
    assert stored["test_accuracy"] == 0.97 and stored["first"]["losses"] == LOSSES
    # A resumed training tells later losses: then the first epoch's is compared.
    made.clear()
    resumed = result(chosen, 0.97, losses=[0.3, 0.2, 0.1])
    accuracy.take(written(tmp_path, chosen.name, resumed), tmp_path, tmp_path / "kept")
    assert made[-1][1] == ("--max-steps", str(steps_in_epoch(54000, 100)))
    resumed["history"][0]["loss"] = 0.9
    with pytest.raises(
        ValueError, match=r"first epoch of .* must have the loss that this code gives, 0.71234, got 0.9"
    ):
        accuracy.take(written(tmp_path, chosen.name, resumed), tmp_path, tmp_path / "kept")


def test_what_is_not_taken_in(made, tmp_path):
    chosen = accuracy.training("mnist-mlp", "standard", 0)
    right = result(chosen, 0.97)
    for change, message in (({"seed": 4}, "seed 0, not 4"), ({"history": right["history"][:3]}, "20 epochs")):
        with pytest.raises(ValueError, match=rf"mnist-mlp-standard-0.json must have {message}"):
            accuracy.take(written(tmp_path, chosen.name, right | change), tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"a file must be named as one of .*, got other.json"):
        accuracy.take(written(tmp_path, "other", right), tmp_path, tmp_path)
    # Float sums in another order give nearly the same losses.
    near = right | {"first_losses": [loss * 1.01 for loss in LOSSES]}
    accuracy.take(written(tmp_path, chosen.name, near), tmp_path, tmp_path / "kept")
    assert made[-1][1] == ("--max-steps", "20")


KEPT = [(training, accuracy.FOLDER) for training in accuracy.every()] + [
    (training, sweep.FOLDER) for training in sweep.first()
]
KEPT = [(training, folder) for training, folder in KEPT if (folder / f"{training.name}.json").exists()]


@pytest.mark.parametrize(("training", "folder"), KEPT, ids=[training.name for training, _ in KEPT])
def test_what_is_kept_with_the_code_fits_it(training, folder):
    found = trainings.stored(training, folder)
    assert found["command"] == training.command
    assert len(found["validation_accuracy"]) == training.epochs and 0 <= found["test_accuracy"] <= 1
