"""The memory of a training step: what its record says against what is measured, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache, partial

from .. import steps
from . import Claim, Measured

_SOURCE = "docs/memory.rst"
THREADS, BATCH = 2, 100
_MIB = 2**20
_PROGRAM = """
import json, sys
import bitlearn as bl
from bitlearn.bench import steps
network, policy, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
bl.set_num_threads(threads)
model = steps.model(network, policy)
measured = bl.memory.peak(model, steps.optimizer(), batch).peak_bytes
predicted = sum(row.bytes for row in bl.memory.predict(model, steps.optimizer(), batch))
print(json.dumps({"measured": measured, "predicted": predicted}))
"""


@cache
def _found(network: str, policy: str) -> dict[str, int]:
    """Return the bytes that are measured and predicted, once a process of claims."""
    command = [sys.executable, "-c", _PROGRAM, network, policy, str(BATCH), str(THREADS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _difference(network: str, policy: str) -> Measured:
    """Return how far the two are apart beyond 1 MiB for Python's own objects, in percent of what is predicted."""
    found = _found(network, policy)
    apart = max(abs(found["measured"] - found["predicted"]) - _MIB, 0)
    return Measured(100 * apart / found["predicted"], {"bytes": found})


def _mebibytes(network: str, policy: str) -> Measured:
    found = _found(network, policy)
    return Measured(found["measured"] / _MIB, {"bytes": found})


def _apart(network: str, policy: str) -> Claim:
    return Claim(
        id=f"memory-{network}-{policy}-as-predicted",
        statement=f"a training step of {network} under {policy} takes the bytes that its record says, to 5 % and 1 MiB"
        f" (batch {BATCH}, Adam, {THREADS} threads)",
        source=_SOURCE,
        bar=("<=", 5.0),
        unit="% apart beyond 1 MiB",
        measure=partial(_difference, network, policy),
    )


CLAIMS = (
    *(_apart(network, policy) for network in steps.SHAPES for policy in ("standard", "int8", "low-memory")),
    Claim(
        id="memory-binarynet-int8",
        statement=f"a training step of binarynet under int8 takes at most 260 MiB (batch {BATCH}, Adam,"
        f" {THREADS} threads)",
        source=_SOURCE,
        bar=("<=", 260.0),
        unit="MiB",
        measure=partial(_mebibytes, "binarynet", "int8"),
    ),
)
