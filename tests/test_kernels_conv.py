"""Convolutions: every variant against the executable specification, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CONVOLUTIONS, tails_are_zero, words
from guards import around, check_exactly, filled, rivals, specified
from operands_products import laid_out

from bitlearn.bits import WORD, words_for


def operands(rng, case):
    x, w = words(rng, case.batch, *case.image, case.n), words(rng, case.k, *case.kernel, case.n)
    return (x, laid_out(w, False), case.kernel, case.n, case.stride, case.padding)


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_conv2d"))
@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_xnor_conv2d(kernel, variant, pad_value, dtype, rng):
    for case in CONVOLUTIONS:
        out = filled((case.batch, *case.out, case.k), dtype)
        check_exactly(kernel, variant, (*operands(rng, case), pad_value, out))


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_conv2d_sign"))
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_xnor_conv2d_sign(kernel, variant, pad_value, rng):
    for case in CONVOLUTIONS:
        fixed = (*operands(rng, case), pad_value)
        dots = np.zeros((case.batch, *case.out, case.k), dtype=np.int64)
        (dots,) = specified("xnor_conv2d", (*fixed, dots))
        out = filled((case.batch, *case.out, words_for(case.k)), WORD)
        assert tails_are_zero(check_exactly(kernel, variant, (*fixed, around(dots), out)), case.k)
