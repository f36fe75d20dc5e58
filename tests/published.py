"""One training step in plain NumPy on unpacked ±1 arrays: arXiv 2102.04270 (algorithm 2), and its l2 form in 8 bits.

Written from the formulas: Python's and NumPy's float64 and int64, no packed word anywhere.
"""

from __future__ import annotations

import numpy as np
import oracles

import bitlearn as bl

#: Rounding to a code is compared away from a tie: float32 arithmetic moves a quotient by less than this.
TIE = {8: 1e-3, 16: 0.1}


def sgn(x) -> np.ndarray:
    """Return ±1 in int64, with sgn(0) = +1."""
    return np.where(np.asarray(x) >= 0, 1, -1).astype(np.int64)


def plain(value) -> np.ndarray:
    """Return packed bits as ±1 and sums as they are, in int64."""
    return (bl.unpack(value.words, value.n) if isinstance(value, bl.Bits) else np.asarray(value)).astype(np.int64)


def kept(layer, values) -> np.ndarray:
    """Round per-channel values as the policy keeps them between the passes."""
    return np.asarray(values).astype(layer.precision.statistics).astype(np.float64)


def l1(layer) -> bool:
    """Say whether a batch norm divides by the mean absolute deviation."""
    return (layer.norm or layer.precision.norm) != "l2"


def normalized(layer, y) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, deviation (rounded as it is kept) and normalised, biased values of sums (rows, channels)."""
    real = y.reshape(-1, layer.spec.channels) * layer.spec.unit
    mean = real.mean(axis=0)
    centred = real - mean
    std = np.abs(centred).mean(axis=0) if l1(layer) else np.sqrt((centred**2).mean(axis=0))
    std = kept(layer, std)
    return mean, std, centred / std + layer.bias


def norm_backward(layer, y, d) -> tuple[np.ndarray, np.ndarray]:
    """Return dY and dbeta, both in units of the gradient's scale, for integers d (rows, channels)."""
    mean, std, x = normalized(layer, y)
    v = d / std
    if l1(layer):
        s, omega = sgn(x), kept(layer, np.abs(x).mean(axis=0))
        dy = v - v.mean(axis=0) - s * ((v * s).mean(axis=0) * omega)
    else:
        z = (y.reshape(-1, layer.spec.channels) * layer.spec.unit - mean) / std
        dy = v - v.mean(axis=0) - z * (v * z).mean(axis=0)
    return dy, d.sum(axis=0)


def pooled(x, window, stride) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest value of each window, and which it was, counted in row order (the first where they tie)."""
    height, width = ((size - window) // stride + 1 for size in x.shape[1:3])
    best = np.zeros((len(x), height, width, x.shape[3]), dtype=x.dtype)
    where = np.zeros(best.shape, dtype=int)
    for r in range(height):
        for c in range(width):
            view = x[:, r * stride : r * stride + window, c * stride : c * stride + window]
            view = view.reshape(len(x), window * window, x.shape[3])
            best[:, r, c], where[:, r, c] = view.max(axis=1), view.argmax(axis=1)
    return best, where


def unpooled(g, where, shape, window, stride) -> np.ndarray:
    """Add each window's gradient to the value that won."""
    out = np.zeros(shape, dtype=np.float64)
    for (b, r, c, channel), place in np.ndenumerate(where):
        out[b, r * stride + place // window, c * stride + place % window, channel] += g[b, r, c, channel]
    return out


def check_codes(found, real, bits, scale=1.0) -> None:
    """Assert that `found` is what quantizing `real * scale` to `bits` with one scale gives, exactly away from ties."""
    limit = 2 ** (bits - 1) - 1
    step = np.abs(real).max() / limit or 1.0
    assert found.bits == bits and found.values.dtype == (np.int8 if bits <= 8 else np.int16)
    np.testing.assert_allclose(float(found.scale), step * scale, rtol=1e-5)
    quotient = real / step
    codes = np.rint(quotient)
    clear = np.abs(quotient - np.floor(quotient) - 0.5) > TIE[bits]
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(found.values[clear], codes[clear])
    assert np.abs(found.values - codes).max() <= 1


def operand(d, scale, bits, how, axis, key) -> tuple[np.ndarray, float | np.ndarray]:
    """Return what a product takes of integers d, worth `scale` each, of so many bits: codes, and what each is worth."""
    if how.bits >= bits:
        return d, scale
    others = tuple(each for each in range(d.ndim) if each != axis % d.ndim) if how.scale != "tensor" else None
    step = np.maximum(np.abs(d).max(axis=others, keepdims=others is not None) / (2 ** (how.bits - 1) - 1), 1.0)
    quotient = d / step
    if how.rounding == "nearest":
        return np.rint(quotient).astype(np.int64), scale * step
    first = np.moveaxis(quotient, axis, 0) if others is not None else quotient
    up = key.words(d.size).reshape(first.shape) / 2.0**32 < first - np.floor(first)
    up = np.moveaxis(up, 0, axis) if others is not None else up
    return (np.floor(quotient) + up).astype(np.int64), scale * step


def check_requantized(found, sums, bits, scale, row_by_row=False) -> None:
    """Assert that `found` is what quantizing exact integer sums gives: themselves where they fit, else codes.

    Sums with a scale a row are quantized as the real numbers that they stand for. Row by row, each row has a step of
    its own first, and then that of the largest.
    """
    if np.ndim(scale):
        return check_codes(found, sums * scale, bits)
    limit, largest = 2 ** (bits - 1) - 1, int(np.abs(sums).max(initial=0))
    step = largest / limit if largest > limit else 1.0
    codes = np.rint(sums / step)
    if row_by_row:
        own = np.abs(sums).reshape(len(sums), -1).max(axis=1, initial=0) / limit
        own = np.maximum(own, 1.0).reshape(-1, *[1] * (sums.ndim - 1))
        codes = np.rint(np.rint(sums / own) / (step * float(scale) / (own * float(scale))))
    np.testing.assert_array_equal(found.values, codes)
    np.testing.assert_allclose(float(found.scale), step * float(scale), rtol=1e-6)


def product(layer, x) -> np.ndarray:
    """Return the sums of a layer with weights."""
    weight = sgn(layer.weight)
    if isinstance(layer, bl.nn.BinaryLinear):
        return x @ weight.T
    return oracles.conv2d(x, weight, layer.stride, layer.padding, layer.pad_value)


def product_backward(layer, x, g) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact sums of dX and of dW for integers g."""
    weight = sgn(layer.weight)
    if isinstance(layer, bl.nn.BinaryLinear):
        return g @ weight, g.T @ x
    dx = oracles.grad_input(g, weight, x.shape[1:3], layer.stride, layer.padding)
    return dx, oracles.grad_weight(g, x, layer.kernel, layer.stride, layer.padding, layer.pad_value)


def softmax(scores, labels) -> tuple[float, np.ndarray]:
    """Return mean cross-entropy and its gradient, float64."""
    wide = np.asarray(scores, dtype=np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    target = np.eye(wide.shape[1])[labels]
    return float(-np.log(p[target == 1]).mean()), (p - target) / len(wide)
