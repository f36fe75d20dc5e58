"""How a training step grows: ``python -m bitlearn.bench.growth``, ``make growth``.

Time and bytes of a step against its batch, the depth and the width of the network, and the threads, one at a time, with
the exponents of fitted power laws: 1 if twice as much takes twice as long.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import nn
from bitlearn.cli.progress import table
from bitlearn.nn import Model
from bitlearn.report.units import size
from bitlearn.threads import processors
from bitlearn.training import Trainer

from . import plots, processor, records, results, steps, store
from .harness import own_threads

FOLDER = results.FOLDER / "growth"
#: The values of what is not varied.
BATCH, DEPTH, WIDTH = 100, 4, 256
#: The minimum is over this many steps, after warm-up.
_STEPS, _FIRST, _MOST_SECONDS = 20, 2, 3.0

Entry = dict[str, Any]


def _dense(depth: int, width: int, precision: str) -> Model:
    return bl.models.mlp((width,), steps.CLASSES, hidden=(width,) * depth, precision=precision)


def _convolutional(depth: int, width: int, precision: str) -> Model:
    layers = [layer for _ in range(depth) for layer in (nn.BinaryConv2d(width, padding="same"), nn.BatchNormSign())]
    ends = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(steps.CLASSES)]
    return nn.Model([*layers, *ends], nn.Spec.bits((8, 8, width)), precision=precision)


NETWORKS: dict[str, Callable[[int, int, str], Model]] = {"dense": _dense, "convolutional": _convolutional}


def axes() -> dict[str, tuple[int, ...]]:
    """Return the quantities that are varied, and their values on this machine."""
    threads = [1]
    while 2 * threads[-1] <= processors():
        threads.append(2 * threads[-1])
    return {
        "batch": (12, 25, 50, 100, 200, 400),
        "depth": (1, 2, 4, 8, 16),
        "width": (64, 128, 256, 512, 1024),
        "threads": tuple(threads),
    }


def measure(network: str, precision: str, batch: int, depth: int, width: int, threads: int) -> Entry:
    """Return the cost of a step: the least seconds of several, and the bytes of its arena and of arrays outside it."""
    with own_threads(threads):
        trainer = Trainer(NETWORKS[network](depth, width, precision), bl.optim.adam())
        spec = trainer.model.root.spec
        (x, y), rate, seconds = steps.batch_of(spec.shape, batch, bits=spec.kind == "bits"), 0.001, []
        begun = time.perf_counter()
        for number in range(_FIRST + _STEPS):
            if number > _FIRST + 3 and time.perf_counter() - begun > _MOST_SECONDS:
                break
            start = time.perf_counter()
            trainer.step(x, y, rate)
            seconds.append(time.perf_counter() - start)
        program = trainer.recorded(batch).program
        nbytes = program.nbytes + sum(buffer.nbytes for buffer in program.outside)
    return {"seconds": min(seconds[_FIRST:]), "bytes": nbytes}


def run(precision: str) -> list[Entry]:
    """Measure every network along every axis."""
    entries = []
    for network in NETWORKS:
        for axis, values in axes().items():
            for value in values:
                given = {"batch": BATCH, "depth": DEPTH, "width": WIDTH, "threads": 1} | {axis: value}
                entry = {"network": network, "precision": precision, "axis": axis, "value": value}
                entries.append(entry | measure(network, precision, **given))
                print(f"{network}, {axis} {value}: {entries[-1]['seconds']:.4f} s", file=sys.stderr, flush=True)
    return entries


def exponent(values: Sequence[float], found: Sequence[float]) -> float | None:
    """Return the exponent of the power law through the points, by least squares of logarithms; None for one point.

    >>> exponent([1, 2, 4], [3, 12, 48])
    2.0
    """
    if len(values) < 2:
        return None
    return round(float(np.polyfit(np.log(values), np.log(found), 1)[0]), 6) + 0.0  # and no negative zero


def lines(entries: Sequence[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Return the entries of each axis and network, in order."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry["axis"], entry["network"]), []).append(entry)
    return found


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table of the exponents, header first: over all values, and over the last two."""
    table_rows: list[tuple[str, ...]] = [
        ("against", "network", "from", "to", "time", "exponent", "at the end", "bytes", "exponent", "at the end")
    ]
    for (axis, network), line in lines(entries).items():
        values = [entry["value"] for entry in line]
        cells = [axis, network, str(values[0]), str(values[-1])]
        for what, shown in (("seconds", lambda s: f"{1e3 * s:.2f} ms"), ("bytes", lambda n: size(int(n)))):
            found = [entry[what] for entry in line]
            cells.append(f"{shown(found[0])} to {shown(found[-1])}")
            for some in (slice(None), slice(-2, None)):
                fitted = exponent(values[some], found[some])
                cells.append("" if fitted is None else f"{fitted:.2f}")
        table_rows.append(tuple(cells))
    return table_rows


def draw(entries: Sequence[Entry]) -> bytes:
    """Return time and bytes against each axis, in SVG."""
    return plots.growth(lines(entries), exponent)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the exponents, and draw."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.growth", description="How a training step grows.")
    parser.add_argument("--precision", default="int8", metavar="NAME", help="the policy")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--plot", type=Path, default=None, metavar="FILE", help="draw into this SVG file")
    parser.add_argument("--report", action="store_true", help="show the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    path = arguments.into / f"{processor.current().kind}-{arguments.precision}.json"
    if not arguments.report:
        found = {"machine": records.machine(), "load": os.getloadavg()[0], "entries": run(arguments.precision)}
        store.write(path, found)
    if not path.exists():
        raise SystemExit(f"{path} must exist to be shown, got none: run this without --report")
    kept = json.loads(path.read_text("utf-8"))
    head, *cells = rows(kept["entries"])
    print(table(f"A training step under {arguments.precision}, as it grows", head, cells))
    if arguments.plot is not None:
        arguments.plot.write_bytes(draw(kept["entries"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
