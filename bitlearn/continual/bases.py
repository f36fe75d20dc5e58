"""Compact bases of subspaces: columns of 32-, 8- or 4-bit values, each with a trust factor."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal

import numpy as np

from bitlearn.nn.layer import Arrays

Quantizer = Literal["asymmetric", "normal"]
#: The fraction of a column's values that the quantizer "normal" keeps unchanged, half of them at each end.
OUTLIERS = 0.02
#: How fast the trust in a column falls with the angle between it and its quantized form.
SHARPNESS = 10.0
#: Trust is stored in steps of 1/255.
_STEPS = 255


class Basis:
    """A few orthonormal vectors of n values, quantized.

    Parameters
    ----------
    n : int
        The length of a column.
    bits : {32, 8, 4}
        Bits per value: float32, a byte, or half a byte.
    quantizer : {"asymmetric", "normal"}
        How a column is quantized.

    Attributes
    ----------
    stored : dict of str to ndarray
        Everything that is stored. Rows are columns of the basis: ``codes`` (rank, n) of float32 or uint8, or (rank,
        ceil(n / 2)) of two codes per byte, the first in the low half; ``scale`` float32 and ``trust`` uint8 (rank,);
        ``zero`` uint8 (rank,), or ``mean`` float32 (rank,), ``place`` uint32 and ``value`` float32 (rank, outliers).

    Notes
    -----
    QGPM (ICLR 2026, xJtxpJ6QdD). With b bits per column u is

    asymmetric
        ``s * (code - z)``, s = (max - min) / (2^b - 1), z = round(-min / s).
    normal
        the values beyond the 1st and the 99th percentile are kept unchanged; the others, minus their mean and divided
        by their largest magnitude, become the nearest of the 2^b levels ``q_i / q_max``, q_i the (i + 1/2) / 2^b
        quantile of the normal distribution.

    The error-aware projection subtracts ``(x U) diag(t) U^T`` from x, for quantized columns U, with the trust
    ``t = 1 - min(10 (1 - cos(u, quantized u)), 1)`` in steps of 1/255. Columns added later are found with all t at 1.

    Examples
    --------
    >>> basis = Basis(784, bits=4)
    >>> basis.append(np.linalg.qr(np.random.default_rng(0).normal(size=(784, 10)))[0])
    >>> basis.rank, basis.nbytes, Basis.size(784, 10, 4), Basis.size(784, 10)
    (10, 3980, 3980, 31360)
    """

    def __init__(self, n: int, *, bits: int = 32, quantizer: Quantizer = "asymmetric"):
        if bits not in (32, 8, 4):
            raise ValueError(f"bits must be 32, 8 or 4, got {bits}")
        if quantizer not in ("asymmetric", "normal"):
            raise ValueError(f"quantizer must be 'asymmetric' or 'normal', got {quantizer!r}")
        self.n, self.bits, self.quantizer = n, bits, quantizer
        self.stored: Arrays = {
            name: np.zeros((0, *shape), dtype) for name, (shape, dtype) in self._types(n, bits, quantizer).items()
        }
        self._columns: np.ndarray = np.zeros((n, 0), np.float32)
        self._trusted: np.ndarray = np.zeros((0, n), np.float32)
        self._rest: np.ndarray | None = None

    @staticmethod
    def _types(n: int, bits: int, quantizer: str) -> dict[str, tuple[tuple[int, ...], type]]:
        """Return the shape and dtype of each array stored for a column."""
        if bits == 32:
            return {"codes": ((n,), np.float32)}
        found: dict[str, tuple[tuple[int, ...], type]] = {
            "codes": ((n if bits == 8 else -(-n // 2),), np.uint8),
            "scale": ((), np.float32),
            "trust": ((), np.uint8),
        }
        if quantizer == "asymmetric":
            return found | {"zero": ((), np.uint8)}
        few = (2 * _on_a_side(n),)
        return found | {"mean": ((), np.float32), "place": (few, np.uint32), "value": (few, np.float32)}

    @classmethod
    def size(cls, n: int, rank: int, bits: int = 32, quantizer: Quantizer = "asymmetric") -> int:
        """Return how many bytes this many columns take."""
        types = cls._types(n, bits, quantizer).values()
        return rank * sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in types)

    @property
    def rank(self) -> int:
        """The number of columns."""
        return len(self.stored["codes"])

    @property
    def nbytes(self) -> int:
        """The bytes of everything stored, not counting the float32 working copy that is made from it."""
        return sum(array.nbytes for array in self.stored.values())

    @property
    def columns(self) -> np.ndarray:
        """The columns as they are now, float32 (n, rank); read-only."""
        return self._columns

    def append(self, columns: np.ndarray) -> None:
        """Add columns.

        Parameters
        ----------
        columns : ndarray, shape (n, more)
            Orthonormal.

        Raises
        ------
        ValueError
            If their length is wrong, they are not finite, or there would be more columns than values.
        """
        if columns.ndim != 2 or len(columns) != self.n or self.rank + columns.shape[1] > self.n:
            raise ValueError(
                f"columns must have {self.n} rows and at most {self.n - self.rank} columns, got shape {columns.shape}"
            )
        if not np.isfinite(columns).all():
            raise ValueError("columns must be finite, got NaN or infinity")
        made = self._quantized(np.ascontiguousarray(columns.T, dtype=np.float64))
        self.stored = {name: np.concatenate([old, made[name].astype(old.dtype)]) for name, old in self.stored.items()}
        self._decode()

    def _quantized(self, rows: np.ndarray) -> Arrays:
        if self.bits == 32:
            return {"codes": rows}
        most = 2**self.bits - 1
        if self.quantizer == "asymmetric":
            low, high = rows.min(axis=1, initial=0), rows.max(axis=1, initial=0)
            scale = np.where(high > low, (high - low) / most, 1).astype(np.float32)
            zero = np.clip(np.rint(-low / scale), 0, most)
            codes = np.clip(np.rint(rows / scale[:, None]) + zero[:, None], 0, most)
            found = {"scale": scale, "zero": zero}
        else:
            order, side = np.argsort(rows, axis=1, kind="stable"), _on_a_side(self.n)
            place = np.concatenate([order[:, :side], order[:, self.n - side :]], axis=1)
            inside = np.ones(rows.shape, dtype=bool)
            np.put_along_axis(inside, place, False, axis=1)
            mean = (rows * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
            away = (rows - mean[:, None]) * inside
            scale = np.abs(away).max(axis=1, initial=0).astype(np.float32)
            levels = _levels(self.bits)
            relative = away / np.where(scale > 0, scale, 1)[:, None]
            codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, relative)
            found = {"scale": scale, "mean": mean, "place": place, "value": np.take_along_axis(rows, place, axis=1)}
        found["codes"] = codes.astype(np.uint8) if self.bits == 8 else _nibbles(codes.astype(np.uint8))
        decoded = self._decoded({name: np.asarray(array) for name, array in found.items()}).astype(np.float64)
        length = np.linalg.norm(rows, axis=1) * np.linalg.norm(decoded, axis=1)
        cosine = (rows * decoded).sum(axis=1) / np.where(length > 0, length, 1)
        found["trust"] = np.rint(_STEPS * (1 - np.clip(SHARPNESS * (1 - cosine), 0, 1)))
        return found

    def _decoded(self, stored: Arrays) -> np.ndarray:
        """Return columns as rows of float32."""
        if self.bits == 32:
            return stored["codes"].astype(np.float32)
        codes = stored["codes"]
        if self.bits == 4:
            codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), 2 * codes.shape[1])[:, : self.n]
        scale = stored["scale"].astype(np.float32)[:, None]
        if self.quantizer == "asymmetric":
            return (codes - stored["zero"].astype(np.float32)[:, None]) * scale
        found = _levels(self.bits).astype(np.float32)[codes] * scale + stored["mean"].astype(np.float32)[:, None]
        np.put_along_axis(found, stored["place"].astype(np.int64), stored["value"].astype(np.float32), axis=1)
        return found

    def _decode(self) -> None:
        rows = self._decoded(self.stored)
        self._columns = np.ascontiguousarray(rows.T)
        self._columns.flags.writeable = False
        self._rest = None
        self._trusted = rows if self.bits == 32 else rows * (self.stored["trust"] / np.float32(_STEPS))[:, None]

    def remove(self, rows: np.ndarray) -> None:
        """Remove from rows, in place, their projection onto the subspace: ``x - (x U) diag(trust) U^T``.

        Parameters
        ----------
        rows : ndarray of float32, shape (count, n)

        Notes
        -----
        If unquantized columns span more than half of all directions, the remainder is computed from the other
        directions instead: faster, and the same up to float32 rounding.
        """
        if self.bits == 32 and 2 * self.rank > self.n:
            if self._rest is None:
                whole = np.linalg.qr(self._columns.astype(np.float64), mode="complete")[0]
                self._rest = np.ascontiguousarray(whole[:, self.rank :], dtype=np.float32)
            rows[...] = (rows @ self._rest) @ self._rest.T
        elif self.rank:
            rows -= (rows @ self._columns) @ self._trusted

    def restore(self, stored: Arrays) -> None:
        """Restore the contents of `stored` from a basis with the same settings.

        Parameters
        ----------
        stored : dict of str to ndarray

        Raises
        ------
        ValueError
            If the arrays belong to a basis with other settings, or hold impossible values.
        """
        wanted, rank = self._types(self.n, self.bits, self.quantizer), len(stored.get("codes", ()))
        found = {name: (array.shape, array.dtype) for name, array in stored.items()}
        if found != {name: ((rank, *shape), np.dtype(kind)) for name, (shape, kind) in wanted.items()} or rank > self.n:
            raise ValueError(f"a basis must hold columns of {self.n} values in {self.bits} bits, got {found}")
        for name, array in stored.items():
            if array.dtype.kind == "f" and not np.abs(array).max(initial=0) <= 2:  # of columns of length 1; NaN too
                raise ValueError(f"{name} of a basis must be at most 2 in magnitude, got larger values or NaN")
        if "place" in stored and stored["place"].max(initial=0) >= self.n:
            raise ValueError(f"place of a basis must be below {self.n}, got {stored['place'].max()}")
        self.stored = {name: array.copy() for name, array in stored.items()}
        self._decode()


def _on_a_side(n: int) -> int:
    return int(OUTLIERS / 2 * n)


def _nibbles(codes: np.ndarray) -> np.ndarray:
    """Return 4-bit codes packed two to a byte."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return (even[:, ::2] | even[:, 1::2] << 4).astype(np.uint8)


def _levels(bits: int) -> np.ndarray:
    """Return the levels of the quantizer "normal", in [-1, 1]."""
    count = 2**bits
    found = np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])
    return found / found[-1]
