"""The calls of `differential` under AddressSanitizer and UBSan, and the pool of threads under ThreadSanitizer.

``make campaign`` builds both. ThreadSanitizer does not work inside Python, so that is a program in C (pool.c).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from campaign import differential
from campaign.worker import Skipped

POOL = Path(__file__).parents[2] / "build" / "campaign" / "pool"
#: The share of cases that are one of the pool, which takes as long as hundreds of calls.
_OF_POOL = 0.004


def start() -> Callable[[np.random.Generator], int]:
    """Return what makes a case of either kind."""
    sys.modules["numba"] = None  # type: ignore[assignment]  # slow to compile, and its code is not instrumented
    from bitlearn.backends import _cext

    if b"__asan_report" not in Path(_cext.__file__).read_bytes():
        raise Skipped("there is no build/sanitize")
    calls = differential.start()

    def case(rng: np.random.Generator) -> int:
        if rng.random() >= _OF_POOL or not POOL.exists():
            return calls(rng)
        # The runtime of AddressSanitizer, which this process was started with, goes with no other.
        command = [str(POOL), "100", str(rng.integers(1000))]
        done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the pool of threads ended with {done.returncode} | {done.stderr[:3000]}"
        return 100

    return case
