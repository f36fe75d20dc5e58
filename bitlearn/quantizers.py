"""What is quantized in training, forward beside backward: signs with their straight-through mask, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits
from bitlearn.errors import NonFiniteError
from bitlearn.ops.packing import pack, unpack
from bitlearn.ops.quantize import Quantized, largest_magnitude, quantize
from bitlearn.ops.requantize import narrow, requantize, requantize_rows
from bitlearn.precision import Precision, Quantization
from bitlearn.rng import Key
from bitlearn.workspace import empty

#: A gradient on its way back: float32 under ``standard``, else integers and one scale.
Gradient = np.ndarray | Quantized

#: The straight-through estimator passes a gradient where the magnitude is at most this.
CLIP = 1.0
#: The largest magnitude of exact sums.
_SUMS_LIMIT = {np.dtype(np.int32): 2.0**31, np.dtype(np.int64): 2.0**63}
#: From here on a float64 becomes infinite in float32: half a step past the largest.
_LARGEST = 2.0**128 - 2.0**103


def ste_sign(x: np.ndarray) -> tuple[Bits, Bits]:
    """Return sign(x), with sign(0) = +1, and the mask of its straight-through estimator, ``1[|x| <= 1]``, both packed.

    Parameters
    ----------
    x : ndarray of float, shape (..., n)

    Returns
    -------
    signs, mask : Bits, shape (..., n)

    Notes
    -----
    arXiv 1602.02830, equation 4: the gradient of ``sign`` is taken as that of the identity, cut off beyond 1.
    """
    return Bits(pack(x), x.shape[-1]), Bits(pack(np.abs(x, out=empty(x.shape, x.dtype)) <= CLIP), x.shape[-1])


def ste_backward(mask: Bits, grad: Gradient) -> Gradient:
    """Pass the gradient of a sign where its packed mask is set, and stop it elsewhere.

    Parameters
    ----------
    mask : Bits, shape (..., n)
    grad : ndarray of float32 or Quantized, shape (..., n)

    Returns
    -------
    ndarray of float32 or Quantized
        Of the kind of `grad`.
    """
    passes = unpack(mask.words, mask.n) > 0
    if isinstance(grad, Quantized):
        return Quantized(track("dX", grad.values * passes), grad.scale, 0, grad.bits)
    return track("dX", grad * passes)


def quantize_gradient(grad: np.ndarray, precision: Precision) -> Gradient:
    """Return a float gradient in the form that a policy's products take."""
    if precision.gradient_bits is None:
        return grad
    if not np.isfinite(grad).all():
        raise NonFiniteError("the gradient")
    return quantize(grad, precision.gradient_bits)


def scaled(grad: Gradient, factor: float) -> Gradient:
    """Return a gradient times a positive number."""
    if isinstance(grad, Quantized):
        return Quantized(grad.values, grad.scale * factor, 0, grad.bits)
    return grad * np.float32(factor)


def integers(grad: Gradient) -> np.ndarray:
    """Return what a product takes: the integers of a quantized gradient, or the float gradient itself."""
    return grad.values if isinstance(grad, Quantized) else grad


def width(grad: Gradient) -> int | None:
    """Return how many bits the int8 codes of a quantized gradient need, or None of another gradient."""
    return grad.bits if isinstance(grad, Quantized) and grad.values.dtype == np.int8 else None


def reshaped(grad: Gradient, shape: tuple[int, ...]) -> Gradient:
    """Return a gradient in another shape."""
    if isinstance(grad, Quantized):
        return Quantized(grad.values.reshape(shape), grad.scale, 0, grad.bits)
    return grad.reshape(shape)


def weight_operand(grad: Gradient, precision: Precision, key: Key | None) -> Gradient:
    """Return a gradient (..., channels) as the product that gives the weight's gradient takes it."""
    return _operand(grad, precision.weight_gradient, integers(grad).ndim - 1, key)


def input_operand(grad: Gradient, precision: Precision, key: Key | None) -> Gradient:
    """Return a gradient (rows, ...) as the product that gives the input's gradient takes it."""
    return _operand(grad, precision.input_gradient, 0, key, 1)


def _operand(grad: Gradient, how: Quantization | None, axis: int, key: Key | None, stream: int = 0) -> Gradient:
    """Narrow a gradient as a product wants it, its own scales along `axis`; a gradient that is no wider stays.

    Random bits come from the key's stream that is so many further on.
    """
    if how is None or not isinstance(grad, Quantized) or how.bits >= grad.bits:
        return grad
    stochastic = how.rounding == "stochastic"
    if stochastic and key is None:
        raise ValueError("a policy that rounds at random needs a key, got none")
    random = key.at(key.stream + stream) if stochastic and key is not None else None
    return narrow(grad, how.bits, axis=None if how.scale == "tensor" else axis, key=random)


