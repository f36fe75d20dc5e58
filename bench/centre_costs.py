"""What a training step of each way costs: ``python -m bitlearn.bench.centre_costs``.

Multiply-adds and bytes follow from the recorded step, before it runs; seconds are of one thread, the fewest of several
runs of all ways in turn. Where a part of the network is frozen, what it gives is computed once an image and task, and
counted beside.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual.costs import StepCost, step_cost
from bitlearn.continual.decoupling import decouple
from bitlearn.report.units import size
from bitlearn.training import Trainer

from . import centre, store

FILE = centre.FOLDER / "costs.json"
BATCH, EPOCHS = 50, 2

Entry = dict[str, Any]
Model = bl.nn.Model


def parts(model: Model) -> dict[str, tuple[Model | None, Model]]:
    """Return for each way what is frozen, and what a step trains."""
    fixed = model.fixed()
    last, sparse = fixed.split("sign6"), fixed.split("sign5")
    return {
        "fine-tuning": (None, model),
        "biases": (None, fixed),
        "last layer": last,
        "sparse update": sparse,
        "centre-kernel": decouple(fixed, "conv6", [0, 1, 2]),
        "centre-kernel, all channels": decouple(fixed, "conv6"),
        "centre-kernel, filtered": decouple(fixed, "conv6", [0, 1, 2], patch=2),
        "centre-kernel, real centre": decouple(fixed, "conv6", real=True),
    }


def measure(shape: tuple[int, ...], classes: int, repeats: int) -> list[Entry]:
    """Return an entry a way; times are taken in turns."""
    settings: dict[str, Any] = {"head": "real", "precision": "int8"}
    model = bl.models.binarynet(shape, classes, filters=(64, 64, 128, 128, 256, 256), dense=(), **settings)
    rng = np.random.default_rng(0)
    x, y = rng.integers(-128, 128, (BATCH, *shape), dtype=np.int8), np.arange(BATCH) % classes
    found: dict[str, tuple[StepCost, Callable[[], Any], Callable[[], Any]]] = {}
    lower_operations: dict[str, int] = {}
    for way, (lower, upper) in parts(model).items():
        frozen = None if lower is None else lower.freeze()
        given = x if frozen is None else frozen.apply(x)
        trainer = Trainer(upper, bl.optim.adam())
        cost = step_cost(upper, trainer, BATCH)
        lower_operations[way] = 0 if lower is None else sum(sum(leaf.operations()) for _, leaf in lower.items())

        step = partial(trainer.step, given, y, 1e-4)
        step()
        found[way] = cost, step, partial(_applied, frozen, x)
    best = {way: [float("inf")] * 2 for way in found}
    for _ in range(repeats):
        for way, (_, *both) in found.items():
            for place, work in enumerate(both):
                begun = time.perf_counter()
                work()
                best[way][place] = min(best[way][place], time.perf_counter() - begun)
    return [
        {
            "way": way,
            "operations": cost.operations * BATCH,
            "once": lower_operations[way] * BATCH,
            "bytes": cost.nbytes,
            "seconds": best[way][0],
            "once_seconds": best[way][1] if lower_operations[way] else 0.0,
        }
        for way, (cost, _, _) in found.items()
    ]


def _applied(frozen: Any, x: np.ndarray) -> None:
    if frozen is not None:
        frozen.apply(x)


def rows(entries: Sequence[Entry], epochs: int = EPOCHS) -> list[tuple[str, ...]]:
    """Return a table, head first; what is done once a task is shared by so many epochs, or by 60 as published."""
    head: tuple[str, ...] = ("way", "multiply-adds a step", "of full", "once an image", f"of full, {epochs} epochs")
    head += ("of full, 60 epochs",)
    head += ("bytes a step", "of full", "time a step", "of full", f"of full, {epochs} epochs")
    whole, lines = entries[0], list[tuple[str, ...]]([head])
    for entry in entries:
        shares = [(entry["operations"] + entry["once"] / n) / whole["operations"] for n in (epochs, 60)]
        seconds = entry["seconds"] + entry["once_seconds"] / epochs
        lines.append(
            (
                entry["way"],
                f"{entry['operations'] / 1e6:,.0f} M",
                f"{entry['operations'] / whole['operations']:.3f}",
                f"{entry['once'] / BATCH / 1e6:,.1f} M",
                *(f"{share:.3f}" for share in shares),
                size(entry["bytes"]),
                f"{entry['bytes'] / whole['bytes']:.3f}",
                f"{1e3 * entry['seconds']:.1f} ms",
                f"{entry['seconds'] / whole['seconds']:.3f}",
                f"{seconds / whole['seconds']:.3f}",
            )
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description="What a training step of each way costs.")
    parser.add_argument("--into", type=Path, default=FILE, metavar="FILE", help="where results are kept")
    parser.add_argument("--repeats", type=int, default=20, metavar="N")
    parser.add_argument("--report", action="store_true", help="print what is kept, and measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        before = bl.get_num_threads()
        bl.set_num_threads(1)
        try:
            entries = measure((32, 32, 3), 10, arguments.repeats)
        finally:
            bl.set_num_threads(before)
        store.write(arguments.into, entries)
    head, *lines = rows(json.loads(arguments.into.read_text("utf-8")))
    print(table(f"a step on {BATCH} images, what is frozen computed once a task", head, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
