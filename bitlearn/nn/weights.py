"""What the layers with binary weights share: the gradient of the weights in a policy's form, and its memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import WORD, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Variable, bytes_of
from bitlearn.nn.products import BLOCK_VALUES, sum_type
from bitlearn.ops.packing import pack
from bitlearn.ops.quantize import Quantized, largest_magnitude
from bitlearn.precision import Precision
from bitlearn.quantizers import BinaryGradient, Gradient, ParameterGradient, SumsGradient, latent_mask

#: What one input code is worth: codes of -128 to 127 stand for real numbers in [-1, 1).
CODE_SCALE = 2.0**-7


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
    product: Callable[[slice], np.ndarray], grad: Gradient, weight: np.ndarray, precision: Precision
) -> ParameterGradient:
    """Return a first layer's weight gradient, a few outputs at a time, so that its wide products are never whole.

    ``product(rows)`` multiplies the gradient of some outputs with the input codes.
    """
    _check_finite(weight)
    fan_in = weight[0].size
    step = max(1, BLOCK_VALUES // max(fan_in, 1))
    blocks = [slice(start, start + step) for start in range(0, len(weight), step)]
    if precision.sign_weight_gradient:
        words = track("dW", np.empty((*weight.shape[:-1], words_for(weight.shape[-1])), dtype=WORD))
        for rows in blocks:
            pack(product(rows).reshape(weight[rows].shape) >= 0, out=words[rows])
        return BinaryGradient(words, weight.shape[-1], fan_in)
    full = track("dW", np.empty(weight.shape, dtype=np.float32))
    for rows in blocks:
        values = product(rows).reshape(weight[rows].shape) * (_scale(grad) * CODE_SCALE)
        full[rows] = np.asarray(values, dtype=np.float32) * latent_mask(weight[rows])
    return full


def weight_variables(weight: np.ndarray, precision: Precision, packed: bool = True) -> list[Variable]:
    """Return the memory of latent weights, their packed signs (not a first layer's) and their gradient."""
    bits = 8 * words_for(weight.shape[-1]) * (weight.size // max(weight.shape[-1], 1))
    if precision.sign_weight_gradient:
        gradient = ("bool", bits)
    elif precision.gradient_bits is not None and packed:
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
