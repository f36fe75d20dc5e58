"""Products in a recorded step: which form binary weights take, the calls, and the windows of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.step import Step
from bitlearn.ops.conv import Geometry
from bitlearn.ops.dispatch import product_form, recoded_bytes, recoded_scratch
from bitlearn.panels import panel_words
from bitlearn.program import Array
from bitlearn.threads import get_num_threads

#: Windows of maps of numbers are formed for so many values at a time, which bounds the scratch of a step.
WINDOW_VALUES = 2**18


def packed(step: Step, weight: np.ndarray, rows: int) -> Array:
    """Return the signs of latent weights, (rows, ceil(n / 64)), checked to be finite."""
    latent = step.constant(weight, "W").reshape(rows, -1)
    words = step.empty("packed W", (rows, words_for(latent.shape[1])), WORD)
    if weight.dtype.kind == "f":
        finite = step.finite()
        step.run("pack_finite", latent, words, finite, check=finite, what="the latent weights")
    else:
        step.run("pack", latent, step.constant(_ZERO[weight.dtype]), words)
    return words


def kept_words(step: Step, words: Array) -> Array | None:
    """Return packed weights as a forward pass keeps them; the backward pass packs them again where it gets None.

    The weights are the same then: only their own update changes them.
    """
    return None if step.savings.repack else words


def unfolded(
    step: Step,
    x: Array,
    kernel: tuple[int, int],
    windows: Geometry,
    seen: Callable[[Array], Array] = lambda images: images,
) -> Iterator[tuple[slice, Array]]:
    """Yield the windows that a convolution sees of a few images at a time, in the same memory; 0 past the edges.

    Parameters
    ----------
    step : Step
    x : Array, shape (images, ...)
        Numbers of any type.
    kernel : (int, int)
    windows : Geometry
    seen : callable
        Records what makes of some images the maps (images, height, width, channels) that the windows are of.

    Yields
    ------
    images : slice
    part : Array, shape (images, out_height, out_width, kh, kw, channels)
    """
    size = (*windows.out_size, *kernel, x.shape[-1])
    count = min(len(x), max(1, WINDOW_VALUES // max(math.prod(size), 1)))
    room = step.empty("scratch", (count, *size), x.dtype)
    for start in range(0, len(x), max(count, 1)):
        images = slice(start, min(start + count, len(x)))
        part = room[: images.stop - start]
        # Nothing is computed, so that numbers of any type are as good as the bytes that they consist of.
        step.run("unfold_codes", seen(x[images]).as_bytes(), windows.stride, windows.padding, part.as_bytes())
        yield images, part


_ZERO = {np.dtype(kind): np.zeros(1, dtype=kind) for kind in (np.int8, np.int16)}


class Operand:
    """The words of binary weights (k, words), in the forms in which products need them, each made once.

    Parameters
    ----------
    step : Step
    words : Array, shape (k, words)
        Rows of a matrix, or kernels of a convolution, each as one row.
    """

    def __init__(self, step: Step, words: Array):
        self.step, self.words = step, words
        self._panels: Array | None = None
        self._recoded: Array | None = None

    @property
    def panels(self) -> Array:
        """The words as column panels."""
        if self._panels is None:
            shape = (panel_words(*self.words.shape),)
            self._panels = self.step.prepared("pack_panels", "packed W", shape, WORD, self.words)
        return self._panels

    @property
    def recoded(self) -> Array:
        """The panels recoded, two bits per weight."""
        if self._recoded is None:
            k, words = self.words.shape
            shape, panels = (recoded_bytes(k, words),), self.panels
            self._recoded = self.step.prepared("recode_panels", "packed W", shape, np.uint8, panels, k, words)
        return self._recoded

    def _run(self, kernel: str, left: Array, rest: tuple, rows: int, n: int) -> None:
        """Record a product of so many rows in all, of n values, with the weights in the form that is the fastest."""
        k, words = self.words.shape
        form = product_form(kernel, rows, k, words, n, once=not self.step.lasting)
        if form == "recoded":
            room = recoded_scratch(0 if "conv2d" in kernel else rows, words)
            scratch = self.step.empty("scratch", (get_num_threads(), room), np.uint8)
            self.step.run(f"{kernel}_recoded", left, self.panels, self.recoded, *rest[:-1], scratch, rest[-1])
        else:
            self.step.run(kernel, left, self.words if form == "words" else self.panels, *rest)

    def matmul(self, x: Array, n: int, rest: Sequence[Any], out: Array) -> None:
        """Record the product of rows of bits with the weights; `rest` are thresholds where its signs are wanted."""
        self._run("xnor_matmul_sign" if rest else "xnor_matmul", x, (n, *rest, out), len(x), n)

    def conv2d(
        self,
        x: Array,
        kernel_size: tuple[int, int],
        n: int,
        windows: tuple,
        rest: Sequence[Any],
        out: Array,
        *,
        pixels: int,
    ) -> None:
        """Record the convolution of images of bits; `windows` are stride, padding and pad value."""
        kernel = "xnor_conv2d_sign" if rest else "xnor_conv2d"
        self._run(kernel, x, (kernel_size, n, *windows, *rest, out), pixels, n * math.prod(kernel_size))
