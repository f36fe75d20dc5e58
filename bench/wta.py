"""Task winner-takes-all compared with other methods: ``python -m bitlearn.bench.wta``, ``make wta``.

Each protocol learns its tasks one after the other, with each method and seed. A run is stored as soon as it ends, and
is not repeated. Rates and epochs (`wta_protocols`) were chosen on held-out training data: ``--choose``. ``--times``
compares the times of tickets and the whole network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import Options, Scenario, mean_and_interval, run
from bitlearn.report.units import size
from bitlearn.training import Options as TrainingOptions
from bitlearn.training import fit

from . import results, store, trainings, wta_times
from .harness import own_threads
from .runner import held_threads
from .wta_protocols import BATCH, PROTOCOLS, Protocol, Way, competing
from .wta_times import UNITS

FOLDER = results.FOLDER / "wta"
SEEDS = (0, 1, 2)
_HELD_OUT = 1 / 6

Entry = dict[str, Any]


def scenario_of(protocol: Protocol, data: Path, seed: int, choose: bool) -> Scenario:
    """Return the scenario; with `choose`, it is tested on held-out training data."""
    found = bl.datasets.load(protocol.dataset, trainings.folder(protocol.dataset, data))
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    given: dict[str, Any] = {"preparation": bl.datasets.prepare(x), "seed": seed}
    return bl.continual.build_scenario(protocol.scenario, x, y, x_test, y_test, protocol.tasks, **given)


def built(way: Way, scenario: Scenario, seed: int, epochs: int) -> tuple[bl.nn.Model, bl.nn.Frozen | None]:
    """Return the network of a method, and the frozen part before it.

    The model "behind" is the upper part of a binary network that has learned the first task, with units that compete.
    """
    if way.model == "behind":
        hidden, classes = way.network["hidden"], scenario.classes
        whole = bl.models.mlp(scenario.input_shape, classes, hidden=hidden, head="real", seed=seed)
        training = TrainingOptions(epochs=epochs, batch_size=BATCH, seed=seed)
        fit(whole, bl.optim.adam(), scenario.tasks[0].train, training)
        lower = whole.split("sign1")[0].freeze()
        competition = bl.nn.Competition(way.network["units"], tasks=way.network["tasks"])
        layers = [bl.nn.BinaryLinear(hidden[1]), bl.nn.BatchNormSign(), competition, bl.nn.Linear(classes)]
        return bl.nn.Model(layers, lower.root.output, seed=seed), lower
    settings = {"head": "real", "precision": "standard", "seed": seed} | way.network
    return bl.models.build(way.model, scenario.input_shape, scenario.classes, **settings), None


def stored_bytes(model: bl.nn.Model, found: Any) -> int:
    """Return the bytes needed to predict for every task: weights once, and each task's own arrays."""
    report = found.report
    if "shared_bytes" in report:
        return report["shared_bytes"] + sum(report["ticket_bytes"])
    if "weight_bytes" in report:
        return report["weight_bytes"] + report["own_bytes"] + report["mask_bytes"]
    return model.freeze().nbytes


def measure(protocol: Protocol, data: Path, seed: int, path: Path, choose: bool, limit: int | None) -> None:
    """Make the missing runs of a protocol with a seed, and store each result."""
    entries: list[Entry] = json.loads(path.read_text("utf-8")) if path.exists() else []
    done = {entry["way"] for entry in entries}
    missing = [way for way in protocol.ways if way.name not in done][:limit]
    scenario = scenario_of(protocol, data, seed, choose) if missing else None
    for way in missing:
        assert scenario is not None
        model, lower = built(way, scenario, seed, protocol.epochs)
        options = Options(epochs=protocol.epochs, batch_size=BATCH, seed=seed)
        found = run(way.method, scenario, model, bl.optim.adam(), options, backbone=lower, **way.options)
        entry: Entry = {"way": way.name, "method": way.method, "seed": seed, **found.metrics}
        stored = stored_bytes(model, found) + found.replay_bytes + (lower.nbytes if lower else 0)
        entry |= {"stored_bytes": stored, "report": found.report}
        entry |= {"seconds": found.seconds, "operations": found.operations, "matrix": found.accuracy_matrix}
        entries.append(entry)
        shown = round(entry["average_accuracy"], 4), entry["stored_bytes"], round(found.seconds)
        print(protocol.name, way.name, seed, *shown, file=sys.stderr, flush=True)
        store.write(path, entries)


