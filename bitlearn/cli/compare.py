"""``bitlearn compare``: methods of continual learning compared over several seeds, in a table and plots."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from bitlearn.cli import continual
from bitlearn.cli.arguments import count, output_file, output_folder, shown
from bitlearn.cli.isolated import isolated
from bitlearn.cli.progress import Console, counted, table
from bitlearn.cli.settings import explain as explain
from bitlearn.cli.settings import options, taken
from bitlearn.report.units import energy, size
from bitlearn.runs import Runs

NAME = "compare"
HELP = "compare methods of continual learning over several seeds"


def _methods(text: str) -> list[str]:
    names = [name for name in re.split(r"[,\s]+", text) if name]
    if not names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different methods separated by commas, got {shown(text)}")
    return names


def _some(what: str, text: str) -> int:
    if (found := count(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of {what} of at least 1, got {found}")
    return found


def _budgets(text: str | None) -> list[str | None]:
    found = [None] if text is None else [each.strip() for each in text.split(",")]
    if len(set(found)) < len(found):
        raise ValueError(f"memory budgets must differ, got {shown(str(text))}")
    return list(found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--methods",
        type=_methods,
        default=["naive", "latent-replay", "joint"],
        metavar="A,B",
        help="the methods to compare",
    )
    parser.add_argument(
        "--seeds",
        type=partial(_some, "seeds"),
        default=3,
        metavar="N",
        help="how many seeds, from 0 up, for weights, batches and replay; with --order-seed for the scenario too",
    )
    parser.add_argument(
        "--out",
        type=output_folder,
        default=Path("out"),
        metavar="DIR",
        help="the folder for plots and finished runs, which are not repeated",
    )
    parser.add_argument("--report", type=output_file, default=None, metavar="FILE", help="write an HTML page here")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=partial(_some, "workers"),
        default=None,
        metavar="N",
        help="how many runs to make at a time, in processes on this machine (needs Dask)",
    )
    where.add_argument(
        "--scheduler",
        default=None,
        metavar="ADDRESS",
        help="make the runs on a Dask cluster, such as tcp://host:8786; --data must be the same path on its workers",
    )
    continual.add_learning(parser)
    budget = next(action for action in parser._actions if action.dest == "memory_budget")
    budget.help = f"{budget.help}; several with commas between them, as in '8 KiB,32 KiB', are compared"


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the missing runs, and return the results of all."""
    from bitlearn import report as reports
    from bitlearn.continual import METHODS
    from bitlearn.continual.methods import PLANNED
    from bitlearn.errors import by_name

    for method in arguments.methods:
        by_name("method", method, METHODS, PLANNED)
    if arguments.report is not None:
        reports.require("matplotlib")
    budgets = _budgets(arguments.memory_budget)
    of_each = dict(zip(arguments.methods, taken(vars(arguments), arguments.methods), strict=True))
    rows = [(method, budget) for budget in budgets for method in arguments.methods]
    kept = {"methods", "seeds", "out", "report", "json", "module", "workers", "scheduler"}
    shared = {name: value for name, value in vars(arguments).items() if name not in kept}
    settings = []
    # Seed by seed, so that partial results compare all methods.
    for seed in range(arguments.seeds):
        order = None if arguments.order_seed is None else arguments.order_seed + seed
        for method, budget in rows:
            own = {"method": method, "seed": seed, "order_seed": order, "memory_budget": budget}
            settings.append(shared | own | of_each[method])
    for one in settings[: len(rows)]:
        options(one)  # raise errors before any run is made
    found: dict[int, dict[str, Any]] = {}
    away = arguments.workers is not None or arguments.scheduler is not None  # otherwise each run shows its own progress
    with counted("runs", len(settings)) if away else nullcontext(lambda text: None) as told:
        for number, result in _results(arguments, settings):
            found[number] = result
            one = settings[number]
            told(f"{_label(one, budgets)}, seed {one['seed']}: average accuracy {result['average_accuracy']:.4f}")
    runs = [[found[number] for number in range(index, len(settings), len(rows))] for index in range(len(rows))]
    first = found[0]
    about = ("dataset", "scenario", "model", "precision", "optimizer", "learning_rate", "schedule", "epochs")
    result = {
        **{name: first[name] for name in (*about, "batch_size", "task_titles")},
        "seeds": arguments.seeds,
        "order_seed": arguments.order_seed,
        "rows": [
            _row({"method": method, "memory_budget": budget}, each, budgets)
            for (method, budget), each in zip(rows, runs, strict=True)
        ],
        "plots": [],
    }
    try:
        reports.require("matplotlib")
    except ImportError:
        return result
    from bitlearn.report import comparison

    result["plots"] = comparison.write_plots(result["rows"], arguments.out)
    if arguments.report is not None:
        comparison.write_page(result, arguments.report)
    return result


