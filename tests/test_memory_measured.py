"""What a step really takes, seen from outside in a process of its own, beside what its record says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import bitlearn as bl
from bitlearn.memory import meter as meters

MIB = 2**20
SMALL = {"filters": (32, 32, 64, 64), "dense": (128,)}

pytestmark = pytest.mark.skipif(
    not isinstance(meters._source(), meters._HighWaterMark), reason="the kernel's mark cannot be reset here"
)
compiled = pytest.mark.skipif(
    not bl.which("grad_input").startswith("cext"), reason="takes minutes without the compiled kernels"
)

PEAK = """
import bitlearn as bl
from bitlearn import memory
model = bl.models.build(NAME, SHAPE, 10, precision=PRECISION, **OPTIONS)
rule = bl.optim.OPTIMIZERS[OPTIMIZER]()
rows = memory.predict(model, rule, BATCH)
result = {"predicted": sum(row.bytes for row in rows), "measured": memory.peak(model, rule, BATCH).peak_bytes}
"""

GROWTH = """
import gc
import numpy as np
import bitlearn as bl
from bitlearn.memory.meter import _settle, _source
from bitlearn.memory.measure import random_batch
model = bl.models.build(NAME, SHAPE, 10, precision=PRECISION, **OPTIONS)
trainer = bl.training.Trainer(model, bl.optim.OPTIMIZERS[OPTIMIZER]())
batches = [random_batch(model, size) for size in (BATCH, BATCH // 2)]
def steps(count):
    for at in range(count):
        trainer.step(*batches[at % 2], 0.001)
    _settle()
    return source.now(), len(gc.get_objects())
source = _source()
steps(20)
before, objects = steps(20)
after, more = steps(200)
result = {"grown": after - before, "objects": more - objects}
"""


def fresh(code: str, name: str, precision: str, batch: int, options: dict, optimizer: str = "adam") -> dict:
    """Run code in a process of its own, on the kernels that run here, and return its `result`."""
    shape = (28, 28, 1) if name == "mlp" else (32, 32, 3)
    names = {
        "NAME": name, "PRECISION": precision, "BATCH": batch, "OPTIONS": options, "SHAPE": shape, "OPTIMIZER": optimizer
    }  # fmt: skip
    settings = "\n".join(f"{key} = {value!r}" for key, value in names.items())
    program = f"{settings}\n{code}\nimport json\nprint(json.dumps(result))"
    environment = os.environ | {"BITLEARN_BACKEND": bl.which("grad_input"), "BITLEARN_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The reference unpacks every bit: what it needs for itself is not predicted.
@pytest.mark.skipif(bl.which("grad_input") == "reference", reason="the prediction is for other kernels")
@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize(
    ("name", "batch", "options", "optimizer"),
    [
        ("mlp", 100, {}, "adam"),
        ("mlp", 1000, {"head": "real"}, "sgd"),
        ("cnv", 60, SMALL, "adam"),
        ("cnv", 40, SMALL | {"head": "real"}, "bop"),
        ("binarynet", 40, SMALL, "adam"),
        pytest.param("cnv", 100, {}, "adam", marks=compiled),
        pytest.param("binarynet", 100, {}, "adam", marks=compiled),
    ],
)
def test_the_prediction_is_what_is_measured(name, batch, options, optimizer, precision):
    """Within 5 % and 1 MiB, from above and from below: most of the memory is the arena, which is written whole."""
    found = fresh(PEAK, name, precision, batch, options, optimizer)
    assert abs(found["measured"] - found["predicted"]) <= 0.05 * found["predicted"] + MIB


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory", "int4"])
def test_nothing_grows_over_two_hundred_steps(precision):
    found = fresh(GROWTH, "mlp", precision, 20, {"hidden": (64, 64)})
    assert found["objects"] == 0
    assert found["grown"] <= MIB // 8
