"""Gradient projection on permuted MNIST: ``python -m bitlearn.bench.projection``, ``make projection``.

The published settings of arXiv 2103.09762: a 784-100-100-10 network of real weights without biases, ten tasks, five
epochs of plain gradient descent at 0.01 in batches of ten, nine tenths of the training data, energies of 0.95, 0.99 and
0.99, bases from 300 examples per task. Every run is stored as soon as it ends, and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import Options, Scenario, mean_and_interval, permuted, run
from bitlearn.datasets.preparation import Preparation
from bitlearn.datasets.scaling import Scaling
from bitlearn.report.units import size

from . import results, store, trainings

FOLDER = results.FOLDER / "projection"
SEEDS = (0, 1, 2)
#: Standardised pixels as codes in units of 1/32.
_MEAN, _DEVIATION, _UNIT = 0.1307 * 255, 0.3081 * 255, 2.0**-5
_HELD_OUT, _TASKS = 0.1, 10

#: Settings of ``gpm`` with any number of bits.
_PROJECTION: dict[str, Any] = {"energy": (0.95, 0.99, 0.99), "energy_growth": 0.0, "representations": 300}

#: The methods to compare: a name, the method and its settings.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "fine-tuning": ("naive", {}),
    "gpm, 32 bits": ("gpm", {}),
    "gpm, 8 bits": ("gpm", {"basis_bits": 8}),
    "gpm, 4 bits": ("gpm", {"basis_bits": 4}),
}

Entry = dict[str, Any]


def scenario_of(data: Path, seed: int, choose: bool) -> Scenario:
    """Return the tasks; with `choose`, they are tested on the held-out tenth."""
    found = bl.datasets.load("mnist", trainings.folder("mnist", data))
    kept, held = bl.datasets.holdout(found.y_train, _HELD_OUT, seed=0)
    x, y = found.x_train[kept], found.y_train[kept]
    tested = (found.x_train[held], found.y_train[held]) if choose else (found.x_test, found.y_test)
    wide = _DEVIATION * 127 * _UNIT
    scaling = Scaling(*(np.full(x.shape[1:], value, np.float32) for value in (_MEAN, wide)))
    return permuted(x, y, tested[0], tested[1], _TASKS, seed=seed, preparation=Preparation(scaling))


def measure(scenario: Scenario, way: str, seed: int, epochs: int = 5) -> Entry:
    """Run one of `WAYS`."""
    method, given = WAYS[way]
    model = bl.models.relu_mlp(scenario.input_shape, scenario.classes, seed=seed, unit=_UNIT)
    options = Options(epochs=epochs, batch_size=10, seed=seed, learning_rate=0.01, schedule="constant")
    settings = (_PROJECTION if method == "gpm" else {}) | given
    found = run(method, scenario, model, bl.optim.sgd(0.01, momentum=0.0), options, **settings)
    entry: Entry = {"way": way, "method": method, "seed": seed, "settings": given, "epochs": epochs, **found.metrics}
    return entry | {"kept_bytes": found.kept_bytes, "seconds": found.seconds, "matrix": found.accuracy_matrix}


def present(folder: Path, kind: str = "test") -> list[Entry]:
    """Return the stored results, method by method; `kind` is test or held-out."""
    kept = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob(f"permuted-{kind}-*.json"))]
    return sorted(kept, key=lambda entry: (list(WAYS).index(entry["way"]), entry["seed"]))


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row for each method, over all seeds."""
    lines: list[tuple[str, ...]] = [("learner", "keeps", "average accuracy", "95 %", "forgetting", "seeds")]
    for way in dict.fromkeys(entry["way"] for entry in entries):
        some = [entry for entry in entries if entry["way"] == way]
        mean, interval = mean_and_interval([100 * entry["average_accuracy"] for entry in some])
        forgotten = sum(100 * entry["forgetting_mean_of_first_minus_last"] for entry in some) / len(some)
        half = store.half_width(interval, 2)
        kept = size(round(sum(entry["kept_bytes"] for entry in some) / len(some)))
        lines.append((way, kept, f"{mean:.2f}", half, f"{forgotten:.2f}", str(len(some))))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the table."""
    parser = argparse.ArgumentParser(description="Gradient projection memory on permuted MNIST.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="use only this many of the seeds")
    parser.add_argument("--way", choices=list(WAYS), help="only this method")
    parser.add_argument("--choose", action="store_true", help="test on held-out training data, to choose settings")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    kind = "held-out" if arguments.choose else "test"
    for seed in () if arguments.report else SEEDS[: arguments.seeds]:
        for way in WAYS:
            name = f"permuted-{kind}-{way.replace(', ', '-').replace(' ', '-')}-{seed}.json"
            path = arguments.into / name
            if path.exists() or arguments.way not in (None, way):
                continue
            entry = measure(scenario_of(trainings.data_folder(arguments.data), seed, arguments.choose), way, seed)
            store.write(path, entry)
            print(way, "seed", seed, round(entry["average_accuracy"], 4), file=sys.stderr, flush=True)
    if entries := present(arguments.into, kind):
        head, *lines = rows(entries)
        print(table("permuted MNIST, ten tasks", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
