"""Products of gradients with bits, of matrices and of convolutions, all through `add_terms`.

The bits of a block of terms are expanded once to ±1 bytes and read by many rows, whose inner loop LLVM vectorises. Sums
are kept in the type of the result: int32 for int8, int64 for int16, float32. The ``_sign`` kernels sum a few rows at a
time in the type of their threshold, int64 or float32. Buffers are allocated once per call.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel

#: Terms of a block, and rows that the ``_sign`` kernels sum at a time.
_TERMS, _ROWS = 64, 8


@helper
def expand(words, signs):
    """signs[j] = +1 where bit j of words is set, else -1."""
    for t in range(words.size):
        word = words[t]
        part = signs[64 * t : 64 * t + 64]
        for j in range(part.size):
            part[j] = 2 * np.int8((word >> np.uint64(j)) & np.uint64(1)) - 1


@helper
def add_terms(total, g, signs):
    """total[j] += sum over t of g[t] * signs[t, j]. Eight terms a pass: a sum is loaded and stored once for them."""
    wide = total.dtype.type  # before the products: -(-128) is no int8
    t = 0
    while t + 8 <= g.size:
        g0, g1, g2, g3 = wide(g[t]), wide(g[t + 1]), wide(g[t + 2]), wide(g[t + 3])
        g4, g5, g6, g7 = wide(g[t + 4]), wide(g[t + 5]), wide(g[t + 6]), wide(g[t + 7])
        s0, s1, s2, s3 = signs[t], signs[t + 1], signs[t + 2], signs[t + 3]
        s4, s5, s6, s7 = signs[t + 4], signs[t + 5], signs[t + 6], signs[t + 7]
        for j in range(total.size):
            low = g0 * wide(s0[j]) + g1 * wide(s1[j]) + g2 * wide(s2[j]) + g3 * wide(s3[j])
            high = g4 * wide(s4[j]) + g5 * wide(s5[j]) + g6 * wide(s6[j]) + g7 * wide(s7[j])
            total[j] += low + high
        t += 8
    while t < g.size:
        value, sign = wide(g[t]), signs[t]
        for j in range(total.size):
            total[j] += value * wide(sign[j])
        t += 1


@helper
def pack_row_masked(values, threshold, mask, out):
    """Pack values[j] >= threshold, cleared where mask is, into the words of out."""
    for t in range(out.size):
        part = values[64 * t : 64 * t + 64]
        word = np.uint64(0)
        for j in range(part.size):
            word |= np.uint64(part[j] >= threshold) << np.uint64(j)
        out[t] = word & mask[t]


@kernel
def grad_input(g, w, n, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]."""
    signs = np.empty((_TERMS, n), np.int8)
    out[:] = 0
    for start in range(0, w.shape[0], _TERMS):
        count = min(_TERMS, w.shape[0] - start)
        for t in range(count):
            expand(w[start + t], signs[t])
        for i in range(g.shape[0]):
            add_terms(out[i], g[i, start : start + count], signs)


@helper
def add_products(g, x, first, signs, column, total):
    """total[k, j] += sum over i of g[i, first + k] * x[i, j]."""
    for start in range(0, g.shape[0], _TERMS):
        count = min(_TERMS, g.shape[0] - start)
        for t in range(count):
            expand(x[start + t], signs[t])
        for k in range(total.shape[0]):
            for t in range(count):
                column[t] = g[start + t, first + k]
            add_terms(total[k], column[:count], signs)


@kernel
def grad_weight(g, x, n, first, accumulate, out):
    """out[k, j] = sum over i of g[i, first + k] * x[i, j], added to out with accumulate."""
    if not accumulate:
        out[:] = 0
    add_products(g, x, first, np.empty((_TERMS, n), np.int8), np.empty(_TERMS, g.dtype), out)


@kernel
def grad_weight_sign(g, x, n, first, threshold, mask, out):
    """bit[k, j] = (sum over i of g[i, first + k] * x[i, j]) >= threshold[k], and clear where mask is."""
    signs, column = np.empty((_TERMS, n), np.int8), np.empty(_TERMS, g.dtype)
    total = np.empty((_ROWS, n), threshold.dtype)
    for start in range(0, out.shape[0], _ROWS):
        rows = total[: out.shape[0] - start]
        rows[:] = 0
        add_products(g, x, first + start, signs, column, rows)
        for k in range(rows.shape[0]):
            pack_row_masked(rows[k], threshold[start + k], mask[start + k], out[start + k])


