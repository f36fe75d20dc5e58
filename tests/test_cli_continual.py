"""`bitlearn continual`: what it returns and prints, the same for the same seed, and what it refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import continual
from bitlearn.cli import main


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


@pytest.fixture
def data(tmp_path):
    """Features around a centre for each of six classes."""
    rng = np.random.default_rng(0)
    y = np.arange(180) % 6
    centres = rng.integers(40, 216, size=(6, 20))
    path = tmp_path / "data.npz"
    np.savez(path, X=(centres[y] + rng.integers(-30, 30, size=(180, 20))).astype(np.uint8), y=y)
    return path


SCENARIOS = "class, instances, domain, task, permuted, rotated, stream, blurry"
QUICK = ["--tasks", "3", "--epochs", "1", "--batch-size", "16", "--replay-size", "20"]


def learn(capsys, data, *arguments: str) -> dict:
    code = main(["continual", "--dataset", "npz", "--data", str(data), *QUICK, *arguments, "--json", "-"])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert "average accuracy" in err and "classes 2 3" in err
    return json.loads(out)


#: What methods want that do not take any network.
NETWORKS = {
    "task-wta": ["--model", "competing-mlp", "--units", "4", "--set", "competing=0.5"],
    "wsn": ["--model", "subnetwork-mlp", "--precision", "standard", "--set", "identity=confidence"],
}


@pytest.mark.parametrize("method", [name for name in continual.METHODS if name != "centre-kernel"])
def test_keys_and_numbers(capsys, data, method):
    result = learn(capsys, data, "--method", method, *NETWORKS.get(method, []))
    assert bool(result["report"]) == (method in NETWORKS)
    assert result["tasks"] == [[0, 1], [2, 3], [4, 5]] and result["method"] == method
    for index, row in enumerate(result["accuracy_matrix"]):
        assert [cell is None for cell in row] == [column > index for column in range(3)]
    assert set(result) >= {*continual.METRICS, "replay_bytes", "peak_bytes_measured", "seconds", "learning_rate"}
    assert result["average_accuracy"] == pytest.approx(sum(result["accuracy_matrix"][-1]) / 3)
    # A bit a value of the 256 at the cut, a label, a place; three numbers a class, of 1, 8 and 4 bytes; and one of 8.
    wanted = {"latent-replay": 20 * (32 + 1 + 1) + 6 * 13 + 8, "naive": 0, "joint": 0, "cwr": 0, "ewc": 0, "ar1": 0}
    wanted |= dict.fromkeys(("gpm", "last-layer", "biases", "sparse-update"), 0)
    wanted |= dict.fromkeys(NETWORKS, 0)
    assert result["replay_bytes"] == wanted.get(method, result["replay_bytes"])
    assert result["replay_bytes"] > 0 or wanted[method] == 0


def test_it_is_what_the_library_gives(capsys, data):
    """With the model, the optimiser and the options that its arguments name."""
    arguments = ["--precision", "int4", "--seed", "3", "--optimizer", "sgd", "--learning-rate", "0.5", "--cut", "sign2"]
    found = learn(capsys, data, *arguments)
    arrays = bl.datasets.load("npz", data, seed=3)
    scenario = continual.class_incremental(arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test, 3)
    model = bl.models.mlp((20,), 6, head="real", precision="int4", seed=3)
    named = {"epochs": 1, "batch_size": 16, "replay_size": 20, "seed": 3, "learning_rate": 0.5, "cut": "sign2"}
    wanted = continual.run("latent-replay", scenario, model, bl.optim.sgd(), continual.Options(**named))
    assert found["accuracy_matrix"] == wanted.accuracy_matrix


@pytest.mark.parametrize("scenario", ["instances", "domain", "task", "permuted", "stream", "blurry"])
def test_every_scenario_by_name(capsys, data, scenario):
    arguments = ["--scenario", scenario, "--order-seed", "3", "--evaluate-all"]
    code = main(["continual", "--dataset", "npz", "--data", str(data), *QUICK, *arguments, "--json", "-"])
    out, err = capsys.readouterr()
    assert code == 0, err
    found = json.loads(out)
    loaded = bl.datasets.load("npz", data)
    parts = loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test
    made = continual.build_scenario(scenario, *parts, 3, seed=3)
    assert found["tasks"] == [list(task.classes) for task in made.tasks] and found["order_seed"] == 3
    assert found["class_order"] == list(made.class_order)
    model = bl.models.mlp((20,), made.classes, head="real", precision="low-memory")
    options = continual.Options(epochs=1, batch_size=16, replay_size=20)
    wanted = continual.run("latent-replay", made, model, bl.optim.adam(), options, evaluate_all=True)
    for name in ("accuracy_matrix", "full_matrix", "initial_accuracy", "operations", "kept_bytes"):
        assert found[name] == getattr(wanted, name)
    assert {name: found[name] for name in wanted.metrics} == wanted.metrics
    assert "forward transfer" in err and f"{wanted.full_matrix[0][2]:.3f}" in err and "nothing" in err


def test_options_of_the_method_and_unequal_tasks(capsys, data):
    arguments = ["--tasks", "1,3,2", "--replay-share", "0.4", "--consolidate", "--schedule", "constant"]
    code = main(["continual", "--dataset", "npz", "--data", str(data), *QUICK, *arguments, "--json", "-"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and found["tasks"] == [[0], [1, 2, 3], [4, 5]]
    loaded = bl.datasets.load("npz", data)
    made = continual.class_incremental(loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test, (1, 3, 2))
    model = bl.models.mlp((20,), 6, head="real", precision="low-memory")
    settings = {"epochs": 1, "batch_size": 16, "replay_size": 20, "replay_share": 0.4}
    settings |= {"consolidate": True, "schedule": "constant"}
    wanted = continual.run("latent-replay", made, model, bl.optim.adam(), **settings)
    assert found["accuracy_matrix"] == wanted.accuracy_matrix


def test_any_other_option_by_its_name(capsys, data):
    one, other = (learn(capsys, data, "--method", "der", "--set", f"der_alpha={each}") for each in ("0", "40"))
    assert one["accuracy_matrix"] != other["accuracy_matrix"]
    narrow = learn(capsys, data, "--method", "cwr", "--set", "head_bits=2", "--set", "later_learning_rate=0.1")
    assert narrow["accuracy_matrix"] != learn(capsys, data, "--method", "cwr")["accuracy_matrix"]


def test_options_of_several_values_and_of_words(capsys, data):
    rule = ("--method", "gpm", "--set", "projection=ratio")
    assert learn(capsys, data, *rule)["kept_bytes"] > 0
    whole, few = (
        learn(capsys, data, "--method", "gpm", "--set", "energy=0.9,0.8", "--set", f"basis_bits={bits}")["kept_bytes"]
        for bits in (32, 4)
    )
    assert few < whole / 3
    layers = ("--method", "sparse-update", "--set", "layers=linear1")
    assert learn(capsys, data, *layers)["accuracy_matrix"] != learn(capsys, data, "--method", "last-layer")


def test_labels_from_1_add_no_output(capsys, data, tmp_path):
    arrays = dict(np.load(data))
    np.savez(tmp_path / "from1.npz", X=arrays["X"], y=arrays["y"] + 1)
    plain = learn(capsys, data)
    assert main(["continual", "--dataset", "npz", "--data", str(tmp_path / "from1.npz"), *QUICK, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"] == [[1, 2], [3, 4], [5, 6]] and found["accuracy_matrix"] == plain["accuracy_matrix"]


def test_the_same_seed_and_any_threads_give_the_same(capsys, data):
    def numbers(*arguments):
        result = learn(capsys, data, *arguments)
        return result["accuracy_matrix"], result["replay_bytes"]

    assert numbers("--threads", "1") == numbers("--threads", "2") == numbers()


BAD = {
    "unknown method": (["--method", "gss"], "got 'gss'"),
    "planned method": (["--method", "bimu"], "method 'bimu' is not built yet"),
    "no convolution": (["--method", "centre-kernel"], "must have a model with a binary 3x3 convolution"),
    "unknown scenario": (["--scenario", "other"], f"scenario must be one of {SCENARIOS}, got 'other'"),
    "not images": (["--scenario", "rotated"], "examples to rotate must be uint8 images"),
    "unequal": (["--tasks", "3,2"], "tasks must be numbers of classes, at least 1 each, that sum to 6, got [3, 2]"),
    "tasks of pixels": (
        ["--scenario", "permuted", "--tasks", "3,3"],
        "tasks must be an integer of at least 1, got (3, 3)",
    ),
    "no tasks": (["--tasks", "3,x"], "argument --tasks: expected a number of tasks, or their sizes as in 4,2,2,2, got"),
    "places": (["--scenario", "domain", "--tasks", "4"], "tasks must be a number that divides the 6 classes, got 4"),
    "share": (["--scenario", "blurry", "--share", "1"], "share must be at least 0 and below 1, got 1.0"),
    "degrees": (["--scenario", "rotated", "--degrees", "inf"], "degrees must be a finite number, got inf"),
    "share of what": (["--share", "0.2"], "scenario 'class' must be given only its own settings, got share"),
    "stream": (["--scenario", "stream", "--epochs", "2"], "epochs must be 1 if every example is seen once, got 2"),
    "replay share": (["--replay-share", "1.5"], "replay_share must be in (0, 1), got 1.5"),
    "schedule": (["--schedule", "linear"], "schedule must be one of cosine, constant, step, or a callable"),
    "order": (["--order-seed", "-1"], "seed must be in [0, 2**64), got -1"),
    "unknown precision": (["--precision", "nothing"], "precision must be one of"),
    "unknown model": (["--model", "nothing"], "model must be one of"),
    "unknown optimizer": (["--optimizer", "nothing"], "optimizer must be one of"),
    "too many tasks": (["--tasks", "7"], "tasks must be in [1, 6]"),
    "no epochs": (["--epochs", "0"], "epochs must be at least 1, got 0"),
    "no memory": (["--replay-size", "0"], "replay_size must be at least 1, got 0"),
    "small batch": (["--batch-size", "2"], "batch_size must be at least 3"),
    "no cut": (["--cut", "linear2"], "cut must be a layer whose output is packed bits"),
    "rate": (["--learning-rate", "-1"], "learning_rate must be a finite number above 0"),
    "features for images": (["--model", "cnv"], "must be images"),
    "no pair": (["--set", "head_bits"], "argument --set: expected NAME=VALUE, got 'head_bits'"),
    "option of none": (["--set", "head=3"], "a setting of latent-replay must be one of epochs, batch_size"),
    "what option is meant": (["--set", "head_bit=3"], "got 'head_bit'; perhaps head_bits"),
    "option with an argument": (["--set", "epochs=3"], "epochs must be given by --epochs, got it by --set"),
    "option with another argument": (["--set", "latents=float"], "latents must be given by --latent-bits, got it by"),
    "option of another method": (
        ["--method", "naive", "--set", "head_bits=3"],
        "head_bits must be given to cwr, latent-replay, replay or ar1, whose setting it is, got it for naive",
    ),
    "argument of another method": (
        ["--method", "cwr", "--consolidate"],
        "consolidate must be given to latent-replay or",
    ),
    "bits of another method": (
        ["--method", "der", "--latent-bits", "8"],
        "latents must be given to latent-replay, whose",
    ),
    "option of another type": (
        ["--method", "der", "--set", "der_alpha=much"],
        "der_alpha must be a number, got 'much'",
    ),
    "word of none": (["--method", "gpm", "--set", "projection=svd"], "projection must be one of energy, ratio"),
    "word for a number": (["--method", "gpm", "--set", "energy=0.9,much"], "energy must be"),
    "option out of range": (["--set", "head_bits=1"], "head_bits must be in [2, 16], got 1"),
    "json to nowhere": (["--json", "no/such/file"], "folder of a file to write must exist"),
}


@pytest.mark.parametrize(("arguments", "reason"), BAD.values(), ids=BAD)
def test_bad_input(capsys, data, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["continual", "--dataset", "npz", "--data", str(data), *QUICK, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("bitlearn continual: error: ") and reason in line
    assert os.listdir(tmp_path) == ["data.npz"]
