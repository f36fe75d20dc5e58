"""The settings that all continual methods share; a method's own settings are declared in its file."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn.continual.ranges import at_least, finite, interval
from bitlearn.continual.settings import Settings, setting
from bitlearn.optim.schedules import Schedule, named


@dataclass(frozen=True)
class Options(Settings):
    """How to learn each task: the settings of every method. A method ignores those it does not need.

    A method with settings of its own has a subclass, its `Method.takes <bitlearn.continual.Method>`.

    Raises
    ------
    TypeError
        If there is no such setting, or a value has the wrong type.
    ValueError
        If a number is out of its range.

    Notes
    -----
    The defaults were chosen on a held-out fifth of the training data of ``digits``, for networks that were not
    pretrained. An early cut was best there, since what the frozen part learns from two classes suits the others badly;
    consolidation gained nothing.

    Examples
    --------
    >>> Options(replay_share=1.0)
    Traceback (most recent call last):
    ...
    ValueError: replay_share must be in (0, 1), got 1.0
    >>> Options(energy=0.9)
    Traceback (most recent call last):
    ...
    TypeError: energy must be given to gpm, whose setting it is, got it for Options
    """

    epochs: int = setting(10, "Passes over each task's examples.", at_least(1))
    batch_size: int = setting(50, "Examples per step, replayed ones included.", at_least(2))
    seed: int = setting(0, "The seed of batches and replay.", at_least(0))
    learning_rate: float | None = setting(
        None, "The rate of the first step of each task; by default the optimiser's own.", finite(above=0)
    )
    later_learning_rate: float | None = setting(
        None,
        "The rate of the first step of each task after the first; by default the same. QGPM (`Basis "
        "<bitlearn.continual.bases.Basis>`) uses 0.1, then 0.01.",
        finite(above=0),
    )
    schedule: str | Schedule = setting(
        "cosine",
        "How the learning rate falls within a task: cosine, constant, step, or a function of the fraction of its steps "
        "done so far. It restarts with each task, and so does the optimiser.",
    )
    replay_size: int = setting(300, "How many examples a replay memory holds.", at_least(1))
    replay_share: float = setting(
        0.72,
        "The fraction of a mixed batch that is replayed; by default the 128 of 178 of arXiv 2401.09916. The rest is "
        "new, so the larger it is, the more steps an epoch has.",
        interval("(0, 1)"),
    )
    cut: str | None = setting(
        None,
        "The layer after which a network is cut. Its packed bits are stored and learned from; it and the layers before "
        "it are frozen after the first task. By default the first one whose bits take no more bytes than an "
        "example's codes, or else the one with the fewest; methods that do not need a cut have none.",
    )
    memory_budget: int | float | str | None = setting(
        None,
        'Bytes to store and work with, such as 8192 or ``"8 KiB"``: features, or cut, batch and replay memory are '
        "chosen to fit. By default there is no limit, and there are 256 features.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named(self.schedule)
