"""The scenarios by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from bitlearn.continual.scenario import Scenario
from bitlearn.continual.scenarios.classes import class_incremental, domain_incremental, stream, task_incremental
from bitlearn.continual.scenarios.inputs import permuted, rotated
from bitlearn.continual.scenarios.instances import blurry, new_instances
from bitlearn.datasets.preparation import Preparation
from bitlearn.errors import by_name

SCENARIOS: dict[str, Callable[..., Scenario]] = {
    "class": class_incremental,
    "instances": new_instances,
    "domain": domain_incremental,
    "task": task_incremental,
    "permuted": permuted,
    "rotated": rotated,
    "stream": stream,
    "blurry": blurry,
}


def build(
    name: str,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
    **settings: Any,
) -> Scenario:
    """Return a scenario by its name.

    Parameters
    ----------
    name : {"class", "instances", "domain", "task", "permuted", "rotated", "stream", "blurry"}
    x_train, y_train, x_test, y_test, tasks, seed, preparation
        As `class_incremental`.
    **settings
        Further settings of a scenario, such as ``share`` of `blurry`.

    Returns
    -------
    Scenario

    Raises
    ------
    ValueError
        If there is no such scenario or setting; also as the scenario's own function.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.zeros((2, 4), dtype=np.uint8), np.array([0, 1])
    >>> build("other", x, y, x, y, 2)
    Traceback (most recent call last):
    ...
    ValueError: scenario must be one of class, instances, domain, task, permuted, rotated, stream, blurry, got 'other'
    """
    divide = by_name("scenario", name, SCENARIOS)
    unknown = sorted(set(settings) - set(inspect.signature(divide).parameters))
    if unknown:
        raise ValueError(f"scenario {name!r} must be given only its own settings, got {', '.join(unknown)}")
    return divide(x_train, y_train, x_test, y_test, tasks, seed=seed, preparation=preparation, **settings)
