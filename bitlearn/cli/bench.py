"""``bitlearn bench``: kernels, training steps and predictions compared with other packages, and a profile of a step."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from itertools import count
from typing import Any

from bitlearn.cli.arguments import add_threads, examples, output_file
from bitlearn.cli.progress import Console, table

NAME = "bench"
HELP = "compare the speed of kernels, training steps or predictions with other packages, after checking results"

#: Default seconds per measurement: for a kernel and case, a way of making steps, and one of predicting.
_SECONDS, _STEP_SECONDS, _PREDICTION_SECONDS = 0.2, 3.0, 1.0
#: Default numbers of examples.
_BATCH_SIZES = (100,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--kernels", type=_names, default=None, metavar="LIST", help="names, separated by commas; by default all"
    )
    what.add_argument(
        "--steps",
        type=_names,
        default=None,
        metavar="LIST",
        help="time training steps of mlp, cnv or binarynet, ours and PyTorch's, instead of kernels",
    )
    what.add_argument(
        "--predict",
        type=_names,
        default=None,
        metavar="LIST",
        help="time predictions of mlp, cnv or binarynet, ours and those of the same network in float32",
    )
    what.add_argument(
        "--profile", default=None, metavar="NETWORK", help="show where the time of one of our training steps goes"
    )
    parser.add_argument(
        "--variants",
        type=_names,
        default=None,
        metavar="LIST",
        help="such as cext:avx512,jit; by default all that are available",
    )
    parser.add_argument(
        "--shapes",
        default="small",
        metavar="LIST",
        help="small, full, or shapes separated by commas: rows x n for packing, M x N x n for products, "
        "batch x height x width x in x out x kernel for convolutions, written as in 256x256x256",
    )
    parser.add_argument(
        "--forms",
        type=_names,
        default=None,
        metavar="LIST",
        help="forms of operands, such as prepared,int8; by default all",
    )
    parser.add_argument(
        "--rivals", type=_names, default=None, metavar="LIST", help="names, or none; by default all that are installed"
    )
    parser.add_argument(
        "--ways",
        type=_names,
        default=None,
        metavar="LIST",
        help="ways to step, such as int8,torch-eager, or to predict, such as bitlearn,onnxruntime; by default all",
    )
    parser.add_argument(
        "--batch-size",
        type=_counts,
        default=None,
        metavar="LIST",
        help=f"examples per step or prediction, such as 100,10,2; by default {_BATCH_SIZES[0]}, and 1 per prediction",
    )
    parser.add_argument("--precision", default="int8", metavar="NAME", help="the policy of the profiled step")
    parser.add_argument(
        "--plot", type=output_file, default=None, metavar="FILE", help="draw the profile to this file, as SVG"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=None,
        metavar="X",
        help=f"seconds per measurement; by default {_SECONDS} for a kernel and case, {_STEP_SECONDS:g} for a way of "
        f"making steps, and {_PREDICTION_SECONDS:g} for one of predicting",
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Measure, and return an entry per kernel, form, shape, variant and rival, an entry per way, or a profile."""
    if arguments.plot is not None and arguments.profile is None:
        raise ValueError("--plot needs --profile NETWORK, got none")
    if arguments.steps is not None:
        return _ways(arguments, "steps", arguments.steps, _BATCH_SIZES, _STEP_SECONDS)
    if arguments.predict is not None:
        return _ways(arguments, "predictions", arguments.predict, (1,), _PREDICTION_SECONDS)
    return _kernels(arguments) if arguments.profile is None else _profile(arguments)


