"""The executable specification: every kernel in plain NumPy on unpacked ±1 integers.

Each function here fixes the name, the parameters and the meaning of one kernel; every other backend is compared with
it bit for bit. Obviously right and never tuned.

Conventions of all kernels, in every backend
--------------------------------------------
- A kernel is a loop: arrays come validated, C-contiguous (where nothing else is said) and of the stated type, ``out``
  is allocated by the caller. A kernel never allocates a result, never validates and never fails. Sizes may be zero.
- ``n`` counts bits, ``words = ceil(n / 64)`` counts words. Tail bits are zero in every input and in every output.
- ``g`` is a gradient: int8, int16 or float32, and the result is int32, int64 or float32 respectively. Integer sums are
  exact (int8 with int32: fewer than 2**24 terms). Float sums are exact to rounding only, in any order.
- ``out`` of the kernels whose name starts with ``grad_weight`` or ``conv2d_grad_weight`` has the rows of the channels
  ``[first, first + len(out))`` of the gradient alone.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference import channels, codes, losses, norms, passes, planes, quantization, updates
from bitlearn.backends.reference.bits import from_bool, to_bool, to_signs
from bitlearn.panels import from_panels, to_panels


def pack(x, threshold, out):
    """bit[..., j] = x[..., j] >= threshold[j]; NaN gives a clear bit.

    x (outer, rows, n) with any strides, or (..., n) where it is C-contiguous: integers, float16, float32, float64 or
    bool; threshold (n,), or (1,) for all values, of the same type (True for bool, so that the bits are the values);
    out (..., words) uint64.
    """
    from_bool(x >= threshold, out)


def unpack(words, n, out):
    """out[i, j] = +1 where the bit is set, -1 where it is clear.

    words (rows, words), out (rows, n), a signed integer, float16, float32 or float64.
    """
    out[...] = to_signs(words, n)


def popcount(words, out):
    """out[o, i] = number of set bits of row [o, i].

    words (outer, rows, words) with any strides, out (outer, rows) int64.
    """
    out[...] = to_bool(words, words.shape[-1] * 64).sum(axis=-1)


def transpose_bits(words, n, out):
    """out bit [j, i] = words bit [i, j]. words (m, words), out (n, ceil(m / 64)) uint64."""
    from_bool(to_bool(words, n).T, out)


# --- products of bits with bits --------------------------------------------------------------------------------------


def hamming(a, b, n, out):
    """out[i, j] = number of values in which row i of a and row j of b differ.

    a (m, words), b (k, words), out (m, k) of a type as for xnor_matmul.
    """
    out[...] = (n - to_signs(a, n) @ to_signs(b, n).T) // 2


def xnor_matmul(a, b, n, out):
    """out[i, j] = sum of a[i, :] * b[j, :] = n - 2 * popcount(a[i] ^ b[j]).

    a (m, words), b (k, words), out (m, k) int16 (n <= 32767), int32 or float32 (n < 2**24).
    """
    out[...] = to_signs(a, n) @ to_signs(b, n).T


def xnor_matmul_sign(a, b, n, threshold, out):
    """bit[i, j] = dot(i, j) >= threshold[j].

    a (m, words), b (k, words), threshold (k,) int32, out (m, ceil(k / 64)) uint64.
    """
    from_bool(to_signs(a, n) @ to_signs(b, n).T >= threshold, out)


def pack_panels(b, out):
    """Lay out the rows of b as column panels (see bitlearn.panels). b (k, words), out (panel_words(k, words),)."""
    to_panels(b, out)


def hamming_panels(a, panels, n, out):
    """hamming with b in panels, k = out.shape[1]."""
    hamming(a, from_panels(panels, out.shape[1], a.shape[1]), n, out)


def xnor_matmul_panels(a, panels, n, out):
    """xnor_matmul with b in panels, k = out.shape[1]."""
    xnor_matmul(a, from_panels(panels, out.shape[1], a.shape[1]), n, out)


def xnor_matmul_sign_panels(a, panels, n, threshold, out):
    """xnor_matmul_sign with b in panels, k = len(threshold)."""
    xnor_matmul_sign(a, from_panels(panels, len(threshold), a.shape[1]), n, threshold, out)


def _padded_signs(x, n, stride, padding, pad_value, out_size, kernel_size):
    """x (batch, h, w, words) -> (batch, rows, columns, n) int64, padded on all sides as far as the windows reach."""
    signs = to_signs(x, n)
    batch, h, w = x.shape[:3]
    need = [(o - 1) * s + k for o, s, k in zip(out_size, stride, kernel_size, strict=True)]
    top, left = padding
    canvas = np.full((batch, max(need[0], top + h), max(need[1], left + w), n), pad_value, dtype=np.int64)
    canvas[:, top : top + h, left : left + w] = signs
    return canvas


def _taps(canvas, stride, out_size, kernel_size):
    """Yield (i, j, window): window (batch, out_h, out_w, n) holds the values under tap (i, j) of the kernel."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            yield i, j, canvas[:, i :: stride[0], j :: stride[1]][:, : out_size[0], : out_size[1]]


