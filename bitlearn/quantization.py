"""How a gradient is quantized before a product, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitlearn.errors import brief, by_name

Scale = Literal["tensor", "row", "channel"]
#: The widest gradient; and the width of powers of two: a sign, and an exponent of four bits.
MOST, POWER = 16, 5


@dataclass(frozen=True)
class Quantization:
    """How a gradient is quantized before a product of the backward pass.

    Parameters
    ----------
    bits : int
        2 to 16.
    scale : {"tensor", "row", "channel"}
        A single scale, one per example or image (for the input's gradient), or one per output channel (for the
        weight's).
    rounding : {"nearest", "stochastic"}
        To nearest, ties to even; or up with a probability equal to the fraction, by random bits that depend on the
        seed, the step and the layer.
    scheme : {"linear", "power-of-two"}
        Codes at equal distances; or powers of two, a sign and an exponent (the first version of arXiv 2102.04270):
        these have 5 bits, one scale, and are rounded to nearest.

    Raises
    ------
    TypeError, ValueError
        If `bits` is not such a number, or `scale` or `rounding` has no such name.

    Examples
    --------
    >>> Quantization(4, rounding="stochastic")
    Quantization(bits=4, scale='tensor', rounding='stochastic', scheme='linear')
    """

    bits: int
    scale: Scale = "tensor"
    rounding: Literal["nearest", "stochastic"] = "nearest"
    scheme: Literal["linear", "power-of-two"] = "linear"

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise TypeError(f"bits must be an integer, got {brief(self.bits)}")
        if not 2 <= self.bits <= MOST:
            raise ValueError(f"bits must be in [2, {MOST}], got {brief(self.bits)}")
        for name, allowed in (("scale", ("tensor", "row", "channel")), ("rounding", ("nearest", "stochastic"))):
            by_name(name, getattr(self, name), dict.fromkeys(allowed))
        by_name("scheme", self.scheme, dict.fromkeys(("linear", "power-of-two")))
        if self.is_power and (self.bits, self.scale, self.rounding) != (POWER, "tensor", "nearest"):
            raise ValueError(
                f"powers of two must have {POWER} bits, one scale and rounding to nearest, got {self.bits} bits, "
                f"{self.scale!r} and {self.rounding!r}"
            )

    def __str__(self) -> str:
        own = "" if self.scale == "tensor" else f", a scale a {self.scale}"
        how = ", powers of two" if self.is_power else ""
        return f"{self.bits} bits{own}{how}{', stochastic' if self.rounding == 'stochastic' else ''}"

    @property
    def is_power(self) -> bool:
        """Whether its codes are powers of two."""
        return self.scheme == "power-of-two"

    @property
    def plain(self) -> bool:
        """Whether it has a single scale, rounding to nearest and equally spaced codes."""
        return self.scale == "tensor" and self.rounding == "nearest" and not self.is_power
