"""Checkpoints that do not belong to what goes on from them, and trainings that would write to one file."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import small
from damage import refused, rewritten

import bitlearn as bl
from bitlearn.cli import main
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.training import Hook, Options, fit

DATA, VALIDATION = small.examples("mlp", 43), small.examples("mlp", 20, seed=12)
OPTIONS = Options(epochs=2, batch_size=10, seed=5)


def train(path, data=DATA, validation=VALIDATION, options=OPTIONS, resume=True, hooks=None):
    network = small.model("mlp", "int8")
    before = small.everything(network)
    try:
        return fit(
            network, bl.optim.adam(), data, options, validation=validation, checkpoint=path, resume=resume, hooks=hooks
        )
    except ValueError:
        assert small.everything(network) == before
        raise


@pytest.fixture
def path(tmp_path):
    """A checkpoint after the first of two epochs."""
    train(tmp_path / "checkpoint", options=replace(OPTIONS, max_steps=5))
    return tmp_path / "checkpoint"


def changed(examples: Examples, part: str, place: int) -> Examples:
    arrays = {"x": examples.x.copy(), "y": examples.y.copy()}
    arrays[part].reshape(-1)[place] ^= 1
    return Examples(arrays["x"], arrays["y"], examples.preparation)


@pytest.mark.parametrize("part", ["x", "y"])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("of", ["data", "validation"])
def test_other_examples_of_the_same_count_are_refused(path, part, place, of):
    given = {"data": DATA, "validation": VALIDATION}
    with refused("checkpoint", "must belong to the same training, but it has data '[0-9a-f]{64}', not '[0-9a-f]{64}'"):
        train(path, **(given | {of: changed(given[of], part, place)}))
    assert len(train(path).history) == 2


def test_another_scaling_of_the_same_features_is_refused(tmp_path, rng):
    x, y = rng.normal(size=(20, 35)).astype(np.float32), rng.integers(0, 4, 20)
    options = Options(epochs=1, batch_size=10)
    for scaled, refusal in ((x, None), (x * 2, "it has data")):
        network = bl.models.mlp((35,), 4, hidden=(9,))
        given = network, bl.optim.adam(), Examples(x, y, prepare(scaled)), options
        if refusal is None:
            fit(*given, checkpoint=tmp_path / "checkpoint")
        else:
            with pytest.raises(ValueError, match=refusal):
                fit(*given, checkpoint=tmp_path / "checkpoint", resume=True)


def test_the_examples_of_a_copy_or_of_another_memory_order_are_the_same(path):
    x = np.asfortranarray(DATA.x)
    assert len(train(path, Examples(x, DATA.y.copy(), prepare(x))).history) == 2


def entry(header: dict, **fields) -> None:
    header["config"]["history"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h["config"].update(more=1), "must describe its arrays and its training"),
        (lambda h, a: h["config"].update(training=[]), "must describe its arrays and its training"),
        (lambda h, a: h["config"]["training"].pop("data"), "it has data None, not"),
        (lambda h, a: h["config"].update(epoch=-1), "a history of its epochs, one entry each, got -1 epochs"),
        (lambda h, a: h["config"].update(epoch=0, history=[]), "a history of its epochs|its history must have"),
        (
            lambda h, a: h["config"].update(epoch=3, history=h["config"]["history"] * 3),
            "a history of its epochs|its history must have",
        ),
        (lambda h, a: h["config"].update(epoch=1.0), "a history of its epochs|its history must have"),
        (lambda h, a: h["config"].update(history="one"), "a history of its epochs|its history must have"),
        (lambda h, a: h["config"].update(history=[1]), "must have the same entries for each epoch, got 1"),
        (lambda h, a: h["config"]["history"][0].pop("loss"), "must have the same entries for each epoch"),
        (lambda h, a: entry(h, epoch=2), "must have valid entries for each epoch"),
        (lambda h, a: entry(h, loss="low"), "must have valid entries for each epoch"),
        (lambda h, a: entry(h, seconds=None), "must have valid entries for each epoch"),
        (lambda h, a: entry(h, validation_accuracy=2.0), "must have valid entries for each epoch"),
        (lambda h, a: entry(h, validation_accuracy=[]), "must have valid entries for each epoch"),
        (lambda h, a: h["config"]["best"].update(root=3), "a layer must be described by"),
        (lambda h, a: h["config"]["best"].update(precision="int4"), "its best network must have the layers"),
        (lambda h, a: a["state.step"].fill(6), "it must be after 5 steps, 1 epochs, got 6"),
        (lambda h, a: a["state.step"].fill(-(2**63)), "it must be after 5 steps"),
        (lambda h, a: a["parameters.linear1.weight"].fill(np.nan), "weight must be finite, .* in layer 'linear1'"),
        (lambda h, a: a["statistics.sign1.running_std"].fill(-1), "running_std must be at least 0, got -1"),
        (lambda h, a: a["best.norm1.bias"].fill(np.inf), "bias must be finite, .* in layer 'norm1'"),
        (lambda h, a: a.update(more=np.zeros(1)), "no arrays but those that it describes, got 'more'"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_refused(path, change, sentence):
    rewritten(path, change)
    with refused("checkpoint", sentence):
        train(path)


@pytest.fixture
def begun(tmp_path):
    """A checkpoint within the second of two epochs of 5 steps."""

    class Interrupt(Hook):
        def on_step(self, step, steps, loss):
            if step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "checkpoint", hooks=Interrupt())
    return tmp_path / "checkpoint"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h["config"].pop("seconds"), "must describe its arrays and its training"),
        (lambda h, a: h["config"].update(steps=0), "have been begun with a number of steps, got 0 in"),
        (lambda h, a: h["config"].update(steps=-2), "have been begun with a number of steps, got -2 in"),
        (lambda h, a: h["config"].update(steps=2.0), "have been begun with a number of steps, got 2.0 in"),
        (lambda h, a: h["config"].update(seconds=-1.0), "have been begun with a number of steps, got 2 in -1.0 s"),
        (lambda h, a: h["config"].update(seconds="1"), "have been begun with a number of steps, got 2 in '1' s"),
        (lambda h, a: h["config"].update(steps=3), r"must hold 'begun.losses' as float64 \(3,\), got "),
        (lambda h, a: a.pop("begun.losses"), "begun.losses"),
        (lambda h, a: a["begun.losses"].fill(np.nan), "losses must be finite, got NaN or infinity"),
        (lambda h, a: a["state.step"].fill(8), "it must be after 7 steps, 1 epochs and 2 steps, got 8"),
        (
            lambda h, a: (
                h["config"].update(steps=6), a.update({"begun.losses": np.zeros(6)}), a["state.step"].fill(11)
            ),
            "it must be after 11 steps, 1 epochs and 6 steps, got 11",
        ),
        (lambda h, a: h["config"].update(epoch=-1), "a history of its epochs, one entry each, got -1 epochs"),
        (lambda h, a: h["config"].update(epoch=0), "a history of its epochs, one entry each, got 0 epochs"),
    ],
)  # fmt: skip
def test_a_checkpoint_within_an_epoch_that_cannot_be_is_refused(begun, change, sentence):
    rewritten(begun, change)
    with refused("checkpoint", sentence):
        train(begun)


def test_an_epoch_that_was_begun_counts(begun):
    with pytest.raises(ValueError, match=r"epochs must be at least the 2 already in .*, got 1"):
        train(begun, options=replace(OPTIONS, epochs=1))


def test_what_a_hook_adds_to_the_history_stays(tmp_path):
    class Noting(Hook):
        def on_epoch(self, entry):
            entry["note"] = "mine"

    train(tmp_path / "checkpoint", options=replace(OPTIONS, max_steps=5), hooks=Noting())
    assert train(tmp_path / "checkpoint").history[0]["note"] == "mine"


def test_one_training_at_a_time(tmp_path):
    class Second(Hook):
        def on_step(self, step, steps, loss):
            link = tmp_path / "link"
            if step == 1:
                link.symlink_to("checkpoint")
            for spelling in (tmp_path / "checkpoint", link, tmp_path / ".." / tmp_path.name / "checkpoint"):
                with pytest.raises(BlockingIOError, match="must be written by one process at a time"):
                    train(spelling)
            assert train(tmp_path / "other", resume=False).losses

    train(tmp_path / "checkpoint", options=replace(OPTIONS, max_steps=2), hooks=Second())
    assert sorted(os.listdir(tmp_path)) == ["link", "other"]


SCRIPT = """
import os, signal, sys
import numpy as np
from bitlearn import files
from bitlearn.cli import main

