"""The cost of a training step with each method: ``python -m bitlearn.bench.centre_costs``.

Multiply-adds and bytes follow from the recorded step, before it runs; seconds are for one thread, the best of several
runs that take turns. If a part of the network is frozen, its output is computed once per image and task, and listed
separately.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import class_incremental
from bitlearn.continual.costs import StepCost, step_cost
from bitlearn.continual.decoupling import decouple
from bitlearn.continual.methods import build, options_of
from bitlearn.continual.methods.centre_kernel import CentreKernel
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.report.units import size
from bitlearn.training import Trainer
from bitlearn.training.hooks import Hooks

from . import centre, store
from .harness import own_threads

FILE = centre.FOLDER / "costs.json"
BATCH, EPOCHS, CLASSES = 50, 2, 10
SHAPE = (32, 32, 3)

Entry = dict[str, Any]
Model = bl.nn.Model

#: The methods to compare: a name, the method and its settings.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "fine-tuning": ("naive", {}),
    "biases": ("biases", {}),
    "last layer": ("last-layer", {}),
    "sparse update": ("sparse-update", {}),
    "centre-kernel": ("centre-kernel", {}),
    "centre-kernel, all channels": ("centre-kernel", {"channel_share": 1.0}),
    "centre-kernel, filtered": ("centre-kernel", {"patch": 2}),
    "centre-kernel, real centre": ("centre-kernel", {"centre_branch": "real"}),
}


def networks() -> dict[str, Model]:
    """Return the networks whose steps are measured: that of `bench.centre`, and one whose centre is on 8×8 maps."""
    nothing = np.zeros((CLASSES, *SHAPE), np.uint8), np.arange(CLASSES)
    wide: dict[str, Any] = {"filters": (64, 64, 128, 128, 256, 256), "dense": (), "head": "real", "precision": "int8"}
    return {
        "centre on 4x4 maps": centre.network(class_incremental(*nothing, *nothing, CLASSES), 0),
        "centre on 8x8 maps": bl.models.binarynet(SHAPE, CLASSES, **wide),
    }


def begun(model: Model, way: str, train: Examples) -> tuple[Method, Trainer]:
    """Return a method at the start of its second task, and the trainer of its steps."""
    name, given = WAYS[way]
    options = options_of(name, batch_size=BATCH, **given)
    method = build(name, Networks(model), options, classes=CLASSES, examples=2 * len(train))
    optimizer = bl.optim.adam()
    steps = Steps(optimizer, options, Hooks(None), method.loss, method.transforms)
    learn_task(method, steps, 0, train, options.epochs)  # as if its steps had been made
    method.begin(1, train)
    training = method.training(1, train)
    assert training is not None
    return method, Trainer(training.network, optimizer, loss=method.loss, transforms=method.transforms)


def measure(name: str, repeats: int) -> list[Entry]:
    """Return an entry per method for one of `networks`; times are measured in turns."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (BATCH, *SHAPE), dtype=np.uint8), np.arange(BATCH) % CLASSES
    train = Examples(x, y, bl.datasets.prepare(x))
    codes = train.codes(np.arange(BATCH))
    found: dict[str, tuple[StepCost, int, Callable[[], Any], Callable[[], Any]]] = {}
    for way in WAYS:
        method, trainer = begun(networks()[name], way, train)
        frozen, model = method.networks.lower, trainer.model
        cost = step_cost(model, trainer, BATCH)
        given = method.networks.inputs(codes)
        step = partial(trainer.step, given, y, 1e-4)
        step()
        once = 0 if frozen is None else sum(sum(leaf.operations()) for _, leaf in _below(networks()[name], method))
        found[way] = replace(cost, update=method.update_operations), once, step, partial(_applied, frozen, codes)
    best = {way: [float("inf")] * 2 for way in found}
    for _ in range(repeats):
        for way, (_, _, *both) in found.items():
            for place, work in enumerate(both):
                before = time.perf_counter()
                work()
                best[way][place] = min(best[way][place], time.perf_counter() - before)
    return [
        {
            "way": way,
            "network": name,
            "operations": cost.of_batch(BATCH),
            "once": once * BATCH,
            "bytes": cost.nbytes,
            "seconds": best[way][0],
            "once_seconds": best[way][1] if once else 0.0,
        }
        for way, (cost, once, _, _) in found.items()
    ]


def _below(model: Model, method: Method) -> list[tuple[str, Any]]:
    """Return the layers of the frozen part, whose own form no longer shows them."""
    fixed, cut = model.fixed(), method.networks.cut
    assert cut is not None
    if isinstance(method, CentreKernel):
        return list(decouple(fixed, cut, method.words, real=method.real)[0].items())
    return list(fixed.split(cut)[0].items())


def _applied(frozen: Any, x: Any) -> None:
    if frozen is not None:
        frozen.apply(x)


def rows(entries: Sequence[Entry], epochs: int = EPOCHS) -> list[tuple[str, ...]]:
    """Return a table, header first; work done once per task is divided by `epochs`, or by 60 as published."""
    head: tuple[str, ...] = ("way", "multiply-adds per step", "of full", "once per image", f"of full, {epochs} epochs")
    head += ("of full, 60 epochs",)
    head += ("bytes per step", "of full", "time per step", "of full", f"of full, {epochs} epochs")
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


def by_network(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the entries of each network."""
    return {
        name: [entry for entry in entries if entry["network"] == name]
        for name in dict.fromkeys(entry["network"] for entry in entries)
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, store and print."""
    parser = argparse.ArgumentParser(description="The cost of a training step with each method.")
    parser.add_argument("--into", type=Path, default=FILE, metavar="FILE", help="the file of the results")
    parser.add_argument("--repeats", type=int, default=20, metavar="N")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        with own_threads(1):
            entries = [entry for name in networks() for entry in measure(name, arguments.repeats)]
        store.write(arguments.into, entries)
    for name, entries in by_network(json.loads(arguments.into.read_text("utf-8"))).items():
        head, *lines = rows(entries)
        print(
            table(f"a step on {BATCH} images, {name}, the frozen part computed once per task", head, lines), end="\n\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
