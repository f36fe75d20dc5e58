"""`bitlearn train` and `bitlearn predict`."""

from __future__ import annotations

import hashlib
import json
import math
import os

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import nn, training
from bitlearn.cli import experiment, main
from bitlearn.nn import Model
from bitlearn.optim.schedules import SCHEDULES

pytest.importorskip("sklearn")

KEYS = {"test_accuracy", "history", "step_seconds_median", "peak_bytes_predicted", "peak_bytes_measured"}
ENTRY = {"loss", "validation_accuracy", "seconds"}


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


@pytest.fixture
def data(tmp_path):
    """A small data set that a network learns in a few steps: each class has its own bright quarter."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    x = rng.integers(0, 60, size=(120, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(x, y, strict=True):
        image[4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 180
    path = tmp_path / "data.npz"
    np.savez(path, X=x, y=y)
    return path


def train(capsys, data, *arguments: str) -> dict:
    """Train quickly, and return the JSON."""
    quick = ["--epochs", "2", "--batch-size", "16", "--precision", "low-memory"]
    code = main(["train", "--dataset", "npz", "--data", str(data), *quick, *arguments, "--json", "-"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def numbers(result: dict) -> tuple:
    """What must be the same in every run."""
    return result["test_accuracy"], [(entry["loss"], entry["validation_accuracy"]) for entry in result["history"]]


def weights(path) -> dict[str, bytes]:
    """The arrays of a saved classifier."""
    return {name: array.tobytes() for name, array in bl.load(path).network.arrays.items()}


def test_keys_and_numbers(capsys, data):
    result = train(capsys, data, "--learning-rate", "0.01", "--epochs", "6")
    assert set(result) >= KEYS
    assert all(set(entry) >= ENTRY for entry in result["history"])
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3, 4, 5, 6]
    assert (result["training_examples"], result["validation_examples"], result["test_examples"]) == (88, 8, 24)
    assert result["test_accuracy"] > 0.8
    assert result["peak_bytes_predicted"] > 0
    assert result["peak_bytes_measured"] >= 0


def test_report_for_people(capsys, data):
    assert main(["train", "--dataset", "npz", "--data", str(data), "--epochs", "1", "--batch-size", "16"]) == 0
    out = capsys.readouterr().out
    for words in ("test accuracy", "time per step", "predicted", "measured"):
        assert words in out


def test_digits_need_no_folder(capsys):
    assert main(["train", "--max-steps", "2", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["test_examples"] == 359


@pytest.mark.parametrize("options", [["--threads", "2"], ["--threads", "1"]])
def test_same_weights_with_any_threads(capsys, data, tmp_path, options):
    first = train(capsys, data, "--save", str(tmp_path / "first"))
    second = train(capsys, data, "--save", str(tmp_path / "second"), *options)
    assert numbers(first) == numbers(second)
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_same_weights_from_every_variant(capsys, data, tmp_path, variant):
    found = train(capsys, data, "--max-steps", "3", "--save", str(tmp_path / "here"))
    with bl.use_backend("reference"):
        wanted = train(capsys, data, "--max-steps", "3", "--save", str(tmp_path / "reference"))
    assert found["variant"] == variant
    assert numbers(found) == numbers(wanted)
    assert weights(tmp_path / "here") == weights(tmp_path / "reference")


def test_another_seed_is_another_training(capsys, data):
    assert numbers(train(capsys, data)) != numbers(train(capsys, data, "--seed", "1"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
def test_optimizers_and_schedules(capsys, data, optimizer, schedule):
    options = ["--optimizer", optimizer, "--schedule", schedule, "--max-steps", "3", "--augment"]
    result = train(capsys, data, *options)
    assert (result["optimizer"], result["schedule"], len(result["history"])) == (optimizer, schedule, 1)
    assert result["learning_rate"] == (0.1 if optimizer == "sgd" else 0.001)


def test_a_real_head(capsys, data):
    default = train(capsys, data, "--max-steps", "2")
    for head in ("binary", "real"):
        found = train(capsys, data, "--head", head, "--max-steps", "2")
        assert found["head"] == head
        assert (found["weights_sha256"] == default["weights_sha256"]) == (head == "binary")
        assert (found["peak_bytes_predicted"] == default["peak_bytes_predicted"]) == (head == "binary")


@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_precisions(capsys, data, precision):
    assert train(capsys, data, "--precision", precision, "--max-steps", "2")["precision"] == precision


def test_a_network_for_32_pixels_takes_smaller_images(capsys, data, tmp_path, monkeypatch):
    small = {"filters": (8, 8), "dense": (16,)}
    whole = bl.models.cnv
    monkeypatch.setitem(bl.models.MODELS, "cnv", lambda *shape, **options: whole(*shape, **(small | options)))
    path = tmp_path / "cnv"
    train(capsys, data, "--model", "cnv", "--max-steps", "2", "--save", str(path))
    assert bl.load(path).network.input_shape == (32, 32, 1)
    assert main(["predict", "--model", str(path), "--dataset", "npz", "--data", str(data)]) == 0


@pytest.mark.parametrize(("name", "side", "padded"), [("resnete18", 8, 8), ("birealnet18", 9, 16)])
def test_a_residual_network_takes_sides_that_can_be_halved(capsys, data, tmp_path, monkeypatch, name, side, padded):
    found = np.load(data)
    np.savez(data, X=np.pad(found["X"], ((0, 0), (0, side - 8), (0, 0), (0, 0))), y=found["y"])
    whole = bl.models.MODELS[name]
    monkeypatch.setitem(bl.models.MODELS, name, lambda *shape, **options: whole(*shape, **({"width": 8} | options)))
    path = tmp_path / "residual"
    result = train(capsys, data, "--model", name, "--max-steps", "2", "--save", str(path))
    assert result["model"] == name and result["peak_bytes_predicted"] > 0
    assert bl.load(path).network.input_shape == (padded, padded, 1)
    assert main(["predict", "--model", str(path), "--dataset", "npz", "--data", str(data)]) == 0


def test_saved_classifier_predicts_the_same(capsys, data, tmp_path):
    path = tmp_path / "model"
    trained = train(capsys, data, "--save", str(path))
    assert main(["predict", "--model", str(path), "--dataset", "npz", "--data", str(data), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    labels = bl.datasets.load("npz", data).y_test
    assert result["accuracy"] == trained["test_accuracy"] == np.mean(np.array(result["predictions"]) == labels)
    assert "accuracy" in err


@pytest.mark.parametrize("max_steps", ["6", "8"])
def test_resumed_training_is_the_same(capsys, data, tmp_path, max_steps):
    """88 examples are 6 steps an epoch: the first part stops behind an epoch, or inside the next one."""
    whole = train(capsys, data, "--save", str(tmp_path / "whole"))
    checkpoint = ["--checkpoint", str(tmp_path / "checkpoint")]
    part = train(capsys, data, *checkpoint, "--max-steps", max_steps)
    assert part["history"][0]["loss"] == whole["history"][0]["loss"]
    resumed = train(capsys, data, *checkpoint, "--resume", "--save", str(tmp_path / "resumed"))
    assert numbers(resumed) == numbers(whole)
    assert weights(tmp_path / "resumed") == weights(tmp_path / "whole")
    again = train(capsys, data, *checkpoint, "--resume")
    assert numbers(again) == numbers(whole)
    assert again["step_seconds_median"] is None


def test_nan_stops_and_the_checkpoint_stays(capsys, data, tmp_path, monkeypatch):
    """A rate of NaN in the ninth step makes weights NaN, which the tenth finds."""
    whole = train(capsys, data)
    checkpoint = tmp_path / "checkpoint"
    arguments = ["--checkpoint", str(checkpoint), "--save", str(tmp_path / "model")]
    cosine = SCHEDULES["cosine"]
    with monkeypatch.context() as patch:
        patch.setitem(SCHEDULES, "cosine", lambda done: math.nan if done == 8 / 12 else cosine(done))
        code = main(
            ["train", "--dataset", "npz", "--data", str(data), "--epochs", "2", "--batch-size", "16"]
            + ["--precision", "low-memory", "--schedule", "cosine", *arguments]
        )
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert "at step 10" in line
    assert "in layer '" in line
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "data.npz"]
    assert len(train(capsys, data, "--checkpoint", str(checkpoint), "--resume")["history"]) == len(whole["history"])


def test_the_digest_is_of_values_alone(capsys, data, monkeypatch):
    """In the order of the network, weight before bias before running mean before running std, in C order."""
    kept = {}
    fit = training.fit

    def noted(model, *arguments, **settings):
        kept["model"] = model
        return fit(model, *arguments, **settings)

    monkeypatch.setattr(training, "fit", noted)
    result = train(capsys, data, "--max-steps", "3", "--model", "mlp")
    total = hashlib.sha256()
    for name in kept["model"].names:
        layer = kept["model"][name]
        for part in ("weight", "bias", "running_mean", "running_std"):
            if hasattr(layer, part):
                total.update(getattr(layer, part).tobytes(order="C"))
    assert result["weights_sha256"] == total.hexdigest()
    assert len(result["first_losses"]) == 3
    assert train(capsys, data, "--max-steps", "3", "--threads", "2")["weights_sha256"] == total.hexdigest()
    other = Model([("a", nn.BinaryLinear(3)), ("b", nn.BatchNorm())], (4,), seed=1)
    same = Model([("c", nn.BinaryLinear(3)), ("d", nn.BatchNorm())], (4,), seed=1)
    assert experiment.digest(other) == experiment.digest(same)
    same["d"].bias[2] += 1e-7
    assert experiment.digest(other) != experiment.digest(same)


def test_known_digests(capsys, data_folder):
    """Of 20 steps on MNIST, as every version so far had them: integer policies, the same everywhere."""
    for precision, start in (("int8", "622a1dac"), ("low-memory", "e109a84a")):
        arguments = ["--dataset", "mnist", "--data", str(data_folder), "--precision", precision, "--epochs", "1"]
        assert main(["train", *arguments, "--max-steps", "20", "--json", "-"]) == 0
        assert json.loads(capsys.readouterr().out)["weights_sha256"].startswith(start)


def test_predicted_memory_is_that_of_the_record(capsys, data):
    result = train(capsys, data, "--max-steps", "2", "--optimizer", "bop")
    model = bl.models.mlp((8, 8, 1), 4, precision="low-memory")
    rows = bl.memory.predict(model, bl.optim.bop(), 16)
    assert result["peak_bytes_predicted"] == sum(row.bytes for row in rows)


BAD = {
    "unknown dataset": (["train", "--dataset", "nothing"], "dataset must be one of"),
    "unknown model": (["train", "--model", "nothing"], "model must be one of"),
    "unknown precision": (["train", "--precision", "nothing"], "precision must be one of"),
    "no such thing to narrow": (
        ["train", "--memory-budget", "9 MiB", "--narrow", "weights"],
        "narrow must contain only moments, gradients and statistics, got 'weights'",
    ),
    "unknown optimizer": (["train", "--optimizer", "nothing"], "optimizer must be one of"),
    "unknown schedule": (["train", "--schedule", "nothing"], "schedule must be one of"),
    "no folder named": (["train", "--dataset", "mnist"], "needs the folder"),
    "missing folder": (["train", "--dataset", "mnist", "--data", "no/such"], "needs the folder"),
    "no epochs": (["train", "--epochs", "0"], "epochs must be at least 1, got 0"),
    "batch of one": (["train", "--batch-size", "1"], "batch_size must be at least 2, got 1"),
    "no steps": (["train", "--max-steps", "0"], "max_steps must be at least 1, got 0"),
    "negative seed": (["train", "--seed", "-1"], "seed must be at least 0, got -1"),
    "no threads": (["train", "--threads", "0"], "threads must be an integer from 1"),
    "learning rate": (["train", "--learning-rate", "nan"], "learning_rate must be a finite number above 0"),
    "no validation": (["train", "--validation-fraction", "0"], "fraction must lie between 0 and 1"),
    "resume from nothing": (["train", "--resume"], "--resume needs --checkpoint"),
    "save to nowhere": (["train", "--save", "no/such/model"], "folder of a file to write must exist"),
    "checkpoint nowhere": (["train", "--checkpoint", "no/such/file"], "folder of a file to write must exist"),
    "json to nowhere": (["train", "--json", "no/such/file"], "folder of a file to write must exist"),
    "missing model": (["predict", "--model", "no-such-model"], "no-such-model"),
}


@pytest.mark.parametrize(("arguments", "reason"), BAD.values(), ids=BAD)
def test_bad_input(capsys, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    check_refusal(capsys, arguments, reason)
    assert os.listdir(tmp_path) == []


def check_refusal(capsys, arguments: list[str], reason: str) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"bitlearn {arguments[0]}: error: ")
    assert reason in line
    assert "Traceback" not in line


def test_bad_data_files(capsys, tmp_path, data):
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    check_refusal(capsys, ["train", "--dataset", "npz", "--data", str(data)], "data.npz")
    data.write_bytes(b"no archive")
    check_refusal(capsys, ["train", "--dataset", "npz", "--data", str(data)], "data.npz")
    x = np.zeros((20, 3), dtype=np.float32)
    np.savez(data, X=x, y=np.arange(20) % 2 - 1)
    check_refusal(capsys, ["train", "--dataset", "npz", "--data", str(data)], "labels must")
    np.savez(data, X=np.full_like(x, np.nan), y=np.arange(20) % 2)
    check_refusal(capsys, ["train", "--dataset", "npz", "--data", str(data)], "must be finite")
    np.savez(data, X=x, y=np.arange(20) % 2)
    check_refusal(capsys, ["train", "--dataset", "npz", "--data", str(data), "--model", "cnv"], "must be images")
    assert os.listdir(tmp_path) == ["data.npz"]


def test_bad_model_files(capsys, tmp_path, data):
    path = tmp_path / "model"
    train(capsys, data, "--max-steps", "2", "--save", str(path))
    predict = ["predict", "--model", str(path), "--dataset", "npz", "--data", str(data)]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    check_refusal(capsys, predict, "model")
    path.write_bytes(b"")
    check_refusal(capsys, predict, "model")
    bl.save(bl.models.mlp((4,), 2, hidden=(8,)), path)
    check_refusal(capsys, predict, "must hold a classifier, got a Model")
    path.write_bytes(whole)
    check_refusal(capsys, ["predict", "--model", str(path)], "labels must lie in [0, 4)")
    np.savez(data, X=np.zeros((20, 9, 9), dtype=np.uint8), y=np.arange(20) % 4)
    check_refusal(capsys, predict, "examples must")


def test_a_checkpoint_of_another_training(capsys, tmp_path, data):
    checkpoint = str(tmp_path / "checkpoint")
    train(capsys, data, "--checkpoint", checkpoint)
    arguments = ["train", "--dataset", "npz", "--data", str(data), "--checkpoint", checkpoint, "--resume"]
    check_refusal(capsys, [*arguments, "--epochs", "3", "--batch-size", "16"], "must belong to the same training")
    same = [*arguments, "--epochs", "2", "--batch-size", "16"]
    check_refusal(capsys, [*same, "--precision", "standard"], "must belong to the same training")
