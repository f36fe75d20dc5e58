"""The precision policies, as data: the type in which each variable of a training step is kept.

A layer or an optimiser asks its policy and contains no special cases for any method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from bitlearn.errors import brief, by_name
from bitlearn.quantization import MOST as _MOST
from bitlearn.quantization import POWER as _POWER
from bitlearn.quantization import Quantization as Quantization

_FLOAT32, _FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
#: What latent weights may be kept as: integers are codes, the largest of which stands for 1.
_LATENTS = (_FLOAT16, _FLOAT32, np.dtype(np.int8), np.dtype(np.int16))
#: What an optimiser may keep its moments as: int8 with a scale for each block.
_MOMENTS = (_FLOAT16, _FLOAT32, np.dtype(np.int8))
_REAL = 32
#: What a batch norm divides by: the mean deviation or the standard one.
NORMS = ("l1", "l2")
#: The narrowest gradient between the layers.
_LEAST = 8


@dataclass(frozen=True)
class Precision:
    """The type of each variable of a training step.

    Parameters
    ----------
    name : str
    norm : {"l1", "l2"}
        The batch norm that the published networks use under this policy: divided by the mean deviation, or by the
        standard deviation (`bitlearn.nn.BatchNormSign`). The first needs only bits of the activations, also of float
        gradients.
    input_gradient, weight_gradient : Quantization or None
        How the gradient is quantized before the product that gives the input's gradient, and before the one that gives
        the weight's. None for both leaves it in float32.
    row_by_row : bool
        Quantize the sums of an input's gradient one example at a time, each with its own scale, before all get the
        largest scale: the sums are never held in full, and a code is rounded twice.
    sign_weight_gradient : bool
        Keep only the sign of each weight's gradient, one bit per weight.
    latent : dtype
        The type of the latent weights: float32, float16, or int8 or int16, whose codes ``-m ... m`` stand for -1 to 1
        (m is 127 or 32767). Integers need `bitlearn.optim.quantized_sgd`.
    statistics : dtype
        The type to which the batch norm's deviation and mean magnitude are rounded, as they are kept from the forward
        to the backward pass.
    moments : dtype
        The type of the optimiser's moments of weights that are binarised: float32, float16, or int8 with one scale per
        block and random rounding. Those of other parameters are float32.
    forward_bits : int, optional
        2 to 16: the width of real weights in the forward pass, and of the softmax's probabilities, ``2**bits - 1``
        steps from 0 to 1; real values that flow into real weights get 8 bits. 32 leaves all three in float32. By
        default weights are as wide as the gradient between the layers, and probabilities are float64.
    recompute : bool
        Drop the sums before a batch norm after the forward pass where its gradient needs them, and form them again in
        the backward pass, under integer policies (`bitlearn.nn.Savings`).

    Raises
    ------
    ValueError
        If a field has an invalid value; if only one of the two is quantized; if a scale would vary along the axis that
        its product sums over (a channel's for the input's gradient, a row's for the weight's); or if 16 bits have their
        own scale or rounding, for which nothing wider is left.

    Notes
    -----
    Between the layers a gradient has one scale and `gradient_bits`. A narrower product quantizes those integers again,
    as its `Quantization` says.

    Examples
    --------
    >>> policy = Precision("mine", Quantization(4, "row", "stochastic"), Quantization(8))
    >>> policy.gradient_bits
    8
    """

    name: str
    input_gradient: Quantization | None
    weight_gradient: Quantization | None
    norm: Literal["l1", "l2"] = "l2"
    row_by_row: bool = False
    sign_weight_gradient: bool = False
    latent: np.dtype = _FLOAT32
    statistics: np.dtype = _FLOAT32
    moments: np.dtype = _FLOAT32
    forward_bits: int | None = None
    recompute: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a string, got {brief(self.name)}")
        if not isinstance(self.norm, str) or self.norm not in NORMS:
            raise ValueError(f"norm must be l1 or l2, got {brief(self.norm)}")
        for flag in ("row_by_row", "sign_weight_gradient", "recompute"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"{flag} must be True or False, got {brief(getattr(self, flag))}")
        if not isinstance(self.latent, np.dtype) or self.latent not in _LATENTS:
            raise ValueError(f"latent must be the dtype float16, float32, int8 or int16, got {brief(self.latent)}")
        if not isinstance(self.statistics, np.dtype) or self.statistics not in (_FLOAT16, _FLOAT32):
            raise ValueError(f"statistics must be the dtype float16 or float32, got {brief(self.statistics)}")
        if not isinstance(self.moments, np.dtype) or self.moments not in _MOMENTS:
            raise ValueError(f"moments must be the dtype float16, float32 or int8, got {brief(self.moments)}")
        bits = self.forward_bits
        if bits is not None and (type(bits) is not int or not (2 <= bits <= _MOST or bits == _REAL)):
            raise ValueError(f"forward_bits must be in [2, {_MOST}], {_REAL} or None, got {brief(bits)}")
        for name in ("input_gradient", "weight_gradient"):
            if not isinstance(getattr(self, name), Quantization | None):
                raise ValueError(f"{name} must be a Quantization or None, got {brief(getattr(self, name))}")
        if (self.input_gradient is None) != (self.weight_gradient is None):
            raise ValueError(
                "input_gradient and weight_gradient must both be quantized or both None, "
                f"got {self.input_gradient} and {self.weight_gradient}"
            )
        for name, inside, why in (
            ("input_gradient", "channel", "tensor or row, since its product sums over the channels"),
            ("weight_gradient", "row", "tensor or channel, since its product sums over the rows"),
        ):
            found: Quantization | None = getattr(self, name)
            if found is not None and found.scale == inside:
                raise ValueError(f"the scale of {name} must be {why}; got {inside!r}")
            if found is not None and found.bits == _MOST and not found.plain:
                raise ValueError(
                    f"{name} must have fewer than {_MOST} bits to have a scale or a rounding of its own, got {found}"
                )

    @property
    def integer(self) -> bool:
        """Whether gradients are quantized and sums are exact integers: all built-in policies but those in float32."""
        return self.input_gradient is not None

    @property
    def gradient_bits(self) -> int | None:
        """The width of the gradient between the layers; None where it is float32.

        That of the wider product, and at least 8: its integers are the product's own. 16 if that product has its own
        scale or rounding, which then narrows them, or if one uses powers of two.
        """
        if self.input_gradient is None or self.weight_gradient is None:
            return None
        if self.input_gradient.is_power or self.weight_gradient.is_power:
            return _MOST
        wider = max(self.input_gradient.bits, self.weight_gradient.bits, _LEAST)
        own = any(q.bits == wider and not q.plain for q in (self.input_gradient, self.weight_gradient))
        return _MOST if own else wider

    @property
    def weight_bits(self) -> int | None:
        """The width of real weights in the forward pass; None where they are float32."""
        if self.forward_bits is None:
            return self.gradient_bits
        return None if self.forward_bits == _REAL else self.forward_bits

    @property
    def probability_bits(self) -> int | None:
        """The width of the softmax's probabilities; None where they are not quantized."""
        return None if self.forward_bits == _REAL else self.forward_bits

    @property
    def code_bits(self) -> int:
        """The width of the gradient between the layers, where it is of integers.

        Raises
        ------
        ValueError
            If the policy leaves gradients in float32.
        """
        bits = self.gradient_bits
        if bits is None:
            raise ValueError(f"gradients must be float32 under precision {self.name!r}, got integer codes")
        return bits

    def with_whole_gradients(self) -> Precision:
        """Return the policy with the same forward pass and full weight gradients.

        All are as wide as the gradient between layers, and nothing is rounded randomly: for inspecting gradients.

        Examples
        --------
        >>> policy("int4").with_whole_gradients().weight_gradient
        Quantization(bits=8, scale='tensor', rounding='nearest', scheme='linear')
        """
        if self.gradient_bits is None:
            return self
        wide = Quantization(self.gradient_bits)
        name = f"{self.name}, whole gradients"
        return replace(self, name=name, input_gradient=wide, weight_gradient=wide, sign_weight_gradient=False)

    def setting(self) -> str | dict[str, Any]:
        """Return what a file stores of the policy: its name, or all fields if it is not built in."""
        if POLICIES.get(self.name) == self:
            return self.name
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Quantization):
                said = {"bits": value.bits, "scale": value.scale, "rounding": value.rounding}
                value = said | ({"scheme": value.scheme} if value.is_power else {})
            found[field.name] = value.name if isinstance(value, np.dtype) else value
        return found

    def moments_of(self, binary: bool) -> np.dtype:
        """Return the type of the moments of a binarised parameter, or of any other."""
        return self.moments if binary else _FLOAT32


