"""Quantization to a few bits, one row of scales at a time."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import kernel


@kernel
def quantize_linear(x, scale, zero_point, low, high, noise, out):
    """out[i, j] = clip(round(x[i, j] / scale[i]) + zero_point[i], low, high)."""
    real = scale.dtype.type
    for i in range(x.shape[0]):
        zero, divisor = zero_point[i], scale[i]
        # Clipped before it is rounded: the bounds are integers, so the result is that of the other order.
        least, most = real(low - zero), real(high - zero)
        if noise.size:
            for j in range(x.shape[1]):
                value = min(max(real(x[i, j]) / divisor, least), most)
                whole = np.floor(value)
                up = np.float64(noise[i, j]) < np.float64(value - whole) * 4294967296.0
                out[i, j] = np.int64(whole) + zero + up
        else:
            for j in range(x.shape[1]):
                value = min(max(real(x[i, j]) / divisor, least), most)
                out[i, j] = np.int64(np.rint(value)) + zero
