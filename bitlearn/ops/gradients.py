"""Products of gradients with packed weights and activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import bits
from bitlearn.bits import WORD
from bitlearn.ops import check
from bitlearn.ops.dispatch import run
from bitlearn.ops.planes import Planes, check_width, faster, width
from bitlearn.ops.quantize import Quantized
from bitlearn.ops.weights import PackedWeights, weight_words

Output = Literal["values", "sign"]

_RESULT: dict[np.dtype, np.dtype] = {np.dtype(np.int8): np.dtype(np.int32), np.dtype(np.int16): np.dtype(np.int64)}
_FLOAT32: np.dtype = np.dtype(np.float32)


@dataclass(frozen=True)
class Gradient:
    """A gradient made ready for the kernels: C-contiguous int8, int16 or float32 parts whose products are added."""

    parts: tuple[np.ndarray, ...]
    scale: np.ndarray | None
    zero_point: np.ndarray | int
    result: np.dtype
    source: object
    bits: int | None = None
    explicit: bool = False

    def on_planes(self, rows: int, depth: int, columns: int, taps: int = 1, *, passes: int = 0) -> bool:
        """Whether bit planes are the faster way to a product of so many rows.

        Raises ValueError where they are not, and a value needs more bits than the caller said; planes find that as they
        are split.
        """
        if self.bits is None or self.shifted:
            return False
        if faster(self.bits, rows, depth, columns, taps, passes=passes):
            return True
        if self.explicit:
            check_width(self.parts[0], self.bits)
        return False

    @property
    def shifted(self) -> bool:
        """Whether any value stands for another number than itself times the scale."""
        return isinstance(self.zero_point, np.ndarray)

    @property
    def total(self) -> np.dtype:
        """The type of a sum before any scale."""
        return _RESULT.get(self.parts[0].dtype, _FLOAT32)


def _of_axis(name: str, value: object, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Return a scalar, or the values along `axis` where that is the only axis they vary along."""
    array = np.asarray(value)
    if array.size == 1:
        return array.reshape(())
    along = [1] * len(shape)
    along[axis] = shape[axis]
    if array.shape != tuple(along):
        raise ValueError(f"{name} of g must be a scalar or of shape {tuple(along)} for this product, got {array.shape}")
    return array.reshape(-1)


def gradient(g: ArrayLike | Quantized, ndim: int, axis: int, bits: int | None = None) -> Gradient:
    """Check a gradient whose scales, if quantized, may vary along `axis` only, and that needs so many bits."""
    if isinstance(g, Quantized):
        source: object = g.values
        values = np.asarray(source)
        scale = _of_axis("scale", g.scale, values.shape, axis)
        zero = g.zero_point  # mostly an int: `np.any` of one takes longer than the rest of these lines
        shifted = zero != 0 if isinstance(zero, int) else np.any(zero)
        zero_point = _of_axis("zero_point", zero, values.shape, axis) if shifted else 0
        result = _FLOAT32
    else:
        source = g
        values = np.asarray(g)
        if values.dtype.kind == "f":
            values = values.astype(np.float32, copy=False)
        scale, zero_point, result = None, 0, _RESULT.get(values.dtype, _FLOAT32)
    if values.ndim != ndim:
        raise ValueError(f"g must have {ndim} dimensions, got shape {values.shape}")
    if values.dtype == np.int32 and isinstance(g, Quantized):
        # Powers of two reach 2**15, one past int16: two halves that fit, added exactly.
        half = values >> 1
        parts: tuple[np.ndarray, ...] = (half.astype(np.int16), (values - half).astype(np.int16))
    elif values.dtype in (np.int8, np.int16, np.float32):
        ready = values.flags.c_contiguous and values.flags.aligned  # asked first: `require` takes longer to say so
        parts = (values if ready else np.require(values, requirements=["C", "A"]),)
    else:
        raise TypeError(f"g must be int8, int16, floating or quantized, got dtype {values.dtype}")
    known = width(bits, g.bits if isinstance(g, Quantized) else None, values.dtype)
    return Gradient(parts, scale, zero_point, result, source, known, bits is not None)


def _work(products: int) -> int:
    """The work in a row of a product, in operations on a word: sixteen products of int8 take about as long."""
    return products // 16


def check_terms(g: Gradient, terms: int) -> None:
    """Raise where a sum of `terms` int8 products may leave int32."""
    if g.parts[0].dtype == np.int8 and terms >= 2**24:
        raise ValueError(f"an int8 g must be summed over fewer than {2**24} terms, got {terms}: use int16")


def _shaped(factor: np.ndarray, ndim: int) -> np.ndarray:
    """Return per-row factors so that they broadcast along the first of `ndim` axes."""
    return factor.reshape(-1, *[1] * (ndim - 1)) if factor.ndim else factor


