"""One small call, checks and all."""

from __future__ import annotations

from bitlearn.bench.claims import _speed

ID = "call-overhead"
STATEMENT = "one xnor_matmul of 1×256×256 with a prepared operand and out= takes at most 2 µs, C backend"
SOURCE = "docs/kernels.rst, arguments"
BAR = ("<=", 2.0)
UNIT = "µs"


def measure() -> float:
    (seconds,) = _speed.seconds(("xnor_matmul", (1, 256, 256), "cext"))
    return seconds * 1e6
