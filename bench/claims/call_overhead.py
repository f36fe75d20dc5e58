"""The total time of one small product: checks, dispatch and the kernel."""

from __future__ import annotations

from . import Claim, _speed


def _measure() -> float:
    (seconds,) = _speed.race([_speed.ours(_speed.prepared("xnor_matmul", (1, 256, 256)), "cext")]).values()
    return seconds * 1e6


CLAIMS = (
    Claim(
        id="call-overhead",
        statement="one xnor_matmul of 1×256×256 with a prepared operand and out= takes at most 2 µs, C backend",
        source="docs/kernels.rst, arguments",
        bar=("<=", 2.0),
        unit="µs",
        measure=_measure,
    ),
)
