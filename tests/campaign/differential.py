"""Every public function on every variant, in random and awkward ways, against plain NumPy on unpacked values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.backends import variants
from campaign import calls, gradients, packing, products, quantizing

MAKERS = (*packing.MAKERS, *products.MAKERS, *gradients.MAKERS)
#: Valid calls in a case on each variant: a result that is known is compared many times.
_TIMES = 4


def start() -> Callable[[np.random.Generator], int]:
    """Return what makes a case: a call on all variants, and now and then a wrong one."""
    everything = variants()
    in_c = [each for each in everything if each.startswith("cext")]

    def case(rng: np.random.Generator) -> int:
        # The reference is slow, and Numba compiles a kernel for seconds at its first call.
        here = everything if rng.random() < 0.1 or not in_c else in_c
        if rng.random() < 0.08:
            return quantizing.check(rng, here) + quantizing.refused(rng)
        call = MAKERS[rng.integers(len(MAKERS))](rng)
        count = sum(calls.check(call, rng, here) for _ in range(_TIMES))
        for _ in range(2):
            count += calls.refused(call, rng, here[rng.integers(len(here))])
        return count

    return case
