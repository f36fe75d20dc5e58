"""Going on after an interruption, wherever it was: the same bits as without one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import safetensors, serialization
from bitlearn.training import Hook, Options, Trainer, fit

DATA = small.examples("mlp", 43)
VALIDATION = small.examples("mlp", 20, seed=12)
#: 43 examples are 5 steps an epoch: the last batch holds 3.
EPOCHS, STEPS = 4, 5
OPTIONS = Options(epochs=EPOCHS, batch_size=10, seed=5, schedule=lambda done: 1 - done)


class Interrupt(Hook):
    """Break off at a step, or as an epoch is told of, before its checkpoint is written."""

    def __init__(self, step: int = 0, epoch: int = 0):
        self.step, self.epoch = step, epoch

    def on_step(self, step, steps, loss):
        if step == self.step:
            raise KeyboardInterrupt

    def on_epoch(self, entry):
        if entry["epoch"] == self.epoch:
            raise KeyboardInterrupt


def run(precision, optimizer="adam", options=OPTIONS, **how):
    """Train the small mlp; return the bytes of all that is kept, and the losses."""
    network = small.model("mlp", precision)
    result = fit(network, bl.optim.OPTIMIZERS[optimizer](), DATA, options, validation=VALIDATION, **how)
    history = [{key: value for key, value in entry.items() if key != "seconds"} for entry in result.history]
    best = {name: array.tobytes() for name, array in result.best.arrays.items()}
    return (small.everything(network), history, best), result.losses


@pytest.mark.parametrize("precision", ["int8", "low-memory", "int4", small.APART[0]])
def test_an_interruption_in_each_epoch(precision, tmp_path):
    whole, losses = run(precision)
    for epoch in range(EPOCHS):
        for place, hook in enumerate((Interrupt(step=epoch * STEPS + 3), Interrupt(epoch=epoch + 1))):
            path = tmp_path / f"{epoch}-{place}"
            with pytest.raises(KeyboardInterrupt):
                run(precision, checkpoint=path, hooks=hook)
            # Nothing is done again, but validation.
            done = epoch * STEPS + (STEPS if place else 3)
            assert run(precision, checkpoint=path, resume=True) == (whole, losses[done:])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("precision", small.INTEGER)
def test_one_interruption_after_another(precision, optimizer, tmp_path):
    path = tmp_path / "checkpoint"
    whole, losses = run(precision, optimizer)
    for epoch in range(EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            run(precision, optimizer, checkpoint=path, resume=True, hooks=Interrupt(step=epoch * STEPS + 1))
    assert run(precision, optimizer, checkpoint=path, resume=True) == (whole, losses[1 - STEPS :])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_only_an_interruption_is_kept_within_an_epoch(stop, tmp_path):
    """Ctrl-C, and what the handler of another signal raises to exit; an error keeps what the last epoch left."""

    class Stop(Hook):
        def on_step(self, step, steps, loss):
            if step == STEPS + 2:
                raise stop

    path = tmp_path / "checkpoint"
    with pytest.raises(stop):
        run("int8", checkpoint=path, hooks=Stop())
    kept = bl.load(path)
    assert (kept.epoch, kept.steps, len(kept.history)) == (1, 0 if stop is RuntimeError else 2, 1)
    assert ("and 2 steps" in repr(kept)) == (stop is not RuntimeError)


def test_the_loss_of_a_step_that_was_interrupted_behind_it_is_kept(tmp_path, monkeypatch):
    path, (whole, losses), made = tmp_path / "checkpoint", run("int8"), Trainer.step

    def step(self, *arguments):
        loss = made(self, *arguments)
        if self.steps == STEPS + 3:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run("int8", checkpoint=path)
    monkeypatch.undo()
    assert run("int8", checkpoint=path, resume=True) == (whole, losses[STEPS + 3 :])


def test_a_result_says_where_it_went_on(tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run("int8", checkpoint=path, hooks=Interrupt(step=2))
    kept = bl.load(path)
    assert (kept.epoch, kept.steps, kept.history) == (0, 2, [])
    network = small.model("mlp", "int8")
    result = fit(network, bl.optim.adam(), DATA, OPTIONS, validation=VALIDATION, checkpoint=path, resume=True)
    assert (result.resumed, result.resumed_steps, len(result.losses)) == (0, 2, EPOCHS * STEPS - 2)
    assert result.history[0]["seconds"] > 0


def test_backends_take_over_from_each_other(tmp_path):
    """A checkpoint of one backend goes on in another."""
    path = tmp_path / "checkpoint"
    whole, losses = run("int4")
    with bl.use_backend("reference"), pytest.raises(KeyboardInterrupt):
        run("int4", checkpoint=path, hooks=Interrupt(step=2 * STEPS + 1))
    assert run("int4", checkpoint=path, resume=True) == (whole, losses[2 * STEPS + 1 :])


def test_augmented_images_are_the_same_after_an_interruption(tmp_path):
    data, path = small.examples("cnv", 12), tmp_path / "checkpoint"
    options = Options(epochs=2, batch_size=4, seed=1, augment=True)

    def learned(**how):
        network = small.model("cnv", "int4")
        fit(network, bl.optim.adam(), data, options, **how)
        return small.everything(network)

    whole = learned()
    with pytest.raises(KeyboardInterrupt):
        learned(checkpoint=path, hooks=Interrupt(step=5))
    assert learned(checkpoint=path, resume=True) == whole


def test_a_checkpoint_of_another_seed_of_weights_goes_on_as_it_was(tmp_path):
    """The weights of the checkpoint take the place of those that the network began with, for every kind of array."""
    path = tmp_path / "checkpoint"
    whole, _ = run("low-memory", checkpoint=path)
    network = small.model("mlp", "low-memory", seed=77)
    fit(network, bl.optim.adam(), DATA, OPTIONS, validation=VALIDATION, checkpoint=path, resume=True)
    assert small.everything(network) == whole[0]


def test_nothing_is_changed_by_a_checkpoint_that_does_not_fit(tmp_path):
    path = tmp_path / "checkpoint"
    run("int8", checkpoint=path)
    arrays, metadata = safetensors.read(path)
    arrays["state.linear2.weight.mean"] = np.zeros(3, dtype=np.float32)
    serialization.write("checkpoint", path, arrays, json.loads(metadata["bitlearn"])["config"])
    network = small.model("mlp", "int8")
    before = small.everything(network)
    with pytest.raises(ValueError, match=r"must hold 'state.linear2.weight.mean' as float32 \(33, 65\), got "):
        fit(network, bl.optim.adam(), DATA, OPTIONS, validation=VALIDATION, checkpoint=path, resume=True)
    assert small.everything(network) == before
