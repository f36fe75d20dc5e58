"""Random sizes, contents and alignments: every variant in C against the specification, bit for bit.

``BITLEARN_FUZZ_EXAMPLES`` is the number of examples of each kernel and variant. Where it is set they differ in each
run, and a failing one is kept in ``.hypothesis`` and tried first in the next.
"""

from __future__ import annotations

import os

import guards
import numpy as np
import pytest
from cases import Conv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from operands import OPERANDS

from bitlearn.backends import reference

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)

#: The bytes of a cache line.
LINE = 64

#: A few rows, and values a row: of 0 to 17 words, whole ones or not.
FEW = st.integers(0, 20)
LENGTHS = st.integers(0, 200) | st.builds(lambda n, off: max(0, 64 * n + off), st.integers(0, 17), st.integers(-1, 1))


@st.composite
def convolutions(draw) -> Conv:
    """Any geometry that a kernel accepts: windows may lie wholly outside the image, and the result may end early."""
    pairs = [
        st.tuples(st.integers(low, high), st.integers(low, high)) for low, high in ((0, 8), (1, 4), (1, 4), (0, 4))
    ]
    image, kernel, stride, padding = map(draw, pairs)
    out = draw(st.tuples(st.integers(0, 7), st.integers(0, 7)))
    n, k = draw(st.tuples(LENGTHS, st.integers(0, 6)) | st.tuples(st.integers(0, 70), st.integers(0, 140)))
    return Conv(draw(st.integers(0, 2)), image, n, k, kernel, stride, padding, out)


def sizes(kernel: str) -> st.SearchStrategy:
    match OPERANDS[kernel].sizes[0]:
        case Conv():
            return convolutions()
        case (_, _, _, _, _, _):
            return pools()
        case sizes:
            return st.one_of(
                st.tuples(*(LENGTHS if axis == long else FEW for axis in range(len(sizes))))
                for long in range(len(sizes))
            )


@st.composite
def pools(draw) -> tuple[int, ...]:
    """Any windows that lie inside the images."""
    window = draw(st.integers(1, 4))
    height, width = (draw(st.integers(window, 9)) for _ in range(2))
    return draw(st.integers(0, 2)), height, width, draw(LENGTHS), window, draw(st.integers(1, 5))


def budget() -> settings:
    examples = os.environ.get("BITLEARN_FUZZ_EXAMPLES")
    if not examples:
        return settings()
    kept = DirectoryBasedExampleDatabase(".hypothesis/examples")
    return settings(max_examples=int(examples), derandomize=False, database=kept)


def within(array: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy that starts `offset` elements into a cache line, and the buffer of nonsense that it lies in.

    Under sanitizers the buffer ends with the array, and the allocator alone decides where it starts.
    """
    room = 2 * LINE if guards.MARGIN else 0
    start = offset * array.itemsize
    buffer = np.full(start + guards.span(array)[0] + room, 0xA5, dtype=np.uint8)
    start += -buffer.ctypes.data % LINE if room else 0
    return guards.placed(array, buffer, start), buffer


@pytest.mark.parametrize(
    ("kernel", "variant"),
    [(kernel, variant) for kernel in OPERANDS for variant in cext.VARIANTS if kernel in cext.VARIANTS[variant]],
)
def test_kernel(kernel, variant):
    @budget()
    @given(st.data(), sizes(kernel), st.sampled_from(OPERANDS[kernel].dtypes), st.integers(0, 2**32 - 1))
    def check(data, size, dtype, seed):
        arguments = OPERANDS[kernel].make(np.random.default_rng(seed), size, dtype)
        count = reference.RESULTS.get(kernel, 1)
        expected = [array.copy() for array in arguments[-count:]]
        reference.KERNELS[kernel](*arguments[:-count], *expected)
        copies, untouched = list(arguments), []
        for position, each in enumerate(arguments):
            if isinstance(each, np.ndarray):
                offset = data.draw(st.integers(0, LINE // each.itemsize - 1), label=f"offset of argument {position}")
                copies[position], buffer = within(each, offset)
                untouched.append((buffer, buffer.copy()))
        cext.VARIANTS[variant][kernel](*copies)
        for before, got, wanted in zip(arguments[-count:], copies[-count:], expected, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)
            got[...] = before
        for buffer, before in untouched:
            np.testing.assert_array_equal(buffer, before, "written outside the result")

    check()
