"""A drawing of where a step's time goes: one bar per kernel with its roof, and one per layer with its phases."""

from __future__ import annotations

import io

from ..plots import matplotlib
from .profile import OUTSIDE, PASSES, Step


def draw(step: Step, title: str) -> bytes:
    """Return a drawing in SVG.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    mpl = matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kernels = [*sorted(step.kernels.items(), key=lambda each: -each[1]), (OUTSIDE, step.outside)]
    rows = len(kernels) + len(step.layers)
    with mpl.rc_context({"svg.hashsalt": "bitlearn", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8.6, 1.8 + 0.22 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, height_ratios=(len(kernels), len(step.layers)))
        above.barh([name for name, _ in kernels], [1e3 * seconds for _, seconds in kernels], color="tab:gray")
        roofs = [1e3 * step.roofs[name]["least"] for name, _ in kernels[:-1]]
        above.plot(roofs, range(len(roofs)), "|", color="black", markersize=9, label="at least, by memory and ports")
        above.legend(frameon=False)
        left = [0.0] * len(step.layers)
        for part in PASSES:
            widths = [1e3 * parts[part] for parts in step.layers.values()]
            below.barh(list(step.layers), widths, left=left, label=part)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for axes in (above, below):
            axes.invert_yaxis()
            axes.grid(axis="x", alpha=0.25)
        below.set_xlabel("milliseconds of the step")
        below.legend(frameon=False)
        figure.suptitle(title)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
