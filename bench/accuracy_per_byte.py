"""Bytes of a step against accuracy and time: ``python -m bitlearn.bench.accuracy_per_byte``.

Every policy under every optimiser, network by network: the memory of a step from its record, its time, and the test
accuracy after a short training run whose best epoch is chosen on held-out data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bitlearn.cli.progress import table
from bitlearn.precision import POLICIES
from bitlearn.report.units import energy, size

from . import plots, results, trainings
from .trainings import Training

FOLDER = results.FOLDER / "accuracy_per_byte"
#: For each network: data set, epochs, and the optimisers. Convolutional networks take a hundred times as long.
CASES = {
    "mlp": ("mnist", 10, ("adam", "sgd", "bop")),
    "cnv": ("fashion-mnist", 2, ("adam",)),
}
_SEED = 0

Record = dict[str, Any]


def every() -> Iterator[Training]:
    """Yield all training runs, the shortest first."""
    for model, (dataset, epochs, rules) in CASES.items():
        for rule in rules:
            for name, precision in POLICIES.items():
                yield Training(f"{model}-{name}-{rule}", dataset, model, epochs, _SEED, precision, optimizer=rule)


def present(folder: Path) -> list[tuple[Training, Record]]:
    """Return the stored training runs with their records."""
    found = [(each, trainings.stored(each, folder)) for each in every()]
    return [(each, kept) for each, kept in found if kept is not None]


def rows(folder: Path) -> list[tuple[str, ...]]:
    """Return a table of stored results, header first, ordered by network and bytes."""
    lines: list[tuple[str, ...]] = [("network", "policy", "optimiser", "bytes", "per step", "energy", "accuracy")]
    for each, kept in sorted(present(folder), key=lambda pair: (pair[0].model, pair[1]["step_bytes"])):
        seconds = kept["step_seconds"]
        lines.append(
            (
                each.model,
                each.precision.name,
                each.optimizer,
                size(kept["step_bytes"]),
                "" if seconds is None else f"{1e3 * seconds:.1f} ms",
                energy(kept["step_joules"]),
                f"{kept['test_accuracy']:.4f}",
            )
        )
    return lines


def draw(folder: Path) -> bytes:
    """Return the plot of stored results: networks by colour, optimisers by marker.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    points = [
        (
            each.model,
            each.optimizer,
            each.precision.name,
            kept["step_bytes"],
            kept["test_accuracy"],
            kept["step_seconds"],
        )
        for each, kept in present(folder)
    ]
    return plots.against_bytes(points)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing training runs, print the table, and draw."""
    parser = trainings.parser("accuracy_per_byte", "Bytes of a step against accuracy and time.", "accuracy_per_byte")
    parser.add_argument("--plot", type=Path, default=None, metavar="FILE", help="draw into this SVG file")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        data = trainings.data_folder(arguments.data)
        for each in every():
            print(each.name, file=sys.stderr, flush=True)
            trainings.make(each, data, arguments.into, arguments.checkpoints)
    head, *lines = rows(arguments.into)
    print(table("A training step, and what it reaches", head, lines))
    if arguments.plot is not None:
        arguments.plot.write_bytes(draw(arguments.into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
