"""Codecs: how the values at a network's cut are stored, and what the part after the cut gets back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np

from bitlearn.bits import Bits
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.errors import NonFiniteError, brief
from bitlearn.nn.frozen import Batch, check_batch
from bitlearn.nn.spec import Spec
from bitlearn.ops import check
from bitlearn.ops.packing import pack, unpack
from bitlearn.ops.quantize import by_channel, largest_magnitude, linear_codes, quantize

Per = Literal["channel", "tensor"]
#: The largest symmetric 8-bit code.
_LARGEST = 127


class LatentCodec(ABC):
    """Encode the values at a cut for storage and decode them; new examples pass through it just like replayed ones.

    Parameters
    ----------
    spec : Spec
        The type of the values at the cut: the lower network's ``root.output``.

    Attributes
    ----------
    name : str
    dtype : str
        The type of stored values, as a `ReplayBuffer` takes it.
    lossless : bool
        Whether values are restored exactly.

    Examples
    --------
    >>> import bitlearn as bl
    >>> codec = bl.continual.latent_codec(bl.nn.Spec.real((2,)), "scaled-sign")
    >>> x = np.array([[0.5, -3.0], [-1.5, 1.0]], dtype=np.float32)
    >>> codec.fit(x).decode(codec.encode(x))
    array([[ 1., -2.],
           [-1.,  2.]], dtype=float32)
    >>> codec.nbytes
    8
    """

    name: ClassVar[str]
    dtype: ClassVar[str]
    lossless: ClassVar[bool] = False

    def __init__(self, spec: Spec):
        self.spec = spec

    @property
    def nbytes(self) -> int:
        """The bytes stored per example, without its label."""
        (_, *shape), kind = ReplayBuffer.types(1, self.spec.shape, 1, self.dtype)["examples"]
        return int(np.prod(shape, dtype=np.int64)) * kind.itemsize

    def fit(self, x: Batch) -> LatentCodec:
        """Fit the codec to examples, once, before the first one is encoded.

        Parameters
        ----------
        x : Bits or ndarray, shape (count, ...)
            Values at the cut, from the first task or a part of it.

        Returns
        -------
        self

        Raises
        ------
        NonFiniteError
            If a value is NaN or infinite.
        TypeError, ValueError
            If they have the wrong type or shape, or there are none.
        """
        if not len(self._checked(x)):
            raise ValueError("x must hold examples to fit a codec to, got none")
        return self

    @abstractmethod
    def encode(self, x: Batch) -> Batch:
        """Return what is stored: `ReplayBuffer.add` takes it.

        Parameters
        ----------
        x : Bits or ndarray, shape (count, ...)
            Values at the cut.

        Returns
        -------
        Bits or ndarray, shape (count, ...)

        Raises
        ------
        NonFiniteError, TypeError, ValueError
            As `fit`; also if the codec has to be fitted first.
        """

    @abstractmethod
    def decode(self, stored: Batch) -> Batch:
        """Return what the upper network takes, of the type of the values at the cut.

        Parameters
        ----------
        stored : Bits or ndarray, shape (count, ...)
            Results of `encode`, as `ReplayBuffer.sample` returns them.

        Returns
        -------
        Bits or ndarray, shape (count, ...)
        """

    #: Whether values are stored unchanged, so that there is nothing to encode or decode.
    plain: ClassVar[bool] = False

    @property
    def fitted(self) -> bool:
        """Whether it can encode: it was fitted, or needs no fitting."""
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays that `fit` computed: filling them restores the codec."""
        return {}

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Raise ValueError if the arrays, from a file, hold impossible values."""

    def _checked(self, x: Batch) -> np.ndarray:
        """Return the array of values at the cut, all finite."""
        values = check_batch(x, self.spec)
        if self.spec.kind == "real" and not np.isfinite(largest_magnitude(values)):
            raise NonFiniteError("the values at the cut")
        return values

    def _stored(self, stored: Batch) -> np.ndarray:
        """Return the array of what is stored."""
        if self.dtype == "bits":
            return check_batch(stored, Spec.bits(self.spec.shape))
        if not isinstance(stored, np.ndarray) or stored.dtype != self.dtype or stored.shape[1:] != self.spec.shape:
            raise TypeError(f"what is stored must be {self.dtype}, {self.spec.shape} per example, got {brief(stored)}")
        return stored

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec}, {self.nbytes} bytes per example)"


class PackedBits(LatentCodec):
    """The packed bits of a cut after a sign, unchanged: one bit per value."""

    name, dtype, lossless, plain = "bits", "bits", True, True

    def encode(self, x: Batch) -> Batch:
        """Return the bits."""
        return Bits(self._checked(x), self.spec.channels)

    def decode(self, stored: Batch) -> Batch:
        """Return the bits."""
        return Bits(self._stored(stored), self.spec.channels)


class UnpackedBits(LatentCodec):
    """The same ±1 values in a wider type, to compare the packed ones with."""

    lossless = True

    def encode(self, x: Batch) -> Batch:
        """Return the values."""
        return unpack(self._checked(x), self.spec.channels, dtype=np.dtype(self.dtype))

    def decode(self, stored: Batch) -> Batch:
        """Return their bits."""
        return Bits(pack(self._stored(stored)), self.spec.channels)


class ByteBits(UnpackedBits):
    """The ±1 values of a cut after a sign, in a byte each."""

    name, dtype = "8-bit", "int8"


class FloatBits(UnpackedBits):
    """The ±1 values of a cut after a sign, in float32."""

    name, dtype = "float", "float32"


class Sign(LatentCodec):
    """The signs of real values; they are restored as ±1.

    Notes
    -----
    If the layer above is a block with a shortcut, its convolution would take the signs anyway; the shortcut gets ±1
    too. After a ReLU all signs are +1, so no information is left.
    """

    name, dtype = "sign", "bits"

    def encode(self, x: Batch) -> Batch:
        """Return the bits: set where ``x >= 0``."""
        return Bits(pack(self._checked(x)), self.spec.channels)

    def decode(self, stored: Batch) -> Batch:
        """Return ±1 as float32."""
        return unpack(self._stored(stored), self.spec.channels, dtype=np.dtype(np.float32))


class _Scaled(LatentCodec):
    """What codecs with a scale per channel share."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.scale = np.zeros(spec.channels, dtype=np.float32)

    @property
    def fitted(self) -> bool:
        """Whether it has scales yet."""
        return bool(self.scale.any())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the scales, float32, one per channel: zeros before `fit`."""
        return {"scale": self.scale}

    def check(self) -> None:
        """Raise ValueError if a scale is negative or not finite."""
        if not np.isfinite(self.scale).all() or (self.scale < 0).any():
            raise ValueError("scales of a codec must be finite and at least 0, got a negative scale, NaN or infinity")

    def _need_scale(self) -> None:
        if not self.fitted:
            raise ValueError(f"the codec {self.name!r} must be fitted before it is used, but fit was not called")


class ScaledSign(_Scaled):
    """The signs of real values, and one scale per channel: they are restored as ``±mean |x|``.

    Notes
    -----
    Among all ``±s`` with the signs of x, ``s = mean |x|`` has the least squared error (arXiv 1603.05279). The means are
    those of the examples passed to `fit`, and do not change later.
    """

    name, dtype = "scaled-sign", "bits"

    def fit(self, x: Batch) -> LatentCodec:
        """Compute the mean magnitude of each channel."""
        super().fit(x)
        values = np.abs(check_batch(x, self.spec)).reshape(-1, self.spec.channels)
        # Row by row, so that the sum does not depend on the processor.
        scale = np.add.reduce(values, axis=0, dtype=np.float64) / len(values)
        if not scale.any():
            raise ValueError("x must hold values other than 0 to fit scales to, got only zeros")
        self.scale[...] = scale
        return self

    def encode(self, x: Batch) -> Batch:
        """Return the bits: set where ``x >= 0``."""
        self._need_scale()
        return Bits(pack(self._checked(x)), self.spec.channels)

    def decode(self, stored: Batch) -> Batch:
        """Return ``±scale`` as float32."""
        self._need_scale()
        signs = unpack(self._stored(stored), self.spec.channels, dtype=np.dtype(np.float32))
        return np.multiply(signs, self.scale, out=signs)


class EightBit(_Scaled):
    """Real values in 8 bits, symmetric.

    Parameters
    ----------
    spec : Spec
    per : {"channel", "tensor"}
        Whether each channel has a scale, or all values share one.

    Notes
    -----
    Codes are ``round(x / scale)``, from -127 to 127, where scale is 1/127 of the largest magnitude that `fit` saw, as
    in `quantize`. Larger values that come later are clipped.
    """

    name, dtype = "8-bit", "int8"

    def __init__(self, spec: Spec, per: Per = "channel"):
        super().__init__(spec)
        check.choice("per", per, ("channel", "tensor"))
        self.per = per

    def fit(self, x: Batch) -> LatentCodec:
        """Compute the scale of each channel, or the one for all values."""
        super().fit(x)
        values = check_batch(x, self.spec)
        axis = values.ndim - 1 if self.per == "channel" else None
        self.scale[...] = np.reshape(quantize(values, 8, axis=axis).scale, -1)
        return self

    def encode(self, x: Batch) -> Batch:
        """Return the codes, int8."""
        self._need_scale()
        values = self._checked(x)
        source, zeros = by_channel(values, values.ndim - 1), np.zeros(self.spec.channels, dtype=np.int64)
        return linear_codes(source, self.scale, zeros, -_LARGEST, _LARGEST, None).reshape(values.shape)

    def decode(self, stored: Batch) -> Batch:
        """Return ``code * scale`` as float32."""
        self._need_scale()
        return self._stored(stored) * self.scale


class Float(LatentCodec):
    """Real values, stored unchanged in float32."""

    name, dtype, lossless, plain = "float", "float32", True, True

    def encode(self, x: Batch) -> Batch:
        """Return the values."""
        return self._checked(x)

    def decode(self, stored: Batch) -> Batch:
        """Return the values."""
        return self._stored(stored)
