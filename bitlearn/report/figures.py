"""Figures of continual learning on Matplotlib's axes, each drawn where `ax` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from bitlearn.continual.interval import mean_and_interval
from bitlearn.report.units import size

# Of Okabe and Ito's colours, which people with any colour vision tell apart; a method keeps its colour in all plots.
METHOD_COLOURS = ("#D55E00", "#0072B2", "#5F6B6D", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#22292F")
MARKERS = "osD^vPX*"
INK, FAINT = "#22292F", "#D8DEE4"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",  # the page looks the same whatever fonts the reader has
    "svg.hashsalt": "bitlearn",  # the same numbers give the same bytes
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8A949E",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}

Matrix = Sequence[Sequence[float | None]]


def with_gaps(matrix: Matrix) -> np.ndarray:
    """Return an accuracy matrix with NaN where a task has not been seen."""
    return np.array([[np.nan if cell is None else cell for cell in row] for row in matrix])


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


#: Shares right at which an axis of errors has a tick.
_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
#: What is right always is drawn as this share of errors.
_LEAST_ERRORS = 0.003


def error_axis(ax: Axes, values: Any) -> None:
    """Make the vertical axis one of accuracies, logarithmic in the share of errors.

    So 93 and 97 % lie as far apart as 40 and 74 %: half the errors are the same step everywhere.

    Parameters
    ----------
    ax : Axes
    values : array_like of float
        The accuracies that are drawn; the axis ends a little above the largest.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> error_axis(ax, [0.2, 0.93])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['0 %', '50 %', '80 %', '90 %']
    """

    def steps(accuracy: Any) -> Any:
        return -np.log2(np.maximum(1 - np.asarray(accuracy), _LEAST_ERRORS))

    most = min(float(np.nanmax(np.asarray(values, dtype=float), initial=0.0)), 1 - _LEAST_ERRORS)
    ax.set_yscale("function", functions=(steps, lambda value: 1 - np.exp2(-np.asarray(value))))
    ticks = [tick for tick in _TICKS if tick <= max(most, 0.5) + 0.002]
    ax.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_ylim(-0.05, 1 - 0.7 * (1 - max(most, 0.5)))


def task_axis(ax: Axes, count: int, label: str) -> None:
    """Number the tasks from 1 on the horizontal axis."""
    ax.set_xticks(range(count), [str(task + 1) for task in range(count)])
    ax.set_xlabel(label)


def accuracy_matrix(matrix: Matrix, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw an accuracy matrix as a heat map with its numbers in per cent.

    Parameters
    ----------
    matrix : sequence of sequences of float or None, shape (tasks, tasks)
        Row: after task i; column: on task j; None is left white.
    title : str
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Its only image is ``ax.images[0]``, which a colour bar can use.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = accuracy_matrix([[0.75, None], [0.25, 1.0]], ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['75', '25', '100']
    """
    ax, values = _axes(ax), with_gaps(matrix)
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1)
    # Up to ten tasks the numbers are of the usual size; with more they shrink with the cells.
    points = min(9.0, 90 / max(values.shape))
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        colour = "white" if value > 0.6 else INK
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=points)
    ax.set_title(title)
    ax.set_yticks(range(len(values)), [str(task + 1) for task in range(len(values))])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("after task")
    task_axis(ax, values.shape[1], "accuracy on task")
    return ax


