"""Training steps of a task whose units compete: with sampled winners only, or with all units times a soft sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitlearn import streams
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import interval
from bitlearn.continual.settings import setting
from bitlearn.nn.competition import posterior
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.nn.narrow import Places, Ticket, competing_weights, competitions, input_competition, narrow, places_of
from bitlearn.rng import Key
from bitlearn.training.step import Trainer


@dataclass(frozen=True)
class CompetingOptions(Options):
    """Options of methods whose units compete for each task."""

    competing: float = setting(
        0.2,
        "The fraction of a task's steps in which units compete. In the others only the winners are trained.",
        interval("[0, 1)"),
    )
    posterior: Literal["free", "response"] = setting(
        "free",
        "Where a task's posterior comes from: learned logits, or how units respond to the task's examples when "
        "it starts.",
    )
    losers: Literal["masked", "scaled"] = setting(
        "masked",
        "With soft samples, what happens to gradients of losing units' weights: they are stopped, or all gradients are "
        "multiplied by the probability that their unit wins.",
    )
    cooling: float = setting(
        1.0,
        "The fraction of the temperature of soft samples that is left at the end of a task; it falls by the same "
        "factor in each step. 1 keeps it constant.",
        interval("(0, 1]"),
    )


class Competing:
    """The steps of a task of ``task-wta``.

    Parameters
    ----------
    model : Model
        The whole network.
    held : dict of str to ndarray of bool
        Which weights of competing units must not change.
    options : CompetingOptions
    index : int
        The task's index.
    steps : int
        The number of its training steps.

    Attributes
    ----------
    network : Model
        The network that is trained.
    """

    network: Model

    def __init__(self, model: Model, held: Arrays, options: CompetingOptions, index: int, steps: int):
        self.model, self.all_held, self.options, self.index = model, held, options, index
        self.competitions: dict[str, Any] = competitions(model)
        self.steps, self.until = steps, round(options.competing * steps)

    def likeliest(self) -> dict[str, np.ndarray]:
        """Return the most probable units under the posterior."""
        return {name: layer.winners(self.index) for name, layer in self.competitions.items()}

    def draw(self, trainer: Trainer) -> None:
        """Draw the noise of a step."""
        key = Key(self.options.seed, trainer.steps, streams.COMPETITION)
        for layer in self.competitions.values():
            layer.draw(key)

    def prepare(self, trainer: Trainer, step: int) -> None:
        """Prepare a step."""
        raise NotImplementedError

    def stop(self, name: str, gradient: np.ndarray) -> None:
        """Remove, in place, the part of a weight's gradient that must not be learned."""
        raise NotImplementedError

    def finish(self) -> dict[str, np.ndarray]:
        """Write everything learned to the whole network, and return the winners."""
        raise NotImplementedError


class Soft(Competing):
    """All units take part, each multiplied by its share of a soft sample; the most probable are the winners in the end.

    Gradients of weights are multiplied by the posterior of their unit (``losers="scaled"``), or stopped except for the
    k most probable units of each block, where k falls from all to 1 while units compete (``"masked"``).
    """

    def __init__(self, model: Model, held: Arrays, options: CompetingOptions, index: int, steps: int):
        super().__init__(model, held, options, index, steps)
        self.network, self.weights = model, competing_weights(model)
        self.temperatures = {name: layer.temperature for name, layer in self.competitions.items()}
        #: The factors, one per unit, that gradients of a weight are multiplied by.
        self.factors: dict[str, np.ndarray] = {}

    def kept(self, step: int, units: int) -> int:
        """Return how many units of a block are trained."""
        return max(units - (units * step) // max(self.until, 1), 1)

    def prepare(self, trainer: Trainer, step: int) -> None:
        """Draw a sample, and find which units are trained; the optimiser's state of the others is set to 0."""
        trainer.task = self.index
        self.draw(trainer)
        for name, layer in self.competitions.items():
            layer.temperature = self.temperatures[name] * self.options.cooling ** ((step + 1) / self.steps)
        for name, path in self.weights.items():
            layer = self.competitions[path]
            logits = layer.logits[self.index]
            if self.options.losers == "scaled":
                self.factors[name] = posterior(logits).reshape(-1).astype(np.float32)
                continue
            # The most probable first; ties go to the first unit.
            rank = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1, kind="stable")
            trained = (rank < self.kept(step, layer.units)).reshape(-1)
            self.factors[name] = trained.astype(np.float32)
            for key, array in trainer.state.items():
                if key.startswith(f"{name}."):
                    array[~trained] = 0

    def stop(self, name: str, gradient: np.ndarray) -> None:
        """Multiply by the units' factors, and stop gradients of weights that are held."""
        if name.endswith(".logits") and self.options.posterior == "response":
            gradient[...] = 0
        if name in self.factors:
            gradient *= self.factors[name].reshape(-1, *[1] * (gradient.ndim - 1))
            gradient[self.all_held[name]] = 0

    def finish(self) -> dict[str, np.ndarray]:
        """Return the most probable units, and restore the temperature."""
        for name, layer in self.competitions.items():
            layer.temperature = self.temperatures[name]
        return self.likeliest()


