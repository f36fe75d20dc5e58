"""Calls of the products and convolutions of bits with bits."""

from __future__ import annotations

from typing import Any

import numpy as np

import bitlearn as bl
from campaign.calls import Call, bits
from campaign.sizes import fitting, length, rows, signs

_RESULTS = (np.int16, np.int32, np.float32)
_BAD_RESULTS = (np.int8, np.int64, "float64", "nonsense", object(), None)
_INT32 = np.iinfo(np.int32)


def operand(rng: np.random.Generator, words: np.ndarray, n: int) -> Any:
    """Return words of weights as they are, or prepared."""
    return bl.pack_weights(words, n) if rng.random() < 0.4 else words


def thresholds(rng: np.random.Generator, sums: np.ndarray) -> Any:
    """Return a threshold for each of the last axis's sums, or one for all: at, above or below some sum, or a limit."""
    k = sums.shape[-1]
    some = sums.reshape(-1, k)[rng.integers(sums.size // k)] if sums.size else np.zeros(k, np.int64)
    each = some + rng.integers(-1, 2, k)
    each = np.where(rng.random(k) < 0.1, (_INT32.min, _INT32.max)[rng.integers(2)], each)
    kinds = (np.int64, np.int32, np.int64, np.int32, ">i4")
    way = rng.integers(7)
    if way < 5:
        return each.astype(kinds[way])
    return int(each[0]) if k and way == 5 else np.array(each[0] if k else 0)


def wrong_thresholds(k: int) -> tuple:
    """Return what is no threshold of k sums."""
    shape = (k + 1,) if k else (2,)
    return (0.5, "a", None, 2**31, -(2**31) - 1, np.zeros(shape, np.int32), np.zeros((1, k), np.int32), [1.5] * (k + 2))


def of_matrices(rng: np.random.Generator) -> Call:
    """Make one of the three products of matrices."""
    n = length(rng)
    m = fitting(rows(rng), n)
    k = fitting(rows(rng), n, m)
    if rng.random() < 0.01:
        n, m, k = 32767 + int(rng.integers(2)), 1, 2  # the limit of int16, and past it
    outer = (2,) * int(rng.integers(3)) if rng.random() < 0.2 and m * n < 5000 else ()
    a, b = signs(rng, *outer, m, n), signs(rng, k, n)
    arrays: dict[str, Any] = {"a": bits(a), "b": operand(rng, bits(b), n)}
    settings: dict[str, Any] = {"n": n}
    wrong: dict[str, tuple] = {}
    which = ("xnor_matmul", "xnor_matmul_sign", "hamming")[rng.integers(3)]
    if which == "hamming" and outer:
        which = "xnor_matmul"
    words = {"a": 2 if which == "hamming" else None, "b": 2}
    sums = a.astype(np.int64) @ b.astype(np.int64).T
    if which == "xnor_matmul_sign":
        settings["threshold"] = thresholds(rng, sums)
        wanted = bits(np.where(sums >= settings["threshold"], 1, -1))
        wrong["threshold"] = wrong_thresholds(k)
    else:
        kind = np.dtype(_RESULTS[rng.integers(n > 32767, 3)])
        settings["dtype"] = kind if rng.random() < 0.5 else kind.type
        wanted = ((n - sums) // 2 if which == "hamming" else sums).astype(kind)
        wrong["dtype"] = (*_BAD_RESULTS, *((np.int16,) if n > 32767 else ()))
    return Call(which, arrays, settings, wanted, words=words, wrong=wrong)


def pair(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    """Return two sizes."""
    return int(rng.integers(low, high)), int(rng.integers(low, high))


class Windows:
    """The geometry of a convolution, drawn at random, and what it means in NumPy."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.batch = int(rng.integers(0, 4))
        self.kernel, self.stride = pair(rng, 0 if rng.random() < 0.05 else 1, 5), pair(rng, 1, 4)
        self.given: dict[str, Any] = {}
        if rng.random() < 0.3:
            self.image = pair(rng, 0 if rng.random() < 0.1 else 1, 9)
            self.given["padding"] = "same"
            sizes = list(zip(self.image, self.kernel, self.stride, strict=True))
            self.out = tuple(-(-i // s) for i, _, s in sizes)
            total = [max((o - 1) * s + k - i, 0) for o, (i, k, s) in zip(self.out, sizes, strict=True)]
            self.before = tuple(each // 2 for each in total)
        else:
            self.before = pair(rng, 0, 4)
            least = [max(k - 2 * p, 0) for k, p in zip(self.kernel, self.before, strict=True)]
            self.image = (int(rng.integers(least[0], least[0] + 8)), int(rng.integers(least[1], least[1] + 8)))
            sizes = list(zip(self.image, self.before, self.kernel, self.stride, strict=True))
            self.out = tuple((i + 2 * p - k) // s + 1 for i, p, k, s in sizes)
            self.given["padding"] = self.before
            if self.before[0] == self.before[1] and rng.random() < 0.5:
                self.given["padding"] = self.before[0]
        self.given["stride"] = self.stride
        if self.stride[0] == self.stride[1] and rng.random() < 0.5:
            self.given["stride"] = self.stride[0]
        self.pad_value = int(rng.integers(-1, 2))
        self.given["pad_value"] = self.pad_value
        self.wrong: dict[str, tuple] = {
            "stride": (0, -1, 1.5, None, (1, 2, 3), "2", (1, 0), [1]),
            "padding": (-1, 1.5, "valid", None, (1,), (0, -1)),
            "pad_value": (2, -2, 0.5, None, "0"),
        }

    def canvas(self, x: np.ndarray) -> np.ndarray:
        """Return images with all around them that a window can reach."""
        reach = [(o - 1) * s + k for o, s, k in zip(self.out, self.stride, self.kernel, strict=True)]
        after = [max(r - p - i, 0) for r, p, i in zip(reach, self.before, self.image, strict=True)]
        around = [(0, 0), *zip(self.before, after, strict=True), (0, 0)]
        return np.pad(x.astype(np.int64), around, constant_values=self.pad_value)

    def seen(self, canvas: np.ndarray, i: int, j: int) -> np.ndarray:
        """Return what each window sees through a tap: (batch, out_h, out_w, channels), a view."""
        rows = slice(i, i + self.out[0] * self.stride[0], self.stride[0])
        columns = slice(j, j + self.out[1] * self.stride[1], self.stride[1])
        return canvas[:, rows, columns][:, : self.out[0], : self.out[1]]

    def taps(self) -> list[tuple[int, int]]:
        """Return the places in a kernel."""
        return [(i, j) for i in range(self.kernel[0]) for j in range(self.kernel[1])]

    def fits(self, *others: int) -> int:
        """Return at most how many channels keep the work small."""
        return fitting(130, self.batch, *self.out, *self.kernel, *others)


def of_images(rng: np.random.Generator) -> Call:
    """Make one of the two convolutions."""
    windows = Windows(rng)
    n = min(length(rng), windows.fits())
    k = min(rows(rng), windows.fits(n))
    x, w = signs(rng, windows.batch, *windows.image, n), signs(rng, k, *windows.kernel, n)
    sums, canvas = np.zeros((windows.batch, *windows.out, k), np.int64), windows.canvas(x)
    for i, j in windows.taps():
        sums += windows.seen(canvas, i, j) @ w[:, i, j].T.astype(np.int64)
    arrays = {"x": bits(x), "w": operand(rng, bits(w), n)}
    settings: dict[str, Any] = {"n": n, **windows.given}
    wrong = dict(windows.wrong)
    if rng.random() < 0.5:
        settings["threshold"] = thresholds(rng, sums)
        wanted, which = bits(np.where(sums >= settings["threshold"], 1, -1)), "xnor_conv2d_sign"
        wrong["threshold"] = wrong_thresholds(k)
    else:
        kind = np.dtype(_RESULTS[rng.integers(3)])
        settings["dtype"] = kind
        wanted, which = sums.astype(kind), "xnor_conv2d"
        wrong["dtype"] = _BAD_RESULTS
    return Call(which, arrays, settings, wanted, words={"x": 4, "w": 4}, wrong=wrong)


def neighbours(rng: np.random.Generator) -> Call:
    """Find nearest rows, many of them equally near."""
    n = length(rng)
    queries = signs(rng, fitting(rows(rng), n), n)
    base = signs(rng, fitting(rows(rng), n, len(queries)), n)
    if len(base) > 1 and rng.random() < 0.3:
        base = base[rng.integers(0, len(base), len(base))]
    k = int(rng.integers(0, len(base) + 1))
    distances = (n - queries.astype(np.int64) @ base.T.astype(np.int64)) // 2
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Call(
        "nearest",
        {"queries": bits(queries), "base": bits(base)},
        {"k": k, "n": n},
        (indices.astype(np.int64), np.take_along_axis(distances, indices, axis=1).astype(np.int32)),
        has_out=False,
        words={"queries": 2, "base": 2},
        wrong={"k": (-1, 1.5, None, "1", len(base) + 1)},
    )


MAKERS = (of_matrices, of_matrices, of_images, neighbours)
