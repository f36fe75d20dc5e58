"""First-layer codes, int8 values that are no bits: products with gradients, and the windows of images of them."""

from __future__ import annotations

import math

import numpy as np

from bitlearn.ops.conv import Geometry
from bitlearn.ops.dispatch import run
from bitlearn.workspace import empty

#: Sums of products of int8 with int8 over fewer rows than this fit int32.
_INT32_ROWS = 2**17


def code_sums(shape: tuple[int, ...], grad: np.ndarray, rows: int) -> np.ndarray:
    """Return an array for the products of a gradient with so many rows of codes: float32, int32 or int64, exact."""
    kind: type = np.float32
    if grad.dtype.kind != "f":
        kind = np.int32 if grad.dtype == np.int8 and rows < _INT32_ROWS else np.int64
    return empty(shape, kind)


def code_products(
    grad: np.ndarray, codes: np.ndarray, first: int, total: np.ndarray, *, accumulate: bool = False
) -> None:
    """Write ``grad[:, first : first + len(total)].T @ codes`` to `total`, or add it.

    Parameters
    ----------
    grad : ndarray of int8, int16 or float32, shape (rows, channels)
    codes : ndarray of int8, shape (rows, n)
    first : int
    total : ndarray, shape (k, n)
        As `code_sums` returns it.
    accumulate : bool
    """
    if grad.dtype.kind == "f":
        product = grad[:, first : first + len(total)].T @ codes.astype(np.float32)
        np.add(product, total if accumulate else 0, out=total)
        return
    arguments = (grad, codes, first, accumulate, total)
    run("codes_grad_weight", arguments, rows=(4,), first=2, work=codes.size // 16, threads=None)


def unfold(x: np.ndarray, kernel: tuple[int, int], windows: Geometry) -> np.ndarray:
    """Return the windows of images of codes as rows (images * out_h * out_w, kh * kw * channels), 0 outside."""
    out = empty((len(x), *windows.out_size, *kernel, x.shape[3]), np.int8)
    work = math.prod(out.shape[1:]) // 8
    run("unfold_codes", (x, windows.stride, windows.padding, out), rows=(0, 3), work=work, threads=None)
    return out.reshape(len(x) * math.prod(windows.out_size), math.prod(out.shape[3:]))
