"""Layers that hold layers: in a row, and beside a shortcut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bitlearn.nn.gradients import quantized
from bitlearn.nn.layer import Arrays, Layer, register
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.precision import Precision
from bitlearn.program import Array


class LayerOrderError(ValueError):
    """A layer cannot take what the one before it gives.

    Parameters
    ----------
    layer : str
        Its path, as far as it is known.
    before : str or None
        The path of the one before it; None where that is what flows into the network, or into the layer around it.
    why : str
    """

    def __init__(self, layer: str, before: str | None, why: str):
        super().__init__(layer, before, why)

    def __str__(self) -> str:
        layer, before, why = self.args
        return f"layer {layer!r} cannot follow {'the input' if before is None else repr(before)}: {why}"

    def inside(self, name: str, before: str | None) -> LayerOrderError:
        """Return it with paths from one layer further out: the one of that name, which stands after `before`."""
        layer, inner, why = self.args
        return LayerOrderError(f"{name}.{layer}", before if inner is None else f"{name}.{inner}", why)


@register
class Sequential(Layer):
    """A sequence of named layers.

    Parameters
    ----------
    layers : sequence of Layer or of (str, Layer)
        Layers without given names are named by kind and number: ``linear1``, ``sign1``, ``linear2``...

    Raises
    ------
    ValueError
        If two layers have the same name; and, once the input type is known, if a layer cannot take the output of the
        one before it: the message names both.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.nn.Sequential([bl.nn.BinaryLinear(8), bl.nn.BatchNormSign(), bl.nn.Linear(2)])
    Sequential([BinaryLinear(outputs=8), BatchNormSign(norm=None), Linear(outputs=2)])
    """

    kind = "sequential"

    def __init__(self, layers: Sequence[Layer | tuple[str, Layer]]):
        self.layers: dict[str, Layer] = {}
        counts: dict[str, int] = {}
        for entry in layers:
            if isinstance(entry, Layer):
                counts[entry.kind] = counts.get(entry.kind, 0) + 1
                name, layer = f"{entry.kind}{counts[entry.kind]}", entry
            else:
                name, layer = entry
            if not isinstance(name, str) or not name or "." in name:
                raise ValueError(f"a layer's name must be text without dots, which divide paths, got {name!r}")
            if name in self.layers:
                raise ValueError(f"layers must have names of their own, got {name!r} twice")
            self.layers[name] = layer

    def bind(self, spec: Spec, precision: Precision, index: int) -> int:
        """Pass the type of the input to the first layer, and that of each output to the next."""
        self.spec, self.precision, self.index = spec, precision, index
        before = None
        for name, layer in self.layers.items():
            try:
                index = layer.bind(spec, precision, index)
            except LayerOrderError as error:
                raise error.inside(name, before) from None
            except ValueError as error:
                raise LayerOrderError(name, before, str(error)) from None
            spec, before = layer.output, name
        self.output = spec
        return index

    def infer(self, spec: Spec) -> Spec:
        """Return the type of the last layer's result."""
        for layer in self.layers.values():
            spec = layer.infer(spec)
        return spec

    def settings(self) -> dict[str, Any]:
        """Return no arguments: the layers are described one by one."""
        return {}

    @classmethod
    def rebuilt(cls, settings: dict[str, Any], layers: list[tuple[str, Layer]]) -> Layer:
        """Return the layers in a row."""
        return cls(layers)

    def without_arrays(self) -> Layer:
        """Return a copy whose layers have no parameters."""
        bare = copy.copy(self)
        bare.layers = {name: layer.without_arrays() for name, layer in self.layers.items()}
        return bare

    def leaves(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield the layers without layers inside, by path, in order."""
        for name, layer in self.layers.items():
            yield from layer.leaves(_joined(path, name))

    def _first_trained(self) -> int:
        """Below the first layer with parameters nobody needs a gradient."""
        layers = [any(leaf.parameters() for _, leaf in layer.leaves()) for layer in self.layers.values()]
        return layers.index(True) if True in layers else 0

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the layers one after the other."""
        caches, path = [], step.path
        for name, layer in self.layers.items():
            with step.at(_joined(path, name)):
                x, cache = layer.forward(step, x)
            caches.append(cache)
        return x, caches

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the layers one after the other, from the last."""
        first, path, flowing = 0 if wanted else self._first_trained(), step.path, grad
        for index, (name, layer) in reversed(list(enumerate(self.layers.items()))):
            if index < first:
                return None
            with step.at(_joined(path, name)):
                found = layer.backward(step, cache[index], flowing, wanted=wanted or index > first)
            if found is None:
                return None
            flowing = found
        return flowing

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the layers one after the other."""
        path = step.path
        for name, layer in self.layers.items():
            with step.at(_joined(path, name)):
                _met(step, x)
                x = layer.predict(step, _below(arrays, name), x)
        return x

    def __repr__(self) -> str:
        automatic = list(Sequential(list(self.layers.values())).layers) == list(self.layers)
        entries = self.layers.values() if automatic else self.layers.items()
        return f"{type(self).__name__}([{', '.join(map(repr, entries))}])"


@register
class Residual(Layer):
    """Layers and a shortcut around them, whose results are added: real values.

    Parameters
    ----------
    main : Sequential or sequence of layers
        From real values to real values.
    shortcut : Sequential or sequence of layers, optional
        By default the input, unchanged.

    Notes
    -----
    ``y = main(x) + shortcut(x)``, as in Bi-Real nets (arXiv 1808.00278), whose shortcuts carry the real values past
    each binary convolution. Under an integer policy the two gradients, each with its own scale, are added in float32
    and quantized again.

    Examples
    --------
    >>> import bitlearn as bl
    >>> block = bl.nn.Residual([bl.nn.Sign(), bl.nn.BinaryLinear(8), bl.nn.BatchNorm()])
    >>> model = bl.nn.Model([block, bl.nn.Sign(), bl.nn.Linear(2)], bl.nn.Spec.real((8,)))
    >>> model.names[:2]
    ['residual1.main.sign1', 'residual1.main.linear1']
    """

    kind = "residual"

    def __init__(self, main: Layer | Sequence[Any], shortcut: Layer | Sequence[Any] | None = None):
        self.main = main if isinstance(main, Layer) else Sequential(main)
        self.shortcut = shortcut if isinstance(shortcut, Layer) else Sequential(shortcut or [])

    @property
    def layers(self) -> dict[str, Layer]:
        """The two paths, by name."""
        return {"main": self.main, "shortcut": self.shortcut}

    def bind(self, spec: Spec, precision: Precision, index: int) -> int:
        """Pass the type of the input to both paths."""
        self.spec, self.precision, self.index = spec, precision, index
        for name, layer in self.layers.items():
            try:
                index = layer.bind(spec, precision, index)
            except LayerOrderError as error:
                raise error.inside(name, None) from None
        self.output = self._common(self.main.output, self.shortcut.output)
        return index

    @staticmethod
    def _common(main: Spec, shortcut: Spec) -> Spec:
        if main != shortcut or main.kind != "real":
            raise ValueError(
                f"both paths of a residual block must give real values of one shape, got {main} and {shortcut}"
            )
        return main

    def infer(self, spec: Spec) -> Spec:
        """Return the type that both paths give."""
        return self._common(self.main.infer(spec), self.shortcut.infer(spec))

    def settings(self) -> dict[str, Any]:
        """Return no arguments: the layers are described one by one."""
        return {}

    @classmethod
    def rebuilt(cls, settings: dict[str, Any], layers: list[tuple[str, Layer]]) -> Layer:
        """Return a block from its two paths."""
        names = [name for name, _ in layers]
        if names != ["main", "shortcut"]:
            raise ValueError(f"a residual block must hold main and shortcut, got {', '.join(names) or 'nothing'}")
        return cls(*(layer for _, layer in layers))

    def without_arrays(self) -> Layer:
        """Return a copy whose layers have no parameters."""
        bare = copy.copy(self)
        bare.main, bare.shortcut = self.main.without_arrays(), self.shortcut.without_arrays()
        return bare

    def leaves(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield the innermost layers, by path: those of the main path first."""
        for name, layer in self.layers.items():
            yield from layer.leaves(_joined(path, name))

    def _ways(self, step: Step, x: Value, way: Callable[[str, Layer, Value], Any]) -> list[Any]:
        found, path = [], step.path
        for name, layer in self.layers.items():
            with step.at(_joined(path, name)):
                found.append(way(name, layer, x))
        return found

    def _added(self, step: Step, a: Gradient, b: Gradient, name: str) -> Array:
        """Record the float32 sum of two values with their scales."""
        out = step.empty(name, a.shape, np.float32)
        step.run("add_scaled", a.values.rows(), a.scale, b.values.rows(), b.scale, out.rows())
        return out

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record both ways, and their sum."""
        (a, main), (b, shortcut) = self._ways(step, x, lambda name, layer, x: layer.forward(step, x))
        y = self._added(step, Gradient(step, a.array, None), Gradient(step, b.array, None), "Y")
        return Value(step, self.output, y), (main, shortcut)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record both paths backward; each has its own gradient, which it may overwrite."""
        second, path = step.empty("dY", grad.shape, grad.dtype), step.path
        step.run("copy", grad.values.rows(), second.rows())
        found = []
        for (name, layer), kept, one in zip(self.layers.items(), cache, (grad, grad.with_values(second)), strict=True):
            with step.at(_joined(path, name)):
                found.append(layer.backward(step, kept, one, wanted=wanted))
        a, b = found
        if a is None or b is None:
            return None
        real = self._added(step, a, b, "dX")
        if a.is_real:
            return Gradient(step, real, None)
        return quantized(step, real, self.precision.code_bits)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record both ways, and their sum."""

        def way(name: str, layer: Layer, x: Value) -> Value:
            _met(step, x)
            return layer.predict(step, _below(arrays, name), x)

        a, b = self._ways(step, x, way)
        y = self._added(step, Gradient(step, a.array, None), Gradient(step, b.array, None), "Y")
        return Value(step, self.output, y)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.main!r}, {self.shortcut!r})"


def _met(step: Step, x: Value) -> None:
    """Tell whoever watches an inference what flows into the layer that is being recorded."""
    if step.meet is not None:
        step.meet(step.path, x)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _below(arrays: Arrays, name: str) -> Arrays:
    """Return the arrays of what is under a name, by the names below it."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