_INT8, _INT16 = Quantization(8), Quantization(16)
_POWERS = Quantization(_POWER, scheme="power-of-two")
_INT8_DTYPE = np.dtype(np.int8)
_FLOAT16_ALL = Precision(
    name="float16",
    input_gradient=_INT16,
    weight_gradient=_INT16,
    row_by_row=True,
    latent=_FLOAT16,
    statistics=_FLOAT16,
    moments=_FLOAT16,
)
# arXiv 2102.04270. A weight's gradient is -1, 0 or +1 for Adam, so its moments hold in float16, as published: the mean
# of the squares stops at 0.76 on its way to 1, where a step of 0.001 is half of the last place. The biases' moments are
# float32: squares of small gradients are below the smallest float16.
_LOW_MEMORY = replace(_FLOAT16_ALL, name="low-memory", norm="l1", sign_weight_gradient=True)


def dual(
    forward_bits: int | None = 8, backward_bits: int | None = 16, latent_bits: Literal[8, 16] | None = None
) -> Precision:
    """Return a policy with two widths, one forward and one backward (arXiv 2401.09916).

    Parameters
    ----------
    forward_bits : int or None
        2 to 16: the width of the head's weights and of the softmax's probabilities in the forward pass. None leaves
        them real.
    backward_bits : int or None
        8 to 16: the width of all gradients, and of the head's weights in the backward pass. None, or 32, leaves them in
        float32.
    latent_bits : {8, 16}, optional
        The width of the latent weights of binary layers, which are then integers updated by
        `bitlearn.optim.quantized_sgd`. By default they are float32.

    Returns
    -------
    Precision
        ``dual()`` is the built-in ``dual-16``, ``dual(8, 8)`` is ``dual-8``.

    Raises
    ------
    ValueError, TypeError
        If a width is none of these.

    Examples
    --------
    >>> dual(8, 16, latent_bits=8).latent
    dtype('int8')
    >>> dual(None, 8).name
    'dual-8-forward-32'
    """
    if latent_bits not in (None, 8, 16):
        raise ValueError(f"latent_bits must be 8, 16 or None, got {brief(latent_bits)}")
    real = backward_bits is None or backward_bits == _REAL
    if not real and isinstance(backward_bits, int) and backward_bits < _LEAST:
        raise ValueError(f"backward_bits must be in [{_LEAST}, {_MOST}], {_REAL} or None, got {backward_bits}")
    how = None if real else Quantization(backward_bits)  # type: ignore[arg-type]
    forward = _REAL if forward_bits is None else forward_bits
    name = f"dual-{_REAL if real else backward_bits}"
    name += "" if forward == 8 else f"-forward-{forward}"
    name += "" if latent_bits is None else f"-latent-{latent_bits}"
    latent = _FLOAT32 if latent_bits is None else np.dtype(f"int{latent_bits}")
    return Precision(name, how, how, latent=latent, forward_bits=forward)


