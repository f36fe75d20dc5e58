"""Arguments of the kernels on first-layer codes."""

from __future__ import annotations

from itertools import product

import numpy as np
from cases import CONVOLUTIONS, GRADIENTS, Conv, integers
from guards import filled
from making import operands

#: (type of the gradient, type of the sums, whether they are added)
TYPES = tuple(product((np.int8, np.int16), (np.int32, np.int64), (False, True)))
#: Taps of codes that are not next to a border of words; more terms than one block takes, and no terms.
SIZES = [(129, 50, 65), (300, 7, 27), (0, 3, 5), (3, 0, 5), (3, 5, 0)]


@operands(GRADIENTS + SIZES, TYPES)
def codes_grad_weight(rng, size, dtype):
    m, k, n = size
    narrow, wide, accumulate = dtype
    channels, first = k + 3, int(rng.integers(0, 3))
    g, codes = integers(rng, narrow, m, channels), integers(rng, np.int8, m, n)
    if narrow == np.int16 and wide == np.int32:
        g //= 256  # so that the sums fit
    before = rng.integers(-1000, 1000, size=(k, n)).astype(wide)
    return g, codes, first, accumulate, before if accumulate else filled((k, n), wide)


@operands(CONVOLUTIONS)
def unfold_codes(rng, case: Conv, dtype):
    out = filled((case.batch, *case.out, *case.kernel, case.n), np.int8)
    return integers(rng, np.int8, case.batch, *case.image, case.n), case.stride, case.padding, out
