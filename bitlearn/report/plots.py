"""The report's pictures, each an image as a data URI, narrow enough to be read on a phone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import image as images
from matplotlib import ticker
from matplotlib.figure import Figure

from bitlearn.report.evidence import decoded
from bitlearn.report.figures import (
    FAINT,
    INK,
    MARKERS,
    METHOD_COLOURS,
    accuracy_matrix,
    error_axis,
    styled,
    task_axis,
    with_gaps,
)

Methods = Sequence[Mapping[str, Any]]

#: In inches, of a panel beside others and of a picture that has a row of its own.
_PANEL, _WIDE = (3.6, 3.0), (4.8, 3.3)


def image(figure: Figure) -> str:
    """Return a figure as a data URI."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _figure(size: tuple[float, float]) -> Figure:
    return Figure(figsize=size, layout="constrained")


def task_colours(count: int) -> list[str]:
    """Return a colour for each task, from dark to light, so that their order is seen.

    Examples
    --------
    >>> task_colours(2)
    ['#00224e', '#999277']
    """
    # cividis is made for any colour vision; its lightest colours are not seen on white.
    return [mpl.colors.to_hex(colour) for colour in mpl.colormaps["cividis"](np.linspace(0.0, 0.62, count))]


def means(methods: Methods) -> str:
    """Plot the mean accuracy on the tasks seen after each task, a line per method, on an axis of errors."""
    with styled():
        figure = _figure(_WIDE)
        ax = figure.subplots()
        drawn = [np.nanmean(with_gaps(method["accuracy_matrix"]), axis=1) for method in methods]
        for at, (method, curve) in enumerate(zip(methods, drawn, strict=True)):
            colour, marker = METHOD_COLOURS[at % len(METHOD_COLOURS)], MARKERS[at % len(MARKERS)]
            ax.plot(curve, color=colour, marker=marker, markersize=5, label=method["name"], clip_on=False)
        error_axis(ax, np.concatenate(drawn))
        ax.set_ylabel("mean accuracy on the tasks seen")
        ax.grid(axis="y", color=FAINT)
        task_axis(ax, len(drawn[0]), "after task")
        figure.legend(loc="outside upper left", ncols=3)
        return image(figure)


def over_time(method: Mapping[str, Any]) -> str:
    """Plot how the accuracy on each task of a method continues as later tasks are learned."""
    with styled():
        figure = _figure(_PANEL)
        ax, matrix = figure.subplots(), with_gaps(method["accuracy_matrix"])
        for task, colour in enumerate(task_colours(len(matrix))):
            seen = np.flatnonzero(np.isfinite(matrix[:, task]))
            marker = MARKERS[task % len(MARKERS)]
            ax.plot(seen, matrix[seen, task], marker=marker, markersize=4.5, color=colour, clip_on=False)
        ax.plot(np.nanmean(matrix, axis=1), color=INK, linestyle=(0, (4, 2)))
        error_axis(ax, matrix)
        ax.set_title(method["name"])
        ax.set_ylabel("accuracy on the task")
        ax.grid(axis="y", color=FAINT)
        task_axis(ax, len(matrix), "after task")
        return image(figure)


def matrix(method: Mapping[str, Any]) -> str:
    """Plot the accuracy matrix of a method as a heat map."""
    with styled():
        figure = _figure(_PANEL)
        accuracy_matrix(method["accuracy_matrix"], title=method["name"], ax=figure.subplots())
        return image(figure)


def curves(methods: Methods) -> str | None:
    """Plot the training loss of each epoch, task after task; None where no method is trained by steps."""
    trained = [(at, method) for at, method in enumerate(methods) if method["curve"]]
    if not trained:
        return None
    with styled():
        figure = _figure(_WIDE)
        ax = figure.subplots()
        for at, method in trained:
            losses = [each["loss"] for each in method["curve"]]
            ax.plot(
                range(1, len(losses) + 1), losses, color=METHOD_COLOURS[at % len(METHOD_COLOURS)], label=method["name"]
            )
        longest = max((method["curve"] for _, method in trained), key=len)
        starts = [at for at in range(1, len(longest)) if longest[at]["task"] != longest[at - 1]["task"]]
        for start in starts:
            ax.axvline(start + 0.5, color=FAINT, zorder=0)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(ticker.NullLocator())
        ax.set_ylabel("training loss, mean of the epoch")
        ax.set_xlabel("epoch; lines are where a task begins" if starts else "epoch")
        figure.legend(loc="outside upper left", ncols=3)
        return image(figure)


def picture(given: Mapping[str, Any]) -> str:
    """Return an example's pixels as an image of as many pixels."""
    pixels, stream = decoded(given), io.BytesIO()
    shown = pixels if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else pixels.reshape(pixels.shape[:2])
    silent: dict[str, Any] = {"Software": None}  # the same pixels give the same bytes
    images.imsave(stream, shown, format="png", cmap="gray", vmin=0, vmax=255, metadata=silent)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def bits(found: Mapping[str, Any]) -> str:
    """Plot hidden bits: a row per example, a column per unit, +1 dark."""
    with styled():
        values = decoded(found["bits"])
        figure = _figure((4.8, 0.9 + 0.045 * len(values)))
        ax = figure.subplots()
        ax.imshow(values, cmap="Greys", vmin=0, vmax=1.25, aspect="auto", interpolation="nearest")
        ends = np.cumsum(found["counts"])
        for end in ends[:-1]:
            ax.axhline(end - 0.5, color=METHOD_COLOURS[0], linewidth=1)
        ax.set_yticks(ends - np.array(found["counts"]) / 2 - 0.5, found["labels"])
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(f"the {found['units']} units before the last layer")
        ax.set_ylabel("test examples of class")
        return image(figure)


def distances(found: Mapping[str, Any]) -> str:
    """Plot the mean distances between hidden bits of examples of each pair of classes as a heat map."""
    with styled():
        figure, values = _figure((4.2, 3.8)), with_gaps(found["distances"])
        ax = figure.subplots()
        ax.imshow(values, cmap="Blues_r", vmin=0, vmax=np.nanmax(values) * 1.1)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value < 0.45 * np.nanmax(values) else INK
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
        for ticks in (ax.set_xticks, ax.set_yticks):
            ticks(range(len(values)), found["labels"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_ylabel("an example of class")
        ax.set_xlabel("and another one of class")
        return image(figure)
