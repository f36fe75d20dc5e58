"""What is measured once per shape for several claims: xnor_matmul, the probe and the rivals, in turns."""

from __future__ import annotations

from functools import cache

from .. import probe, processor, records
from ..cases import Shape
from . import Measured, NotHere, _speed, _tiles

VARIANT = _tiles.BITS
SOURCE = "docs/measured.rst, claims about speed"
CONDITIONS = "one thread, prepared operand, cext:avx512"

WIDE_AND_DEEP = (1536, 1536, 4096)
LARGE = (WIDE_AND_DEEP, (4096, 4096, 4096), (1024, 1024, 1024), (6144, 128, 1152), (96, 1024, 1024), (256, 256, 256))
FEW_ROWS = ((1, 1024, 1024), (2, 1024, 1024), (4, 1024, 1024))

#: NumPy is slow, and claimed of at one shape only.
_RIVALS: dict[Shape, tuple[str, ...]] = {WIDE_AND_DEEP: ("numkong", "numpy-float32")}


@cache
def _race(shape: Shape) -> tuple[dict[str, float], dict[str, str]]:
    """Return the seconds of all that could be raced at a shape, and why the others could not."""
    case = _speed.prepared("xnor_matmul", shape)
    probes = [each for each in probe.contenders() if each.name in (probe.name_of(VARIANT), probe.CLOCK)]
    contenders, reasons = [_speed.ours(case, VARIANT, "ours"), *probes], {}
    for name in _RIVALS.get(shape, ("numkong",)):
        try:
            contenders.append(_speed.rival(case, name))
        except NotHere as error:
            reasons[name] = str(error)
    return _speed.race(contenders), reasons


def share_of_probe(shape: Shape) -> Measured:
    """Return our rate as a share of what the registers alone allow."""
    seconds, _ = _race(shape)
    m, k, n = shape
    limit = probe.operations() / seconds[probe.name_of(VARIANT)]
    return Measured(m * k * n / seconds["ours"] / limit, {"seconds": seconds})


def over_rival(shape: Shape, name: str) -> Measured:
    """Return how many times as fast as a rival ours is."""
    seconds, reasons = _race(shape)
    if name in reasons:
        raise NotHere(reasons[name])
    details = {"seconds": {each: seconds[each] for each in ("ours", name)}, "blas": records.blas()}
    if not name.startswith("numpy"):
        del details["blas"]
    return Measured(seconds[name] / seconds["ours"], details)


def probe_of_ports() -> Measured:
    """Return the probe's operations a cycle as a share of what the processor's ports allow."""
    allowed = processor.current().bits_per_cycle
    if allowed is None:
        raise NotHere("what the ports of this processor allow is not known here")
    seconds, _ = _race(WIDE_AND_DEEP)
    if probe.CLOCK not in seconds:
        raise NotHere("the clock cannot be measured here")
    cycles = seconds[probe.name_of(VARIANT)] / seconds[probe.CLOCK] * probe.clock_cycles()
    return Measured(probe.operations() / cycles / allowed, {"bit-MAC a cycle that the ports allow": allowed})