flush, times = os.fsync, []
def killed(descriptor):
    times.append(1)
    if len(times) == 3:  # of the second checkpoint, before it has its name
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)
files.os.fsync = killed
main(sys.argv[1:])
"""


def uninterrupted(folder, capsys, count):
    """Train on a file of so many examples; return the arguments with a checkpoint, and what came of it without one."""
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", X=rng.integers(0, 256, (count, 9), dtype=np.uint8), y=np.arange(count) % 3)
    data = ["--dataset", "npz", "--data", str(folder / "data.npz"), "--batch-size", "16", "--epochs", "3"]
    arguments = ["train", *data, "--precision", "int8", "--json", "-"]
    assert main(arguments) == 0
    return [*arguments, "--checkpoint", str(folder / "checkpoint")], json.loads(capsys.readouterr().out)


@pytest.mark.skipif(sys.platform == "win32", reason="signals and locks of POSIX")
def test_a_training_that_is_killed_while_it_writes_goes_on(tmp_path, capsys):
    arguments, whole = uninterrupted(tmp_path, capsys, 60)
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True)
    assert process.returncode == -signal.SIGKILL
    assert {each.suffix for each in tmp_path.iterdir()} == {".npz", "", ".tmp", ".lock"}
    assert main([*arguments, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["weights_sha256"] == whole["weights_sha256"]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "data.npz"]


INTERRUPTED = """
import os, signal, sys
from bitlearn.cli import main
from bitlearn.training import Trainer

