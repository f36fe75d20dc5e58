"""Products of gradients with packed weights and activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import bits
from bitlearn.bits import WORD
from bitlearn.ops import check
from bitlearn.ops.dispatch import run
from bitlearn.ops.gradient_operands import (
    FLOAT32,
    GradientOperand,
    check_room,
    check_terms,
    gradient,
    product,
    scale_sums,
    scaled_product,
)
from bitlearn.ops.kept import Kept, some_weight_gradient
from bitlearn.ops.planes import Planes
from bitlearn.ops.quantized import Quantized
from bitlearn.ops.thresholds import least_float
from bitlearn.ops.weights import PackedWeights, weight_words
from bitlearn.threads import resolve

Output = Literal["values", "sign"]


def grad_input(
    g: ArrayLike | Quantized,
    w: ArrayLike | PackedWeights,
    n: int,
    *,
    bits: int | None = None,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply a gradient by packed ±1 weights: the gradient with respect to the input of `xnor_matmul`.

    Parameters
    ----------
    g : array_like or Quantized, shape (M, N)
        int8, int16, floating (computed in float32) or quantized, its scale a scalar or one per row, shape (M, 1).
    w : array_like of uint64, shape (N, words), or PackedWeights
    n : int
        How many values a row of `w` holds.
    bits : int, optional
        How many bits the values of an int8 `g` need: 1 if they are all +1 or -1, otherwise 2 to 8. Fewer bits may run
        faster, with the same results. A quantized `g` knows its own bits.
    rows, columns : array_like of int, optional
        Distinct indices of the rows and columns of `w` that take part; all by default. Only these are computed; the
        result is 0 in other columns. Columns of `g` that belong to other rows are ignored.
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
        If `g` has the wrong type, `w` is not uint64, or `rows` or `columns` is not a list of integers.
    ValueError
        If shapes do not fit, a scale varies along the axis that is summed over, a value needs more than `bits`, or
        `rows` or `columns` has an index out of range or a duplicate.

    Notes
    -----
    With the bit ``s`` of a weight, ``sum g * w = 2 * sum_{s = 1} g - sum g``. A float `g` is never quantized silently.
    For int8, `w` must have fewer than ``2**24`` rows.

    Examples
    --------
    >>> import bitlearn as bl
    >>> w = np.array([[1, -1, 1], [-1, -1, 1]])
    >>> g = np.array([[3, 4]], dtype=np.int8)
    >>> bl.grad_input(g, bl.pack(w), 3), g @ w
    (array([[-1, -7,  7]], dtype=int32), array([[-1, -7,  7]]))
    >>> bl.grad_input(g, bl.pack(w), 3, rows=[1], columns=[0, 2])
    array([[-4,  0,  4]], dtype=int32)
    """
    n = check.count("n", n)
    ready = gradient(g, 2, axis=0, bits=bits)
    weights = weight_words("w", w, n, 2)
    m, k = ready.parts[0].shape
    if k != len(weights):
        raise ValueError(f"g must have as many columns as w has rows, got shapes {(m, k)} and {weights.shape}")
    check_terms(ready, k)
    threads = resolve(threads)
    result = check.output(out, (m, n), ready.result, [*ready.inputs, w])
    if rows is not None or columns is not None:
        kept = Kept(rows, columns, k, n, threads)
        found = None if columns is not None else result
        some = grad_input(kept.gradient(g), kept.weights(weights), kept.n, bits=bits, out=found, threads=threads)
        return some if found is not None else kept.spread(some, result, of_weights=False)
    planes: Planes | None = None
    if ready.on_planes(m, k, n):
        planes = Planes(ready.parts[0], ready.bits or 8, weights, n, columns=False, threads=threads)

    def kernel(part: np.ndarray, into: np.ndarray) -> None:
        if planes:
            planes.values(False, into)
        else:
            run("grad_input", (part, weights, n, into), threads=threads)

    if ready.scale is None:
        kernel(ready.parts[0], result)
    else:
        scaled_product(ready, result, kernel, whole=planes is not None, threads=threads)
    return result


class SplitGradient(Protocol):
    """A gradient in bit planes, ready for its product."""

    def values(self, accumulate: bool, out: np.ndarray) -> None:
        """Write the sums, or add them."""


def weight_gradient(
    kernel: str,
    g: GradientOperand,
    given: tuple[ArrayLike | Quantized, object],
    fixed: tuple,
    shape: tuple[int, ...],
    *,
    rows: ArrayLike | None,
    columns: ArrayLike | None,
    scale: ArrayLike | None,
    whole: Callable[..., np.ndarray],
    planes: Callable[[], SplitGradient | None],
    **asked: Any,
) -> np.ndarray:
    """Return a gradient of weights, of all or of some, as it is asked for by what its functions take in common.

    ``fixed`` are the kernel's arguments between the gradient and the first row, ``given`` the caller's own objects of
    the gradient and of the first of these; ``shape`` is that of the values. ``whole(g, words, n, ...)`` is the caller,
    for what is kept; ``planes()`` is asked for a faster way, once all is checked.
    """
    if rows is None and columns is None and scale is None:
        return _weight_gradient(kernel, g, given[1], fixed, shape, planes=planes, **asked)
    kept = Kept(rows, columns, shape[0], shape[-1], asked["threads"])
    return some_weight_gradient(whole, g, kept, *given, fixed[0], shape, scale=scale, **asked)


