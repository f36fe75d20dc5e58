"""Stochastic gradient descent on weights that are kept in a few bits (arXiv 2401.09916), and its mended form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bitlearn.errors import by_name
from bitlearn.nn.gradients import largest_code, scale_of
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.optim.rule import Optimizer, Updates, as_matrix, live, positive
from bitlearn.precision import Precision
from bitlearn.program import Array

#: How many times the rate of real parameters that of latent weights is, by rule; the published rule has one for all.
_FACTORS = {"mended": 3000.0, "paper": 1.0}
_RATE = 0.03
_ONE, _NO_KEY = np.ones(1), np.empty(0, dtype=np.uint32)


@dataclass(frozen=True)
class QuantizedSGD(Optimizer):
    """Stochastic gradient descent without momentum, on weights kept in a few bits.

    Parameters
    ----------
    learning_rate, binary_factor : float, optional
    rule : {"mended", "paper"}
        As for `quantized_sgd`, which checks them.

    Notes
    -----
    With Q rounding to the codes of the latent weights, at random or to nearest, and G the gradient of the mean loss::

        "mended"    W <- clip(Q(W - rate G), -1, 1)             at random
        "paper"     W <- clip(Q(sgn(W) - rate G), -1, 1)        to nearest, ties to even

    Floating-point latent weights are clipped but not rounded. Real weights become ``Q(W - rate G)``, as wide as the
    policy's gradient, with a scale set by the largest magnitude; under "mended" the scale is a power of two, so that a
    weight whose gradient is 0 does not change. Biases of a batch norm are float32 under either.
    """

    learning_rate: float | None = None
    rule: Literal["mended", "paper"] = "mended"
    binary_factor: float | None = None
    moments = ()
    kernel = "quantized_update"
    types = ("float32", "int8", "int16")

    def rate(self, precision: Precision) -> float:
        """Return the learning rate of real parameters; 0.03 if none was given."""
        return _RATE if self.learning_rate is None else self.learning_rate

    def numbers(self, step: int, learning_rate: float, factor: np.float32) -> tuple[float | np.float32, ...]:
        """Return the factor of the gradient and the rate."""
        return factor, learning_rate

    def record(
        self,
        updates: Updates,
        name: str,
        gradient: ParameterGradient,
        parameter: np.ndarray | Array,
        state: Mapping[str, np.ndarray | Array],
    ) -> None:
        """Record the update of a parameter, and where it is real how it is rounded."""
        step, integer = updates.step, parameter.dtype.kind == "i"
        binary = integer or name in updates.binary
        times = _FACTORS[self.rule] if self.binary_factor is None else self.binary_factor
        factor = self.attenuation(gradient) * np.float32(times if binary else 1)
        scale = step.constant(_ONE) if gradient.scale is None else gradient.scale
        rows = scale.shape[0] if scale.shape[0] > 1 else None
        weight, signs = as_matrix(live(step, parameter, "W"), rows), binary and self.rule == "paper"
        limit = np.iinfo(parameter.dtype).max if integer else int(binary)
        numbers, values = updates.numbers(self, factor), as_matrix(gradient.values, rows)
        key = self._key(updates) if integer else step.constant(_NO_KEY)
        step.run(self.kernel, values, scale, numbers, int(signs), limit, key, 0, weight)
        bits = None if updates.precision is None else updates.precision.gradient_bits
        if not binary and bits is not None and len(parameter.shape) > 1:
            self._round(step, weight, largest_code(bits), self._key(updates))

    def _key(self, updates: Updates) -> Array:
        """Return a key of random bits where the rule rounds at random, else none."""
        return updates.key() if self.rule == "mended" else updates.step.constant(_NO_KEY)

    def _round(self, step: Step, weight: Array, limit: int, key: Array) -> None:
        """Record that real weights are rounded in their place."""
        peaks, scale = step.empty("scales", (len(weight),), np.float64), scale_of(step)
        step.run("peaks", weight, peaks)
        # Weights that are not finite are found, and named, by the product that takes them next.
        step.run("quantize_step", peaks, limit, scale, step.finite())
        step.run("round_weights", scale, limit, int(self.rule == "mended"), key, 0, weight)


def quantized_sgd(
    learning_rate: float | None = None,
    rule: Literal["mended", "paper"] = "mended",
    *,
    binary_factor: float | None = None,
) -> QuantizedSGD:
    """Return stochastic gradient descent on weights kept in a few bits (arXiv 2401.09916).

    Parameters
    ----------
    learning_rate : float, optional
        The rate of real parameters; above 0. By default 0.03.
    rule : {"mended", "paper"}
        How a binary weight is updated: from the latent weight, with random rounding; or, as published, from its sign,
        to nearest, so that it flips only if the change is about 1 in a single step.
    binary_factor : float, optional
        The factor from the learning rate to that of latent weights; above 0. Their gradients, those of a mean loss
        after batch norms, are small: by default it is 3000 under "mended". The published rule has one rate for all: 1.

    Returns
    -------
    QuantizedSGD

    Raises
    ------
    ValueError, TypeError
        If a number is out of its range, or there is no such rule.

    Examples
    --------
    >>> import bitlearn as bl
    >>> policy = bl.precision.dual(8, 16, latent_bits=8)
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real", precision=policy)
    >>> trainer = bl.training.Trainer(model, bl.optim.quantized_sgd())
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7]], dtype=np.int8)
    >>> trainer.step(x, np.array([0, 1]), 0.1) > 0, model["linear1"].weight.dtype
    (True, dtype('int8'))
    """
    if learning_rate is not None:
        positive("learning_rate", learning_rate)
    if binary_factor is not None:
        positive("binary_factor", binary_factor)
    by_name("rule", rule, _FACTORS)
    return QuantizedSGD(learning_rate, rule, binary_factor)
