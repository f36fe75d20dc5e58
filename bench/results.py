"""Measurements stored with the code: small files, one folder per kind of processor, made from the command line's files.

``python -m bitlearn.bench.results FILE... --into DIR`` reads files written by ``bitlearn bench --json`` and ``bitlearn
claims --json``, and writes ``DIR/<kind>/bench.json`` and ``claims.json``. A line holds a case or a claim, with figures
of four digits; derived figures (rates, shares, ratios) are computed again when the files are read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import records
from .records import Entry

#: Where a checkout keeps them.
FOLDER = Path(__file__).parent / "results"

#: The keys that all entries of a case share, and those from the probe of a variant.
ABOUT = ("kernel", "form", "shape", "operations", "unit")
LIMIT = ("probe", "probe_ops_per_second", "probe_ops_per_cycle")


def _rounded(value: Any) -> Any:
    """Return nested values with floats of four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def machine_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the machine of entries of one run.

    Raises
    ------
    ValueError
        If they come from several.
    """
    machine = entries[0]["machine"]
    if any(entry["machine"] != machine for entry in entries):
        raise ValueError("the entries of one run were wanted, got those of several machines or builds")
    return machine


def compact(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the entries of one benchmark as one object: the machine once, and each contender once a case."""
    cases: dict[tuple, dict[str, Any]] = {}
    for entry in entries:
        about = {name: entry[name] for name in ABOUT}
        case = cases.setdefault(
            (about["kernel"], about["form"], *about["shape"]),
            about | {"variants": {}, "limits": {}, "rivals": {}, "missing": {}, "missing_rivals": {}},
        )
        variant, rival = entry["variant"], entry["rival"]
        if entry["reason"] is not None:
            case["missing" if rival is None else "missing_rivals"][rival or variant] = entry["reason"]
            continue
        case["variants"][variant] = [entry[name] for name in records.TIMES]
        if entry["probe"] is not None:
            case["limits"][variant] = [entry[name] for name in LIMIT]
        if rival is not None:
            case["rivals"][rival] = [entry["rival_seconds"], entry["rival_first_call_seconds"]]
    return {"machine": machine_of(entries), "cases": _rounded(list(cases.values()))}


def expand(stored: dict[str, Any]) -> list[Entry]:
    """Return the entries of what `compact` returned."""
    entries = []
    for case in stored["cases"]:
        of = {name: case[name] for name in ABOUT}
        for variant, timing in case["variants"].items():
            limit = case["limits"].get(variant)
            for rival in case["rivals"] or [None]:
                entries.append(records.measured(of, variant, timing, limit, rival, case["rivals"].get(rival, ())))
        entries += [records.missing(of, name, None, reason) for name, reason in case["missing"].items()]
        entries += [records.missing(of, None, name, reason) for name, reason in case["missing_rivals"].items()]
    return [entry | {"machine": stored["machine"]} for entry in entries]


def claims_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the entries of measured claims as one object, the machine once."""
    machine = machine_of(entries)
    kept = [{name: value for name, value in entry.items() if name != "machine"} for entry in entries]
    return {"machine": machine, "claims": _rounded(kept)}


def read(path: Path) -> list[Entry]:
    """Read the entries of a benchmark or of claims, as the command line wrote them or as `write` did.

    Raises
    ------
    ValueError
        If it holds neither.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(found, dict) and "machine" in found:
        if "cases" in found:
            return expand(found)
        if "claims" in found:
            return [claim | {"machine": found["machine"]} for claim in found["claims"]]
    if isinstance(found, list) and all(isinstance(each, dict) and {"kernel", "id"} & set(each) for each in found):
        return found
    raise ValueError(f"the entries of a benchmark or of claims were wanted, got something else in {path}")


def of_claims(entries: Sequence[Entry]) -> bool:
    """Say whether entries are those of claims, and not of a benchmark."""
    return bool(entries) and "id" in entries[0]


def write(entries: Sequence[Entry], folder: Path) -> Path:
    """Write the entries of one run into its kind of processor's folder, and return the file."""
    name, file = ("claims", "claims.json") if of_claims(entries) else ("cases", "bench.json")
    stored = claims_of(entries) if of_claims(entries) else compact(entries)
    machine = json.dumps(stored["machine"], ensure_ascii=False, indent=1)
    listed = ",\n".join(json.dumps(each, ensure_ascii=False) for each in stored[name])
    path = folder / stored["machine"]["kind"] / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"machine": {machine},\n"{name}": [\n{listed}\n]}}\n', encoding="utf-8")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Write what one run or more found into a folder."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.results", description="Keep measurements, small.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files written by bench or claims --json")
    parser.add_argument(
        "--into", type=Path, default=FOLDER, metavar="DIR", help="the folder that holds one folder per processor"
    )
    arguments = parser.parse_args(argv)
    for file in arguments.files:
        if entries := read(file):
            print(write(entries, arguments.into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
