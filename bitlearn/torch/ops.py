"""The operators ``torch.ops.bitlearn``: packed products and fused layers, their shapes and their gradients.

Each is known to ``torch.compile`` by what its result looks like (a fake implementation), and to autograd by another
operator. They lie in the processor's memory alone, and take as many threads as PyTorch.

They are registered as `torch.library.custom_op` registers one, but without the function that it puts around every call,
which takes longer than a small product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.library import define, impl, infer_schema, register_autograd, register_fake

from bitlearn.ops.conv import xnor_conv2d as packed_conv2d
from bitlearn.ops.gradients import grad_input as real_grad_input
from bitlearn.ops.gradients import grad_weight as real_grad_weight
from bitlearn.ops.matmul import xnor_matmul as packed_matmul
from bitlearn.ops.packing import transpose_bits as packed_transpose
from bitlearn.torch import products, tensors
from bitlearn.torch.products import Windows, threads
from bitlearn.torch.tensors import on_processor

#: Devices whose tensors are refused in a sentence.
_ELSEWHERE = ("cuda", "xpu", "mps")


def _refused(*tensors: Any) -> Any:
    """Say which device a tensor must not be on."""
    for each in tensors:
        if isinstance(each, Tensor):
            on_processor("a tensor", each)


def operator(function: Callable) -> Any:
    """Make ``torch.ops.bitlearn.<name>`` of a function, its schema that of its annotations; return the operator."""
    name = f"bitlearn::{function.__name__}"
    define(name, infer_schema(function, mutates_args=()))
    impl(name, "cpu", function)
    impl(name, _ELSEWHERE, _refused)
    return getattr(torch.ops.bitlearn, function.__name__).default


# --- Packed products -------------------------------------------------------------------------------------------------


@operator
def pack(x: Tensor) -> Tensor:
    """Pack the signs of the last axis into int64 words."""
    return products.signs("x", x)[0]


@register_fake("bitlearn::pack")
def _(x: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], (x.shape[-1] + 63) // 64), dtype=torch.int64)


@operator
def xnor_matmul(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Return the dot products of packed rows a (M, words) and b (N, words) as int32."""
    return torch.from_numpy(packed_matmul(tensors.words("a", a), tensors.words("b", b), n, threads=threads()))


@register_fake("bitlearn::xnor_matmul")
def _(a: Tensor, b: Tensor, n: int) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[0]), dtype=torch.int32)


@operator
def xnor_conv2d(x: Tensor, w: Tensor, n: int, stride: list[int], padding: list[int], pad_value: int) -> Tensor:
    """Convolve packed images (batch, height, width, words) with kernels (out, kh, kw, words): int32, NHWC."""
    more: dict[str, Any] = {
        "stride": tuple(stride),
        "padding": tuple(padding),
        "pad_value": pad_value,
        "threads": threads(),
    }
    return torch.from_numpy(packed_conv2d(tensors.words("x", x), tensors.words("w", w), n, **more))


@register_fake("bitlearn::xnor_conv2d")
def _(x: Tensor, w: Tensor, n: int, stride: list[int], padding: list[int], pad_value: int) -> Tensor:
    size = Windows((stride[0], stride[1]), (padding[0], padding[1]), pad_value).size(x.shape[1:3], w.shape[1:3])
    return x.new_empty((x.shape[0], *size, w.shape[0]), dtype=torch.int32)


@operator
def transpose_bits(words: Tensor, n: int) -> Tensor:
    """Transpose packed bits: (M, words of n) to (n, words of M)."""
    return tensors.from_words(packed_transpose(tensors.words("words", words), n))