def _conv2d(x, w, n, stride, padding, pad_value, out_size):
    kernel_size = w.shape[1:3]
    canvas = _padded_signs(x, n, stride, padding, pad_value, out_size, kernel_size)
    signs = to_signs(w, n)
    y = np.zeros((x.shape[0], *out_size, w.shape[0]), dtype=np.int64)
    for i, j, window in _taps(canvas, stride, out_size, kernel_size):
        y += window @ signs[:, i, j].T
    return y


def xnor_conv2d(x, w, n, stride, padding, pad_value, out):
    """Cross-correlation of ±1 images with ±1 kernels, NHWC.

    x (batch, h, w, words), w (k, kh, kw, words), stride (rows, columns), padding (top, left), pad_value 0, +1 or -1,
    out (batch, out_h, out_w, k) int16, int32 or float32. The bottom and right padding follow from the size of ``out``.
    out[b, r, c, o] = sum over taps (i, j) and channels of x[b, r * stride + i - top, ...] * w[o, i, j]; a tap outside
    the image counts ``pad_value`` in every channel.
    """
    out[...] = _conv2d(x, w, n, stride, padding, pad_value, out.shape[1:3])


def xnor_conv2d_sign(x, w, n, stride, padding, pad_value, threshold, out):
    """bit[b, r, c, o] = conv[b, r, c, o] >= threshold[o].

    threshold (k,) int32, out (batch, out_h, out_w, ceil(k / 64)) uint64.
    """
    from_bool(_conv2d(x, w, n, stride, padding, pad_value, out.shape[1:3]) >= threshold, out)


def _kernels(panels, k, kernel, words):
    return from_panels(panels, k, kernel[0] * kernel[1] * words).reshape(k, *kernel, words)


def xnor_conv2d_panels(x, panels, kernel, n, stride, padding, pad_value, out):
    """xnor_conv2d with w in panels, each of its kernels a row; kernel (kh, kw), k = out.shape[3]."""
    w = _kernels(panels, out.shape[3], kernel, x.shape[3])
    xnor_conv2d(x, w, n, stride, padding, pad_value, out)


def xnor_conv2d_sign_panels(x, panels, kernel, n, stride, padding, pad_value, threshold, out):
    """xnor_conv2d_sign with w in panels; k = len(threshold)."""
    w = _kernels(panels, len(threshold), kernel, x.shape[3])
    xnor_conv2d_sign(x, w, n, stride, padding, pad_value, threshold, out)


# --- products of gradients with bits ---------------------------------------------------------------------------------


def _wide(g):
    """The type in which a product with g is summed."""
    return g.astype(np.float32 if g.dtype.kind == "f" else np.int64)


def grad_input(g, w, n, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]. g (m, k), w (k, words), out (m, n)."""
    g = _wide(g)
    out[...] = g @ to_signs(w, n).astype(g.dtype)


def grad_weight(g, x, n, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * x[i, j], added to out with accumulate.

    g (m, channels), x (m, words), out (k, n).
    """
    gt = _wide(g[:, first : first + len(out)]).T
    if not accumulate:
        out[...] = 0
    out += (gt @ to_signs(x, n).astype(gt.dtype)).astype(out.dtype)


