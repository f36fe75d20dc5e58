"""Training runs whose results are stored, each in a small file; a run is made only if its file is missing.

Under the integer policies every machine produces the same weights, so the files do not record the machine.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitlearn.cli import train
from bitlearn.files import atomic_write
from bitlearn.precision import Precision, policy

from . import results
from .harness import own_threads

#: How many steps are repeated to check that a stored result belongs to this code.
FIRST_STEPS = 20
#: The data sets' folders inside the one that ``--data`` or BITLEARN_DATA names.
_FOLDERS = {"mnist": "mnist", "fashion-mnist": "fashion-mnist", "cifar10": "cifar-10-batches-bin"}
_VARIABLE = "BITLEARN_DATA"


@dataclass(frozen=True)
class Training:
    """A run of ``bitlearn train``: batches of 100, the cosine schedule, and what differs."""

    name: str
    dataset: str
    model: str
    epochs: int
    seed: int
    precision: Precision
    augment: bool = False
    optimizer: str = "adam"
    rate: float | None = None

    @property
    def command(self) -> str | None:
        """The command line, without the data's folder; None if the command line has no name for the policy."""
        known = isinstance(self.precision.setting(), str)
        return " ".join(["bitlearn", "train", *self.options()]) if known else None

    def options(self) -> list[str]:
        """Return the options of the command, without the data's folder."""
        found = ["--dataset", self.dataset, "--model", self.model, "--precision", self.precision.name]
        found += ["--optimizer", self.optimizer, "--schedule", "cosine", "--batch-size", "100"]
        found += ["--epochs", str(self.epochs), "--seed", str(self.seed)]
        found += [] if self.rate is None else ["--learning-rate", f"{self.rate:g}"]
        return [*found, "--augment"] if self.augment else found


def data_folder(given: Path | None) -> Path:
    """Return the folder of the data sets, as given or from the environment.

    Raises
    ------
    FileNotFoundError
        If neither names one.
    """
    found = given or (Path(os.environ[_VARIABLE]) if os.environ.get(_VARIABLE) else None)
    if found is None or not found.is_dir():
        raise FileNotFoundError(f"--data or {_VARIABLE} must name the folder of the data sets, got {found}")
    return found


def folder(dataset: str, data: Path) -> Path:
    """Return the folder of a data set inside that of all data sets."""
    return data / _FOLDERS[dataset]


def trained(training: Training, data: Path, *options: str) -> dict[str, Any]:
    """Return the output of ``bitlearn train --json`` for a training run, made here with further options."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    files = str(folder(training.dataset, data))
    arguments = parser.parse_args([*training.options(), "--data", files, "--threads", "1", *options])
    arguments.precision, arguments.json = training.precision, None
    with own_threads(1):
        return train.run(arguments)


def first_steps(training: Training, data: Path) -> dict[str, Any]:
    """Return the digest of the weights after the first steps of a training run, and the losses of the first ten."""
    found = trained(training, data, "--max-steps", str(FIRST_STEPS))
    return {"steps": FIRST_STEPS, "weights_sha256": found["weights_sha256"], "losses": found["first_losses"]}


def record(training: Training, found: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the output of ``bitlearn train --json`` that is stored."""
    history = found["history"]
    return {
        "name": training.name,
        "command": training.command,
        "precision": training.precision.setting(),
        "seed": training.seed,
        "test_accuracy": found["test_accuracy"],
        "validation_accuracy": [entry["validation_accuracy"] for entry in history],
        "loss": [float(f"{entry['loss']:.4g}") for entry in history],
        "seconds": round(sum(entry["seconds"] for entry in history), 1),
        "step_seconds": found.get("step_seconds_median"),
        "step_bytes": found.get("peak_bytes_predicted"),
        "step_joules": found.get("energy_joules_predicted"),
        "weights_sha256": found["weights_sha256"],
        "first": first,
    }


def store(kept: dict[str, Any], folder: Path) -> Path:
    """Write a record into its file, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kept['name']}.json"
    with atomic_write(path) as stream:
        stream.write((json.dumps(kept, indent=1, allow_nan=False) + "\n").encode())
    return path


def stored(training: Training, folder: Path) -> dict[str, Any] | None:
    """Return the stored record of a training run, or None.

    Raises
    ------
    ValueError
        If the file belongs to another training run.
    """
    path = folder / f"{training.name}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text("utf-8"))
    if policy(found["precision"]) != training.precision or found["seed"] != training.seed:
        raise ValueError(f"{path} must belong to the training {training}, got precision {found['precision']}")
    return found


def make(training: Training, data: Path, folder: Path, checkpoints: Path) -> dict[str, Any]:
    """Return the record of a training run; if there is none, make the run, continuing from its checkpoint."""
    if (found := stored(training, folder)) is not None:
        return found
    first = first_steps(training, data)
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / f"{training.name}.checkpoint"
    kept = record(training, trained(training, data, "--checkpoint", str(path), "--resume"), first)
    store(kept, folder)
    path.unlink(missing_ok=True)
    return kept


def validation(kept: dict[str, Any]) -> float:
    """Return the validation accuracy of the best epoch."""
    return max(kept["validation_accuracy"])


def mean(records: Sequence[dict[str, Any]]) -> float:
    """Return the mean test accuracy."""
    return sum(each["test_accuracy"] for each in records) / len(records)


def parser(program: str, description: str, folder: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that the commands share."""
    found = argparse.ArgumentParser(prog=f"python -m bitlearn.bench.{program}", description=description)
    found.add_argument(
        "--data", type=Path, default=None, metavar="DIR", help=f"the folder of the data sets; by default {_VARIABLE}"
    )
    found.add_argument(
        "--into", type=Path, default=results.FOLDER / folder, metavar="DIR", help="the folder of the results"
    )
    found.add_argument(
        "--checkpoints",
        type=Path,
        default=Path("out") / folder,
        metavar="DIR",
        help="the folder of checkpoints, from which an interrupted training continues",
    )
    found.add_argument("--report", action="store_true", help="train nothing; print the table of the stored results")
    return found
