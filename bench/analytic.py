"""Accuracy against bytes, for learners of exact sums: ``python -m bitlearn.bench.analytic``, ``make analytic``.

Data sets class by class, five tasks of two classes; the test set is used once, at the end, among all classes. Bytes are
everything that a learner stores and works with. A learner with a budget knows neither the classes nor the number of
examples beforehand; the baselines on the raw input know both, and are counted with the least working memory. The 4 bits
per feature were chosen on held-out training data: ``--choose``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import LDA, AnalyticLearner, NearestClassMean, class_incremental
from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.report.units import size

from . import plots, results, store, trainings

FOLDER = results.FOLDER / "analytic"
#: The data sets, and the largest number of examples that a learner of each has to hold.
DATASETS = {"digits": 2000, "mnist": 60000, "fashion-mnist": 60000}
BUDGETS = ("8 KiB", "32 KiB", "128 KiB", "1.2 MiB")
SEEDS = (0, 1, 2)
BITS = (1, 2, 3, 4)
#: Each learner's marker in the plot.
MARKERS = {"analytic": "o-", "lda": "D", "nearest-mean": "s"}
_TASKS, _CLASSES, _HELD_OUT = 5, 10, 1 / 6

Entry = dict[str, Any]


def learners(dataset: str, choose: bool, seeds: int = len(SEEDS)) -> Iterator[tuple[Entry, IncrementalLearner]]:
    """Yield what each learner is, and the learner."""
    for budget in BUDGETS:
        for seed in SEEDS[: 1 if choose else seeds]:
            for bits in BITS if choose else BITS[-1:]:
                learner = AnalyticLearner(memory_budget=budget, bits=bits, seed=seed)
                yield {"method": "analytic", "budget": budget, "bits": bits, "seed": seed}, learner
    if not choose:
        limits: dict[str, Any] = {"classes": _CLASSES, "examples": DATASETS[dataset]}
        yield {"method": "nearest-mean"}, NearestClassMean(**limits)
        yield {"method": "lda"}, LDA(**limits)


def measure(dataset: str, data: Path | None, choose: bool, seeds: int = len(SEEDS)) -> list[Entry]:
    """Return an entry for each learner: what it is, its bytes in all and those it keeps, and its accuracy."""
    found = bl.datasets.load(dataset, data)
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    scenario, entries = class_incremental(x, y, x_test, y_test, _TASKS), []
    codes = scenario.tasks[0].test.preparation.codes(x_test)
    for entry, learner in learners(dataset, choose, seeds):
        for task in scenario.tasks:
            learner.partial_fit(task.train.codes(), task.train.y)
        memory = learner.memory(least="budget" not in entry)
        sizes = {"bytes": memory.total, "kept": memory.kept}
        entries.append(entry | sizes | {"features": learner.features, "accuracy": learner.score(codes, y_test)})
        print(dataset, entries[-1], file=sys.stderr, flush=True)
    return entries


def means(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the accuracies of all seeds joined in their mean."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry["method"], entry.get("budget"), entry.get("bits")), []).append(entry)
    return [
        each[0] | {"accuracy": sum(entry["accuracy"] for entry in each) / len(each), "seeds": len(each)}
        for each in groups.values()
    ]


def present(folder: Path, kind: str = "test") -> dict[str, list[Entry]]:
    """Return the means that are kept, by data set; `kind` is test or held-out."""
    files = {name: folder / f"{name}-{kind}.json" for name in DATASETS}
    return {name: means(json.loads(path.read_text("utf-8"))) for name, path in files.items() if path.exists()}


def rows(found: dict[str, list[Entry]]) -> list[tuple[str, ...]]:
    """Return a table of stored results, header first: a row per data set, method and budget."""
    lines: list[tuple[str, ...]] = [("data set", "learner", "in all", "accuracy", "seeds")]
    for dataset, entries in found.items():
        for entry in entries:
            name = entry["method"] + (f", {entry['bits']} bits" if "bits" in entry else "")
            lines.append((dataset, name, size(entry["bytes"]), f"{entry['accuracy']:.3f}", str(entry["seeds"])))
    return lines


def curve(found: dict[str, list[Entry]]) -> bytes:
    """Draw accuracy against bytes, a panel a data set, in SVG."""
    mpl = plots.matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No date and no random names in the file, and text that stays text.
    with mpl.rc_context({"svg.hashsalt": "bitlearn", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8.6, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (dataset, entries) in zip(panels, found.items(), strict=True):
            for method, marker in MARKERS.items():
                points = [(entry["bytes"] / 1024, entry["accuracy"]) for entry in entries if entry["method"] == method]
                axes.plot(*zip(*sorted(points), strict=True), marker, label=method, markersize=5)
            axes.set_xscale("log")
            axes.set(title=dataset, xlabel="KiB in all")
            axes.grid(alpha=0.25)
        panels[0].set_ylabel("accuracy among all classes")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="Accuracy against bytes, for learners of exact sums.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument(
        "--choose", action="store_true", help="choose the bits per feature (1 to 4) on held-out training data"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="how many seeds, 1 to 3")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    kind = "held-out" if arguments.choose else "test"
    for dataset in () if arguments.report else DATASETS:
        path = arguments.into / f"{dataset}-{kind}.json"
        if not path.exists():
            data = None if dataset == "digits" else trainings.data_folder(arguments.data) / dataset
            entries = measure(dataset, data, arguments.choose, arguments.seeds)
            store.write(path, entries)
    head, *lines = rows(present(arguments.into, kind))
    print(table("Accuracy", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
