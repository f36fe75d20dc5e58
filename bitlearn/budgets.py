"""Numbers of bytes as users write them."""

from __future__ import annotations

_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def budget_bytes(budget: float | str, name: str = "memory_budget") -> int:
    """Return a number of bytes, given as a number or as text with a unit.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> budget_bytes("32 KiB"), budget_bytes("1.5MiB"), budget_bytes(100)
    (32768, 1572864, 100)
    """
    text = str(budget).strip()
    number = text.rstrip("BKMGIbkmgi")
    try:
        return int(float(number) * _UNITS[text[len(number) :].upper() or "B"])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{name} must be bytes, or a number of KiB or MiB, got {budget!r}") from None
