"""The claims, one file each: a statement of the documentation, where it comes from, its bar, and how it is measured.

A claim has ``ID``, ``STATEMENT``, ``SOURCE``, ``BAR`` (a comparison and a number, such as ``("<=", 0.2)``), ``UNIT``
and ``measure()``, which returns a number, or raises `NotHere` where this machine or installation cannot say.
"""

from __future__ import annotations

import importlib
import operator
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, ">": operator.gt, "==": operator.eq}


class NotHere(Exception):
    """A claim cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Claim:
    """A claim, as its file states it."""

    id: str
    statement: str
    source: str
    bar: tuple[str, float]
    unit: str
    measure: Callable[[], float]


def load(ids: Sequence[str] = ()) -> list[Claim]:
    """Return the claims of these ids, all by default.

    Raises
    ------
    ValueError
        Where there is no such claim.
    """
    found = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"{__name__}.{info.name}")
            claim = Claim(module.ID, module.STATEMENT, module.SOURCE, module.BAR, module.UNIT, module.measure)
            found[claim.id] = claim
    for name in ids:
        if name not in found:
            raise ValueError(f"claim must be one of {', '.join(found)}, got {name!r}")
    return [found[name] for name in (ids or found)]


def measure(claims: Sequence[Claim], progress: Callable[[Claim], None] = lambda claim: None) -> list[dict[str, Any]]:
    """Measure claims one after the other, and return an entry each."""
    entries = []
    for claim in claims:
        progress(claim)
        comparison, limit = claim.bar
        measured, holds, reason = None, None, None
        try:
            measured = claim.measure()
            holds = bool(_COMPARISONS[comparison](measured, limit))
        except NotHere as error:
            reason = str(error)
        entries.append(
            {
                "id": claim.id,
                "statement": claim.statement,
                "source": claim.source,
                "bar": f"{comparison} {limit:g} {claim.unit}".rstrip(),
                "measured": measured,
                "unit": claim.unit,
                "holds": holds,
                "reason": reason,
            }
        )
    return entries
