"""Tables and plots from entries: ``python -m bitlearn.bench.tables FILE... --out DIR`` writes bench.md and bench.svg.

Nothing is left out: losing cases stand among the others, and rivals that could not be timed follow with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bitlearn.bench.records import Entry, read

COLUMNS = ("kernel", "shape", "variant", "time", "rate", "of the probe", "rival", "ratio")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def rate(value: float, unit: str) -> str:
    """Return operations a second in words.

    >>> rate(2.5e12, "bit-MAC")
    '2.5 T bit-MAC/s'
    """
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g} {prefix} {unit}/s"
    return f"{value:.3g} {unit}/s"


def duration(seconds: float) -> str:
    """Return seconds in words.

    >>> duration(0.00125)
    '1.25 ms'
    """
    for factor, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a row of `COLUMNS` for each entry with figures."""
    return [
        (
            entry["kernel"],
            _shape(entry),
            entry["variant"],
            duration(entry["seconds"]),
            rate(entry["ops_per_second"], entry["unit"]),
            "" if entry["share_of_probe"] is None else f"{entry['share_of_probe']:.2f}",
            entry["rival"] or "",
            "" if entry["ratio"] is None else f"{entry['ratio']:.2f}",
        )
        for entry in entries
        if entry["seconds"] is not None
    ]


def missing(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each rival and reason for which it was not timed, with the cases."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry["seconds"] is None:
            found.setdefault((entry["rival"], entry["reason"]), []).append(f"{entry['kernel']} {_shape(entry)}")
    return [f"{rival} was not timed on {', '.join(cases)}: {reason}" for (rival, reason), cases in found.items()]


def markdown(entries: Sequence[Entry]) -> str:
    """Return tables in Markdown, one a machine."""
    parts = []
    for machine, group in _by_machine(entries):
        about = [
            f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in machine.items() if value not in (None, {})
        ]
        table = [COLUMNS, tuple("---" for _ in COLUMNS), *rows(group)]
        lines = [f"| {' | '.join(row)} |" for row in table]
        parts.append("\n".join([f"## {machine['cpu']}", "", *about, "", *lines, "", *missing(group)]).rstrip())
    return "\n\n".join(parts) + "\n"


def plot(entries: Sequence[Entry], path: Path) -> None:
    """Draw the ratio to each rival of the fastest variant at each case, on a scale on which 1 is the same speed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError("plots need matplotlib: install bitlearn[plots]") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    best: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry["ratio"] is not None:
            key = (f"{entry['kernel']} {_shape(entry)}", entry["rival"])
            if key not in best or entry["seconds"] < best[key]["seconds"]:
                best[key] = entry
    cases = list(dict.fromkeys(case for case, _ in best))
    rivals = list(dict.fromkeys(rival for _, rival in best))
    # The same entries give the same bytes: no date and no random names in the file.
    with mpl.rc_context({"svg.hashsalt": "bitlearn"}):
        figure = Figure(figsize=(8.6, 1.4 + 0.34 * len(cases)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for index, rival in enumerate(rivals):
            points = [(best[case, rival]["ratio"], y) for y, case in enumerate(cases) if (case, rival) in best]
            marker = "os^vD<>P"[index % 8]
            axes.plot([x for x, _ in points], [y for _, y in points], marker, label=rival, alpha=0.85)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yticks(range(len(cases)), cases)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("times as fast as the rival, with the fastest variant")
        if rivals:
            figure.legend(loc="outside lower center", ncols=4)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _shape(entry: Entry) -> str:
    return "×".join(map(str, entry["shape"]))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _by_machine(entries: Sequence[Entry]) -> list[tuple[dict, list[Entry]]]:
    groups: list[tuple[dict, list[Entry]]] = []
    for entry in entries:
        for machine, group in groups:
            if machine == entry["machine"]:
                group.append(entry)
                break
        else:
            groups.append((entry["machine"], [entry]))
    return groups


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables and the plot of one file or more."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.tables", description="Tables from measurements.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what bitlearn bench --json wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where bench.md and bench.svg go")
    arguments = parser.parse_args(argv)
    entries = [entry for file in arguments.files for entry in read(file)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench.md").write_text(markdown(entries), encoding="utf-8")
    plot(entries, arguments.out / "bench.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
