"""Which values a setting may have: ranges that say themselves what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitlearn.budgets import budget_bytes


@dataclass(frozen=True)
class Range:
    """Which values of its type a setting may have.

    Parameters
    ----------
    says : str
        As an error says it behind "must be".
    holds : callable
        Whether a value is one of them; of several values each is asked for.
    """

    says: str
    holds: Callable[[Any], bool]


def at_least(least: int) -> Range:
    """Return the range of integers from one on.

    Parameters
    ----------
    least : int

    Returns
    -------
    Range
    """
    return Range(f"at least {least}", lambda value: value >= least)


def finite(*, least: float = -math.inf, above: float = -math.inf) -> Range:
    """Return the range of finite numbers, of those from one on, or of those above one.

    Parameters
    ----------
    least, above : float
        One of them; all finite numbers by default.

    Returns
    -------
    Range

    Examples
    --------
    >>> finite(above=0).says, finite(above=0).holds(float("inf"))
    ('a finite number above 0', False)
    """
    says = "a finite number"
    if least > -math.inf:
        says += f" of at least {least:g}"
    elif above > -math.inf:
        says += f" above {above:g}"
    return Range(says, lambda value: least <= value < math.inf and value > above)


def interval(bounds: str) -> Range:
    """Return the range of an interval, as it is written.

    Parameters
    ----------
    bounds : str
        Two bounds in brackets: round ones where the bound itself is left out.

    Returns
    -------
    Range

    Examples
    --------
    >>> half_open = interval("(0, 1]")
    >>> half_open.says, [half_open.holds(value) for value in (0, 0.5, 1)]
    ('in (0, 1]', [False, True, True])
    """
    low, high = map(float, bounds[1:-1].split(","))
    open_below, open_above = bounds[0] == "(", bounds[-1] == ")"

    def holds(value: Any) -> bool:
        above = value > low if open_below else value >= low
        return bool(above and (value < high if open_above else value <= high))

    return Range(f"in {bounds}", holds)


def _is_size(value: Any) -> bool:
    try:
        budget_bytes(value)
    except ValueError:
        return False
    return True


#: Bytes, as `bitlearn.budgets.budget_bytes` takes them.
SIZE = Range("bytes, or a number of KiB or MiB", _is_size)
