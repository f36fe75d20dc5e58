"""Layers in a row, each under a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn import conv_pool
from bitlearn.nn.frozen import Frozen, freeze
from bitlearn.nn.layer import Gradients, Layer, Value, Variable
from bitlearn.ops.quantize import Quantized
from bitlearn.precision import Precision, policy
from bitlearn.quantizers import Gradient, is_finite, quantize_gradient
from bitlearn.rng import Key
from bitlearn.workspace import Workspace


class Sequential:
    """Layers in a row.

    Parameters
    ----------
    layers : sequence of Layer or of (str, Layer)
        Without names of their own layers are named by kind and number: ``linear1``, ``sign1``, ``linear2``...
    precision : str or Precision
        The policy of the gradient that `backward` begins with.
    input_shape : tuple of int
        The shape of one example.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layers = [bl.nn.InputLinear(4, 8), bl.nn.BatchNormSign(8), bl.nn.Linear(8, 2)]
    >>> model = bl.nn.Sequential(layers, input_shape=(4,))
    >>> model.names
    ['linear1', 'sign1', 'head1']
    >>> model.predict(np.zeros((3, 4), dtype=np.int8)).shape
    (3,)
    """

    def __init__(
        self,
        layers: Sequence[Layer | tuple[str, Layer]],
        *,
        input_shape: tuple[int, ...],
        precision: str | Precision = "standard",
    ):
        self.precision = policy(precision)
        self._workspace = Workspace(frugal=self.precision.row_by_row)
        self.input_shape = tuple(int(size) for size in input_shape)
        self._layers: dict[str, Layer] = {}
        counts: dict[str, int] = {}
        shape = self.input_shape
        for entry in layers:
            if isinstance(entry, Layer):
                counts[entry.kind] = counts.get(entry.kind, 0) + 1
                name, layer = f"{entry.kind}{counts[entry.kind]}", entry
            else:
                name, layer = entry
            if name in self._layers:
                raise ValueError(f"layers must have names of their own, got {name!r} twice")
            self._layers[name] = layer
            shape = layer.output_shape(shape)
        self.output_shape = shape
        self._stages = self._grouped()
        # Below the first layer with parameters nobody wants a gradient.
        self._first_trained = next((i for i, layer in enumerate(self._layers.values()) if layer.parameters()), 0)

    @property
    def names(self) -> list[str]:
        """The layers' names, in order."""
        return list(self._layers)

    def __getitem__(self, name: str) -> Layer:
        return self._layers[name]

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Yield names and layers, in order."""
        yield from self._layers.items()

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the trained arrays of all layers, by ``layer.parameter``."""
        return {f"{name}.{key}": array for name, layer in self.items() for key, array in layer.parameters().items()}

    def statistics(self) -> dict[str, np.ndarray]:
        """Return the running averages of all layers, by ``layer.statistic``."""
        return {f"{name}.{key}": array for name, layer in self.items() for key, array in layer.statistics().items()}

    def binary_parameters(self) -> set[str]:
        """Return the names of the parameters that are binarised before use."""
        return {f"{name}.{key}" for name, layer in self.items() for key in layer.binary}

    def split(self, name: str) -> tuple[Sequential, Sequential]:
        """Return the layers up to and with `name`, and those behind it, as two networks that share the layers.

        Parameters
        ----------
        name : str
            The last layer of the lower network.

        Returns
        -------
        lower, upper : Sequential

        Raises
        ------
        ValueError
            Where there is no such layer, or nothing behind it.
        """
        if name not in self._layers or name == self.names[-1]:
            allowed = ", ".join(self.names[:-1])
            raise ValueError(f"cut must be one of the layers before the last, {allowed}, got {name!r}")
        at = self.names.index(name) + 1
        pairs = list(self.items())
        lower = Sequential(pairs[:at], input_shape=self.input_shape, precision=self.precision)
        upper = Sequential(pairs[at:], input_shape=lower.output_shape, precision=self.precision)
        return lower, upper

    def forward(self, x: Value, *, training: bool) -> tuple[Value, list[Any]]:
        """Return the result and the layers' caches.

        Parameters
        ----------
        x : Bits or ndarray, shape (batch, ...)
            int8 codes, or the bits at which a network was cut.
        training : bool

        Returns
        -------
        y : Bits or ndarray, shape (batch, ...)
        caches : list
            One a layer, for `backward`.

        Raises
        ------
        ValueError
            Where the examples have another shape than `input_shape`.
        NonFiniteError
            Naming the layer in which a value is NaN or infinite.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"examples must have shape {self.input_shape}, got {x.shape[1:]}")
        caches: list[Any] = []
        with self._memory(training):
            for names, layers in self._stages:
                try:
                    x, found = _forward(layers, x, training)
                except NonFiniteError as error:
                    raise error.located(f"in layer {names[0]!r}") from None
                caches += found
        return x, caches

    def _memory(self, training: bool) -> AbstractContextManager[None]:
        """The memory of a forward pass: only a training step's is kept for the next one."""
        return self._workspace.active() if training else nullcontext()

    def stages(self) -> list[tuple[str, ...]]:
        """Return the names of the layers, those that run together in one: a convolution and the pool behind it."""
        return [names for names, _ in self._stages]

    def _grouped(self) -> list[tuple[tuple[str, ...], list[Layer]]]:
        found: list[tuple[tuple[str, ...], list[Layer]]] = []
        for name, layer in self.items():
            if found and len(found[-1][1]) == 1 and conv_pool.fits(found[-1][1][0], layer):
                names, layers = found[-1]
                found[-1] = ((*names, name), [*layers, layer])
            else:
                found.append(((name,), [layer]))
        return found

    def backward(
        self,
        caches: list[Any],
        grad: np.ndarray | Gradient,
        *,
        input_gradient: bool = False,
        key: Key | None = None,
    ) -> tuple[Gradient | None, Gradients]:
        """Return the gradient of the input (if wanted) and those of the parameters, by ``layer.parameter``.

        The caches are emptied from the end, so that each is freed as soon as it has been used. A float gradient is
        quantized as the policy says.

        Parameters
        ----------
        caches : list
            What `forward` gave.
        grad : ndarray of float32 or Quantized
            Of the result.
        input_gradient : bool
        key : Key, optional
            The random bits of this step, wanted where the policy rounds at random: layer i has two streams of its own,
            from ``key.stream + 2 * i`` on.

        Returns
        -------
        grad_x : ndarray of float32, Quantized or None
        grads : dict of str to (ndarray of float32, BinaryGradient or SumsGradient)

        Raises
        ------
        NonFiniteError
            Naming the layer in which a gradient is NaN or infinite.
        ValueError
            Where the policy rounds at random and no key is given.
        """
        flowing: Gradient | None
        if isinstance(grad, Quantized):
            flowing = replace(grad, values=grad.values.copy())  # layers may write into what flows through them
        else:
            flowing = quantize_gradient(grad, self.precision)
        grads: Gradients = {}
        first = 0 if input_gradient else self._first_trained
        index = len(self._layers)
        with self._workspace.active():
            for names, layers in reversed(self._stages):
                index -= len(names)
                if index < first:
                    break
                wanted = input_gradient or index > first
                assert flowing is not None
                name = names[0]
                own = None if key is None else key.at(key.stream + 2 * index)
                kept = [caches.pop() for _ in names][::-1]
                try:
                    flowing, found = _backward(layers, kept, flowing, input_gradient=wanted, key=own)
                except NonFiniteError as error:
                    raise error.located(f"in layer {name!r}") from None
                for parameter, value in found.items():
                    if not is_finite(value):
                        raise NonFiniteError(f"the gradient of {parameter}", f"in layer {name!r}")
                    grads[f"{name}.{parameter}"] = value
        caches.clear()
        return flowing, grads

    def scores(self, x: Value, *, batch_size: int = 1000) -> np.ndarray:
        """Return the last layer's values for all examples, with running statistics.

        Parameters
        ----------
        x : Bits or ndarray, shape (count, ...)
        batch_size : int
            How many examples are worked on at a time; the result does not depend on it.

        Returns
        -------
        ndarray of float32, shape (count, classes)
        """
        parts = [self.forward(x[i : i + batch_size], training=False)[0] for i in range(0, len(x), batch_size)]
        if not parts:
            return np.empty((0, *self.output_shape), dtype=np.float32)
        assert all(isinstance(part, np.ndarray) for part in parts)
        return np.concatenate(parts)  # type: ignore[arg-type]

    def predict(self, x: Value, *, batch_size: int = 1000) -> np.ndarray:
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

    def packed_output(self, x: Value, *, batch_size: int = 1000) -> Bits:
        """Return the packed result of a network that ends in a sign, with running statistics.

        Parameters
        ----------
        x, batch_size
            As `scores`.

        Returns
        -------
        Bits, shape (count, ...)
        """
        *rows, n = self.output_shape
        parts = [np.empty((0, *rows, words_for(n)), dtype=WORD)]
        for start in range(0, len(x), batch_size):
            part, _ = self.forward(x[start : start + batch_size], training=False)
            assert isinstance(part, Bits)
            parts.append(part.words)
        return Bits(np.concatenate(parts), n)

    def variables(self, batch: int) -> list[tuple[str, Variable]]:
        """Return, layer by layer, what a training step of `batch` examples keeps and passes on."""
        found: list[tuple[str, Variable]] = []
        shape, above = self.input_shape, ""
        for name, layer in self.items():
            for variable in layer.variables(shape, batch):
                # The bits of a sign are the input of the layer behind it: one array, counted with the sign.
                if not (variable.name == "X" and above == "sign"):
                    found.append((name, variable))
            shape = layer.output_shape(shape)
            if layer.kind != "flatten":
                above = layer.kind
        return found

    def freeze(self) -> Frozen:
        """Return the inference form: packed weights, batch norm and sign folded into integer thresholds.

        Its predictions are the same.
        """
        return freeze(self.items(), input_shape=self.input_shape, classes=self.output_shape[-1])


def _forward(layers: list[Layer], x: Value, training: bool) -> tuple[Value, list[Any]]:
    """Run the layers of a stage; return the result and their caches."""
    if len(layers) > 1:
        return conv_pool.forward(layers, x, training=training)
    y, cache = layers[0].forward(x, training=training)
    return y, [cache]


def _backward(
    layers: list[Layer], caches: list[Any], grad: Gradient, *, input_gradient: bool, key: Key | None
) -> tuple[Gradient | None, Gradients]:
    """Run the layers of a stage backward; the caches are emptied."""
    if len(layers) > 1:
        return conv_pool.backward(layers, caches, grad, input_gradient=input_gradient, key=key)
    return layers[0].backward(caches.pop(), grad, input_gradient=input_gradient, key=key)
