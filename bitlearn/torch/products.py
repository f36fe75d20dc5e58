"""What the operators compute: signs of reals, products of bits, and products of gradients that are quantized first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitlearn.bits import words_for
from bitlearn.ops.conv import xnor_conv2d
from bitlearn.ops.conv_gradients import conv2d_grad_input, conv2d_grad_weight
from bitlearn.ops.dispatch import run
from bitlearn.ops.gradients import grad_input, grad_weight
from bitlearn.ops.matmul import xnor_matmul
from bitlearn.ops.quantized import Quantized
from bitlearn.torch.tensors import empty_words, reals

#: The width of a gradient that is not quantized.
WHOLE = 32


def threads() -> int:
    """Return how many threads an operator takes: PyTorch's number."""
    return min(torch.get_num_threads(), 256)


def signs(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the packed signs of the last axis of float values, and where their magnitude is at most 1."""
    values = reals(name, x)
    n, outer = values.shape[-1], values.shape[:-1]
    bits, words = empty_words(*outer, words_for(n))
    inside, mask = empty_words(*outer, words_for(n))
    rows = int(np.prod(outer))
    given = values.reshape(rows, n), 1.0, words.reshape(rows, words_for(n)), mask.reshape(rows, words_for(n))
    run("sign_values", given, threads=threads())
    return bits, inside


def masked(gradient: np.ndarray, mask: np.ndarray) -> Tensor:
    """Return a gradient (..., n) where its bit in a mask is set, 0 elsewhere; in its own memory."""
    rows = gradient.reshape(-1, gradient.shape[-1])
    run("mask_gradient", (rows, mask.reshape(len(rows), -1), rows), threads=threads())
    return torch.from_numpy(gradient)


def quantized(name: str, gradient: np.ndarray, bits: int) -> Quantized | np.ndarray:
    """Return a gradient as codes of so many bits with one scale: the largest magnitude gets the largest code.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    if bits == WHOLE:
        return gradient
    rows, limit = gradient.reshape(len(gradient), -1), 2 ** (bits - 1) - 1
    peaks, scale, finite = np.empty(len(rows)), np.empty(1), np.ones(1, np.uint8)
    codes = np.empty(rows.shape, np.int8 if bits <= 8 else np.int16)
    run("peaks", (rows, peaks), threads=threads())
    run("quantize_step", (peaks, limit, scale, finite))
    if not finite[0]:
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    run("quantize", (rows, scale, limit, codes), threads=threads())
    return Quantized(codes.reshape(gradient.shape), scale[0], 0, bits)


def linear(words: np.ndarray, weights: np.ndarray, n: int) -> Tensor:
    """Return the dot products of rows of words as float32."""
    return torch.from_numpy(xnor_matmul(words, weights, n, dtype=np.float32, threads=threads()))


def linear_gradients(
    gradient: Tensor, x: np.ndarray, weights: np.ndarray, n: int, bits: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the gradients of the values and of the weights of `linear`, where they are wanted."""
    g = reals("the gradient", gradient)
    found: list[np.ndarray | None] = [None, None]
    codes: Quantized | np.ndarray | None = None
    if wanted[0]:
        codes = quantized("the gradient", g, bits[0])
        found[0] = grad_input(codes, weights, n, threads=threads())
    if wanted[1]:
        if codes is None or bits[0] != bits[1]:
            codes = quantized("the gradient", g, bits[1])
        found[1] = grad_weight(codes, x, n, threads=threads())
    return found[0], found[1]


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    pad_value: int

    def size(self, image: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Return the height and the width of the result."""
        (height, width) = (
            (i + 2 * p - k) // s + 1 for i, p, k, s in zip(image, self.padding, kernel, self.stride, strict=True)
        )
        return height, width

    def forward(self, words: np.ndarray, weights: np.ndarray, n: int) -> Tensor:
        """Return the convolution of packed images NHWC with packed kernels OHWI as float32, NHWC."""
        more: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "pad_value": self.pad_value}
        return torch.from_numpy(xnor_conv2d(words, weights, n, dtype=np.float32, threads=threads(), **more))

    def gradients(
        self,
        gradient: Tensor,
        x: np.ndarray,
        weights: np.ndarray,
        n: int,
        bits: tuple[int, int],
        wanted: tuple[bool, bool],
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the gradients of the images and of the kernels, where they are wanted; all NHWC and OHWI."""
        g = reals("the gradient", gradient)
        more: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "pad_value": self.pad_value}
        more["threads"] = threads()
        found: list[np.ndarray | None] = [None, None]
        codes: Quantized | np.ndarray | None = None
        if wanted[0]:
            codes = quantized("the gradient", g, bits[0])
            found[0] = conv2d_grad_input(codes, weights, n, x.shape[1:3], **more)
        if wanted[1]:
            if codes is None or bits[0] != bits[1]:
                codes = quantized("the gradient", g, bits[1])
            found[1] = conv2d_grad_weight(codes, x, n, weights.shape[1:3], **more)
        return found[0], found[1]
