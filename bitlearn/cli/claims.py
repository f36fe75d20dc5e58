"""``bitlearn claims``: each claim of the documentation, measured here and now against its bar."""

from __future__ import annotations

import argparse
import sys
from itertools import count
from typing import Any

from bitlearn.cli.progress import Console, table

NAME = "claims"
HELP = "measure what the documentation claims, and say which claims hold here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which claims."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="the claims to measure; all of them by default")


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and return an entry a claim."""
    from bitlearn.bench import claims, records

    chosen, done = claims.load(arguments.ids), count(1)

    def progress(claim: claims.Claim) -> None:
        print(f"[{next(done)}/{len(chosen)}] {claim.id}", file=sys.stderr, flush=True)

    entries = claims.measure(chosen, progress)
    machine = records.machine()
    return [entry | {"machine": machine} for entry in entries]


def report(result: list[dict[str, Any]], console: Console) -> None:
    """Print claim, bar, measured, and whether it holds."""
    rows = [(each["id"], each["bar"], _measured(each["measured"]), _verdict(each["holds"])) for each in result]
    console.print(table("Claims", ("claim", "bar", "measured", "holds"), rows))
    console.print()
    for each in result:
        console.print(f"{each['id']}: {each['statement']} ({each['source']})")
        if each["reason"]:
            console.print(f"  not measured: {each['reason']}")


def _measured(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _verdict(holds: bool | None) -> str:
    return {True: "yes", False: "no", None: "not measured"}[holds]
