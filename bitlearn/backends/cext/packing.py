"""Packing and counting, whose arrays may have any strides: the arguments of their kernels in C."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import CODES, WORDS, address, code, ffi, lib, pointer

_PACK, _BUFFER = lib.bl_pack, ffi.from_buffer


def pack(x, threshold, out):
    limits = (pointer(threshold), threshold.size > 1)
    if not x.flags.c_contiguous:
        return address(x), code(x), *x.shape, *x.strides, *limits, pointer(out, True)
    n, size = x.shape[-1], x.dtype.itemsize
    rows = x.size // n if n else 0
    return pointer(x), code(x), 1, rows, n, 0, n * size, size, *limits, pointer(out, True)


def pack_at_once(variant, x, threshold, out):
    """Written out, as a call inside the second-level cache takes hardly longer than a few look-ups."""
    if x.flags.c_contiguous:
        n, size = x.shape[-1], x.itemsize
        rows = x.size // n if n else 0
        limits, result = _BUFFER(threshold), _BUFFER(WORDS, out, True)
        _PACK(variant, _BUFFER(x), CODES[x.dtype], 1, rows, n, 0, n * size, size, limits, threshold.size > 1, result)
    else:
        _PACK(variant, *pack(x, threshold, out))


def popcount(words, out):
    source = pointer(words) if words.flags.c_contiguous else address(words)
    return source, *words.shape, *words.strides, pointer(out, True)


ARGUMENTS = {function.__name__: function for function in (pack, popcount)}
