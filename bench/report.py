"""Tables and plots of measurements: ``python -m bitlearn.bench.report FILE... --out DIR``.

Reads files written by ``bitlearn bench --json``, ``bitlearn claims --json`` or `results`, and writes
``bench.md``, plots for each family of kernels (``ratios-<family>.svg`` and ``shares-<family>.svg``), and ``claims.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import plots, results, tables
from .records import Entry


def write(entries: Sequence[Entry], folder: Path) -> list[Path]:
    """Write the tables and the plots of a benchmark, or the table of claims, and return the files."""
    if results.of_claims(entries):
        path = folder / "claims.md"
        parts = [f"## {machine['cpu']}\n\n{_claims(group)}\n" for machine, group in tables.runs(entries)]
        path.write_text("\n".join(parts), encoding="utf-8")
        return [path]
    written = [folder / "bench.md"]
    written[0].write_text(tables.document(entries), encoding="utf-8")
    runs = tables.runs(entries)
    for machine, group in runs:
        # Several runs draw several plots, named by the kind of processor.
        of = f"{machine['kind']}-" if len(runs) > 1 else ""
        for name, found in tables.families(group):
            for what, drawn in (("ratios", plots.ratios(found)), ("shares", plots.shares(found))):
                if drawn is not None:
                    written.append(folder / f"{of}{what}-{name.replace(' ', '-')}.svg")
                    written[-1].write_bytes(drawn)
    return written


def _claims(entries: Sequence[Entry]) -> str:
    facts = "\n".join(f"- {key}: {value}" for key, value in tables.facts(entries[0]["machine"]))
    return f"{facts}\n\n{tables.markdown(tables.claim_table(entries))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables and plots of one file or more."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.report", description="Tables and plots.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files written by bench or claims --json")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = [results.read(file) for file in arguments.files]
    for claims in (False, True):
        entries = [entry for each in found if results.of_claims(each) == claims for entry in each]
        if entries:
            for path in write(entries, arguments.out):
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
