"""``bitlearn compare``: methods of continual learning side by side, over several seeds, in one table and plots."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from bitlearn.cli import continual
from bitlearn.cli.arguments import count, output_file, output_folder, shown
from bitlearn.cli.progress import Console, table
from bitlearn.files import atomic_write
from bitlearn.report.units import size
from bitlearn.version import VERSION

NAME = "compare"
HELP = "compare methods of continual learning over several seeds"


def _methods(text: str) -> list[str]:
    names = [name for name in re.split(r"[,\s]+", text) if name]
    if not names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"different methods with commas between them were wanted, got {shown(text)}")
    return names


def _count(text: str) -> int:
    if (seeds := count(text)) < 1:
        raise argparse.ArgumentTypeError(f"a number of seeds from 1 on was wanted, got {seeds}")
    return seeds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--methods",
        type=_methods,
        default=["naive", "latent-replay", "joint"],
        metavar="A,B",
        help="what to compare: naive, joint, cwr, latent-replay, replay, der, ewc, ar1, analytic, nearest-mean, lda, "
        "slda, prototypes",
    )
    parser.add_argument(
        "--seeds",
        type=_count,
        default=3,
        metavar="N",
        help="how many seeds, from 0 on: of weights, batches and replay; with --order-seed of the scenario too",
    )
    parser.add_argument(
        "--out",
        type=output_folder,
        default=Path("out"),
        metavar="DIR",
        help="the folder for plots and for finished runs, which are not run again",
    )
    parser.add_argument("--report", type=output_file, default=None, metavar="FILE", help="write an HTML page here")
    continual.add_learning(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is not there yet, and return everything."""
    from bitlearn import report as reports
    from bitlearn.continual import METHODS
    from bitlearn.continual.methods import PLANNED
    from bitlearn.errors import by_name

    for method in arguments.methods:
        by_name("method", method, METHODS, PLANNED)
    if arguments.report is not None:
        reports.require("matplotlib")
    kept = {"methods", "seeds", "out", "report", "json", "module"}
    shared = {name: value for name, value in vars(arguments).items() if name not in kept}
    folder = arguments.out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    # Seed by seed, so that an early look compares all methods.
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in arguments.methods}
    for seed in range(arguments.seeds):
        order = None if arguments.order_seed is None else arguments.order_seed + seed
        for method in arguments.methods:
            found[method].append(_finished(folder, shared | {"method": method, "seed": seed, "order_seed": order}))
    first = found[arguments.methods[0]][0]
    about = ("dataset", "scenario", "model", "precision", "optimizer", "learning_rate", "schedule", "epochs")
    result = {
        **{name: first[name] for name in (*about, "batch_size", "task_titles")},
        "seeds": arguments.seeds,
        "order_seed": arguments.order_seed,
        "rows": [_row(method, runs) for method, runs in found.items()],
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


def _finished(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a run: from its file, or by running it and writing the file at once."""
    described = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    described["version"] = VERSION
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{settings['method']}-seed{settings['seed']}-{digest}.json"
    if path.exists():
        try:
            return json.loads(path.read_text(encoding="utf-8"))["result"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} must hold a finished run, got something else: remove it to run anew") from None
    result = isolated(argparse.Namespace(**settings))
    with atomic_write(path) as stream:
        stream.write(json.dumps({"settings": described, "result": result}, indent=1, allow_nan=False).encode())
    return result


def isolated(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run in a process of its own: what another run left in this one would hide what this one needs."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(continual.run, arguments).result()
        except BrokenProcessPool:
            run = f"{arguments.method} with seed {arguments.seed}"
            raise ChildProcessError(f"the run of {run} must end by itself, got a process that was killed") from None


def _row(method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the runs of a method say together."""
    from bitlearn.continual import FORWARD_METRICS, METRICS, mean_and_interval

    names = [name for name in (*METRICS, *FORWARD_METRICS) if all(run[name] is not None for run in runs)]
    means = {name: mean_and_interval([run[name] for run in runs]) for name in names}
    mean, interval = means["average_accuracy"]
    kept = max(run["kept_bytes"] for run in runs)
    return {
        "method": method,
        **{name: means[name][0] if name in means else None for name in (*METRICS, *FORWARD_METRICS)},
        "interval": interval,
        "intervals": {name: each for name, (_, each) in means.items()},
        "kept_bytes": kept,
        "accuracy_per_kib": 1024 * mean / kept if kept else None,
        "peak_bytes_measured": max(run["peak_bytes_measured"] for run in runs),
        "seconds": sum(run["seconds"] for run in runs) / len(runs),
        "operations": sum(run["operations"] for run in runs) / len(runs),
        "runs": runs,
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print the table, and where the plots are."""
    columns = ("method", "average accuracy", "forgetting", "kept", "a KiB", "memory", "seconds", "multiply-adds")
    rows = [
        (
            row["method"],
            with_interval(row, "average_accuracy"),
            with_interval(row, "forgetting_mean_of_best_minus_last"),
            size(row["kept_bytes"]),
            "" if row["accuracy_per_kib"] is None else f"{row['accuracy_per_kib']:.4f}",
            size(row["peak_bytes_measured"]),
            f"{row['seconds']:.1f}",
            f"{row['operations']:.2e}",
        )
        for row in result["rows"]
    ]
    seeds = "1 seed" if result["seeds"] == 1 else f"mean of {result['seeds']} seeds ± 95 % interval of Student's t"
    console.print(table(f"{result['scenario']} on {result['dataset']}, {seeds}", columns, rows))
    console.print("kept: of earlier tasks' examples; a KiB: average accuracy for each KiB kept; multiply-adds: forward")
    if result["plots"]:
        console.print(f"plots: {', '.join(result['plots'])}")
    else:
        console.print("plots need matplotlib: pip install 'bitlearn-xnor[plot]'")


def with_interval(row: dict[str, Any], name: str) -> str:
    """Return a mean and half its interval as text."""
    if row[name] is None:
        return ""
    interval = row["intervals"][name]
    return f"{row[name]:.4f}" + ("" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.4f}")
