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


def operator(fake: Callable) -> Callable[[Callable], Any]:
    """Make ``torch.ops.bitlearn.<name>`` of a function, its schema that of its annotations; return the operator.

    `fake` makes of the same arguments what the results look like.
    """

    def made(function: Callable) -> Any:
        name = f"bitlearn::{function.__name__}"
        define(name, infer_schema(function, mutates_args=()))
        impl(name, "cpu", function)
        impl(name, _ELSEWHERE, _refused)
        register_fake(name, fake)
        return getattr(torch.ops.bitlearn, function.__name__).default

    return made


def _words(like: Tensor, *shape: int) -> Tensor:
    """Return what packed rows look like, of values of a shape."""
    return like.new_empty((*shape[:-1], (shape[-1] + 63) // 64), dtype=torch.int64)


def _reals(like: Tensor, *shape: int) -> Tensor:
    """Return what real values look like."""
    return like.new_empty(shape, dtype=torch.float32)


def _images(like: Tensor, *shape: int) -> Tensor:
    """Return what real images look like, which lie as NHWC and are seen as NCHW."""
    return _reals(like, *shape).permute(0, 3, 1, 2)


def _conv2d_shape(image: Any, kernel: Any, stride: list[int], padding: list[int]) -> tuple[int, int]:
    return Windows((stride[0], stride[1]), (padding[0], padding[1]), 0).size(tuple(image), tuple(kernel))


# --- Packed products -------------------------------------------------------------------------------------------------


@operator(lambda x: _words(x, *x.shape))
def pack(x: Tensor) -> Tensor:
    """Pack the signs of the last axis into int64 words."""
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "x must not require a gradient, which words do not have, got one that does; give x.detach(), or take "
            "binary_linear or a layer, which keep words and have gradients"
        )
    return products.signs("x", x)[0]


@operator(lambda a, b, n: a.new_empty((a.shape[0], b.shape[0]), dtype=torch.int32))
def xnor_matmul(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Return the dot products of packed rows a (M, words) and b (N, words) as int32."""
    return torch.from_numpy(packed_matmul(tensors.words("a", a), tensors.words("b", b), n, threads=threads()))


@operator(
    lambda x, w, n, stride, padding, pad_value: x.new_empty(
        (x.shape[0], *_conv2d_shape(x.shape[1:3], w.shape[1:3], stride, padding), w.shape[0]), dtype=torch.int32
    )
)
def xnor_conv2d(x: Tensor, w: Tensor, n: int, stride: list[int], padding: list[int], pad_value: int) -> Tensor:
    """Convolve packed images (batch, height, width, words) with kernels (out, kh, kw, words): int32, NHWC."""
    more: dict[str, Any] = {
        "stride": tuple(stride),
        "padding": tuple(padding),
        "pad_value": pad_value,
        "threads": threads(),
    }
    return torch.from_numpy(packed_conv2d(tensors.words("x", x), tensors.words("w", w), n, **more))


@operator(lambda words, n: _words(words, n, words.shape[0]))
def transpose_bits(words: Tensor, n: int) -> Tensor:
    """Transpose packed bits: (M, words of n) to (n, words of M)."""
    return tensors.from_words(packed_transpose(tensors.words("words", words), n))


@operator(lambda g, w, n: _reals(g, g.shape[0], n))
def grad_input(g: Tensor, w: Tensor, n: int) -> Tensor:
    """Return ``g @ w`` of real values g (M, N) and packed rows w (N, words of n) as float32."""
    given = tensors.reals("g", g), tensors.words("w", w)
    return torch.from_numpy(real_grad_input(*given, n, threads=threads()))


def _keep_words(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, words, ctx.n = inputs
    ctx.save_for_backward(words)
    ctx.rows = words.shape[0]


def _grad_input_backward(ctx: Any, d: Tensor) -> tuple:
    (w,) = ctx.saved_tensors
    return torch.ops.bitlearn.grad_input(d, torch.ops.bitlearn.transpose_bits(w, ctx.n), ctx.rows), None, None


register_autograd("bitlearn::grad_input", _grad_input_backward, setup_context=_keep_words)


@operator(lambda g, x, n: _reals(g, g.shape[1], n))
def grad_weight(g: Tensor, x: Tensor, n: int) -> Tensor:
    """Return ``g.T @ x`` of real values g (M, N) and packed rows x (M, words of n) as float32."""
    given = tensors.reals("g", g), tensors.words("x", x)
    return torch.from_numpy(real_grad_weight(*given, n, threads=threads()))


def _grad_weight_backward(ctx: Any, d: Tensor) -> tuple:
    (x,) = ctx.saved_tensors
    turned = torch.ops.bitlearn.grad_input(d, torch.ops.bitlearn.transpose_bits(x, ctx.n), ctx.rows)
    return turned.t().contiguous(), None, None


register_autograd("bitlearn::grad_weight", _grad_weight_backward, setup_context=_keep_words)


# --- Fused layers ----------------------------------------------------------------------------------------------------


def _linear_like(x: Tensor, weight: Tensor, bits: list[int]) -> tuple[Tensor, ...]:
    packed = [_words(x, *shape) for shape in (x.shape, x.shape, weight.shape, weight.shape)]
    return _reals(x, x.shape[0], weight.shape[0]), *packed


@operator(_linear_like)
def binary_linear(x: Tensor, weight: Tensor, bits: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return ``sgn(x) @ sgn(weight).T`` as float32, and what its gradient needs: signs and masks of both.

    x (M, n), weight (N, n). ``bits`` are the widths of the gradient before the product that gives that of x, and before
    the one that gives that of the weight; 32 leaves it whole.
    """
    (words, inside), (weights, inner) = products.signs("x", x), products.signs("weight", weight)
    y = products.linear(tensors.words("x", words), tensors.words("weight", weights), x.shape[1])
    return y, words, inside, weights, inner


def _linear_gradients_like(
    g: Tensor, words: Tensor, inside: Tensor, weights: Tensor, inner: Tensor, n: int, bits: Any, wanted: list[bool]
) -> tuple[Tensor, ...]:
    return tuple(
        _reals(g, rows.shape[0], n) if yes else _reals(g, 0) for rows, yes in zip((words, weights), wanted, strict=True)
    )


@operator(_linear_gradients_like)
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


def _conv2d_like(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], pad_value: int, bits: list[int]
) -> tuple[Tensor, ...]:
    (batch, n, *image), (k, _, *kernel) = x.shape, weight.shape
    packed = [_words(x, *shape, n) for shape in 2 * [(batch, *image)] + 2 * [(k, *kernel)]]
    return _images(x, batch, *_conv2d_shape(image, kernel, stride, padding), k), *packed


@operator(_conv2d_like)
def binary_conv2d(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], pad_value: int, bits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the convolution of the signs of images NCHW and of kernels OIHW, channels last, and signs and masks."""
    windows = Windows((stride[0], stride[1]), (padding[0], padding[1]), pad_value)
    words, inside = products.signs("x", x.permute(0, 2, 3, 1))
    weights, inner = products.signs("weight", weight.permute(0, 2, 3, 1))
    y = windows.forward(tensors.words("x", words), tensors.words("weight", weights), x.shape[1])
    return y.permute(0, 3, 1, 2), words, inside, weights, inner


def _conv2d_gradients_like(
    g: Tensor,
    words: Tensor,
    inside: Tensor,
    weights: Tensor,
    inner: Tensor,
    n: int,
    stride: Any,
    padding: Any,
    pad_value: int,
    bits: Any,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    return tuple(
        _images(g, *packed.shape[:3], n) if yes else _reals(g, 0)
        for packed, yes in zip((words, weights), wanted, strict=True)
    )


@operator(_conv2d_gradients_like)
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


# --- What has no second derivative -----------------------------------------------------------------------------------


def _no_more(ctx: Any, *gradients: Any) -> tuple:
    """Say that a gradient has none of its own."""
    raise NotImplementedError(
        "a binary layer must be derived once, for its gradient is quantized and passed straight through, got a "
        "derivative of its gradient; leave out create_graph=True"
    )


register_autograd("bitlearn::binary_linear_backward", _no_more, setup_context=lambda ctx, inputs, output: None)
register_autograd("bitlearn::binary_conv2d_backward", _no_more, setup_context=lambda ctx, inputs, output: None)
