"""The time of ``import bitlearn`` in fresh processes: the best of five, since the rest is noise of the machine."""

from __future__ import annotations

import subprocess
import sys

from . import Claim

_PROGRAM = """
import sys, time
begun = time.perf_counter()
import bitlearn
spent = time.perf_counter() - begun
assert "numba" not in sys.modules, "import bitlearn must not load Numba"
print(spent)
"""


def _measure() -> float:
    def once() -> float:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
        return float(done.stdout)

    return min(once() for _ in range(5))


CLAIMS = (
    Claim(
        id="import-time",
        statement="import bitlearn takes less than 0.2 s, and loads no Numba",
        source="CONTRIBUTING.md, the layer rule",
        bar=("<", 0.2),
        unit="s",
        measure=_measure,
    ),
)
