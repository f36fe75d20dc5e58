"""How a continual learner learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bitlearn.budgets import budget_bytes
from bitlearn.errors import by_name
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
    later_learning_rate : float, optional
        Of the first step of each task after the first; by default the same. QGPM (`Basis
        <bitlearn.continual.bases.Basis>`) has 0.1, and then 0.01.
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
    projection : {"energy", "ratio"}
        How ``gpm`` finds what of an update would change earlier tasks: by bases that hold a part of the energy of their
        inputs, or by the null space of the inputs' sums of products.
    energy : float or sequence of float
        Which part of the energy of a layer's inputs its basis is to hold after the first task, in (0, 1]: one for all,
        or one a layer, the last of which counts for all others.
    energy_growth : float
        By how much this grows with each task; at least 0.
    representations : int
        From how many of a task's examples bases are found.
    basis_bits : {32, 8, 4}
        Of a value of a basis.
    basis_quantizer : {"asymmetric", "normal"}
        How columns of 8 and 4 bits are made, as `Basis <bitlearn.continual.bases.Basis>` says.
    basis_share : float
        Which part of a layer's directions its basis may take, in (0, 1].
    eigenvalue_ratio : float
        Of the rule "ratio", at least 1: how many times the smallest eigenvalue that of a direction may be that is kept
        free.
    eigenvalue_floor : float
        Of the rule "ratio", in [0, 1): the smallest eigenvalue counts as at least this part of the largest.
    scaled_projection : bool
        Of the rule "ratio": divide by the root of the null space's dimension, as the code of arXiv 2406.08830 does.
    centre : str, optional
        The convolution whose centre ``centre-kernel`` trains; by default the last one that has one.
    centre_branch : {"binary", "real"}
        What its weights are.
    channel_share : float
        Which part of the centre's input channels a task trains, in whole words of 64; in (0, 1].
    channel_budget : int or str, optional
        The bytes that the gradient of the centre, and the bits that it is made of, may take in a step, as 65536 or
        ``"64 KiB"``: as many words as fit are trained, in the place of `channel_share`.
    channel_choice : {"gradient", "random"}
        By the largest gradient over the task's examples, or at random, anew in each epoch.
    flip_budget : float, optional
        Which part of the squares of what earlier inputs gave a task's flips of the centre's binary weights may change;
        at least 0. By default all are taken up.
    patch : int
        The side of the patches of gradient filtering in the centre; 1 is none.
    temperature : float
        What ``centre-kernel`` divides scores by in its loss; above 0.
    prototype_weight : float
        What the loss of old classes' mean features counts; at least 0.
    layers : sequence of str
        Which layers ``sparse-update`` trains beside the head; by default the last one before it that has weights.
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
    distillation : float
        What the divergence from the last ticket's probabilities on replayed examples counts in the loss of
        ``task-wta``, with `rehearse`; at least 0.
    losers : {"masked", "scaled"}
        What becomes of the gradients of losing units' weights in ``task-wta`` where samples are soft: they are stopped,
        or all are multiplied by the units' probabilities of winning.
    cooling : float
        In (0, 1]: the share of their temperature to which soft samples of ``task-wta`` have cooled down at the end of a
        task, by the same factor in each step. 1 keeps it.
    reuse : float
        Where the logits of units that have won before begin with a new task of ``task-wta``; those of others begin at
        0. Below 0 a task takes units that are free first.
    sharing : {"units", "tickets"}
        What a task of ``task-wta`` takes where all units of a block have won before: whichever win, block by block, or
        those of one earlier ticket, that of whose weights the fewest are held.
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
    later_learning_rate: float | None = None
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
    projection: Literal["energy", "ratio"] = "energy"
    energy: float | tuple[float, ...] = 0.97
    energy_growth: float = 0.003
    representations: int = 300
    basis_bits: int = 32
    basis_quantizer: Literal["asymmetric", "normal"] = "asymmetric"
    basis_share: float = 1.0
    eigenvalue_ratio: float = 5.0
    eigenvalue_floor: float = 1e-6
    scaled_projection: bool = False
    centre: str | None = None
    centre_branch: Literal["binary", "real"] = "binary"
    channel_share: float = 0.75
    channel_budget: int | str | None = None
    channel_choice: Literal["gradient", "random"] = "gradient"
    flip_budget: float | None = None
    patch: int = 1
    temperature: float = 1.0
    prototype_weight: float = 10.0
    layers: tuple[str, ...] = ()
    protect: bool = True
    competing: float = 0.2
    posterior: str = "free"
    rehearse: bool = False
    distillation: float = 0.0
    losers: str = "masked"
    cooling: float = 1.0
    reuse: float = -4.0
    sharing: str = "units"
    identity: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("replay_size", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        check_rate(self.learning_rate)
        check_rate(self.later_learning_rate, "later_learning_rate")
        named(self.schedule)
        if not 0 < self.replay_share < 1:
            raise ValueError(f"replay_share must be above 0 and below 1, got {self.replay_share}")
        for name, number in (
            ("regularization", self.regularization or 0.0),
            ("der_alpha", self.der_alpha),
            ("der_beta", self.der_beta),
            ("distillation", self.distillation),
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
        if self.sharing not in ("units", "tickets"):
            raise ValueError(f"sharing must be units or tickets, got {self.sharing!r}")
        if not -math.inf < self.reuse < math.inf:
            raise ValueError(f"reuse must be a finite number, got {self.reuse}")
        if self.identity not in (None, *IDENTITIES):
            raise ValueError(f"identity must be one of {', '.join(IDENTITIES)} or None, got {self.identity!r}")
        self._check_projection()
        if not 0 <= self.regularization_decay <= 1:
            raise ValueError(f"regularization_decay must be in [0, 1], got {self.regularization_decay}")

    def _check_projection(self) -> None:
        """Check the settings of ``gpm``, of ``centre-kernel`` and of what it is compared with."""
        energies = self.energy if isinstance(self.energy, tuple | list) else (self.energy,)
        if not energies or not all(0 < each <= 1 for each in energies):
            raise ValueError(f"energy must be in (0, 1], got {self.energy}")
        several = tuple(map(float, energies)) if isinstance(self.energy, tuple | list) else float(self.energy)
        object.__setattr__(self, "energy", several)  # a file has a list
        if not 0 <= self.energy_growth <= 1:
            raise ValueError(f"energy_growth must be in [0, 1], got {self.energy_growth}")
        if self.representations < 1:
            raise ValueError(f"representations must be at least 1, got {self.representations}")
        if not 0 < self.basis_share <= 1:
            raise ValueError(f"basis_share must be in (0, 1], got {self.basis_share}")
        if not 1 <= self.eigenvalue_ratio < math.inf:
            raise ValueError(f"eigenvalue_ratio must be a finite number of at least 1, got {self.eigenvalue_ratio}")
        if not 0 <= self.eigenvalue_floor < 1:
            raise ValueError(f"eigenvalue_floor must be in [0, 1), got {self.eigenvalue_floor}")
        if self.basis_bits not in (32, 8, 4):
            raise ValueError(f"basis_bits must be 32, 8 or 4, got {self.basis_bits}")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not 0 < self.channel_share <= 1:
            raise ValueError(f"channel_share must be in (0, 1], got {self.channel_share}")
        if self.channel_budget is not None:
            budget_bytes(self.channel_budget, "channel_budget")
        if self.flip_budget is not None and self.channel_choice == "random":
            raise ValueError("flip_budget must be left out where channels are drawn anew in each epoch, got both")
        if self.flip_budget is not None and not 0 <= self.flip_budget < math.inf:
            raise ValueError(f"flip_budget must be a finite number of at least 0, got {self.flip_budget}")
        if self.patch < 1:
            raise ValueError(f"patch must be at least 1, got {self.patch}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")
        if not 0 <= self.prototype_weight < math.inf:
            raise ValueError(f"prototype_weight must be a finite number of at least 0, got {self.prototype_weight}")
        for name, known in (
            ("projection", ("energy", "ratio")),
            ("basis_quantizer", ("asymmetric", "normal")),
            ("centre_branch", ("binary", "real")),
            ("channel_choice", ("gradient", "random")),
        ):
            by_name(name, getattr(self, name), dict.fromkeys(known))
