"""The report's plots, each an SVG image as a data URI."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bitlearn.report.figures import (
    FAINT,
    INK,
    METHOD_COLOURS,
    accuracy_matrix,
    styled,
    task_axis,
    with_gaps,
)
from bitlearn.report.units import size

#: Of what lives on, of what is kept for the backward pass, and of what a moment needs.
_LIFETIMES = ("#0072B2", "#56A0CC", "#9CC3DD")


def image(figure: Figure) -> str:
    """Return a figure as a data URI."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def averages(methods: Sequence[dict[str, Any]]) -> str:
    """Plot the average accuracy and the forgetting of each method as bars."""
    with styled():
        figure = _figure(8.6, 0.9 + 0.42 * len(methods))
        for axes, key, title in zip(
            figure.subplots(1, 2, sharey=True),
            ("average_accuracy", "forgetting_mean_of_best_minus_last"),
            ("Average accuracy after the last task", "Forgetting"),
            strict=True,
        ):
            values = [method[key] for method in methods]
            bars = axes.barh(range(len(methods)), values, color=METHOD_COLOURS[: len(methods)], height=0.62)
            axes.bar_label(bars, [f"{100 * value:.1f} %" for value in values], padding=4)
            axes.set_title(title)
            axes.set_yticks(range(len(methods)), [method["name"] for method in methods])
            axes.set_xlim(min(0.0, *values), 1.16)
            axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        axes.invert_yaxis()
        return image(figure)


def over_time(methods: Sequence[dict[str, Any]], tasks: Sequence[Sequence[int]]) -> str:
    """Plot how the accuracy on each task goes on as later tasks are learnt, a panel a method."""
    with styled():
        figure = _figure(8.6, 3.7)
        # From dark to light, so that the order of the tasks is seen; cividis is made for any colour vision.
        colours = mpl.colormaps["cividis"](np.linspace(0.0, 0.88, len(tasks)))
        for axes, method in zip(np.atleast_1d(figure.subplots(1, len(methods), sharey=True)), methods, strict=True):
            matrix = with_gaps(method["accuracy_matrix"])
            for task, classes in enumerate(tasks):
                seen = np.flatnonzero(np.isfinite(matrix[:, task]))
                label = f"task {task + 1}: {_names(classes)}"
                axes.plot(seen, matrix[seen, task], marker="o", markersize=4.5, color=colours[task], label=label)
            axes.plot(np.nanmean(matrix, axis=1), color=INK, linestyle=(0, (4, 2)), label="mean of the tasks seen")
            axes.set_title(method["name"])
            axes.set_xlim(-0.25, len(tasks) - 0.75)
            axes.set_ylim(-0.04, 1.04)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
            axes.grid(axis="y", color=FAINT)
            task_axis(axes, len(tasks), "after task")
        figure.axes[0].set_ylabel("accuracy on the task")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return image(figure)


def _names(classes: Sequence[int]) -> str:
    """Name a task's classes: two as "0 and 1", many as a range."""
    if len(classes) <= 3:
        return " and ".join(map(str, classes))
    return f"{len(classes)} classes"


def matrices(methods: Sequence[dict[str, Any]]) -> str:
    """Plot the accuracy matrices as heat maps on one scale."""
    with styled():
        figure = _figure(8.6, 3.2)
        panels = np.atleast_1d(figure.subplots(1, len(methods), sharey=True))
        for axes, method in zip(panels, methods, strict=True):
            accuracy_matrix(method["accuracy_matrix"], title=method["name"], ax=axes)
            axes.label_outer()
        shown = panels[-1].images[0]
        bar = figure.colorbar(shown, ax=list(panels), ticks=[0, 0.5, 1], shrink=0.8, pad=0.02)
        bar.ax.set_yticklabels(["0 %", "50 %", "100 %"])
        bar.outline.set_visible(False)
        return image(figure)


def memory(rows: Sequence[dict[str, Any]]) -> str:
    """Plot the bytes of each variable at the fullest call of a training step."""
    with styled():
        figure = _figure(8.6, 0.9 + 0.3 * len(rows))
        axes = figure.subplots()
        most = max(row["bytes"] for row in rows)
        places = {row["lifetime"]: colour for row, colour in zip(_firsts(rows), _LIFETIMES, strict=False)}
        for lifetime, colour in places.items():
            own = [(at, row["bytes"]) for at, row in enumerate(rows) if row["lifetime"] == lifetime]
            bars = axes.barh([at for at, _ in own], [count for _, count in own], 0.7, color=colour, label=lifetime)
            axes.bar_label(bars, [size(count) for _, count in own], padding=4, fontsize=9)
        axes.set_yticks(range(len(rows)), [row["variable"] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        step = 2 ** max(0, math.ceil(math.log2(most / 5)))
        ticks = range(0, most + 1, step)
        axes.set_xticks(ticks, [size(tick) for tick in ticks])
        axes.set_xlim(0, 1.15 * most)
        axes.grid(axis="x", color=FAINT)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="lower right")
        return image(figure)


def _firsts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first row of each lifetime."""
    return [row for at, row in enumerate(rows) if row["lifetime"] not in {each["lifetime"] for each in rows[:at]}]
