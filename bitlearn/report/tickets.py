"""Figures of networks whose units compete for tasks, each drawn where `ax` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bitlearn.report.figures import INK, MARKERS, METHOD_COLOURS, _axes, task_axis

Winners = Sequence[Sequence[int]]


def unit_winners(winners: Winners, units: int, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw which unit of each block won each task: a row per task, a column per block, a colour per unit.

    Parameters
    ----------
    winners : sequence of sequences of int, shape (tasks, blocks)
        The winners of one competition, as in ``report["winners"]`` of the method ``task-wta``.
    units : int
        Units per block.
    title : str
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> unit_winners([[0, 1, 1], [1, 0, 1]], 2, ax=Figure().subplots()).get_xlabel()
    'block'
    """
    ax, found = _axes(ax), np.asarray(winners)
    ax.imshow(found, aspect="auto", interpolation="none", cmap="viridis", vmin=0, vmax=max(units - 1, 1))
    ax.set_title(title)
    ax.set_yticks(range(len(found)), [str(task + 1) for task in range(len(found))])
    ax.set_ylabel("task")
    ax.set_xlabel("block")
    return ax


def sharing(winners: Mapping[str, Winners]) -> np.ndarray:
    """Return the share of its winners that each task has in common with each other one, (tasks, tasks).

    Parameters
    ----------
    winners : mapping of str to sequence of sequences of int, shape (tasks, blocks)
        The winners of each competition; all blocks count equally.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> sharing({"competition1": [[0, 1], [0, 0], [1, 0]]})
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0.5],
           [0. , 0.5, 1. ]])
    """
    found = np.concatenate([np.asarray(each) for each in winners.values()], axis=1)
    shares: np.ndarray = (found[:, None] == found[None]).mean(axis=2)
    return shares


def shared_winners(winners: Mapping[str, Winners], *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw the share of its winners that each task has in common with each other one, in per cent.

    Parameters
    ----------
    winners, title, ax
        As for `sharing` and `unit_winners`.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = shared_winners({"competition1": [[0, 1], [0, 0]]}, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['100', '50', '50', '100']
    """
    ax, values = _axes(ax), sharing(winners)
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1)
    points = min(9.0, 90 / len(values))
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > 0.6 else INK
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=points)
    ax.set_title(title)
    ax.set_yticks(range(len(values)), [str(task + 1) for task in range(len(values))])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("task")
    task_axis(ax, len(values), "winners in common with task")
    return ax


def against_units(
    values: Mapping[str, Mapping[int, Sequence[float]]], label: str, *, log: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw a property of tickets, such as accuracy, bytes or operations, against the units per block.

    Parameters
    ----------
    values : mapping of str to mapping of int to sequence of float
        For each line, by units per block, one value per seed. Lines go through the means; each value is a dot.
    label : str
        What they are.
    log : bool
        Whether their axis is logarithmic.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = against_units({"real": {2: [0.25, 0.75], 4: [0.95]}}, "average accuracy", ax=Figure().subplots())
    >>> [float(value) for value in ax.lines[0].get_ydata()]
    [0.5, 0.95]
    """
    ax = _axes(ax)
    counts = sorted({units for line in values.values() for units in line})
    for (name, line), colour, marker in zip(values.items(), METHOD_COLOURS, MARKERS, strict=False):
        given = sorted(line)
        means = [float(np.mean(line[units])) for units in given]
        ax.plot(given, means, color=colour, marker=marker, markersize=5, label=name)
        for units in given:
            several: Any = line[units] if len(line[units]) > 1 else []
            ax.plot([units] * len(several), several, ".", color=colour, markersize=4, alpha=0.6)
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, [str(units) for units in counts])
    ax.minorticks_off()
    ax.set_xlabel("units per block")
    if log:
        ax.set_yscale("log")
    ax.set_ylabel(label)
    ax.legend()
    return ax
