# cython: language_level=3
"""How many values differ between rows of packed bits, by the C library, from Cython."""

from libc.stdint cimport int32_t, int64_t, intptr_t, uint8_t, uint64_t


cdef extern from "bitlearn.h" nogil:
    int BL_INT32
    int bl_best_variant()
    void bl_xnor_matmul(int variant, const uint64_t *a, const uint64_t *b, int b_panels, const uint8_t *recoded, intptr_t m,
                        intptr_t k, intptr_t words, int64_t n, int mismatches, const int32_t *threshold, void *out,
                        int out_type, uint8_t *scratch)


def differences(const uint64_t[:, ::1] a, const uint64_t[:, ::1] b, int32_t[:, ::1] out):
    """Write the Hamming distance of each row of a and each row of b to out, without the interpreter's lock."""
    if a.shape[1] != b.shape[1] or out.shape[0] != a.shape[0] or out.shape[1] != b.shape[0]:
        raise ValueError("out must have a row for each of a and a column for each of b, of as many words")
    if out.shape[0] == 0 or out.shape[1] == 0 or a.shape[1] == 0:
        out[:, :] = 0
        return
    with nogil:
        bl_xnor_matmul(bl_best_variant(), &a[0, 0], &b[0, 0], 0, NULL, a.shape[0], b.shape[0], a.shape[1], 64 * a.shape[1],
                       1, NULL, &out[0, 0], BL_INT32, NULL)