def product(
    g: Gradient, shape: tuple[int, ...], kernel: Callable[[np.ndarray, np.ndarray], None], *, adds: bool
) -> np.ndarray:
    """Run ``kernel(part, out)`` for each part and return the sum, zero points taken out and scales applied."""
    total = np.zeros(shape, dtype=g.total)
    for index, part in enumerate(g.parts):
        each = total if adds or index == 0 else np.zeros(shape, dtype=g.total)
        kernel(part, each)
        if each is not total:
            total += each
    if g.shifted:
        units = np.zeros(shape, dtype=np.int32)
        kernel(np.ones(g.parts[0].shape, dtype=np.int8), units)
        total = total - units.astype(np.int64) * _shaped(np.asarray(g.zero_point), len(shape))
    if g.scale is None:
        return total
    return (total * _shaped(np.asarray(g.scale, dtype=np.float64), len(shape))).astype(np.float32)


def grad_input(
    g: ArrayLike | Quantized,
    w: ArrayLike | PackedWeights,
    n: int,
    *,
    bits: int | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply a gradient with packed ±1 weights: the gradient with respect to the input of `xnor_matmul`.

    Parameters
    ----------
    g : array_like or Quantized, shape (M, N)
        int8, int16, floating (computed in float32) or quantized, its scale a scalar or one a row, shape (M, 1).
    w : array_like of uint64, shape (N, words), or PackedWeights
    n : int
        How many values a row of `w` holds.
    bits : int, optional
        How many bits the values of an int8 `g` need: 1 where they are +1 and -1, else 2 to 8. Few bits may run faster,
        with the same results. A quantized `g` says so itself.
    out : ndarray, shape (M, n), optional
        Of the type below.
    threads : int, optional
        How many threads share the rows.

    Returns
    -------
    ndarray, shape (M, n)
        ``g @ w``: int32 for int8, int64 for int16, both exact; float32, scaled, for a quantized `g`; float32 for a
        float `g`, exact to rounding.

    Raises
    ------
    TypeError
        Where `g` has another type, or `w` is not uint64.
    ValueError
        Where shapes do not fit, a scale varies along the axis that is summed over, or a value needs more than `bits`.

    Notes
    -----
    With the bit ``s`` of a weight, ``sum g * w = 2 * sum_{s = 1} g - sum g``. A float `g` is never quantized silently.
    Fewer than ``2**24`` rows of `w` for int8.

    Examples
    --------
    >>> import bitlearn as bl
    >>> w = np.array([[1, -1, 1], [-1, -1, 1]])
    >>> g = np.array([[3, 4]], dtype=np.int8)
    >>> bl.grad_input(g, bl.pack(w), 3), g @ w
    (array([[-1, -7,  7]], dtype=int32), array([[-1, -7,  7]]))
    """
    n = check.count("n", n)
    ready = gradient(g, 2, axis=0, bits=bits)
    weights = weight_words("w", w, n, 2)
    m, k = ready.parts[0].shape
    if k != len(weights):
        raise ValueError(f"g must have as many columns as w has rows, got shapes {(m, k)} and {weights.shape}")
    check_terms(ready, k)
    result = check.output(out, (m, n), ready.result, [ready.source, w])
    planes: Planes | None = None
    if ready.on_planes(m, k, n):
        planes = Planes(ready.parts[0], ready.bits or 8, weights, n, columns=False, threads=threads)

    def kernel(part: np.ndarray, into: np.ndarray) -> None:
        if planes:
            planes.values(False, into)
        else:
            run("grad_input", (part, weights, n, into), rows=(0, 3), work=_work(k * n), threads=threads)

    if ready.scale is None:
        kernel(ready.parts[0], result)
    else:
        result[...] = product(ready, (m, n), kernel, adds=False)
    return result


class SplitGradient(Protocol):
    """A gradient in bit planes, ready for its product."""

    def values(self, accumulate: bool, out: np.ndarray) -> None:
        """Write the sums, or add them."""


def weight_gradient(
    kernel: str,
    g: Gradient,
    x: object,
    fixed: tuple,
    shape: tuple[int, ...],
    *,
    output: str,
    threshold: float,
    mask: ArrayLike | None,
    accumulate: bool,
    out: np.ndarray | None,
    threads: int | None,
    planes: Callable[[], SplitGradient | None],
) -> np.ndarray:
    """Run a weight-gradient kernel: the values, added to `out` or not, or their packed signs.

    ``fixed`` are the kernel's arguments between the gradient and the first row, ``x`` the caller's own object of the
    first of them; ``shape`` is that of the values; ``planes()`` is asked for a faster way, once all is checked.
    """
    check.choice("output", output, ("values", "sign"))
    n = shape[-1]
    words_shape = (*shape[:-1], bits.words_for(n))
    check_terms(g, math.prod(g.parts[0].shape[:-1]))
    inputs, work = [g.source, x], _work(math.prod(g.parts[0].shape[:-1]) * math.prod(shape[1:]))
    if output == "values":
        if mask is not None or (threshold if type(threshold) in (int, float) else np.any(threshold)):
            raise ValueError("threshold and mask must be left out with output 'values', got one of them")
        if accumulate and out is None:
            raise ValueError("out must be given with accumulate=True, got None")
        result = check.output(out, shape, g.result, inputs)

        first = 1 + len(fixed)

        found = planes()

        def add(part: np.ndarray, into: np.ndarray, accumulate: bool = True) -> None:
            if found:
                found.values(accumulate, into)
                return
            arguments = (part, *fixed, 0, accumulate, into)
            run(kernel, arguments, rows=(len(arguments) - 1,), first=first, work=work, threads=threads)

        if g.scale is not None:
            values = product(g, shape, add, adds=True)
            np.add(values, result if accumulate else 0, out=result)
        else:
            add(g.parts[0], result, accumulate)
        return result

    if accumulate:
        raise ValueError("accumulate must be False with output 'sign', got True")
    kept = bits.ones(shape[:-1], n) if mask is None else check.words("mask", mask, n)
    if kept.shape != words_shape:
        raise ValueError(f"mask must have shape {words_shape}, got {kept.shape}")
    if np.asarray(threshold).shape != () or not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite scalar, got {threshold!r}")
    result = check.output(out, words_shape, WORD, [*inputs, mask])
    if len(g.parts) > 1 or g.shifted:
        raise ValueError("g must be symmetric and linear with output 'sign', got a zero point or powers of two")
    bounds = np.broadcast_to(np.float64(threshold), shape[:1])
    if g.scale is not None:
        bounds = bounds / g.scale
    if g.total == _FLOAT32:
        bounds = np.ascontiguousarray(bounds, dtype=np.float32)
    else:
        bounds = np.clip(np.ceil(bounds), -(2.0**62), 2.0**62).astype(np.int64)
    if isinstance(by_planes := planes(), Planes):
        by_planes.signs(n, bounds, kept, result)
        return result
    arguments = (g.parts[0], *fixed, 0, bounds, kept, result)
    last = len(arguments) - 1
    run(f"{kernel}_sign", arguments, rows=(last - 2, last - 1, last), first=last - 3, work=work, threads=threads)
    return result


def grad_weight(
    g: ArrayLike | Quantized,
    x: ArrayLike,
    n: int,
    *,
    bits: int | None = None,
    output: Output = "values",
    threshold: float = 0,
    mask: ArrayLike | None = None,
    accumulate: bool = False,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply a transposed gradient with packed ±1 inputs: the gradient with respect to the weights of `xnor_matmul`.

    Parameters
    ----------
    g : array_like or Quantized, shape (M, N)
        int8, int16, floating (computed in float32) or quantized, its scale a scalar or one a column, shape (1, N).
    x : array_like of uint64, shape (M, words)
    n : int
        How many values a row of `x` holds.
    bits : int, optional
        How many bits the values of an int8 `g` need, as for `grad_input`.
    output : {"values", "sign"}
        The products, or one packed bit each.
    threshold : float
        With "sign": the bit is ``value >= threshold``.
    mask : array_like of uint64, shape (N, words), optional
        With "sign": where it is clear, so is the result.
    accumulate : bool
        Add to `out` instead of overwriting it; not with "sign".
    out : ndarray, optional
        Of the type and shape below.
    threads : int, optional
        How many threads share the rows of the result.

    Returns
    -------
    ndarray
        ``g.T @ x``, shape (N, n), of the types that `grad_input` has; or packed signs, uint64 (N, ceil(n / 64)), and
        then the full matrix is never formed.

    Raises
    ------
    TypeError
        Where `g` has another type, or `x` or `mask` is not uint64.
    ValueError
        Where shapes do not fit, a scale varies along the axis that is summed over, a value needs more than `bits`,
        `accumulate` is without `out` or with "sign", or `threshold` or `mask` is with "values".

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([[1, -1, 1], [-1, -1, 1]])
    >>> g = np.array([[3], [4]], dtype=np.int8)
    >>> bl.grad_weight(g, bl.pack(x), 3), g.T @ x
    (array([[-1, -7,  7]], dtype=int32), array([[-1, -7,  7]]))
    >>> bl.unpack(bl.grad_weight(g, bl.pack(x), 3, output="sign"), 3)
    array([[-1, -1,  1]], dtype=int8)
    """
    n = check.count("n", n)
    ready = gradient(g, 2, axis=1, bits=bits)
    inputs = check.words("x", x, n, 2)
    m, k = ready.parts[0].shape
    if m != len(inputs):
        raise ValueError(f"g and x must have the same number of rows, got shapes {(m, k)} and {inputs.shape}")

    def by_planes() -> Planes | None:
        if ready.on_planes(k, m, n):
            return Planes(ready.parts[0], ready.bits or 8, inputs, n, columns=True, threads=threads)
        return None

    return weight_gradient(
        "grad_weight",
        ready,
        x,
        (inputs, n),
        (k, n),
        output=output,
        threshold=threshold,
        mask=mask,
        accumulate=accumulate,
        out=out,
        threads=threads,
        planes=by_planes,
    )
