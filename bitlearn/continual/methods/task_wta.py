"""Task winner-takes-all: units compete for each task, and the winners are a small network that is trained alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.methods.ticketed import Ticketed
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.steps import TaskTraining
from bitlearn.continual.tickets import Tickets
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays
from bitlearn.nn.narrow import Places, Ticket, competitions, narrow, places_of
from bitlearn.rng import Key
from bitlearn.serialization import under, within
from bitlearn.training.loop import steps_in_epoch
from bitlearn.training.step import Trainer


class TaskWta(Ticketed):
    """Let the units of each block compete for a task, then train the winners.

    Notes
    -----
    arXiv 2407.10758, whose code is not public. A step of the first `Options.competing` of a task's steps draws one unit
    of each block by the task's posterior, and trains the small dense network of these; the posterior learns from it.
    Then the likeliest unit of each block is the winner, and the others have no part any more. What a losing unit would
    have given is never computed: all products are those of the small network, forward and backward.

    Weights of units that compete are shared by the tickets. Batch norms and the head are each ticket's own. With
    `Options.protect` a weight that an earlier ticket holds keeps its value, to the bit, and so do that ticket's
    predictions. Where all units of a block have won before, a new task still chooses among them, and trains its own
    arrays and the weights between units that no ticket holds together. `free` tells how many units are left.
    """

    name = "task-wta"

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        model = networks.model
        self.competitions = competitions(model)
        if not self.competitions:
            raise ValueError(f"{self.name} must have a model whose units compete, got {', '.join(model.names)}")
        self.tickets = Tickets(model)
        state = model.state()
        #: Weights that a ticket holds.
        self.held = {name: np.zeros(state[name].shape, dtype=bool) for name in sorted(self.tickets.shared)}
        self._fresh = {name: state[name].copy() for name in self.tickets.own}
        self.transforms = (self._spare,)
        self._training: _Competing | None = None

    # --- a task ---

    def begin(self, index: int, train: Examples) -> None:
        """Begin with a posterior for the task, and with arrays of its own as they were drawn."""
        self.tickets.check(index)
        state = self.networks.model.state()
        for name, array in self._fresh.items():
            state[name][...] = array
        for name, layer in self.competitions.items():
            layer.logits[index] = np.where(self.tickets.won(name) > 0, np.float32(self.options.reuse), np.float32(0))

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Train the network of the units that are drawn, then that of the winners."""
        made = self._training = _Competing(self, index, len(train))
        plain = self.plain_training(train)
        return TaskTraining(made.ticket.model, plain.count, plain.batch_size, plain.batch, made.prepare)

    def finish(self, index: int, train: Examples) -> None:
        """Keep the ticket, and hold its weights where they are protected."""
        assert self._training is not None
        winners = self._training.finish()
        cut = self.tickets.put(index, winners, self.networks.model.state())
        if self.options.protect:
            for name in self.held:
                self.held[name][cut.places[name]] = True
        self._training = None
        super().finish(index, train)

    def _spare(self, name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        """Stop the gradient of weights that an earlier ticket holds."""
        made = self._training
        if made is not None and name in made.held:
            gradient[made.held[name]] = 0

    # --- what is kept ---

    def frozen(self, task: int) -> Frozen:
        """Return the inference form of a ticket."""
        return self.tickets.network(task).freeze()

    @property
    def free(self) -> dict[str, int]:
        """How many units of each competition have never won."""
        return {name: int((self.tickets.won(name) == 0).sum()) for name in self.competitions}

    @property
    def kept_bytes(self) -> int:
        """The bytes of all tickets, and of a bit for each weight that may be held."""
        tickets = sum(self.tickets.ticket(task).nbytes for task in self.tickets.learned)
        return tickets + (sum(-(-held.size // 8) for held in self.held.values()) if self.options.protect else 0)

    @property
    def report(self) -> dict[str, Any]:
        """Which unit of each block won each task, the bytes of each ticket, and how many units are left."""
        learned, stored = self.tickets.learned, self.networks.model.inference()
        paths = {name.rpartition(".")[0] for name in self.tickets.shared}
        return {
            "winners": {name: found[learned].tolist() for name, found in self.tickets.winners.items()},
            "units": {name: layer.units for name, layer in self.competitions.items()},
            "free": self.free,
            "ticket_bytes": [self.tickets.ticket(task).nbytes for task in learned],
            "network_bytes": [self.predictor_of(task).nbytes for task in learned],
            "shared_bytes": sum(array.nbytes for name, array in stored.items() if name.rpartition(".")[0] in paths),
        }

    def arrays(self) -> Arrays:
        """Return the tickets, and which weights are held."""
        return self.tickets.arrays() | under("held.", self.held)

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave."""
        self.tickets.restored({name: each for name, each in arrays.items() if not within("held.", {name: each})})
        super().restore(arrays)
        self._frozen.clear()


class _Competing:
    """The steps of a task: which units are in the network that is trained, and what they bring and take.

    Parameters
    ----------
    method : TaskWta
    index : int
        The task's number.
    examples : int
        How many it has.
    """

    def __init__(self, method: TaskWta, index: int, examples: int):
        self.method, self.index, options = method, index, method.options
        self.whole = method.networks.model.state()
        steps = steps_in_epoch(examples, options.batch_size) * options.epochs
        self.until = round(options.competing * steps)
        self.winners = self._likeliest()
        self.ticket: Ticket = narrow(method.networks.model, self.winners, trained=True)
        self.small = {name: array for name, array in self.ticket.model.state().items() if name in self.ticket.places}
        self.held = {name: np.zeros(array.shape, bool) for name, array in self.small.items() if name in method.held}
        self.moments: Arrays = {}
        self.settled = False
        self._enter(self.winners, self.ticket.places)

    def _likeliest(self) -> dict[str, np.ndarray]:
        return {name: layer.winners(self.index) for name, layer in self.method.competitions.items()}

    def prepare(self, trainer: Trainer, step: int) -> None:
        """Bring the units of a step into the network that is trained."""
        trainer.task = self.index
        if step < self.until:
            key = Key(self.method.options.seed, trainer.steps, streams.COMPETITION)
            for layer in self.method.competitions.values():
                layer.draw(key)
            drawn = {name: layer.sampled(self.index) for name, layer in self.method.competitions.items()}
            self._change(trainer, drawn)
        elif not self.settled:
            self._settle(trainer)

    def _settle(self, trainer: Trainer) -> None:
        """Have the likeliest units in the network to the end of the task; posteriors stay as they are."""
        self._change(trainer, self._likeliest())
        for name, layer in self.ticket.model.items():
            if name in self.winners:
                layer.learns[0] = 0  # type: ignore[attr-defined]
        for name, array in trainer.state.items():
            if name.startswith(tuple(f"{each}.logits." for each in self.winners)):
                array[...] = 0
        self.settled = True

    def _change(self, trainer: Trainer, winners: dict[str, np.ndarray]) -> None:
        self._leave(trainer.state)
        self._enter(winners, places_of(self.method.networks.model, winners), trainer.state)

    def _moments_of(self, state: Arrays) -> dict[str, str]:
        """Return what an optimiser keeps, by its name there, each with the array that it is of."""
        found: dict[str, str] = {}
        for name in self.small:
            for key, array in state.items():
                if key.startswith(f"{name}."):
                    if key not in self.moments:
                        self.moments[key] = np.zeros(self.whole[name].shape, dtype=array.dtype)
                    found[key] = name
        return found

    def _leave(self, state: Arrays | None = None) -> None:
        """Write what was trained back; a weight that is held has not changed, and is not written."""
        for name, array in self.small.items():
            place = self.places[name]
            kept = self.held.get(name)
            self.whole[name][place] = array if kept is None else np.where(kept, self.whole[name][place], array)
        if state is not None:
            for key, name in self._moments_of(state).items():
                self.moments[key][self.places[name]] = state[key]

    def _enter(self, winners: dict[str, np.ndarray], places: Places, state: Arrays | None = None) -> None:
        """Take up the weights of some units, and what the optimiser knows of them."""
        self.winners, self.places = winners, places
        for name, array in self.small.items():
            array[...] = self.whole[name][places[name]]
            if name in self.held:
                self.held[name][...] = self.method.held[name][places[name]]
        if state is not None:
            for key, name in self._moments_of(state).items():
                state[key][...] = self.moments[key][places[name]]

    def finish(self) -> dict[str, np.ndarray]:
        """Write back what was trained, and return the winners."""
        self._leave()
        return self.winners