class Sampled(Competing):
    """Trains the small network of sampled units, later of the most probable ones, copying their weights in and out."""

    def __init__(self, model: Model, held: Arrays, options: CompetingOptions, index: int, steps: int):
        super().__init__(model, held, options, index, steps)
        self.whole = model.state()
        self.winners = self.likeliest()
        self.ticket: Ticket = narrow(model, self.winners, trained=True)
        self.network = self.ticket.model
        places, state = self.ticket.places, self.ticket.model.state()
        self.small = {name: array for name, array in state.items() if name in places and name in self.whole}
        #: The competition of the network's inputs, if there is one.
        self.inputs = input_competition(model)
        self.held = {name: np.zeros(array.shape, bool) for name, array in self.small.items() if name in held}
        self.moments: Arrays = {}
        self.settled = False
        self._learn(options.posterior == "free")
        self._enter(self.winners, self.ticket.places)

    def prepare(self, trainer: Trainer, step: int) -> None:
        """Copy the units of a step into the network that is trained."""
        trainer.task = self.index
        if step < self.until:
            self.draw(trainer)
            drawn = {name: layer.sampled(self.index) for name, layer in self.competitions.items()}
            if self.inputs is not None:  # nothing is learned about inputs, so the most probable take part
                drawn[self.inputs] = self.winners[self.inputs]
            self._change(trainer, drawn)
        elif not self.settled:
            self._settle(trainer)

    def _learn(self, learns: bool) -> None:
        """Set whether the logits learn."""
        for name, layer in self.ticket.model.items():
            if name in self.winners and name != self.inputs:
                layer.learns[0] = learns  # type: ignore[attr-defined]

    def _settle(self, trainer: Trainer) -> None:
        """Use the most probable units until the end of the task; posteriors no longer change."""
        self._change(trainer, self.likeliest())
        self._learn(False)
        for name, array in trainer.state.items():
            if name.startswith(tuple(f"{each}.logits." for each in self.winners)):
                array[...] = 0
        self.settled = True

    def _change(self, trainer: Trainer, winners: dict[str, np.ndarray]) -> None:
        self._leave(trainer.state)
        self._enter(winners, places_of(self.model, winners), trainer.state)

    def _moments_of(self, state: Arrays) -> dict[str, str]:
        """Return the names of arrays in the optimiser's state, each with the parameter it belongs to."""
        found: dict[str, str] = {}
        for name in self.small:
            for key, array in state.items():
                if key.startswith(f"{name}."):
                    if key not in self.moments:
                        self.moments[key] = np.zeros(self.whole[name].shape, dtype=array.dtype)
                    found[key] = name
        return found

    def _leave(self, state: Arrays | None = None) -> None:
        """Write back what was trained; weights that are held have not changed and are not written."""
        for name, array in self.small.items():
            place = self.places[name]
            kept = self.held.get(name)
            self.whole[name][place] = array if kept is None else np.where(kept, self.whole[name][place], array)
        if state is not None:
            for key, name in self._moments_of(state).items():
                self.moments[key][self.places[name]] = state[key]

    def _enter(self, winners: dict[str, np.ndarray], places: Places, state: Arrays | None = None) -> None:
        """Copy in the weights of some units, and their optimiser state."""
        self.winners, self.places = winners, places
        self.stopped: set[str] = set()
        for name, array in self.small.items():
            array[...] = self.whole[name][places[name]]
            if name in self.held:
                self.held[name][...] = self.all_held[name][places[name]]
                if self.held[name].any():
                    self.stopped.add(name)
        if state is not None:
            for key, name in self._moments_of(state).items():
                state[key][...] = self.moments[key][places[name]]

    def stop(self, name: str, gradient: np.ndarray) -> None:
        """Stop the gradient of weights that an earlier ticket holds."""
        if name in self.stopped:
            gradient[self.held[name]] = 0

    def finish(self) -> dict[str, np.ndarray]:
        """Write back what was trained, and return the winners."""
        self._leave()
        return self.winners
