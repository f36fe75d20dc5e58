"""Checkpoints: the whole state of training after an epoch, in one file that appears whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint as `bitlearn.load` returns it; ``fit(..., resume=True)`` continues from the file itself.

    Parameters
    ----------
    model : Model
        The network after the last epoch.
    best : Frozen
        The inference form of the best epoch.
    epoch : int
        The number of epochs done.
    history : list of dict
        An entry per epoch.
    training : dict
        What the steps depend on: options, optimiser, policy, a digest of the data.
    """

    model: Model
    best: Frozen
    epoch: int
    history: list[dict[str, Any]]
    training: dict[str, Any]

    def __repr__(self) -> str:
        return f"Checkpoint(epoch {self.epoch} of {self.training.get('epochs')}, {self.model!r})"

    @property
    def result(self) -> Result:
        """The history as a result, with its table and curves."""
        return Result(history=self.history, best=self.best, resumed=self.epoch)


def opened(config: dict[str, Any], types: Types) -> serialization.Plan:
    """Return the plan of a `Checkpoint`."""
    serialization.check_keys(config, "training", "epoch", "history", "best")
    _check_history(config["history"], config["epoch"])
    best, make_best = serialization.frozen_plan(config["best"], types)
    model, make_model = serialization.model_plan(config["best"], types)
    where = {name: "parameters." if f"parameters.{name}" in types else "statistics." for name in model}
    wanted = {where[name] + name: kind for name, kind in model.items()} | serialization.under("best.", best)
    rest = {name: kind for name, kind in types.items() if name.startswith("state.")}

    def make(arrays: Arrays) -> Checkpoint:
        made = make_model({name: arrays[where[name] + name] for name in model})
        frozen = make_best(serialization.within("best.", arrays))
        return Checkpoint(made, frozen, config["epoch"], config["history"], config["training"])

    return wanted | rest, make


def store(
    path: Path,
    model: Model,
    trainer: Trainer,
    training: dict[str, Any],
    epoch: int,
    history: list[dict[str, Any]],
    best: Frozen,
) -> None:
    """Write a checkpoint after `epoch` epochs; `training` describes what the steps depend on."""
    best_arrays, best_config = serialization.frozen_parts(best)
    arrays = trainer.arrays() | {f"best.{name}": array for name, array in best_arrays.items()}
    config = {"training": training, "epoch": epoch, "history": history, "best": best_config}
    serialization.write("checkpoint", path, arrays, config)


def restore(
    path: Path, model: Model, trainer: Trainer, training: dict[str, Any], steps_in_epoch: int
) -> tuple[int, list[dict[str, Any]], Frozen]:
    """Restore a checkpoint: fill the model and the optimiser's state; return epochs done, history and best network.

    Raises
    ------
    ValueError
        If the file is corrupt or belongs to another training run; nothing is changed then.
    """
    live = trainer.arrays()

    def plan(config: dict[str, Any], types: Types) -> serialization.Plan:
        if set(config) != {"training", "epoch", "history", "best"} or not isinstance(config["training"], dict):
            raise ValueError(f"it must describe its arrays and its training, got {', '.join(config) or 'nothing'}")
        found, epoch, history = config["training"], config["epoch"], config["history"]
        # The number of epochs may change.
        differing = [key for key, value in training.items() if key != "epochs" and value != found.get(key)]
        if differing:
            texts = ", ".join(f"{key} {found.get(key)!r}, not {training[key]!r}" for key in differing)
            raise ValueError(f"checkpoint {path} must belong to the same training, but it has {texts}")
        _check_history(history, epoch)
        if epoch > training["epochs"]:
            raise ValueError(f"epochs must be at least the {epoch} already in {path}, got {training['epochs']}")
        best, make = serialization.frozen_plan(config["best"], types)

        def filled(arrays: Arrays) -> tuple[int, list[dict[str, Any]], Frozen]:
            if config["best"] != describe(model.root):
                raise ValueError("its best network must have the layers that are trained, got others")
            if arrays[f"state.{STEP}"] != epoch * steps_in_epoch:
                got = int(arrays[f"state.{STEP}"])
                raise ValueError(f"it must be after {epoch * steps_in_epoch} steps, {epoch} epochs, got {got}")
            trainer.optimizer.check_state(serialization.within("state.", arrays))
            parameters = serialization.within("parameters.", arrays) | serialization.within("statistics.", arrays)
            check_arrays(model.root, parameters)
            frozen = make(serialization.within("best.", arrays))

            def take_up() -> None:
                for name, target in live.items():
                    target[...] = arrays[name]
                trainer.steps = int(trainer.state[STEP])

            uninterrupted(take_up)
            return epoch, history, frozen

        return serialization.types_of(live) | {f"best.{name}": kind for name, kind in best.items()}, filled

    return serialization.read(path, {"checkpoint": plan})


def _check_history(history: Any, epoch: Any) -> None:
    """Raise ValueError if `history` is not a history of this many epochs."""
    if type(epoch) is not int or epoch < 1 or not isinstance(history, list) or len(history) != epoch:
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
