"""The packed functions inside a user's own ``@njit`` code: products, packing and counts without going back to Python.

`bitlearn.xnor_matmul`, `hamming`, `xnor_matmul_sign`, `pack` and `popcount` can be called there by their own names:
Numba finds what is registered here through the entry point ``numba_extensions``. If the compiled extension is
available, its kernels are called by their addresses, in the best variant here or the one that ``BITLEARN_BACKEND``
names; otherwise Numba's own are compiled in. Neither needs the GIL, so with ``nogil=True`` threads run in parallel.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any

import numpy as np
from llvmlite import binding
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

from bitlearn.ops import matmul, packing
from bitlearn.ops.dispatch import attribute, in_c, lookup

__all__ = ["init", "popcount"]

_INT, _SIZE, _LONG = types.int32, types.intp, types.int64
#: A pointer, or 0 where there is none: both are passed as an address.
_POINTER = types.uintp

#: The parameters of the functions of C (csrc/kernels.h).
_PARAMETERS = {
    "xnor_matmul": (
        *(_INT, _POINTER, _POINTER, _INT, _POINTER, _SIZE, _SIZE, _SIZE),
        *(_LONG, _INT, _POINTER, _POINTER, _INT, _POINTER),
    ),
    "pack": (_INT, _POINTER, _INT, _SIZE, _SIZE, _LONG, _SIZE, _SIZE, _SIZE, _POINTER, _INT, _POINTER),
}
#: The codes of element types there.
_CODES = {
    np.dtype(name): code
    for code, name in enumerate(
        ("int8", "int16", "int32", "int64", "float32", "float64", "uint8", "uint16", "uint32", "uint64")
    )
}
_WORDS_CODE = _CODES[np.dtype("uint64")]
_MISSING = (types.NoneType, types.Omitted)


def popcount(word: Any) -> int:
    """Count the set bits of an integer: in ``@njit`` one instruction.

    Parameters
    ----------
    word : int
        Any integer type of 8 to 64 bits, signed or not; its two's complement is counted. In plain Python, any integer
        that fits in 64 bits.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `word` is not an integer.
    ValueError
        If it does not fit in 64 bits.

    Examples
    --------
    >>> import numba
    >>> import bitlearn.numba as bn
    >>> @numba.njit
    ... def differing(a, b):
    ...     total = 0
    ...     for i in range(a.size):
    ...         total += bn.popcount(a[i] ^ b[i])
    ...     return total
    >>> differing(np.array([7, 1], np.uint64), np.array([0, 1], np.uint64))
    3
    """
    if isinstance(word, bool) or not isinstance(word, (int, np.integer)):
        raise TypeError(f"word must be an integer, got {type(word).__name__}")
    if isinstance(word, np.integer):
        return int(word).bit_count() if word >= 0 else (int(word) % 2 ** (8 * word.itemsize)).bit_count()
    if not -(2**63) <= word < 2**64:
        raise ValueError(f"word must fit 64 bits, got {word}")
    return (word % 2**64).bit_count()


@intrinsic
def _set_bits(typing_context: Any, word: Any) -> Any:
    if not isinstance(word, types.Integer):
        raise TypingError(f"word must be an integer, got {word}")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(
            builder, builder.ctpop(arguments[0]), types.Integer.from_bitwidth(word.bitwidth, False), _LONG
        )

    return _LONG(word), codegen


@overload(popcount)
def _popcount(word):
    return lambda word: _set_bits(word)


def _function(kernel: str, function: str) -> tuple[Any, int]:
    """Return a function of C as compiled code calls it, and the variant of a kernel that is in force; or None."""
    found = Context().run(lookup, kernel)  # outside of any `use_backend`: it is registered once for a process
    if not in_c(found):
        return None, -1
    symbol = f"bitlearn_{function}"
    library: Any = attribute("cext", "declared")
    binding.add_symbol(symbol, library.address(f"bl_{function}"))
    return types.ExternalFunction(symbol, types.void(*_PARAMETERS[function])), found.variant  # type: ignore[attr-defined]


def _twin(kernel: str) -> Any:
    """Return Numba's own version of a kernel."""
    found = attribute("jit", "VARIANTS")["jit"][kernel]  # type: ignore[index]
    return getattr(found, "compiled", (found,))[0]


def _require(name: str, given: Any, kinds: tuple[str, ...], ndim: tuple[int, ...], written: bool = False) -> np.dtype:
    """Return the element type of an array's type, which must be one of these, with so many axes, C-contiguous.

    Raises
    ------
    TypingError
        If it is not.
    """
    fits = isinstance(given, types.Array) and given.layout == "C" and given.ndim in ndim
    kind = str(given.dtype) if fits else ""
    if kind not in kinds or (written and not given.mutable):
        axes = " or ".join(map(str, ndim))
        what = f"{'writeable ' if written else ''}C-contiguous array of {' or '.join(kinds)} with {axes} axes"
        raise TypingError(f"{name} must be a {what}, got {given}")
    return np.dtype(kind)