# 4 bits in both products hold to within a point of accuracy so (`make sweep`); those of the weight's do not to nearest
# with one scale in all.
_INPUT4, _WEIGHT4 = Quantization(4, "row"), Quantization(4, "channel", "stochastic")

POLICIES = {
    policy.name: policy
    for policy in (
        Precision(name="standard", input_gradient=None, weight_gradient=None),
        # The first rung of the published ladder: activations are bits, and nothing else is changed.
        Precision(name="float32-bits", input_gradient=None, weight_gradient=None, norm="l1"),
        Precision(name="int8", input_gradient=_INT8, weight_gradient=_INT8),
        Precision(name="int4", input_gradient=_INPUT4, weight_gradient=_WEIGHT4),
        # The ladder of arXiv 2102.04270, from the top: everything in 16 bits; then weights' gradients as signs; then
        # activations as bits, behind the batch norm that wants no more of them.
        _FLOAT16_ALL,
        replace(_FLOAT16_ALL, name="float16-sign", sign_weight_gradient=True),
        _LOW_MEMORY,
        # As many bits, and the exact gradient of the usual batch norm: the sums that it needs are formed again.
        replace(_LOW_MEMORY, name="low-memory-exact", norm="l2", recompute=True),
        # Its first version: dY as powers of two.
        replace(_LOW_MEMORY, name="low-memory-5bit", input_gradient=_POWERS, weight_gradient=_POWERS),
        # Below the paper: the optimiser's state in 8 bits; the products too; both.
        replace(_LOW_MEMORY, name="low-memory-moments8", moments=_INT8_DTYPE),
        replace(_LOW_MEMORY, name="low-memory-8bit", input_gradient=_INT8, weight_gradient=_INT8),
        replace(_LOW_MEMORY, name="low-memory-4bit", input_gradient=_INPUT4, weight_gradient=_WEIGHT4),
        replace(_LOW_MEMORY, name="lowest-memory", input_gradient=_INT8, weight_gradient=_INT8, moments=_INT8_DTYPE),
        dual(backward_bits=8),
        dual(backward_bits=16),
    )
}


