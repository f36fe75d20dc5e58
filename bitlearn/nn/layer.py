"""What every layer is: named arrays, a forward and a backward pass, and no hidden state between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from bitlearn.bits import Bits
from bitlearn.quantizers import Gradient, ParameterGradient
from bitlearn.rng import Key

#: What flows forward: packed signs, integer sums (or input codes), or float32.
Value = Bits | np.ndarray
Gradients = dict[str, ParameterGradient]
Lifetime = Literal["persistent", "step", "forward to backward", "transient"]


@dataclass(frozen=True)
class Variable:
    """One variable of a training step, for the memory model.

    Parameters
    ----------
    name : str
        As `arena.track` is told.
    lifetime : {"persistent", "step", "forward to backward", "transient"}
    dtype : str
        A NumPy dtype's name, or "bool" for one packed bit.
    nbytes : int
    """

    name: str
    lifetime: Lifetime
    dtype: str
    nbytes: int


class Layer(ABC):
    """A layer: ``forward`` returns what ``backward`` needs, and keeps nothing of it.

    Subclasses are final. `parameters` are trained, `statistics` are running averages; both are live arrays by name,
    changed in place, and all that a checkpoint has to hold.
    """

    #: The stem of the layer's name in a `Sequential`: "linear", "sign"...
    kind: ClassVar[str]
    #: Which parameters are binarised before use.
    binary: ClassVar[tuple[str, ...]] = ()

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the trained arrays by name."""
        return {}

    def statistics(self) -> dict[str, np.ndarray]:
        """Return the running averages by name."""
        return {}

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments (without initial values), as JSON knows them."""

    @abstractmethod
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one example's result from the shape of one example.

        Parameters
        ----------
        shape : tuple of int

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            Where the layer cannot take such examples.
        """

    @abstractmethod
    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return the result and what `backward` needs.

        Parameters
        ----------
        x : Bits or ndarray, shape (batch, ...)
            Packed signs, integer sums or int8 codes, as the layer takes them.
        training : bool
            Whether batch norms take the statistics of the batch.

        Returns
        -------
        y : Bits or ndarray, shape (batch, ...)
        cache : object
            For `backward`; None where not training.
        """

    @abstractmethod
    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return the gradient of the input and those of the parameters.

        Parameters
        ----------
        cache : object
            What `forward` gave.
        grad : ndarray of float32 or Quantized
            Of the result, and of its shape. The integers of a quantized one may be overwritten.
        input_gradient : bool
            Whether the gradient of the input is wanted.
        key : Key, optional
            The random bits of this layer in this step, for products whose policy rounds at random: its stream and the
            next one.

        Returns
        -------
        grad_x : ndarray of float32, Quantized or None
        grads : dict of str to (ndarray of float32, BinaryGradient or SumsGradient)
            By the parameter's name.
        """

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps and passes on in this layer.

        Parameters
        ----------
        shape : tuple of int
            Of one example.
        batch : int

        Returns
        -------
        list of Variable
        """
        return []


def uniform_weights(shape: tuple[int, ...], dtype: np.dtype, key: Key) -> np.ndarray:
    """Return latent weights uniform in ``±sqrt(3 / fan_in)``: standard deviation ``1 / sqrt(fan_in)``.

    Uniform, not normal: a sum of random words is the same on every processor, a logarithm is not.
    """
    fan_in = int(np.prod(shape[1:]))
    limit = np.float32(np.sqrt(3.0 / max(fan_in, 1)))
    values = (key.uniform(int(np.prod(shape))) * np.float32(2) - np.float32(1)) * limit
    return values.reshape(shape).astype(dtype)


def bytes_of(count: int, bits: int) -> int:
    """Return the bytes of `count` values of `bits` bits each."""
    return -(-count * bits // 8)
