"""Forward transfer: what earlier tasks teach about later ones, from a full accuracy matrix.

It uses the entries above the diagonal, ``a[i][j]`` with ``j > i``: accuracies on tasks still to come. Each function
raises ValueError if one is missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bitlearn.continual.metrics import Matrix


def _full(matrix: Matrix) -> list[list[float]]:
    """Return the matrix, or raise ValueError if it is not square or has entries that are None."""
    rows = [[value for value in row if value is not None] for row in matrix]
    for i, row in enumerate(rows):
        if len(row) != len(matrix) or len(matrix[i]) != len(matrix):
            raise ValueError(f"row {i} must hold {len(matrix)} accuracies, got {list(matrix[i])}")
    if not rows:
        raise ValueError("the accuracy matrix must have at least one row, got none")
    return rows


def forward_transfer_mean_of_before_minus_initial(matrix: Matrix, initial: Sequence[float]) -> float | None:
    """Return what earlier tasks taught about each task before its turn: the mean over all tasks but the first.

    Parameters
    ----------
    matrix : sequence of sequences of float, shape (tasks, tasks)
        The full matrix, including entries above the diagonal.
    initial : sequence of float, shape (tasks,)
        The accuracies of the network before it learned anything, with its initial random weights.

    Returns
    -------
    float or None
        None if there is only one task.

    Raises
    ------
    ValueError
        If there are not as many initial accuracies as tasks.

    Notes
    -----
    ``sum_{j>0} (a[j-1][j] - b[j]) / (T - 1)``: "FWT" of arXiv 1706.08840, with ``b`` the initial accuracies. If the
    network predicts among all classes and a task brings new ones, it is about 0 or below: classes not yet seen cannot
    be predicted.

    Examples
    --------
    >>> forward_transfer_mean_of_before_minus_initial([[0.75, 0.5], [0.25, 1.0]], [0.5, 0.25])
    0.25
    """
    rows = _full(matrix)
    if len(initial) != len(rows):
        raise ValueError(f"initial must hold {len(rows)} accuracies, one per task, got {len(initial)}")
    changes = [rows[j - 1][j] - initial[j] for j in range(1, len(rows))]
    return statistics.fmean(changes) if changes else None


def forward_transfer_mean_above_diagonal(matrix: Matrix, initial: Sequence[float] = ()) -> float | None:
    """Return the mean accuracy on tasks that have not been seen.

    Parameters
    ----------
    matrix : sequence of sequences of float, shape (tasks, tasks)
        The full matrix, including entries above the diagonal.
    initial : sequence of float, optional
        Ignored: what the network knew before the first task is part of this measure.

    Returns
    -------
    float or None
        None if there is only one task.

    Notes
    -----
    ``sum_{j>i} a[i][j] / (T (T - 1) / 2)``: the forward transfer of arXiv 1810.13166.

    Examples
    --------
    >>> forward_transfer_mean_above_diagonal([[0.75, 0.5], [0.25, 1.0]])
    0.5
    """
    values = [value for i, row in enumerate(_full(matrix)) for value in row[i + 1 :]]
    return statistics.fmean(values) if values else None


#: Each takes the full matrix and the accuracies before the first task.
FORWARD_METRICS: dict[str, Callable[[Matrix, Sequence[float]], float | None]] = {
    function.__name__: function
    for function in (forward_transfer_mean_of_before_minus_initial, forward_transfer_mean_above_diagonal)
}
