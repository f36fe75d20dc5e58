"""The training loop: the same result in every run and after an interruption, and a stop where something is wrong."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import optim, safetensors, serialization
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.errors import NonFiniteError
from bitlearn.precision import POLICIES
from bitlearn.training import Hook, Options, accuracy, fit, loop, steps_in_epoch

DATA = small.examples("mlp", 61)
VALIDATION = small.examples("mlp", 30, seed=12)


class Log(Hook):
    """A hook that writes all down, and may break off."""

    def __init__(self, stop_at: int = 0) -> None:
        self.batches, self.steps, self.epochs, self.stop_at = [], [], [], stop_at

    def on_batch(self, trainer, x, y):
        self.batches.append((trainer.steps, x.copy(), y.copy()))

    def on_step(self, step, steps, loss):
        self.steps.append((step, steps, loss))
        if step == self.stop_at:
            raise KeyboardInterrupt

    def on_epoch(self, entry):
        self.epochs.append(entry)


def run(precision="low-memory", optimizer="adam", options=None, seed=3, **how):
    """Train the small mlp; return the network, all its bytes with the history's, and the result."""
    network = small.model("mlp", precision, seed=seed)
    options = options or Options(epochs=3, batch_size=10, seed=5)
    result = fit(network, bl.optim.OPTIMIZERS[optimizer](), DATA, options, validation=VALIDATION, **how)
    history = [{key: value for key, value in entry.items() if key != "seconds"} for entry in result.history]
    best = {f"best.{name}": array.tobytes() for name, array in result.best.arrays.items()}
    return network, (small.everything(network), history, best), result


def test_steps_in_an_epoch():
    counts = [(count, size) for size in (2, 3, 10) for count in range(2, 35)]
    for count, size in counts:
        data = Examples(np.zeros((count, 4), dtype=np.uint8), np.zeros(count, dtype=int), DATA.preparation)
        network = bl.models.mlp((4,), 2, hidden=(2,))
        if count in (2, 3, 20, 21, 31):
            result = fit(network, bl.optim.sgd(), data, Options(epochs=1, batch_size=size))
            assert len(result.losses) == steps_in_epoch(count, size)
        assert steps_in_epoch(count, size) == sum(1 for i in range(0, count, size) if min(size, count - i) >= 2)


@pytest.mark.parametrize("precision", [*small.POLICIES, small.APART[0]])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "bop"])
def test_a_resumed_training_is_the_same_bit_for_bit(precision, optimizer, tmp_path):
    _, first, uninterrupted = run(precision, optimizer)
    _, again, _ = run(precision, optimizer)
    assert first == again
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run(precision, optimizer, checkpoint=path, hooks=Log(stop_at=10))  # in the second epoch of 6 steps
    # `seed` only decides the start, which the checkpoint takes the place of.
    _, resumed, rest = run(precision, optimizer, seed=99, checkpoint=path, resume=True)
    assert resumed == first
    assert rest.losses == uninterrupted.losses[10:]
    # Of a finished training nothing is left to do.
    _, finished, nothing = run(precision, optimizer, checkpoint=path, resume=True)
    assert finished == first and nothing.losses == []


def test_without_a_checkpoint_resuming_starts(tmp_path):
    assert run(checkpoint=tmp_path / "none", resume=True)[1] == run()[1]


def test_steps_epochs_and_history():
    log = Log()
    _, _, result = run(hooks=log)
    assert [step for step, _, _ in log.steps] == list(range(1, 19)) and {steps for _, steps, _ in log.steps} == {18}
    assert [loss for _, _, loss in log.steps] == result.losses and len(result.step_seconds) == 18
    assert log.epochs == result.history and [entry["epoch"] for entry in result.history] == [1, 2, 3]
    for index, entry in enumerate(result.history):
        assert entry["loss"] == pytest.approx(np.mean(result.losses[6 * index : 6 * index + 6]))
        assert 0 <= entry["validation_accuracy"] <= 1 and entry["seconds"] > 0
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_the_best_epoch_is_kept():
    _, _, result = run()
    best = max(entry["validation_accuracy"] for entry in result.history)
    assert accuracy(result.best, VALIDATION) == best
    network = small.model("mlp", "int8")
    result = fit(network, bl.optim.adam(), DATA, Options(epochs=2, batch_size=10))
    assert [entry["validation_accuracy"] for entry in result.history] == [None, None]
    np.testing.assert_array_equal(result.best.scores(DATA.codes()), network.scores(DATA.codes()))


def test_of_equal_epochs_the_first_is_kept(monkeypatch):
    values = iter([0.5, 0.75, 0.75])
    monkeypatch.setattr(loop, "accuracy", lambda *arguments, **how: next(values))
    path = []

    class Keep(Log):
        def on_epoch(self, entry):
            path.append(network.scores(VALIDATION.codes()))

    network = small.model("mlp", "int8")
    options = Options(epochs=3, batch_size=10, learning_rate=0.05)
    result = fit(network, bl.optim.adam(), DATA, options, validation=VALIDATION, hooks=Keep())
    assert not np.array_equal(path[1], path[2])
    np.testing.assert_array_equal(result.best.scores(VALIDATION.codes()), path[1])


