"""``bitlearn bench``: kernels beside the rivals that are installed, whole training steps, and a profile of a step."""

from __future__ import annotations

import argparse
import sys
from itertools import count
from typing import Any

from bitlearn.cli.arguments import add_threads, output_file
from bitlearn.cli.progress import Console, table

NAME = "bench"
HELP = "time the kernels, or whole training steps, beside other packages, after checking that the answers agree"

#: Seconds for each that is timed, where none are named: a kernel at a case, a way of making steps.
_SECONDS, _STEP_SECONDS = 0.2, 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is timed, and for how long."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--kernels", type=_names, default=None, metavar="LIST", help="names, commas between; else all")
    what.add_argument(
        "--steps",
        type=_names,
        default=None,
        metavar="LIST",
        help="training steps of mlp, cnv or binarynet, ours and PyTorch's, in the place of kernels",
    )
    what.add_argument(
        "--profile", default=None, metavar="NETWORK", help="where the time of a training step of ours goes"
    )
    parser.add_argument(
        "--variants", type=_names, default=None, metavar="LIST", help="such as cext:avx512,jit; else all there are here"
    )
    parser.add_argument(
        "--shapes",
        default="small",
        metavar="LIST",
        help="small, full, or shapes with commas between: rows x n for packing, M x N x n for products, "
        "batch x height x width x in x out x kernel for convolutions, written as in 256x256x256",
    )
    parser.add_argument(
        "--forms", type=_names, default=None, metavar="LIST", help="of operands, such as prepared,int8; else all"
    )
    parser.add_argument(
        "--rivals", type=_names, default=None, metavar="LIST", help="names, or none; else all that are installed"
    )
    parser.add_argument(
        "--ways", type=_names, default=None, metavar="LIST", help="of steps, such as int8,torch-eager; else all"
    )
    parser.add_argument("--batch-size", type=int, default=100, metavar="N", help="examples in a step")
    parser.add_argument("--precision", default="int8", metavar="NAME", help="the policy of the step that is profiled")
    parser.add_argument(
        "--plot", type=output_file, default=None, metavar="FILE", help="draw the profile in this file, in SVG"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=None,
        metavar="X",
        help=f"for each that is timed: {_SECONDS} for a kernel at each case, {_STEP_SECONDS:g} for a way of steps",
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | dict[str, Any]:
    """Measure, and return an entry a kernel, form, shape, variant and rival; or a way of making steps; or a profile."""
    if arguments.plot is not None and arguments.profile is None:
        raise ValueError("--plot needs --profile NETWORK, got none")
    if arguments.steps is not None:
        return _steps(arguments)
    return _kernels(arguments) if arguments.profile is None else _profile(arguments)


def _steps(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from bitlearn import threads
    from bitlearn.bench import records, steps
    from bitlearn.bench.steps import race

    count = threads.resolve(arguments.threads)
    networks = [
        [steps.Task(name, way, arguments.batch_size, count) for way in arguments.ways or steps.WAYS]
        for name in arguments.steps
    ]
    entries = []
    for tasks in networks:
        entries += race.race(tasks, arguments.seconds or _STEP_SECONDS, lambda text: print(text, file=sys.stderr))
    machine = records.machine()
    return [entry | {"machine": machine} for entry in entries]


def _profile(arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    import bitlearn as bl
    from bitlearn import threads
    from bitlearn.bench import records, steps
    from bitlearn.bench.steps import plot, profile
    from bitlearn.files import atomic_write

    bl.set_num_threads(threads.resolve(arguments.threads))
    task = steps.Task(arguments.profile, arguments.precision, arguments.batch_size, bl.get_num_threads())
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
        with use_backend(variant):  # which says why one is not available
            pass
    chosen = rivals.load([] if arguments.rivals == ["none"] else arguments.rivals)
    where = kernels.places(arguments.kernels, kernels.parse_shapes(arguments.shapes), arguments.forms)
    done = count(1)

    def progress(case: kernels.Case) -> None:
        place = kernels.Place(case.kernel, case.form, case.shape)
        print(f"[{next(done)}/{len(where)}] {place}", file=sys.stderr, flush=True)

    return runner.run(kernels.cases(where), chosen, arguments.variants, arguments.seconds or _SECONDS, progress)


def report(result: list[dict[str, Any]] | dict[str, Any], console: Console) -> None:
    """Print who is how fast at each case, and what could not be timed; or where a step's time goes."""
    from bitlearn.bench import tables
    from bitlearn.bench.steps import tables as step_tables
    from bitlearn.bench.steps.profile import Step

    if isinstance(result, dict):
        step = Step(**{key: result[key] for key in ("seconds", "kernels", "calls", "layers")})
        title = f"{result['network']}, {result['precision']}, batch {result['batch_size']}, threads {result['threads']}"
        console.print(table(f"A step of {title}, by kernel", step_tables.BY_KERNEL, step_tables.by_kernel(step)))
        console.print(table(f"A step of {title}, by layer", step_tables.BY_LAYER, step_tables.by_layer(step)))
        return
    if result and "way" in result[0]:
        title = "Seconds a step; times: so many times as long as the fastest of ours takes"
        console.print(table(title, step_tables.STANDINGS, step_tables.standings(result)))
        for line in step_tables.missing(result):
            console.print(line)
        return
    title = "Medians; times above 1: so many times as long as the fastest of ours takes"
    console.print(table(title, tables.STANDINGS, tables.standings(result)))
    for line in tables.missing(result):
        console.print(line)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"names with commas between were wanted, got {text!r}")
    return names


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a positive number of seconds was wanted, got {text!r}")
    return value
