"""xnor_matmul against the machine's limit, at several shapes."""

from __future__ import annotations

from functools import partial

from . import Claim, _bit_products, _speed

#: What small shapes miss goes into the call, the edges and the stores.
_BARS = dict.fromkeys(_bit_products.LARGE, 0.85) | {
    _bit_products.WIDE_AND_DEEP: 0.90,
    (96, 1024, 1024): 0.75,
    (256, 256, 256): 0.45,
}

CLAIMS = tuple(
    Claim(
        id=f"share-of-probe-{_speed.slug(shape)}",
        statement=f"xnor_matmul at {_speed.written(shape)} reaches {bar} of the probe's rate"
        f" ({_bit_products.CONDITIONS})",
        source=_bit_products.SOURCE,
        bar=(">=", bar),
        unit="of the probe's rate",
        measure=partial(_bit_products.share_of_probe, shape),
    )
    for shape, bar in _BARS.items()
)
