"""Run a kernel between guard words: what it may write, what it must leave alone."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from cases import INT32_LIMITS

from bitlearn.backends import implementing, lookup, reference, use_backend
from bitlearn.backends.reference import RESULTS

#: Odd, so that arrays start at no multiple of a vector's size.
MARGIN = 9
_REFERENCE = "reference"

#: What the specification said last, by its kernel and arguments: each variant in turn is given the same ones.
_SPECIFIED: OrderedDict[bytes, list[np.ndarray]] = OrderedDict()
#: More results than the sizes of one test.
_KEPT = 400


def rivals(*kernels: str) -> list[tuple[str, str]]:
    """Return every kernel named with each variant that has a version of its own (the reference where it is alone)."""
    return [(kernel, variant) for kernel in kernels for variant in implementing(kernel)[:-1] or [_REFERENCE]]


def span(array: np.ndarray) -> tuple[int, int]:
    """Return the bytes that an array covers, gaps included, and how far in its first element lies."""
    if array.size == 0:
        return 0, 0
    reach = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    before = -sum(step for step in reach if step < 0)
    return before + sum(step for step in reach if step > 0) + array.itemsize, before


def placed(array: np.ndarray, buffer: np.ndarray, start: int) -> np.ndarray:
    """Return a copy of `array` with its strides, whose memory begins `start` bytes into a buffer."""
    copy = np.ndarray(array.shape, array.dtype, buffer, start + span(array)[1], array.strides)
    copy[...] = array
    return copy


def guarded(array: np.ndarray, fill: int = 0xA5) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of `array` with its strides, and the larger buffer that it lies in, bytes of `fill` around it."""
    margin = MARGIN * array.itemsize
    buffer = np.full(span(array)[0] + 2 * margin, fill, dtype=np.uint8)
    return placed(array, buffer, margin), buffer


def _edges(array: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    margin = MARGIN * array.itemsize
    return np.concatenate([buffer[:margin], buffer[margin + span(array)[0] :]])


def results_of(kernel: str, variant: str, arguments: tuple) -> list[np.ndarray]:
    """Run a variant's kernel on copies of `arguments`, the last of which are its results, and return these.

    Asserts that it changed no input and nothing around any array. Fills what is around with two patterns in turn, so
    that a result that depends on it shows too; once is enough where sanitizers watch and nothing is around.
    """
    with use_backend(variant):
        function = lookup(kernel)
    count, results = RESULTS.get(kernel, 1), []
    for fill in (0xA5, 0x5A) if MARGIN else (0xA5,):
        copies = [guarded(each, fill) if isinstance(each, np.ndarray) else (each, None) for each in arguments]
        function(*(copy for copy, _ in copies))
        for position, (given, (copy, buffer)) in enumerate(zip(arguments, copies, strict=True)):
            if buffer is not None:
                assert (_edges(copy, buffer) == fill).all(), f"{variant} wrote around argument {position} of {kernel}"
                if position < len(arguments) - count:
                    np.testing.assert_array_equal(copy, given, f"{variant} changed argument {position} of {kernel}")
        results.append([copy.copy() for copy, _ in copies[-count:]])
    first, *others = ([array.tobytes() for array in written] for written in results)
    assert all(each == first for each in others), f"{variant} read outside an argument of {kernel}"
    return results[0]


def run(kernel: str, variant: str, arguments: tuple) -> np.ndarray:
    """Run a variant's kernel as `results_of` does, and return its only result, or its last."""
    return results_of(kernel, variant, arguments)[-1]


def specified(kernel: str, arguments: tuple) -> list[np.ndarray]:
    """Return the results, the last of `arguments`, as the specification leaves them in copies: not to be changed."""
    content = hashlib.blake2b(kernel.encode())
    for each in arguments:
        array = isinstance(each, np.ndarray)
        content.update(repr((each.dtype.str, each.shape) if array else (type(each), each)).encode())
        if array:
            content.update(np.ascontiguousarray(each).data.cast("B") if each.size else b"")
    key = content.digest()
    if (found := _SPECIFIED.pop(key, None)) is None:
        count = RESULTS.get(kernel, 1)
        found = [array.copy() for array in arguments[-count:]]
        reference.KERNELS[kernel](*arguments[:-count], *found)
        for array in found:
            array.flags.writeable = False
    _SPECIFIED[key] = found
    while len(_SPECIFIED) > _KEPT:
        _SPECIFIED.popitem(last=False)
    return found


def check_exactly(kernel: str, variant: str, arguments: tuple) -> np.ndarray:
    """Assert that a variant's kernel gives the specification's result, bit for bit, and return it."""
    expected = specified(kernel, arguments)
    sizes = [each.shape if isinstance(each, np.ndarray) else each for each in arguments]
    for got, wanted in zip(results_of(kernel, variant, arguments), expected, strict=True):
        np.testing.assert_array_equal(got, wanted, f"{variant}, {kernel}{sizes}", strict=True)
    return expected[-1]


def filled(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return a result's array full of nonsense, so that an element left unwritten shows."""
    array = np.empty(shape, dtype=dtype)
    array.view(np.uint8)[...] = 0x6B
    return array


def around(dots: np.ndarray) -> np.ndarray:
    """Return int32 thresholds at, one below and one above some dot of each column, and the two limits of int32."""
    k = dots.shape[-1]
    picked = dots.reshape(-1, k)[:1] if dots.size else np.zeros((1, k), dtype=np.int64)
    values = picked[0] + np.arange(k) % 3 - 1
    values[3::11] = INT32_LIMITS[0]
    values[8::11] = INT32_LIMITS[1]
    return values.astype(np.int32)