def test_max_steps_keeps_the_schedule_and_the_whole_epochs(tmp_path):
    options = {"epochs": 3, "batch_size": 10, "seed": 5}
    _, _, full = run()
    log, path = Log(), tmp_path / "checkpoint"
    _, _, result = run(options=Options(**options, max_steps=8), hooks=log, checkpoint=path)
    assert result.losses == full.losses[:8] and log.steps[-1][1] == 8 and len(result.history) == 2
    # Going on starts at the last whole epoch, and ends where the full training does.
    _, resumed, rest = run(options=Options(**options), checkpoint=path, resume=True)
    assert rest.losses == full.losses[6:] and resumed == run()[1]
    assert len(run(options=Options(**options, max_steps=6))[2].history) == 1


def test_learning_rate_and_batches_depend_on_the_options():
    _, default, _ = run()
    for change in ({"seed": 6}, {"learning_rate": 0.01}, {"schedule": "constant"}, {"batch_size": 12}):
        assert run(options=Options(**({"epochs": 3, "batch_size": 10, "seed": 5} | change)))[1] != default
    same = Options(epochs=3, batch_size=10, seed=5, learning_rate=0.001, schedule="cosine")
    assert run(options=same)[1] == default


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"options": Options(epochs=3, batch_size=11, seed=6)}, "batch_size 10, not 11, seed 5, not 6"),
        ({"optimizer": "sgd"}, r"optimizer 'Adam\(.*\)', not 'SGD\(learning_rate=None, momentum=0.9\)'"),
        ({"precision": "standard"}, "precision 'int8', not 'standard'"),
        ({"options": Options(epochs=3, batch_size=10, seed=5, schedule="step")}, "schedule 'cosine', not 'step'"),
        (
            {"options": Options(epochs=3, batch_size=10, seed=5, schedule=optim.schedules.cosine)},
            "schedule 'cosine', not 'a callable'",
        ),
        (
            {"options": Options(epochs=3, batch_size=10, seed=5, augment=True, mirror=True)},
            "augment False, not True, mirror False, not True",
        ),
        ({"transforms": (optim.transforms.clip(1.0),)}, "transforms 0, not 1"),
        ({"loss": small.Squares()}, "loss 'SoftmaxCrossEntropy', not 'Squares'"),
        ({"precision": replace(POLICIES["int8"], norm="l1")}, "precision 'int8', not {'name': 'int8', "),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(change, sentence, tmp_path):
    path = tmp_path / "checkpoint"
    run("int8", checkpoint=path)
    with pytest.raises(ValueError, match=rf"checkpoint .* must belong to the same training, but it has {sentence}"):
        run(**({"precision": "int8"} | change), checkpoint=path, resume=True)


