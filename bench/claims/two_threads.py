"""Two threads against one."""

from __future__ import annotations

import os

from . import Claim, Measured, NotHere, _speed


def _measure() -> Measured:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        raise NotHere("this process may use one core only")
    one = _speed.ours(_speed.prepared("xnor_matmul", (1024, 1024, 1024)), "cext")
    return _speed.speed_up(_speed.on_threads(one, 2), _speed.on_threads(one, 1))


CLAIMS = (
    Claim(
        id="two-threads",
        statement="xnor_matmul at 1024×1024×1024 on two threads is 1.8 times as fast as on one, C backend",
        source="docs/measured.rst, claims about speed",
        bar=(">=", 1.8),
        unit="times as fast",
        measure=_measure,
    ),
)
