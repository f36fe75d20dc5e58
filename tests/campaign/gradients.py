"""Calls of the products of gradients with bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bitlearn as bl
from campaign.calls import Call, bits, same_values
from campaign.layouts import laid
from campaign.products import Windows, operand
from campaign.sizes import fitting, length, rows, signs

_BAD_GRADIENTS: tuple = ("text", None, 1j)
_BAD_SHAPES: tuple = (3, None, (3,), "33", (1.5, 2), (-1, 3), (1, 2, 3), (9, 90, 90, 9))


@dataclass
class Gradient:
    """A gradient as it is given, the integers that it stands for, and how their sums become results."""

    given: Any
    values: np.ndarray
    settings: dict[str, Any]
    #: What a unit of the sums is worth: None where they are results; broadcast along `axis`.
    scale: np.ndarray | None
    axis: int
    kind: np.dtype
    wrong: dict[str, tuple]
    signs_too: bool = True

    def result(self, sums: np.ndarray) -> np.ndarray:
        """Return exact sums, whose first axis is the gradient's `axis`, as the function gives them."""
        if self.scale is None:
            return sums.astype(self.kind)
        along = self.scale.reshape(-1, *[1] * (sums.ndim - 1)) if self.scale.ndim else self.scale
        return (sums * along.astype(np.float64)).astype(np.float32)


