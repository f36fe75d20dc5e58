"""Strided arrays as the kernels of the packed format take them: three dimensions, the last of which is packed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def last(values: np.ndarray, axis: int) -> np.ndarray:
    """Return a view with a checked `axis` moved last."""
    axis %= values.ndim
    others = [each for each in range(values.ndim) if each != axis]
    return values.transpose(*others, axis)


def volumes(values: np.ndarray, result: np.ndarray, trailing: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield views of three dimensions that cover `values` (..., n), each with the part of a result that it gives.

    The result is C-contiguous and has the leading axes of `values` and `trailing` ones of its own. Axes whose strides
    allow it are taken as one, so nearly always there is a single view.
    """
    if values.flags.c_contiguous:
        yield values.reshape(1, -1, values.shape[-1]), result.reshape(1, -1, *result.shape[result.ndim - trailing :])
        return
    sizes: list[int] = []
    inner: list[int] = []
    for size, stride in zip(values.shape[:-1], values.strides[:-1], strict=True):
        if sizes and inner[-1] == size * stride:
            sizes[-1] *= size
            inner[-1] = stride
        elif size > 1:
            sizes.append(size)
            inner.append(stride)
    sizes = [1] * (2 - len(sizes)) + sizes
    views = values.reshape(*sizes, values.shape[-1])
    results = result.reshape(*sizes, *result.shape[result.ndim - trailing :])
    for index in np.ndindex(*sizes[:-2]):
        yield views[index], results[index]