@register_fake("bitlearn::transpose_bits")
def _(words: Tensor, n: int) -> Tensor:
    return words.new_empty((n, (words.shape[0] + 63) // 64))


@operator
def grad_input(g: Tensor, w: Tensor, n: int) -> Tensor:
    """Return ``g @ w`` of real values g (M, N) and packed rows w (N, words of n) as float32."""
    given = tensors.reals("g", g), tensors.words("w", w)
    return torch.from_numpy(real_grad_input(*given, n, threads=threads()))


@register_fake("bitlearn::grad_input")
def _(g: Tensor, w: Tensor, n: int) -> Tensor:
    return g.new_empty((g.shape[0], n), dtype=torch.float32)


def _keep_words(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, words, ctx.n = inputs
    ctx.save_for_backward(words)
    ctx.rows = words.shape[0]


def _grad_input_backward(ctx: Any, d: Tensor) -> tuple:
    (w,) = ctx.saved_tensors
    return torch.ops.bitlearn.grad_input(d, torch.ops.bitlearn.transpose_bits(w, ctx.n), ctx.rows), None, None


register_autograd("bitlearn::grad_input", _grad_input_backward, setup_context=_keep_words)


@operator
def grad_weight(g: Tensor, x: Tensor, n: int) -> Tensor:
    """Return ``g.T @ x`` of real values g (M, N) and packed rows x (M, words of n) as float32."""
    given = tensors.reals("g", g), tensors.words("x", x)
    return torch.from_numpy(real_grad_weight(*given, n, threads=threads()))


@register_fake("bitlearn::grad_weight")
def _(g: Tensor, x: Tensor, n: int) -> Tensor:
    return g.new_empty((g.shape[1], n), dtype=torch.float32)


def _grad_weight_backward(ctx: Any, d: Tensor) -> tuple:
    (x,) = ctx.saved_tensors
    turned = torch.ops.bitlearn.grad_input(d, torch.ops.bitlearn.transpose_bits(x, ctx.n), ctx.rows)
    return turned.t().contiguous(), None, None


register_autograd("bitlearn::grad_weight", _grad_weight_backward, setup_context=_keep_words)


# --- Fused layers ----------------------------------------------------------------------------------------------------


@operator
def binary_linear(x: Tensor, weight: Tensor, bits: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return ``sgn(x) @ sgn(weight).T`` as float32, and what its gradient needs: signs and masks of both.

    x (M, n), weight (N, n). ``bits`` are the widths of the gradient before the product that gives that of x, and before
    the one that gives that of the weight; 32 leaves it whole.
    """
    (words, inside), (weights, inner) = products.signs("x", x), products.signs("weight", weight)
    y = products.linear(tensors.words("x", words), tensors.words("weight", weights), x.shape[1])
    return y, words, inside, weights, inner


@register_fake("bitlearn::binary_linear")
def _(x: Tensor, weight: Tensor, bits: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    (m, n), k = x.shape, weight.shape[0]
    packed = [x.new_empty((rows, (n + 63) // 64), dtype=torch.int64) for rows in (m, m, k, k)]
    return x.new_empty((m, k), dtype=torch.float32), packed[0], packed[1], packed[2], packed[3]


@operator
def binary_linear_backward(
    g: Tensor,
    words: Tensor,
    inside: Tensor,
    weights: Tensor,
    inner: Tensor,
    n: int,
    bits: list[int],
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and of the weight where they are wanted, else nothing: float32, 0 off the masks."""
    packed = [tensors.words("words", each) for each in (words, inside, weights, inner)]
    found = products.linear_gradients(g, packed[0], packed[2], n, (bits[0], bits[1]), (wanted[0], wanted[1]))
    return _masked(found, packed[1], packed[3])


def _masked(found: tuple[np.ndarray | None, np.ndarray | None], inside: np.ndarray, inner: np.ndarray) -> Any:
    dx, dw = found
    return (
        torch.empty(0) if dx is None else products.masked(dx, inside),
        torch.empty(0) if dw is None else products.masked(dw, inner),
    )


@register_fake("bitlearn::binary_linear_backward")
def _(
    g: Tensor,
    words: Tensor,
    inside: Tensor,
    weights: Tensor,
    inner: Tensor,
    n: int,
    bits: list[int],
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    shapes = [(words.shape[0], n) if wanted[0] else (0,), (weights.shape[0], n) if wanted[1] else (0,)]
    return g.new_empty(shapes[0], dtype=torch.float32), g.new_empty(shapes[1], dtype=torch.float32)


def _keep_linear(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, weight, ctx.bits = inputs
    ctx.n, ctx.types = x.shape[1], (x.dtype, weight.dtype)
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _linear_backward(ctx: Any, g: Tensor, *others: Any) -> tuple:
    wanted = list(ctx.needs_input_grad[:2])
    dx, dw = torch.ops.bitlearn.binary_linear_backward(g, *ctx.saved_tensors, ctx.n, ctx.bits, wanted)
    return (*_given(ctx, wanted, dx, dw), None)


def _given(ctx: Any, wanted: list[bool], *gradients: Tensor) -> list[Tensor | None]:
    """Return the gradients that are wanted, of the types of what they are of."""
    return [each.to(kind) if yes else None for each, kind, yes in zip(gradients, ctx.types, wanted, strict=True)]


register_autograd("bitlearn::binary_linear", _linear_backward, setup_context=_keep_linear)


@operator
def binary_conv2d(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], pad_value: int, bits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the convolution of the signs of images NCHW and of kernels OIHW, channels last, and signs and masks."""
    windows = Windows((stride[0], stride[1]), (padding[0], padding[1]), pad_value)
    words, inside = products.signs("x", x.permute(0, 2, 3, 1))
    weights, inner = products.signs("weight", weight.permute(0, 2, 3, 1))
    y = windows.forward(tensors.words("x", words), tensors.words("weight", weights), x.shape[1])
    return y.permute(0, 3, 1, 2), words, inside, weights, inner


@register_fake("bitlearn::binary_conv2d")
def _(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], pad_value: int, bits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    windows = Windows((stride[0], stride[1]), (padding[0], padding[1]), pad_value)
    (batch, n, *image), (k, _, *kernel) = x.shape, weight.shape
    words = (n + 63) // 64
    size = windows.size((image[0], image[1]), (kernel[0], kernel[1]))
    y = x.new_empty((batch, *size, k), dtype=torch.float32).permute(0, 3, 1, 2)
    packed = [x.new_empty((*shape, words), dtype=torch.int64) for shape in 2 * [(batch, *image)] + 2 * [(k, *kernel)]]
    return y, packed[0], packed[1], packed[2], packed[3]


@operator
def binary_conv2d_backward(
    g: Tensor,
    words: Tensor,
    inside: Tensor,
    weights: Tensor,
    inner: Tensor,
    n: int,
    stride: list[int],
    padding: list[int],
    pad_value: int,
    bits: list[int],
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the images and of the kernels where they are wanted, else nothing; channels last."""
    windows = Windows((stride[0], stride[1]), (padding[0], padding[1]), pad_value)
    packed = [tensors.words("words", each) for each in (words, inside, weights, inner)]
    turned = g.permute(0, 2, 3, 1)
    found = windows.gradients(turned, packed[0], packed[2], n, (bits[0], bits[1]), (wanted[0], wanted[1]))
    dx, dw = _masked(found, packed[1], packed[3])
    return dx.permute(0, 3, 1, 2) if wanted[0] else dx, dw.permute(0, 3, 1, 2) if wanted[1] else dw


@register_fake("bitlearn::binary_conv2d_backward")
def _(
    g: Tensor,
    words: Tensor,
    inside: Tensor,
    weights: Tensor,
    inner: Tensor,
    n: int,
    stride: list[int],
    padding: list[int],
    pad_value: int,
    bits: list[int],
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    found = [
        g.new_empty((*packed.shape[:3], n), dtype=torch.float32).permute(0, 3, 1, 2) if yes else g.new_empty(0).float()
        for packed, yes in zip((words, weights), wanted, strict=True)
    ]
    return found[0], found[1]


def _keep_conv2d(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, weight, *ctx.settings = inputs
    ctx.n, ctx.types = x.shape[1], (x.dtype, weight.dtype)
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _conv2d_backward(ctx: Any, g: Tensor, *others: Any) -> tuple:
    wanted = list(ctx.needs_input_grad[:2])
    dx, dw = torch.ops.bitlearn.binary_conv2d_backward(g, *ctx.saved_tensors, ctx.n, *ctx.settings, wanted)
    return (*_given(ctx, wanted, dx, dw), None, None, None, None)


register_autograd("bitlearn::binary_conv2d", _conv2d_backward, setup_context=_keep_conv2d)
