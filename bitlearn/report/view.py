"""What the template of a report is given: texts, pictures with what they show in words, and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlearn.report import plots
from bitlearn.report.figures import with_gaps
from bitlearn.report.units import size


def percent(share: float | None) -> str:
    """Return a share in per cent.

    Examples
    --------
    >>> percent(0.937), percent(None)
    ('93.7 %', '')
    """
    return "" if share is None else f"{100 * share:.1f} %"


def _told(method: Mapping[str, Any]) -> str:
    """Return what a plot of accuracies over tasks shows, in words."""
    matrix = with_gaps(method["accuracy_matrix"])
    last = ", ".join(f"task {task + 1} {percent(float(value))}" for task, value in enumerate(matrix[-1]))
    return f"{method['name']}: accuracy on each task as later ones are learned; after the last one {last}"


def _picture(source: str, words: str) -> dict[str, str]:
    return {"src": source, "alt": words}


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    answers = [
        {"method": name, "right": answer["right"], "text": answer["label"]}
        | {"share": "" if answer["share"] is None else f"{100 * answer['share']:.0f}\N{NO-BREAK SPACE}%"}
        for name, answer in sample["answers"].items()
    ]
    words = f"A test image of class {sample['label']}, from task {sample['task']}"
    return {"label": sample["label"], "answers": answers, **_picture(plots.picture(sample["picture"]), words)}


def view(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the template.

    Parameters
    ----------
    result : mapping
        What ``bitlearn demo --json`` writes, or ``bitlearn continual --report`` shows.

    Returns
    -------
    dict
    """
    methods = result["methods"]
    averages = " and ".join(f"{percent(method['average_accuracy'])} with {method['name']}" for method in methods)
    shown = [sample for sample in result["samples"] if sample["picture"] is not None]
    curves, hidden = plots.curves(methods), result["hidden"]
    return {
        **result,
        "means": _picture(
            plots.means(methods), f"Mean accuracy on the tasks seen, after each task. After the last one: {averages}"
        ),
        "panels": [_picture(plots.over_time(method), _told(method)) for method in methods],
        "matrices": [
            _picture(plots.matrix(method), f"Accuracy matrix of {method['name']}; its numbers are in the table below")
            for method in methods
        ],
        "legend": list(zip(plots.task_colours(len(result["task_titles"])), result["task_titles"], strict=True)),
        "curves": curves and _picture(curves, _losses(methods)),
        "samples": [_sample(each) for each in shown if not each["error"]],
        "errors": [_sample(each) for each in shown if each["error"]],
        "hidden": hidden and _hidden(hidden),
        "largest": max((row["bytes"] for row in result["memory"]["rows"]), default=1) if result["memory"] else 1,
    }


def _losses(methods: Any) -> str:
    ends = [
        f"{method['name']} from {method['curve'][0]['loss']:.2g} to {method['curve'][-1]['loss']:.2g}"
        for method in methods
        if method["curve"]
    ]
    return f"Training loss by epoch, task after task: {'; '.join(ends)}"


def _hidden(found: Mapping[str, Any]) -> dict[str, Any]:
    distances = with_gaps(found["distances"])
    same = float(np.nanmean(np.diag(distances)))
    others = distances[~np.eye(len(distances), dtype=bool)]
    other = float(np.nanmean(others)) if len(others) else float("nan")
    words = f"on average {same:.0f} of {found['units']} for the same class, {other:.0f} for different ones"
    return {
        **found,
        "same": f"{same:.0f}",
        "other": f"{other:.0f}",
        "bits": _picture(
            plots.bits(found), f"Bits of hidden units, a row a test example, grouped by {len(distances)} classes"
        ),
        "distances": _picture(plots.distances(found), f"Units in which two examples differ, {words}"),
    }


FILTERS = {"size": size, "percent": percent}
