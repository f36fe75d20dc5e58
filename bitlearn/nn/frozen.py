"""The inference form of a network: packed weights, batch norm and sign folded into one integer a channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn import norm_integer
from bitlearn.nn.conv import BinaryConv2d, Convolution, InputConv2d
from bitlearn.nn.flatten import Flatten
from bitlearn.nn.layer import Layer, Value
from bitlearn.nn.linear import BinaryLinear, InputLinear, Linear
from bitlearn.nn.norm import BatchNorm, BatchNormSign
from bitlearn.nn.pool import MaxPool2d
from bitlearn.nn.products import convolved_codes, integer_sums
from bitlearn.ops.conv import geometry, xnor_conv2d, xnor_conv2d_sign
from bitlearn.ops.matmul import xnor_matmul, xnor_matmul_sign
from bitlearn.ops.packing import pack

#: What a stage may be.
KINDS = ("linear", "input-linear", "conv", "input-conv", "norm", "head", "pool", "flatten")
#: What a stage with weights multiplies: packed bits or first-layer codes, as rows or as maps.
LINEAR, INPUT_LINEAR, CONV, INPUT_CONV = "linear", "input-linear", "conv", "input-conv"


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of inference.

    Parameters
    ----------
    kind : str
        As below.
    settings : dict
        As JSON knows them.
    arrays : dict of str to ndarray
        The arrays that the kind has.

    Notes
    -----
    Kinds: the products ``linear``, ``input-linear``, ``conv`` and ``input-conv`` (arrays ``words`` and, where a sign
    follows, ``thresholds``), ``norm`` (``mean``, ``inverse``, ``shift``), ``head`` (``weight``), ``pool`` and
    ``flatten``.
    """

    kind: str
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a stage must be one of {', '.join(KINDS)}, got {self.kind!r}")

    def run(self, x: Value) -> Value:
        """Return the stage's result.

        Parameters
        ----------
        x : Bits or ndarray
            What the stage before gave.

        Returns
        -------
        Bits or ndarray
            Packed bits, integer sums or float32 scores.
        """
        if self.kind == "flatten":
            return Flatten().forward(x, training=False)[0]
        if self.kind == "pool":
            return MaxPool2d(**self.settings).forward(x, training=False)[0]
        if self.kind == "head":
            return self._head(x)
        if self.kind == "norm":
            assert isinstance(x, np.ndarray)
            real = x.astype(np.float32) * np.float32(self.settings["input_scale"])
            return (real - self.arrays["mean"]) * self.arrays["inverse"] + self.arrays["shift"]
        return self._product(x)

    def _head(self, x: Value) -> Value:
        layer = Linear(**self.settings)
        layer.weight = self.arrays["weight"]
        return layer.forward(x, training=False)[0]

    def _product(self, x: Value) -> Value:
        words, thresholds = self.arrays["words"], self.arrays.get("thresholds")
        if isinstance(x, Bits):
            options = {key: self.settings[key] for key in ("stride", "padding", "pad_value") if key in self.settings}
            sums, signs = (xnor_conv2d, xnor_conv2d_sign) if self.kind == CONV else (xnor_matmul, xnor_matmul_sign)
            if thresholds is None:
                return sums(x.words, words, x.n, **options)
            return Bits(signs(x.words, words, x.n, thresholds, **options), len(words))
        if self.kind == INPUT_CONV:
            kernel = tuple(self.settings["kernel"])
            windows = geometry(x.shape[1:3], kernel, self.settings["stride"], self.settings["padding"], 0)
            y = convolved_codes(x, words, kernel, windows)
        else:
            y = integer_sums(x, words)
        return y if thresholds is None else Bits(pack(y >= thresholds), len(words))


