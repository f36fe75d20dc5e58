"""How a continual learner learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitlearn.optim.schedules import Schedule, named
from bitlearn.training.options import check_rate

#: How a task's ticket is known at test time.
IDENTITIES = ("given", "last", "confidence")


@dataclass(frozen=True)
class Options:
    """How to learn each task; the methods take what they know of it.

    Parameters
    ----------
    epochs : int
        Passes over each task's examples.
    batch_size : int
        Examples a step, replayed ones among them.
    seed : int
        Of batches and replay.
    learning_rate : float, optional
        Of the first step of each task; the optimiser's own by default.
    schedule : {"cosine", "constant", "step"} or callable
        How the learning rate falls within a task; it starts anew with each, and so does the optimiser.
    replay_size : int
        How many examples the replay memory holds.
    replay_share : float
        Which part of a mixed batch is replayed, in (0, 1); by default the 128 of 178 of arXiv 2401.09916. The rest
        is new, so the larger it is, the more steps an epoch has.
    cut : str, optional
        The layer whose packed bits are stored, one of `bitlearn.continual.cuts`; it and what lies below are frozen
        after the first task. By default the first one whose bits take no more bytes than an example's codes, or else
        the one with the fewest.
    latents : str, optional
        How they are stored, as `bitlearn.continual.latent_codec` takes it: by default as bits, which loses nothing
        where they are bits, and as signs with a scale a channel behind a layer that gives real values.
    consolidate : bool
        Whether latent replay keeps a CWR* head.
    head_bits : int, optional
        2 to 16: the consolidated rows of a CWR* head are kept as integers of so many bits, with a scale a row; as
        float32 by default. ``cwr``, ``ar1``, and what `consolidate` gives such a head.
    regularization : float, optional
        How strongly ``ewc`` and ``ar1`` draw parameters back to where earlier tasks left them: what importances are
        multiplied by. By default 100 for ``ewc``, and 1e6 for ``ar1``, whose importances are at most 0.001.
    regularization_decay : float
        What ``ewc`` keeps of earlier tasks' importances with each task, in [0, 1]: the gamma of arXiv 1805.06370. 1
        adds them up.
    der_alpha, der_beta : float
        What the distance to stored scores, and the cross-entropy of replayed examples, count in ``der``. With a
        `der_beta` of 0 it is DER, else DER++.
    protect : bool
        Whether ``task-wta`` lets no later task change a weight that an earlier task's ticket holds.
    competing : float
        The share of a task's steps in which units compete in ``task-wta``, in [0, 1): the winners are chosen then, and
        trained alone in the others.
    posterior : {"free", "response"}
        Where ``task-wta`` has a task's posterior from: logits that are learned, or how units respond to the task's
        examples as it begins.
    rehearse : bool
        Whether ``task-wta`` replays examples of earlier tasks, `replay_share` of a step, from a memory of
        `replay_size`: the last ticket then knows the classes of all tasks. Behind a frozen part of a network they are
        packed bits.
    losers : {"masked", "scaled"}
        What becomes of the gradients of losing units' weights in ``task-wta`` where samples are soft: they are stopped,
        or all are multiplied by the units' probabilities of winning.
    cooling : float
        In (0, 1]: the share of their temperature to which soft samples of ``task-wta`` have cooled down at the end of a
        task, by the same factor in each step. 1 keeps it.
    reuse : float
        Where the logits of units that have won before begin with a new task of ``task-wta``; those of others begin at
        0. Below 0 a task takes units that are free first.
    identity : {"given", "last", "confidence"}, optional
        Which ticket predicts at test time: that of the example's task, that of the last task, or the one that is the
        surest. By default the first where the scenario tells the task, or has the same classes in each, else the
        second.
    memory_budget : int or str, optional
        What the sums of ``analytic`` and ``prototypes`` may take, as 8192 or ``"8 KiB"``; 256 features by default.

    Raises
    ------
    ValueError
        Where a number is out of its range.

    Notes
    -----
    The defaults were chosen on a fifth of the training data of ``digits``, held out, for networks that were not trained
    before. An early cut was best there, since what two classes teach the frozen part serves the others badly;
    consolidation gained nothing.

    Examples
    --------
    >>> Options(replay_share=1.0)
    Traceback (most recent call last):
    ...
    ValueError: replay_share must be above 0 and below 1, got 1.0
    """

    epochs: int = 10
    batch_size: int = 50
    seed: int = 0
    learning_rate: float | None = None
    schedule: str | Schedule = "cosine"
    replay_size: int = 300
    replay_share: float = 0.72
    cut: str | None = None
    latents: str | None = None
    consolidate: bool = False
    head_bits: int | None = None
    memory_budget: int | str | None = None
    regularization: float | None = None
    regularization_decay: float = 1.0
    der_alpha: float = 0.5
    der_beta: float = 1.0
    protect: bool = True
    competing: float = 0.2
    posterior: str = "free"
    rehearse: bool = False
    losers: str = "masked"
    cooling: float = 1.0
    reuse: float = -4.0
    identity: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("replay_size", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        check_rate(self.learning_rate)
        named(self.schedule)
        if not 0 < self.replay_share < 1:
            raise ValueError(f"replay_share must be above 0 and below 1, got {self.replay_share}")
        for name, number in (
            ("regularization", self.regularization or 0.0),
            ("der_alpha", self.der_alpha),
            ("der_beta", self.der_beta),
        ):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0, got {number}")
        if self.head_bits is not None and not 2 <= self.head_bits <= 16:
            raise ValueError(f"head_bits must be in [2, 16], got {self.head_bits}")
        if not 0 <= self.competing < 1:
            raise ValueError(f"competing must be at least 0 and below 1, got {self.competing}")
        if not 0 < self.cooling <= 1:
            raise ValueError(f"cooling must be above 0 and at most 1, got {self.cooling}")
        if self.posterior not in ("free", "response"):
            raise ValueError(f"posterior must be free or response, got {self.posterior!r}")
        if self.losers not in ("masked", "scaled"):
            raise ValueError(f"losers must be masked or scaled, got {self.losers!r}")
        if not -math.inf < self.reuse < math.inf:
            raise ValueError(f"reuse must be a finite number, got {self.reuse}")
        if self.identity not in (None, *IDENTITIES):
            raise ValueError(f"identity must be one of {', '.join(IDENTITIES)} or None, got {self.identity!r}")
        if not 0 <= self.regularization_decay <= 1:
            raise ValueError(f"regularization_decay must be in [0, 1], got {self.regularization_decay}")