def _results(arguments: argparse.Namespace, settings: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the results of runs: stored ones, and others as they are made and stored."""
    runs = Runs(arguments.out / "runs", lambda one: f"{one['method']}-seed{one['seed']}")
    if arguments.workers is None and arguments.scheduler is None:
        for number, one in enumerate(settings):
            if (found := runs.result(one)) is None:
                found = made(one)
                runs.keep(one, found)
            yield number, found
        return
    from bitlearn.dask import connected, sweep

    with connected(arguments.scheduler, arguments.workers) as client:
        yield from sweep(client, partial(made, quiet=True), settings, runs)


def made(settings: dict[str, Any], quiet: bool = False) -> dict[str, Any]:
    """Make a run in a process of its own, here or at a worker."""
    # Only the worker knows its share of the processors.
    from bitlearn import threads

    own = settings | {"threads": threads.resolve(settings["threads"])}
    try:
        return isolated(continual.run, argparse.Namespace(**own), quiet=quiet)
    except ChildProcessError as error:
        raise ChildProcessError(f"the run of {settings['method']} with seed {settings['seed']}: {error}") from None


def _label(settings: dict[str, Any], budgets: Sequence[str | None]) -> str:
    """Return the label of a run or a row: its method, and its budget if there are several."""
    return settings["method"] + (f", {settings['memory_budget']}" if len(budgets) > 1 else "")


def _row(about: dict[str, Any], runs: list[dict[str, Any]], budgets: Sequence[str | None]) -> dict[str, Any]:
    """Return the summary of a method's runs within a budget."""
    from bitlearn.continual import FORWARD_METRICS, METRICS, mean_and_interval

    names = [name for name in (*METRICS, *FORWARD_METRICS) if all(run[name] is not None for run in runs)]
    means = {name: mean_and_interval([run[name] for run in runs]) for name in names}
    mean, interval = means["average_accuracy"]
    kept = max(run["kept_bytes"] for run in runs)
    # Stored runs may come from an earlier version.
    joules = [found for run in runs if (found := run.get("energy_joules_measured")) is not None]
    return {
        **about,
        "label": _label(about, budgets),
        **{name: means[name][0] if name in means else None for name in (*METRICS, *FORWARD_METRICS)},
        "interval": interval,
        "intervals": {name: each for name, (_, each) in means.items()},
        "kept_bytes": kept,
        "accuracy_per_kib": 1024 * mean / kept if kept else None,
        "peak_bytes_measured": max(run["peak_bytes_measured"] for run in runs),
        "seconds": sum(run["seconds"] for run in runs) / len(runs),
        "energy_joules_measured": sum(joules) / len(runs) if len(joules) == len(runs) else None,
        "operations": sum(run["operations"] for run in runs) / len(runs),
        "runs": runs,
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print the table and the paths of the plots."""
    columns = ("method", "average accuracy", "forgetting", "kept", "per KiB", "memory", "seconds", "multiply-adds")
    measured = any(row["energy_joules_measured"] is not None for row in result["rows"])
    rows = [
        (
            row["label"],
            with_interval(row, "average_accuracy"),
            with_interval(row, "forgetting_mean_of_best_minus_last"),
            size(row["kept_bytes"]),
            "" if row["accuracy_per_kib"] is None else f"{row['accuracy_per_kib']:.4f}",
            size(row["peak_bytes_measured"]),
            f"{row['seconds']:.1f}",
            f"{row['operations']:.2e}",
            *([_joules(row["energy_joules_measured"])] if measured else ()),
        )
        for row in result["rows"]
    ]
    seeds = "1 seed" if result["seeds"] == 1 else f"mean of {result['seeds']} seeds ± 95 % interval of Student's t"
    shown = (*columns, "energy") if measured else columns
    console.print(table(f"{result['scenario']} on {result['dataset']}, {seeds}", shown, rows))
    console.print("kept: bytes of earlier examples; per KiB: average accuracy for each KiB; multiply-adds: forward")
    if result["plots"]:
        console.print(f"plots: {', '.join(result['plots'])}")
    else:
        console.print("plots need matplotlib: pip install 'bitlearn-xnor[plot]'")


def _joules(found: float | None) -> str:
    return "" if found is None else energy(found)


def with_interval(row: dict[str, Any], name: str) -> str:
    """Return a mean and half its interval as text."""
    if row[name] is None:
        return ""
    interval = row["intervals"][name]
    return f"{row[name]:.4f}" + ("" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.4f}")
