"""pack from float32, where the memory limits it and where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from .. import kernels, processor
from ..cases import Case, Shape
from ..harness import Contender
from . import Claim, Measured, NotHere, _speed

SOURCE = "docs/measured.rst, claims about speed"
_COLUMNS = 8192
#: In float32, with the words beside them.
_INSIDE_L2 = (64, 1024)


def _beyond_the_last_cache() -> Shape:
    """Return a shape of at least 256 MiB, and four times the last cache.

    Raises
    ------
    NotHere
    """
    last = processor.cache_bytes()
    if last is None:
        raise NotHere("the size of the last cache is not known here")
    size = max(2**28, 4 * last)
    if hasattr(os, "sysconf") and 6 * size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise NotHere(f"arrays of {size // 2**20} MiB, four times the last cache, are too large for this memory")
    return -(-size // (4 * _COLUMNS)), _COLUMNS


def _inside_the_second_cache() -> Shape:
    second = processor.cache_bytes(2)
    if second is None or second < 2**19:
        raise NotHere("a second cache of at least 512 KiB is not known here")
    return _INSIDE_L2


def _sum(case: Case) -> Contender:
    """Return NumPy's sum of the same array: a read of all of it, and nothing else."""
    values = case.operands["values"]
    exact, size = float(values.sum(dtype=np.float64)), float(np.abs(values).sum(dtype=np.float64))
    return Contender("np.sum", values.sum, lambda answer: abs(float(answer) - exact) <= 1e-6 * size)  # type: ignore[arg-type]


@cache
def _beyond() -> tuple[Shape, dict[str, float]]:
    shape = _beyond_the_last_cache()
    case = kernels.case("pack", "float32", shape)
    return shape, _speed.race([_speed.ours(case, "cext", "ours"), _sum(case), _speed.rival(case, "numpy-packbits")])


@cache
def _inside() -> tuple[Shape, dict[str, float]]:
    shape = _inside_the_second_cache()
    case = kernels.case("pack", "float32", shape)
    return shape, _speed.race([_speed.ours(case, "cext", "ours"), _speed.rival(case, "numpy-packbits")])


def _over(name: str, race: Callable[[], tuple[Shape, dict[str, float]]]) -> Measured:
    shape, seconds = race()
    return Measured(seconds[name] / seconds["ours"], {"shape": list(shape), "seconds": seconds})


CLAIMS = (
    Claim(
        id="pack-of-sum",
        statement="pack from float32 reads arrays beyond the last cache at 0.8 of the rate of np.sum, one thread",
        source=SOURCE,
        bar=(">=", 0.8),
        unit="of the rate of np.sum",
        measure=partial(_over, "np.sum", _beyond),
    ),
    Claim(
        id="pack-over-packbits-memory",
        statement="pack from float32 beyond the last cache is 1.5 times as fast as np.packbits(x >= 0), one thread",
        source=SOURCE,
        bar=(">=", 1.5),
        unit="times as fast",
        measure=partial(_over, "numpy-packbits", _beyond),
    ),
    Claim(
        id="pack-over-packbits-cache",
        statement="pack from float32 at 64×1024, inside the second cache, is 3 times as fast as np.packbits(x >= 0)",
        source=SOURCE,
        bar=(">=", 3.0),
        unit="times as fast",
        measure=partial(_over, "numpy-packbits", _inside),
    ),
)
