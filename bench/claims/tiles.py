"""Products and training steps on a processor with tiles: against counted bits, and rivals that use tiles too."""

from __future__ import annotations

from functools import cache, partial

from .. import kernels, probe
from ..cases import Case, Shape
from . import Claim, Measured, NotHere, _bit_products, _gradient_products, _speed, _tiles
from ._gradient_products import CUBE, INT_MM
from ._training_steps import ANY, EAGER, claim

_CONDITIONS = "one thread, the variant that the product's sizes choose, a processor with AMX"
_WHERE = ", a processor with AMX"
_SOURCE = _bit_products.SOURCE

_NUMKONG = "numkong"
#: The bars of the probe's rate; NumKong's packed Hamming distances are raced at the same shapes.
_SHARES: dict[Shape, float] = {_bit_products.WIDE_AND_DEEP: 1.12, (4096, 4096, 4096): 1.05, (6144, 256, 1152): 1.05}
_SHAPES = (*_SHARES, *_bit_products.LARGE[2:], *_bit_products.FEW_ROWS)
#: What two measurements of the same call differ by.
_NOISE = 0.98
_CONVOLUTIONS = ((25, 32, 32, 128, 128, 3), (100, 16, 16, 128, 256, 3), (100, 8, 8, 256, 512, 3))


@cache
def _race(kernel: str, shape: Shape, rival: str) -> tuple[dict[str, float], str]:
    """Return the seconds of ours, chosen and on AVX-512, of the probe and of a rival, or why it could not be raced.

    The rival of a convolution's gradient makes the matrix product of the same sum of work.
    """
    _tiles.needs()
    case = _case(kernel, shape)
    theirs = case
    if len(shape) == 6:
        theirs = _case(kernel.removeprefix("conv2d_"), _gradient_products.product_shape(shape))
    contenders = [_speed.ours(case, "cext", "ours"), _speed.ours(case, _tiles.BITS, "avx512")]
    contenders += [each for each in probe.contenders() if each.name == probe.name_of(_tiles.BITS)]
    reason = ""
    try:
        contenders.append(_speed.rival(theirs, rival))
    except NotHere as error:
        reason = str(error)
    return _speed.race(contenders), reason


def _case(kernel: str, shape: Shape) -> Case:
    return _speed.prepared(kernel, shape) if kernel == "xnor_matmul" else kernels.case(kernel, "int8", shape)


def _over(kernel: str, shape: Shape, rival: str) -> Measured:
    """Return how many times as fast as a rival ours is."""
    seconds, reason = _race(kernel, shape, rival)
    if reason:
        raise NotHere(reason)
    return Measured(seconds[rival] / seconds["ours"], {"seconds": seconds})


def _over_vnni(kernel: str) -> Measured:
    """Return how many times as fast as our dot instructions tiles are."""
    seconds, _ = _race(kernel, CUBE, INT_MM)
    return Measured(seconds["avx512"] / seconds["ours"], {"seconds": seconds})


def _share(shape: Shape) -> Measured:
    """Return our rate as a share of what the registers alone allow counted bits."""
    seconds, _ = _race("xnor_matmul", shape, _NUMKONG)
    m, k, n = shape
    limit = probe.operations() / seconds[probe.name_of(_tiles.BITS)]
    return Measured(m * k * n / seconds["ours"] / limit, {"seconds": seconds})


def _never_slower() -> Measured:
    """Return the least that the choice gains over counted bits, of all shapes."""
    found = {}
    for shape in _SHAPES:
        seconds, _ = _race("xnor_matmul", shape, _NUMKONG)
        found[_speed.written(shape)] = seconds["avx512"] / seconds["ours"]
    return Measured(min(found.values()), {"ratios": found})


def _product(name: str, statement: str, bar: float, unit: str, measure: partial[Measured]) -> Claim:
    return Claim(name, f"{statement} ({_CONDITIONS})", _SOURCE, (">=", bar), unit, measure)


def _of_bits(shape: Shape, bar: float) -> tuple[Claim, ...]:
    slug, written = _speed.slug(shape), _speed.written(shape)
    return (
        _product(
            f"tiles-share-of-probe-{slug}",
            f"xnor_matmul at {written} reaches {bar:g} of what the registers alone allow exclusive or, count and add",
            bar,
            "of the probe's rate",
            partial(_share, shape),
        ),
        _product(
            f"tiles-over-numkong-{slug}",
            f"xnor_matmul at {written} is 2 times as fast as NumKong's hammings_packed",
            2.0,
            "times as fast",
            partial(_over, "xnor_matmul", shape, _NUMKONG),
        ),
    )


def _of_gradients(kernel: str) -> tuple[Claim, ...]:
    name = f"tiles-{kernel.replace('_', '-')}"
    places = [(kernel, CUBE), *((f"conv2d_{kernel}", shape) for shape in _CONVOLUTIONS)]
    over = (
        _product(
            f"tiles-{run.replace('_', '-')}-over-int-mm-{_speed.slug(shape)}",
            f"{run} of int8 at {_speed.written(shape)} is 1.3 times as fast as torch._int_mm on tiles, at the same work"
            " on int8 operands that are ready, with out=",
            1.3,
            "times as fast",
            partial(_over, run, shape, INT_MM),
        )
        for run, shape in places
    )
    vnni = _product(
        f"{name}-over-vnni",
        f"{kernel} of int8 at {_speed.written(CUBE)} is 2.5 times as fast as our own on AVX-512 VNNI",
        2.5,
        "times as fast",
        partial(_over_vnni, kernel),
    )
    return (*over, vnni)


_FASTEST, _SMALLEST = "PyTorch at its fastest", "the smallest PyTorch"

CLAIMS = (
    *(each for shape, bar in _SHARES.items() for each in _of_bits(shape, bar)),
    _product(
        "tiles-never-slower",
        f"xnor_matmul, chosen by sizes, is at none of {len(_SHAPES)} shapes slower than on AVX-512, to the noise",
        _NOISE,
        "times as fast",
        partial(_never_slower),
    ),
    *(each for kernel in ("grad_input", "grad_weight") for each in _of_gradients(kernel)),
    *(
        claim(name, "binarynet", policy, bar, rival, ways, needs=_tiles.needs, memory=memory, where=_WHERE)
        for name, policy, bar, rival, ways, memory in (
            ("tiles-over-eager", "int8", 8.0, "eager float32 PyTorch", EAGER, False),
            ("tiles-over-fastest", "int8", 1.8, _FASTEST, ANY, False),
            ("tiles-over-fastest", "low-memory", 1.0, _FASTEST, ANY, False),
            ("tiles-memory-of-smallest", "low-memory", 3.5, _SMALLEST, ANY, True),
        )
    ),
)