def policy(name: str | Precision | Mapping[str, Any]) -> Precision:
    """Return the policy of that name (a policy is returned unchanged).

    Parameters
    ----------
    name : str, Precision or mapping
        A mapping as `Precision.setting` gives it.

    Returns
    -------
    Precision

    Raises
    ------
    TypeError, ValueError
        If there is no such policy, or a mapping does not describe one.

    Examples
    --------
    >>> policy("low-memory").gradient_bits
    16
    >>> mine = Precision("mine", Quantization(4), Quantization(8))
    >>> policy(mine.setting()) == mine
    True
    """
    if isinstance(name, Precision):
        return name
    if isinstance(name, Mapping):
        return _described(name)
    return by_name("precision", name, POLICIES)


def _described(setting: Mapping[str, Any]) -> Precision:
    """Return the policy that a file describes; what it does not name has its default."""
    known = {field.name for field in fields(Precision)}
    required = {field.name for field in fields(Precision) if field.default is MISSING}
    if not required <= set(setting) <= known:
        raise ValueError(
            f"a described precision must have {', '.join(sorted(required))}, and at most {', '.join(sorted(known))}, "
            f"got {brief(sorted(map(str, setting), key=known.__contains__))}"
        )
    found = dict(setting)
    for name in ("input_gradient", "weight_gradient"):
        how = found[name]
        if how is not None:
            if not isinstance(how, Mapping) or not {"bits"} <= set(how) <= {"bits", "scale", "rounding", "scheme"}:
                raise ValueError(
                    f"{name} of a described precision must have bits, and at most scale, rounding and scheme, "
                    f"got {brief(how)}"
                )
            found[name] = Quantization(**how)
    for name in {"latent", "statistics", "moments"} & set(found):
        allowed = [each.name for each in {"latent": _LATENTS, "moments": _MOMENTS}.get(name, _LATENTS[:2])]
        if found[name] not in allowed:
            raise ValueError(
                f"{name} of a described precision must be {' or '.join(allowed)}, got {brief(found[name])}"
            )
        found[name] = np.dtype(found[name])
    return Precision(**found)
