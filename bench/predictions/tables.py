"""Tables of predictions: who predicts how fast."""

from __future__ import annotations

from collections.abc import Sequence

from ..steps.tables import title_of
from ..tables import Row, duration
from . import OURS
from .race import Entry

STANDINGS = ("network", "way", "median", "quartiles", "times")


def standings(entries: Sequence[Entry]) -> list[Row]:
    """Return rows of `STANDINGS`: the ways of each network, the fastest first, against ours."""
    rows: list[Row] = []
    for title in dict.fromkeys(title_of(entry) for entry in entries):
        group = [entry for entry in entries if title_of(entry) == title and entry["seconds"] is not None]
        ours = next((entry["seconds"] for entry in group if entry["way"] == OURS), None)
        for entry in sorted(group, key=lambda each: each["seconds"]):
            quartiles = " to ".join(duration(entry[name]) for name in ("lower_quartile", "upper_quartile"))
            times = "" if ours is None else f"{entry['seconds'] / ours:.2f}"
            rows.append((title, entry["way"], duration(entry["seconds"]), quartiles, times))
            title = ""
    return rows
