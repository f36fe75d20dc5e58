"""Replacing layers that emulate binary arithmetic in floats by layers on packed bits, checked on an example."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitlearn.precision import Precision
from bitlearn.torch.layers import BitConv2d, BitLinear, gradient_bits, pair

_SEED = 20260801
#: How far apart two gradients in float32 may be, as a share of the largest.
_TOLERANCE = 1e-4


def convert(
    model: torch.nn.Module, example: Tensor, *, precision: str | Precision = "int8", strict: bool = False
) -> Any:
    """Replace the binary layers of a network by `BitLinear` and `BitConv2d`, where a check shows that they do the same.

    Parameters
    ----------
    model : Module
        Changed in place. A layer is tried if it has, under the name ``weight``, a matrix (out, in) or kernels (out, in,
        height, width), and contains no other layers; ``stride`` and ``padding`` are read from it.
    example : Tensor
        A small batch of inputs for the check. Two examples are enough.
    precision : str or Precision
        The policy of the new layers' gradients, as for `BitLinear`. It does not change the forward pass.
    strict : bool
        Raise an error if any layer with such weights cannot be replaced. Otherwise their names and the reasons are in
        the attribute ``bitlearn_left`` of the model.

    Returns
    -------
    Module
        The model. Its parameters are the same objects under the same names, so existing optimisers and state dicts
        continue to work.

    Raises
    ------
    ValueError
        If no layer could be replaced, with the reason for each; if one is left and `strict` is set; or if the converted
        network's output on the example differs (the network is then restored).

    Notes
    -----
    A layer is replaced if, on the input that reaches it, its output equals that of signs times signs, bit for bit
    except for a bias added in another order. Its gradients of input and weights must also equal those of the
    straight-through estimator that passes magnitudes up to 1, to float32 rounding, with weights on both sides of 1. It
    does not matter how it is written: it may be a subclass of `torch.nn.Conv2d`, a custom module that calls a ``sign``,
    or a layer with an input quantizer as in Larq. A first layer on real inputs does not qualify.

    A module without parameters directly before a replaced layer of a `torch.nn.Sequential` (ignoring flattening) that
    is itself such a sign becomes `torch.nn.Identity`: the layer after it takes the sign, and its mask is kept as bits.

    Examples
    --------
    >>> import bitlearn.torch as bt
    >>> import torch
    >>> class Signs(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return torch.where(x >= 0, 1.0, -1.0)
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         return gradient * (ctx.saved_tensors[0].abs() <= 1)
    >>> class Linear(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return torch.nn.functional.linear(Signs.apply(x), Signs.apply(self.weight))
    >>> model = torch.nn.Sequential(Linear(70, 5, bias=False), torch.nn.BatchNorm1d(5))
    >>> bt.convert(model, torch.randn(2, 70))
    Sequential(
      (0): BitLinear(70, 5, precision='int8')
      (1): BatchNorm1d(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    )
    """
    gradient_bits(precision)
    before, seen = _observed(model, example)
    left: dict[str, str] = {}
    swaps: list[tuple[Any, str, Any]] = []
    for name, module in list(model.named_modules()):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim not in (2, 4) or next(module.children(), None) is not None:
            continue
        if isinstance(module, (BitLinear, BitConv2d)):
            continue
        try:
            if not name:
                raise _CannotDo("it is all there is to swap; put it into a Sequential")
            if name not in seen:
                raise _CannotDo("nothing reached it")
            made = _made(module, weight, precision)
            _prove(module, made, seen[name])
        except _CannotDo as error:
            left[name or "the model itself"] = str(error)
            continue
        parent, _, own = name.rpartition(".")
        swaps.append((model.get_submodule(parent), own, made))
    reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items())
    if not swaps:
        raise ValueError(f"model must have layers of signs times signs, got none ({reasons or 'no weights'})")
    if strict and left:
        raise ValueError(f"every layer with weights must be one of signs times signs, got others ({reasons})")
    undo = [(parent, own, parent._modules[own]) for parent, own, _ in swaps]
    for parent, own, made in swaps:
        parent._modules[own] = made
    undo += _without_signs(model, seen)
    after, _ = _observed(model, example)
    if not torch.allclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE * float(before.abs().max())):
        for parent, own, module in undo:
            parent._modules[own] = module
        raise ValueError(
            "the converted network must give the same output as the original, got another; nothing was changed"
        )
    model.bitlearn_left = left
    return model


class _CannotDo(Exception):
    """A layer cannot be swapped, and why."""


def _observed(model: torch.nn.Module, example: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output of a model on an example, and what reaches each of its modules; nothing in it changes."""
    seen: dict[str, Tensor] = {}
    hooks = []

    def keep(name: str) -> Callable:
        def hook(module: Any, given: tuple) -> None:
            if len(given) == 1 and isinstance(given[0], Tensor):
                seen[name] = given[0].detach()

        return hook

    training = {module: module.training for module in model.modules()}
    try:
        hooks = [module.register_forward_pre_hook(keep(name)) for name, module in model.named_modules()]
        with torch.no_grad():
            return model.eval()(example), seen
    finally:
        for each in hooks:
            each.remove()
        for module, was in training.items():
            module.training = was


def _made(module: torch.nn.Module, weight: Tensor, precision: str | Precision) -> BitLinear | BitConv2d:
    """Return the layer that may take a module's place, with its parameters."""
    if not isinstance(weight, torch.nn.Parameter):
        raise _CannotDo("its weight is no parameter of its own")
    others = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
    if others - {"weight", "bias"}:
        raise _CannotDo(f"it has {', '.join(sorted(others - {'weight', 'bias'}))} besides weights and a bias")
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise _CannotDo(f"its weights must be float32 on the CPU, and are {weight.dtype} on {weight.device}")
    bias = getattr(module, "bias", None) is not None
    made: Any
    if weight.ndim == 2:
        made = BitLinear(weight.shape[1], weight.shape[0], bias=bias, precision=precision)
    else:
        if getattr(module, "groups", 1) != 1 or getattr(module, "dilation", 1) not in (1, (1, 1), [1, 1]):
            raise _CannotDo("it has groups or dilation")
        if getattr(module, "padding_mode", "zeros") != "zeros":
            raise _CannotDo(f"its padding is {module.padding_mode!r}")
        size, padding = tuple(weight.shape[2:]), getattr(module, "padding", 0)
        try:
            if isinstance(padding, str):
                padding = {"valid": (0, 0), "same": (size[0] // 2, size[1] // 2)}[padding]
            stride, padding = pair("stride", getattr(module, "stride", 1)), pair("padding", padding)
        except (TypeError, KeyError) as error:
            raise _CannotDo(f"its stride or padding is none of integers ({error})") from None
        channels = weight.shape[1], weight.shape[0]
        made = BitConv2d(*channels, size, stride=stride, padding=padding, bias=bias, precision=precision)
    made.weight = weight
    if bias:
        made.bias = module.bias
    return made.train(module.training)


def _prove(module: torch.nn.Module, made: BitLinear | BitConv2d, given: Tensor) -> None:
    """Raise where a module and the layer that may take its place differ, forward or backward."""
    theirs, ours = copy.deepcopy(module), copy.deepcopy(made)
    ours.bits = gradient_bits("standard")
    weight = theirs.weight
    key = torch.Generator().manual_seed(_SEED)
    for wide in (False, True):
        if wide:  # latent weights, and inputs that are no signs, on both sides of 1
            values = torch.randn(weight.shape, generator=key)
            if not bool((given.abs() == 1).all()):
                given = 2 * torch.randn(given.shape, generator=key)
            with torch.no_grad():
                theirs.weight.copy_(values)
                ours.weight.copy_(values)  # type: ignore[union-attr]
        found = []
        for layer in (theirs, ours):
            x = given.clone().requires_grad_()
            try:
                y = layer(x)
                d = torch.randn(y.shape, generator=torch.Generator().manual_seed(_SEED))
                found.append((y.detach(), *torch.autograd.grad(y, (x, layer.weight), d)))
            except (RuntimeError, ValueError, TypeError) as error:
                raise _CannotDo(f"it does not run forward and back by itself ({str(error).splitlines()[0]})") from None
        for what, their, our in zip(("output", "gradient of its input", "gradient of its weight"), *found, strict=True):
            if their.shape != our.shape or not _near(their, our):
                raise _CannotDo(f"its {what} is not that of signs times signs")


def _near(a: Tensor, b: Tensor) -> bool:
    most = float(a.abs().max()) if a.numel() else 0.0
    return bool(torch.allclose(a, b, rtol=0, atol=_TOLERANCE * max(most, 1e-30)))


def _without_signs(model: torch.nn.Module, seen: dict[str, Tensor]) -> list[tuple]:
    """Take out signs that the layer after them takes anyway; return how to put them back."""
    undo = []
    for name, sequence in model.named_modules():
        if not isinstance(sequence, torch.nn.Sequential):
            continue
        behind: torch.nn.Module | None = None
        for own, module in reversed(list(sequence._modules.items())):
            path = f"{name}.{own}" if name else own
            if isinstance(module, torch.nn.Flatten):
                continue
            if isinstance(behind, (BitLinear, BitConv2d)) and path in seen and _is_sign(module, seen[path]):
                undo.append((sequence, own, module))
                sequence._modules[own] = torch.nn.Identity().train(module.training)
                continue
            behind = module
    return undo


def _is_sign(module: Any, given: Tensor) -> bool:
    """Whether a module without state is a sign whose gradient passes magnitudes up to 1."""
    if not isinstance(module, torch.nn.Module) or module.state_dict() or next(module.parameters(), None) is not None:
        return False
    key = torch.Generator().manual_seed(_SEED)
    x = (2 * torch.randn(given.shape, generator=key)).requires_grad_()
    d = torch.randn(given.shape, generator=key)
    try:
        y = copy.deepcopy(module)(x)
        (found,) = torch.autograd.grad(y, (x,), d)
    except (RuntimeError, ValueError, TypeError):
        return False
    signs = torch.where(x >= 0, 1.0, -1.0)
    return y.shape == x.shape and torch.equal(y.detach(), signs) and torch.equal(found, d * (x.abs() <= 1))
