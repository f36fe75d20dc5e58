"""Subspaces that a layer's earlier inputs fill, and projections of updates out of them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from bitlearn.continual.bases import Basis, Quantizer
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import finite, interval
from bitlearn.continual.settings import setting
from bitlearn.continual.subspaces import energy_directions, null_space
from bitlearn.nn.layer import Arrays


@dataclass(frozen=True)
class BasisOptions(Options):
    """Options of the rule "energy"."""

    basis_bits: Literal[32, 8, 4] = setting(32, "Bits per value of a basis.")
    basis_quantizer: Quantizer = setting(
        "asymmetric", "How columns are quantized to 8 or 4 bits: see `Basis <bitlearn.continual.bases.Basis>`."
    )
    basis_share: float = setting(
        1.0, "The fraction of a layer's directions that its basis may take.", interval("(0, 1]")
    )


@dataclass(frozen=True)
class RatioOptions(Options):
    """Options of the rule "ratio"."""

    eigenvalue_ratio: float = setting(
        5.0,
        "A direction is free if its eigenvalue, of the sums of products, is at most this many times the smallest.",
        finite(least=1),
    )
    eigenvalue_floor: float = setting(
        1e-6, "The smallest eigenvalue counts as at least this fraction of the largest.", interval("[0, 1)")
    )
    scaled_projection: bool = setting(
        False,
        "Divide an update by the square root of the null space's dimension, as the code of arXiv 2406.08830 does.",
    )


class FullBasisWarning(UserWarning):
    """A layer's basis is full: it can learn nothing more, or the inputs of later tasks are not protected."""


class Space(Protocol):
    """A subspace of a layer's inputs that grows task by task."""

    @property
    def free(self) -> int:
        """The number of directions in which an update may go."""

    @property
    def work(self) -> int:
        """The multiply-adds of projecting a row."""

    @property
    def nbytes(self) -> int:
        """The bytes stored."""

    def learn(self, gram: np.ndarray, energy: float, name: str) -> None:
        """Add a task's inputs, given the sums of their products, the energy to preserve, and the layer's name."""

    def project(self, rows: np.ndarray) -> None:
        """Remove from rows of an update, in place, what would change the outputs for earlier inputs."""

    def arrays(self) -> Arrays:
        """Return the stored arrays."""

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`; ValueError if they are invalid."""


class EnergySpace:
    """The basis of gradient projection memory: `energy_directions`, stored in a `Basis`.

    Parameters
    ----------
    n : int
        The number of values of an input.
    options : BasisOptions
    """

    def __init__(self, n: int, options: BasisOptions):
        self.basis = Basis(n, bits=options.basis_bits, quantizer=options.basis_quantizer)
        self.most = max(1, math.floor(options.basis_share * n))

    @property
    def free(self) -> int:
        """The number of directions in which an update may go."""
        return self.basis.n - self.basis.rank

    @property
    def work(self) -> int:
        """The multiply-adds of projecting a row: into the basis and back."""
        return 2 * self.basis.n * self.basis.rank if self.free else 0

    @property
    def nbytes(self) -> int:
        """The bytes of the basis."""
        return self.basis.nbytes

    def learn(self, gram: np.ndarray, energy: float, name: str) -> None:
        """Add directions until the basis holds that fraction of the energy, or is full."""
        room = self.most - self.basis.rank
        found = energy_directions(gram, energy, self.basis.columns)
        self.basis.append(found[:, :room])
        if found.shape[1] >= room and (found.shape[1] or not room):
            left = (
                "any change to its weights would affect earlier tasks, so it no longer learns"
                if not self.free
                else "further directions of later tasks are not protected"
            )
            warnings.warn(
                f"the basis of layer {name!r} is full with {self.basis.rank} of {self.basis.n} directions: {left}",
                FullBasisWarning,
                stacklevel=2,
            )

    def project(self, rows: np.ndarray) -> None:
        """Remove from rows their projection onto the basis."""
        if self.free:
            self.basis.remove(rows)
        else:  # what rounding or few bits would leave is not a direction
            rows[...] = 0

    def arrays(self) -> Arrays:
        """Return the basis."""
        return self.basis.stored

    def restore(self, arrays: Arrays) -> None:
        """Restore the basis."""
        self.basis.restore(arrays)


class RatioSpace:
    """The null space of the sums of products of all earlier inputs, by `null_space`.

    Parameters
    ----------
    n : int
        The number of values of an input.
    options : RatioOptions
    """

    def __init__(self, n: int, options: RatioOptions):
        self.n, self.ratio, self.scaled = n, options.eigenvalue_ratio, options.scaled_projection
        self.floor = options.eigenvalue_floor
        #: The lower triangle of the sums, row by row.
        self.sums = np.zeros(n * (n + 1) // 2)
        self._kept: np.ndarray | None = None

    @property
    def free(self) -> int:
        """The number of directions in which an update may go."""
        return self.n if self._kept is None else self._kept.shape[1]

    @property
    def work(self) -> int:
        """The multiply-adds of projecting a row: into the null space and back."""
        return 0 if self._kept is None else 2 * self._kept.size

    @property
    def nbytes(self) -> int:
        """The bytes of the sums, from which the projection is computed."""
        return self.sums.nbytes

    def learn(self, gram: np.ndarray, energy: float, name: str) -> None:
        """Add a task's sums, and compute the directions that remain free."""
        self.sums += gram[np.tril_indices(self.n)]
        self.choose(None)

    def gram(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return the matrix of sums of products, of all input values or some."""
        full = np.zeros((self.n, self.n))
        full[np.tril_indices(self.n)] = self.sums
        full += np.tril(full, -1).T
        return full if values is None else full[np.ix_(values, values)]

    def choose(self, values: np.ndarray | None) -> None:
        """Compute the directions left free by some input values, all by default: rows to project then have only those.

        The weights of the other values must not change, so that the chosen ones alone determine how outputs change.
        """
        self._kept = null_space(self.gram(values), self.ratio, self.floor).astype(np.float32)

    def project(self, rows: np.ndarray) -> None:
        """Project rows onto the null space, and divide by the square root of its dimension if that is set."""
        if self._kept is not None:
            rows[...] = (rows @ self._kept) @ self._kept.T
            if self.scaled:
                rows /= np.float32(math.sqrt(self.free))

    def arrays(self) -> Arrays:
        """Return the sums."""
        return {"sums": self.sums}

    def restore(self, arrays: Arrays) -> None:
        """Restore the sums."""
        found = arrays.get("sums")
        if set(arrays) != {"sums"} or found is None or found.shape != self.sums.shape or found.dtype != np.float64:
            raise ValueError(f"sums of products must be {len(self.sums)} float64 numbers, got others")
        if not np.isfinite(found).all():
            raise ValueError("sums of products must be finite, got NaN or infinity")
        self.sums[...] = found
        if found.any():
            self.choose(None)


#: The rules that define a space, by name.
SPACES: dict[str, type[EnergySpace] | type[RatioSpace]] = {"energy": EnergySpace, "ratio": RatioSpace}
