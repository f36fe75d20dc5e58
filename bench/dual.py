"""Latent replay with two bit widths, measured: ``python -m bitlearn.bench.dual``, ``make dual``.

Fashion-MNIST class by class, five tasks of two. `cnv` learns the first task and is cut after its fifth sign. The part
before the cut is frozen; the part after it continues from the same weights under each policy and rule, on new and
replayed bits.
The learning rates were chosen on a fifth of the training data, held out: ``--choose``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import optim, precision, streams
from bitlearn.bits import Bits
from bitlearn.cli.progress import table
from bitlearn.continual.methods.rehearsal import joined
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.datasets.batches import batches
from bitlearn.nn import Model
from bitlearn.report.units import size
from bitlearn.rng import Key
from bitlearn.training import FlipRatio, Trainer

from . import results, store, trainings
from .harness import own_threads
from .steps import QUANTIZED

FOLDER = results.FOLDER / "dual"
SEEDS = (0, 1, 2)
_DATASET, _CUT, _TASKS, _CLASSES, _HELD_OUT = "fashion-mnist", "sign5", 5, 10, 0.2
#: New and replayed examples per step, stored latents, and passes over a task's examples.
_NEW, _REPLAYED, _LATENTS, _EPOCHS = 50, 128, 1500, 2
#: Training examples per class, and passes over all examples of the first task.
_EACH, _FIRST_EPOCHS = 1000, 2


@dataclass(frozen=True)
class Way:
    """A policy and a rule: the widths forward, backward and of latent weights, None for float32."""

    forward: int | None
    backward: int | None
    latent: int | None
    rule: str

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"forward-{self.forward or 32}-backward-{self.backward or 32}-latent-{self.latent or 32}-{self.rule}"


#: The widths of the table, with latent weights of 8 bits as published; and with float32 latent weights beside them.
WAYS = [
    Way(None, None, None, "mended"),
    *(Way(f, b, 8, rule) for rule in ("mended", "paper") for b in (8, 16, None) for f in (8, None)),
    *(Way(8, b, latent, "mended") for b in (8, 16) for latent in (16, None)),
    Way(None, 8, 8, "signs"),
]
#: Rates of real parameters and of latent weights, by rule, and those among which they were chosen. The published rule
#: has one for both; a rate of latent weights that is far larger was tried beside it. "signs" is the mended rule on no
#: more than the signs of weights' gradients, as in arXiv 2102.04270.
RATES = {"mended": (0.03, 100.0), "paper": (0.1, 0.1), "signs": (0.03, 3.0)}
CHOICES = {
    "mended": [(rate, binary) for rate in (0.01, 0.03, 0.1) for binary in (10.0, 30.0, 100.0, 300.0)],
    "paper": [(0.03, 0.03), (0.1, 0.1), (0.3, 0.3), (0.1, 1000.0)],
    "signs": [(0.03, binary) for binary in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)],
}

Entry = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """The bits at the network's cut for the examples of two classes."""

    train: Bits
    labels: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A network that has learned the first task, and its frozen part's output bits for all tasks."""

    model: Model
    tasks: list[Task]
    test: Bits
    test_labels: np.ndarray


def _learned_first(task: bl.datasets.Examples, seed: int) -> Model:
    model = bl.models.cnv((32, 32, 1), _CLASSES, head="real", precision="int8", seed=seed)
    options = bl.training.Options(epochs=_FIRST_EPOCHS, batch_size=50, seed=seed)
    bl.training.fit(model, optim.adam(), task, options)
    return model


