"""Centre-sensitive kernels: only the centre of one convolution and the head are trained after the first task."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from bitlearn import streams
from bitlearn.bits import WORD_BITS, words_for
from bitlearn.continual.channels import ChannelOptions, importance, words_within
from bitlearn.continual.decoupling import CENTRE, decouple, merge
from bitlearn.continual.flips import accepted_flips
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import AT_A_TIME, Networks, real_head
from bitlearn.continual.prototype_replay import Prototypes
from bitlearn.continual.ranges import at_least, finite
from bitlearn.continual.settings import setting
from bitlearn.continual.spaces import RatioOptions, RatioSpace
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.losses import Tempered
from bitlearn.nn.model import Model
from bitlearn.nn.taps import channels_of
from bitlearn.nn.watch import Watch
from bitlearn.optim import of_update
from bitlearn.rng import Key
from bitlearn.serialization import check, types_of, under, within
from bitlearn.training.epochs import steps_in_epoch
from bitlearn.training.step import Trainer

#: The name of the centre's weights in the trained part of a network.
_WEIGHT = f"{CENTRE}.weight"


def _centre_of(model: Model, layer: str) -> np.ndarray:
    """Return the weights at the centre of a convolution, (filters, channels), as a view."""
    weight: np.ndarray = model[layer].weight
    return weight[:, weight.shape[1] // 2, weight.shape[2] // 2]


def decoupled_layer(model: Model, wanted: str | None = None) -> str:
    """Return the convolution whose centre is trained: by default the last one that can be decoupled."""
    layers = getattr(model.root, "layers", {})
    for name in reversed(layers) if wanted is None else [wanted]:
        try:
            decouple(model.fixed(), name)
        except ValueError:
            if wanted is not None:
                raise
        else:
            return name
    raise ValueError("centre-kernel must have a model with a binary 3x3 convolution on bits, got one without")


@dataclass(frozen=True)
class CentreKernelOptions(ChannelOptions, RatioOptions):
    """Options of ``centre-kernel``."""

    centre: str | None = setting(None, "The convolution whose centre is trained; by default the last one that has one.")
    centre_branch: Literal["binary", "real"] = setting("binary", "The type of the centre's weights.")
    flip_budget: float | None = setting(
        None,
        "The largest change, relative to the squared outputs for earlier inputs, that a task's sign flips may make. By "
        "default all flips are accepted.",
        finite(least=0),
    )
    patch: int = setting(1, "The side of the patches of gradient filtering in the centre; 1 turns it off.", at_least(1))
    temperature: float = setting(1.0, "The temperature that scores are divided by in the loss.", finite(above=0))
    prototype_weight: float = setting(
        10.0, "The weight of the old classes' mean features in the loss.", finite(least=0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.flip_budget is not None and self.channel_choice == "random":
            raise ValueError("flip_budget must be left out if channels are drawn at random in each epoch, got both")


class CentreKernel(Method):
    """Learn the first task with the whole network, and the others with the centre of a convolution and the head.

    Attributes
    ----------
    whole : Model or None
        The network, with constant batch norms, once the first task is over.
    words : list of int
        The words of the centre's channels that the current task trains.
    space : RatioSpace
        The sums of products of the centre's inputs so far.
    prototypes : Prototypes
        The mean of each class's features.

    Notes
    -----
    arXiv 2406.08830, following its authors' code. After the first task batch norms are constant, and the convolution
    ``centre`` is cut in two (`decouple <bitlearn.continual.decoupling.decouple>`): for each image, its frozen taps and
    all layers before them yield sums in int16 and the bits of the pixels. These are computed once per task and kept
    while it is learned. Then for each task:

    - *Channels*: the gradient of the centre is summed over a pass through the new examples. Of the words of 64 input
      channels, the fraction ``channel_share`` with the largest ``mean over filters of |sum|``, summed over a word, is
      trained. The rest of the centre joins the frozen taps, which saves its part of the step, forward and backward.
      With ``channel_choice="random"`` words are drawn at random in each epoch instead (TraDy, ICLR 2026, whose unit is
      a channel), as a control. ``channel_budget`` gives the number of words in bytes.
    - *Projection*: the optimiser's update d of the centre's weights becomes ``d V V^T``, where V is the
      `null_space <bitlearn.continual.subspaces.null_space>` of the chosen channels' part of the sums of products of all
      inputs of the centre so far: exact counts of bits, over every pixel. (The code takes the mean of a batch first.)
    - *Flips*: with ``flip_budget`` the signs that a task has changed are accepted only as far as they leave the outputs
      for earlier pixels unchanged (`accepted_flips <bitlearn.continual.flips.accepted_flips>`), with a binary centre
      only.
    - *Prototypes*: ``prototype_weight`` times the mean over old classes of ``CE(head(mean feature) / T, class)`` is
      added to the loss. The code draws a batch of them; here it is the expectation.

    The head's weights for new classes start at 0, in the code at random. Biases do not change. With
    ``centre_branch="binary"`` latent weights are projected, although only their signs matter: this is a heuristic. The
    centre is merged into the kernel after each task, bit for bit. With ``"real"`` the projection is exact, the centre
    stays separate, and all of it takes part in a step: updates of channels that are not chosen are stopped, and no work
    is saved.
    """

    streams = False
    takes = CentreKernelOptions
    options: CentreKernelOptions

    def __init__(self, networks: Networks, options: CentreKernelOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        if options.memory_budget is not None:
            raise ValueError(
                "memory_budget must be left out with centre-kernel, since plans do not count what it keeps, "
                f"got {options.memory_budget!r}"
            )
        real_head(networks.model, "centre-kernel")
        self.real = options.centre_branch == "real"
        self.whole: Model | None = None
        trained = self._begun_with(networks)
        self.words = list(range(words_for(self.channels)))
        self.space = RatioSpace(self.channels, options)
        self.head = networks.model.names[-1]
        self.prototypes = Prototypes(networks.model[self.head].spec.channels, self.outputs)
        self.loss = Tempered(options.temperature)
        self.transforms = (
            self._replay,
            of_update(self._keep, [name for name in trained if name != f"{self.head}.weight"]),
        )
        #: The columns of the centre that an update may change, if it has others too.
        self._open: np.ndarray | None = None

    def _begun_with(self, networks: Networks) -> Arrays:
        """Find the layer and its channels, and return the parameters that are trained after the first task."""
        if networks.lower is None:
            self.layer = decoupled_layer(networks.model, self.options.centre)
            self.channels = networks.model[self.layer].spec.channels
            return decouple(networks.model.fixed(), self.layer, real=self.real)[1].parameters()
        # A real centre stays separate, in a file too.
        if not self.real or networks.model.names[0] != CENTRE:
            raise ValueError("centre-kernel must have a whole network, got one whose lower part is already frozen")
        self.layer, self.whole, self.channels = CENTRE, networks.model, networks.model[CENTRE].channels
        return networks.model.parameters()

    # --- transforms of gradients and updates ---

    def _replay(self, name: str, gradient: np.ndarray, weight: np.ndarray) -> None:
        """Add the gradient of the prototypes' loss to that of the head."""
        if name == f"{self.head}.weight" and self.whole is not None:
            self.prototypes.add_gradient(weight, gradient, self.options.temperature, self.options.prototype_weight)

    def _keep(self, name: str, change: np.ndarray, parameter: np.ndarray) -> None:
        """Project an update so that it changes neither the centre's outputs for earlier tasks nor biases."""
        if self.whole is None:
            return
        if name != _WEIGHT:
            change[...] = 0
        elif self._open is None:
            self.space.project(change)
        else:
            found = np.ascontiguousarray(change[:, self._open])
            self.space.project(found)
            change[...] = 0
            change[:, self._open] = found

    # --- tasks ---

    def begin(self, index: int, train: Examples) -> None:
        """Choose the channels of a task, and cut the network there."""
        if self.whole is None:
            return
        every, wanted = list(range(words_for(self.channels))), self._wanted()
        if wanted == len(every):
            self.words = every
        elif self._draws:
            self.words = self._drawn(index, 0)
        else:
            worth = self._importance(train)
            self.words = sorted(np.argsort(-worth, kind="stable")[:wanted].tolist())
        self._choose()
        if not self.real:
            self._cut(self.words)

    def _wanted(self) -> int:
        """Return how many words of channels are trained: a share of all, or as many as the budget of a step allows."""
        options, count = self.options, words_for(self.channels)
        if options.channel_budget is None:
            return max(1, int(options.channel_share * count))
        return words_within(options.channel_budget, self.networks.model[CENTRE], options.batch_size, count)

    def _choose(self) -> None:
        """Restrict updates to the words that are trained."""
        channels = channels_of(self.words, self.channels)
        self.space.choose(channels)
        self._open = channels if self.real else None

    @property
    def _draws(self) -> bool:
        """Whether words are drawn at random in each epoch of a task."""
        return self.options.channel_choice == "random" and self._wanted() < words_for(self.channels)

    def _drawn(self, index: int, epoch: int) -> list[int]:
        """Return the words of an epoch, only full ones so that the size of the centre does not change."""
        key = Key(self.options.seed, index * self.options.epochs + epoch, streams.CHANNELS)
        return sorted(key.permutation(self.channels // WORD_BITS)[: self._wanted()].tolist())

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Return the training of a task; if words are drawn at random, they change in each epoch."""
        plain = self.plain_training(train)
        if self.whole is None or not self._draws:
            return plain
        in_epoch = steps_in_epoch(plain.count, plain.batch_size)

        def prepare(trainer: Trainer, step: int) -> None:
            if step and step % in_epoch == 0:
                self._redraw(trainer, train, self._drawn(index, step // in_epoch))

        def batch(rows: np.ndarray, key: Key) -> tuple[Batch, np.ndarray]:
            assert self.source is not None
            return self.source(rows), train.y[rows]

        return replace(plain, batch=batch, prepare=prepare)

    def _redraw(self, trainer: Trainer, train: Examples, words: list[int]) -> None:
        """Train other words from now on: recompute the frozen part's output and reset the moments."""
        if words == self.words:
            return
        if not self.real:
            assert self.whole is not None
            merge(self.whole, self.layer, self.networks.model, self.words)
            lower, upper = decouple(self.whole, self.layer, words)
            self.networks.model[CENTRE].weight[...] = upper[CENTRE].weight
            self.networks.lower = lower.freeze()
            self.source = self.networks.source(train, keep=True)
            for name, array in trainer.state.items():
                if name.startswith(f"{_WEIGHT}."):
                    array[...] = 0
        self.words = words
        self._choose()

    def _cut(self, words: list[int]) -> None:
        """Cut the current network after the frozen taps, and train the rest."""
        assert self.whole is not None
        found = decouple(self.whole, self.layer, words, real=self.real, patch=self.options.patch)
        lower, self.networks.model = found
        self.networks.lower, self.networks.cut = lower.freeze(), self.layer

    def _importance(self, train: Examples) -> np.ndarray:
        """Return, for each word of channels, the magnitude of the gradient summed over a pass through new examples."""
        if not self.real:
            self._cut(list(range(words_for(self.channels))))
        source, loss = self.networks.source(train, keep=False), Tempered(self.options.temperature)
        parts = [np.arange(start, min(start + AT_A_TIME, len(train))) for start in range(0, len(train), AT_A_TIME)]
        return importance(self.networks.model, _WEIGHT, ((source(rows), train.y[rows]) for rows in parts), loss)

    def finish(self, index: int, train: Examples) -> None:
        """Merge the centre, and add the task's examples to the sums and prototypes."""
        if self.whole is None:
            self.whole = self.networks.model.fixed()
        elif not self.real:
            self._refuse_flips()
            merge(self.whole, self.layer, self.networks.model, self.words)
        if not self.real or self.networks.lower is None:
            self.words = list(range(words_for(self.channels)))
            self._cut(self.words)
        self.source = None
        self._take_in(train)

    def _refuse_flips(self) -> None:
        """Restore the old signs of weights whose flips would change earlier outputs too much."""
        budget = self.options.flip_budget
        if budget is None:
            return
        assert self.whole is not None
        old: Any = decouple(self.whole, self.layer, self.words)[1][CENTRE].weight
        new = self.networks.model[CENTRE].weight
        kept = accepted_flips(old, new, self.space.gram(channels_of(self.words, self.channels)), budget)
        new[~kept] = old[~kept]

    def _take_in(self, train: Examples) -> None:
        """Add a task's examples to the sums of products and to the prototypes."""
        assert self.networks.lower is not None
        model = self.networks.model
        watch, centre, total = Watch(model.freeze(), [self.head]), model[CENTRE], np.zeros((self.channels,) * 2)
        for start in range(0, len(train), AT_A_TIME):
            rows = np.arange(start, min(start + AT_A_TIME, len(train)))
            found: Any = self.networks.inputs(train.codes(rows))
            total += centre.gram(found)
            self.prototypes.add(watch(found)[self.head], train.y[rows])
        self.space.learn(total, 1.0, self.layer)

    # --- files ---

    @property
    def lasting(self) -> Networks:
        """The whole network, with the current binary centre merged; a real one stays separate."""
        if self.whole is None or self.real:
            return self.networks
        merged = copy.deepcopy(self.whole)
        merge(merged, self.layer, self.networks.model, self.words)
        return Networks(merged)

    def arrays(self) -> Arrays:
        """Return sums of products, prototypes, the trained words, and a binary centre as it was before the task."""
        words = np.zeros(words_for(self.channels), dtype=bool)
        words[self.words] = True
        found: Arrays = {"settled": np.array([self.whole is not None]), "words": words}
        found |= self.space.arrays() | under("prototypes.", self.prototypes.arrays())
        if not self.real:
            found["centre"] = _centre_of(self.whole or self.networks.model, self.layer).copy()
        return found

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`, and cut the network where it was cut."""
        check(types_of(self.arrays()), types_of(arrays))
        settled, model = bool(arrays["settled"][0]), self.networks.model
        if settled and any(not leaf.settled for _, leaf in model.items()):
            raise ValueError("a network after its first task must have constant batch norms, got others")
        if not arrays["words"].any() or (self.whole is not None and not settled):
            raise ValueError("a centre must have trained words and a completed first task, got others")
        self.space.restore({"sums": arrays["sums"]})
        self.prototypes.restore(within("prototypes.", arrays))
        self.words = np.flatnonzero(arrays["words"]).tolist()
        if not settled:
            return
        self._choose()
        if self.real:
            return
        self.whole = model
        self._cut(self.words)
        before = arrays["centre"]
        if before.dtype.kind == "f" and not np.isfinite(before).all():
            raise ValueError("a centre must be finite, got NaN or infinity")
        _centre_of(model, self.layer)[...] = before

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Raise ValueError: the method needs whole tasks."""
        raise ValueError("centre-kernel must be given whole tasks, by fit_task, got a batch of a stream")

    def grow(self, outputs: int) -> None:
        """Grow to more outputs."""
        super().grow(outputs)
        self.prototypes.grow(outputs)
        if self.whole is not None:  # its head is the same layer object
            self.whole.root.bind(self.whole.root.spec, self.whole.precision, self.whole.root.index)

    @property
    def update_operations(self) -> int:
        """The multiply-adds for projecting the centre's update, and for the prototypes' scores and gradient."""
        if self.whole is None:
            return 0
        filters, rehearsed = len(self.networks.model[CENTRE].weight), self.options.prototype_weight > 0
        return filters * self.space.work + rehearsed * 2 * len(self.prototypes.known) * self.prototypes.sums.size

    @property
    def kept_bytes(self) -> int:
        """The bytes of sums of products and prototypes."""
        return self.space.nbytes + self.prototypes.nbytes
