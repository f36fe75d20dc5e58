"""The gradients of a network's parameters, computed without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.ops.dispatch import chosen
from bitlearn.optim import transforms
from bitlearn.program import Program
from bitlearn.threads import get_num_threads
from bitlearn.training.step import NOTHING_ELSE, Passes, checked, record_passes


class Gradients:
    """The passes of a training step without its update: parameters, running statistics and optimiser do not change.

    Parameters
    ----------
    model : Model
        Batch norms use the statistics of each batch, as in training. Whatever the policy, gradients are full and
        nothing is rounded randomly, as in `Precision.with_whole_gradients`.
    loss : Loss
    look : callable
        ``look(name, gradient)`` is called with each parameter's float32 gradient of the mean loss, 0 where the
        straight-through estimator stops it.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
    >>> seen = {}
    >>> gradients = Gradients(model, bl.nn.SoftmaxCrossEntropy(), lambda name, g: seen.update({name: g.copy()}))
    >>> loss = gradients(np.array([[100, -100, 3, 7], [-90, 80, 3, -7]], dtype=np.int8), np.array([0, 1]))
    >>> round(loss, 3), sorted(seen)
    (0.693, ['head1.weight', 'linear1.weight', 'sign1.bias'])
    """

    def __init__(self, model: Model, loss: Loss, look: Callable[[str, np.ndarray], object]):
        self.model = model.under(model.precision.with_whole_gradients())
        self.loss, self.look = loss, look
        self._programs: dict[tuple[object, ...], tuple[Program, Passes]] = {}

    def _record(self, batch: int) -> tuple[Program, Passes]:
        parameters = self.model.parameters()

        def see(name: str, gradient: ParameterGradient) -> None:
            found = transforms.apply(step, (), name, gradient, parameters[name], np.float32(1)).values
            finite, rows = step.finite(), found.reshape(1, -1)
            step.run("all_finite", rows, finite, check=finite, what=f"the gradient of {name.rpartition('.')[2]}")
            step.run(lambda values: self.look(name, values), found)

        # Lasting changes are recorded by `Step.finish`, which is never called.
        step = Step(batch, on_gradient=see, early=False, guarded=self.model.precision.integer)
        passes = record_passes(self.model, self.loss, step)
        return Program(step, self.model.arena), passes

    def __call__(self, x: Batch, y: np.ndarray, given: Mapping[str, np.ndarray] = NOTHING_ELSE) -> float:
        """Pass the gradients of a batch's mean loss to `look`.

        Parameters
        ----------
        x, y, given
            As `Trainer.step <bitlearn.training.Trainer.step>`; at least two examples if there are batch norms.

        Returns
        -------
        float
            The mean loss.

        Raises
        ------
        NonFiniteError, ValueError
            As `Trainer.step <bitlearn.training.Trainer.step>`.
        """
        values, given = checked(self.model, self.loss, x, y, given)
        key = (len(values), chosen(), get_num_threads())
        if key not in self._programs:
            self._programs[key] = self._record(len(values))
        program, passes = self._programs[key]

        def make() -> float:
            passes.write(program, values, y, given)
            program.run()
            return self.loss.value(program, passes.terms)

        return program.exclusively(make)
