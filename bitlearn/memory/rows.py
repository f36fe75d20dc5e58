"""The memory of a training step, standard and low-memory side by side, as rows that add up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AccountRow:
    """One variable, on both sides.

    Parameters
    ----------
    variable : str
    lifetime : str
        "persistent", "step", "forward to backward" or "transient".
    standard_dtype, low_memory_dtype : str
        Empty on a side that does not have the variable.
    standard_bytes, low_memory_bytes : int
    """

    variable: str
    lifetime: str
    standard_dtype: str
    standard_bytes: int
    low_memory_dtype: str
    low_memory_bytes: int


@dataclass(frozen=True)
class Account:
    """The memory of a training step, standard against low-memory.

    Parameters
    ----------
    rows : tuple of AccountRow
        They add up to the totals.
    consistent_ratio : float, optional
        Where the published model counts something on the standard side only: what the ratio would be if both sides
        counted it.
    """

    rows: tuple[AccountRow, ...]
    consistent_ratio: float | None = None

    @property
    def standard_bytes(self) -> int:
        """All bytes of the standard side."""
        return sum(row.standard_bytes for row in self.rows)

    @property
    def low_memory_bytes(self) -> int:
        """All bytes of the low-memory side."""
        return sum(row.low_memory_bytes for row in self.rows)

    @property
    def ratio(self) -> float:
        """The standard side's bytes divided by the low-memory side's."""
        return self.standard_bytes / self.low_memory_bytes
