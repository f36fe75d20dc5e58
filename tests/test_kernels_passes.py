"""The passes over channels, batch norm and pooling: every variant against the executable specification."""

from __future__ import annotations

import numpy as np
import pytest
from guards import check_exactly, filled, rivals, run
from operands import OPERANDS

PASSES = (
    "channel_sums",
    "channel_sums_above",
    "sign_pass",
    "gradient_sums",
    "norm_gradient_peak",
    "norm_gradient",
    "l2_statistics",
    "norm_bounds",
    "l2_factors",
    "batch_statistics",
    "norm_signs",
    "batch_gradient",
    "softmax_gradient",
    "max_pool",
    "max_pool_places",
    "max_pool_gradient",
)


@pytest.mark.parametrize(("kernel", "variant"), rivals(*PASSES))
def test_every_size_and_type(kernel, variant, rng):
    operands = OPERANDS[kernel]
    for size in operands.sizes:
        for dtype in operands.dtypes:
            check_exactly(kernel, variant, operands.make(rng, size, dtype))


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_gradient_peak"))
@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_a_peak_that_is_not_finite_shows(kernel, variant, beyond, rng):
    for at in (0, 63, 64):
        *arrays, _ = OPERANDS[kernel].make(rng, (2, 3, 65), (np.int8, np.int16))
        arrays[4][at] = beyond
        with np.errstate(invalid="ignore"):
            got = run(kernel, variant, (*arrays, filled((2,), np.float32)))
        assert not np.isfinite(got).any()


@pytest.mark.parametrize(("kernel", "variant"), rivals("gradient_sums"))
@pytest.mark.parametrize("rows", [255, 256, 257, 1100])
def test_sums_of_extremes(kernel, variant, rows):
    """Products of the least int8 and int16: 512 of them leave int32."""
    d, x = np.full((1, rows, 3), -128, dtype=np.int8), np.full((1, rows, 3), -(2**15), dtype=np.int16)
    passes = np.full((1, rows, 1), 0b011, dtype=np.uint64)
    got = check_exactly(kernel, variant, (d, passes, x, filled((1, 2, 3), np.int64)))
    assert got[0].tolist() == [[-128 * rows] * 2 + [0], [2**22 * rows] * 2 + [0]]


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_gradient"))
def test_ties_go_to_the_even_code(kernel, variant):
    d = np.arange(-127, 128, dtype=np.int8).reshape(1, -1)
    channels = d.shape[1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    words = np.full((1, 4), 2**64 - 1, dtype=np.uint64)
    words[0, -1] >>= np.uint64(1)
    x = np.zeros(d.shape, dtype=np.int16)
    for limit in (127, 20):
        arguments = (d, words, x, zeros, zeros, ones, 2.0, limit, filled(d.shape, np.int8))
        got = check_exactly(kernel, variant, arguments)
        assert got.tolist() == [[max(-limit, min(limit, round(int(value) / 2))) for value in d[0]]]
