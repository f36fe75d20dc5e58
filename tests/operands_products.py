"""Arguments of the products and convolutions of bits that have thresholds or windows."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from cases import CONVOLUTIONS, PRODUCTS, Conv, bits, thresholds
from guards import filled
from making import operands, panels

from bitlearn.bits import WORD, words_for

#: Whether the right operand is laid out as panels.
_LAYOUTS = (False, True)


def laid_out(words: np.ndarray, in_panels: bool) -> np.ndarray:
    """Return rows or kernels as the right operand of a product."""
    return panels(words) if in_panels else words.reshape(len(words), math.prod(words.shape[1:]))


@operands(PRODUCTS, _LAYOUTS)
def xnor_matmul_sign(rng, size, dtype):
    m, k, n = size
    b = laid_out(bits(rng, k, n), dtype)
    return bits(rng, m, n), b, n, thresholds(rng, k), filled((m, words_for(k)), WORD)


def images(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.batch, *case.image, case.n)


def kernels(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.k, *case.kernel, case.n)


def geometry(rng, case: Conv) -> tuple:
    return case.n, case.stride, case.padding, int(rng.integers(-1, 2))


@operands(CONVOLUTIONS, tuple(product(_LAYOUTS, (np.int16, np.int32, np.float32))))
def xnor_conv2d(rng, case, dtype):
    out = filled((case.batch, *case.out, case.k), dtype[1])
    return images(rng, case), laid_out(kernels(rng, case), dtype[0]), case.kernel, *geometry(rng, case), out


@operands(CONVOLUTIONS, _LAYOUTS)
def xnor_conv2d_sign(rng, case, dtype):
    w, out = laid_out(kernels(rng, case), dtype), filled((case.batch, *case.out, words_for(case.k)), WORD)
    return images(rng, case), w, case.kernel, *geometry(rng, case), thresholds(rng, case.k), out
