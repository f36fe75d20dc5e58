"""Arguments of the kernels of moments in 8 bits and of powers of two, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import MATRICES
from making import operands


@operands(MATRICES, (np.int8, np.uint8))
def load_moments(rng, size, dtype) -> tuple:
    rows, n = size
    codes = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, size=size).astype(dtype)
    scale = np.exp(rng.uniform(-20, 3, size=rows)).astype(np.float32)
    return codes, scale, np.empty((rows, n), np.float32)


@operands(MATRICES, (np.int8, np.uint8))
def store_moments(rng, size, dtype) -> tuple:
    """Rows of many magnitudes, of zeros, and of values from far below a code on; squares are 0 or more."""
    rows = size[0]
    values = rng.normal(size=size) * 10.0 ** rng.integers(-9, 3, size=(rows, 1))
    values[rng.random(size) < 0.2] *= 1e-6
    values[rng.random(size) < 0.1] = 0
    values[rng.random(rows) < 0.2] = 0
    found = (values**2 if dtype == np.uint8 else values).astype(np.float32)
    key = rng.integers(0, 2**32, size=4, dtype=np.uint32)
    return found, key, int(rng.integers(0, 7)), np.empty(size, dtype), np.empty(rows, np.float32)


@operands(MATRICES)
def powers_of_two(rng, size, dtype) -> tuple:
    """All magnitudes alike, and those next to where the exponent changes."""
    x = np.round(2.0 ** rng.uniform(0, 15, size=size)) * rng.choice([-1, 1], size=size)
    x[rng.random(size) < 0.1] = 0
    return (np.clip(x, -32767, 32767).astype(np.int16),)
