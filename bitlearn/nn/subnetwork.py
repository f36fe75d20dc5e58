"""Real layers of which each task has a subnetwork: the weights with the highest scores (WSN, ICML 2022)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.nn.layer import Arrays, register, uniform_weights
from bitlearn.nn.real_conv import Conv2d
from bitlearn.nn.real_linear import RealLinear
from bitlearn.nn.real_weights import RealWeights
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops.conv import Padding, Pair
from bitlearn.precision import Precision
from bitlearn.rng import Key
from bitlearn.safetensors import Types


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return where the largest magnitudes stand, bool; the first ones where several are as large.

    Examples
    --------
    >>> largest(np.array([[1.0, -3.0, 2.0]], dtype=np.float32), 2)
    array([[False,  True,  True]])
    """
    size = np.abs(scores).reshape(-1)
    limit = np.partition(size, len(size) - count)[len(size) - count]
    found = size > limit
    found[np.flatnonzero(size == limit)[: count - np.count_nonzero(found)]] = True
    return found.reshape(scores.shape)


class Subnetwork(RealWeights):
    """What layers of subnetworks share: the scores, and the choice that they make."""

    selects = True
    share: float
    scores: np.ndarray

    def bind(self, spec: Spec, precision: Precision, index: int) -> int:
        """Receive the type of the input, under the policy ``standard``."""
        if precision.integer:
            raise ValueError(f"a layer of subnetworks must have precision 'standard', got {precision.name!r}")
        return super().bind(spec, precision, index)

    @property
    def count(self) -> int:
        """How many weights are used; at least one."""
        return max(1, round(self.share * math.prod(self.weight_shape)))

    def build(self, seed: int) -> None:
        """Draw the weights and the scores, from two streams of its own."""
        super().build(seed)
        key = Key(seed, stream=streams.SCORES + self.index)
        self.scores = uniform_weights(self.weight_shape, np.dtype(np.float32), key)

    def parameters(self) -> Arrays:
        """Return weights and scores."""
        return {"weight": self.weight, "scores": self.scores}

    def state_types(self) -> Types:
        """Return the types of weights and scores."""
        return dict.fromkeys(("weight", "scores"), (self.weight_shape, np.dtype(np.float32)))

    @property
    def mask(self) -> np.ndarray:
        """Which weights are used, bool."""
        return largest(self.scores, self.count)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the choice, and the product with the chosen weights."""
        count, shape = self.count, self.weight.shape
        used, weight = step.empty("mask", shape, np.uint8), step.empty("W used", shape, np.float32)

        def choose(scores: np.ndarray, weight: np.ndarray, used: np.ndarray, out: np.ndarray) -> None:
            used[...] = largest(scores, count)
            np.multiply(weight, used, out=out)

        step.run(choose, step.constant(self.scores, "scores"), step.constant(self.weight, "W"), used, weight)
        y, values = self._result(step, x.array, weight)
        return y, (values, used, weight)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradients of weights and scores, and dX."""
        (x, used, weight), grad = cache, grad.kept()
        full, of_scores = self._weight_sums(step, grad, x), step.empty("dscores", self.weight.shape, np.float32)
        result = self._input_gradient(step, grad, weight) if wanted and self.spec.kind == "real" else None
        step.run(_split, used, step.constant(self.weight, "W"), step.constant(self.scores, "scores"), full, of_scores)
        step.gradient("weight", ParameterGradient(full, fan_in=self.fan_in))
        step.gradient("scores", ParameterGradient(of_scores, fan_in=self.fan_in))
        return result

    def inference(self) -> Arrays:
        """Return the weights, 0 where they are not used."""
        return {"weight": self.weight * self.mask}


@register
class SubnetworkLinear(Subnetwork, RealLinear):
    """A `RealLinear` layer that uses only some of its weights: the fraction with the largest scores.

    Parameters
    ----------
    outputs : int
    share : float
        In (0, 1]: the fraction of the weights that is used.

    Attributes
    ----------
    weight, scores : ndarray of float32, shape (outputs, inputs)

    Notes
    -----
    Winning subnetworks (Kang et al., ICML 2022). ``Y = X (W * m)^T``, with m 1 where ``|scores|`` is among the largest.
    With D the gradient of ``W * m``, that of the weights is ``D * m``, and that of the scores ``D * W * sign(scores)``:
    the estimator passes it straight through the choice. It requires the policy ``standard``.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.SubnetworkLinear(1, share=0.5)], (2,))
    >>> model["linear1"].weight[...], model["linear1"].scores[...] = [[1.0, -0.5]], [[0.1, -0.2]]
    >>> model.apply(np.array([[64, 64]], dtype=np.int8))
    array([[-0.25]], dtype=float32)
    """

    def __init__(self, outputs: int, *, share: float = 0.1):
        super().__init__(outputs)
        self.share = _checked(share)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"outputs": self.outputs, "share": self.share}

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example, without those by 0."""
        return 0, self.count


@register
class SubnetworkConv2d(Subnetwork, Conv2d):
    """A `Conv2d` layer that uses only some of its weights: the fraction with the largest scores.

    Parameters
    ----------
    filters : int
        Output channels.
    share : float
        In (0, 1]: the fraction of the weights of all kernels that is used.
    kernel, stride, padding
        As `Conv2d`.

    Attributes
    ----------
    weight, scores : ndarray of float32, shape (filters, kh, kw, channels)

    Notes
    -----
    As `SubnetworkLinear`: a score per weight of a kernel, the same choice at every position.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.SubnetworkConv2d(8, share=0.25)], (6, 6, 3))
    >>> model.output_shape, int(model["conv1"].mask.sum()), model["conv1"].weight.size
    ((6, 6, 8), 54, 216)
    """

    def __init__(
        self,
        filters: int,
        *,
        share: float = 0.1,
        kernel: tuple[int, int] = (3, 3),
        stride: Pair = 1,
        padding: Padding = "same",
    ):
        super().__init__(filters, kernel=kernel, stride=stride, padding=padding)
        self.share = _checked(share)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().settings() | {"share": self.share}

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example, without those by 0."""
        return 0, self.count * math.prod(self.windows.out_size)


def _checked(share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    return float(share)


def _split(used: np.ndarray, weight: np.ndarray, scores: np.ndarray, full: np.ndarray, of_scores: np.ndarray) -> None:
    np.multiply(full, weight, out=of_scores)
    of_scores *= np.sign(scores)
    full *= used
