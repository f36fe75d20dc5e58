"""A threshold in the kernel's own pass against the integers it saves."""

from __future__ import annotations

from . import Claim, Measured, _speed

_SHAPE = (6144, 128, 1152)


def _measure() -> Measured:
    kernels = ("xnor_matmul_sign", "xnor_matmul")
    signs, integers = (_speed.ours(_speed.prepared(kernel, _SHAPE), "cext") for kernel in kernels)
    return _speed.speed_up(signs, integers)


CLAIMS = (
    Claim(
        id="sign-costs-nothing",
        statement="xnor_matmul_sign is no slower than xnor_matmul at 6144×128×1152, C backend, one thread",
        source="docs/kernels.rst, a sign in the same pass",
        bar=(">=", 1.0),
        unit="times as fast",
        measure=_measure,
    ),
)
