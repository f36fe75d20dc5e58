"""Tables from entries: for people at a terminal, in Markdown, and in the documentation.

Nothing is left out: cases we lose are listed with the others, and cases that could not be timed follow with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from . import kernels
from .records import Entry

Row = tuple[str, ...]
STANDINGS = ("case", "who", "time", "rate", "of the probe", "times")

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def rate(value: float, unit: str) -> str:
    """Return operations per second as text.

    >>> rate(2.5e12, "bit-MAC")
    '2.5 T bit-MAC/s'
    """
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g} {prefix} {unit}/s"
    return f"{value:.3g} {unit}/s"


def duration(seconds: float) -> str:
    """Return seconds as text.

    >>> duration(0.00125)
    '1.25 ms'
    """
    for factor, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


@dataclass
class Summary:
    """The measurements of a case: seconds by variant and by rival, and fractions of the probe."""

    kernel: str
    form: str
    shape: str
    unit: str
    operations: int
    variants: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Its form and shape."""
        return f"{self.form} {self.shape}"

    @property
    def fastest(self) -> str:
        """The fastest of our variants."""
        return min(self.variants, key=self.variants.__getitem__)

    @property
    def ratios(self) -> dict[str, float]:
        """The time of each rival divided by that of our fastest variant."""
        return {rival: seconds / self.variants[self.fastest] for rival, seconds in self.rivals.items()}


def summaries(entries: Sequence[Entry]) -> list[Summary]:
    """Return a summary of each case with measurements."""
    found: dict[tuple, Summary] = {}
    for entry in entries:
        if entry["seconds"] is None:
            continue
        about = (entry["kernel"], entry["form"], _shape(entry), entry["unit"], entry["operations"])
        summary = found.setdefault(about, Summary(*about))
        summary.variants[entry["variant"]] = entry["seconds"]
        if entry["share_of_probe"] is not None:
            summary.shares[entry["variant"]] = entry["share_of_probe"]
        if entry["rival"] is not None:
            summary.rivals[entry["rival"]] = entry["rival_seconds"]
    return list(found.values())


def standings(entries: Sequence[Entry]) -> list[Row]:
    """Return rows of `STANDINGS`: the variants and rivals of each case, the fastest first."""
    rows: list[Row] = []
    for summary in summaries(entries):
        best = summary.variants[summary.fastest]
        title = f"{summary.kernel} {summary.place}"
        for who, seconds in sorted((summary.variants | summary.rivals).items(), key=lambda each: each[1]):
            speed = rate(summary.operations / seconds, summary.unit)
            share = _ratio(summary.shares.get(who))
            rows.append((title, who, duration(seconds), speed, share, _ratio(seconds / best)))
            title = ""
    return rows


def missing(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each variant or rival and reason for which it was not timed, with the cases."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry["seconds"] is None:
            who = entry["rival"] or entry["variant"]
            found.setdefault((who, entry["reason"]), []).append(f"{entry['kernel']} {entry['form']} {_shape(entry)}")
    return [f"{who} was not timed on {', '.join(cases)}: {reason}" for (who, reason), cases in found.items()]


def families(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Summary]]]:
    """Yield the name of each family of kernels with the summaries of its cases."""
    order = list(kernels.FAMILIES)
    found = sorted(summaries(entries), key=lambda summary: order.index(kernels.family(summary.kernel)))
    for name, group in groupby(found, key=lambda summary: kernels.family(summary.kernel)):
        yield name, list(group)


def rival_table(group: Sequence[Summary]) -> list[Row]:
    """Return a heading and rows of the fastest variant of each case, and the ratio to each rival."""
    rivals = _names(summary.rivals for summary in group)
    rows = [("kernel", "operands", "shape", "fastest", "time", "rate", "of the probe", *rivals)]
    for summary in group:
        best = summary.fastest
        seconds = summary.variants[best]
        speed = rate(summary.operations / seconds, summary.unit)
        share = _ratio(summary.shares.get(best))
        ratios = [_ratio(summary.ratios.get(rival)) for rival in rivals]
        about = (summary.kernel, summary.form, summary.shape)
        rows.append((*about, best, duration(seconds), speed, share, *ratios))
    return _without_empty_columns(rows)


def variant_table(group: Sequence[Summary]) -> list[Row]:
    """Return a heading and rows of the time of each variant."""
    variants = _names(summary.variants for summary in group)
    rows = [("kernel", "operands", "shape", *variants)]
    for summary in group:
        times = [duration(summary.variants[name]) if name in summary.variants else "" for name in variants]
        rows.append((summary.kernel, summary.form, summary.shape, *times))
    return rows


def claim_table(entries: Sequence[Entry]) -> list[Row]:
    """Return a heading and rows of measured claims."""
    rows: list[Row] = [("claim", "statement", "bar", "measured")]
    for entry in entries:
        rows.append((entry["id"], entry["statement"], entry["bar"], verdict(entry)))
    return rows


def verdict(entry: Entry) -> str:
    """Return the measured value of a claim and whether it holds, or why it was not measured."""
    if entry["holds"] is None:
        return f"not measured: {entry['reason']}"
    return f"{entry['measured']:.4g}, {'holds' if entry['holds'] else 'does not hold'}"


def facts(machine: dict) -> list[tuple[str, str]]:
    """Return the known facts about a machine and a build as text."""
    return [(key.replace("_", " "), _plain(value)) for key, value in machine.items() if value not in (None, {}, [])]


def runs(entries: Sequence[Entry]) -> list[tuple[dict, list[Entry]]]:
    """Return entries by their machine and build."""
    groups: list[tuple[dict, list[Entry]]] = []
    for entry in entries:
        for machine, group in groups:
            if machine == entry["machine"]:
                group.append(entry)
                break
        else:
            groups.append((entry["machine"], [entry]))
    return groups


def markdown(rows: Sequence[Row]) -> str:
    """Return a header and rows as a Markdown table."""
    ruled = [rows[0], tuple("---" for _ in rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def document(entries: Sequence[Entry]) -> str:
    """Return the tables of a benchmark in Markdown, separately for each machine."""
    parts = []
    for machine, group in runs(entries):
        parts += [f"## {machine['cpu']}", "\n".join(f"- {key}: {value}" for key, value in facts(machine))]
        for name, found in families(group):
            parts += [f"### {name}", "The columns of rivals show their time divided by that of our fastest variant."]
            parts += [markdown(rival_table(found)), "Every variant:", markdown(variant_table(found))]
        parts += missing(group)
    return "\n\n".join(parts) + "\n"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _names(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _without_empty_columns(rows: Sequence[Row]) -> list[Row]:
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    return [tuple(row[index] for index in kept) for row in rows]


def _shape(entry: Entry) -> str:
    return "×".join(map(str, entry["shape"]))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(" ".join(each.values()) if isinstance(each, dict) else str(each) for each in value)
    return str(value)
