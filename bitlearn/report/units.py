"""Numbers of bytes for people."""

from __future__ import annotations


def size(count: float) -> str:
    """Return a number of bytes in binary units.

    Examples
    --------
    >>> size(1536)
    '1.5 KiB'
    """
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024 or unit == "GiB":
            break
    return f"{count:.1f} {unit}"
