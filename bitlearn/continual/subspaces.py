"""Which directions earlier inputs fill and which they leave free: rules based on the sums of their products."""

from __future__ import annotations

import numpy as np

#: The smallest eigenvalue counts as at least this fraction of the largest: anything smaller is rounding.
FLOOR = 1e-6
#: Directions with less than this fraction of the total are rounding, and never become part of a basis.
_NOTHING = 1e-12


def spectrum(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of a positive semidefinite symmetric matrix.

    Parameters
    ----------
    gram : ndarray, shape (n, n)

    Returns
    -------
    eigenvalues : ndarray of float64, shape (n,)
        In increasing order; those that rounding made negative are 0.
    vectors : ndarray of float64, shape (n, n)
        Orthonormal columns.

    Raises
    ------
    ValueError
        If it is not square, or not finite.
    """
    from scipy.linalg import eigh

    matrix = np.asarray(gram, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"sums of products must be a square matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("sums of products must be finite, got NaN or infinity")
    values, vectors = eigh(matrix)
    return np.maximum(values, 0), vectors


def null_space(gram: np.ndarray, ratio: float = 5.0, floor: float = FLOOR) -> np.ndarray:
    """Return the directions that inputs leave free, by the ratio to the smallest eigenvalue.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        ``sum x x^T`` over inputs x.
    ratio : float
        At least 1: directions whose eigenvalue is at most this many times the smallest one are kept. The authors' code
        of arXiv 2406.08830 uses 5; that of Adam-NSCL (CVPR 2021) uses 10 and 30.
    floor : float
        In [0, 1): the smallest eigenvalue counts as at least this fraction of the largest.

    Returns
    -------
    ndarray of float64, shape (n, kept)
        Orthonormal columns, at least one.

    Notes
    -----
    ``{v_i : e_i <= ratio * max(e_min, floor * e_max)}``. Without a floor, if some inputs are always 0 or depend on
    others, the smallest eigenvalue is just rounding, and so is the choice. With a floor, all such directions are kept:
    earlier inputs have no component in them. If all inputs are 0, everything is kept.

    Examples
    --------
    >>> null_space(np.diag([8.0, 1.0, 4.0]), ratio=5).shape
    (3, 2)
    >>> null_space(np.diag([8.0, 0.0, 4.0])).round()[:, 0]
    array([0., 1., 0.])
    """
    if not ratio >= 1:
        raise ValueError(f"ratio must be at least 1, got {ratio}")
    if not 0 <= floor < 1:
        raise ValueError(f"floor must be in [0, 1), got {floor}")
    values, vectors = spectrum(gram)
    if not len(values):
        return vectors
    return vectors[:, values <= ratio * max(values[0], floor * values[-1])]


def energy_directions(
    gram: np.ndarray, energy: float, basis: np.ndarray | None = None, most: int | None = None
) -> np.ndarray:
    """Return the directions to add to a basis so that it holds a given fraction of the energy of inputs.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        ``R R^T`` for the inputs as columns of R.
    energy : float
        In (0, 1]: the fraction of ``||R||_F^2`` that the basis should hold.
    basis : ndarray, shape (n, rank), optional
        Nearly orthonormal columns: the directions of earlier inputs.
    most : int, optional
        The largest number of new directions.

    Returns
    -------
    ndarray of float64, shape (n, new)
        Orthonormal columns; none if the basis already holds as much.

    Notes
    -----
    GPM (arXiv 2103.09762): with ``R' = R - M M^T R`` and ``s_i`` its singular values from the largest, the first k left
    singular vectors are added, with the smallest k such that ``||R||^2 - ||R'||^2 + sum of s_i^2 for i <= k >= energy
    ||R||^2``. The authors' code takes one fewer for the first task. ``R R^T`` has the same vectors, with the squares as
    eigenvalues; its size depends on the width of the layer, not on the number of inputs.

    Examples
    --------
    >>> energy_directions(np.diag([8.0, 1.0, 1.0]), 0.85).shape
    (3, 2)
    >>> energy_directions(np.diag([8.0, 1.0, 1.0]), 0.85, np.eye(3)[:, :1]).shape
    (3, 1)
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy must be in (0, 1], got {energy}")
    total = float(np.trace(gram))
    rest, n = np.asarray(gram, dtype=np.float64), len(gram)
    if basis is not None and basis.shape[1]:
        m = basis.astype(np.float64)
        rest = rest - m @ (m.T @ rest)
        rest -= (rest @ m) @ m.T
        rest = (rest + rest.T) / 2
    left = float(np.trace(rest))
    wanted = energy * total - (total - left)
    if not total or wanted <= 0:
        return np.empty((n, 0))
    values, vectors = spectrum(rest)
    held = np.cumsum(values[::-1])
    # The sum has rounding errors: do not look for energy that no direction has.
    count = int(np.searchsorted(held, min(wanted, held[-1] * (1 - _NOTHING)))) + 1
    count = min(count, int((values > _NOTHING * total).sum()), n if most is None else most)
    return vectors[:, ::-1][:, :count]
