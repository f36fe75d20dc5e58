"""Plots from entries: our time against each rival and the limit of the machine. Equal entries give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from .tables import Summary

_MARKERS = "os^vD<>P*X"
#: Panels of learning curves beside each other.
_COLUMNS = 3


def ratios(group: Sequence[Summary]) -> bytes | None:
    """Draw the time of each rival relative to our fastest variant; None if there is no rival.

    Returns
    -------
    bytes or None
        A drawing in SVG, on a logarithmic scale.
    """
    shown = [summary for summary in group if summary.rivals]
    if not shown:
        return None
    points = {
        rival: [(summary.ratios[rival], y) for y, summary in enumerate(shown) if rival in summary.rivals]
        for rival in dict.fromkeys(rival for summary in shown for rival in summary.rivals)
    }
    return _draw(shown, points, "times as fast as the rival, with the fastest variant", log=True)


def shares(group: Sequence[Summary]) -> bytes | None:
    """Draw each variant's share of what its probe allows, in SVG; None where no probe was timed."""
    shown = [summary for summary in group if summary.shares]
    if not shown:
        return None
    points = {
        variant: [(summary.shares[variant], y) for y, summary in enumerate(shown) if variant in summary.shares]
        for variant in dict.fromkeys(variant for summary in shown for variant in summary.shares)
    }
    return _draw(shown, points, "share of the probe's rate", log=False)


def winners(report: dict[str, Any]) -> bytes:
    """Draw which unit of each block won each task, a panel a layer, and which winners tasks have in common.

    Parameters
    ----------
    report : dict
        The report of the method ``task-wta``.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    mpl = matplotlib()
    from matplotlib.figure import Figure

    from bitlearn.report import tickets

    with mpl.rc_context(_STYLE):
        layers = report["winners"]
        tasks = len(next(iter(layers.values())))
        figure = Figure(figsize=(8.6, max(2.4, len(layers) * (0.9 + 0.16 * tasks))), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=(2, 1))
        left, right = parts
        for axes, (name, found) in zip(left.subplots(len(layers), squeeze=False).flat, layers.items(), strict=True):
            units = report["units"][name]
            tickets.unit_winners(found, units, title=f"{name}: {units} units a block", ax=axes)
        tickets.shared_winners(layers, title="Winners in common, %", ax=right.subplots())
        return _svg(figure)


def by_units(lines: Sequence[tuple[str, dict[str, dict[int, list[float]]], bool]]) -> bytes:
    """Draw accuracy and costs of tickets against the units per block, one panel each.

    Parameters
    ----------
    lines : sequence of (str, dict, bool)
        For each panel its label, its lines as for `bitlearn.report.tickets.against_units`, and whether its axis is
        logarithmic.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    mpl = matplotlib()
    from matplotlib.figure import Figure

    from bitlearn.report import tickets

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 2.8), layout="constrained")
        for axes, (label, values, log) in zip(figure.subplots(1, len(lines)), lines, strict=True):
            tickets.against_units(values, label, log=log, ax=axes)
        return _svg(figure)


def learning_curves(cases: dict[str, dict[str, Sequence[Sequence[float]]]]) -> bytes:
    """Draw validation accuracies over the epochs, a panel a case, a colour a policy, a line a seed.

    Parameters
    ----------
    cases : dict of str to dict of str to sequence of sequence of float
        By case and policy, the accuracy of each seed after each epoch.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    mpl = matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(_STYLE):
        rows = -(-len(cases) // _COLUMNS)
        figure = Figure(figsize=(8.6, 0.5 + 2.3 * rows), layout="constrained")
        colours = {
            policy: f"C{at}" for at, policy in enumerate(dict.fromkeys(name for of in cases.values() for name in of))
        }
        lines: dict[str, Any] = {}
        panels = figure.subplots(rows, min(len(cases), _COLUMNS), squeeze=False)
        for axes in panels.flat[len(cases) :]:
            axes.remove()
        for axes, (case, policies) in zip(panels.flat, cases.items(), strict=False):
            for policy, seeds in policies.items():
                for values in seeds:
                    epochs = range(1, len(values) + 1)
                    found = axes.plot(epochs, [100 * v for v in values], color=colours[policy], linewidth=1, alpha=0.8)
                    lines.setdefault(policy, found[0])
            axes.set_title(case, fontsize=9)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.grid(alpha=0.25)
        for axes in panels[:, 0]:
            axes.set_ylabel("validation accuracy, %")
        figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=len(lines), frameon=False)
        return _svg(figure)


def against_bytes(points: Sequence[tuple[str, str, str, int, float, float | None]]) -> bytes:
    """Draw what networks reach, and how long their steps take, against the bytes of a step.

    Parameters
    ----------
    points : sequence of (str, str, str, int, float, float or None)
        Network, optimiser, policy, bytes, accuracy, and the seconds of a step if known. A network has a column and a
        colour, an optimiser a marker, and the best policies of each network are labelled.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    mpl = matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    with mpl.rc_context(_STYLE):
        networks = dict.fromkeys(name for name, *_ in points)
        figure = Figure(figsize=(8.6, 5.6), layout="constrained")
        panels = figure.subplots(2, len(networks), sharex="col", squeeze=False)
        marks = dict(zip(dict.fromkeys(rule for _, rule, *_ in points), _MARKERS, strict=False))
        for index, network in enumerate(networks):
            own = [point for point in points if point[0] == network]
            above, below = panels[:, index]
            for rule, mark in marks.items():
                some = [point for point in own if point[1] == rule]
                style = {"marker": mark, "color": f"C{index}", "alpha": 0.8, "s": 22, "label": f"{network}, {rule}"}
                if some:
                    above.scatter([p[3] / 2**20 for p in some], [100 * p[4] for p in some], **style)
                if timed := [point for point in some if point[5] is not None]:
                    below.scatter([p[3] / 2**20 for p in timed], [1e3 * (p[5] or 0) for p in timed], **style)
            above.margins(x=0.12, y=0.1)
            _label_best(above, own)
            below.set_yscale("log")
            below.set_xlabel("a step, MiB")
            for axes in (above, below):
                axes.set_xscale("log")
                axes.grid(alpha=0.25)
                for axis in (axes.xaxis, axes.yaxis) if axes is below else (axes.xaxis,):
                    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
                    axis.set_major_formatter("{x:g}")
                    axis.set_minor_locator(NullLocator())
        panels[0, 0].set_ylabel("test accuracy, %")
        panels[1, 0].set_ylabel("a step, ms")
        drawn = [handle for axes in panels[0] for handle in axes.get_legend_handles_labels()[0]]
        figure.legend(handles=drawn, loc="outside upper center", ncols=4, frameon=False)
        return _svg(figure)


