"""Arguments of the kernels on whole arrays, and of the loss, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import GRADIENT_TYPES, MATRICES, bits, gradient, integers, reals
from guards import filled
from making import operands

from bitlearn.bits import WORD, words_for

#: (type, whether all is finite)
FINITE = tuple((kind, finite) for kind in (np.float16, np.float32) for finite in (False, True))
CLIPS = (1.0, 0.1, np.inf)


@operands(MATRICES)
def cast(rng, size, dtype):
    return rng.integers(-(2**15), 2**15, size=size).astype(np.int32), filled(size, np.int16)


@operands(MATRICES, FINITE)
def all_finite(rng, size, dtype):
    kind, finite = dtype
    x = reals(rng, kind, *size)
    return np.where(np.isfinite(x), x, np.finfo(kind).max) if finite else x, filled((1,), np.uint8)


@operands(MATRICES, FINITE)
def pack_finite(rng, size, dtype):
    x, finite = all_finite(rng, size, dtype)
    x[rng.random(size) < 0.05] = -0.0
    return x, filled((size[0], words_for(size[1])), WORD), finite


@operands(MATRICES, GRADIENT_TYPES)
def mask_gradient(rng, size, dtype):
    d = reals(rng, dtype, *size) if dtype == np.float32 else integers(rng, dtype, *size)
    return d, bits(rng, *size), filled(size, dtype)


@operands(MATRICES, CLIPS)
def sign_values(rng, size, dtype):
    x = reals(rng, np.float32, *size)
    for special in (dtype, -dtype, np.nextafter(np.float32(dtype), np.float32(np.inf))):
        x[rng.random(size) < 0.05] = special
    return x, dtype, *(filled((size[0], words_for(size[1])), WORD) for _ in range(2))


@operands(MATRICES, GRADIENT_TYPES)
def approximate_sign_gradient(rng, size, dtype):
    x = reals(rng, np.float32, *size)
    x[np.isfinite(x) & (np.abs(x) > 10)] = 1  # twice the largest float is none
    return gradient(rng, dtype, *size), np.exp(rng.normal(size=1)), x, filled(size, np.float32)


@operands(MATRICES)
def softmax_gradient(rng, size, dtype):
    rows, classes = size[0], max(size[1], 1)
    scores = (rng.normal(size=(rows, classes)) * rng.choice([1.0, 30.0, 1e3])).astype(np.float32)
    labels = rng.integers(0, classes, size=rows)
    results = filled((2, rows), np.float64), filled((rows, classes), np.float32), filled((1,), np.uint8)
    return labels, scores, filled((rows, classes), np.float64), *results


@operands(MATRICES, (255, 65535))
def probability_gradient(rng, size, dtype):
    """Probabilities from 0 to 1, and halves of a level."""
    rows, classes = size[0], max(size[1], 1)
    powers = rng.random((rows, classes)) ** rng.integers(1, 9, size=(rows, 1))
    terms = np.stack([powers.sum(axis=1) if rng.random() < 0.7 else np.full(rows, 2.0 * dtype), np.zeros(rows)])
    if rows and terms[0, 0] == 2 * dtype:
        powers = rng.integers(0, 2 * dtype, size=powers.shape) * 1.0  # ties
    labels = rng.integers(0, classes, size=rows)
    return labels, powers, terms, dtype, filled((rows, classes), np.int32)
