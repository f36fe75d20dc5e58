"""The cost of a training step in multiply-adds and bytes, computed from its record before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn.nn.model import Model
from bitlearn.training.step import Trainer


@dataclass(frozen=True)
class StepCost:
    """The cost of a training step.

    Parameters
    ----------
    forward, input_gradient, weight_gradient : int
        Multiply-adds per example, binary and others together.
    nbytes : int
        The bytes of the step's arena, parameters, running statistics and the optimiser's state.
    update : int
        Multiply-adds per step between gradients and updates, whatever the number of examples.
    """

    forward: int
    input_gradient: int
    weight_gradient: int
    nbytes: int
    update: int = 0

    @property
    def operations(self) -> int:
        """All multiply-adds per example."""
        return self.forward + self.input_gradient + self.weight_gradient

    def of_batch(self, batch: int) -> int:
        """Return the multiply-adds of a step on this many examples."""
        return self.operations * batch + self.update


def step_cost(model: Model, trainer: Trainer, batch: int) -> StepCost:
    """Return the cost of a trainer's step.

    Parameters
    ----------
    model : Model
        The network that it trains.
    trainer : Trainer
    batch : int
        Examples per step.

    Returns
    -------
    StepCost
        A layer with n multiply-adds in the forward pass takes n more for the gradient of its weights, divided by the
        square of the patch if it filters gradients, and n more for the gradient of its input if earlier layers are
        trained.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
    >>> cost = step_cost(model, Trainer(model, bl.optim.adam()), 10)
    >>> cost.forward, cost.input_gradient, cost.weight_gradient
    (56, 24, 48)
    """
    leaves = list(model.items())
    trained = [at for at, (_, leaf) in enumerate(leaves) if leaf.parameters()]
    forward = inputs = weights = 0
    for at, (_, leaf) in enumerate(leaves):
        count = sum(leaf.operations())
        forward += count
        if trained and at > trained[0]:
            inputs += count
        if any(array.ndim > 1 for array in leaf.parameters().values()):
            weights += count // getattr(leaf, "patch", 1) ** 2
    kept = [*model.state().values(), *trainer.state.values()]
    nbytes = trainer.recorded(batch).program.nbytes + sum(array.nbytes for array in kept)
    return StepCost(forward, inputs, weights, nbytes)
