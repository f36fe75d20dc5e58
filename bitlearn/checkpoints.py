"""Checkpoints: all state of a training after an epoch, in one file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitlearn import serialization
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.sequential import Sequential
from bitlearn.optim import Arrays


def _arrays(model: Sequential, state: Arrays) -> Arrays:
    """Return the live arrays of a training by the names that they have in a checkpoint."""
    return (
        {f"parameters.{name}": array for name, array in model.parameters().items()}
        | {f"statistics.{name}": array for name, array in model.statistics().items()}
        | {f"state.{name}": array for name, array in state.items()}
    )


def store(
    path: Path,
    model: Sequential,
    state: Arrays,
    training: dict[str, Any],
    epoch: int,
    history: list[dict[str, Any]],
    best: Frozen,
) -> None:
    """Write a checkpoint after `epoch` epochs; `training` says what the steps depend on."""
    best_arrays, best_config = serialization.frozen_parts(best)
    arrays = _arrays(model, state) | {f"best.{name}": array for name, array in best_arrays.items()}
    config = {"training": training, "epoch": epoch, "history": history, "best": best_config}
    serialization.write("checkpoint", path, arrays, config)


def restore(
    path: Path, model: Sequential, state: Arrays, training: dict[str, Any]
) -> tuple[int, list[dict[str, Any]], Frozen]:
    """Take up a checkpoint: fill the model and the state, and return the epochs done, the history and the best network.

    Raises
    ------
    ValueError
        Where the file is corrupt or of another training; nothing is changed then.
    """
    arrays, config = serialization.read("checkpoint", path)
    with serialization.description(path):
        found, history, epoch = dict(config["training"]), list(config["history"]), int(config["epoch"])
        best = {name.removeprefix("best."): array for name, array in arrays.items() if name.startswith("best.")}
        frozen = serialization.frozen_from(best, config["best"])
    differing = [key for key, value in training.items() if value != found.get(key)]
    if differing:
        texts = ", ".join(f"{key} {found.get(key)!r}, not {training[key]!r}" for key in differing)
        raise ValueError(f"checkpoint {path} must be of the same training, but it has {texts}")
    serialization.fill(_arrays(model, state), arrays, path)
    return epoch, history, frozen
