"""Convolutions of packed images with packed kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bitlearn.bits import WORD, words_for
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.matmul import RESULT_TYPES
from bitlearn.ops.weights import PackedWeights, multiply, operand

Pair = int | tuple[int, int]
Padding = int | tuple[int, int] | Literal["same"]


def _pair(name: str, value: object, least: int) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be an integer or a pair (height, width), got {brief(value)}")
    else:
        value = value, value
    height, width = (check.count(name, each, least=least, most=check.LARGEST_STEP) for each in value)
    return height, width


@dataclass(frozen=True)
class Geometry:
    """The windows of a convolution: strides, the padding before, and the size of the result."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    pad_value: int
    out_size: tuple[int, int]


def geometry(
    image: tuple[int, int], kernel: tuple[int, int], stride: Pair, padding: Padding, pad_value: int
) -> Geometry:
    """Check a convolution's parameters and return its windows.

    ``padding="same"`` is TensorFlow's: ``out = ceil(in / stride)``, the odd pixel of padding after.
    """
    steps = _pair("stride", stride, 1)
    check.choice("pad_value", pad_value, (0, 1, -1))
    if isinstance(padding, str):
        check.choice("padding", padding, ("same",))
        out_size = tuple(-(-size // step) for size, step in zip(image, steps, strict=True))
        total = [max((o - 1) * s + k - i, 0) for o, s, k, i in zip(out_size, steps, kernel, image, strict=True)]
        return Geometry(steps, (total[0] // 2, total[1] // 2), int(pad_value), (out_size[0], out_size[1]))
    before = _pair("padding", padding, 0)
    room = [i + 2 * p - k for i, p, k in zip(image, before, kernel, strict=True)]
    if min(room) < 0:
        raise ValueError(f"kernels must fit images of size {image} with padding {before}, got size {kernel}")
    return Geometry(steps, before, int(pad_value), (room[0] // steps[0] + 1, room[1] // steps[1] + 1))


def _operands(
    x: ArrayLike, w: ArrayLike | PackedWeights, n: int, stride: Pair, padding: Padding, pad_value: int
) -> tuple[np.ndarray, np.ndarray | PackedWeights, Geometry]:
    images = check.words("x", x, n, 4)
    kernels = operand("w", w, n, 4)
    windows = geometry(images.shape[1:3], (kernels.shape[1], kernels.shape[2]), stride, padding, pad_value)
    check.accumulator(n * kernels.shape[1] * kernels.shape[2], np.dtype(np.int32))
    return images, kernels, windows


def _convolve(
    kernel: str,
    images: np.ndarray,
    kernels: np.ndarray | PackedWeights,
    n: int,
    windows: Geometry,
    rest: tuple,
    threads: int | None,
) -> None:
    """Convolve; `rest` ends in the result."""
    geometry = (n, windows.stride, windows.padding, windows.pad_value)
    pixels = len(images) * windows.out_size[0] * windows.out_size[1]
    multiply(kernel, images, kernels, (kernels.shape[1:3], *geometry, *rest), pixels, threads)


def xnor_conv2d(
    x: ArrayLike,
    w: ArrayLike | PackedWeights,
    n: int,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    pad_value: int = 0,
    dtype: DTypeLike = np.int32,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Convolve packed ±1 images with packed ±1 kernels.

    Parameters
    ----------
    x : array_like of uint64, shape (batch, height, width, words)
        NHWC images, channels packed.
    w : array_like of uint64, shape (out, kh, kw, words), or PackedWeights
    n : int
        The number of input channels; ``words = ceil(n / 64)``.
    stride : int or (int, int)
        Rows and columns between windows.
    padding : int, (int, int) or "same" Rows and columns added on each side, or "same" as TensorFlow defines it.
    pad_value : {0, 1, -1}
        What a padded position holds in every channel: a true zero, +1 or -1.
    dtype : {int16, int32, float32}
        The type of the result; ``n * kh * kw`` must fit it.
    out : ndarray of `dtype`, shape (batch, out_h, out_w, out), optional
    threads : int, optional
        How many threads share the images.

    Returns
    -------
    ndarray of `dtype`, shape (batch, out_h, out_w, out)

    Raises
    ------
    TypeError, ValueError
        As `xnor_matmul`; also if a stride is below 1, a padding below 0, either past ``2**31 - 1``, or the kernel
        larger than the padded image.

    Notes
    -----
    The cross-correlation that deep learning libraries call a convolution; the kernel is not flipped:
    ``y[b, r, c, o] = sum_{i, j, ch} x[b, r * sh + i - top, c * sw + j - left, ch] * w[o, i, j, ch]``.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = bl.pack(np.ones((1, 3, 3, 2)))
    >>> w = bl.pack(np.ones((1, 3, 3, 2)))
    >>> bl.xnor_conv2d(x, w, 2, padding="same")[0, :, :, 0]
    array([[ 8, 12,  8],
           [12, 18, 12],
           [ 8, 12,  8]], dtype=int32)
    """
    n = check.count("n", n)
    images, kernels, windows = _operands(x, w, n, stride, padding, pad_value)
    kind = check.dtype("dtype", dtype, RESULT_TYPES)
    check.accumulator(n * kernels.shape[1] * kernels.shape[2], kind)
    shape = (len(images), *windows.out_size, kernels.shape[0])
    result = check.output(out, shape, kind, [x, w])
    _convolve("xnor_conv2d", images, kernels, n, windows, (result,), threads)
    return result


def xnor_conv2d_sign(
    x: ArrayLike,
    w: ArrayLike | PackedWeights,
    n: int,
    threshold: ArrayLike,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    pad_value: int = 0,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Convolve packed images with packed kernels, keeping one bit per result: whether it reaches its threshold.

    Parameters
    ----------
    x, w, n
        As `xnor_conv2d`.
    threshold : array_like of int
        A scalar or of shape (out,); it must fit int32.
    stride, padding, pad_value
        As `xnor_conv2d`.
    out : ndarray of uint64, shape (batch, out_h, out_w, ceil(out / 64)), optional
    threads : int, optional
        How many threads share the images.

    Returns
    -------
    ndarray of uint64, shape (batch, out_h, out_w, ceil(out / 64))
        Packed sign bits of the output channels.

    Raises
    ------
    TypeError, ValueError
        As `xnor_conv2d` and `xnor_matmul_sign`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = bl.pack(np.ones((1, 2, 2, 3)))
    >>> w = bl.pack([[[[1.0, 1.0, 1.0]]], [[[-1.0, -1.0, 1.0]]]])
    >>> bl.unpack(bl.xnor_conv2d_sign(x, w, 3, 0), 2)[0, 0, 0]
    array([ 1, -1], dtype=int8)
    """
    n = check.count("n", n)
    images, kernels, windows = _operands(x, w, n, stride, padding, pad_value)
    bounds = check.thresholds(threshold, kernels.shape[0])
    shape = (len(images), *windows.out_size, words_for(kernels.shape[0]))
    result = check.output(out, shape, WORD, [x, w, threshold])
    _convolve("xnor_conv2d_sign", images, kernels, n, windows, (bounds, result), threads)
    return result