def grad_weight_sign(g, x, n, first, threshold, mask, out):
    """bit[o, j] = (sum over i of g[i, first + o] * x[i, j]) >= threshold[o], and clear where mask is.

    threshold (k,) int64 (float32 for a float g), mask (k, words), out (k, words) uint64.
    """
    gt = _wide(g[:, first : first + len(out)]).T
    values = gt @ to_signs(x, n).astype(gt.dtype)
    from_bool((values >= threshold[:, None]) & to_bool(mask, n), out)


def conv2d_grad_input(g, w, n, stride, padding, out):
    """The gradient of xnor_conv2d with respect to x.

    g (batch, out_h, out_w, k), w (k, kh, kw, words), out (batch, h, w, n). Padded positions have no gradient.
    """
    g = _wide(g)
    kh, kw = w.shape[1:3]
    out_h, out_w = g.shape[1:3]
    top, left = padding
    h, width = out.shape[1:3]
    rows = max((out_h - 1) * stride[0] + kh, top + h)
    columns = max((out_w - 1) * stride[1] + kw, left + width)
    canvas = np.zeros((g.shape[0], rows, columns, n), dtype=g.dtype)
    signs = to_signs(w, n).astype(g.dtype)
    for i, j, window in _taps(canvas, stride, (out_h, out_w), (kh, kw)):
        window += g @ signs[:, i, j]
    out[...] = canvas[:, top : top + h, left : left + width]


def _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, shape):
    k, *kernel_size = shape[:3]
    batch, out_h, out_w = g.shape[:3]
    gt = _wide(g[..., first : first + k]).reshape(batch * out_h * out_w, k).T
    canvas = _padded_signs(x, n, stride, padding, pad_value, (out_h, out_w), kernel_size)
    values = np.zeros((k, *kernel_size, n), dtype=gt.dtype)
    for i, j, window in _taps(canvas, stride, (out_h, out_w), kernel_size):
        rows = np.ascontiguousarray(window).reshape(batch * out_h * out_w, n)
        values[:, i, j] = gt @ rows.astype(gt.dtype)
    return values


def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    """The gradient of xnor_conv2d with respect to w, of the kernels from the first on, added to out with accumulate.

    g (batch, out_h, out_w, channels), x (batch, h, w, words), out (k, kh, kw, n). A tap outside the image counts
    ``pad_value``.
    """
    if not accumulate:
        out[...] = 0
    out += _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, out.shape).astype(out.dtype)


def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    """bit = conv2d_grad_weight >= threshold[o], and clear where mask is.

    threshold (k,) int64 (float32 for a float g), mask and out (k, kh, kw, words) uint64.
    """
    values = _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, out.shape)
    from_bool((values >= threshold[:, None, None, None]) & to_bool(mask, n), out)


#: How many arrays at the end of its arguments a kernel writes, where it is not one.
RESULTS = {"adam_update": 3, "sgd_update": 2, "bop_update": 2, "split_planes": 2, "split_columns": 2}
RESULTS |= {"batch_statistics": 4, "norm_signs": 2, "batch_gradient": 4, "softmax_gradient": 3, "requantize": 2}

#: Every kernel by its name: the registry's list, and so everybody's.
KERNELS = {
    function.__name__: function
    for function in (
        pack,
        unpack,
        popcount,
        transpose_bits,
        hamming,
        xnor_matmul,
        xnor_matmul_sign,
        pack_panels,
        hamming_panels,
        xnor_matmul_panels,
        xnor_matmul_sign_panels,
        xnor_conv2d,
        xnor_conv2d_sign,
        xnor_conv2d_panels,
        xnor_conv2d_sign_panels,
        grad_input,
        grad_weight,
        grad_weight_sign,
        conv2d_grad_input,
        conv2d_grad_weight,
        conv2d_grad_weight_sign,
    )
} | passes.KERNELS
KERNELS |= (
    quantization.KERNELS
    | updates.KERNELS
    | codes.KERNELS
    | channels.KERNELS
    | planes.KERNELS
    | norms.KERNELS
    | losses.KERNELS
)

#: What the registry reads from every backend: the kernels of each variant, best first, and why a variant is missing.
VARIANTS = {"reference": KERNELS}
REASONS: dict[str, str] = {}