@intrinsic
def _at(typing_context: Any, array: Any) -> Any:
    """Return the address of an array's memory: `array.ctypes.data` counts references."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lent = context.make_array(array)(context, builder, arguments[0])
        return builder.ptrtoint(lent.data, context.get_value_type(_POINTER))

    return _POINTER(array), codegen


_WORDS = ("uint64",)
_SUMS = ("int32", "int16", "float32")


def _product(kernel: str, mismatches: int) -> None:
    """Register `xnor_matmul` or `hamming`."""
    external, variant = _function(kernel, "xnor_matmul")

    @overload(getattr(matmul, kernel), inline="never")
    def product(a, b, n, out=None):
        _require("a", a, _WORDS, (2,))
        _require("b", b, _WORDS, (2,))
        if not isinstance(n, types.Integer):
            raise TypingError(f"n must be an integer, got {n}")
        made = out is None or isinstance(out, _MISSING)
        code = _CODES[np.dtype(np.int32) if made else _require("out", out, _SUMS, (2,), True)]
        twin = None if external is not None else _twin(kernel)

        def run(a, b, n, out):
            if a.shape[1] != (n + 63) // 64 or b.shape[1] != a.shape[1] or out.shape != (a.shape[0], b.shape[0]):
                raise ValueError("a, b and out must have shapes (M, words), (N, words) and (M, N) for n values")
            if external is not None:
                external(
                    variant,
                    _at(a),
                    _at(b),
                    0,
                    0,
                    a.shape[0],
                    b.shape[0],
                    a.shape[1],
                    n,
                    mismatches,
                    0,
                    _at(out),
                    code,
                    0,
                )
            else:
                twin(a, b, n, out)

        run = njit(nogil=True)(run)
        if made:

            def allocating(a, b, n, out=None):
                result = np.empty((a.shape[0], b.shape[0]), np.int32)
                run(a, b, n, result)
                return result

            return allocating

        def writing(a, b, n, out=None):
            run(a, b, n, out)
            return out

        return writing


def _sign_product() -> None:
    external, variant = _function("xnor_matmul_sign", "xnor_matmul")

    @overload(matmul.xnor_matmul_sign, inline="never")
    def product(a, b, n, threshold):
        _require("a", a, _WORDS, (2,))
        _require("b", b, _WORDS, (2,))
        _require("threshold", threshold, ("int32",), (1,))
        twin = None if external is not None else _twin("xnor_matmul_sign")
        code = _WORDS_CODE

        def run(a, b, n, threshold):
            if a.shape[1] != (n + 63) // 64 or b.shape[1] != a.shape[1] or threshold.size != b.shape[0]:
                raise ValueError("a, b and threshold must have shapes (M, words), (N, words) and (N,) for n values")
            out = np.empty((a.shape[0], (b.shape[0] + 63) // 64), np.uint64)
            if external is not None:
                limits = _at(threshold)
                external(
                    variant, _at(a), _at(b), 0, 0, a.shape[0], b.shape[0], a.shape[1], n, 0, limits, _at(out), code, 0
                )
            else:
                twin(a, b, n, threshold, out)
            return out

        return run


def _packing() -> None:
    external, variant = _function("pack", "pack")

    @overload(packing.pack, inline="never")
    def pack(x):
        if isinstance(x, types.Array) and x.dtype == types.boolean:
            raise TypingError("x must be numbers, got bool; view it as int8 and subtract 1")
        kind = _require("x", x, tuple(map(str, _CODES)), (1, 2))
        code, size = _CODES[kind], kind.itemsize
        twin = None if external is not None else _twin("pack")
        flat = x.ndim == 1

        def run(x, out):
            rows, n = x.shape
            limit = np.zeros(1, x.dtype)
            if external is not None:
                external(variant, _at(x), code, 1, rows, n, 0, n * size, size, _at(limit), 0, _at(out))
            else:
                twin(x.reshape((1, rows, n)), limit, out.reshape((1, rows, out.shape[1])))

        run = njit(nogil=True)(run)
        if flat:

            def of_a_row(x):
                out = np.empty((x.size + 63) // 64, np.uint64)
                run(x.reshape((1, x.size)), out.reshape((1, out.size)))
                return out

            return of_a_row

        def of_rows(x):
            out = np.empty((x.shape[0], (x.shape[1] + 63) // 64), np.uint64)
            run(x, out)
            return out

        return of_rows


def _counting() -> None:
    @overload(packing.popcount, inline="never")
    def counts(words):
        _require("words", words, _WORDS, (1, 2))
        if words.ndim == 1:

            def of_a_row(words):
                total = 0
                for i in range(words.size):
                    total += _set_bits(words[i])
                return total

            return of_a_row

        def of_rows(words):
            out = np.zeros(words.shape[0], np.int64)
            for i in range(words.shape[0]):
                for j in range(words.shape[1]):
                    out[i] += _set_bits(words[i, j])
            return out

        return of_rows


_done: list[bool] = []


def init() -> None:
    """Register the functions, once: Numba calls it as it compiles for the first time."""
    if _done:
        return
    _done.append(True)
    _product("xnor_matmul", 0)
    _product("hamming", 1)
    _sign_product()
    _packing()
    _counting()


init()
