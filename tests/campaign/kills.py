"""Trainings and continual learners that are killed at any point and go on: the same bits, and nothing lying about."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import small

import bitlearn as bl
from bitlearn.continual import ContinualLearner
from bitlearn.training import Options, fit
from campaign import forked
from campaign.tracing import at_place

_POLICIES = ("int8", "low-memory", "int4", "standard")
_OPTIMIZERS = ("adam", "sgd", "bop")
_METHODS = ("naive", "cwr", "latent-replay", "replay", "der", "ewc", "ar1", "slda", "analytic")
#: Calls of the system at which a file is half made.
_POINTS = ("fsync", "replace", "open", "unlink")
#: Instructions of Python in an epoch of the trainings below, about.
_INSTRUCTIONS = 150_000


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_call(name: str, number: int) -> None:
    """Die at a call of a function of `os`, before it or after it."""
    function, left = getattr(os, name), [number // 2]

    def replaced(*arguments: Any, **named: Any) -> Any:
        if left[0] == 0 and number % 2 == 0:
            _die()
        found = function(*arguments, **named)
        if left[0] == 0:
            _die()
        left[0] -= 1
        return found

    setattr(os, name, replaced)


class Training:
    """A small training that can be gone on with."""

    def __init__(self, rng: np.random.Generator, path: Path) -> None:
        self.policy, self.optimizer = _POLICIES[rng.integers(4)], _OPTIMIZERS[rng.integers(3)]
        self.options = Options(epochs=int(rng.integers(1, 5)), batch_size=8, seed=int(rng.integers(100)))
        self.data, self.validation = small.examples("mlp", 21), small.examples("mlp", 9, seed=2)
        self.path = path
        self.epochs = self.options.epochs

    def __repr__(self) -> str:
        return f"{self.policy}, {self.optimizer}, {self.epochs} epochs"

    def run(self) -> Any:
        """Train to the end from where the checkpoint is; return all that comes of it."""
        model = small.model("mlp", self.policy)
        result = fit(
            model,
            bl.optim.OPTIMIZERS[self.optimizer](),
            self.data,
            self.options,
            validation=self.validation,
            checkpoint=self.path,
            resume=True,
        )
        assert result.best is not None
        history = [{name: value for name, value in entry.items() if name != "seconds"} for entry in result.history]
        best = {name: array.tobytes() for name, array in result.best.arrays.items()}
        return small.everything(model), best, history


class Learning:
    """A continual learner with two tasks ahead, each with a class that the one before did not have."""

    def __init__(self, rng: np.random.Generator, path: Path) -> None:
        self.method, self.policy = _METHODS[rng.integers(len(_METHODS))], _POLICIES[rng.integers(4)]
        self.epochs, self.path, self.data = int(rng.integers(1, 4)), path, small.examples("mlp", 36)
        self.settings = {"replay_size": int(rng.integers(4, 20)), "seed": int(rng.integers(100)), "cut": None}
        if self.method == "latent-replay":
            self.settings["consolidate"] = bool(rng.integers(2))

    def __repr__(self) -> str:
        return f"{self.method}, {self.policy}, {self.epochs} epochs, {self.settings}"

    def run(self) -> Any:
        """Learn what is left to be learned after the last checkpoint; return all that comes of it."""
        if self.path.exists():
            learner = bl.load(self.path)
        else:
            settings = self.settings | {"batch_size": 8, "epochs": self.epochs}
            learner = ContinualLearner(
                self.method, preparation=self.data.preparation, precision=self.policy, **settings
            )
        for task in range(learner.tasks, 2):
            here = self.data.y % 3 <= 1 if task == 0 else self.data.y % 3 >= 1
            learner.fit_task(self.data.x[here], self.data.y[here], checkpoint=self.path)
        return learner.scores(self.data.x).tobytes(), self.path.read_bytes()


def start() -> Callable[[np.random.Generator], int]:
    """Return what kills a training a few times and lets it go on."""

    def case(rng: np.random.Generator) -> int:
        with tempfile.TemporaryDirectory(prefix="bitlearn-campaign-") as name:
            folder = Path(name)
            training = (Training, Learning)[rng.integers(2)](rng, folder / "checkpoint")
            wanted, _ = forked.run(training.run)
            training.path.unlink()
            times = int(rng.integers(1, 4))
            told = []
            for _ in range(times):
                chosen, number = rng.random() < 0.5, int(rng.integers(0, 8))
                point, instruction = (
                    _POINTS[rng.integers(len(_POINTS))],
                    int(rng.integers(_INSTRUCTIONS * training.epochs)),
                )

                def killed(chosen=chosen, point=point, number=number, instruction=instruction) -> Any:
                    if chosen:
                        _at_call(point, number)
                        return training.run()
                    with at_place(instruction, _die, of_signals=False):
                        return training.run()

                told.append(f"{point} {number}" if chosen else f"instruction {instruction}")
                found, ended = forked.run(killed)
                assert ended or found == wanted, f"another result without a kill | {told}"
            found, _ = forked.run(training.run)
            what = f"{training}, {told}"
            assert found == wanted, f"another result after a kill | {what}"
            left = sorted(each.name for each in folder.iterdir())
            assert left == ["checkpoint"], f"files are left lying about | {left}, {what}"
            return times + 2

    return case
