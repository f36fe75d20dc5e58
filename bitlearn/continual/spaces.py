"""What a layer's earlier inputs fill of the space of its inputs, and what of an update stays out of it."""

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
        "asymmetric", "How columns of 8 and 4 bits are made, as `Basis <bitlearn.continual.bases.Basis>` says."
    )
    basis_share: float = setting(
        1.0, "The fraction of a layer's directions that its basis may take.", interval("(0, 1]")
    )


@dataclass(frozen=True)
class RatioOptions(Options):
    """Options of the rule "ratio"."""

    eigenvalue_ratio: float = setting(
        5.0,
        "A direction is free where its eigenvalue, of the sums of products, is at most this many times the smallest.",
        finite(least=1),
    )
    eigenvalue_floor: float = setting(
        1e-6, "The smallest eigenvalue counts as at least this part of the largest.", interval("[0, 1)")
    )
    scaled_projection: bool = setting(
        False,
        "Whether an update is divided by the root of the null space's dimension, as the code of arXiv 2406.08830 does.",
    )


class FullBasisWarning(UserWarning):
    """A layer's basis takes no more columns: nothing is left to be learned, or what comes is not guarded."""


class Space(Protocol):
    """A subspace of a layer's inputs that grows task by task."""

    @property
    def free(self) -> int:
        """In how many directions an update may go."""

    @property
    def work(self) -> int:
        """The multiply-adds of projecting a row."""

    @property
    def nbytes(self) -> int:
        """The bytes of what is kept."""

    def learn(self, gram: np.ndarray, energy: float, name: str) -> None:
        """Take in a task's inputs: the sums of their products, the energy that is to be held, and the layer's name."""

    def project(self, rows: np.ndarray) -> None:
        """Take out of rows of an update, in place, what would change what earlier inputs give."""

    def arrays(self) -> Arrays:
        """Return what is kept."""

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave; ValueError where it is no such thing."""


class EnergySpace:
    """Bases of gradient projection memory: `energy_directions`, in a `Basis`.

    Parameters
    ----------
    n : int
        Of an input.
    options : BasisOptions
    """

    def __init__(self, n: int, options: BasisOptions):
        self.basis = Basis(n, bits=options.basis_bits, quantizer=options.basis_quantizer)
        self.most = max(1, math.floor(options.basis_share * n))

    @property
    def free(self) -> int:
        """In how many directions an update may go."""
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
        """Let directions join until the basis holds that part of the energy, or as many as it may have."""
        room = self.most - self.basis.rank
        found = energy_directions(gram, energy, self.basis.columns)
        self.basis.append(found[:, :room])
        if found.shape[1] >= room and (found.shape[1] or not room):
            left = (
                "nothing that it could still learn leaves earlier tasks as they are, so it stays as it is"
                if not self.free
                else "what later tasks fill is not guarded"
            )
            warnings.warn(
                f"the basis of layer {name!r} holds {self.basis.rank} of {self.basis.n} directions, all it may: {left}",
                FullBasisWarning,
                stacklevel=2,
            )

    def project(self, rows: np.ndarray) -> None:
        """Take the part in the basis out of rows."""
        if self.free:
            self.basis.remove(rows)
        else:  # what round-off or few bits would leave is no direction
            rows[...] = 0

    def arrays(self) -> Arrays:
        """Return the basis."""
        return self.basis.stored

    def restore(self, arrays: Arrays) -> None:
        """Take up a basis."""
        self.basis.restore(arrays)


class RatioSpace:
    """The null space of the sums of products of all inputs so far, by `null_space`.

    Parameters
    ----------
    n : int
        Of an input.
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
        """In how many directions an update may go."""
        return self.n if self._kept is None else self._kept.shape[1]

    @property
    def work(self) -> int:
        """The multiply-adds of projecting a row: into the null space and back."""
        return 0 if self._kept is None else 2 * self._kept.size

    @property
    def nbytes(self) -> int:
        """The bytes of the sums; the projection is made from them."""
        return self.sums.nbytes

    def learn(self, gram: np.ndarray, energy: float, name: str) -> None:
        """Add a task's sums, and find what they leave free."""
        self.sums += gram[np.tril_indices(self.n)]
        self.choose(None)

    def gram(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return the sums of products of some values of the inputs, or of all, as a matrix."""
        full = np.zeros((self.n, self.n))
        full[np.tril_indices(self.n)] = self.sums
        full += np.tril(full, -1).T
        return full if values is None else full[np.ix_(values, values)]

    def choose(self, values: np.ndarray | None) -> None:
        """Find what some values of the inputs leave free, all of them by default: rows to project have those alone.

        The others' weights have to stay as they are: then what an input gives changes by those of the chosen ones only.
        """
        self._kept = null_space(self.gram(values), self.ratio, self.floor).astype(np.float32)

    def project(self, rows: np.ndarray) -> None:
        """Leave of rows what lies in the null space, over the root of its dimension where that is wanted."""
        if self._kept is not None:
            rows[...] = (rows @ self._kept) @ self._kept.T
            if self.scaled:
                rows /= np.float32(math.sqrt(self.free))

    def arrays(self) -> Arrays:
        """Return the sums."""
        return {"sums": self.sums}

    def restore(self, arrays: Arrays) -> None:
        """Take up sums."""
        found = arrays.get("sums")
        if set(arrays) != {"sums"} or found is None or found.shape != self.sums.shape or found.dtype != np.float64:
            raise ValueError(f"sums of products must be {len(self.sums)} numbers of float64, got others")
        if not np.isfinite(found).all():
            raise ValueError("sums of products must be finite, got NaN or infinity")
        self.sums[...] = found
        if found.any():
            self.choose(None)


#: The rules by which a space is found, by name.
SPACES: dict[str, type[EnergySpace] | type[RatioSpace]] = {"energy": EnergySpace, "ratio": RatioSpace}