def _ways(
    arguments: argparse.Namespace, kind: str, names: Sequence[str], sizes: Sequence[int], seconds: float
) -> list[dict[str, Any]]:
    """Time the ways of making whole steps or predictions, for each network and batch size."""
    from bitlearn import threads
    from bitlearn.bench import records

    package, race = import_module(f"bitlearn.bench.{kind}"), import_module(f"bitlearn.bench.{kind}.race").race
    count = threads.resolve(arguments.threads)
    races = [
        [package.Task(name, way, size, count) for way in arguments.ways or package.WAYS]
        for name in names
        for size in arguments.batch_size or sizes
    ]
    entries = []
    for tasks in races:
        entries += race(tasks, arguments.seconds or seconds, _progress)
    machine = records.machine()
    return [entry | {"machine": machine} for entry in entries]


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _profile(arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    import bitlearn as bl
    from bitlearn import threads
    from bitlearn.bench import records, steps
    from bitlearn.bench.steps import plot, profile
    from bitlearn.files import atomic_write

    bl.set_num_threads(threads.resolve(arguments.threads))
    sizes = arguments.batch_size or _BATCH_SIZES
    if len(sizes) > 1:
        raise ValueError(f"--profile needs one batch size, got {', '.join(map(str, sizes))}")
    task = steps.Task(arguments.profile, arguments.precision, sizes[0], bl.get_num_threads())
    if task.way not in steps.OURS:
        raise ValueError(f"precision must be one of {', '.join(steps.OURS)}, got {task.way!r}")
    found = profile.profile(task.network, task.way, task.batch_size)
    if arguments.plot is not None:
        title = f"{task.network}, {task.way}, batch {task.batch_size}, threads {task.threads}"
        drawing = plot.draw(found, title)
        with atomic_write(arguments.plot) as stream:
            stream.write(drawing)
    about = {"network": task.network, "precision": task.way, "batch_size": task.batch_size, "threads": task.threads}
    return about | asdict(found) | {"machine": records.machine()}


def _kernels(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    import bitlearn as bl
    from bitlearn import threads
    from bitlearn.bench import kernels, rivals, runner
    from bitlearn.ops.dispatch import use_backend

    bl.set_num_threads(threads.resolve(arguments.threads))
    for variant in arguments.variants or []:
        with use_backend(variant):  # raises an error that says why one is not available
            pass
    chosen = rivals.load([] if arguments.rivals == ["none"] else arguments.rivals)
    where = kernels.places(arguments.kernels, kernels.parse_shapes(arguments.shapes), arguments.forms)
    done = count(1)

    def progress(case: kernels.Case) -> None:
        place = kernels.Place(case.kernel, case.form, case.shape)
        print(f"[{next(done)}/{len(where)}] {place}", file=sys.stderr, flush=True)

    return runner.run(kernels.cases(where), chosen, arguments.variants, arguments.seconds or _SECONDS, progress)


def report(result: list[dict[str, Any]] | dict[str, Any], console: Console) -> None:
    """Print the times of each case and what could not be timed, or where a step's time goes."""
    from bitlearn.bench import tables
    from bitlearn.bench.predictions import tables as prediction_tables
    from bitlearn.bench.steps import tables as step_tables
    from bitlearn.bench.steps.profile import Step

    if isinstance(result, dict):
        step = Step(**{each.name: result[each.name] for each in fields(Step)})
        title = f"{result['network']}, {result['precision']}, batch {result['batch_size']}, threads {result['threads']}"
        console.print(table(f"A step of {title}, by kernel", step_tables.BY_KERNEL, step_tables.by_kernel(step)))
        for line in step_tables.below(step):
            console.print(line)
        console.print(table(f"A step of {title}, by layer", step_tables.BY_LAYER, step_tables.by_layer(step)))
        return
    if result and "way" in result[0]:
        if "measures" in result[0]:
            title, found = "Seconds per prediction; times: relative to ours", prediction_tables
        else:
            title, found = "Seconds per step; times: relative to the fastest of ours", step_tables
        console.print(table(title, found.STANDINGS, found.standings(result)))
        for line in step_tables.missing(result):
            console.print(line)
        return
    title = "Medians; times: relative to the fastest of ours"
    console.print(table(title, tables.STANDINGS, tables.standings(result)))
    for line in tables.missing(result):
        console.print(line)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names separated by commas, got {text!r}")
    return names


def _counts(text: str) -> list[int]:
    names = _names(text)
    if not all(name.isdecimal() for name in names):
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, got {text!r}")
    return [examples(name) for name in names]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text!r}")
    return value