@kernel
def conv2d_grad_input(g, w, n, stride, padding, out):
    """The gradient of xnor_conv2d with respect to x: a tap at a time, each output pixel is added where it lies."""
    signs = np.empty((_TERMS, n), np.int8)
    out[:] = 0
    for i in range(w.shape[1]):
        for j in range(w.shape[2]):
            for start in range(0, w.shape[0], _TERMS):
                count = min(_TERMS, w.shape[0] - start)
                for t in range(count):
                    expand(w[start + t, i, j], signs[t])
                for b in range(g.shape[0]):
                    for r in range(g.shape[1]):
                        y = r * stride[0] + i - padding[0]
                        if y < 0 or y >= out.shape[1]:
                            continue
                        for c in range(g.shape[2]):
                            z = c * stride[1] + j - padding[1]
                            if 0 <= z < out.shape[2]:
                                add_terms(out[b, y, z], g[b, r, c, start : start + count], signs)


@helper
def add_collected(g, positions, count, first, signs, column, taps, tap, total):
    """total[taps * k + tap, j] += sum over t < count of g[positions[t], first + k] * signs[t, j]."""
    for k in range(total.shape[0] // taps):
        for t in range(count):
            column[t] = g[positions[t], first + k]
        add_terms(total[taps * k + tap], column[:count], signs)


@helper
def add_tap_gradient(g, x, stride, padding, pad_value, i, j, first, positions, signs, column, taps, tap, total):
    """Add the gradient of tap (i, j) of the channels from the first on to every taps-th row of total, from `tap` on."""
    flat = g.reshape(g.shape[0] * g.shape[1] * g.shape[2], g.shape[3])
    count, position = 0, 0
    for b in range(g.shape[0]):
        for r in range(g.shape[1]):
            y = r * stride[0] + i - padding[0]
            for c in range(g.shape[2]):
                z = c * stride[1] + j - padding[1]
                inside = 0 <= y < x.shape[1] and 0 <= z < x.shape[2]
                # Zeros of the padding are left out: an infinite gradient times zero is no number.
                if inside or pad_value != 0:
                    positions[count] = position
                    if inside:
                        expand(x[b, y, z], signs[count])
                    else:
                        signs[count] = pad_value
                    count += 1
                    if count == _TERMS:
                        add_collected(flat, positions, count, first, signs, column, taps, tap, total)
                        count = 0
                position += 1
    add_collected(flat, positions, count, first, signs, column, taps, tap, total)


@kernel
def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    """The gradient of xnor_conv2d with respect to w, added to out with accumulate, a tap at a time."""
    positions, signs, column = np.empty(_TERMS, np.int64), np.empty((_TERMS, n), np.int8), np.empty(_TERMS, g.dtype)
    if not accumulate:
        out[:] = 0
    kh, kw = out.shape[1:3]
    total = out.reshape(out.shape[0] * kh * kw, n)
    for i in range(kh):
        for j in range(kw):
            tap = i * kw + j
            add_tap_gradient(
                g, x, stride, padding, pad_value, i, j, first, positions, signs, column, kh * kw, tap, total
            )


@kernel
def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    """bit = conv2d_grad_weight >= threshold[k], and clear where mask is."""
    positions, signs, column = np.empty(_TERMS, np.int64), np.empty((_TERMS, n), np.int8), np.empty(_TERMS, g.dtype)
    total = np.empty((_ROWS, n), threshold.dtype)
    for start in range(0, out.shape[0], _ROWS):
        rows = total[: out.shape[0] - start]
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                rows[:] = 0
                part = first + start
                add_tap_gradient(g, x, stride, padding, pad_value, i, j, part, positions, signs, column, 1, 0, rows)
                for k in range(rows.shape[0]):
                    pack_row_masked(rows[k], threshold[start + k], mask[start + k, i, j], out[start + k, i, j])
