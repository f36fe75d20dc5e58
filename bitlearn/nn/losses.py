"""Losses: what a step records between the scores and the gradient that flows back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from bitlearn.errors import NonFiniteError
from bitlearn.nn.gradients import quantized, requantized
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops.dispatch import run
from bitlearn.precision import Precision
from bitlearn.program import Array, Program
from bitlearn.safetensors import Types


class Loss(ABC):
    """A loss on a batch of scores and integer labels.

    A subclass records how the gradient is computed from the scores, and returns the loss afterwards.
    """

    #: Whether its gradient is that of the whole batch where a step has a part of one: see `Step.of_all`.
    of_parts: ClassVar[bool] = False

    def inputs(self, classes: int) -> Types:
        """Return the shapes and dtypes, by name, of what comes with each example besides its label; nothing by default.

        Parameters
        ----------
        classes : int
            The number of scores of an example.
        """
        return {}

    @abstractmethod
    def record(self, step: Step, scores: Value, labels: Array, **given: Array) -> tuple[Array, Array]:
        """Record the gradient of the mean loss.

        Parameters
        ----------
        step : Step
        scores : Value
            float32, shape (batch, classes).
        labels : Array of int64, shape (batch,)
        **given : Array, shape (batch, ...)
            The arrays that `inputs` names.

        Returns
        -------
        gradient : Array of float32, shape (batch, classes)
        terms : Array
            What `value` needs, kept to the end of the step.
        """

    def gradient(
        self, step: Step, scores: Value, labels: Array, precision: Precision, **given: Array
    ) -> tuple[Gradient, Array]:
        """Record the gradient in a policy's form: the result of `record`, as codes if gradients are integers.

        Parameters
        ----------
        step, scores, labels, **given
            As for `record`.
        precision : Precision

        Returns
        -------
        gradient : Gradient
        terms : Array
        """
        real, terms = self.record(step, scores, labels, **given)
        step.phase = "backward"
        bits = precision.gradient_bits
        return Gradient(step, real, None) if bits is None else quantized(step, real, bits), terms

    @abstractmethod
    def value(self, program: Program, terms: Array) -> float:
        """Return the mean loss of the last run."""


class SoftmaxCrossEntropy(Loss):
    """``mean(log(sum(exp(scores))) - scores[label])``, in nats; its gradient is ``(softmax - onehot) / batch``."""

    of_parts = True

    def record(self, step: Step, scores: Value, labels: Array, **given: Array) -> tuple[Array, Array]:
        """Record the gradient, by an exponential that is the same on every processor."""
        grad, terms, _ = self._recorded(step, scores, labels)
        return grad, terms

    def gradient(
        self, step: Step, scores: Value, labels: Array, precision: Precision, **given: Array
    ) -> tuple[Gradient, Array]:
        """Record the gradient; if the policy gives probabilities a width, from these, which are exact integers."""
        bits = precision.probability_bits
        if bits is None:
            return super().gradient(step, scores, labels, precision, **given)
        levels = 2**bits - 1
        _, terms, powers = self._recorded(step, scores, labels)
        sums = step.empty("dX", powers.shape, np.int32)
        step.run("probability_gradient", labels, powers, terms, levels, sums)
        step.phase = "backward"
        scale = step.constant(np.array([1 / (levels * max(step.of_all(step.batch), 1))]))
        if precision.gradient_bits is not None:
            return requantized(step, sums, scale, precision.gradient_bits), terms
        grad = step.empty("dX", powers.shape, np.float32)
        step.run("scale_sums", sums, scale, grad)
        return Gradient(step, grad, None), terms

    def _recorded(self, step: Step, scores: Value, labels: Array) -> tuple[Array, Array, Array]:
        """Record the gradient; return it, the terms, and the exponentials of the scores."""
        shape = scores.array.shape
        powers, grad = step.empty("powers", shape, np.float64), step.empty("dX", shape, np.float32)
        terms, finite = step.output("loss", (2, step.batch), np.float64), step.finite()
        step.run("softmax_gradient", labels, scores.array, powers, terms, grad, finite, check=finite, what="the scores")
        if step.partial:  # the kernel divides by the rows that it has
            step.run(_softmax_gradient, labels, powers, terms, step.of_all(step.batch), grad)
        return grad, terms, powers

    def value(self, program: Program, terms: Array) -> float:
        """Return the mean cross-entropy."""
        return _mean_loss(program[terms])


class Tempered(Loss):
    """Softmax cross-entropy of scores divided by a temperature.

    Parameters
    ----------
    temperature : float
        Above 0; 1 is `SoftmaxCrossEntropy`.

    Notes
    -----
    ``mean(log(sum(exp(s / T))) - s[label] / T)``, whose gradient is ``(softmax(s / T) - onehot(label)) / (T batch)``.
    """

    def __init__(self, temperature: float):
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number above 0, got {temperature}")
        self.temperature = float(temperature)
        self._plain = SoftmaxCrossEntropy()

    def record(self, step: Step, scores: Value, labels: Array, **given: Array) -> tuple[Array, Array]:
        """Record the division, the gradient, and its division."""
        inverse, divided = np.float32(1 / self.temperature), step.empty("scores", scores.array.shape, np.float32)
        step.run(lambda x, out: np.multiply(x, inverse, out=out), scores.array, divided)
        grad, terms = self._plain.record(step, Value(step, scores.spec, divided), labels)
        step.run(lambda g: np.multiply(g, inverse, out=g), grad)
        return grad, terms

    def gradient(
        self, step: Step, scores: Value, labels: Array, precision: Precision, **given: Array
    ) -> tuple[Gradient, Array]:
        """Record the gradient as a policy needs it: that of the plain loss where the temperature is 1."""
        if self.temperature == 1:
            return self._plain.gradient(step, scores, labels, precision)
        return super().gradient(step, scores, labels, precision)

    def value(self, program: Program, terms: Array) -> float:
        """Return the mean cross-entropy."""
        return self._plain.value(program, terms)


def _softmax_gradient(labels: np.ndarray, powers: np.ndarray, terms: np.ndarray, count: int, out: np.ndarray) -> None:
    """out = (powers / terms[0] - onehot(labels)) / count, rounded to float32 once, as the kernel has it."""
    gradient = powers / terms[0][:, None]
    gradient[np.arange(len(labels)), labels] -= 1.0
    out[...] = gradient / count


def _mean_loss(terms: np.ndarray) -> float:
    # What `numpy.mean` does, without the time that it takes to find out how.
    return float(np.add.reduce(np.log(terms[0]) - terms[1]) / terms.shape[1])


def softmax_cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of a batch and its gradient with respect to the scores.

    Parameters
    ----------
    scores : ndarray of float32, shape (batch, classes)
    labels : ndarray of int, shape (batch,)
        Each in [0, classes).

    Returns
    -------
    loss : float
        ``mean(log(sum(exp(scores))) - scores[label])``, in nats.
    grad : ndarray of float32, shape (batch, classes)
        ``(softmax(scores) - onehot(labels)) / batch``.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a label is outside the classes.
    NonFiniteError
        If a score is NaN or infinite.

    Examples
    --------
    >>> loss, grad = softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 4), grad
    (0.6931, array([[ 0.5, -0.5]], dtype=float32))
    """
    labels = np.asarray(labels)
    if scores.ndim != 2 or labels.shape != (len(scores),):
        raise ValueError(f"scores (batch, classes) and labels (batch,) must fit, got {scores.shape} and {labels.shape}")
    check_labels(labels, scores.shape[1])
    real = np.ascontiguousarray(scores, dtype=np.float32)
    terms, grad, finite = np.empty((2, len(real))), np.empty(real.shape, dtype=np.float32), np.ones(1, np.uint8)
    run("softmax_gradient", (labels.astype(np.int64), real, np.empty(real.shape), terms, grad, finite), threads=1)
    if not finite[0]:
        raise NonFiniteError("the scores")
    return _mean_loss(terms), grad


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Raise ValueError where a label is outside the classes."""
    if labels.dtype == np.int64 and (not labels.size or np.maximum.reduce(labels.view(np.uint64)) < classes):
        return  # one look at them: a negative one is a very large one without its sign
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