def _weight_gradient(
    kernel: str,
    g: GradientOperand,
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
    """Run a weight-gradient kernel: the values, added to `out` or not, or their packed signs."""
    check.choice("output", output, ("values", "sign"))
    n = shape[-1]
    words_shape = (*shape[:-1], bits.words_for(n))
    accumulate, threshold = check.flag("accumulate", accumulate), check.number("threshold", threshold)
    threads = resolve(threads)
    terms = math.prod(g.parts[0].shape[:-1])
    check_terms(g, terms)
    inputs = [*g.inputs, x]
    if output == "values":
        if mask is not None or threshold:
            raise ValueError("threshold and mask must be left out with output 'values', got one of them")
        if accumulate and out is None:
            raise ValueError("out must be given with accumulate=True, got None")
        result = check.output(out, shape, g.result, inputs)
        if accumulate:
            check_room(g, terms, result)
        found = planes()

        def add(part: np.ndarray, into: np.ndarray, accumulate: bool = True) -> None:
            if found:
                found.values(accumulate, into)
                return
            run(kernel, (part, *fixed, 0, accumulate, into), threads=threads)

        if g.scale is not None:
            simple = len(g.parts) == 1 and not g.shifted and not accumulate
            if simple:
                sums = np.empty(shape, dtype=g.total)
                add(g.parts[0], sums, False)
                scale_sums(sums, g, result, slice(None), threads)
                return result
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
    result = check.output(out, words_shape, WORD, [*inputs, mask])
    if len(g.parts) > 1 or g.shifted:
        raise ValueError("g must be symmetric and linear with output 'sign', got a zero point or powers of two")
    bounds = np.full(shape[:1], threshold)
    if g.total == FLOAT32:
        bounds = least_float(bounds, FLOAT32)
    else:
        with np.errstate(over="ignore"):
            bounds /= 1 if g.scale is None else g.scale
        bounds = np.clip(np.ceil(bounds), -(2.0**62), 2.0**62).astype(np.int64)
    if isinstance(by_planes := planes(), Planes):
        by_planes.signs(n, bounds, kept, result)
        return result
    run(f"{kernel}_sign", (g.parts[0], *fixed, 0, bounds, kept, result), threads=threads)
    return result


def grad_weight(
    g: ArrayLike | Quantized,
    x: ArrayLike,
    n: int,
    *,
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
    """Multiply a transposed gradient with packed ±1 inputs: the gradient with respect to the weights of `xnor_matmul`.

    Parameters
    ----------
    g : array_like or Quantized, shape (M, N)
        int8, int16, floating (computed in float32) or quantized, its scale a scalar or one per column, shape (1, N).
    x : array_like of uint64, shape (M, words)
    n : int
        How many values a row of `x` holds.
    bits : int, optional
        How many bits the values of an int8 `g` need, as for `grad_input`.
    rows, columns : array_like of int, optional
        Distinct indices of the rows and columns of the result to compute; all by default. Others are 0, or with
        `accumulate` unchanged.
    scale : array_like, shape (N,), optional
        Factors for the rows of the result, which is then float32. Not with "sign".
    output : {"values", "sign"}
        The products, or one packed bit each.
    threshold : float
        With "sign": the bit is ``value >= threshold``.
    mask : array_like of uint64, shape (N, words), optional
        With "sign": bits that are clear here are clear in the result.
    accumulate : bool
        Add to `out` instead of overwriting it; not with "sign". Integer sums must not be able to overflow: the largest
        magnitude in `out`, plus `M` times the largest that a value of `g` can have, must fit the type.
    out : ndarray, optional
        Of the type and shape below.
    threads : int, optional
        How many threads share the rows of the result.

    Returns
    -------
    ndarray
        ``g.T @ x``, shape (N, n), of the types that `grad_input` has; or packed signs, uint64 (N, ceil(n / 64)), for
        which the full matrix is never formed.

    Raises
    ------
    TypeError
        If `g` has the wrong type, `x` or `mask` is not uint64, `accumulate` is not a bool, `threshold` is not a real
        number, or `rows` or `columns` is not a list of integers.
    ValueError
        If `rows` or `columns` has an index out of range or a duplicate, or `scale` is not finite. If shapes do not fit,
        a scale varies along the axis that is summed over, a value needs more than `bits`, `accumulate` comes without
        `out`, with an `out` too large to be added to or with "sign", or `threshold` or `mask` comes with "values".

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([[1, -1, 1], [-1, -1, 1]])
    >>> g = np.array([[3], [4]], dtype=np.int8)
    >>> bl.grad_weight(g, bl.pack(x), 3), g.T @ x
    (array([[-1, -7,  7]], dtype=int32), array([[-1, -7,  7]]))
    >>> bl.unpack(bl.grad_weight(g, bl.pack(x), 3, output="sign"), 3)
    array([[-1, -1,  1]], dtype=int8)
    >>> bl.grad_weight(g, bl.pack(x), 3, columns=[2], scale=[0.5])
    array([[0. , 0. , 3.5]], dtype=float32)
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
        (g, x),
        (inputs, n),
        (k, n),
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
        whole=partial(grad_weight, bits=bits),
    )
