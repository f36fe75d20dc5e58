"""First-layer codes: long and large sums."""

from __future__ import annotations

import numpy as np
import pytest
from guards import check_exactly, filled, rivals


@pytest.mark.parametrize(("kernel", "variant"), rivals("codes_grad_weight"))
@pytest.mark.parametrize(("narrow", "wide"), [(np.int8, np.int32), (np.int16, np.int64)])
def test_the_largest_sums(kernel, variant, narrow, wide):
    g = np.full((5000, 7), np.iinfo(narrow).min, dtype=narrow)
    codes = np.full((5000, 67), -128, dtype=np.int8)
    got = check_exactly(kernel, variant, (g, codes, 1, False, filled((6, 67), wide)))
    assert (got == 5000 * 128 * -int(np.iinfo(narrow).min)).all()


@pytest.mark.parametrize(("kernel", "variant"), rivals("codes_grad_weight"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_more_rows_than_a_block_sums(kernel, variant, dtype, rng):
    g = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2**16 + 300, 5), dtype=dtype, endpoint=True)
    codes = rng.integers(-128, 127, (len(g), 3), dtype=np.int8, endpoint=True)
    check_exactly(kernel, variant, (g, codes, 1, False, filled((3, 3), np.int64)))
