"""A loss: the squared hinge on scores of which the right one should be +1 and the others -1 (arXiv 1602.02830)."""

from __future__ import annotations

import numpy as np

from bitlearn.nn import Loss


def squared_hinge(scores, labels, terms, gradient, finite):
    """Write each example's loss and the gradient of their mean; clear `finite` where a score is not."""
    target = np.full(scores.shape, -1, dtype=np.float32)
    target[np.arange(len(labels)), labels] = 1
    margin = np.maximum(1 - target * scores, 0)
    terms[...] = (margin * margin).sum(axis=1)
    gradient[...] = -2 / len(labels) * target * margin
    finite[0] = np.isfinite(scores).all()


class SquaredHinge(Loss):
    """The mean over examples of ``sum over classes of max(0, 1 - target * score)**2``."""

    def record(self, step, scores, labels):
        gradient = step.empty("dX", scores.array.shape, np.float32)
        terms, finite = step.output("loss", (step.batch,), np.float64), step.finite()
        arrays = scores.array, labels, terms, gradient, finite
        step.run(squared_hinge, *arrays, check=finite, what="the scores")
        return gradient, terms

    def value(self, program, terms):
        return float(program[terms].mean())
