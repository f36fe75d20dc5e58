"""A training step within a number of bytes: what it takes, measured, and how much longer, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

from . import Claim, Measured, NotHere, _training_steps

_SOURCE = "docs/low_memory.rst, within a budget"
THREADS, BATCH = 2, 100
#: What a training is planned within, with its batches, the network kept and Python's own objects: all but the data.
_BUDGET = 75
_MIB = 2**20
_PROGRAM = """
import copy, json, sys, time
import bitlearn as bl
from bitlearn.bench import steps
batch, budget, threads = (int(given) for given in sys.argv[1:])
bl.set_num_threads(threads)
model, rule = steps.model("binarynet", "low-memory"), steps.optimizer()
try:
    plan = bl.training.plan(model, rule, batch, f"{budget} MiB", narrow=["moments", "gradients"])
except ValueError as error:
    print(json.dumps({"refused": str(error).partition(". The smallest")[0]}))
    sys.exit()
planned = model.under(plan.precision)
measured = bl.memory.peak(planned, rule, batch, savings=plan.savings).peak_bytes
x, y = steps.batch("binarynet", batch)
ways = [bl.training.Trainer(copy.deepcopy(model), rule)]
ways.append(bl.training.Trainer(copy.deepcopy(planned), rule, savings=plan.savings))
spent = [[], []]
for turn in range(6):
    for trainer, times in zip(ways, spent):
        begun = time.perf_counter()
        trainer.step(x, y, 0.001)
        times.append(time.perf_counter() - begun)
print(json.dumps({"measured": measured, "seconds": [min(times[1:]) for times in spent], "plan": str(plan)}))
"""


@cache
def _found() -> dict:
    """Return the bytes and the seconds, once a process of claims."""
    command = [sys.executable, "-c", _PROGRAM, str(BATCH), str(_BUDGET), str(THREADS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _planned() -> dict:
    """Return what `_found` does, of a plan that there is."""
    found = _found()
    if "refused" in found:
        raise NotHere(found["refused"])
    return found


def _mebibytes() -> Measured:
    found = _planned()
    return Measured(found["measured"] / _MIB, found)


def _times() -> Measured:
    found = _planned()
    usual, planned = found["seconds"]
    return Measured(planned / usual, found)


def _of_smallest() -> Measured:
    """Return how many times as much the smallest PyTorch step of the network takes."""
    ours = _planned()["measured"]
    entries = _training_steps._entries("binarynet", BATCH, "adam")
    peaks = {way: entries[way]["peak_bytes"] for way in _training_steps.ANY if entries[way]["seconds"] is not None}
    if not peaks:
        raise NotHere("; ".join(f"{way}: {entries[way]['reason']}" for way in _training_steps.ANY))
    return Measured(min(peaks.values()) / ours, {"peak_bytes": peaks | {"planned": ours}})


_WHAT = f"a step of binarynet under low-memory, of a training planned within {_BUDGET} MiB with what it must in 8 bits,"
#: MiB, half of what the paper's model has for a step.
_HALF = 69
_HOW = f"(batch {BATCH}, Adam, {THREADS} threads)"
CLAIMS = (
    Claim(
        id="planned-binarynet-memory",
        statement=f"{_WHAT} takes at most {_HALF} MiB {_HOW}",
        source=_SOURCE,
        bar=("<=", _HALF),
        unit="MiB",
        measure=_mebibytes,
    ),
    Claim(
        id="planned-binarynet-time",
        statement=f"{_WHAT} takes at most 1.3 times as long as one that saves nothing {_HOW}",
        source=_SOURCE,
        bar=("<=", 1.3),
        unit="times as long",
        measure=_times,
    ),
    Claim(
        id="planned-binarynet-memory-of-smallest",
        statement=f"{_WHAT} takes 1/7 of the peak memory of the smallest PyTorch, in float32 or bfloat16 {_HOW}",
        source=_SOURCE,
        bar=(">=", 7.0),
        unit="times as little memory",
        measure=_of_smallest,
    ),
)