def _label_best(axes: Any, points: Sequence[tuple[str, str, str, int, float, float | None]]) -> None:
    """Label the points that no other has both fewer bytes and a better accuracy than, on lines above all points.

    That of the fewest bytes has the highest line, so that no text crosses the way to another point.
    """
    best = [p for p in points if all(q[3] > p[3] or q[4] < p[4] or q == p for q in points)]
    low, high = axes.get_ylim()
    line = 0.065
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(low, low + (high - low) / (1 - line * len(best)))
    for turn, point in enumerate(sorted(best, key=lambda each: each[3])):
        at = point[3] / 2**20, 100 * point[4]
        axes.annotate(
            f"{point[2]}, {point[1]}" if len({p[1] for p in points}) > 1 else point[2],
            at,
            xytext=(at[0], 1 - line * (turn + 0.6)),
            textcoords=axes.get_xaxis_transform(),
            fontsize=7,
            ha="left",
            va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.5", "relpos": (0, 0.5), "shrinkA": 0},
        )


def growth(lines: dict[tuple[str, str], list[dict[str, Any]]], fit: Callable[..., float | None]) -> bytes:
    """Draw seconds and bytes of a step against each thing that is varied, on scales where a power law is a line.

    Parameters
    ----------
    lines : dict of (str, str) to list of dict
        Entries with ``value``, ``seconds`` and ``bytes``, by the varied quantity and network.
    fit : callable
        A function from values and measurements to the exponent, which the legends show.

    Returns
    -------
    bytes
        A drawing in SVG.
    """
    mpl = matplotlib()
    from matplotlib.figure import Figure

    along = list(dict.fromkeys(axis for axis, _ in lines))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.6 * len(along), 5.4), layout="constrained")
        panels = figure.subplots(2, len(along), squeeze=False, sharex="col")
        for (axis, network), entries in lines.items():
            values = [entry["value"] for entry in entries]
            for row, (what, scale) in enumerate((("seconds", 1e-3), ("bytes", 2**20))):
                found = [entry[what] / scale for entry in entries]
                exponent = fit(values, found)
                label = network if exponent is None else f"{network}: {exponent:.2f}"
                panels[row][along.index(axis)].plot(values, found, "o-", markersize=4, label=label)
        for row, label in enumerate(("a step, ms", "a step, MiB")):
            panels[row][0].set_ylabel(label)
            for column, axis in enumerate(along):
                panel = panels[row][column]
                panel.set_xscale("log", base=2)
                panel.set_yscale("log")
                panel.grid(alpha=0.25)
                panel.legend(frameon=False, fontsize=7, title="exponent", title_fontsize=7)
                if row:
                    panel.set_xlabel(axis)
        return _svg(figure)


_STYLE: dict[Any, Any] = {"svg.hashsalt": "bitlearn", "svg.fonttype": "none", "font.size": 9}


def _svg(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _draw(shown: Sequence[Summary], points: dict[str, list[tuple[float, int]]], label: str, *, log: bool) -> bytes:
    mpl = matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # No date and no random names in the file, and text that stays text.
    with mpl.rc_context({"svg.hashsalt": "bitlearn", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8.6, 1.3 + 0.22 * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for index, (name, found) in enumerate(points.items()):
            marker = _MARKERS[index % len(_MARKERS)]
            axes.plot([x for x, _ in found], [y for _, y in found], marker, label=name, alpha=0.85, markersize=5)
        axes.axvline(1, color="black", linewidth=0.8)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(left=0)
        axes.set_yticks(range(len(shown)), [f"{each.kernel} {each.place}" for each in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(axis="both", alpha=0.25)
        axes.set_xlabel(label)
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def matplotlib() -> Any:
    """Return matplotlib, or say which extra brings it."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError("plots need matplotlib: install bitlearn-xnor[plot]") from error
    return mpl
