"""Arguments of the products of gradients with bits."""

from __future__ import annotations

import numpy as np
from cases import CONVOLUTIONS, GRADIENT_TYPES, GRADIENTS, UNIT, bits
from cases import gradient as whole_gradient
from guards import filled
from making import operands
from operands_products import geometry, images, kernels

from bitlearn.bits import WORD, words_for

_SUMS = {np.int8: np.int32, np.int16: np.int64, np.float32: np.float32}


def gradient(rng, dtype, *shape: int) -> np.ndarray:
    """A gradient; half of those of int8 of four bits, which some variants take in another way."""
    values = whole_gradient(rng, dtype, *shape)
    return values // 19 if dtype == np.int8 and rng.random() < 0.5 else values


def _start(rng, dtype, *shape: int) -> np.ndarray:
    """What the accumulating kernels add to."""
    return (rng.integers(-1000, 1000, size=shape) * (UNIT if dtype == np.float32 else 1)).astype(_SUMS[dtype])


def _limits(rng, dtype, k: int) -> np.ndarray:
    """Thresholds of gradients: near zero, where the sums are, and out of reach."""
    threshold = rng.integers(-300, 300, size=k) * (UNIT if dtype == np.float32 else 1)
    threshold[rng.random(k) < 0.1] = 2**62
    threshold[rng.random(k) < 0.1] = -(2**62)
    return threshold.astype(np.float32 if dtype == np.float32 else np.int64)


def _some_of(rng, k: int) -> tuple[int, int]:
    """Return how many channels a gradient has, k of them wanted, and the first of those."""
    first = int(rng.integers(0, 3))
    return first + k + int(rng.integers(0, 3)), first


@operands(GRADIENTS, GRADIENT_TYPES)
def grad_input(rng, size, dtype):
    m, k, n = size
    return gradient(rng, dtype, m, k), bits(rng, k, n), n, filled((m, n), _SUMS[dtype])


@operands(GRADIENTS, GRADIENT_TYPES)
def grad_weight(rng, size, dtype):
    m, k, n = size
    channels, first = _some_of(rng, k)
    return gradient(rng, dtype, m, channels), bits(rng, m, n), n, first, True, _start(rng, dtype, k, n)


@operands(GRADIENTS, GRADIENT_TYPES)
def grad_weight_sign(rng, size, dtype):
    m, k, n = size
    channels, first = _some_of(rng, k)
    inputs = gradient(rng, dtype, m, channels), bits(rng, m, n), n, first
    return *inputs, _limits(rng, dtype, k), bits(rng, k, n), filled((k, words_for(n)), WORD)


@operands(CONVOLUTIONS, GRADIENT_TYPES)
def conv2d_grad_input(rng, case, dtype):
    g, out = (
        gradient(rng, dtype, case.batch, *case.out, case.k),
        filled((case.batch, *case.image, case.n), _SUMS[dtype]),
    )
    return g, kernels(rng, case), case.n, case.stride, case.padding, out


@operands(CONVOLUTIONS, GRADIENT_TYPES)
def conv2d_grad_weight(rng, case, dtype):
    channels, first = _some_of(rng, case.k)
    g = gradient(rng, dtype, case.batch, *case.out, channels)
    out = _start(rng, dtype, case.k, *case.kernel, case.n)
    return g, images(rng, case), *geometry(rng, case), first, True, out


@operands(CONVOLUTIONS, GRADIENT_TYPES)
def conv2d_grad_weight_sign(rng, case, dtype):
    channels, first = _some_of(rng, case.k)
    g, mask = gradient(rng, dtype, case.batch, *case.out, channels), kernels(rng, case)
    inputs = g, images(rng, case), *geometry(rng, case), first
    return *inputs, _limits(rng, dtype, case.k), mask, filled(mask.shape, WORD)
