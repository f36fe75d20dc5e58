"""xnor_matmul against NumPy's float32 product of the same ±1 matrices, and which kernels its BLAS picked."""

from __future__ import annotations

from collections.abc import Callable

from .. import processor, records
from . import Claim, Measured, NotHere, _bit_products, _speed

_SHAPE = _bit_products.WIDE_AND_DEEP
_WRITTEN = _speed.written(_SHAPE)


def _ratio() -> Measured:
    return _bit_products.over_rival(_SHAPE, "numpy-float32")


def _ratio_with_haswell_kernels() -> Measured:
    found = _ratio()
    own = [library for library in records.blas() or [] if library["of"] == "numpy.libs"]
    picked = [library.get("architecture", "unknown") for library in own]
    name = processor.current().microarchitecture
    if name != "Zen 5" or picked != ["Haswell"]:
        here = f"{name or 'another processor'} with {', '.join(picked) or 'another BLAS'}"
        raise NotHere(f"this bar is for Zen 5 where OpenBLAS picks its Haswell kernels, here is {here}")
    return found


def _claim(name: str, bar: float, where: str, measure: Callable[[], Measured]) -> Claim:
    return Claim(
        id=name,
        statement=f"xnor_matmul at {_WRITTEN} is {bar:g} times as fast as NumPy's float32 product"
        f" ({_bit_products.CONDITIONS}{where})",
        source=_bit_products.SOURCE,
        bar=(">=", bar),
        unit="times as fast",
        measure=measure,
    )


CLAIMS = (
    _claim("over-numpy-float32", 15.0, "", _ratio),
    _claim(
        "over-numpy-float32-haswell-kernels",
        30.0,
        ", Zen 5 where OpenBLAS picks its Haswell kernels",
        _ratio_with_haswell_kernels,
    ),
)
