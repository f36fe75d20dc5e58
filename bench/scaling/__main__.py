"""How training and products grow: ``python -m bitlearn.bench.scaling check`` and ``... plan``.

``check`` measures what a step and a task cost part by part, simulates 1, 2 and 4 processes on this machine, and
measures those. Simulated seconds, from the lowest costs, are compared with the best of many measurements, which needs
an otherwise idle machine; the simulated processor time of all processes, from mean costs, is compared with the mean.
``plan`` simulates up to 1,000 workers, each on its own machine, from the same costs and a given network: what the
busiest link carries, how long a step takes, the speed-up and the efficiency.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import streams
from bitlearn.cli.progress import table
from bitlearn.dask import Workers, local
from bitlearn.files import atomic_write
from bitlearn.report.units import size
from bitlearn.rng import Key
from bitlearn.threads import processors
from bitlearn.training import DataParallel

from . import link, products, training

_BATCH, _WORKERS, _GROWING = 400, (1, 2, 4), (1, 4, 16, 64, 256, 1000)
#: Rows of the product that is measured and of a task; those that are planned have 10^12 values.
_ROWS, _CHUNK, _VALUES = 400_000, 20_000, 1e12
_FAN_OUT = 8
#: Workers in one process whose parts are measured, besides those of one.
_MANY = 8

Entry = dict[str, Any]


def _batch(rows: int) -> training.Batch:
    codes = Key(0, stream=streams.RANDOM_CODES).words(rows * 28 * 28 // 4).view(np.int8)
    return codes.reshape(rows, 28, 28, 1), Key(0, stream=streams.RANDOM_LABELS).integers(rows, 10)


_MAKE = partial(bl.models.mlp, precision="low-memory")


def _parts(form: Any) -> list[np.ndarray]:
    """Return the costs of the stages of a step, with one worker and with many.

    The leading process is this one, and workers are Dask's, in whose environment freed memory goes back to the system.
    """
    counts = (1, _MANY)
    here = [training.parts(_MAKE, form, _batch(_BATCH), count) for count in counts]
    with local(1) as client:
        there = client.gather([client.submit(training.parts, _MAKE, form, _batch(_BATCH), count) for count in counts])
    for own, workers in zip(here, there, strict=True):
        own[:, 1] = workers[:, 1]
    return here


def _steps(workers: int, form: Any, steps: int) -> tuple[float, float]:
    """Return the minimum time of a step with processes on this machine, and the processor time of all of them."""
    x, y = _batch(_BATCH)
    seconds = []
    with (
        local(workers) as client,
        Workers(client) as found,
        DataParallel(_MAKE(), bl.optim.adam(), workers=found, form=form, agree_every=10**6) as trainer,
    ):
        for step in range(steps + 3):
            if step == 3:  # recording is done by now
                before = products.busy(client)
            begun = time.perf_counter()
            trainer.step(x, y, 0.001)
            seconds.append(time.perf_counter() - begun)
        spent = (products.busy(client) - before) / steps
    return min(seconds[3:]), spent


def _entry(what: str, workers: int, simulated: list[training.Found], measured: tuple[float, float]) -> Entry:
    (least, mean), (seconds, spent) = simulated, measured
    entry = {"what": what, "workers": workers, "simulated": least.seconds, "measured": seconds}
    entry |= {"ratio": least.seconds / seconds, "simulated_busy": mean.busy, "measured_busy": spent}
    return entry | {"busy_ratio": mean.busy / spent}


def check_training(form: Any, steps: int) -> list[Entry]:
    """Compare simulated and measured steps."""
    found = link.measured()
    one, more = _parts(form)
    ways = [training.stages(one, more, _BATCH, _MANY, least) for least in (True, False)]
    entries = []
    for workers in _WORKERS:
        simulated = [training.step(way, _BATCH, workers, found, cores=processors()) for way in ways]
        entries.append(_entry(f"a step, {form}", workers, simulated, _steps(workers, form, steps)))
    return entries


def check_products(rounds: int) -> list[Entry]:
    """Compare simulated and measured products."""
    found = link.measured()
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        path, weights = products.written(Path(folder), _ROWS)
        with local(1) as client:
            rows = products.row_seconds(client, path, weights, _CHUNK)
            overheads = products.overheads(client)
        for workers in _WORKERS:
            simulated = [
                products.product(products.Costs(*overheads, row), _ROWS, _CHUNK, workers, found, cores=processors())
                for row in rows
            ]
            with local(workers) as client:
                measured = products.measured(client, path, weights, _ROWS, _CHUNK, rounds)
            entries.append(_entry("a product", workers, simulated, measured))
    return entries


def plan(rate: float, latency: float, source: float) -> list[Entry]:
    """Simulate larger clusters than those measured."""
    here = link.measured()
    network = replace(here, latency=latency, rate=rate)
    entries: list[Entry] = []
    ways: tuple[tuple[str, Any, int | None], ...] = (
        ("exact", "exact", None), (f"exact, tree of {_FAN_OUT}", "exact", _FAN_OUT), ("vote", "vote", None),
    )  # fmt: skip
    stages = {}
    for form in ("exact", "vote"):
        one, more = _parts(form)
        stages[form] = training.stages(one, more, _BATCH, _MANY)
    for what, form, fan_out in ways:
        for workers in _GROWING:
            rows = _BATCH * workers
            found = training.step(stages[form], rows, workers, network, fan_out=fan_out)
            entries.append({"what": f"a step, {what}", "workers": workers, "done": rows} | asdict(found))
    with tempfile.TemporaryDirectory() as folder:
        path, weights = products.written(Path(folder), _CHUNK)
        with local(1) as client:
            row, _ = products.row_seconds(client, path, weights, _CHUNK)
            costs = products.Costs(*products.overheads(client), row)
    rows = int(_VALUES // products.N)
    for chunk in (20_000, 200_000):
        for workers in _GROWING:
            found = products.product(costs, rows, chunk, workers, network, source=source)
            what = f"a product, {chunk} rows a task"
            entries.append({"what": what, "workers": workers, "done": rows} | asdict(found))
    first = {entry["what"]: entry for entry in entries if entry["workers"] == 1}
    for entry in entries:
        alone = first[entry["what"]]
        speed = entry["done"] / entry["seconds"] / (alone["done"] / alone["seconds"])
        entry |= {"speedup": speed, "efficiency": speed / entry["workers"]}
    return entries


def checked(entries: list[Entry]) -> str:
    """Return a table of simulated and measured values."""
    rows = []
    for entry in entries:
        cells: list[str] = []
        for kind, ratio in (("", "ratio"), ("_busy", "busy_ratio")):
            cells += [f"{1000 * entry[name + kind]:.2f}" for name in ("simulated", "measured")]
            cells.append(f"{entry[ratio]:.2f}")
        rows.append((entry["what"], str(entry["workers"]), *cells))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    head = ("what", "workers", "simulated ms", "measured ms", "ratio", "simulated busy", "measured busy", "busy ratio")
    return table(f"Least of many, on {processors()} cores; load average at the end {load}", head, rows)


def planned(entries: list[Entry], title: str) -> str:
    """Return a plan as a table."""
    head = ("what", "workers", "seconds", "busiest link", "speed-up", "efficiency")
    rows = []
    for entry in entries:
        numbers = (f"{entry['seconds']:.4g}", size(int(entry["link_bytes"])), f"{entry['speedup']:.1f}")
        rows.append((entry["what"], str(entry["workers"]), *numbers, f"{entry['efficiency']:.2f}"))
    return table(title, head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the simulation, or plan with it."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.scaling", description=__doc__)
    parser.add_argument("part", choices=("check", "plan"))
    parser.add_argument("--form", choices=("exact", "vote"), default="exact", help="check: the kind of training step")
    parser.add_argument("--steps", type=int, default=200, help="check: repetitions, of which the fastest counts")
    parser.add_argument("--rate", type=float, default=1.25e9, help="plan: bytes per second of a link")
    parser.add_argument("--latency", type=float, default=50e-6, help="plan: latency of a link, in seconds")
    parser.add_argument(
        "--source", type=float, default=20e9, help="plan: bytes per second of the store that holds the rows"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    if given.part == "check":
        entries = check_training(given.form, given.steps) + check_products(max(given.steps // 20, 3))
        text = checked(entries)
    else:
        entries = plan(given.rate, given.latency, given.source)
        text = planned(entries, f"Links of {given.rate:g} bytes per second and {given.latency:g} s")
    print(text)
    if given.json is not None:
        with atomic_write(given.json) as stream:
            stream.write((json.dumps(entries, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
