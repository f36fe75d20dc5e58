"""The gradients of packed convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.errors import brief
from bitlearn.ops import check, planes
from bitlearn.ops.conv import Geometry, Padding, Pair, geometry
from bitlearn.ops.conv_planes import WeightPlanes, input_values
from bitlearn.ops.dispatch import run
from bitlearn.ops.gradient_operands import GradientOperand, check_terms, gradient, scaled_product
from bitlearn.ops.gradients import Output, weight_gradient
from bitlearn.ops.kept import Kept
from bitlearn.ops.quantized import Quantized
from bitlearn.ops.weights import PackedWeights, weight_words
from bitlearn.threads import resolve


def _spatial(name: str, shape: object, full: tuple[int | None, int | None, int | None, int | None]) -> tuple[int, int]:
    """Return (height, width) of a shape given as those two or as all four sizes, checked against the known ones."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of sizes, got {brief(shape)}")
    sizes = tuple(check.count(name, size) for size in shape)
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    known = tuple(size if size is not None else got for size, got in zip(full, sizes, strict=False))
    if len(sizes) != 4 or sizes != known:
        wanted = tuple("any" if size is None else size for size in full)
        raise ValueError(f"{name} must be (height, width) or {wanted}, got {brief(sizes)}")
    return sizes[1], sizes[2]


def _check_size(g: GradientOperand, batch: int, windows: Geometry, channels: int) -> None:
    wanted = (batch, *windows.out_size, channels)
    if g.parts[0].shape != wanted:
        raise ValueError(f"g must have shape {wanted}, the convolution's result, got {g.parts[0].shape}")


