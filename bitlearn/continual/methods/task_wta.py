"""Task winner-takes-all: units compete for each task, and only the small network of the winners is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitlearn import streams
from bitlearn.continual.methods.competing import Competing, CompetingOptions, Sampled, Soft
from bitlearn.continual.methods.distilled import DistilledLoss
from bitlearn.continual.methods.rehearsal import STORED, Rehearsal, joined
from bitlearn.continual.methods.ticketed import Ticketed, TicketedOptions
from bitlearn.continual.networks import AT_A_TIME, Networks
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import finite
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.responses import input_logits, response_logits
from bitlearn.continual.settings import setting
from bitlearn.continual.sharing import held_inputs, shared_units
from bitlearn.continual.steps import TaskTraining
from bitlearn.continual.tickets import Tickets
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays
from bitlearn.nn.narrow import competitions, input_competition
from bitlearn.rng import Key
from bitlearn.serialization import check, types_of, under, within
from bitlearn.training.epochs import MadeBatch, steps_in_epoch

#: How many examples of a task, evenly spaced, are used to measure responses.
_RESPONSES = 1000


@dataclass(frozen=True)
class TaskWtaOptions(CompetingOptions, TicketedOptions):
    """Options of ``task-wta``."""

    protect: bool = setting(True, "Keep later tasks from changing weights that an earlier task's ticket holds.")
    rehearse: bool = setting(
        False,
        "Replay examples of earlier tasks, ``replay_share`` of each step, from a memory of ``replay_size`` examples, "
        "so that the last ticket knows the classes of all tasks. After a frozen part of a network, bits are stored.",
    )
    distillation: float = setting(
        0.0,
        "The weight in the loss of the divergence from the last ticket's probabilities on replayed examples. It "
        "requires ``rehearse``.",
        finite(least=0),
    )
    reuse: float = setting(
        -4.0,
        "The initial logits, in a new task, of units that have won before; those of others start at 0. Below 0, a "
        "task prefers free units.",
        finite(),
    )
    sharing: Literal["units", "tickets"] = setting(
        "units",
        "Which units a task takes once all units of a block have won: any that win, block by block, or those of one "
        "earlier ticket, the one with the fewest held weights.",
    )


class TaskWta(Ticketed):
    """Let the units of each block compete for a task, then train the winners.

    Notes
    -----
    arXiv 2407.10758, whose code is not public. Each step in the first fraction ``competing`` of a task's steps draws
    one unit of each block from the task's posterior, and trains the small dense network of these units, from which the
    posterior learns. After that, the most probable unit of each block is the winner, and the others no longer take
    part. Outputs of losing units are never computed: all products, forward and backward, are those of the small
    network.

    If the competitions draw soft samples, all units take part in every step instead, and gradients of weights are
    scaled or masked, depending on ``losers``: the other reading of the paper. It saves no work in training.

    Tickets share the weights of competing units. Each ticket has its own batch norms and head. With ``protect``,
    weights that an earlier ticket holds keep their exact values, and so do that ticket's predictions. With
    ``rehearse``, steps also have examples of earlier tasks. If all units of a block have won before, a new task still
    chooses among them, and trains its own arrays and the weights between units that are not in one ticket together.
    `free` tells how many units are left.
    """

    name = "task-wta"
    takes = TaskWtaOptions
    options: TaskWtaOptions

    def __init__(self, networks: Networks, options: TaskWtaOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        model = networks.model
        self.competitions = competitions(model)
        if not self.competitions:
            raise ValueError(f"{self.name} must have a model whose units compete, got {', '.join(model.names)}")
        samplings = {layer.sampling for layer in self.competitions.values()}
        if len(samplings) > 1:
            raise ValueError("all competitions must have the same sampling, got hard and soft")
        #: Whether all units take part in a step, each multiplied by its share of a soft sample.
        self.soft = samplings == {"soft"}
        if options.losers == "scaled" and not self.soft:
            raise ValueError("losers must be 'masked' if samples are hard and losers take no part, got 'scaled'")
        self.tickets = Tickets(model)
        state = model.state()
        #: The weights that a ticket holds.
        self.held = {name: np.zeros(state[name].shape, dtype=bool) for name in sorted(self.tickets.shared)}
        self._fresh = {name: state[name].copy() for name in self.tickets.own}
        self.transforms = (self._spare,)
        self._training: Competing | None = None
        if options.distillation:
            if not options.rehearse:
                raise ValueError(f"distillation must be 0 without rehearse, got {options.distillation}")
            self.loss = DistilledLoss()
        #: Examples of earlier tasks, if they are replayed.
        self.memory = self._empty_memory() if options.rehearse else None

    @classmethod
    def remembers(cls, options: Options) -> bool:
        """Whether examples are rehearsed."""
        return isinstance(options, TaskWtaOptions) and options.rehearse

    def _empty_memory(self) -> ReplayBuffer:
        spec, options = self.networks.model.root.spec, self.options
        if options.batch_size < 3:
            raise ValueError(
                f"batch_size must be at least 3, for two new examples and a replayed one, got {options.batch_size}"
            )
        key = Key(options.seed, stream=streams.RESERVOIR)
        return ReplayBuffer(options.replay_size, spec.shape, self.outputs, dtype=STORED[spec.kind], key=key)

    # --- a task ---

    def begin(self, index: int, train: Examples) -> None:
        """Start with a posterior for the task, and with its own arrays at their initial values."""
        self.tickets.check(index)
        state = self.networks.model.state()
        for name, array in self._fresh.items():
            state[name][...] = array
        reuse, model = np.float32(self.options.reuse), self.networks.model
        for name, preferred in self._preferred().items():
            self.competitions[name].logits[index] = np.where(preferred, np.float32(0), reuse)
        of_inputs = input_competition(model)
        if of_inputs is None and self.options.posterior == "free":
            return
        rows = np.linspace(0, len(train) - 1, min(len(train), _RESPONSES)).astype(np.int64)
        x = self.networks.inputs(train.codes(rows))
        if of_inputs is not None:
            layer = self.competitions[of_inputs]
            share = held_inputs(self.tickets, self.held, self._preferred())
            layer.logits[index] = input_logits(layer, x) + reuse * share.astype(np.float32)
        if self.options.posterior == "response":
            for name, logits in response_logits(model, index, x).items():
                self.competitions[name].logits[index] += logits

    def _preferred(self) -> dict[str, np.ndarray]:
        """Return which units of each competition a new task prefers."""
        if self.options.sharing == "tickets":
            return shared_units(self.tickets, self.held)
        of_inputs = input_competition(self.networks.model)
        return {name: self.tickets.won(name) == 0 for name in self.competitions if name != of_inputs}

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Train the network of the sampled units, then that of the winners."""
        plain, batch = self.plain_training(train), self.options.batch_size
        new = plain.batch
        if self.memory is not None and len(self.memory):
            batch = Rehearsal.at_once(self.options)
            new = self._mixed(train, self.memory, self.options.batch_size - batch)
        elif self.options.distillation:
            new = self._plain(train)
        kind, model = Soft if self.soft else Sampled, self.networks.model
        steps = steps_in_epoch(len(train), batch) * self.options.epochs
        made = self._training = kind(model, self.held, self.options, index, steps)
        return TaskTraining(made.network, len(train), batch, new, made.prepare)

    def _mixed(self, train: Examples, memory: ReplayBuffer, count: int) -> Callable[[np.ndarray, Key], MadeBatch]:
        """Return a function that makes a step's batch of new examples and `count` earlier ones."""
        source = self.source
        assert source is not None
        last = max(self.classes)
        teacher, taught = self.predictor_of(last).upper, self.classes[last]

        def batch(rows: np.ndarray, key: Key) -> MadeBatch:
            old, labels = memory.sample(count, key)
            x, y = joined(source(rows), old), np.concatenate([train.y[rows], labels])
            if not self.options.distillation:
                return x, y
            return x, y, self._weights(len(rows), teacher.scores(old), taught)

        return batch

    def _plain(self, train: Examples) -> Callable[[np.ndarray, Key], MadeBatch]:
        """Return a function that makes a step's batch for the first task, with a loss that may have targets."""
        source = self.source
        assert source is not None
        scores, taught = np.zeros((0, self.outputs), np.float32), np.zeros(0, np.int64)
        return lambda rows, key: (source(rows), train.y[rows], self._weights(len(rows), scores, taught))

    def _weights(self, new: int, scores: np.ndarray, taught: np.ndarray) -> dict[str, np.ndarray]:
        """Return the targets and weights of new examples, and of replayed ones with the earlier ticket's scores."""
        count = len(scores)
        targets = np.full((new + count, self.outputs), np.nan, dtype=np.float32)
        if count:
            targets[new:, taught] = scores[:, taught]
        label = np.full(new + count, 1 / (new + count), dtype=np.float32)
        weight = np.repeat(np.array([0, self.options.distillation / max(count, 1)], dtype=np.float32), (new, count))
        return {"targets": targets, "label_weight": label, "target_weight": weight}

    def known(self, train: Examples) -> np.ndarray:
        """Return the outputs of the task's classes and of replayed ones."""
        found = super().known(train)
        return found if self.memory is None else np.union1d(found, np.flatnonzero(self.memory.seen))

    def finish(self, index: int, train: Examples) -> None:
        """Store the ticket, and hold its weights if they are protected."""
        assert self._training is not None
        winners = self._training.finish()
        cut = self.tickets.put(index, winners, self.networks.model.state())
        if self.options.protect:
            for name in self.held:
                self.held[name][cut.places[name]] = True
        self._training = None
        if self.memory is not None:
            assert self.source is not None
            for at in range(0, len(train), AT_A_TIME):
                rows = np.arange(at, min(at + AT_A_TIME, len(train)))
                self.memory.add(self.source(rows), train.y[rows])
        super().finish(index, train)

    def _spare(self, name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        """Stop the gradient of weights that an earlier ticket holds."""
        if self._training is not None:
            self._training.stop(name, gradient)

    # --- storage ---

    def frozen(self, task: int) -> Frozen:
        """Return the inference form of a ticket."""
        return self.tickets.network(task).freeze()

    @property
    def replay_bytes(self) -> int:
        """The bytes of the replay memory, if there is one."""
        return 0 if self.memory is None else self.memory.nbytes

    @property
    def free(self) -> dict[str, int]:
        """How many units of each competition have never won."""
        return {name: int((self.tickets.won(name) == 0).sum()) for name in self.competitions}

    @property
    def kept_bytes(self) -> int:
        """The bytes of all tickets, and one bit for each weight that may be held."""
        tickets = sum(self.tickets.ticket(task).nbytes for task in self.tickets.learned)
        tickets += self.replay_bytes
        return tickets + (sum(-(-held.size // 8) for held in self.held.values()) if self.options.protect else 0)

    @property
    def report(self) -> dict[str, Any]:
        """The winning units of each task, bytes, and how many units are left.

        ``ticket_bytes`` are those of each ticket without the weights, ``shared_bytes`` those of all weights that any
        ticket holds.
        """
        learned = self.tickets.learned
        return {
            "winners": {name: found[learned].tolist() for name, found in self.tickets.winners.items()},
            "units": {name: layer.units for name, layer in self.competitions.items()},
            "free": self.free,
            "ticket_bytes": [self.tickets.ticket(task).nbytes for task in learned],
            "network_bytes": [self.frozen(task).nbytes for task in learned],
            "shared_bytes": self.tickets.shared_bytes,
        }

    def arrays(self) -> Arrays:
        """Return the tickets, their classes, which weights are held, the initial values for tasks, and the memory."""
        found = self.tickets.arrays() | {"classes": self.class_rows(self.tickets.tasks)}
        found |= under("held.", self.held) | under("fresh.", self._fresh)
        return found if self.memory is None else found | under("memory.", self.memory.arrays())

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`."""
        live = self.arrays()
        check(types_of(live), types_of(arrays))
        self.tickets.restored({name: each for name, each in arrays.items() if name.startswith(("winners.", "own."))})
        for name, each in within("fresh.", arrays).items():
            if not np.isfinite(each).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
        if self.memory is not None:
            self.memory.restore(within("memory.", arrays))
        for name, target in live.items():
            if not name.startswith("memory."):
                target[...] = arrays[name]
        self.take_classes(arrays["classes"], self.tickets.learned)
