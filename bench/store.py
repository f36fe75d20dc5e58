"""Files of entries that a benchmark appends to as it runs, and summaries of entries over seeds for its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bitlearn.files import atomic_write

from .records import Entry


def write(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all; its folder is created if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write((json.dumps(value, indent=1) + "\n").encode())


def of_protocol(folder: Path, name: str, kind: str) -> list[Entry]:
    """Return the stored entries of a protocol, for all seeds; `kind` is test or held-out."""
    files = sorted(folder.glob(f"{name}-{kind}-*.json"))
    return [entry for path in files for entry in json.loads(path.read_text("utf-8"))]


def half_width(interval: tuple[float, float] | None, digits: int) -> str:
    """Return half the width of an interval as a table shows it; empty without an interval."""
    return "" if interval is None else f"± {(interval[1] - interval[0]) / 2:.{digits}f}"
