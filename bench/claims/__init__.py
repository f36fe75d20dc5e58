"""The claims, one file each: a statement of the documentation, where it comes from, its bar, and how it is measured.

A file has ``CLAIMS``: one claim, or one for each member of a family, such as a bar that holds at several shapes. The
function that measures a claim returns a number, or a `Measured` with the values behind it, or raises `NotHere` if it
cannot be measured on this machine or installation.
"""

from __future__ import annotations

import importlib
import operator
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, ">": operator.gt, "==": operator.eq}


class NotHere(Exception):
    """A claim cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Measured:
    """A number, and what it was made from: seconds, sizes, which kernels a rival picked."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A claim: its name, what it says, where the documentation says it, and its bar, such as ``(">=", 0.9)``."""

    id: str
    statement: str
    source: str
    bar: tuple[str, float]
    unit: str
    measure: Callable[[], float | Measured]

    def __post_init__(self) -> None:
        if self.bar[0] not in _COMPARISONS:
            raise ValueError(f"a bar of {self.id} must compare by {', '.join(_COMPARISONS)}, got {self.bar[0]!r}")

    @property
    def bar_text(self) -> str:
        """The bar in words, with its unit."""
        return f"{self.bar[0]} {self.bar[1]:g} {self.unit}".rstrip()


def load(ids: Sequence[str] = ()) -> list[Claim]:
    """Return the claims of these ids, all by default.

    Raises
    ------
    ValueError
        Where there is no such claim, or two have the same id.
    """
    found: dict[str, Claim] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            for claim in importlib.import_module(f"{__name__}.{info.name}").CLAIMS:
                if claim.id in found:
                    raise ValueError(f"claims must have ids of their own, got {claim.id!r} twice")
                found[claim.id] = claim
    for name in ids:
        if name not in found:
            near = get_close_matches(name, found, 3)
            meant = f"; perhaps {' or '.join(near)}" if near else ""
            raise ValueError(f"claim must be one of the {len(found)} that --list shows, got {name!r}{meant}")
    return [found[name] for name in (ids or found)]


def measure(claims: Sequence[Claim], progress: Callable[[Claim], None] = lambda claim: None) -> list[dict[str, Any]]:
    """Measure claims one after the other, and return an entry each."""
    entries = []
    for claim in claims:
        progress(claim)
        comparison, limit = claim.bar
        found, holds, reason = None, None, None
        try:
            answer = claim.measure()
            found = answer if isinstance(answer, Measured) else Measured(answer)
            holds = bool(_COMPARISONS[comparison](found.value, limit))
        except NotHere as error:
            reason = str(error)
        entries.append(
            {
                "id": claim.id,
                "statement": claim.statement,
                "source": claim.source,
                "bar": claim.bar_text,
                "measured": found.value if found else None,
                "unit": claim.unit,
                "holds": holds,
                "reason": reason,
                "details": found.details if found else {},
            }
        )
    return entries
