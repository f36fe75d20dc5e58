"""A comparison of continual methods as plots in files, and as a self-contained HTML page."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bitlearn.files import atomic_write
from bitlearn.report.figures import accuracy_against_bytes, accuracy_matrix, accuracy_over_tasks, styled
from bitlearn.report.plots import image
from bitlearn.report.units import size

Rows = list[dict[str, Any]]


def _mean_matrix(row: dict[str, Any]) -> list[list[float | None]]:
    """Return the mean over seeds of the accuracy matrices of a method."""
    each = [run["accuracy_matrix"] for run in row["runs"]]
    return [
        [None if cells[0] is None else float(np.mean(cells)) for cells in zip(*rows, strict=True)]
        for rows in zip(*each, strict=True)
    ]


def figures(rows: Rows) -> dict[str, Figure]:
    """Return the figures of a comparison by name.

    Parameters
    ----------
    rows : list of dict
        Those of ``bitlearn compare --json``.

    Returns
    -------
    dict of str to Figure
        ``accuracy_matrices`` (means over seeds), ``accuracy_over_tasks`` and ``accuracy_against_bytes``.
    """
    with styled():
        wide = 2 if len(rows) == 4 else min(len(rows), 3)
        high = -(-len(rows) // wide)
        matrices = Figure(figsize=(3.2 * wide + 0.6, 3.2 * high), layout="constrained")
        panels = matrices.subplots(high, wide, squeeze=False).ravel()
        for row, ax in zip(rows, panels, strict=False):
            accuracy_matrix(_mean_matrix(row), title=row["label"], ax=ax)
        for ax in panels[len(rows) :]:
            ax.remove()
        over_tasks = Figure(figsize=(6.4, 4.2), layout="constrained")
        each = {row["label"]: [run["accuracy_matrix"] for run in row["runs"]] for row in rows}
        accuracy_over_tasks(each, ax=over_tasks.subplots())
        against_bytes = Figure(figsize=(6.4, 4.2), layout="constrained")
        points = {row["label"]: (row["kept_bytes"], [run["average_accuracy"] for run in row["runs"]]) for row in rows}
        accuracy_against_bytes(points, ax=against_bytes.subplots())
    return {
        "accuracy_matrices": matrices,
        "accuracy_over_tasks": over_tasks,
        "accuracy_against_bytes": against_bytes,
    }


def write_plots(rows: Rows, folder: Path) -> list[str]:
    """Write the figures as PNG images, each whole or not at all, and return their paths.

    Parameters
    ----------
    rows : list of dict
    folder : Path

    Returns
    -------
    list of str
    """
    paths = []
    for name, figure in figures(rows).items():
        path = folder / f"{name}.png"
        with atomic_write(path) as stream, styled():
            figure.savefig(stream, format="png", dpi=150)
        paths.append(str(path))
    return paths


#: What each figure shows, in words.
_SHOWN = {
    "accuracy_matrices": "Accuracy matrix of each method, mean over seeds",
    "accuracy_over_tasks": "Mean accuracy on the tasks seen, after each task",
    "accuracy_against_bytes": "Average accuracy against the bytes kept from earlier tasks",
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
  :root {{ --paper: #fff; --ink: #22292f; --line: #d8dee4; }}
  body {{ margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }}
  main {{ margin: 0 auto; max-width: 900px; padding: 2rem 1.25rem; }}
  .scroll {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
  th, td {{ padding: .4rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }}
  th:first-child {{ text-align: left; }}
  tbody th {{ font-weight: 400; }}
  img {{ max-width: 100%; height: auto; display: block; margin: 1.5rem 0; }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --paper: #14181c; --ink: #e6e9ec; --line: #38414a; }}
    .drawn {{ filter: invert(1) hue-rotate(180deg); }}
  }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{settings}</p>
<div class="scroll" role="region" aria-label="Methods" tabindex="0"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
{images}
</main>
</body>
</html>
"""


def page(result: dict[str, Any]) -> str:
    """Return a comparison as an HTML page that refers to nothing outside itself.

    Parameters
    ----------
    result : dict
        What ``bitlearn compare --json`` writes.

    Returns
    -------
    str
    """
    heads = ("method", "average accuracy", "95 % interval", "forgetting", "kept", "peak memory", "seconds")
    rows = []
    for row in result["rows"]:
        interval, forgetting = row["interval"], row["forgetting_mean_of_best_minus_last"]
        cells = (
            row["label"],
            f"{row['average_accuracy']:.4f}",
            "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
            "" if forgetting is None else f"{forgetting:.4f}",
            size(row["kept_bytes"]),
            size(row["peak_bytes_measured"]),
            f"{row['seconds']:.1f}",
        )
        first, *others = (html.escape(cell) for cell in cells)
        rows.append(f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others) + "</tr>")
    about = ("model", "precision", "optimizer", "learning_rate", "schedule", "epochs", "batch_size", "seeds")
    with styled():
        images = [
            f'<img class="drawn" src="{image(figure)}" alt="{_SHOWN[name]}: the averages are in the table above">'
            for name, figure in figures(result["rows"]).items()
        ]
    return _PAGE.format(
        title=html.escape(f"Continual learning: {result['scenario']} on {result['dataset']}"),
        settings=html.escape(", ".join(f"{name.replace('_', ' ')} {result[name]}" for name in about)),
        heads="".join(f'<th scope="col">{head}</th>' for head in heads),
        rows="\n".join(rows),
        images="\n".join(images),
    )


def write_page(result: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page of a comparison, whole or not at all.

    Parameters
    ----------
    result : dict
    path : path-like
    """
    text = page(result)
    with atomic_write(path) as stream:
        stream.write(text.encode())
