"""Learning rates over the steps: any callable from the share of them that is done to a factor of the rate serves."""

from __future__ import annotations

import math
from collections.abc import Callable

#: ``schedule(done)`` is the factor of the learning rate when a share `done` of the steps, in [0, 1), is done.
Schedule = Callable[[float], float]


def cosine(done: float) -> float:
    """Return a factor that falls from 1 to 0 along half a cosine.

    Parameters
    ----------
    done : float
        The share of the steps that are done, in [0, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> cosine(0.5)
    0.5
    """
    return 0.5 * (1 + math.cos(math.pi * done))


def constant(done: float) -> float:
    """Return 1 at every step.

    Parameters
    ----------
    done : float
        The share of the steps that are done, in [0, 1).

    Returns
    -------
    float
    """
    return 1.0


def step(done: float) -> float:
    """Return 1, a tenth from half of the steps on, and a hundredth from three quarters on.

    Parameters
    ----------
    done : float
        The share of the steps that are done, in [0, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> step(0.25), step(0.5)
    (1.0, 0.1)
    """
    return (0.1 if done >= 0.5 else 1.0) * (0.1 if done >= 0.75 else 1.0)


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "constant": constant, "step": step}


def named(schedule: str | Schedule) -> Schedule:
    """Return a schedule by its name; a callable is returned unchanged.

    Parameters
    ----------
    schedule : {"cosine", "constant", "step"} or callable

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> named("constant")(0.7)
    1.0
    """
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, or a callable, got {schedule!r}")
    return SCHEDULES[schedule]
