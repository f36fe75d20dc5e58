"""The diagonal of a network's Fisher information, from gradients of batches whose labels it draws itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.losses import Loss, SoftmaxCrossEntropy
from bitlearn.nn.model import Model
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.precision import Precision
from bitlearn.program import Array
from bitlearn.safetensors import Types
from bitlearn.training.gradients import Gradients


class DrawnLabels(SoftmaxCrossEntropy):
    """Cross-entropy with labels drawn from the network's own probabilities.

    Notes
    -----
    ``uniform``, in [0, 1), selects the first class at which the cumulative probability exceeds it. The examples' own
    labels are ignored.
    """

    def inputs(self, classes: int) -> Types:
        """Return the types of further inputs: a number ``uniform`` per example."""
        return {"uniform": ((), np.dtype(np.float64))}

    def record(self, step: Step, scores: Value, labels: Array, **given: Array) -> tuple[Array, Array]:
        """Record the powers of the scores, the draw, and the gradient."""
        shape = scores.array.shape
        powers, scratch = step.empty("powers", shape, np.float64), step.empty("dX", shape, np.float32)
        sums, finite = step.empty("loss", (2, step.batch), np.float64), step.finite()
        arrays = labels, scores.array, powers, sums, scratch, finite
        step.run("softmax_gradient", *arrays, check=finite, what="the scores")
        drawn = step.empty("labels", (step.batch,), np.int64)
        step.run(_draw, powers, given["uniform"], drawn)
        return super().record(step, scores, drawn)

    def gradient(
        self, step: Step, scores: Value, labels: Array, precision: Precision, **given: Array
    ) -> tuple[Gradient, Array]:
        """Record the gradient, as codes if the policy has codes; the probabilities are not rounded first."""
        return Loss.gradient(self, step, scores, labels, precision, **given)


def _draw(powers: np.ndarray, uniform: np.ndarray, drawn: np.ndarray) -> None:
    total = np.cumsum(powers, axis=1)
    drawn[...] = (total[:, :-1] <= uniform[:, None] * total[:, -1:]).sum(axis=1)


def fisher_diagonal(model: Model, batches: Iterable[tuple[Batch, np.ndarray]]) -> Arrays:
    """Return the diagonal of the Fisher information, averaged over examples.

    Parameters
    ----------
    model : Model
        Unchanged.
    batches : iterable of (ndarray or Bits, ndarray of float64)
        Inputs, at least two at a time if there are batch norms, and a random number in [0, 1) for each.

    Returns
    -------
    dict of str to ndarray of float32
        For all parameters, by ``path.parameter``.

    Notes
    -----
    With ``g_i`` the gradient of ``log p(y_i | x_i)``, ``y_i`` drawn from the network's probabilities ``p(. | x_i)``::

        F = sum over batches of (sum over i in the batch of g_i)**2 / examples

    A batch norm couples the examples of a batch, so a single pass does not give each example's own gradient. None is
    needed: for a label drawn like this, ``g_i`` has mean 0. So the mixed terms in the square of the sum have mean 0
    too, and what is left is the mean of ``g_i**2`` (the Gauss-Newton-Bartlett estimate of arXiv 2305.14342). Labels of
    the data would give another matrix (the "empirical Fisher"), and mixed terms that do not vanish.

    Gradients are those of `Gradients <bitlearn.training.Gradients>`: full under every policy, and 0 where the
    straight-through estimator stops them. Squares are added up in float64, in the order of the batches.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7]], dtype=np.int8)
    >>> found = fisher_diagonal(model, [(x, np.array([0.3, 0.6]))])
    >>> found["head1.weight"].shape, bool(found["head1.weight"].any())
    ((2, 8), True)
    """
    sums = {name: np.zeros(parameter.shape) for name, parameter in model.parameters().items()}
    examples, size = 0, 0

    def look(name: str, gradient: np.ndarray) -> None:
        sums[name] += np.square(gradient.astype(np.float64) * size)

    gradients = Gradients(model, DrawnLabels(), look)
    for x, uniform in batches:
        size = len(uniform)
        examples += size
        gradients(x, np.zeros(size, dtype=np.int64), {"uniform": uniform})
    return {name: (total / max(examples, 1)).astype(np.float32) for name, total in sums.items()}