class Frozen:
    """A network for inference only, made by `Sequential.freeze`.

    Parameters
    ----------
    stages : sequence of Stage
    input_shape : tuple of int
        The shape of one example of int8 codes.
    classes : int

    Notes
    -----
    Weights take one bit, and between layers only bits flow: ``sign((y - mean) / spread + shift)`` is ``y >= threshold``
    with one integer a channel. A max pool before the batch norm is taken behind it, as an OR of bits: the comparison is
    monotone. Predictions equal the trained network's.
    """

    def __init__(self, stages: Sequence[Stage], *, input_shape: tuple[int, ...], classes: int):
        self.stages = list(stages)
        self.input_shape = tuple(input_shape)
        self.classes = classes

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for stage in self.stages for array in stage.arrays.values())

    def scores(self, x: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
        """Return the scores of the classes.

        Parameters
        ----------
        x : ndarray of int8, shape (count, ...)
            Codes.
        batch_size : int
            How many examples are worked on at a time; the result does not depend on it.

        Returns
        -------
        ndarray of float32, shape (count, classes)
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"examples must have shape {self.input_shape}, got {x.shape[1:]}")
        parts = []
        for start in range(0, len(x), batch_size):
            value: Value = x[start : start + batch_size]
            for stage in self.stages:
                value = stage.run(value)
            assert isinstance(value, np.ndarray)
            parts.append(value)
        return np.concatenate(parts) if parts else np.empty((0, self.classes), dtype=np.float32)

    def predict(self, x: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
        """Return the class with the largest score for each example, the first one where they tie.

        Parameters
        ----------
        x, batch_size
            As `scores`.

        Returns
        -------
        ndarray of int64, shape (count,)
        """
        return self.scores(x, batch_size=batch_size).argmax(axis=1)


def _product_stage(layer: Layer, thresholds: np.ndarray | None) -> Stage:
    if isinstance(layer, Convolution):
        first = isinstance(layer, InputConv2d)
        weight = layer.weight.reshape(layer.filters, -1) if first else layer.weight
        settings = layer.settings()
        kept = {key: settings[key] for key in ("kernel", "stride", "padding", "pad_value")}
        kind = INPUT_CONV if first else CONV
    else:
        assert isinstance(layer, (InputLinear, BinaryLinear))
        weight, kept = layer.weight, {}
        kind = INPUT_LINEAR if isinstance(layer, InputLinear) else LINEAR
    arrays = {"words": pack(weight)}
    if thresholds is not None:
        arrays["thresholds"] = thresholds
    return Stage(kind, kept, arrays)


def freeze(layers: Iterable[tuple[str, Layer]], *, input_shape: tuple[int, ...], classes: int) -> Frozen:
    """Return the inference form of a row of layers.

    Parameters
    ----------
    layers : iterable of (str, Layer)
        With their names; weights and running statistics are copied.
    input_shape : tuple of int
        The shape of one example of int8 codes.
    classes : int

    Returns
    -------
    Frozen

    Raises
    ------
    ValueError
        Where a layer has no inference form in its place.
    """
    stages: list[Stage] = []
    waiting: list[Layer] = []  # a product, and pools behind it, until it is known whether a sign follows

    def release(thresholds: np.ndarray | None) -> None:
        for layer in waiting:
            if isinstance(layer, MaxPool2d):
                stages.append(Stage("pool", layer.settings(), {}))
            else:
                stages.append(_product_stage(layer, thresholds))
        waiting.clear()

    for name, layer in layers:
        if isinstance(layer, (BinaryLinear, InputLinear, BinaryConv2d, InputConv2d)):
            release(None)
            waiting.append(layer)
        elif isinstance(layer, MaxPool2d) and waiting:
            waiting.append(layer)
        elif isinstance(layer, BatchNormSign) and waiting:
            release(layer.thresholds())
        else:
            release(None)
            stages.append(_plain_stage(name, layer))
    release(None)
    return Frozen(stages, input_shape=input_shape, classes=classes)


def _plain_stage(name: str, layer: Layer) -> Stage:
    if isinstance(layer, MaxPool2d):
        return Stage("pool", layer.settings(), {})
    if isinstance(layer, Flatten):
        return Stage("flatten", {}, {})
    if isinstance(layer, Linear):
        return Stage("head", layer.settings(), {"weight": layer.weight.copy()})
    if isinstance(layer, BatchNorm):
        arrays = {
            "mean": layer.running_mean.copy(),
            "inverse": norm_integer.inverse(layer.running_spread),
            "shift": layer.shift.copy(),
        }
        return Stage("norm", {"input_scale": layer.input_scale}, arrays)
    raise ValueError(f"a layer must have an inference form to freeze, got {type(layer).__name__} {name!r}")
