"""The convolution against our own matrix product with the same amount of work."""

from __future__ import annotations

from . import Claim, Measured, _bit_products, _speed

_CONVOLUTION = (100, 32, 32, 128, 128, 3)
_PRODUCT = (102400, 128, 1152)


def _measure() -> Measured:
    convolution = _speed.ours(_speed.prepared("xnor_conv2d", _CONVOLUTION), _bit_products.VARIANT)
    product = _speed.ours(_speed.prepared("xnor_matmul", _PRODUCT), _bit_products.VARIANT)
    return _speed.speed_up(convolution, product)


CLAIMS = (
    Claim(
        id="convolution-of-product",
        statement="xnor_conv2d of 100×32×32×128 with 128 kernels of 3×3 reaches 0.75 of the rate of xnor_matmul at"
        f" {_speed.written(_PRODUCT)} ({_bit_products.CONDITIONS})",
        source=_bit_products.SOURCE,
        bar=(">=", 0.75),
        unit="of the product's rate",
        measure=_measure,
    ),
)
