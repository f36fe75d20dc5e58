"""What is measured once per shape for several claims: a product of gradients, its rivals and the probe."""

from __future__ import annotations

import os
from functools import cache
from math import prod
from pathlib import Path

from bitlearn.ops.dispatch import unavailable, variants

from .. import kernels, probe
from ..cases import Case, Shape
from . import Measured, NotHere, _speed, _tiles

VARIANT = _tiles.BITS
SOURCE = "docs/measured.rst, claims about speed"
CONDITIONS = "one thread, cext:avx512, a processor with AVX-512 VNNI"

INT_MM, NUMPY = "torch-int-mm", "numpy-float32"
CUBE = (1024, 1024, 1024)


def _features() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return next((line.split() for line in text.splitlines() if line.startswith("flags")), [])


def needs_vnni() -> None:
    """Raise where the bar is for other processors, or PyTorch would use tiles, which ours leaves out.

    Raises
    ------
    NotHere
    """
    features = _features()
    if "avx512_vnni" not in features:
        raise NotHere("this bar is for processors with AVX-512 VNNI")
    if VARIANT not in variants():
        raise NotHere(f"{VARIANT} is not available: {unavailable().get(VARIANT) or unavailable().get('cext')}")
    if "amx_int8" in features and os.environ.get(_tiles.CAP) != _tiles.CAPPED:
        raise NotHere(f"this bar leaves tiles out: it wants {_tiles.CAP}={_tiles.CAPPED} in the environment")


def product(kernel: str, shape: Shape, form: str = "int8") -> Case:
    """Return the case of a product of gradients of 8 bits, or of another form."""
    return kernels.case(kernel, form, shape)


def product_shape(shape: Shape) -> Shape:
    """Return the matrix product of the same sum of work as a convolution's gradient: pixels × filters × window."""
    batch, height, width, channels, filters, size = shape
    return batch * height * width, filters, size * size * channels


@cache
def race(kernel: str, shape: Shape, form: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the seconds of a product or a convolution's gradient and of all that could be raced, and why not others.

    The rivals of a convolution's gradient make the matrix product of the same sum of work, and have 8 bits always.
    """
    needs_vnni()
    case = product(kernel, shape, form)
    theirs = product(kernel.removeprefix("conv2d_"), product_shape(shape) if len(shape) == 6 else shape)
    contenders, reasons = [_speed.ours(case, VARIANT, "ours")], {}
    contenders += [each for each in probe.product_contenders() if each.name == probe.product_name_of(VARIANT)]
    for name in (INT_MM, NUMPY):
        try:
            contenders.append(_speed.rival(theirs, name))
        except NotHere as error:
            reasons[name] = str(error)
    return _speed.race(contenders), reasons


def over_rival(kernel: str, shape: Shape, name: str, form: str = "int8") -> Measured:
    """Return how many times as fast as a rival ours is."""
    seconds, reasons = race(kernel, shape, form)
    if name in reasons:
        raise NotHere(reasons[name])
    return Measured(seconds[name] / seconds["ours"], {"seconds": {each: seconds[each] for each in ("ours", name)}})


def share_of_probe(kernel: str, shape: Shape) -> Measured:
    """Return our rate as a share of what the registers alone allow the dot instructions."""
    seconds, _ = race(kernel, shape, "int8")
    limit = probe.product_operations() / seconds[probe.product_name_of(VARIANT)]
    return Measured(prod(shape) / seconds["ours"] / limit, {"seconds": seconds})
