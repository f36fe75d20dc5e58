# cython: language_level=3
"""Set bits of rows of words, by a kernel of the installed package: nothing to link, the function comes in a capsule."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, intptr_t, uint64_t

from bitlearn import capi

ctypedef int (*choose)() noexcept nogil
ctypedef void (*count)(int variant, const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                       intptr_t row_stride, intptr_t word_stride, int64_t *out) noexcept nogil

# The second argument is the type that is called below: where the package has another one, this is an error.
cdef choose best_variant = <choose>PyCapsule_GetPointer(capi.capsule("bl_best_variant"), b"int ()")
cdef count popcount = <count>PyCapsule_GetPointer(
    capi.capsule("bl_popcount"),
    b"void (int, uint64_t *, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, int64_t *)")


def counts(const uint64_t[:, ::1] words, int64_t[::1] out):
    """Write how many bits of each row are set to out, without the interpreter's lock."""
    if out.shape[0] != words.shape[0]:
        raise ValueError("out must have a value for each row of words")
    if words.shape[0] == 0 or words.shape[1] == 0:
        out[:] = 0
        return
    cdef intptr_t row = 8 * words.shape[1]
    with nogil:
        popcount(best_variant(), &words[0, 0], 1, words.shape[0], words.shape[1], row * words.shape[0], row, 8, &out[0])