def accuracy_over_tasks(matrices: Mapping[str, Sequence[Matrix]], *, ax: Axes | None = None) -> Axes:
    """Draw the mean accuracy on the tasks seen, after each task, a line per method.

    Parameters
    ----------
    matrices : mapping of str to sequence of matrices
        The accuracy matrices of each method, one per seed. Lines are means over seeds; with several seeds, a band shows
        the 95 % interval of Student's t.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = accuracy_over_tasks({"naive": [[[0.75, None], [0.25, 1.0]]]}, ax=Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [0.75, 0.625]
    """
    ax, most = _axes(ax), 0
    for at, (method, each) in enumerate(matrices.items()):
        curves = np.array([np.nanmean(with_gaps(matrix), axis=1) for matrix in each])
        tasks = np.arange(curves.shape[1])
        means, intervals = zip(*(mean_and_interval(column.tolist()) for column in curves.T), strict=True)
        colour = METHOD_COLOURS[at % len(METHOD_COLOURS)]
        ax.plot(tasks, means, color=colour, marker=MARKERS[at % len(MARKERS)], markersize=4.5, label=method)
        if len(curves) > 1:
            low, high = np.clip(np.array(intervals).T, 0, 1)
            ax.fill_between(tasks, low, high, color=colour, alpha=0.18, linewidth=0)
        most = max(most, len(tasks))
    ax.set_ylabel("mean accuracy on the tasks seen")
    error_axis(ax, [value for line in ax.lines for value in np.asarray(line.get_ydata(), dtype=float)])
    ax.grid(axis="y", color=FAINT)
    task_axis(ax, most, "after task")
    ax.legend()
    return ax


def accuracy_against_bytes(points: Mapping[str, tuple[float, Sequence[float]]], *, ax: Axes | None = None) -> Axes:
    """Draw the average accuracy of methods against the bytes that each keeps of earlier tasks.

    Parameters
    ----------
    points : mapping of str to (bytes, accuracies)
        For each method, the bytes it keeps, and its average accuracies, one per seed. Bars are 95 % intervals of
        Student's t.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Its horizontal axis is logarithmic, with a place for 0.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = accuracy_against_bytes({"naive": (0, [0.2]), "latent-replay": (2048, [0.8, 0.9])}, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['0 B', '2 KiB']
    """
    ax = _axes(ax)
    kept = [count for count, _ in points.values() if count > 0]
    least, most = min(kept, default=1.0), max(kept, default=1.0)
    start, end = int(np.floor(np.log2(least))), int(np.ceil(np.log2(most)))
    step = max(1, -(-(end - start) // 4))
    # Linear up to the smallest number of bytes there is, so that 0 has a place, and nothing else is there.
    ax.set_xscale("symlog", base=2, linthresh=2.0**start, linscale=1)
    for at, (method, (count, values)) in enumerate(points.items()):
        mean, interval = mean_and_interval(list(values))
        off = None if interval is None else [[mean - interval[0]], [interval[1] - mean]]
        colour, marker = METHOD_COLOURS[at % len(METHOD_COLOURS)], MARKERS[at % len(MARKERS)]
        ax.errorbar([count], [mean], yerr=off, fmt=marker, color=colour, capsize=3, label=method)
    ticks = [0.0] * any(count == 0 for count, _ in points.values())
    ticks += [2.0**power for power in range(start, end + 1, step)] if kept else []
    ax.set_xticks(ticks, [size(tick).replace(".0 ", " ") for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(-(2.0**start) / 3, 2.0 ** (end + 0.5))
    ax.set_xlabel("kept from earlier tasks")
    ax.set_ylabel("average accuracy after the last task")
    error_axis(ax, [value for _, values in points.values() for value in values])
    ax.grid(color=FAINT)
    ax.legend(loc="lower right")
    return ax


def styled() -> Any:
    """Return the context in which the library's own figures are drawn."""
    return mpl.rc_context(STYLE)


def kernel_map(values: np.ndarray, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a number for each tap of a kernel as a heat map, with the numbers in per cent.

    Parameters
    ----------
    values : ndarray, shape (kh, kw)
        Shares, or accuracies: `bitlearn.continual.intensity` gives both.
    title : str
    ax : Axes, optional

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> kernel_map(np.full((3, 3), 1 / 9), title="conv6", ax=Figure().subplots()).get_title(loc="left")
    'conv6'
    """
    ax = _axes(ax)
    low, high = float(values.min()), float(values.max())
    ax.imshow(values, cmap="Greys", vmin=low, vmax=high + (high - low) + 1e-9)
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, loc="left")
    return ax
