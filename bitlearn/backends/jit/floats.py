"""What kernels do with single floats: their bits, float16, which Numba has not, roundings and the largest of some."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from bitlearn.backends.jit.compilation import helper, inlined

# Adding one of them to a float32 below 2**22, or a float64 below 2**51, rounds that to an integer, ties to even:
# Numba's own rounding is a call.
_ROUNDING32, _ROUNDING64 = np.float32(1.5 * 2.0**23), np.float64(1.5 * 2.0**52)
_LARGEST_HALF = float(np.finfo(np.float16).max)


@intrinsic
def float_of(typing_context, bits):
    """A uint32 as the float32 of these bits."""
    if bits != types.uint32:
        return None
    float32 = types.float32

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(float32))

    return float32(types.uint32), codegen


@intrinsic
def bits_of(typing_context, value):
    """The bits of a float32 as a uint32."""
    if value != types.float32:
        return None
    uint32 = types.uint32

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(uint32))

    return uint32(types.float32), codegen


@helper
def from_float16(half):
    """The float32 of float16 bits: the exponent's bias is 127 where it was 15, infinity and small numbers apart."""
    magnitude = np.uint32(half & 0x7FFF)
    bits = np.uint32((magnitude << 13) + (112 << 23))
    if magnitude >= 0x7C00:
        bits = np.uint32(bits + (112 << 23))
    elif magnitude < 0x0400:
        # The smallest exponent, and off with its hidden bit: exact.
        bits = bits_of(float_of(np.uint32(bits + (1 << 23))) - float_of(np.uint32(113 << 23)))
    return float_of(np.uint32(bits | (half & 0x8000) << 16))


@helper
def to_float16(value):
    """The float16 bits of a float32, to nearest, ties to even; NaN keeps what fits of its bits."""
    bits = np.int64(bits_of(value))
    magnitude = bits & 0x7FFFFFFF
    if magnitude > 0x7F800000:
        half = max(magnitude >> 13 & 0x7FFF, 0x7C01)
    elif magnitude >= 143 << 23:
        half = np.int64(0x7C00)
    elif magnitude < 113 << 23:
        # The last bit of 0.5 is worth the smallest float16, so that the addition rounds.
        half = np.int64(bits_of(float_of(np.uint32(magnitude)) + np.float32(0.5))) - (126 << 23)
    else:
        half = (magnitude - (112 << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13
    return np.uint16(half | bits >> 16 & 0x8000)


@helper
def rounded_to_half(value):
    """The float16 nearest to a float64, ties to even, as a float64: rounded once, not by way of float32."""
    if not abs(value) < np.inf:
        return value
    # Of eleven binary digits, and no smaller than the last one of the smallest numbers, 2**-24.
    _, exponent = math.frexp(value)
    last = max(exponent - 11, -24)
    rounded = math.ldexp(np.rint(math.ldexp(value, -last)), last)
    return rounded if abs(rounded) <= _LARGEST_HALF else math.copysign(np.inf, value)


@helper
def kept(value, half):
    """A float64 as float16 (where half) or float32 keeps it."""
    return rounded_to_half(value) if half else np.float64(np.float32(value))


def rounded(value):
    """A float32 or float64, far from the limits of its digits, as the nearest integer, ties to even."""
    raise NotImplementedError("compiled code alone calls this")


@overload(rounded)
def _rounded(value):
    rounding = _ROUNDING32 if value == types.float32 else _ROUNDING64
    return lambda value: np.int32((value + rounding) - rounding)


@inlined
def clipped(value, limit):
    """The value in [-limit, limit]; both of one type of float."""
    return min(max(value, -limit), limit)


@helper
def largest_of(values):
    """The largest of some floats, 0 of nothing, NaN where one is."""
    largest = values.dtype.type(0)
    for value in values:
        # Nothing is larger than NaN, nor NaN larger than anything.
        if not value <= largest and largest == largest:
            largest = value
    return largest