def sums_like(values: np.ndarray) -> np.dtype:
    """Return the type of the sums of a gradient's numbers: exact ones of its integers."""
    if values.dtype.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.int32 if values.dtype == np.int8 else np.int64)


def input_gradient_of(
    product: Callable[[slice, np.ndarray], object], shape: tuple[int, ...], operand: Gradient, precision: Precision
) -> Gradient:
    """Return the gradient that flows on from a product with `operand`; ``product(rows, out)`` writes some rows' sums.

    Where the policy has them a row at a time, the sums are never whole.
    """
    kind = sums_like(integers(operand))
    if isinstance(operand, Quantized) and precision.row_by_row:
        assert precision.gradient_bits is not None
        return requantize_rows(product, shape, kind, operand.scale, precision.gradient_bits)
    sums = track("dX sums", empty(shape, kind))
    product(slice(0, shape[0]), sums)
    return sums_gradient(sums, operand, precision.gradient_bits)


def sums_gradient(sums: np.ndarray, operand: Gradient, bits: int | None = None) -> Gradient:
    """Return the exact sums of a product with `operand` as the gradient that flows on, in `bits` or as it came."""
    if isinstance(operand, Quantized):
        scale = operand.scale if np.ndim(operand.scale) else float(operand.scale)
        return requantize(sums, scale, operand.bits if bits is None else bits)
    return sums


def latent_mask(weight: np.ndarray) -> np.ndarray:
    """Return ``1[|W| <= 1]``: a latent weight beyond the clip gets no gradient."""
    if weight.dtype == np.float16:
        # Magnitudes are ordered like their bit patterns, which NumPy compares many at a time; float16 it does not.
        return (weight.view(np.uint16) & np.uint16(0x7FFF)) <= np.float16(CLIP).view(np.uint16)
    return np.abs(weight) <= CLIP


@dataclass(frozen=True, eq=False)
class BinaryGradient:
    """The sign of each weight's gradient, one bit a weight (arXiv 2102.04270).

    Parameters
    ----------
    words : ndarray of uint64, shape (..., words)
        Signs, packed along the last axis.
    n : int
        The last axis of the weights.
    fan_in : int
        How many weights feed one output: SGD and Bop take ``sign / sqrt(fan_in)``, Adam, to which a constant factor
        is nothing, takes the signs.
    """

    words: np.ndarray
    n: int
    fan_in: int

    def dense(self, weight: np.ndarray, rows: slice) -> np.ndarray:
        """Return some rows as float32 of -1, 0 and +1; 0 where the latent weight is beyond the clip.

        Parameters
        ----------
        weight : ndarray
            The latent weights.
        rows : slice
            Of the first axis.

        Returns
        -------
        ndarray of float32, shape (rows, ...)
        """
        return unpack(self.words[rows], self.n, dtype=np.float32) * latent_mask(weight[rows])


@dataclass(frozen=True, eq=False)
class SumsGradient:
    """The gradient of each weight as an exact integer sum, worth `scale` each: no float32 copy is made of them.

    Parameters
    ----------
    sums : ndarray of int32 or int64
        Of the weights' shape.
    scale : float
    """

    sums: np.ndarray
    scale: float

    def dense(self, weight: np.ndarray, rows: slice) -> np.ndarray:
        """Return some rows as float32, ``sums * scale`` in float64 rounded once; 0 beyond the clip.

        Parameters
        ----------
        weight : ndarray
            The latent weights.
        rows : slice
            Of the first axis.

        Returns
        -------
        ndarray of float32, shape (rows, ...)

        Examples
        --------
        >>> gradient = SumsGradient(np.array([[2, -2, 4]], dtype=np.int32), 0.25)
        >>> gradient.dense(np.array([[0.5, 1.0, 1.5]], dtype=np.float32), slice(None))
        array([[ 0.5, -0.5,  0. ]], dtype=float32)
        """
        return (self.sums[rows] * self.scale).astype(np.float32) * latent_mask(weight[rows])


#: The gradient of a parameter: float32 values, or the weights' of a binary layer in the form that its product gives.
ParameterGradient = np.ndarray | BinaryGradient | SumsGradient


def is_finite(gradient: ParameterGradient) -> bool:
    """Whether a parameter's gradient holds neither NaN nor infinity in float32.

    Parameters
    ----------
    gradient : ndarray of float, BinaryGradient or SumsGradient

    Returns
    -------
    bool

    Examples
    --------
    >>> is_finite(SumsGradient(np.array([[1000]], dtype=np.int32), 1e36))
    False
    """
    if isinstance(gradient, BinaryGradient):
        return True
    if isinstance(gradient, SumsGradient):
        most = _SUMS_LIMIT[gradient.sums.dtype]
        if most * gradient.scale < _LARGEST:
            return True
        most = max(-float(gradient.sums.min(initial=0)), float(gradient.sums.max(initial=0)))
        return most * gradient.scale < _LARGEST
    return math.isfinite(largest_magnitude(gradient))
