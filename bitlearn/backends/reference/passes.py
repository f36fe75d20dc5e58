"""The passes over channels, in plain NumPy: batch norm on integer sums, its sign and its gradient, and max pooling.

``y`` and ``x`` are int16 or int32 sums, or packed signs where that is said; ``d`` is an int8 or int16 gradient. Sums
are exact; floats are float32, one operation at a time in the order written.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_bool


def channel_sums(y, out):
    """out[g, 0] = sum over the rows of y[g], out[g, 1] = sum of squares; y (groups, rows, c), out (groups, 2, c)."""
    wide = y.astype(np.int64)
    out[:, 0] = wide.sum(axis=1)
    out[:, 1] = (wide * wide).sum(axis=1)


def channel_sums_above(y, bound, out):
    """out[g, 0] = sum of those y[g] that are >= bound (c,), out[g, 1] = their number."""
    above = y >= bound
    out[:, 0] = np.where(above, y, 0).sum(axis=1, dtype=np.int64)
    out[:, 1] = above.sum(axis=1)


def sign_pass(y, threshold, low, high, out):
    """Bits out[i, 0] = y[i] >= threshold, out[i, 1] = low <= y[i] <= high; y (rows, c), out (rows, 2, words)."""
    flags = np.stack([y >= threshold, (y >= low) & (y <= high)], axis=1)
    from_bool(flags, out)


def _kept(d, passes):
    return np.where(to_bool(passes, d.shape[-1]), d, 0)


def gradient_sums(d, passes, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d * x, or of d where the bit of x is set; d is 0 off its mask.

    d (groups, rows, c), passes and packed x (groups, rows, words), x (groups, rows, c), out (groups, 2, c).
    """
    kept = _kept(d, passes).astype(np.int64)
    factors = to_bool(x, d.shape[-1]) if x.dtype == np.uint64 else x
    out[:, 0] = kept.sum(axis=1)
    out[:, 1] = (kept * factors).sum(axis=1)


def _norm_gradient(d, passes, x, first, second, factor):
    """(e + d) * factor, e = second - x * first, or where x is packed: first at +1, second at -1."""
    if x.dtype == np.uint64:
        e = np.where(to_bool(x, d.shape[-1]), first, second)
    else:
        e = second - x.astype(np.float32) * first
    return (e + _kept(d, passes).astype(np.float32)) * factor


def norm_gradient_peak(d, passes, x, first, second, factor, out):
    """out[g] = the largest magnitude of the gradient behind a batch norm, not finite where one is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = np.abs(_norm_gradient(d, passes, x, first, second, factor)).max(axis=(1, 2), initial=0)


def norm_gradient(d, passes, x, first, second, factor, scale, limit, out):
    """out = clip(round(gradient / scale), -limit, limit), ties to even; d (rows, c), out as d or d itself."""
    dy = _norm_gradient(d, passes, x, first, second, factor)
    out[...] = np.clip(np.rint(dy / np.float32(scale)), -limit, limit)


def _taps(x, window, stride, height, width):
    """(window**2, batch, height, width, channels): each place of the windows, row by row."""
    places = [(i, j) for i in range(window) for j in range(window)]
    return np.stack([x[:, i::stride, j::stride][:, :height, :width] for i, j in places])


def max_pool(x, window, stride, out):
    """out = the largest value of each window; x (batch, h, w, c), out (batch, out_h, out_w, c)."""
    out[...] = _taps(x, window, stride, *out.shape[1:3]).max(axis=0)


def max_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that holds the largest value; out (batch, out_h, out_w, p, w)."""
    first = _taps(x, window, stride, *out.shape[1:3]).argmax(axis=0)
    for p in range(out.shape[3]):
        from_bool((first >> p & 1).astype(bool), out[:, :, :, p])


def max_pool_gradient(d, places, window, stride, out):
    """out = d of each window at its place, added up where windows overlap, 0 elsewhere; out (batch, h, w, c)."""
    bits = to_bool(places, d.shape[-1])
    first = np.zeros(d.shape, dtype=np.int64)
    for p in range(places.shape[3]):
        first |= bits[..., p, :].astype(np.int64) << p
    out[...] = 0
    for index in range(window * window):
        i, j = divmod(index, window)
        view = out[:, i::stride, j::stride][:, : d.shape[1], : d.shape[2]]
        view += np.where(first == index, d, 0).astype(out.dtype)


KERNELS = {
    function.__name__: function
    for function in (
        channel_sums,
        channel_sums_above,
        sign_pass,
        gradient_sums,
        norm_gradient_peak,
        norm_gradient,
        max_pool,
        max_pool_places,
        max_pool_gradient,
    )
}
