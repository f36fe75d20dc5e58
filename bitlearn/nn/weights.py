"""What the layers with binary weights share: the gradient of the weights in a policy's form, and its memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import WORD, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Variable, bytes_of
from bitlearn.nn.products import sum_type
from bitlearn.ops.codes import code_sums
from bitlearn.ops.packing import pack
from bitlearn.ops.quantize import Quantized, largest_magnitude
from bitlearn.precision import Precision
from bitlearn.quantizers import BinaryGradient, Gradient, ParameterGradient, SumsGradient, integers, latent_mask

#: What one input code is worth: codes of -128 to 127 stand for real numbers in [-1, 1).
CODE_SCALE = 2.0**-7
#: Where only signs are kept, a first layer's sums are formed for so many weights at a time.
SIGN_SUMS = 2**15


def _check_finite(weight: np.ndarray) -> None:
    if not math.isfinite(largest_magnitude(weight)):
        raise NonFiniteError("the latent weights")


def _scale(grad: Gradient) -> float:
    return float(grad.scale) if isinstance(grad, Quantized) else 1.0


def binary_weight_gradient(
    product: Callable[..., np.ndarray], grad: Gradient, weight: np.ndarray, precision: Precision
) -> ParameterGradient:
    """Return the gradient of latent weights: the signs alone, integer sums and their scale, or float32.

    ``product(**options)`` runs `grad_weight` or `conv2d_grad_weight` on the integers (or floats) of `grad`. What passes
    the straight-through estimator is left to whoever uses the signs or the sums.
    """
    _check_finite(weight)
    if precision.sign_weight_gradient:
        return BinaryGradient(track("dW", product(output="sign")), weight.shape[-1], weight[0].size)
    sums = track("dW", product())
    if precision.integer:
        return SumsGradient(sums, _scale(grad))
    return np.multiply(sums, latent_mask(weight), out=sums)


def input_weight_gradient(
    add_product: Callable[[int, np.ndarray], None], grad: Gradient, weight: np.ndarray, precision: Precision
) -> ParameterGradient:
    """Return a first layer's weight gradient, in the form that `binary_weight_gradient` has.

    ``add_product(first, total)`` adds the products of the gradient's channels, from the first on, with the input codes
    to `total`, (outputs, fan_in).
    """
    _check_finite(weight)
    values, fan_in = integers(grad), weight[0].size
    rows = values.size // max(len(weight), 1)
    if precision.sign_weight_gradient:
        # A few outputs at a time, so that the sums are never whole.
        words = track("dW", np.empty((*weight.shape[:-1], words_for(weight.shape[-1])), dtype=WORD))
        step = max(1, SIGN_SUMS // max(fan_in, 1))
        for first in range(0, len(weight), step):
            part = words[first : first + step]
            sums = code_sums((len(part), fan_in), values, rows)
            add_product(first, sums)
            pack(sums.reshape(len(part), *weight.shape[1:]) >= 0, out=part)
        return BinaryGradient(words, weight.shape[-1], fan_in)
    sums = track("dW", code_sums((len(weight), fan_in), values, rows))
    add_product(0, sums)
    total = sums.reshape(weight.shape)
    if precision.integer:
        return SumsGradient(total, _scale(grad) * CODE_SCALE)
    total *= np.float32(CODE_SCALE)
    return np.multiply(total, latent_mask(weight), out=total)


def weight_variables(weight: np.ndarray, precision: Precision, packed: bool = True) -> list[Variable]:
    """Return the memory of latent weights, their packed signs (not a first layer's) and their gradient."""
    bits = 8 * words_for(weight.shape[-1]) * (weight.size // max(weight.shape[-1], 1))
    if precision.sign_weight_gradient:
        gradient = ("bool", bits)
    elif precision.gradient_bits is not None:
        wide = 64 if precision.gradient_bits > 8 else 32
        gradient = (f"int{wide}", bytes_of(weight.size, wide))
    else:
        gradient = ("float32", 4 * weight.size)
    found = [
        Variable("W", "persistent", precision.latent.name, weight.nbytes),
        Variable("dW", "step", gradient[0], gradient[1]),
    ]
    if packed:
        found.append(Variable("packed W", "forward to backward", "bool", bits))
    return found


def sum_variables(precision: Precision, inputs: int, outputs: int, n: int) -> list[Variable]:
    """Return the transient memory of a layer's sums and of its input gradient, counted in values."""
    kind = np.dtype(sum_type(n))
    found = [Variable("Y", "transient", kind.name, outputs * kind.itemsize)]
    if precision.gradient_bits is None:
        return [*found, Variable("dX sums", "transient", "float32", 4 * inputs)]
    wide, narrow = (64, 16) if precision.gradient_bits > 8 else (32, 8)
    return [
        *found,
        Variable("dX sums", "transient", f"int{wide}", bytes_of(inputs, wide)),
        Variable("dX", "transient", f"int{narrow}", bytes_of(inputs, narrow)),
    ]