def test_a_checkpoint_of_another_network_or_of_other_data_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    options = Options(epochs=1, batch_size=10)
    network = bl.models.mlp((7, 5, 1), 4, hidden=(9,))
    fit(network, bl.optim.adam(), DATA, options, checkpoint=path)
    wider = bl.models.mlp((7, 5, 1), 4, hidden=(10,))
    before = small.everything(wider)
    with pytest.raises(ValueError, match=r"'parameters.linear1.weight' as float32 \(10, 35\), got float32 \(9"):
        fit(wider, bl.optim.adam(), DATA, options, checkpoint=path, resume=True)
    assert small.everything(wider) == before
    with pytest.raises(ValueError, match="examples 61, not 60"):
        fit(network, bl.optim.adam(), DATA[:60], options, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="validation None, not 30"):
        fit(network, bl.optim.adam(), DATA, options, validation=VALIDATION, checkpoint=path, resume=True)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    bl.save(small.model("mlp", "int8"), path)
    with pytest.raises(ValueError, match="must hold a checkpoint, got 'model'"):
        run(checkpoint=path, resume=True)
    run(checkpoint=path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="checkpoint"):
        run(checkpoint=path, resume=True)
    path.write_bytes(whole.replace(b'\\"history\\"', b'\\"histery\\"'))
    with pytest.raises(ValueError, match="it must describe its arrays and its training, got best, epoch, histery"):
        run(checkpoint=path, resume=True)
    serialization.write("checkpoint", path, {}, {"training": {}, "epoch": 1})
    with pytest.raises(ValueError, match="must describe its arrays"):
        run(checkpoint=path, resume=True)
    serialization.write("strange", path, {}, {})
    with pytest.raises(ValueError, match="must hold one of model, frozen"):
        bl.load(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    """From which training goes on with the same bits, once there is room."""
    path = tmp_path / "checkpoint"
    options = Options(epochs=2, batch_size=10)
    uninterrupted = small.model("mlp", "int8")
    fit(uninterrupted, bl.optim.adam(), DATA, options)
    whole = {}

    def fails(*arguments):
        if path.exists():
            whole["first"] = path.read_bytes()
            raise OSError("no space left on device")
        return replace(*arguments)

    replace = os.replace
    monkeypatch.setattr("bitlearn.files.os.replace", fails)
    with pytest.raises(OSError, match="no space"):
        fit(small.model("mlp", "int8"), bl.optim.adam(), DATA, options, checkpoint=path)
    assert path.read_bytes() == whole["first"] and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    resumed = small.model("mlp", "int8")
    result = fit(resumed, bl.optim.adam(), DATA, options, checkpoint=path, resume=True)
    assert result.resumed == 1 and small.everything(resumed) == small.everything(uninterrupted)


POISONED = [("sign1", "bias"), ("sign2", "running_mean"), ("sign2", "running_std")]
POISONED += [("linear1", "weight"), ("linear2", "weight"), ("linear3", "weight")]
POISONED += [("norm1", "bias"), ("norm1", "running_mean"), ("norm1", "running_std"), ("head1", "weight")]


@pytest.mark.parametrize("precision", small.POLICIES)
@pytest.mark.parametrize(("layer", "array"), POISONED)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_stops_where_a_value_is_not_finite(precision, layer, array, bad, tmp_path):
    """In the second epoch: the first one's checkpoint is kept, and nothing else is poisoned."""
    network = small.model("mlp", precision, head="real" if layer == "head1" else "binary")
    path = tmp_path / "checkpoint"
    snapshots = {}

    class Poison(Log):
        def on_step(self, step, steps, loss):
            if step == 8:
                target = (network[layer].parameters() | network[layer].statistics())[array]
                target.flat[1] = bad
                snapshots["model"] = {key: value.copy() for key, value in network.state().items()}
                snapshots["file"] = path.read_bytes()

    options = Options(epochs=3, batch_size=10)
    with pytest.raises(NonFiniteError, match=rf"must be finite, got NaN or infinity in layer '{layer}' at step 9$"):
        fit(network, bl.optim.adam(), DATA, options, checkpoint=path, hooks=Poison())
    assert path.read_bytes() == snapshots["file"]
    for name, value in network.state().items():
        np.testing.assert_array_equal(value, snapshots["model"][name])
        assert name == f"{layer}.{array}" or np.isfinite(value).all()


def test_features_that_are_not_finite(rng):
    x = rng.normal(size=(20, 5))
    preparation = prepare(x)
    x[17, 2] = np.nan
    data = Examples(x, rng.integers(0, 2, 20), preparation)
    with pytest.raises(ValueError, match="features must be finite, got NaN or infinity"):
        fit(bl.models.mlp((5,), 2, hidden=(8,)), bl.optim.adam(), data, Options(epochs=1, batch_size=20))


def test_labels_outside_the_classes_change_nothing():
    network = small.model("mlp", "int8")
    before = small.everything(network)
    for bad, found in ((7, "0 to 7"), (-1, "-1 to 3")):
        y = DATA.y.copy()
        y[60] = bad
        data = Examples(DATA.x, y, DATA.preparation)
        with pytest.raises(ValueError, match=rf"labels must lie in \[0, 4\), got {found}"):
            fit(network, bl.optim.bop(), data, Options(epochs=1, batch_size=10))
    assert small.everything(network) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number above 0, got nan"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, step, or a callable, got 'linear'"),
    ],
)
def test_wrong_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options(**options)


def test_too_few_examples():
    with pytest.raises(ValueError, match=r"train must hold at least 2 examples, .*, got 1"):
        fit(small.model("mlp", "int8"), bl.optim.adam(), DATA[:1], Options(epochs=1))


def test_augmentation_is_reproducible_and_wants_images():
    data = small.examples("cnv", 8)
    options = Options(epochs=2, batch_size=4, augment=True)
    found = []
    for _ in range(2):
        network = small.model("cnv", "low-memory")
        fit(network, bl.optim.adam(), data, options)
        found.append(small.everything(network))
    assert found[0] == found[1]
    rows = Examples(np.zeros((4, 5), dtype=np.uint8), np.zeros(4, dtype=int), DATA.preparation)
    with pytest.raises(ValueError, match=r"augmentation needs images, got examples of shape \(5,\)"):
        fit(bl.models.mlp((5,), 2, hidden=(4,)), bl.optim.adam(), rows, options)


def test_measure_is_entered_around_the_steps_alone():
    class Meter:
        entered = left = 0

        def __enter__(self):
            self.entered += 1

        def __exit__(self, *_):
            self.left += 1

    meter = Meter()
    run(measure=meter)
    assert meter.entered == meter.left == 3


def test_a_checkpoint_holds_arrays_and_text_only(tmp_path):
    path = tmp_path / "checkpoint"
    run(checkpoint=path)
    arrays, _ = safetensors.read(path)
    assert {name.split(".")[0] for name in arrays} == {"parameters", "statistics", "state", "best"}
    assert arrays["state.step"] == 18 and arrays["parameters.linear1.weight"].dtype == np.float16