def present(folder: Path, protocol: Protocol, kind: str) -> list[Entry]:
    """Return the stored results of a protocol, for all seeds; `kind` is test or held-out."""
    return store.of_protocol(folder, protocol.name, kind)


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row for each method, over all seeds."""
    lines: list[tuple[str, ...]] = [
        ("learner", "average accuracy", "95 %", "forgetting", "stored in total", "per ticket", "units left", "seeds")
    ]
    for way in dict.fromkeys(entry["way"] for entry in entries):
        some = [entry for entry in entries if entry["way"] == way]
        mean, interval = mean_and_interval([entry["average_accuracy"] for entry in some])
        forgotten = sum(entry["forgetting_mean_of_best_minus_last"] for entry in some) / len(some)
        half = store.half_width(interval, 4)
        report = some[0]["report"]
        ticket = size(report["ticket_bytes"][0]) if "ticket_bytes" in report else ""
        free = " ".join(map(str, report.get("free", {}).values()))
        stored = size(sum(entry["stored_bytes"] for entry in some) // len(some))
        lines.append((way, f"{mean:.4f}", half, f"{forgotten:.4f}", stored, ticket, free, str(len(some))))
    return lines


def lines_by_units(folder: Path) -> list[tuple[str, dict[str, dict[int, list[float]]], bool]]:
    """Return accuracy, bytes and multiply-adds of tickets by weights and units per block, for plots."""
    path = folder / "units.json"
    times: list[Entry] = json.loads(path.read_text("utf-8")) if path.exists() else []
    operations: dict[tuple[str, int], int] = {
        (each["weights"], each["units"]): sum(each["operations"]) for each in times
    }
    found: list[dict[str, dict[int, list[float]]]] = [{}, {}, {}]
    some = present(folder, PROTOCOLS[0], "test")
    for weights, units in ((weights, units) for weights in ("real", "binary") for units in UNITS):
        name = competing(weights, 128, units, 5).name
        own = [entry for entry in some if entry["way"] == name]
        if not own:
            continue
        found[0].setdefault(weights, {})[units] = [entry["average_accuracy"] for entry in own]
        found[1].setdefault(weights, {})[units] = [own[0]["report"]["ticket_bytes"][0]]
        if (weights, units) in operations:
            found[2].setdefault(weights, {})[units] = [operations[weights, units]]
    labels = ("average accuracy", "bytes of a ticket", "multiply-adds of a ticket")
    return [(label, values, label != labels[0]) for label, values in zip(labels, found, strict=True) if values]


def timings(folder: Path, kind: str = "test") -> dict[str, list[tuple[str, ...]]]:
    """Return the tables of stored times, header first, by title."""

    def read(name: str) -> list[Entry]:
        path = folder / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else []

    width, batch = wta_times.WIDTH, wta_times.BATCH
    found = {}
    if entries := read("times"):
        found[f"A hidden layer of {width} units, batches of {batch}"] = wta_times.rows(entries)
    if entries := read("kept"):
        found[f"Gradients of {width} units after {width}, batches of {batch}"] = wta_times.kept_rows(entries)
    if entries := read("units"):
        accuracy, ticket, *_ = (values for _, values, _ in (*lines_by_units(folder), ("", {}, False), ("", {}, False)))
        known = {
            (weights, units): (sum(some) / len(some), int(ticket[weights][units][0]))
            for weights, line in accuracy.items()
            for units, some in line.items()
        }
        found[f"784-128-128-10 by units per block, {PROTOCOLS[0].name}"] = wta_times.by_units_rows(entries, known)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the tables."""
    parser = argparse.ArgumentParser(description="Compare task winner-takes-all with other methods.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="use only this many of the seeds")
    parser.add_argument("--protocol", choices=[each.name for each in PROTOCOLS], help="only this protocol")
    parser.add_argument(
        "--ways", type=int, default=None, metavar="N", help="make at most this many runs per seed and protocol"
    )
    parser.add_argument("--choose", action="store_true", help="test on held-out training data, to choose settings")
    parser.add_argument(
        "--times", type=int, default=0, metavar="N", help="measure times (the best of N), and train nothing"
    )
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    kind = "held-out" if arguments.choose else "test"
    with own_threads(arguments.threads), held_threads(arguments.threads):
        if arguments.times:
            store.write(arguments.into / "times.json", wta_times.timed(arguments.times))
            store.write(arguments.into / "kept.json", wta_times.kept(arguments.times))
            store.write(arguments.into / "units.json", wta_times.by_units(arguments.times))
        for seed in SEEDS[: arguments.seeds]:
            for protocol in () if arguments.report or arguments.times else PROTOCOLS:
                if arguments.protocol not in (None, protocol.name):
                    continue
                path = arguments.into / f"{protocol.name}-{kind}-{seed}.json"
                data = trainings.data_folder(arguments.data)
                measure(protocol, data, seed, path, arguments.choose, arguments.ways)
    for protocol in PROTOCOLS:
        if entries := present(arguments.into, protocol, kind):
            head, *lines = rows(entries)
            print(table(protocol.title, head, lines), end="\n\n")
    for title, (head, *lines) in timings(arguments.into, kind).items():
        print(table(title, head, lines), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
