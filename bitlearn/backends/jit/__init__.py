"""The kernels compiled by Numba: plain loops, fast wherever Numba runs and no compiled extension is needed.

What each kernel computes stands in its namesake in `bitlearn.backends.reference`. Nothing is compiled before the first
call of a kernel with given types; read-only arrays are types of their own.
"""

from __future__ import annotations

from time import perf_counter

from bitlearn.backends.jit import (
    codes,
    convolutions,
    elementwise,
    gradients,
    kept,
    losses,
    nearest,
    norm_gradients,
    norms,
    packing,
    panel_convolutions,
    panels,
    planes,
    pooling,
    products,
    quantization,
    reals,
    updates,
)
from bitlearn.backends.jit.compilation import UNCACHED
from bitlearn.backends.jit.usual_calls import usual_calls
from bitlearn.backends.table import TABLE

__all__ = ["REASONS", "UNCACHED", "VARIANTS", "warmup"]

_FILES = (
    packing,
    products,
    nearest,
    panels,
    convolutions,
    panel_convolutions,
    planes,
    gradients,
    codes,
    norms,
    norm_gradients,
    pooling,
    elementwise,
    kept,
    losses,
    quantization,
    reals,
    updates,
)
#: What the files have under a kernel's name.
_KERNELS = {name: vars(file)[name] for file in _FILES for name in TABLE if name in vars(file)}
VARIANTS = {"jit": _KERNELS}
REASONS: dict[str, str] = {}


def warmup() -> dict[str, float]:
    """Compile every kernel for the types it is usually called with, so that no later call waits for it.

    Returns
    -------
    dict of str to float
        The seconds that each kernel took to compile, or to load from an earlier process's cache.

    Examples
    --------
    >>> seconds = warmup()
    >>> "xnor_matmul" in seconds
    True
    """
    seconds = dict.fromkeys(_KERNELS, 0.0)
    for name, arguments in usual_calls():
        if name not in _KERNELS:
            continue
        start = perf_counter()
        _KERNELS[name](*arguments)
        seconds[name] += perf_counter() - start
    return seconds
