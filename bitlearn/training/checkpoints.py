"""Checkpoints: all state of a training after an epoch, in one file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitlearn import serialization
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.optim.rule import STEP
from bitlearn.training.step import Trainer


def _arrays(model: Model, trainer: Trainer) -> Arrays:
    """Return the live arrays of a training by the names that they have in a checkpoint."""
    return (
        {f"parameters.{name}": array for name, array in model.parameters().items()}
        | {f"statistics.{name}": array for name, array in model.statistics().items()}
        | {f"state.{name}": array for name, array in trainer.state.items()}
    )


def store(
    path: Path,
    model: Model,
    trainer: Trainer,
    training: dict[str, Any],
    epoch: int,
    history: list[dict[str, Any]],
    best: Frozen,
) -> None:
    """Write a checkpoint after `epoch` epochs; `training` says what the steps depend on."""
    best_arrays, best_config = serialization.frozen_parts(best)
    arrays = _arrays(model, trainer) | {f"best.{name}": array for name, array in best_arrays.items()}
    config = {"training": training, "epoch": epoch, "history": history, "best": best_config}
    serialization.write("checkpoint", path, arrays, config)


def restore(
    path: Path, model: Model, trainer: Trainer, training: dict[str, Any]
) -> tuple[int, list[dict[str, Any]], Frozen]:
    """Take up a checkpoint: fill the model and the optimiser's state; return epochs done, history and best network.

    Raises
    ------
    ValueError
        Where the file is corrupt or of another training; nothing is changed then.
    """
    arrays, config = serialization.read("checkpoint", path)
    with serialization.description(path):
        found, history, epoch = dict(config["training"]), list(config["history"]), int(config["epoch"])
        best = {name.removeprefix("best."): array for name, array in arrays.items() if name.startswith("best.")}
        frozen = serialization.frozen_from(best, config["best"], path)
    differing = [key for key, value in training.items() if value != found.get(key)]
    if differing:
        texts = ", ".join(f"{key} {found.get(key)!r}, not {training[key]!r}" for key in differing)
        raise ValueError(f"checkpoint {path} must be of the same training, but it has {texts}")
    serialization.fill(_arrays(model, trainer), arrays, path)
    trainer.steps = int(trainer.state[STEP])
    return epoch, history, frozen
