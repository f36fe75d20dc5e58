"""The memory of a weight's gradient that is reduced to its signs: measured around the call, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from . import Claim, Measured

#: Pixels × filters × window of a convolution of BinaryNet: the full matrix of sums would take 4.5 MiB.
_SHAPE = (25600, 512, 2304)
_PROGRAM = """
import sys
import numpy as np
import bitlearn as bl
from bitlearn.memory.meter import PeakMeter
rows, columns, n, threads = map(int, sys.argv[1:])
bl.set_num_threads(threads)
rng = np.random.default_rng(0)
g = rng.integers(-127, 128, size=(rows, columns), dtype=np.int8)
x = rng.integers(0, 2**64, size=(rows, n // 64), dtype=np.uint64)
out = np.ones((columns, n // 64), dtype=np.uint64)
bl.grad_weight(g[:256].copy(), x[:256].copy(), n, output="sign", out=out)
meter = PeakMeter()
with meter:
    bl.grad_weight(g, x, n, output="sign", out=out)
print(meter.peak_bytes)
"""


def _measure(threads: int) -> Measured:
    command = [sys.executable, "-c", _PROGRAM, *map(str, (*_SHAPE, threads))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = int(done.stdout)
    return Measured(found / threads / 2**20, {"peak bytes": found, "threads": threads})


CLAIMS = tuple(
    Claim(
        id=f"sign-scratch-{name}",
        statement=f"grad_weight with output='sign' at {'×'.join(map(str, _SHAPE))} takes at most 2 MiB a thread beside"
        f" its operands and the packed result, {name} thread{'s' * (threads > 1)}",
        source="docs/gradients.rst, signs only",
        bar=("<=", 2.0),
        unit="MiB a thread",
        measure=partial(_measure, threads),
    )
    for name, threads in (("one", 1), ("two", 2))
)
