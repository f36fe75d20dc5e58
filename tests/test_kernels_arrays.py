"""What is done to whole arrays, and the loss: special values."""

from __future__ import annotations

import numpy as np
import pytest
from cases import integers
from guards import check_exactly, filled, results_of, rivals
from operands import OPERANDS


@pytest.mark.parametrize(("kernel", "variant"), rivals("all_finite"))
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_each_value_is_looked_at(kernel, variant, dtype):
    for beyond in (np.inf, -np.inf, np.nan):
        for at in (0, 1, 15, 16, 63, 64, 129):
            x = np.full((2, 65), np.finfo(dtype).min)
            x.flat[at] = beyond
            assert check_exactly(kernel, variant, (x.astype(dtype), filled((1,), np.uint8)))[0] == 0


@pytest.mark.parametrize(("kernel", "variant"), rivals("pack_finite"))
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_signs_of_what_is_not_finite(kernel, variant, dtype):
    for beyond in (np.inf, -np.inf, np.nan, -np.nan):
        for at in (0, 1, 15, 16, 63, 64, 129):
            x = np.full((2, 65), -0.0, dtype)
            x.flat[at] = beyond
            given = x, filled((2, 2), np.uint64), filled((1,), np.uint8)
            assert check_exactly(kernel, variant, given)[0] == 0
            words, _ = results_of(kernel, variant, given)
            assert np.bitwise_count(words).sum() == 130 - (not beyond > 0)


@pytest.mark.parametrize(("kernel", "variant"), rivals("softmax_gradient"))
@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_a_score_that_is_not_finite(kernel, variant, beyond, rng):
    for at in (0, 7, 129):
        arguments = OPERANDS[kernel].make(rng, (2, 65), None)
        arguments[1].flat[at] = beyond
        assert results_of(kernel, variant, arguments)[-1] == 0


@pytest.mark.parametrize(("kernel", "variant"), rivals("integer_product"))
def test_products_of_extremes(kernel, variant):
    g, w = np.full((2, 70), -(2**15), np.int16), np.full((70, 65), -(2**15), np.int16)
    got = check_exactly(kernel, variant, (g, w, filled((2, 65), np.int64)))
    assert (got == 70 * 2**30).all()


@pytest.mark.parametrize(("kernel", "variant"), rivals("integer_product"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_few_columns_of_many_terms(kernel, variant, dtype, rng):
    for m, k, n in ((5, 600, 10), (3, 256, 63)):
        check_exactly(
            kernel, variant, (integers(rng, dtype, m, k), integers(rng, dtype, k, n), filled((m, n), np.int64))
        )
