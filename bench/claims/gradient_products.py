"""Products of gradients with bits against PyTorch's int8 product, NumPy's float32 and the dot instruction."""

from __future__ import annotations

from functools import partial

from ..cases import Shape
from . import Claim, _gradient_products, _speed
from ._gradient_products import CONDITIONS, CUBE, INT_MM, NUMPY, SOURCE

#: Those of the second convolution of each resolution of BinaryNet; batch 25 of the largest maps, 100 of the others.
_PRODUCTS = (CUBE, (25600, 128, 1152), (25600, 256, 1152), (6400, 512, 2304))
_CONVOLUTIONS = ((25, 32, 32, 128, 128, 3), (100, 16, 16, 128, 256, 3), (100, 8, 8, 256, 512, 3))


#: Of the rate of PyTorch's product: gradients of 8 bits; of 4, at the cube and at the shapes of the network.
_BAR, _BARS_OF_4 = 1.3, (2.5, 2.0)


def _over_int_mm(kernel: str, shape: Shape, form: str = "int8") -> Claim:
    size = f" of the product at {_speed.written(_gradient_products.product_shape(shape))}" if len(shape) == 6 else ""
    bar = _BAR if form == "int8" else _BARS_OF_4[shape != CUBE]
    few = "" if form == "int8" else f"-{form}"
    return Claim(
        id=f"{kernel.replace('_', '-')}{few}-over-int-mm-{_speed.slug(shape)}",
        statement=f"{kernel} of {form} at {_speed.written(shape)} reaches {bar} of the rate of torch._int_mm{size} on"
        f" int8 operands that are ready, with out= ({CONDITIONS})",
        source=SOURCE,
        bar=(">=", bar),
        unit="of the rate of torch._int_mm",
        measure=partial(_gradient_products.over_rival, kernel, shape, INT_MM, form),
    )


def _claims_at_the_cube(kernel: str) -> tuple[Claim, ...]:
    name, size = kernel.replace("_", "-"), _speed.written(CUBE)
    return (
        Claim(
            id=f"{name}-share-of-probe",
            statement=f"{kernel} of int8 at {size} reaches 0.75 of what the registers alone allow the dot instruction"
            f" ({CONDITIONS})",
            source=SOURCE,
            bar=(">=", 0.75),
            unit="of the probe's rate",
            measure=partial(_gradient_products.share_of_probe, kernel, CUBE),
        ),
        Claim(
            id=f"{name}-over-numpy-float32",
            statement=f"{kernel} of int8 at {size} is 3.5 times as fast as NumPy's float32 product ({CONDITIONS})",
            source=SOURCE,
            bar=(">=", 3.5),
            unit="times as fast",
            measure=partial(_gradient_products.over_rival, kernel, CUBE, NUMPY),
        ),
    )


CLAIMS = (
    *(
        _over_int_mm(f"{layer}{kernel}", shape, form)
        for form in ("int8", "4-bit")
        for layer, shapes in (("", _PRODUCTS), ("conv2d_", _CONVOLUTIONS))
        for kernel in ("grad_input", "grad_weight")
        for shape in shapes
    ),
    *(claim for kernel in ("grad_input", "grad_weight") for claim in _claims_at_the_cube(kernel)),
)
