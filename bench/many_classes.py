"""What the sign-only rule loses with many classes: ``python -m bitlearn.bench.many_classes``, ``make many-classes``.

Two digits of MNIST side by side, (28, 56), make 100 classes, or fewer if neighbouring values of the right digit are one
class, on the same images. Three digits make 1000 classes, of which a batch of 100 holds few. `mlp` under
``low-memory``, whose weight gradients are signs (arXiv 2102.04270), is compared with ``standard``, and with one change
at a time: the rate, the momentum, the batch, the head, the batch norm, and which gradients are signs. Everything is
chosen on a held-out fifth of the training digits: ``--choose``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import memory, optim, streams
from bitlearn.cli.progress import table
from bitlearn.datasets import Examples
from bitlearn.nn import Model
from bitlearn.optim import Transform
from bitlearn.precision import POLICIES, Precision
from bitlearn.report.units import size
from bitlearn.rng import Key

from . import results, store, trainings
from .harness import own_threads

FOLDER = results.FOLDER / "many_classes"
SEEDS = (0, 1, 2)
#: The number of classes of the right side; there are ten times as many in total.
RIGHT = (1, 2, 5, 10, 100)
#: Those used to try changes.
TRIED = (10, 100)
EPOCHS = 10
_HELD_OUT = 0.2
#: Examples over which a channel has to change to count as alive.
_LOOKED_AT = 2000

Entry = dict[str, Any]
#: A replacement of a weight gradient, from the full gradient and the weights.
Rule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Way:
    """A policy, and what differs from the usual training with it.

    Parameters
    ----------
    precision : Precision
    rate, beta1 : float
        Parameters of Adam.
    batch : int
    head : str
    hidden, last : callable, optional
        Transforms of full weight gradients, of hidden layers and of the last one.
    """

    precision: Precision
    rate: float = 0.001
    beta1: float = 0.9
    batch: int = 100
    head: str = "binary"
    hidden: Rule | None = None
    last: Rule | None = None


def signs(g: np.ndarray) -> np.ndarray:
    """Return the signs, +1 for 0, as in the packed form."""
    return np.where(g >= 0, np.float32(1), np.float32(-1))


def signs_or_zero(g: np.ndarray) -> np.ndarray:
    """Return the signs, 0 for 0."""
    return np.sign(g)


def scaled_signs(g: np.ndarray) -> np.ndarray:
    """Return the signs times the mean magnitude of their row: one more number for each output."""
    return signs(g) * np.abs(g).mean(axis=1, keepdims=True)


_LOW = POLICIES["low-memory"]
#: The same forward pass and gradients, but full ones for weights; Adam's moments are then float32.
WHOLE = replace(_LOW, name="low-memory, whole gradients", sign_weight_gradient=False)
#: Latent weights that are not rounded to 11 bits after each update.
FLOAT32_WEIGHTS = replace(_LOW, name="low-memory, float32 weights", latent=np.dtype(np.float32))
#: The reported ones, and changes of one thing each.
WAYS = {
    "standard": Way(POLICIES["standard"]),
    "low-memory": Way(_LOW),
    "beta1 0.99": Way(_LOW, beta1=0.99),
    "batch 400": Way(_LOW, batch=400),
    "low-memory, real head": Way(_LOW, head="real"),
    "low-memory-exact": Way(POLICIES["low-memory-exact"]),
    "low-memory-exact, real head": Way(POLICIES["low-memory-exact"], head="real"),
    "standard, real head": Way(POLICIES["standard"], head="real"),
    "float32 weights": Way(FLOAT32_WEIGHTS),
    "whole": Way(WHOLE),
    "whole, deviation": Way(POLICIES["float16"]),
    "signs, float32 moments": Way(WHOLE, hidden=signs, last=signs),
    "0 of 0": Way(WHOLE, hidden=signs_or_zero, last=signs_or_zero),
    "scaled signs": Way(WHOLE, hidden=scaled_signs, last=scaled_signs),
    "whole last": Way(WHOLE, hidden=signs),
    "whole hidden": Way(WHOLE, last=signs),
}
#: Those whose accuracy on the test set is reported: the published rule, what it is compared with, and what loses least
#: where classes are many.
TOLD = ("standard", "low-memory", "low-memory, real head", "low-memory-exact", "low-memory-exact, real head")
#: The rates that theirs are chosen from.
RATES = (0.0003, 0.001, 0.003, 0.01)


def side_by_side(images: np.ndarray, digits: np.ndarray, right: int, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return each image with one or two others on its right, drawn without repetition, and their classes.

    Parameters
    ----------
    images : ndarray of uint8, shape (count, 28, 28, 1)
    digits : ndarray of int, shape (count,)
    right : int
        The number of classes of the right digit, at most 10; or 100, for two digits on the right.
    key : Key

    Returns
    -------
    pairs : ndarray of uint8, shape (count, 28, 56 or 84, 1)
    classes : ndarray of int64, shape (count,)
        ``left * right + digit * right // 10``; for two digits on the right, ``left * 100 + digit * 10 + last``.

    Examples
    --------
    >>> images = np.arange(2 * 784).reshape(2, 28, 28, 1).astype(np.uint8)
    >>> pairs, classes = side_by_side(images, np.array([3, 8]), 10, Key(0))
    >>> pairs.shape, {int(each) for each in classes} <= {33, 38, 83, 88}
    ((2, 28, 56, 1), True)
    """
    orders = [key.permutation(len(images))]
    others = digits[orders[0]].astype(np.int64)
    if right > 10:
        orders.append(orders[0][orders[0]])
        others = 10 * others + digits[orders[1]]
    pairs = np.concatenate([images, *(images[order] for order in orders)], axis=2)
    return pairs, digits.astype(np.int64) * right + (others if right > 10 else others * right // 10)


def problem(data: Path, right: int, choose: bool) -> tuple[Examples, Examples]:
    """Return the pairs to train on and those to test on: from the test set, or from held-out training digits."""
    found = bl.datasets.load("mnist", trainings.folder("mnist", data))
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    parts = [
        side_by_side(*part, right, Key(0, number, streams.HOLDOUT))
        for number, part in enumerate([(x, y), (x_test, y_test)], start=1)
    ]
    preparation = bl.datasets.prepare(parts[0][0])
    train, test = (Examples(*part, preparation) for part in parts)
    return train, test


def transforms(way: Way, model: Model) -> tuple[Transform, ...]:
    """Return the transforms from full gradients to those of a way; none if the policy's own kernels compute them."""
    if way.hidden is None and way.last is None:
        return ()
    last = [name for name, array in model.parameters().items() if array.ndim > 1][-1]

    def transform(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        rule = way.last if name == last else way.hidden
        if rule is not None and gradient.ndim > 1:
            gradient[...] = rule(gradient) * (np.abs(parameter) <= 1)

    return (transform,)


def dead_channels(model: Model, examples: Examples) -> float:
    """Return the share of hidden channels whose sign is the same on all tested examples."""
    codes = examples.codes(slice(0, _LOOKED_AT))
    still = []
    for name in [name for name in model.names if name.startswith("sign")]:
        bits = model.split(name)[0].packed_output(codes).unpack() > 0
        still.append(bits.all(axis=0) | ~bits.any(axis=0))
    return float(np.concatenate(still).mean())


def measure(train: Examples, test: Examples, way: Way, right: int, seed: int) -> Entry:
    """Train, and return the accuracy after the last epoch, with the bytes of a step."""
    shape, rule = train.x.shape[1:], optim.adam(way.rate, beta1=way.beta1)
    model = bl.models.mlp(shape, 10 * right, head=way.head, precision=way.precision, seed=seed)
    options = bl.training.Options(epochs=EPOCHS, batch_size=way.batch, seed=seed, learning_rate=way.rate)
    changes, begun = transforms(way, model), time.perf_counter()
    result = bl.training.fit(model, rule, train, options, transforms=changes)
    nbytes = None if changes else sum(row.bytes for row in memory.predict(model, rule, way.batch))
    return {
        "precision": way.precision.setting(),
        "rate": way.rate,
        "beta1": way.beta1,
        "batch": way.batch,
        "head": way.head,
        "classes": 10 * right,
        "seed": seed,
        "epochs": EPOCHS,
        "losses": [entry["loss"] for entry in result.history],
        "accuracy": bl.training.accuracy(model, test),
        "dead_channels": dead_channels(model, test),
        "step_bytes": nbytes,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _file(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


@dataclass(frozen=True)
class Job:
    """One training run, and the file of its result."""

    file: str
    way: Way
    right: int
    seed: int


def held_out_jobs() -> list[Job]:
    """Return the runs to choose by: each way at the usual rate, and reported ones at others too."""
    usual = [(name, WAYS[name].rate) for name in WAYS]
    others = [(name, rate) for name in TOLD for rate in RATES if (name, rate) not in usual]
    return [_held_out(name, rate, right) for right in TRIED for name, rate in usual + others]


def _held_out(name: str, rate: float, right: int) -> Job:
    return Job(f"held-out-{_file(name)}-{rate:g}-{10 * right}-0", replace(WAYS[name], rate=rate), right, 0)


def chosen(folder: Path, right: int) -> dict[str, Way]:
    """Return the ways, each at the rate that is best on held-out data, or else at its own.

    With as many classes where that was tried, or else with 100.
    """
    found = {}
    for name, way in WAYS.items():
        entries = {rate: _entry(folder, _held_out(name, rate, right if right in TRIED else TRIED[0])) for rate in RATES}
        tried = {rate: entry["accuracy"] for rate, entry in entries.items() if entry is not None}
        found[name] = replace(way, rate=max(tried, key=tried.__getitem__)) if tried else way
    return found


def told_jobs(folder: Path) -> list[Job]:
    """Return the reported runs: some ways at their rates, with each number of classes, seed by seed."""
    ways = {right: chosen(folder, right) for right in RIGHT}
    return [
        Job(f"test-{_file(name)}-{10 * right}-{seed}", ways[right][name], right, seed)
        for seed in SEEDS
        for right in reversed(RIGHT)
        for name in TOLD
    ]


def make(folder: Path, data: Path, choose: bool) -> None:
    """Make the missing training runs; each result is stored as soon as it is there."""
    given: dict[int, tuple[Examples, Examples]] = {}
    for job in held_out_jobs() if choose else told_jobs(folder):
        path = folder / f"{job.file}.json"
        if _entry(folder, job) is not None:
            continue
        if job.right not in given:
            given = {job.right: problem(data, job.right, choose)}
        entry = measure(*given[job.right], job.way, job.right, job.seed)
        store.write(path, entry)
        print(job.file, entry["accuracy"], entry["seconds"], file=sys.stderr, flush=True)


def _entry(folder: Path, job: Job) -> Entry | None:
    """Return the stored result of a run, if there is one, at the rate that is wanted now."""
    path = folder / f"{job.file}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else None
    return found if found is not None and found["rate"] == job.way.rate else None


def held_out_rows(folder: Path) -> list[tuple[str, ...]]:
    """Return a table, header first: a row per way, with its held-out accuracy at each rate."""
    lines: list[tuple[str, ...]] = [
        ("classes", "way", *(f"rate {rate:g}" for rate in RATES), "still channels", "bytes of a step")
    ]
    for right in TRIED:
        for name in WAYS:
            entries = [_entry(folder, _held_out(name, rate, right)) for rate in RATES]
            there = [entry for entry in entries if entry is not None]
            if not there:
                continue
            best = max(there, key=lambda entry: entry["accuracy"])
            cells = ["" if entry is None else f"{entry['accuracy']:.4f}" for entry in entries]
            nbytes = "" if best["step_bytes"] is None else size(best["step_bytes"])
            lines.append((str(10 * right), name, *cells, f"{best['dead_channels']:.3f}", nbytes))
    return lines


def told_rows(folder: Path) -> list[tuple[str, ...]]:
    """Return a table, header first: a row per way, with its mean accuracy for each number of classes."""
    groups: dict[str, dict[int, list[Entry]]] = {name: {} for name in TOLD}
    for job in told_jobs(folder):
        entry = _entry(folder, job)
        if entry is not None:
            name = next(name for name in TOLD if job.file.startswith(f"test-{_file(name)}-{10 * job.right}-"))
            groups[name].setdefault(job.right, []).append(entry)
    lines: list[tuple[str, ...]] = [("way", *(f"{10 * right} classes" for right in RIGHT), "seeds", "bytes of a step")]
    for name, of in groups.items():
        if not of:
            continue
        cells = []
        for right in RIGHT:
            values = np.array([entry["accuracy"] for entry in of.get(right, [])])
            cells.append(f"{values.mean():.4f} ± {values.std():.4f}" if len(values) else "")
        most = of[max(of)]
        nbytes = most[0]["step_bytes"]
        lines.append((name, *cells, str(min(map(len, of.values()))), "" if nbytes is None else size(nbytes)))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing runs, and print the table."""
    parser = argparse.ArgumentParser(description="What the sign-only rule loses with many classes.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--choose", action="store_true", help="one change at a time, on held-out training digits")
    parser.add_argument("--report", action="store_true", help="print the stored results, and train nothing")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        with own_threads(1):
            make(arguments.into, trainings.data_folder(arguments.data), arguments.choose)
    kind = "of held-out training digits, one seed" if arguments.choose else "of the test set"
    head, *lines = (held_out_rows if arguments.choose else told_rows)(arguments.into)
    print(table(f"Digits side by side, {EPOCHS} epochs: accuracy {kind}", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
