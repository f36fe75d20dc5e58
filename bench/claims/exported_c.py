"""The sizes of networks and learners in C, as a compiler for a small device makes them."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.export import c99

from . import Claim, Measured, NotHere

_COMPILER = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-Os")
_HIDDEN = (128, 128)


def _learner() -> Any:
    """Return a learner of images of 784 pixels that replays 64 packed latents, and trains its last layer."""
    rng = np.random.default_rng(0)
    model = bl.models.mlp((28, 28, 1), 10, hidden=_HIDDEN, head="real", precision="low-memory")
    learner = bl.continual.ContinualLearner(
        "latent-replay", model, labels=range(10), cut="sign2", replay_size=64, batch_size=16
    )
    x = rng.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8)
    return learner.partial_fit(x, rng.integers(0, 10, 40))


@cache
def _found(what: str) -> dict[str, Any]:
    if shutil.which(_COMPILER[0]) is None:
        raise NotHere(f"there is no {_COMPILER[0]}")
    made = {"learner": _learner, "mlp": lambda: bl.models.mlp((28, 28, 1), 10, hidden=_HIDDEN), "cnv": bl.models.cnv}
    with tempfile.TemporaryDirectory() as folder:
        return c99(made[what](), folder, compiler=_COMPILER)


def _ram(what: str) -> Measured:
    found = _found(what)
    return Measured((found["ram_bytes"] + found["stack_bytes"]) / 1024, found)


def _code(what: str) -> Measured:
    found = _found(what)
    return Measured(found["code_bytes"] / 1024, found)


_SOURCE = "docs/embedding/devices.rst"
CLAIMS = (
    Claim(
        "export-learner-ram",
        "a learner of 784-128-128-10 with 64 packed latents, whose last layer Adam trains: its RAM, with its stack",
        _SOURCE,
        ("<=", 32),
        "KiB",
        lambda: _ram("learner"),
    ),
    Claim("export-learner-code", "the code of that learner", _SOURCE, ("<=", 6), "KiB", lambda: _code("learner")),
    Claim(
        "export-mlp-ram", "784-128-128-10 for inference, with its stack", _SOURCE, ("<=", 2), "KiB", lambda: _ram("mlp")
    ),
    Claim("export-mlp-code", "the code of that", _SOURCE, ("<=", 2), "KiB", lambda: _code("mlp")),
    Claim("export-cnv-ram", "cnv for inference, with its stack", _SOURCE, ("<=", 40), "KiB", lambda: _ram("cnv")),
    Claim("export-cnv-code", "the code of that", _SOURCE, ("<=", 4), "KiB", lambda: _code("cnv")),
)
