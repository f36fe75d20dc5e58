"""``bitlearn bench``: every kernel, variant by variant, beside the rivals that are installed."""

from __future__ import annotations

import argparse
import sys
from itertools import count
from typing import Any

from bitlearn.cli.arguments import add_threads
from bitlearn.cli.progress import Console, table

NAME = "bench"
HELP = "time the kernels beside other packages, after checking that all give the same answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is timed, and for how long."""
    parser.add_argument("--kernels", type=_names, default=None, metavar="LIST", help="names, commas between; else all")
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
        "--seconds", type=_seconds, default=0.2, metavar="X", help="for each that is timed, at each case"
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and return an entry a kernel, form, shape, variant and rival."""
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

    return runner.run(kernels.cases(where), chosen, arguments.variants, arguments.seconds, progress)


def report(result: list[dict[str, Any]], console: Console) -> None:
    """Print who is how fast at each case, and what could not be timed."""
    from bitlearn.bench import tables

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
