"""The Numba backend against the C backend."""

from __future__ import annotations

from . import Claim, Measured, _speed


def _measure() -> Measured:
    case = _speed.prepared("xnor_matmul", (1024, 1024, 1024))
    return _speed.speed_up(_speed.ours(case, "jit"), _speed.ours(case, "cext"))


CLAIMS = (
    Claim(
        id="numba-within-reach",
        statement="the Numba backend reaches half the rate of the C backend at 1024×1024×1024, one thread",
        source="docs/kernels.rst, backends and variants",
        bar=(">=", 0.5),
        unit="of the C backend's rate",
        measure=_measure,
    ),
)
