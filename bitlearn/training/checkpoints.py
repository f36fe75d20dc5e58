"""Checkpoints: the whole state of training, after an epoch or within one; the file appears whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn import serialization
from bitlearn.nn.description import check_arrays, describe
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.optim.rule import STEP
from bitlearn.safetensors import Types
from bitlearn.threads import uninterrupted
from bitlearn.training.result import Result
from bitlearn.training.step import Trainer

#: The entries for an epoch; a hook may add to them.
_TOLD = {"epoch", "loss", "validation_accuracy", "seconds"}


#: The array of the losses of an epoch that was interrupted.
_LOSSES = "begun.losses"


@dataclass(frozen=True)
class Begun:
    """What was made of an epoch that was interrupted: the losses of its steps, and seconds."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint as `bitlearn.load` returns it; ``fit(..., resume=True)`` continues from the file itself.

    Parameters
    ----------
    model : Model
        The network after the last epoch, or step if it was interrupted.
    best : Frozen
        The inference form of the best epoch; of the network as it is if it was interrupted in the first one.
    epoch : int
        The number of epochs done.
    history : list of dict
        An entry per epoch.
    training : dict
        What the steps depend on: options, optimiser, policy, a digest of the data.
    steps : int
        The number of steps done of the epoch in which it was interrupted, or 0.
    """

    model: Model
    best: Frozen
    epoch: int
    history: list[dict[str, Any]]
    training: dict[str, Any]
    steps: int = 0

    def __repr__(self) -> str:
        further = f" and {self.steps} steps" if self.steps else ""
        return f"Checkpoint(epoch {self.epoch} of {self.training.get('epochs')}{further}, {self.model!r})"

    @property
    def result(self) -> Result:
        """The history as a result, with its table and curves."""
        return Result(history=self.history, best=self.best, resumed=self.epoch)


def opened(config: dict[str, Any], types: Types) -> serialization.Plan:
    """Return the plan of a `Checkpoint`."""
    _check(config)
    losses = _losses(config)
    best, make_best = serialization.frozen_plan(config["best"], types)
    model, make_model = serialization.model_plan(config["best"], types)
    where = {name: "parameters." if f"parameters.{name}" in types else "statistics." for name in model}
    wanted = {where[name] + name: kind for name, kind in model.items()} | serialization.under("best.", best)
    rest = {name: kind for name, kind in types.items() if name.startswith("state.")}

    def make(arrays: Arrays) -> Checkpoint:
        made = make_model({name: arrays[where[name] + name] for name in model})
        frozen = make_best(serialization.within("best.", arrays))
        _begun(config, arrays)
        return Checkpoint(made, frozen, config["epoch"], config["history"], config["training"], config.get("steps", 0))

    return wanted | rest | losses, make


def store(
    path: Path,
    model: Model,
    trainer: Trainer,
    training: dict[str, Any],
    epoch: int,
    history: list[dict[str, Any]],
    best: Frozen,
    begun: Begun | None = None,
) -> None:
    """Write a checkpoint after `epoch` epochs and what was begun; `training` describes what the steps depend on."""
    best_arrays, best_config = serialization.frozen_parts(best)
    arrays = trainer.arrays() | {f"best.{name}": array for name, array in best_arrays.items()}
    config = {"training": training, "epoch": epoch, "history": history, "best": best_config}
    if begun is not None:
        config |= {"steps": len(begun.losses), "seconds": begun.seconds}
        arrays[_LOSSES] = np.array(begun.losses, dtype=np.float64)
    serialization.write("checkpoint", path, arrays, config)


def restore(
    path: Path, model: Model, trainer: Trainer, training: dict[str, Any], steps_in_epoch: int
) -> tuple[int, list[dict[str, Any]], Frozen, Begun]:
    """Restore a checkpoint: fill the model and the optimiser's state.

    Returns
    -------
    epoch : int
        The number of epochs done.
    history : list of dict
    best : Frozen
    begun : Begun
        What was made of the next epoch.

    Raises
    ------
    ValueError
        If the file is corrupt or belongs to another training run; nothing is changed then.
    """
    live = trainer.arrays()

    def plan(config: dict[str, Any], types: Types) -> serialization.Plan:
        _check(config)
        found, epoch, history = config["training"], config["epoch"], config["history"]
        # The number of epochs may change.
        differing = [key for key, value in training.items() if key != "epochs" and value != found.get(key)]
        if differing:
            texts = ", ".join(f"{key} {found.get(key)!r}, not {training[key]!r}" for key in differing)
            raise ValueError(f"checkpoint {path} must belong to the same training, but it has {texts}")
        losses, steps = _losses(config), config.get("steps", 0)
        if epoch + (steps > 0) > training["epochs"]:
            raise ValueError(
                f"epochs must be at least the {epoch + (steps > 0)} already in {path}, got {training['epochs']}"
            )
        best, make = serialization.frozen_plan(config["best"], types)

        def filled(arrays: Arrays) -> tuple[int, list[dict[str, Any]], Frozen, Begun]:
            if config["best"] != describe(model.root):
                raise ValueError("its best network must have the layers that are trained, got others")
            made = int(arrays[f"state.{STEP}"])
            if steps > steps_in_epoch or made != epoch * steps_in_epoch + steps:
                wanted = f"{epoch * steps_in_epoch + steps} steps, {epoch} epochs"
                raise ValueError(f"it must be after {wanted}{f' and {steps} steps' if steps else ''}, got {made}")
            trainer.optimizer.check_state(serialization.within("state.", arrays))
            parameters = serialization.within("parameters.", arrays) | serialization.within("statistics.", arrays)
            check_arrays(model.root, parameters)
            frozen, begun = make(serialization.within("best.", arrays)), _begun(config, arrays)

            def take_up() -> None:
                for name, target in live.items():
                    target[...] = arrays[name]
                trainer.steps = int(trainer.state[STEP])

            uninterrupted(take_up)
            return epoch, history, frozen, begun

        return serialization.types_of(live) | {f"best.{name}": kind for name, kind in best.items()} | losses, filled

    return serialization.read(path, {"checkpoint": plan})


def _check(config: dict[str, Any]) -> None:
    """Raise ValueError if a description is not that of a checkpoint."""
    wanted, within = {"training", "epoch", "history", "best"}, {"steps", "seconds"}
    if set(config) not in (wanted, wanted | within) or not isinstance(config["training"], dict):
        raise ValueError(f"it must describe its arrays and its training, got {', '.join(config) or 'nothing'}")
    _check_history(config["history"], config["epoch"], within=within <= set(config))
    steps, seconds = config.get("steps", 1), config.get("seconds", 0.0)
    if type(steps) is not int or steps < 1 or type(seconds) is not float or seconds < 0:
        raise ValueError(f"its epoch must have been begun with a number of steps, got {steps!r} in {seconds!r} s")


def _losses(config: dict[str, Any]) -> Types:
    """Return the type of the losses of an epoch that was interrupted, if there was one."""
    return {_LOSSES: ((config["steps"],), np.dtype(np.float64))} if "steps" in config else {}


def _begun(config: dict[str, Any], arrays: Arrays) -> Begun:
    """Return what was made of an epoch that was interrupted."""
    losses = arrays.get(_LOSSES, np.empty(0))
    if not np.isfinite(losses).all():
        raise ValueError("losses must be finite, got NaN or infinity")
    return Begun(losses.tolist(), config.get("seconds", 0.0))


def _check_history(history: Any, epoch: Any, *, within: bool) -> None:
    """Raise ValueError if `history` is not a history of this many epochs, none only within the first one."""
    if type(epoch) is not int or epoch < 1 - within or not isinstance(history, list) or len(history) != epoch:
        raise ValueError(f"it must have a history of its epochs, one entry each, got {epoch!r} epochs")
    for number, entry in enumerate(history, 1):
        if not isinstance(entry, dict) or not set(entry) >= _TOLD:
            raise ValueError(f"its history must have the same entries for each epoch, got {entry!r} as epoch {number}")
        value = entry["validation_accuracy"]
        if (
            entry["epoch"] != number
            or not all(isinstance(entry[key], float) for key in ("loss", "seconds"))
            or not (value is None or (isinstance(value, float) and 0 <= value <= 1))
        ):
            raise ValueError(f"its history must have valid entries for each epoch, got {entry!r} as epoch {number}")