def conv2d_grad_input(
    g: ArrayLike | Quantized,
    w: ArrayLike | PackedWeights,
    n: int,
    input_shape: tuple[int, ...],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    pad_value: int = 0,
    bits: int | None = None,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Return the gradient of `xnor_conv2d` with respect to its images.

    Parameters
    ----------
    g : array_like or Quantized, shape (batch, out_h, out_w, out)
        int8, int16, floating or quantized, its scale a scalar or one per image, shape (batch, 1, 1, 1).
    w : array_like of uint64, shape (out, kh, kw, words), or PackedWeights
    n : int
        The number of input channels.
    input_shape : (int, int, int, int) or (int, int)
        ``(batch, height, width, n)`` of the images, or ``(height, width)``.
    stride, padding, pad_value
        As passed to `xnor_conv2d`. Padded positions have no gradient, whatever they hold.
    bits : int, optional
        How many bits the values of an int8 `g` need, as for `grad_input`.
    rows, columns : array_like of int, optional
        The output and input channels of `w` that take part, as for `grad_input`; all by default.
    out : ndarray, shape (batch, height, width, n), optional
    threads : int, optional
        How many threads share the images.

    Returns
    -------
    ndarray, shape (batch, height, width, n)
        int32 for int8, int64 for int16, float32 otherwise, as `grad_input`.

    Raises
    ------
    TypeError, ValueError
        As `grad_input`; also if `g` has not the size of the convolution's result.

    Examples
    --------
    >>> import bitlearn as bl
    >>> w = bl.pack(np.ones((1, 3, 3, 1)))
    >>> g = np.ones((1, 1, 1, 1), dtype=np.int8)
    >>> bl.conv2d_grad_input(g, w, 1, (3, 3))[0, :, :, 0]
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]], dtype=int32)
    """
    n = check.count("n", n)
    ready = gradient(g, 4, axis=0, bits=bits)
    kernels = weight_words("w", w, n, 4)
    batch = len(ready.parts[0])
    size = _spatial("input_shape", input_shape, (batch, None, None, n))
    windows = geometry(size, kernels.shape[1:3], stride, padding, pad_value)
    _check_size(ready, batch, windows, len(kernels))
    shape = (batch, *size, n)
    terms = math.prod(kernels.shape[:3])
    check_terms(ready, terms)
    threads = resolve(threads)
    result = check.output(out, shape, ready.result, [*ready.inputs, w])
    if rows is not None or columns is not None:
        kept = Kept(rows, columns, len(kernels), n, threads)
        window: dict[str, Any] = {"stride": stride, "padding": padding, "pad_value": pad_value}
        some = kept.gradient(g), kept.weights(kernels), kept.n
        into = None if columns is not None else result
        found = conv2d_grad_input(*some, size, **window, bits=bits, out=into, threads=threads)
        return found if into is not None else kept.spread(found, result, of_weights=False)
    pixels, taps = batch * size[0] * size[1], kernels.shape[1] * kernels.shape[2]
    by_planes: Callable[[np.ndarray], None] | None = None
    if windows.stride != (1, 1):  # without planes, and what is accepted is the same
        planes.check_width(ready.parts[0], ready.bits or 8)
    elif ready.on_planes(pixels, terms, n, max(taps, 1)):
        by_planes = input_values(ready.parts[0], ready.bits or 8, kernels, n, windows, threads)

    def kernel(part: np.ndarray, into: np.ndarray) -> None:
        if by_planes:
            by_planes(into)
            return
        run("conv2d_grad_input", (part, kernels, n, windows.stride, windows.padding, into), threads=threads)

    if ready.scale is None:
        kernel(ready.parts[0], result)
    else:
        scaled_product(ready, result, kernel, whole=by_planes is not None, threads=threads)
    return result


def conv2d_grad_weight(
    g: ArrayLike | Quantized,
    x: ArrayLike,
    n: int,
    kernel_shape: tuple[int, ...],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    pad_value: int = 0,
    bits: int | None = None,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    output: Output = "values",
    threshold: float = 0,
    mask: ArrayLike | None = None,
    accumulate: bool = False,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Return the gradient of `xnor_conv2d` with respect to its kernels.

    Parameters
    ----------
    g : array_like or Quantized, shape (batch, out_h, out_w, out)
        int8, int16, floating or quantized, its scale a scalar or one per output channel, shape (1, 1, 1, out).
    x : array_like of uint64, shape (batch, height, width, words)
    n : int
        The number of input channels.
    kernel_shape : (int, int, int, int) or (int, int)
        ``(out, kh, kw, n)``, or ``(kh, kw)``.
    stride, padding, pad_value
        As passed to `xnor_conv2d`; a padded position counts as `pad_value`.
    bits : int, optional
        How many bits the values of an int8 `g` need, as for `grad_input`.
    rows, columns : array_like of int, optional
        The output and input channels of the result to compute, as for `grad_weight`; all by default.
    scale : array_like, shape (out,), optional
        Factors for the kernels of each output channel, as for `grad_weight`.
    output, threshold, mask, accumulate
        As `grad_weight`; `mask` is (out, kh, kw, words).
    out : ndarray, optional
        Of the type and shape below.
    threads : int, optional
        How many threads share the output channels.

    Returns
    -------
    ndarray
        Values, shape (out, kh, kw, n), or packed signs, uint64 (out, kh, kw, ceil(n / 64)).

    Raises
    ------
    TypeError, ValueError
        As `grad_weight`; also if `g` has not the size of the convolution's result.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = bl.pack(np.ones((1, 3, 3, 1)))
    >>> g = np.ones((1, 3, 3, 1), dtype=np.int8)
    >>> bl.conv2d_grad_weight(g, x, 1, (3, 3), padding=1)[0, :, :, 0]
    array([[4, 6, 4],
           [6, 9, 6],
           [4, 6, 4]], dtype=int32)
    """
    n = check.count("n", n)
    ready = gradient(g, 4, axis=3, bits=bits)
    images = check.words("x", x, n, 4)
    channels = ready.parts[0].shape[3]
    size = _spatial("kernel_shape", kernel_shape, (channels, None, None, n))
    windows = geometry(images.shape[1:3], size, stride, padding, pad_value)
    _check_size(ready, len(images), windows, channels)
    shape = (channels, *size, n)
    window: dict[str, Any] = {"kernel_shape": size, "stride": stride, "padding": padding, "pad_value": pad_value}

    def by_planes() -> WeightPlanes | None:
        # The signs of a convolution's sums are made block by block by the int8 kernels alone.
        rows, terms = channels if output == "values" else 0, ready.parts[0].size // max(channels, 1)
        if ready.on_planes(rows, min(terms, planes.TERMS), n, max(size[0] * size[1], 1), passes=1):
            return WeightPlanes(ready.parts[0], ready.bits or 8, images, n, size, windows, threads)
        return None

    return weight_gradient(
        "conv2d_grad_weight",
        ready,
        (g, x),
        (images, n, windows.stride, windows.padding, windows.pad_value),
        shape,
        rows=rows,
        columns=columns,
        scale=scale,
        output=output,
        threshold=threshold,
        mask=mask,
        accumulate=accumulate,
        out=out,
        threads=threads,
        planes=by_planes,
        whole=partial(conv2d_grad_weight, **window, bits=bits),
    )
