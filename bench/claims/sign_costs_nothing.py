"""A threshold in the kernel's own pass against the integers it saves."""

from __future__ import annotations

from bitlearn.bench.claims import _speed

ID = "sign-costs-nothing"
STATEMENT = "xnor_matmul_sign is no slower than xnor_matmul at 6144×128×1152, C backend, one thread"
SOURCE = "docs/kernels.rst, a sign in the same pass"
BAR = (">=", 1.0)
UNIT = "times as fast"


def measure() -> float:
    shape = (6144, 128, 1152)
    integers, signs = _speed.seconds(("xnor_matmul", shape, "cext"), ("xnor_matmul_sign", shape, "cext"))
    return integers / signs
