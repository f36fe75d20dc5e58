"""Numbers of bytes and joules for people."""

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


def energy(joules: float) -> str:
    """Return joules in the unit that suits them.

    Examples
    --------
    >>> energy(0.00123), energy(136.5)
    ('1.23 mJ', '136 J')
    """
    factor, unit = next(
        each for each in ((1.0, "J"), (1e3, "mJ"), (1e6, "µJ"), (1e9, "nJ")) if joules * each[0] >= 1 or each[1] == "nJ"
    )
    value = joules * factor
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
