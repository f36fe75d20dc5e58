"""Arguments of the products and convolutions of bits that have thresholds or windows."""

from __future__ import annotations

import numpy as np
from cases import CONVOLUTIONS, PRODUCTS, Conv, bits, thresholds
from guards import filled
from making import operands, panels

from bitlearn.bits import WORD, words_for

_SUMS = (np.int16, np.int32, np.float32)


@operands(PRODUCTS)
def xnor_matmul_sign(rng, size, dtype):
    m, k, n = size
    return bits(rng, m, n), bits(rng, k, n), n, thresholds(rng, k), filled((m, words_for(k)), WORD)


@operands(PRODUCTS)
def xnor_matmul_sign_panels(rng, size, dtype):
    a, b, *rest = xnor_matmul_sign(rng, size, dtype)
    return a, panels(b), *rest


def images(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.batch, *case.image, case.n)


def kernels(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.k, *case.kernel, case.n)


def geometry(rng, case: Conv) -> tuple:
    return case.n, case.stride, case.padding, int(rng.integers(-1, 2))


@operands(CONVOLUTIONS, _SUMS)
def xnor_conv2d(rng, case, dtype):
    out = filled((case.batch, *case.out, case.k), dtype)
    return images(rng, case), kernels(rng, case), *geometry(rng, case), out


@operands(CONVOLUTIONS)
def xnor_conv2d_sign(rng, case, dtype):
    out = filled((case.batch, *case.out, words_for(case.k)), WORD)
    return images(rng, case), kernels(rng, case), *geometry(rng, case), thresholds(rng, case.k), out


@operands(CONVOLUTIONS, _SUMS)
def xnor_conv2d_panels(rng, case, dtype):
    x, w, *rest = xnor_conv2d(rng, case, dtype)
    return x, panels(w), case.kernel, *rest


@operands(CONVOLUTIONS)
def xnor_conv2d_sign_panels(rng, case, dtype):
    x, w, *rest = xnor_conv2d_sign(rng, case, dtype)
    return x, panels(w), case.kernel, *rest
