"""PyTorch layers with binary inputs and weights: they train on packed bits, and can hold packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitlearn.precision import Precision, policy
from bitlearn.torch import ops
from bitlearn.torch.products import WHOLE

Pair = int | tuple[int, int]


def gradient_bits(precision: str | Precision) -> list[int]:
    """Return the widths of the gradient before the two products of a backward pass, as a policy has them.

    Raises
    ------
    ValueError
        If the policy has more than a width: scales or a rounding of their own, or signs of weight gradients.
    """
    found = policy(precision)
    if found.input_gradient is None or found.weight_gradient is None:
        return [WHOLE, WHOLE]
    plain = found.input_gradient.plain and found.weight_gradient.plain
    if not plain or found.sign_weight_gradient or found.row_by_row:
        raise ValueError(
            "precision must be standard, or quantize gradients to nearest with one scale and keep those of weights "
            f"whole (int8, int4), got {found.name!r}"
        )
    return [found.input_gradient.bits, found.weight_gradient.bits]


def pair(name: str, value: object) -> tuple[int, int]:
    """Return an integer twice, or two of them as they are."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(type(each) is int for each in both):
        raise TypeError(f"{name} must be an integer or a pair of integers, got {value!r}")
    return both[0], both[1]


class _Binary(torch.nn.Module):
    """What both layers share: latent weights or packed ones, and their way through a state dict."""

    weight: torch.nn.Parameter | None
    words: Tensor | None

    def __init__(self, shape: tuple[int, ...], bias: bool, precision: str | Precision) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(shape).uniform_(-1, 1) / float(np.prod(shape[1:])) ** 0.5)
        self.bias = torch.nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("words", None)
        self.bits = gradient_bits(precision)
        self.precision = precision if isinstance(precision, str) else precision.name
        self._shape = shape
        self._cache: tuple[tuple, Tensor] | None = None

    def _packed(self) -> Tensor:
        """The packed signs of the weights, kept as long as these stay."""
        if self.words is not None:
            return self.words
        weight = self.weight
        assert weight is not None
        if torch.compiler.is_compiling():
            return ops.pack(self._last(weight))
        seen = weight.data_ptr(), weight._version
        if self._cache is None or self._cache[0] != seen:
            self._cache = seen, ops.pack(self._last(weight))
        return self._cache[1]

    @staticmethod
    def _last(weight: Tensor) -> Tensor:
        """Return weights with what is summed over in the last axis."""
        return weight.detach()

    def pack_(self) -> Any:
        """Keep only packed weights, one bit each, in the buffer ``words``, for inference. Returns the layer itself."""
        if self.words is None:
            self.words, self.weight, self._cache = self._packed(), None, None
        return self

    def _inferring(self, x: Tensor) -> bool:
        """Whether a call needs no gradient, so that packed weights serve.

        Raises
        ------
        ValueError
            If the input needs a gradient and the latent weights are gone.
        """
        wanted = torch.is_grad_enabled() and x.requires_grad
        if self.words is not None:
            if wanted:
                raise ValueError(
                    "x must not require a gradient where weights are packed, got one that does; use no_grad"
                )
            return True
        return not self.training and not torch.is_grad_enabled()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        """Take the form, latent or packed, in which the weights come."""
        if f"{prefix}words" in state_dict and self.words is None:
            self.pack_()
        elif f"{prefix}weight" in state_dict and self.weight is None:
            self.weight, self.words = torch.nn.Parameter(torch.empty(self._shape)), None
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def __getstate__(self) -> dict:
        """Leave the kept words out of a copy."""
        return super().__getstate__() | {"_cache": None}


class BitLinear(_Binary):
    """A fully connected layer of signs: ``y = sgn(x) @ sgn(weight).T``, plus an optional bias.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Add a bias to each output.
    precision : str or Precision
        How wide the gradient is in the two products of the backward pass: ``"int8"``, ``"int4"``, or ``"standard"``,
        which leaves it in float32 (exact to rounding, and much slower).

    Notes
    -----
    ``sgn(0) = +1``. Gradients pass the signs straight through where the magnitude is at most 1: ``dx = (dy @ sgn(w)) *
    (|x| <= 1)`` and ``dw = (dy.T @ sgn(x)) * (|w| <= 1)``, with `dy` quantized as the policy says, its largest
    magnitude becoming the largest code. Only bits are kept from the forward to the backward pass: the signs and masks
    of `x` and of the weights. Tensors must be on the CPU. The number of threads is PyTorch's.

    In ``eval`` mode without gradients, the packed weights are kept between calls; `pack_` drops the latent ones.

    Examples
    --------
    >>> import bitlearn.torch as bt
    >>> import torch
    >>> layer = bt.BitLinear(3, 2)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[0.5, -0.5, 0.1], [-1.0, 1.0, 1.0]])})
    >>> layer(torch.tensor([[1.0, 1.0, -1.0]])).tolist()
    [[-1.0, -1.0]]
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = False, precision: str | Precision = "int8"
    ) -> None:
        super().__init__((out_features, in_features), bias, precision)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the products of the signs, float32, shape (..., out_features)."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x must have {self.in_features} values in its last axis, got shape {tuple(x.shape)}")
        rows = x.reshape(-1, self.in_features)
        if self._inferring(x):
            y = ops.xnor_matmul(ops.pack(rows), self._packed(), self.in_features).float()
        else:
            y = ops.binary_linear(rows, self.weight, self.bits)[0]
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        packed = "" if self.words is None else ", packed"
        return f"{self.in_features}, {self.out_features}, precision={self.precision!r}{packed}"


class BitConv2d(_Binary):
    """A convolution of signs, NCHW: ``y = conv2d(sgn(x), sgn(weight))``, plus an optional bias.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or (int, int)
    pad_value : {0, 1, -1}
        What a padded position holds; 0 is PyTorch's.
    bias : bool
    precision : str or Precision
        As `BitLinear`.

    Notes
    -----
    The results are in PyTorch's ``channels_last`` format, and inputs in it are read in place; others are copied. No
    dilation and no groups. For gradients see `BitLinear`.

    Examples
    --------
    >>> import bitlearn.torch as bt
    >>> import torch
    >>> bt.BitConv2d(3, 8, 3, padding=1)(torch.randn(2, 3, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        pad_value: int = 0,
        bias: bool = False,
        precision: str | Precision = "int8",
    ) -> None:
        if pad_value not in (0, 1, -1):
            raise ValueError(f"pad_value must be 0, 1 or -1, got {pad_value!r}")
        sizes = pair("kernel_size", kernel_size)
        super().__init__((out_channels, in_channels, *sizes), bias, precision)
        self.kernel_size, self.stride, self.padding = sizes, pair("stride", stride), pair("padding", padding)
        self.in_channels, self.out_channels, self.pad_value = in_channels, out_channels, pad_value

    @staticmethod
    def _last(weight: Tensor) -> Tensor:
        return weight.detach().permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the signs, float32, NCHW."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be images (batch, {self.in_channels}, height, width), got {tuple(x.shape)}")
        windows = list(self.stride), list(self.padding), self.pad_value
        if self._inferring(x):
            words = ops.pack(x.permute(0, 2, 3, 1))
            y = ops.xnor_conv2d(words, self._packed(), self.in_channels, *windows).permute(0, 3, 1, 2).float()
        else:
            y = ops.binary_conv2d(x, self.weight, *windows, self.bits)[0]
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        packed = "" if self.words is None else ", packed"
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, pad_value={self.pad_value}, precision={self.precision!r}{packed}"
        )