def problem(data: Path, seed: int, choose: bool) -> Problem:
    """Return the network and the tasks; with `choose`, tests are on a held-out fifth of the training data."""
    found = bl.datasets.load(_DATASET, data / _DATASET)
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    preparation = bl.datasets.prepare(x, bl.models.IMAGE_SIZE)
    two = [np.flatnonzero(y // 2 == task) for task in range(_TASKS)]
    model = _learned_first(bl.datasets.Examples(x[two[0]], y[two[0]], preparation), seed)
    lower = model.split(_CUT)[0]

    def bits(images: np.ndarray) -> Bits:
        return lower.packed_output(preparation.codes(images))

    some = [rows[Key(seed, task, streams.HOLDOUT).permutation(len(rows))[: 2 * _EACH]] for task, rows in enumerate(two)]
    return Problem(model, [Task(bits(x[rows]), y[rows]) for rows in some], bits(x_test), y_test)


def _steps(given: Problem, seed: int) -> Iterator[tuple[Bits, np.ndarray, float] | int]:
    """Yield bits, labels and the factor of the rate for each step, and a task's number after its steps."""
    memory = ReplayBuffer(_LATENTS, given.tasks[0].train.shape[1:], _CLASSES, key=Key(seed, stream=streams.RESERVOIR))
    memory.add(given.tasks[0].train, given.tasks[0].labels)
    yield 0
    for number, task in enumerate(given.tasks[1:], start=1):
        step, steps = 0, _EPOCHS * (len(task.labels) // _NEW)
        for epoch in range(_EPOCHS):
            key = Key(seed, number * _EPOCHS + epoch, streams.TASK_BATCHES)
            for index in batches(len(task.labels), _NEW, key):
                old, old_labels = memory.sample(_REPLAYED, Key(seed, step, streams.REPLAYED + number))
                labels = np.concatenate([task.labels[index], old_labels])
                yield joined(task.train[index], old), labels, 0.5 + 0.5 * float(np.cos(np.pi * step / steps))
                step += 1
        memory.add(task.train, task.labels)
        yield number


def measure(given: Problem, way: Way, rates: tuple[float, float], seed: int) -> Entry:
    """Learn all tasks but the first, and return the accuracy after each and the flips."""
    signs, (rate, binary_rate) = way.rule == "signs", rates
    policy = QUANTIZED if signs else precision.dual(way.forward, way.backward, latent_bits=way.latent)  # type: ignore[arg-type]
    named = "mended" if signs else way.rule
    rule = optim.quantized_sgd(rate, named, binary_factor=binary_rate / rate)  # type: ignore[arg-type]
    upper = given.model.with_precision(policy).split(_CUT)[1]
    trainer, flips = Trainer(upper, rule, seed), FlipRatio()
    found: Entry = asdict(way) | {"seed": seed, "rates": rates, "accuracies": [], "flips_of_task": []}
    begun = time.perf_counter()
    for each in _steps(given, seed):
        if isinstance(each, int):
            seen = given.test_labels < 2 * (each + 1)
            right = upper.freeze().predict(given.test[seen]) == given.test_labels[seen]
            found["accuracies"].append(float(right.mean()))
            if each:
                entry: Entry = {}
                flips.on_epoch(entry)
                found["flips_of_task"].append(entry["flip_ratio_of_epoch"])
            continue
        bits, labels, share = each
        flips.on_batch(trainer, bits, labels)
        loss = trainer.step(bits, labels, rate * share)
        flips.on_step(0, 0, loss)
    latents = [array.nbytes for name, array in upper.parameters().items() if name in upper.binary_parameters()]
    return found | {
        "accuracy": found["accuracies"][-1],
        "flips_of_step": float(np.mean(flips.steps)),
        "latent_bytes": sum(latents),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def make(folder: Path, data: Path, choose: bool) -> None:
    """Make the missing measurements, seed by seed; each result is stored as soon as it is there."""
    for seed in SEEDS[:1] if choose else SEEDS:
        jobs = [
            (folder / f"{'held-out-' if choose else ''}{way.name}{suffix}-{seed}.json", way, rates)
            for way, rates, suffix in (_choices() if choose else ((way, RATES[way.rule], "") for way in WAYS))
        ]
        if missing := [job for job in jobs if not job[0].exists()]:
            given = problem(data, seed, choose)
            for path, way, rates in missing:
                entry = measure(given, way, rates, seed)
                store.write(path, entry)
                print(path.stem, entry["accuracy"], file=sys.stderr, flush=True)


def _choices() -> Iterator[tuple[Way, tuple[float, float], str]]:
    """Yield the runs that rates are chosen by: float32 for the mended rule, published widths for the published one."""
    for way in (Way(None, None, None, "mended"), Way(8, 16, 8, "paper"), Way(None, 8, 8, "signs")):
        for rates in CHOICES[way.rule]:
            yield way, rates, f"-{rates[0]}-{rates[1]}"


def present(folder: Path, kind: str = "") -> list[Entry]:
    """Return the stored results: on the test set, or with ``held-out-`` on held-out training data."""
    entries = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob(f"{kind}forward-*.json"))]
    widths = ("backward", "forward", "latent")
    return sorted(entries, key=lambda entry: (entry["rule"], *(entry[width] or 32 for width in widths)))


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row per way, with the mean over seeds."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        key = (entry["rule"], entry["backward"], entry["forward"], entry["latent"], tuple(entry["rates"]))
        groups.setdefault(key, []).append(entry)
    lines: list[tuple[str, ...]] = [
        ("rule", "backward", "forward", "latent", "rates", "accuracy", "seeds", "flips per step", "per task", "latents")
    ]
    for (rule, *widths, rates), each in groups.items():
        found = np.array([entry["accuracy"] for entry in each])
        steps = np.mean([entry["flips_of_step"] for entry in each])
        tasks = np.mean([entry["flips_of_task"] for entry in each])
        lines.append(
            (
                rule,
                *(str(width or "float32") for width in widths),
                " and ".join(f"{rate:g}" for rate in rates),
                f"{found.mean():.4f} ± {found.std():.4f}",
                str(len(each)),
                f"{steps:.1e}",
                f"{tasks:.4f}",
                size(each[0]["latent_bytes"]),
            )
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the table."""
    parser = argparse.ArgumentParser(description="Latent replay with two bit widths.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--choose", action="store_true", help="choose learning rates on held-out training data")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        with own_threads(1):
            make(arguments.into, trainings.data_folder(arguments.data), arguments.choose)
    head, *lines = rows(present(arguments.into, "held-out-" if arguments.choose else ""))
    print(table("Latent replay with two bit widths", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
