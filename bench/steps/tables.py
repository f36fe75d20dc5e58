"""Tables of steps: how fast each way makes one, in how much memory, and where the time of ours goes."""

from __future__ import annotations

from collections.abc import Sequence

from bitlearn.report.units import energy

from ..tables import Row, duration
from . import OURS, roofline
from .profile import OUTSIDE, PASSES, Step
from .race import Entry

STANDINGS = ("network", "way", "median", "fastest", "peak memory", "energy, modelled", "measured", "times")
BY_KERNEL = ("kernel", "calls", "time", "share", "moved", "products", "roof", "of it")
BY_LAYER = ("layer", *PASSES, "share")


def memory(size: int) -> str:
    """Return bytes as text.

    >>> memory(3 * 2**19)
    '1.5 MiB'
    """
    return f"{size / 2**20:.1f} MiB"


def standings(entries: Sequence[Entry]) -> list[Row]:
    """Return rows of `STANDINGS`: the ways of each network, the fastest first, against the fastest of ours."""
    rows: list[Row] = []
    for title in dict.fromkeys(title_of(entry) for entry in entries):
        group = [entry for entry in entries if title_of(entry) == title and entry["seconds"] is not None]
        best = min((entry["seconds"] for entry in group if entry["way"] in OURS), default=None)
        for entry in sorted(group, key=lambda each: each["seconds"]):
            rows.append(
                (
                    title,
                    entry["way"],
                    duration(entry["seconds"]),
                    duration(entry["min_seconds"]),
                    memory(entry["peak_bytes"]),
                    _joules(entry.get("joules_modelled")),
                    _joules(entry.get("joules")),
                    "" if best is None else f"{entry['seconds'] / best:.2f}",
                )
            )
            title = ""
    return rows


def _joules(found: float | None) -> str:
    """Return joules as text; empty if there is no record of ours, or the machine has no counter."""
    return "" if found is None else energy(found)


def missing(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each way that was not timed, with the reason."""
    return [
        f"{entry['way']} was not timed on {title_of(entry)}: {entry['reason']}" for entry in entries if entry["reason"]
    ]


def title_of(entry: Entry) -> str:
    """Return what all entries of one race share."""
    return f"{entry['network']}, batch {entry['batch_size']}, threads {entry['threads']}"


def by_kernel(step: Step) -> list[Row]:
    """Return rows of `BY_KERNEL`, the longest first, the time outside kernels, and the sum."""
    rows: list[Row] = []
    for name, seconds in _longest(step):
        roof = step.roofs[name]
        products = f"{roof['products'] / 1e9:.2f} G" if roof["products"] else ""
        limits = (memory(roof["moved"]), products, roof["limit"], f"{roof['least'] / seconds:.2f}")
        rows.append((name, str(step.calls[name]), duration(seconds), _share(seconds, step), *limits))
    least = sum(each["least"] for each in step.roofs.values())
    blank = ("",) * 3
    rows.append((OUTSIDE, "", duration(step.outside), _share(step.outside, step), *blank, ""))
    whole = (str(sum(step.calls.values())), duration(step.seconds), _share(step.seconds, step))
    return [*rows, ("step", *whole, *blank, f"{least / step.seconds:.2f}")]


def below(step: Step) -> list[str]:
    """Return a line for each kernel that is far below its roof and takes a relevant share of the step, and why."""
    lines = []
    for name, seconds in _longest(step):
        near = step.roofs[name]["least"] / seconds
        if seconds > roofline.SHARE * step.seconds and near < roofline.NEAR:
            why = roofline.reason(name, seconds / step.calls[name])
            lines.append(f"{name} reaches {near:.2f} of its roof: {why}")
    return lines


def _longest(step: Step) -> list[tuple[str, float]]:
    return sorted(step.kernels.items(), key=lambda each: -each[1])


def by_layer(step: Step) -> list[Row]:
    """Return rows of `BY_LAYER`, in the network's order, their sum, and the time outside kernels."""
    sums = {name: sum(each[name] for each in step.layers.values()) for name in PASSES}
    rows: list[Row] = []
    for name, parts in [*step.layers.items(), ("layers and loss", sums)]:
        rows.append((name, *(duration(parts[part]) for part in PASSES), _share(sum(parts.values()), step)))
    return [*rows, (OUTSIDE, *[""] * len(PASSES), _share(step.outside, step))]


def _share(seconds: float, step: Step) -> str:
    return f"{100 * seconds / step.seconds:.1f} %"
