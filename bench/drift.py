"""Accuracy on streams whose labels change: ``python -m bitlearn.bench.drift``.

Images come once, in batches that are first predicted and then learned; half-way, every class becomes another, suddenly
or gradually. The budget of `AnalyticLearner` covers everything it stores and works with. The rivals, scikit-learn's
``SGDClassifier`` and river's ``HoeffdingAdaptiveTreeClassifier``, get its features, which are not counted for them. A
second SGD gets as many features as make its pickle as large as the budget. The rivals' bytes are those of their largest
pickle along the stream, without working memory. Half-life and learning rate were chosen on such a stream of MNIST
(``--choose``), and are used on one of Fashion-MNIST.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import AnalyticLearner, drift, prequential
from bitlearn.continual.features import drawn
from bitlearn.report.units import size

from . import results, store, trainings

FOLDER = results.FOLDER / "drift"
BUDGET = "32 KiB"
EXAMPLES, BATCH, SEEDS = 10_000, 100, (0, 1, 2)
#: The fraction of the stream over which labels change.
WIDTHS = {"at once": 0.0, "gradual": 0.2}
HALF_LIVES, RATES = (250, 500, 1000, 2000, None), (0.01, 0.03, 0.1, 0.3, 1.0)
#: The chosen settings.
HALF_LIFE, RATE = 250, 0.3
_CLASSES, _MEASURED = 10, 20

Entry = dict[str, Any]


class Rival:
    """A learner on features of images, whose pickle is measured from time to time."""

    def __init__(self, model: Any, features: int, seed: int):
        self.model, self.extract = model, drawn("codes", (28, 28, 1), features, 4, seed)
        self.bytes, self.batches = 0, 0

    def codes(self, x: np.ndarray) -> np.ndarray:
        return self.extract(x).T / 15 - 0.5

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(self.codes(x))

    def partial_fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self.learn(self.codes(x), y)
        self.batches += 1
        if self.batches % _MEASURED == 0:
            self.bytes = max(self.bytes, len(pickle.dumps(self.model, protocol=5)))

    def learn(self, codes: np.ndarray, y: np.ndarray) -> None:
        self.model.partial_fit(codes, y, classes=np.arange(_CLASSES))


class Tree(Rival):
    """river's tree, which takes one example at a time as a dictionary."""

    def __init__(self, features: int, seed: int):
        from river.tree import HoeffdingAdaptiveTreeClassifier

        super().__init__(HoeffdingAdaptiveTreeClassifier(seed=seed), features, seed)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.array([self.model.predict_one(dict(enumerate(row))) for row in self.codes(x).tolist()])

    def learn(self, codes: np.ndarray, y: np.ndarray) -> None:
        for row, label in zip(codes.tolist(), y.tolist(), strict=True):
            self.model.learn_one(dict(enumerate(row)), label)


def sgd(features: int, seed: int, rate: float) -> Rival:
    """Return logistic regression by stochastic gradient descent at a constant rate."""
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=seed)
    return Rival(model, features, seed)


def learners(seed: int, choose: bool) -> list[tuple[Entry, Callable[[], Any]]]:
    """Return a description of each learner, and a function that makes it."""

    def analytic(half_life: int | None) -> tuple[Entry, Callable[[], Any]]:
        def make() -> AnalyticLearner:
            return AnalyticLearner(memory_budget=BUDGET, half_life=half_life, seed=seed)

        return {"learner": "analytic", "half_life": half_life}, make

    first = AnalyticLearner(memory_budget=BUDGET, half_life=HALF_LIFE, seed=seed)
    form = ("codes", (28, 28, 1))
    same = first._fitting(form, _CLASSES, 2 * HALF_LIFE)
    # A feature takes ten float64 weights.
    many = bl.continual.budget.budget_bytes(BUDGET) // (8 * _CLASSES) - 20
    if choose:
        rates = [({"learner": "sgd", "rate": rate}, lambda rate=rate: sgd(same, seed, rate)) for rate in RATES]
        return [analytic(half_life) for half_life in HALF_LIVES] + rates
    return [
        analytic(HALF_LIFE),
        analytic(None),
        ({"learner": "sgd", "rate": RATE}, lambda: sgd(same, seed, RATE)),
        ({"learner": "sgd, more features", "rate": RATE}, lambda: sgd(many, seed, RATE)),
        # A tree takes some 25 ms per example: only one seed.
        *([({"learner": "hoeffding adaptive tree"}, lambda: Tree(same, seed))] if seed == SEEDS[0] else []),
    ]


def measure(dataset: str, data: Path, choose: bool, examples: int) -> list[Entry]:
    """Return an entry for each stream and learner, with its description, bytes and prequential accuracy."""
    found = bl.datasets.load(dataset, data / dataset)
    entries: list[Entry] = []
    for seed in SEEDS[:1] if choose else SEEDS:
        for change, width in WIDTHS.items():
            for entry, make in learners(seed, choose):
                learner = make()
                stream = drift(found.x_train[:examples], found.y_train[:examples], at=0.5, width=width, seed=seed)
                run = prequential(learner, stream.batches(BATCH), untested=1)
                ours = isinstance(learner, AnalyticLearner)
                taken = learner.memory().total if ours else learner.bytes
                features = learner.features if ours else learner.extract.count
                numbers = {"features": features, "bytes": taken, "accuracy": float(run.accuracy[-1])}
                entries.append({"stream": change, "seed": seed, "examples": examples} | entry | numbers)
                print(dataset, entries[-1], file=sys.stderr, flush=True)
    return entries


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row per stream and learner, with the mean over seeds."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        setting = next((f", {k.replace('_', ' ')} {entry[k]}" for k in ("half_life", "rate") if k in entry), "")
        groups.setdefault((entry["stream"], entry["learner"] + setting), []).append(entry)
    lines: list[tuple[str, ...]] = [("labels change", "learner", "features", "bytes", "accuracy", "seeds")]
    for (change, name), each in groups.items():
        mean, most = sum(entry["accuracy"] for entry in each) / len(each), max(entry["bytes"] for entry in each)
        lines.append((change, name, str(each[0]["features"]), size(most), f"{mean:.3f}", str(len(each))))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the table."""
    parser = argparse.ArgumentParser(description="Accuracy on streams whose labels change.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--examples", type=int, default=EXAMPLES, metavar="N", help="the lengths of the streams")
    parser.add_argument("--choose", action="store_true", help="choose half-life and learning rate, on MNIST")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    dataset = "mnist" if arguments.choose else "fashion-mnist"
    path = arguments.into / f"{dataset}.json"
    if not arguments.report and not path.exists():
        entries = measure(dataset, trainings.data_folder(arguments.data), arguments.choose, arguments.examples)
        store.write(path, entries)
    if path.exists():
        head, *lines = rows(json.loads(path.read_text("utf-8")))
        print(table(f"Prequential accuracy, {dataset}", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
