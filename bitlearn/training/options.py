"""How to train."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn.optim.rule import positive
from bitlearn.optim.schedules import Schedule, named


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    epochs, batch_size, seed : int
    learning_rate : float, optional
        The optimiser's own by default.
    schedule : {"cosine", "constant", "step"} or callable
        The factor of the learning rate as a function of the fraction of steps done: see `bitlearn.optim.schedules`.
    max_steps : int, optional
        Stop after this many steps; the schedule is that of the full training.
    augment : bool
        Shift images randomly by up to an eighth of their height.
    mirror : bool
        Whether augmentation also mirrors images randomly: right for objects, wrong for digits and letters.

    Raises
    ------
    ValueError
        If a number is out of its range, or there is no such schedule.

    Examples
    --------
    >>> Options(epochs=2, schedule=lambda done: 1 - done).batch_size
    100
    """

    epochs: int = 10
    batch_size: int = 100
    seed: int = 0
    learning_rate: float | None = None
    schedule: str | Schedule = "cosine"
    max_steps: int | None = None
    augment: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("max_steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        check_rate(self.learning_rate)
        named(self.schedule)


def check_rate(learning_rate: float | None, name: str = "learning_rate") -> None:
    """Raise ValueError if a learning rate is given that is not a finite number above 0."""
    if learning_rate is not None:
        positive(name, learning_rate)