made = Trainer.step
def step(self, *arguments):
    if self.steps == 5:  # the second one of an epoch of 4 steps
        os.kill(os.getpid(), signal.SIGINT)
    return made(self, *arguments)
Trainer.step = step
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_writes_a_checkpoint_and_exits_with_130(tmp_path, capsys):
    arguments, whole = uninterrupted(tmp_path, capsys, 66)
    process = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True)
    assert process.returncode == 130 and process.stdout == "" and "Traceback" not in process.stderr
    told = f"bitlearn train: interrupted; --resume goes on from {tmp_path / 'checkpoint'}"
    assert process.stderr.splitlines()[-1] == told
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "data.npz"]
    kept = bl.load(tmp_path / "checkpoint")
    assert (kept.epoch, kept.steps) in ((1, 1), (1, 2))  # before the step or behind it
    assert main([*arguments, "--resume"]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert (resumed["resumed_epochs"], resumed["resumed_steps"]) == (1, kept.steps)
    for ours, theirs in zip(resumed["history"], whole["history"], strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(["data", "checkpoint", "save", "json"], 2)])
@pytest.mark.parametrize("how", ["same", "spelling", "link", "hard link"])
def test_two_options_never_name_one_file(tmp_path, monkeypatch, capsys, first, second, how):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", X=np.zeros((20, 9), np.uint8), y=np.arange(20) % 2)
    content = (tmp_path / "data.npz").read_bytes()
    names = {"data": "data.npz", "checkpoint": "a", "save": "b", "json": "c"}
    one = names[first]
    other = {"same": one, "spelling": f"../{tmp_path.name}/./{one}"}.get(how, "d")
    if how == "link":
        os.symlink(one, other)
    elif how == "hard link":
        if not os.path.exists(one):
            (tmp_path / one).write_bytes(b"")
        os.link(one, other)
    given = [text for name, file in (names | {second: other}).items() for text in (f"--{name}", file)]
    assert main(["train", "--dataset", "npz", *given, "--epochs", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "must name different files, got" in err
    assert f"--{first}" in err and f"--{second}" in err
    assert (tmp_path / "data.npz").read_bytes() == content
