"""What three lines gain in a PyTorch training script, read from results stored with the code."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import pytorch_script, records
from . import Claim, Measured, NotHere

_SOURCE = "docs/embedding/pytorch.rst, a script that exists already"


def _kept() -> dict[str, Any]:
    kind = records.machine()["kind"]
    found = pytorch_script.kept().get(kind)
    if found is None:
        raise NotHere(f"no race is kept of {kind}: python -m bitlearn.bench.pytorch_script --data DIR")
    return found


def _times(way: str) -> Measured:
    found = _kept()
    return Measured(pytorch_script.times_as_fast(found, way), {"given": found["given"], "load": found["load"]})


def _losses() -> Measured:
    apart, noise = pytorch_script.distance(_kept())
    return Measured(apart / noise, {"apart": apart, "noise": noise})


def _claim(name: str, way: str, bar: float) -> Claim:
    return Claim(
        id=f"script-over-{name}",
        statement="a script of PyTorch's that trains binarynet on CIFAR-10, two threads: how many times as long as with"
        f" three lines changed a step takes, {way}",
        source=_SOURCE,
        bar=(">=", bar),
        unit="times as long",
        measure=partial(_times, way),
    )


CLAIMS = (
    _claim("eager", pytorch_script.EAGER, 3),
    _claim("compiled", pytorch_script.COMPILED, 1.5),
    Claim(
        id="script-losses",
        statement="with the three lines the losses of that script are no further from those without, on average, than"
        " from its own with other first weights and batches",
        source=_SOURCE,
        bar=("<=", 1),
        unit="times the noise",
        measure=_losses,
    ),
)
