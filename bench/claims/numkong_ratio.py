"""xnor_matmul against NumKong's hammings_packed, the same answer."""

from __future__ import annotations

from functools import partial

from .. import processor
from . import Claim, Measured, NotHere, _bit_products, _speed


def _measure(shape: tuple[int, ...], intel: bool | None) -> Measured:
    """Return the ratio; `intel` says for which processors the bar is, None for all."""
    here = processor.current().vendor == "Intel"
    if intel is not None and here != intel:
        raise NotHere(f"this bar is for {'Intel' if intel else 'other processors than Intel'}")
    return _bit_products.over_rival(shape, "numkong")


def _claim(shape: tuple[int, ...], bar: float, intel: bool | None = None) -> Claim:
    where = {None: "", False: ", other processors than Intel", True: ", Intel"}[intel]
    return Claim(
        id=f"over-numkong-{_speed.slug(shape)}{'-intel' if intel else ''}",
        statement=f"xnor_matmul at {_speed.written(shape)} is {bar} times as fast as NumKong's hammings_packed"
        f" ({_bit_products.CONDITIONS}{where})",
        source=_bit_products.SOURCE,
        bar=(">=", bar),
        unit="times as fast",
        measure=partial(_measure, shape, intel),
    )


#: On Intel 1.8 lies above the machine's limit at the first shape.
CLAIMS = (
    _claim(_bit_products.WIDE_AND_DEEP, 1.8, intel=False),
    _claim(_bit_products.WIDE_AND_DEEP, 1.5, intel=True),
    *(_claim(shape, 1.8) for shape in _bit_products.LARGE[1:]),
    *(_claim(shape, 1.2) for shape in _bit_products.FEW_ROWS),
)
