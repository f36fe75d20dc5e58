"""The Numba backend against the C backend."""

from __future__ import annotations

from bitlearn.bench.claims import _speed

ID = "numba-within-reach"
STATEMENT = "the Numba backend reaches half the rate of the C backend at 1024×1024×1024, one thread"
SOURCE = "docs/kernels.rst, backends and variants"
BAR = (">=", 0.5)
UNIT = "of the C backend's rate"


def measure() -> float:
    shape = (1024, 1024, 1024)
    compiled, numba = _speed.seconds(("xnor_matmul", shape, "cext"), ("xnor_matmul", shape, "jit"))
    return compiled / numba
