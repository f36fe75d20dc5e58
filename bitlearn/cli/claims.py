"""``bitlearn claims``: each claim of the documentation, measured on this machine against its bar."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bitlearn.cli.progress import Console, table
from bitlearn.files import atomic_write

NAME = "claims"
#: The keys of an entry, besides the machine.
_ENTRY = {"id", "statement", "bar", "measured", "unit", "holds", "reason"}
HELP = "measure the documentation's claims, and say which hold on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="the claims to measure; all of them by default")
    parser.add_argument("--list", action="store_true", help="show the ids of all claims, and measure nothing")
    parser.add_argument("--resume", action="store_true", help="keep the results that the --json file already has")


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and return an entry per claim; the --json file gets each as soon as it is known."""
    from bitlearn.bench import claims, records

    path = None if arguments.json in (None, Path("-")) else arguments.json
    if arguments.resume and path is None:
        raise ValueError("--resume needs --json FILE, got none")
    chosen = claims.load(arguments.ids)
    if arguments.list:
        return [{"id": claim.id, "statement": claim.statement} for claim in chosen]
    kept, found = _kept(path) if arguments.resume and path is not None else {}, list[dict[str, Any]]()
    machine = records.machine()
    for number, claim in enumerate(chosen, 1):
        entry = kept.get((claim.id, claim.bar_text))
        if entry is None:
            print(f"[{number}/{len(chosen)}] {claim.id}", file=sys.stderr, flush=True)
            entry = claims.measure([claim])[0] | {"machine": machine}
            told = "not measured" if entry["measured"] is None else f"{_measured(entry['measured'])} {entry['unit']}"
            print(f"  {told.strip()}, holds: {_verdict(entry['holds'])}", file=sys.stderr, flush=True)
        found.append(entry)
        if path is not None:
            with atomic_write(path) as stream:
                stream.write((json.dumps(found, indent=2, allow_nan=False) + "\n").encode())
    return found


def _kept(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the entries of a file by claim and bar; none if there is no file yet."""
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text("utf-8"))
        return {(entry["id"], entry["bar"]): entry for entry in entries if set(entry) > _ENTRY}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path} must hold earlier output of --json to be resumed, got something else") from None


def report(result: list[dict[str, Any]], console: Console) -> None:
    """Print each claim, its bar, the measured value, and whether it holds."""
    if result and "bar" not in result[0]:
        console.print(table("Claims", ("claim", "statement"), [(each["id"], each["statement"]) for each in result]))
        return
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
