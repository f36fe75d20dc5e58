"""Callbacks of training: when it stops, what is kept and written down, over an interruption too; checkpoints."""

from __future__ import annotations

import csv
import importlib.util
import sys

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.training import BestCheckpoint, CsvLog, EarlyStopping, Hook, Options, ProgressBar, TensorBoard, fit

DATA = small.examples("mlp", 130)


def entries(*values):
    return [
        {"epoch": at, "loss": 1.0 - value, "validation_accuracy": value, "seconds": 0.5}
        for at, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("patience", "least", "values", "stops"),
    [
        (2, 0.0, (0.5, 0.6, 0.6, 0.5, 0.9), 4),
        (1, 0.0, (0.5, 0.6, 0.7), None),
        (1, 0.2, (0.5, 0.6, 0.9), 2),
        (2, 0.2, (0.5, 0.6, 0.75, 0.8), None),
    ],
)
@pytest.mark.parametrize("metric", ["validation_accuracy", "loss"])
def test_when_early_stopping_stops(patience, least, values, stops, metric):
    hook = EarlyStopping(patience, metric, least)
    hook.on_begin(None, [])
    said = [hook.on_epoch(entry) for entry in entries(*values)]
    assert (said.index(True) + 1 if True in said else None) == stops
    # A training that goes on from a checkpoint stops at the same epoch.
    again = EarlyStopping(patience, metric, least)
    again.on_begin(None, entries(*values)[:1])
    assert [again.on_epoch(entry) for entry in entries(*values)[1:]] == said[1:]


def test_wrong_settings():
    for made, sentence in (
        (lambda: EarlyStopping(0), "patience must be an integer of at least 1, got 0"),
        (lambda: EarlyStopping(metric="accuracy"), "metric must be one of validation_accuracy, loss, got 'accuracy'"),
        (lambda: EarlyStopping(least=-1.0), "least must be at least 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            made()
    with pytest.raises(ValueError, match="validation examples must be given to watch validation_accuracy"):
        fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, Options(epochs=1), hooks=EarlyStopping())


def test_a_training_that_stops_stays_stopped(tmp_path):
    class Third(Hook):
        def on_epoch(self, entry):
            return entry["epoch"] == 3

    seen = []

    class Told:  # any object with a method of that name
        def on_epoch(self, entry):
            seen.append(entry["epoch"])

    path, model = str(tmp_path / "checkpoint"), small.model("mlp", "int8")
    options = Options(epochs=6, batch_size=20)
    result = fit(model, bl.optim.adam(), DATA, options, hooks=[Third(), Told()], checkpoint=path)
    assert [entry["epoch"] for entry in result.history] == seen == [1, 2, 3]
    assert result.history[-1]["stopped"] and "stopped" not in result.history[0]
    again = fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, options, checkpoint=path, resume=True)
    assert again.resumed == 3 and again.losses == [] and len(again.history) == 3


def test_files_of_callbacks(tmp_path):
    model, log, best = small.model("mlp", "int8"), tmp_path / "log.csv", tmp_path / "best"
    hooks = [CsvLog(str(log)), BestCheckpoint(str(best), "loss")]
    options = Options(epochs=4, batch_size=20)
    kept = []

    class Keep(Hook):
        def on_epoch(self, entry):
            kept.append((entry["loss"], {name: array.copy() for name, array in model.state().items()}))

    result = fit(model, bl.optim.adam(), DATA, options, validation=DATA, hooks=[*hooks, Keep()])
    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["loss"]) for row in rows] == [entry["loss"] for entry in result.history]
    wanted = min(kept, key=lambda each: each[0])[1]
    for name, array in bl.load(best).state().items():
        np.testing.assert_array_equal(array, wanted[name])


def test_a_log_goes_on_after_a_resume(tmp_path):
    path, options = tmp_path / "checkpoint", Options(epochs=3, batch_size=20)
    fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, Options(epochs=2, batch_size=20), checkpoint=path)
    log = CsvLog(tmp_path / "log.csv")
    fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, options, checkpoint=path, resume=True, hooks=log)
    assert [line[0] for line in log.path.read_text().splitlines()[1:]] == ["1", "2", "3"]


def test_more_epochs_after_a_checkpoint(tmp_path):
    """At a constant rate they are those of a training that was longer from the start, bit for bit."""
    path, rule = tmp_path / "checkpoint", bl.optim.adam()
    short, long = (Options(epochs=epochs, batch_size=20, schedule="constant") for epochs in (2, 5))
    first = fit(small.model("mlp", "int8"), rule, DATA, short, checkpoint=path, resume=True)
    assert first.resumed == 0
    went_on, whole = small.model("mlp", "int8"), small.model("mlp", "int8")
    second = fit(went_on, rule, DATA, long, checkpoint=path, resume=True)
    third = fit(whole, rule, DATA, long)
    assert second.resumed == 2 and first.losses + second.losses == third.losses
    assert small.everything(went_on) == small.everything(whole)
    with pytest.raises(ValueError, match=r"epochs must be at least the 5 already in .*, got 2"):
        fit(small.model("mlp", "int8"), rule, DATA, short, checkpoint=path, resume=True)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_loaded_checkpoint(precision, tmp_path):
    path, model = tmp_path / "checkpoint", small.model("mlp", precision)
    result = fit(model, bl.optim.adam(), DATA, Options(epochs=2, batch_size=20), validation=DATA, checkpoint=path)
    found = bl.load(str(path))
    assert found.epoch == 2 and found.history == result.history and "epoch 2 of 2" in repr(found)
    for name, array in found.model.state().items():
        np.testing.assert_array_equal(array, model.state()[name])
    codes = DATA.codes()
    np.testing.assert_array_equal(found.best.scores(codes), result.best.scores(codes))
    assert found.result.table() == result.table()


def test_tensorboard(tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(ImportError, match="needs tensorboard: pip install tensorboard"):
            TensorBoard(tmp_path)
        pytest.skip("tensorboard is not installed")
    hook = TensorBoard(tmp_path)
    fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, Options(epochs=2, batch_size=20), hooks=hook)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path)).Reload()
    assert len(found.Scalars("epoch/loss")) == 2


def test_a_bar_is_closed_whatever_happens(monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed: bitlearn-xnor[cli]")
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # as in a notebook
    hook, stopped = ProgressBar(), []

    class Fails(Hook):
        def on_epoch(self, entry):
            monkeypatch.setattr(hook._bar, "stop", lambda stop=hook._bar.stop: (stopped.append(hook._bar), stop()))
            assert hook._bar.tasks[0].completed == hook._bar.tasks[0].total / 2
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, Options(epochs=2, batch_size=20), hooks=[hook, Fails()])
    assert len(stopped) == 1 and hook._bar is None
