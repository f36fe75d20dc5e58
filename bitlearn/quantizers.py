"""What is quantized in training, forward beside backward: signs with their straight-through mask, gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits
from bitlearn.errors import NonFiniteError
from bitlearn.ops.packing import pack, unpack
from bitlearn.ops.quantize import Quantized, quantize, requantize
from bitlearn.precision import Precision

#: A gradient on its way back: float32 under ``standard``, else integers and one scale.
Gradient = np.ndarray | Quantized

#: The straight-through estimator passes a gradient where the magnitude is at most this.
CLIP = 1.0


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
    return Bits(pack(x), x.shape[-1]), Bits(pack(np.abs(x) <= CLIP), x.shape[-1])


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


def reshaped(grad: Gradient, shape: tuple[int, ...]) -> Gradient:
    """Return a gradient in another shape."""
    if isinstance(grad, Quantized):
        return Quantized(grad.values.reshape(shape), grad.scale, 0, grad.bits)
    return grad.reshape(shape)


def sums_gradient(sums: np.ndarray, grad: Gradient) -> Gradient:
    """Return the exact sums of a product with `grad` in the form that the next product takes."""
    if isinstance(grad, Quantized):
        return requantize(sums, float(grad.scale), grad.bits)
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
