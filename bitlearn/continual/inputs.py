"""A learner's examples, converted to what a network takes and checked against earlier ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.datasets.preparation import Preparation
from bitlearn.datasets.scaling import Scaling, pad_images
from bitlearn.nn.frozen import Batch

#: The types that need no preparation.
_NAMES = {np.dtype(kind): name for name, kind in (("bool", np.bool_), ("uint8", np.uint8), ("int8", np.int8))}
#: A type, or "bits", and the shape of one example.
Form = tuple[str, tuple[int, ...]]


class Inputs:
    """From raw examples to codes or bits.

    Parameters
    ----------
    preparation : Preparation, optional
        How they become codes; not needed for uint8, int8, bool and packed bits.

    Attributes
    ----------
    form : (str, tuple of int) or None
        The form of the first examples: a type, or "bits", and the shape of one. Later ones must have the same.
    shape : tuple of int or None
        The shape that a network takes, if it differs from that of raw examples: images get a channel and are padded.
    """

    def __init__(self, preparation: Preparation | None = None):
        self.preparation = preparation
        self.form: Form | None = None
        self.shape: tuple[int, ...] | None = None

    def read(self, x: Any) -> tuple[Any, Form]:
        """Return examples as an array or bits, and their form; nothing is remembered.

        Raises
        ------
        TypeError, ValueError
            If their type or shape differs from that of earlier ones, or the type needs a preparation.
        """
        if not isinstance(x, Bits):
            x = np.asarray(x)
        if len(x.shape) < 2 or 0 in x.shape[1:]:
            raise ValueError(
                f"x must have shape (count, ...) with at least one value per example, got shape {tuple(x.shape)}"
            )
        kind = "bits" if isinstance(x, Bits) else _NAMES.get(x.dtype) or x.dtype.name
        if kind not in ("bits", "bool", "uint8", "int8") and self.preparation is None:
            raise TypeError(
                f"x must be uint8, int8, bool or Bits, or come with preparation=bitlearn.datasets.prepare(examples), "
                f"got {x.dtype}"
            )
        if self.preparation is not None and self.preparation.scaling.shape is not None:
            kind = "features" if kind != "bits" else kind
        form = kind, tuple(x.shape[1:])
        if self.form not in (None, form):
            wanted, got = self.form, form
            assert wanted is not None
            raise ValueError(f"x must hold {wanted[0]} of shape {wanted[1]} per example, got {got[0]} of {got[1]}")
        return x, form

    def codes(self, x: Any) -> Batch:
        """Return the codes of examples returned by `read`: int8, or bits."""
        if isinstance(x, Bits):
            return x
        if self.preparation is not None:
            return self.preparation.codes(x)
        if x.dtype == bool:
            x = x.astype(np.uint8) * np.uint8(255)
        if self.shape is not None and len(self.shape) == 3 and x.shape[1:] != self.shape:
            x = x[..., None] if x.ndim == 3 else x
            if x.dtype == np.uint8:
                x = pad_images(x, *self.shape[:2])
        return x if x.dtype == np.int8 else Scaling().codes(x)

    def fits(self, form: Form, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape to which examples are padded for a network; None if it takes them unchanged.

        Raises
        ------
        ValueError
            If it takes examples of another shape.
        """
        kind, shape = form
        if shape == wanted or self.preparation is not None:
            return None
        image = (*shape, 1) if len(shape) == 2 else shape
        if len(image) == len(wanted) == 3 and image[2] == wanted[2]:
            smaller = kind in ("uint8", "bool") and image[0] <= wanted[0] and image[1] <= wanted[1]
            if smaller or image == wanted:
                return wanted
        raise ValueError(f"x must have the shape {wanted} per example for this network, got {shape}")
