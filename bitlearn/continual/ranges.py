"""Ranges of settings, with their descriptions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitlearn.budgets import budget_bytes


@dataclass(frozen=True)
class Range:
    """The values of its type that a setting may have.

    Parameters
    ----------
    says : str
        The description, as it follows "must be" in an error.
    holds : callable
        Whether a value is in the range; a sequence is checked value by value.
    """

    says: str
    holds: Callable[[Any], bool]


def at_least(least: int) -> Range:
    """Return the range of integers from `least` upwards.

    Parameters
    ----------
    least : int

    Returns
    -------
    Range
    """
    return Range(f"at least {least}", lambda value: value >= least)


def finite(*, least: float = -math.inf, above: float = -math.inf) -> Range:
    """Return the range of finite numbers that are at least `least`, or above `above`.

    Parameters
    ----------
    least, above : float
        Give at most one of them; by default all finite numbers are in the range.

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
    """Return the range of an interval, written as in mathematics.

    Parameters
    ----------
    bounds : str
        Two bounds in brackets: round ones exclude the bound, square ones include it.

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


#: Sizes in bytes, as `bitlearn.budgets.budget_bytes` takes them.
SIZE = Range("bytes, or a number of KiB or MiB", _is_size)
