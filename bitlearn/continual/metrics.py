"""Metrics of continual learning: functions of the accuracy matrix whose names say what they measure.

Row ``i`` of the matrix holds the accuracies after task ``i``, column ``j`` those on the test set of task ``j``. Entries
of tasks not yet seen, ``j > i``, are None. Each function raises ValueError for a matrix of another form. In the
formulas the matrix is ``a[i][j]``, with tasks from 0 to T - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Matrix = Sequence[Sequence[float | None]]


def _seen(matrix: Matrix) -> list[list[float]]:
    """Return the lower triangle, or raise ValueError if the matrix has another form."""
    rows = []
    for i, row in enumerate(matrix):
        known = [value for value in row[: i + 1] if value is not None]
        if len(row) != len(matrix) or len(known) != i + 1 or any(value is not None for value in row[i + 1 :]):
            wanted = f"{i + 1} accuracies and then None, {len(matrix)} entries in all"
            raise ValueError(f"row {i} must hold {wanted}, got {list(row)}")
        rows.append(known)
    if not rows:
        raise ValueError("the accuracy matrix must have at least one row, got none")
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def average_accuracy(matrix: Matrix) -> float:
    """Return the mean of the last row.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float

    Notes
    -----
    ``sum_j a[T-1][j] / T``: "ACC" of arXiv 1706.08840. Every task counts the same, however large its test set.

    Examples
    --------
    >>> average_accuracy([[0.75, None], [0.25, 1.0]])
    0.625
    """
    return _mean(_seen(matrix)[-1])


def average_of_row_means(matrix: Matrix) -> float:
    """Return the mean over tasks of the mean accuracy on all tasks seen until then.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float

    Notes
    -----
    ``sum_i (sum_{j<=i} a[i][j] / (i + 1)) / T``: the average incremental accuracy of arXiv 1611.07725.

    Examples
    --------
    >>> average_of_row_means([[0.75, None], [0.25, 1.0]])
    0.6875
    """
    return _mean([_mean(row) for row in _seen(matrix)])


def average_of_all_seen(matrix: Matrix) -> float:
    """Return the mean of all accuracies on tasks seen, whenever they were measured.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float

    Notes
    -----
    ``sum_{j<=i} a[i][j] / (T (T + 1) / 2)``: the accuracy of arXiv 1810.13166.

    Examples
    --------
    >>> average_of_all_seen([[0.75, None], [0.25, 0.5]])
    0.5
    """
    return _mean([value for row in _seen(matrix) for value in row])


def learning_mean_of_diagonal(matrix: Matrix) -> float:
    """Return the mean accuracy on each task right after it was learned.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float

    Notes
    -----
    ``sum_j a[j][j] / T``.

    Examples
    --------
    >>> learning_mean_of_diagonal([[0.75, None], [0.25, 1.0]])
    0.875
    """
    return _mean([row[-1] for row in _seen(matrix)])


def forgetting_mean_of_best_minus_last(matrix: Matrix) -> float | None:
    """Return how far tasks have fallen from their best: the mean over all tasks but the last.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float or None
        None if there is only one task, which no later one can make the network forget.

    Notes
    -----
    ``sum_{j<T-1} (max_{j<=i<T-1} a[i][j] - a[T-1][j]) / (T - 1)``, arXiv 1801.10112. The best does not include the last
    row, so a task that improved counts as negative.

    Examples
    --------
    >>> forgetting_mean_of_best_minus_last([[0.75, None], [0.25, 1.0]])
    0.5
    """
    rows = _seen(matrix)
    last = rows[-1]
    falls = [max(row[j] for row in rows[j:-1]) - last[j] for j in range(len(rows) - 1)]
    return _mean(falls) if falls else None


def forgetting_mean_of_first_minus_last(matrix: Matrix) -> float | None:
    """Return how far tasks have fallen since each was learned: the mean over all tasks but the last.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float or None
        None if there is only one task.

    Notes
    -----
    ``sum_{j<T-1} (a[j][j] - a[T-1][j]) / (T - 1)``, as in the library Avalanche (arXiv 2104.00405): backward transfer
    with the opposite sign. It never exceeds `forgetting_mean_of_best_minus_last`.

    Examples
    --------
    >>> forgetting_mean_of_first_minus_last([[0.75, None], [0.25, 1.0]])
    0.5
    """
    change = backward_transfer_mean_of_last_minus_first(matrix)
    return None if change is None else -change


def backward_transfer_mean_of_last_minus_first(matrix: Matrix) -> float | None:
    """Return the change since each task was learned: the mean over all tasks but the last.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float or None
        None if there is only one task.

    Notes
    -----
    ``sum_{j<T-1} (a[T-1][j] - a[j][j]) / (T - 1)``: "BWT" of arXiv 1706.08840.

    Examples
    --------
    >>> backward_transfer_mean_of_last_minus_first([[0.75, None], [0.25, 1.0]])
    -0.5
    """
    rows = _seen(matrix)
    changes = [rows[-1][j] - rows[j][j] for j in range(len(rows) - 1)]
    return _mean(changes) if changes else None


def backward_transfer_mean_of_all_minus_first(matrix: Matrix) -> float | None:
    """Return the change since each task was learned: the mean over all later rows.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)

    Returns
    -------
    float or None
        None if there is only one task.

    Notes
    -----
    ``sum_{j<i} (a[i][j] - a[j][j]) / (T (T - 1) / 2)``: the backward transfer of arXiv 1810.13166.

    Examples
    --------
    >>> backward_transfer_mean_of_all_minus_first([[0.75, None], [0.25, 1.0]])
    -0.5
    """
    rows = _seen(matrix)
    changes = [row[j] - rows[j][j] for i, row in enumerate(rows) for j in range(i)]
    return _mean(changes) if changes else None


METRICS: dict[str, Callable[[Matrix], float | None]] = {
    function.__name__: function
    for function in (
        average_accuracy,
        average_of_row_means,
        average_of_all_seen,
        learning_mean_of_diagonal,
        forgetting_mean_of_best_minus_last,
        forgetting_mean_of_first_minus_last,
        backward_transfer_mean_of_last_minus_first,
        backward_transfer_mean_of_all_minus_first,
    )
}
