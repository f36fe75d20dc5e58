"""What every layer is: it infers types, holds named arrays, and records its part of a step."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bitlearn.bits import tail_mask
from bitlearn.nn.latents import stored
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops import check
from bitlearn.precision import Precision
from bitlearn.rng import Key
from bitlearn.safetensors import Types

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A layer of some of another's channels: see `Layer.narrowed`.

    Parameters
    ----------
    layer : Layer
        Not bound yet.
    places : dict of str to tuple of ndarray
        Where each of its arrays stands in the other's of that name, as an index of that.
    channels : ndarray or None
        The channels that flow out, of those that the other layer gives; None for all.
    """

    layer: Layer
    places: dict[str, tuple[np.ndarray, ...]]
    channels: np.ndarray | None


class Layer(ABC):
    """A layer of a network.

    It is bound once, from the root: `infer` checks the type of the input and returns that of the output, and `build`
    makes the parameters. `forward` and `backward` record kernel calls; `forward` returns what `backward` needs and
    stores none of it. `parameters` are trained, `statistics` are running averages; both are live arrays by name,
    changed in place, and all that a checkpoint has to hold. `inference` are the arrays that prediction needs, and
    `predict` records it.

    A custom layer is a subclass that is registered (`bitlearn.nn.register`), so that it can be saved.
    """

    #: The stem of the layer's name in a `Sequential`: "linear", "sign"...
    kind: ClassVar[str]
    #: Which parameters are binarised before use.
    binary: ClassVar[tuple[str, ...]] = ()
    #: Binary parameters of which nothing but the signs matters, so that a large one needs one mean of squares for all
    #: its weights, where its gradients are signs: see `bitlearn.optim.Adam`.
    of_signs: ClassVar[tuple[str, ...]] = ()
    #: Whether a result depends on all channels that flow in: its own channels are then another's choice.
    mixes: ClassVar[bool] = False
    #: Whether only some of its channels are of use for a task.
    competes: ClassVar[bool] = False
    #: Whether it uses some of its weights, by scores of theirs.
    selects: ClassVar[bool] = False

    spec: Spec
    output: Spec
    precision: Precision
    #: The layer's number in its network, depth first: its streams of random bits.
    index: int
    #: Whether it has parameters: it is part of a network then.
    is_built = False

    def bind(self, spec: Spec, precision: Precision, index: int) -> int:
        """Receive the type of the input, the policy and a number from the network that the layer is part of.

        Parameters
        ----------
        spec : Spec
        precision : Precision
        index : int
            The number of the layer, or of the first one inside it.

        Returns
        -------
        int
            The number of the next layer.
        """
        self.spec, self.precision, self.index = spec, precision, index
        self.output = self.infer(spec)
        return index + 1

    @abstractmethod
    def infer(self, spec: Spec) -> Spec:
        """Return the type of the layer's result.

        Parameters
        ----------
        spec : Spec
            Of what flows in.

        Returns
        -------
        Spec

        Raises
        ------
        ValueError
            If the layer cannot take such a value: a sentence that starts with what it must get.
        """

    def build(self, seed: int) -> None:  # noqa: B027
        """Make the parameters and statistics of a bound layer; a layer without any has nothing to do."""

    def parameters(self) -> Arrays:
        """Return the trained arrays by name."""
        return {}

    def statistics(self) -> Arrays:
        """Return the running averages by name."""
        return {}

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the trained arrays and running averages by name: what is saved and digested."""
        yield from self.parameters().items()
        yield from self.statistics().items()

    def state_types(self) -> Types:
        """Return the shapes and dtypes of the results of `state`; the layer must be bound, but not built.

        Files are compared with it before anything is made. A layer with large arrays should override it; by default a
        copy is built to find out.
        """
        built = copy.copy(self)
        built.build(0)
        return {name: (array.shape, array.dtype) for name, array in built.state()}

    def check(self, arrays: Arrays) -> None:
        """Raise ValueError if arrays of `state` or of `inference`, from a file, hold impossible values.

        Parameters
        ----------
        arrays : dict of str to ndarray
            By name; of the right shapes and dtypes.
        """
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
            if name in self.binary and array.dtype.kind == "i" and array.min(initial=0) < -np.iinfo(array.dtype).max:
                raise ValueError(f"{name} must be at least {-np.iinfo(array.dtype).max}, got {array.min()}")

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, as values that JSON can hold."""

    @abstractmethod
    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the forward pass of a training step.

        Parameters
        ----------
        step : Step
        x : Value
            The input, of the type that the layer was bound to.

        Returns
        -------
        y : Value
        cache : object
            For `backward`.
        """

    @abstractmethod
    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the backward pass: pass the parameters' gradients to the step, and return that of the input.

        Parameters
        ----------
        step : Step
        cache : object
            As returned by `forward`.
        grad : Gradient
            The gradient of the result. Its array may be overwritten.
        wanted : bool
            Whether the gradient of the input is needed.

        Returns
        -------
        Gradient or None
        """

    def without_arrays(self) -> Layer:
        """Return a copy, bound in the same way, without parameters and statistics, for an inference form."""
        bare, own = copy.copy(self), [array for _, array in self.state()]
        for name, value in vars(self).items():
            if any(value is array for array in own):
                delattr(bare, name)
        return bare

    def decoupled(
        self, words: Sequence[int] | None = None, *, real: bool = False, patch: int = 1
    ) -> tuple[Layer, Layer]:
        """Return the frozen and the trainable part of a convolution: see `BinaryConv2d.decoupled`."""
        raise ValueError(f"a layer must be a binary convolution to be decoupled, got {self.kind!r}")

    def ring_and_centre(self) -> Layer:
        """Return two convolutions whose results are added: see `Conv2d.ring_and_centre`."""
        raise ValueError(f"a layer must be a real convolution of codes to be split, got {self.kind!r}")

    def merge(self, centre: Layer, words: Sequence[int]) -> None:
        """Merge a centre that was trained separately: see `BinaryConv2d.merge`."""
        raise ValueError(f"a layer must be a binary convolution to merge a centre, got {self.kind!r}")

    def of_reals(self) -> list[Layer]:
        """Return unbound layers that do the same to real values and share the arrays: by default a copy."""
        return [copy.copy(self)]

    @property
    def settled(self) -> bool:
        """Whether it has no running averages that still change."""
        return not self.statistics()

    def fix(self) -> None:  # noqa: B027
        """Keep running averages fixed from now on, and normalise by them in training: see `Model.fixed`."""

    def inference(self) -> Arrays:
        """Return the arrays that prediction needs, by name: copies."""
        return {}

    def inference_types(self) -> Types:
        """Return the shapes and dtypes of the results of `inference`, for a layer that need only be bound."""
        return {}

    @abstractmethod
    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the layer's part of an inference.

        Parameters
        ----------
        step : Step
        arrays : dict of str to ndarray
            The results of `inference`, here or in the network that was saved.
        x : Value

        Returns
        -------
        Value
        """

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return a layer for some of the channels, which computes the same for them.

        Parameters
        ----------
        inputs, outputs : ndarray of int or None
            The input channels, and for a layer that mixes channels the output channels; None for all.

        Returns
        -------
        Narrowed

        Raises
        ------
        ValueError
            If a layer cannot be narrowed like this; by default none can.
        """
        raise ValueError(f"a ticket must be of layers that can be cut down to channels, got a {type(self).__name__}")

    def _narrowed_alike(self, inputs: np.ndarray | None) -> Narrowed:
        """Return what `narrowed` does of a layer that treats each channel alone, its arrays among them."""
        kept = chosen(inputs, self.spec.channels)
        return Narrowed(type(self)(**self.settings()), {name: (kept,) for name, _ in self.state()}, inputs)

    @classmethod
    def rebuilt(cls, settings: dict[str, Any], layers: list[tuple[str, Layer]]) -> Layer:
        """Return a layer from its `settings` and the layers inside it, by name, as stored in a file."""
        return cls(**settings)

    def leaves(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield the innermost layers, by path, in order: itself."""
        yield path, self

    def gram(self, x: np.ndarray) -> np.ndarray | None:
        """Return the sums of products of the inputs of the rows of `weight`; None if there is no such matrix.

        Parameters
        ----------
        x : ndarray
            The input, of the shape that `Spec.array_shape` gives.

        Returns
        -------
        ndarray of float64, shape (fan_in, fan_in), or None
            ``sum r r^T`` over examples and positions, with r in the order of a row of `weight`; exact integers for bits
            and codes, with codes in units of 1 here.
        """
        return None

    def operations(self) -> tuple[int, int]:
        """Return how many binary and how many other multiply-adds the forward pass of an example takes."""
        return 0, 0

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({given})"


#: Sizes of more do not fit what kernels count with.
_MOST = 2**31 - 1


def whole(name: str, value: object, *, least: int = 1) -> int:
    """Return a size that a layer is given as an int; TypeError or ValueError where it is none."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = check.count(name, value, least=least)
    if number > _MOST:
        raise ValueError(f"{name} must be at most {_MOST}, got {number}")
    return number


def sizes(name: str, value: Any, *, least: int) -> Any:
    """Return a size, or a pair of them, checked; text is left to `bitlearn.ops.conv.geometry`."""
    if isinstance(value, tuple | list):
        return tuple(whole(name, each, least=least) for each in value)
    return value if isinstance(value, str) else whole(name, value, least=least)


def chosen(channels: np.ndarray | None, count: int) -> np.ndarray:
    """Return channels, or all of as many where there is no choice."""
    return np.arange(count) if channels is None else channels


def check_tail(name: str, words: np.ndarray, n: int) -> None:
    """Raise ValueError where bits past the last of `n` packed values are set."""
    if n and words.size and (words[..., -1] & ~tail_mask(n)).any():
        raise ValueError(f"{name} must hold zeros past its {n} values per row, got bits that are set")


def uniform_weights(shape: tuple[int, ...], dtype: np.dtype, key: Key) -> np.ndarray:
    """Return latent weights uniform in ``±sqrt(3 / fan_in)``: standard deviation ``1 / sqrt(fan_in)``.

    Uniform, not normal: a sum of random words is the same on every processor, a logarithm is not.
    """
    fan_in = math.prod(shape[1:])
    limit = np.float32(np.sqrt(3.0 / max(fan_in, 1)))
    values = (key.uniform(math.prod(shape)) * np.float32(2) - np.float32(1)) * limit
    return stored(values.reshape(shape), dtype)


#: The layers that a file may name; nothing else is ever made from one.
REGISTERED: dict[str, type[Layer]] = {}


def register(layer: type[Layer]) -> type[Layer]:
    """Register a class of layers by its name, so that networks with such layers can be loaded: a class decorator.

    Parameters
    ----------
    layer : type
        A subclass of `Layer` whose constructor takes the results of `settings`.

    Returns
    -------
    type
        `layer` itself.

    Raises
    ------
    ValueError
        If another class has that name.

    Examples
    --------
    >>> register(REGISTERED["Flatten"]).__name__
    'Flatten'
    """
    if REGISTERED.setdefault(layer.__name__, layer) is not layer:
        raise ValueError(f"a layer must have a name of its own, got {layer.__name__!r}, which is taken")
    return layer
