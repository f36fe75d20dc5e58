"""The inference of a network that still learns: its inference form is made again, by kernels, before each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bitlearn.nn.layer import Layer
from bitlearn.nn.model import Model
from bitlearn.nn.step import Inference, Step
from bitlearn.nn.value import Value
from bitlearn.program import Array


class Written(Inference):
    """An inference that is recorded to be printed: weights of products stay rows of words."""

    def __init__(self, batch: int):
        super().__init__(batch, {})

    def prepared(self, kernel: str, name: str, shape: tuple[int, ...], dtype: DTypeLike, *inputs: Any) -> Array:
        """Return words in place of panels; else see `Inference.prepared`."""
        return inputs[0] if kernel == "pack_panels" else super().prepared(kernel, name, shape, dtype, *inputs)


class Live(Written):
    """An inference from the parameters and running statistics themselves."""

    def __init__(self, batch: int, model: Model):
        super().__init__(batch)
        self.arrays = model.inference()
        self._model = model
        self._paths = {id(array): name for name, array in self.arrays.items()}
        self._made: dict[str, Array] = {}

    def constant(self, values: np.ndarray, name: str = "constants") -> Array:
        """Return an array of the inference form as kernels make it; all else as it is."""
        full = self._paths.get(id(values))
        if full is None:
            return super().constant(values, name)
        if full not in self._made:
            path, _, key = full.rpartition(".")
            if key not in _MAKERS:
                raise ValueError(f"layer {path!r} must have an inference form that can be printed as C, got {full!r}")
            self._made[full] = _MAKERS[key](self, self._model[path], values)
        return self._made[full]

    def prepared(self, kernel: str, name: str, shape: tuple[int, ...], dtype: DTypeLike, *inputs: Any) -> Array:
        """Return what a kernel makes of the weights as they are, or words in place of panels."""
        return inputs[0] if kernel == "pack_panels" else Step.prepared(self, kernel, name, shape, dtype, *inputs)

    def derived(self, name: str, values: Callable[[], np.ndarray], *of: np.ndarray) -> Array:
        """Refuse what is made in Python: it would stay as it is now."""
        raise ValueError(f"layer {self.path!r} must not derive {name} in Python to be learned in C, got one that does")


def _state(step: Live, values: np.ndarray) -> Array:
    return super(Live, step).constant(values)


def _words(step: Live, layer: Any, values: np.ndarray) -> Array:
    weight = layer.weight
    words, zero = step.empty("packed W", values.shape, np.uint64), step.constant(np.zeros(1, dtype=weight.dtype))
    flat = words.reshape(-1, values.shape[-1])
    step.run("pack", _state(step, weight).reshape(flat.shape[0], -1), zero, flat)
    return words


def _thresholds(step: Live, layer: Any, values: np.ndarray) -> Array:
    statistics = step.empty("mu, psi", (2, len(values)), np.float64)
    bounds, finite = step.empty("bounds", (3, len(values)), np.int32), step.finite()
    running = (_state(step, each) for each in (layer.running_mean, layer.running_std))
    step.run("live_statistics", *running, layer.spec.unit, statistics)
    step.run(
        "norm_bounds",
        statistics,
        _state(step, layer.bias),
        1.0,
        bounds,
        finite,
        check=finite,
        what="bias and running statistics",
    )
    return bounds[:1].reshape(len(values))


def _centre(step: Live, layer: Any, values: np.ndarray) -> Array:
    centre = step.empty("factors", values.shape, np.float32)
    step.run("live_centre", _state(step, layer.running_mean), _state(step, layer.running_std), centre)
    return centre


#: How each array of an inference form comes from what a layer learns, by its name.
_MAKERS: dict[str, Callable[[Live, Layer, np.ndarray], Array]] = {
    "words": _words,
    "thresholds": _thresholds,
    "centre": _centre,
    "weight": lambda step, layer, values: _state(step, layer.parameters()["weight"]),
    "bias": lambda step, layer, values: _state(step, layer.parameters()["bias"]),
}


def recorded(step: Written, root: Layer, arrays: dict[str, np.ndarray]) -> tuple[Array, Array]:
    """Record an inference; return its input and its result."""
    x = step.input("X", root.spec.array_shape(step.batch), root.spec.dtype)
    y = root.predict(step, arrays, Value(step, root.spec, x)).array
    step.keep(y)
    return x, y
