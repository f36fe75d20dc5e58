"""What can be put into the training loop: rates, hooks, transforms of gradients, augmentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import small
from test_training import DATA, Log, run

import bitlearn as bl
from bitlearn import optim
from bitlearn.datasets import Examples, prepare
from bitlearn.training import Hook, Options, Trainer, fit


def half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("cosine", half_cosine),
        ("constant", lambda done: 1),
        ("step", lambda done: 1 if done < 0.5 else 0.1 if done < 0.75 else 0.01),
        (lambda done: 1 - done**2, lambda done: 1 - done**2),
    ],
    ids=["cosine", "constant", "step", "callable"],
)
def test_the_rate_of_each_step(schedule, factor, monkeypatch):
    rates, step = [], Trainer.step

    def noted(self, x, y, learning_rate):
        rates.append(learning_rate)
        return step(self, x, y, learning_rate)

    monkeypatch.setattr(Trainer, "step", noted)
    run(options=Options(epochs=3, batch_size=10, seed=5, learning_rate=0.02, schedule=schedule))
    np.testing.assert_allclose(rates, [0.02 * factor(i / 18) for i in range(18)], rtol=1e-12)


@pytest.mark.parametrize(
    ("precision", "optimizer", "wanted"),
    [
        ("int8", "sgd", 10),
        ("standard", "sgd", 10),
        ("low-memory", "sgd", 0.1),
        ("float32-bits", "sgd", 3),
        ("int8", "adam", 1e-3),
        ("int8", "bop", 1e-3),
    ],
)
def test_the_rate_where_none_is_given(precision, optimizer, wanted, monkeypatch):
    """The optimiser's own, which SGD has by policy: a sign is far larger than a gradient."""
    rates, step = [], Trainer.step

    def noted(self, x, y, learning_rate):
        rates.append(learning_rate)
        return step(self, x, y, learning_rate)

    monkeypatch.setattr(Trainer, "step", noted)
    run(precision, optimizer, options=Options(epochs=1, batch_size=10, schedule="constant"))
    assert set(rates) == {wanted}


def test_a_loss_of_ones_own():
    """As a trainer takes it: the same steps by hand."""
    _, _, result = run(
        "int8", loss=small.Squares(), options=Options(epochs=1, batch_size=10, seed=5, schedule="constant")
    )
    log = Log()
    run("int8", hooks=log, options=Options(epochs=1, batch_size=10, seed=5))
    trainer = Trainer(small.model("mlp", "int8"), bl.optim.adam(), 5, small.Squares())
    assert [trainer.step(x, y, 0.001) for _, x, y in log.batches] == result.losses


def test_a_callable_schedule_gives_what_the_named_one_gives(tmp_path):
    options = {"epochs": 3, "batch_size": 10, "seed": 5}
    _, named, _ = run(options=Options(**options, schedule="cosine"))
    by_hand = Options(**options, schedule=half_cosine)
    assert run(options=by_hand)[1] == named
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run(options=by_hand, checkpoint=path, hooks=Log(stop_at=9))
    assert run(options=by_hand, checkpoint=path, resume=True)[1] == named


def test_hooks_are_told_of_what_they_have_a_method_for():
    told = []

    class Epochs:
        def on_epoch(self, entry):
            told.append(("epoch", entry["epoch"]))

    class Steps:
        def on_step(self, step, steps, loss):
            told.append(("step", step))

    log = Log()
    _, plain, _ = run()
    _, found, _ = run(hooks=(hook for hook in (Epochs(), log, Steps(), Hook())))
    assert found == plain
    assert told == [e for k in (1, 2, 3) for e in (*(("step", 6 * k - 5 + i) for i in range(6)), ("epoch", k))]
    assert [steps for steps, _, _ in log.batches] == list(range(18))
    # Each epoch's batches are all examples but the one that would be alone.
    for epoch in range(3):
        x = np.concatenate([x for _, x, _ in log.batches[6 * epoch : 6 * epoch + 6]])
        codes = sorted(map(bytes, DATA.codes()))
        found = sorted(map(bytes, x))
        assert len(found) == 60 and set(found) <= set(codes)


def test_a_hook_may_look_into_the_trainer_and_change_what_is_learned():
    class Freeze(Hook):
        def on_batch(self, trainer, x, y):
            trainer.parameters["linear1.weight"][...] = before

    network = small.model("mlp", "int8")
    before = network["linear1"].weight.copy()
    fit(network, bl.optim.adam(), DATA, Options(epochs=1, batch_size=10), hooks=Freeze())
    # The last step's update is all that is left.
    assert 0 < np.abs(network["linear1"].weight - before).max() < 0.002


@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
def test_transforms_stand_between_gradients_and_updates(precision):
    keep = np.zeros((65, 35), dtype=bool)
    keep[::2] = True
    seen = []

    def note(name, gradient, parameter):
        assert gradient.dtype == np.float32 and gradient.shape == parameter.shape
        seen.append(name)

    network = small.model("mlp", precision)
    before = {name: array.copy() for name, array in network.parameters().items()}
    transforms = (optim.transforms.mask({"linear1.weight": keep}), note)
    fit(network, bl.optim.sgd(), DATA, Options(epochs=1, batch_size=10), transforms=transforms)
    changed = network["linear1"].weight != before["linear1.weight"]
    assert not changed[1::2].any() and changed[::2].mean() > 0.5
    assert (network["linear2"].weight != before["linear2.weight"]).mean() > 0.5
    # Each parameter once a step.
    assert sorted(seen) == sorted(6 * list(before))


def test_what_does_nothing_changes_nothing():
    """Under ``standard`` the gradient is float32 already: with a transform or without one, the same bits."""
    assert run("standard", transforms=(lambda name, gradient, parameter: None,))[1] == run("standard")[1]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_mirrored_where_that_is_asked_for(channels, mirror, rng):
    """Whatever their channels: a mirrored image has its bright column, the first, on the right."""
    x = np.zeros((60, 4, 4, channels), dtype=np.uint8)
    x[:, :, 0] = 255
    data = Examples(x, rng.integers(0, 2, 60), prepare(x))
    log = Log()
    options = Options(epochs=1, batch_size=60, augment=True, mirror=mirror)
    fit(bl.models.mlp((4, 4, channels), 2, hidden=(8,), precision="int8"), bl.optim.sgd(), data, options, hooks=log)
    ((_, batch, _),) = log.batches
    right = (batch[:, 1:3, 2:] == 127).any(axis=(1, 2, 3))
    # Shifts are by at most a pixel (an eighth of the height, rounded), so they do not pass the middle.
    assert right.any() == mirror
    assert not right.all()


def test_each_step_moves_images_anew():
    """Of images that are all alike, batches only differ by augmentation; two trainings have the same."""
    x = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(20, axis=0)
    data = Examples(x, np.arange(20) % 2, prepare(x))
    logs = [Log(), Log()]
    for log in logs:
        network = bl.models.mlp((8, 8, 3), 2, hidden=(8,), precision="int8")
        fit(network, bl.optim.sgd(), data, Options(epochs=2, batch_size=10, augment=True), hooks=log)
    first, second = ([bytes(batch) for _, batch, _ in log.batches] for log in logs)
    assert first == second and len(set(first)) == 4
