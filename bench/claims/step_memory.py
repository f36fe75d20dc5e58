"""The memory of a training step: what its record says against what is measured, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache, partial

from .. import steps
from . import Claim, Measured

_SOURCE = "docs/memory.rst, what is measured"
THREADS, BATCH = 2, 100
#: A network on images of 224 x 224 and 1000 classes, and as many examples as leave a quarter of 1 GB to all else.
_LARGE, _EXAMPLES = "resnete18", 96
_MIB = 2**20
_PROGRAM = """
import json, sys
import bitlearn as bl
from bitlearn.bench import steps
network, policy, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
bl.set_num_threads(threads)
if network in steps.SHAPES:
    model = steps.model(network, policy)
else:
    model = bl.models.build(network, (224, 224, 3), 1000, precision=policy)
measured = bl.memory.peak(model, steps.optimizer(), batch).peak_bytes
predicted = sum(row.bytes for row in bl.memory.predict(model, steps.optimizer(), batch))
print(json.dumps({"measured": measured, "predicted": predicted}))
"""


@cache
def _found(network: str, policy: str) -> dict[str, int]:
    """Return the bytes that are measured and predicted, once a process of claims."""
    command = [sys.executable, "-c", _PROGRAM, network, policy, str(_batch(network)), str(THREADS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _batch(network: str) -> int:
    return _EXAMPLES if network == _LARGE else BATCH


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
        f" (batch {_batch(network)}, Adam, {THREADS} threads)",
        source=_SOURCE,
        bar=("<=", 5.0),
        unit="% apart beyond 1 MiB",
        measure=partial(_difference, network, policy),
    )


def _at_most(network: str, policy: str, bar: float) -> Claim:
    return Claim(
        id=f"memory-{network}-{policy}",
        statement=f"a training step of {network} under {policy} takes at most {bar:g} MiB (batch {_batch(network)},"
        f" Adam, {THREADS} threads)",
        source=_SOURCE,
        bar=("<=", bar),
        unit="MiB",
        measure=partial(_mebibytes, network, policy),
    )


CLAIMS = (
    *(_apart(network, policy) for network in steps.SHAPES for policy in steps.OURS),
    _apart(_LARGE, "low-memory"),
    _at_most("binarynet", "int8", 260.0),
    *(_at_most("binarynet", policy, 100.0) for policy in ("low-memory", "low-memory-exact", "low-memory-8bit")),
    _at_most("mlp", "low-memory", 3.4),
    _at_most(_LARGE, "low-memory", 720.0),
)