def gradient(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> Gradient:
    """Return a gradient of some type; where it is quantized its scale may vary along an axis."""
    way = rng.integers(6)
    plain: dict[str, Any] = {"scale": None, "axis": axis}
    if way == 0:
        values = rng.integers(-128, 128, shape).astype(np.int8)
        return Gradient(values, values, {}, kind=np.dtype(np.int32), wrong={"bits": (0, 9, 1.5, "4")}, **plain)
    if way == 1:
        width = int(rng.integers(1, 9))
        values = signs(rng, *shape) if width == 1 else _of_width(rng, width, shape)
        wide = values.copy()
        wrong = {"bits": (0, 9, 1.5, "4", -1)}
        if values.size and width < 8:
            wide.flat[rng.integers(wide.size)] = 2 ** (width - 1) if width > 1 else 0
            wrong["g"] = (wide,)
        return Gradient(values, values, {"bits": width}, kind=np.dtype(np.int32), wrong=wrong, **plain)
    if way == 2:
        values = rng.integers(-(2**15), 2**15, shape).astype(np.int16)
        return Gradient(values, values, {}, kind=np.dtype(np.int64), wrong={"bits": (8, 16)}, **plain)
    if way == 3:
        kind = (np.float32, np.float64, np.float16)[rng.integers(3)]
        values = rng.integers(-200, 201, shape)
        wrong = {"bits": (8,), "g": (values.astype(np.int64), values.astype(np.uint8), values.astype(complex))}
        return Gradient(values.astype(kind), values, {}, kind=np.dtype(np.float32), wrong=wrong, **plain)
    return _quantized(rng, shape, axis, powers=way == 5)


def _of_width(rng: np.random.Generator, width: int, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-(2 ** (width - 1)), 2 ** (width - 1), shape).astype(np.int8)


def _quantized(rng: np.random.Generator, shape: tuple[int, ...], axis: int, powers: bool) -> Gradient:
    """Return codes with a scale, and perhaps a zero point; or powers of two."""
    along = [1] * len(shape)
    along[axis] = shape[axis]
    each = rng.random() < 0.5
    scale: Any = np.float32(2.0 ** rng.integers(-8, 4))
    if each:
        scale = (2.0 ** rng.integers(-8, 4, along)).astype(np.float32)
    one = np.asarray(scale).reshape(-1) if each else np.asarray(scale)
    zero: Any = 0
    if powers:
        codes = ((1 - 2 * rng.integers(0, 2, shape)) * 2 ** rng.integers(0, 16, shape)).astype(np.int32)
        width = 5
    elif rng.random() < 0.5:
        width = int(rng.integers(2, 9))
        codes = _of_width(rng, width, shape)
    else:
        width = int(rng.integers(9, 17))
        codes = rng.integers(-(2 ** (width - 1)), 2 ** (width - 1), shape).astype(np.int16)
    values = codes.astype(np.int64)
    if not powers and rng.random() < 0.4:
        most = min(7, 2 ** (width - 1) - 1)  # a zero point is a code
        zero = rng.integers(-most, most + 1, along) if each else int(rng.integers(-most, most + 1))
        values = values - zero
    shifted = bool(np.any(zero))
    laid_out = np.asarray(laid(codes, rng))
    wrong: dict[str, tuple] = {}
    if codes.size != 1 and codes.shape != tuple(along):  # a scale that varies along what is summed over too
        wrong["g"] = (bl.Quantized(codes, np.ones(codes.shape, np.float32), 0, width),)
    return Gradient(
        bl.Quantized(laid_out, scale, zero, width),
        values,
        {},
        one,
        axis,
        np.dtype(np.float32),
        wrong,
        signs_too=not (powers or shifted),
    )


def _call(name: str, arrays: dict[str, Any], g: Gradient, sums: np.ndarray, settings: dict, wrong: dict) -> Call:
    found = {**wrong, **g.wrong}
    found["g"] = (*_BAD_GRADIENTS, *g.wrong.get("g", ()))
    if isinstance(g.given, np.ndarray):
        found["g"] += (g.given[None], g.given.astype(np.uint16))
    return Call(
        name,
        {"g": g.given, **arrays},
        settings | g.settings,
        g.result(sums),
        wrong=found,
        same=same_values,  # a float sum of 0 may be -0.0
    )


@dataclass
class Kept:
    """The rows and columns of weights that a call is for, where they are, and what is no list of such."""

    settings: dict[str, Any]
    places: np.ndarray
    wrong: dict[str, tuple]

    def among(self, taps: int) -> np.ndarray:
        """Return the places in weights that have so many axes of taps."""
        return self.places.reshape(len(self.places), *[1] * taps, self.places.shape[1])


def kept(rng: np.random.Generator, k: int, n: int, g: Gradient) -> Kept:
    """Return all rows and columns of weights, or now and then some, in any order."""
    settings: dict[str, Any] = {}
    places = np.ones((k, n), bool)
    wrong = {name: ([size], [-1], [0, 0], [0.5], "a", 3, [[0]]) for name, size in (("rows", k), ("columns", n))}
    if rng.random() < 0.3:
        for axis, (name, size) in enumerate((("rows", k), ("columns", n))):
            if rng.random() < 0.7:
                some = rng.permutation(size)[: rng.integers(size + 1)]
                settings[name] = (some, some.tolist(), some.astype(np.uint16), some.astype(">i4"))[rng.integers(4)]
                places &= np.expand_dims(np.isin(np.arange(size), some), 1 - axis)
    if "rows" in settings:
        g.wrong.pop("g", None)  # what belongs to other rows is not looked at
    return Kept(settings, places, wrong)


def to_input(rng: np.random.Generator) -> Call:
    """Multiply a gradient with packed weights."""
    n = length(rng)
    m = fitting(rows(rng), n)
    k = fitting(rows(rng), n, m)
    g, w = gradient(rng, (m, k), 0), signs(rng, k, n)
    some = kept(rng, k, n, g)
    sums = g.values.astype(np.int64) @ (w * some.places)
    call = _call("grad_input", {"w": operand(rng, bits(w), n)}, g, sums, {"n": n} | some.settings, some.wrong)
    call.words = {"w": 2}
    return call


def _to_weight(rng: np.random.Generator, call: Call, g: Gradient, sums: np.ndarray, places: np.ndarray) -> Call:
    """Turn a call for a gradient of weights into one for its signs, or one that adds to what is there."""
    n = sums.shape[-1]
    call.wrong |= {"output": ("bits", None, 1), "threshold": (1.5,), "mask": (bits(sums),)}
    if rng.random() < 0.4 and g.signs_too:
        threshold = (0, 0.5, -3, 17, 1e9, -1e30)[rng.integers(6)]
        mask = signs(rng, *sums.shape)
        reached = g.result(sums).astype(np.float64) >= threshold
        if rng.random() < 0.5:
            call.arrays["mask"] = bits(mask)
            call.words["mask"] = None
            reached &= mask > 0
        reached &= places
        call.settings |= {"output": "sign", "threshold": threshold}
        call.wanted = bits(np.where(reached, 1, -1))
        call.wrong["threshold"] = (np.nan, np.inf, np.zeros((1,)), "a", None, 1j)
        shape = (sums.shape[0] + 1, *sums.shape[1:-1], -(-n // 64))
        call.wrong["mask"] = (np.zeros(shape, np.uint64), np.zeros(sums.shape, bool))
        call.wrong["accumulate"] = (True,)
    elif rng.random() < 0.4:
        call.before = rng.integers(-50, 51, sums.shape).astype(call.wanted.dtype)
        call.settings["accumulate"] = True
        call.wanted = call.before + call.wanted
    return call


def to_weight(rng: np.random.Generator) -> Call:
    """Multiply a transposed gradient with packed inputs."""
    n = length(rng)
    m = fitting(rows(rng), n)
    k = fitting(rows(rng), n, m)
    g, x = gradient(rng, (m, k), 1), signs(rng, m, n)
    some = kept(rng, k, n, g)
    sums = g.values.astype(np.int64).T @ x * some.places
    call = _call("grad_weight", {"x": bits(x)}, g, sums, {"n": n} | some.settings, some.wrong)
    call.words = {"x": 2}
    return _to_weight(rng, call, g, sums, some.places)


def to_images(rng: np.random.Generator) -> Call:
    """Return the gradient of a convolution with respect to its images."""
    windows = Windows(rng)
    n = min(length(rng), windows.fits())
    k = min(rows(rng), windows.fits(n))
    g, w = gradient(rng, (windows.batch, *windows.out, k), 0), signs(rng, k, *windows.kernel, n)
    some = kept(rng, k, n, g)
    canvas = windows.canvas(np.zeros((windows.batch, *windows.image, n)))
    canvas[...] = 0
    for i, j in windows.taps():
        windows.seen(canvas, i, j)[...] += g.values.astype(np.int64) @ (w[:, i, j] * some.places).astype(np.int64)
    top, left = windows.before
    sums = canvas[:, top : top + windows.image[0], left : left + windows.image[1]]
    image = windows.image if rng.random() < 0.5 else (windows.batch, *windows.image, n)
    settings = {"n": n, "input_shape": image, **windows.given, **some.settings}
    wrong = (
        windows.wrong
        | some.wrong
        | {"input_shape": (3, None, (3,), "33", (1.5, 2), (-1, 3), (1, 2, 3), (9, 90, 90, 9))}
    )
    call = _call("conv2d_grad_input", {"w": operand(rng, bits(w), n)}, g, np.ascontiguousarray(sums), settings, wrong)
    call.words = {"w": 4}
    return call


def to_kernels(rng: np.random.Generator) -> Call:
    """Return the gradient of a convolution with respect to its kernels."""
    windows = Windows(rng)
    n = min(length(rng), windows.fits())
    k = min(rows(rng), windows.fits(n))
    g, x = gradient(rng, (windows.batch, *windows.out, k), 3), signs(rng, windows.batch, *windows.image, n)
    sums, canvas = np.zeros((k, *windows.kernel, n), np.int64), windows.canvas(x)
    for i, j in windows.taps():
        seen = windows.seen(canvas, i, j)
        sums[:, i, j] = g.values.astype(np.int64).reshape(-1, k).T @ seen.reshape(-1, n) if seen.size and k else 0
    some = kept(rng, k, n, g)
    sums *= some.among(2)
    kernel = windows.kernel if rng.random() < 0.5 else (k, *windows.kernel, n)
    settings = {"n": n, "kernel_shape": kernel, **windows.given, **some.settings}
    wrong = (
        windows.wrong
        | some.wrong
        | {"kernel_shape": (3, None, (3,), "33", (1.5, 2), (-1, 3), (1, 2, 3), (9, 90, 90, 9))}
    )
    call = _call("conv2d_grad_weight", {"x": bits(x)}, g, sums, settings, wrong)
    call.words = {"x": 4}
    return _to_weight(rng, call, g, sums, some.among(2))


MAKERS = (to_input, to_weight, to_images, to_kernels)
