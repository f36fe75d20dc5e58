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
from bitlearn.ops.requantize import rows_at_a_time
from bitlearn.precision import Precision
from bitlearn.quantizers import (
    BinaryGradient,
    Gradient,
    ParameterGradient,
    SumsGradient,
    integers,
    latent_mask,
    weight_operand,
)
from bitlearn.rng import Key
from bitlearn.workspace import empty

#: What one input code is worth: codes of -128 to 127 stand for real numbers in [-1, 1).
CODE_SCALE = 2.0**-7
#: Where only signs are kept, a first layer's sums are formed for so many weights at a time.
SIGN_SUMS = 2**15
#: Where each output has a scale, so many float64 products are formed at a time.
_SCALED_SUMS = 2**12


def _check_finite(weight: np.ndarray) -> None:
    if not math.isfinite(largest_magnitude(weight)):
        raise NonFiniteError("the latent weights")


def _scales(operand: Gradient, weight: np.ndarray) -> np.ndarray:
    """Return what a sum is worth, float64, so that it broadcasts: one number, or one an output."""
    scale = np.asarray(operand.scale if isinstance(operand, Quantized) else 1.0, dtype=np.float64)
    return scale.reshape(-1, *[1] * (weight.ndim - 1)) if scale.ndim else scale


def binary_weight_gradient(
    product: Callable[..., np.ndarray], grad: Gradient, weight: np.ndarray, precision: Precision, key: Key | None
) -> ParameterGradient:
    """Return the gradient of latent weights: the signs alone, integer sums and their scale, or float32.

    ``product(operand, **options)`` runs `grad_weight` or `conv2d_grad_weight` on the integers (or floats) of `grad` as
    the policy wants them. What passes the straight-through estimator is left to whoever uses the signs or the sums.
    """
    _check_finite(weight)
    operand = weight_operand(grad, precision, key)
    if precision.sign_weight_gradient:
        return BinaryGradient(track("dW", product(operand, output="sign")), weight.shape[-1], weight[0].size)
    return _worth(product(operand), _scales(operand, weight), weight, precision)


def _worth(sums: np.ndarray, scales: np.ndarray, weight: np.ndarray, precision: Precision) -> ParameterGradient:
    """Return sums worth one number each as they are; those that are floats, or have a scale an output, as float32."""
    if scales.ndim:
        full = track("dW", empty(weight.shape, np.float32))
        for rows in _blocks(weight, _SCALED_SUMS):
            np.multiply((sums[rows] * scales[rows]).astype(np.float32), latent_mask(weight[rows]), out=full[rows])
        return full
    track("dW", sums)
    if precision.integer:
        return SumsGradient(sums, float(scales))
    if scales != 1:
        sums *= np.float32(scales)
    return np.multiply(sums, latent_mask(weight), out=sums)


def _blocks(weight: np.ndarray, most: int) -> list[slice]:
    """Cut the outputs of a layer into groups of at most so many weights, or of one output."""
    step = max(1, most // max(weight[0].size, 1))
    return [slice(start, start + step) for start in range(0, len(weight), step)]


def input_weight_gradient(
    product: Callable[[Gradient, int, np.ndarray], None],
    grad: Gradient,
    weight: np.ndarray,
    precision: Precision,
    key: Key | None,
) -> ParameterGradient:
    """Return a first layer's weight gradient, in the form that `binary_weight_gradient` has.

    ``product(operand, first, total)`` writes the products of the channels of the gradient, as the policy wants it, from
    the first on, with the input codes to `total`, (outputs, fan_in).
    """
    _check_finite(weight)
    operand = weight_operand(grad, precision, key)
    values, fan_in = integers(operand), weight[0].size
    rows = values.size // max(len(weight), 1)
    if precision.sign_weight_gradient:
        # A few outputs at a time, so that the sums are never whole.
        words = track("dW", empty((*weight.shape[:-1], words_for(weight.shape[-1])), WORD))
        for each in _blocks(weight, SIGN_SUMS):
            part = words[each]
            sums = code_sums((len(part), fan_in), values, rows)
            product(operand, each.start, sums)
            pack(sums.reshape(len(part), *weight.shape[1:]) >= 0, out=part)
        return BinaryGradient(words, weight.shape[-1], fan_in)
    sums = code_sums((len(weight), fan_in), values, rows)
    product(operand, 0, sums)
    return _worth(sums.reshape(weight.shape), _scales(operand, weight) * CODE_SCALE, weight, precision)


def weight_variables(weight: np.ndarray, precision: Precision, packed: bool = True) -> list[Variable]:
    """Return the memory of latent weights, their packed signs (not a first layer's) and their gradient."""
    bits = 8 * words_for(weight.shape[-1]) * (weight.size // max(weight.shape[-1], 1))
    if precision.sign_weight_gradient:
        gradient = ("bool", bits)
    elif precision.weight_gradient is not None and precision.weight_gradient.scale == "tensor":
        wide = 64 if precision.weight_gradient.bits > 8 else 32
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


def sum_variables(
    precision: Precision, batch: int, inputs: int, outputs: int, n: int, *, blocks: bool = True
) -> list[Variable]:
    """Return the transient memory of a layer's sums and of its input gradient, counted in values an example.

    ``blocks`` says whether the layer forms the sums of that gradient row by row where its policy wants them so.
    """
    kind = np.dtype(sum_type(n))
    found = [Variable("Y", "transient", kind.name, batch * outputs * kind.itemsize)]
    if precision.gradient_bits is None or precision.input_gradient is None:
        return [*found, Variable("dX sums", "transient", "float32", 4 * batch * inputs)]
    wide = 64 if precision.input_gradient.bits > 8 else 32
    narrow = 16 if precision.gradient_bits > 8 else 8
    rows = min(batch, rows_at_a_time(inputs)) if blocks and precision.row_by_row else batch
    return [
        *found,
        Variable("dX sums", "transient", f"int{wide}", bytes_of(rows * inputs, wide)),
        Variable("dX", "transient", f"int{narrow}", bytes_of(batch * inputs, narrow)),
    ]
