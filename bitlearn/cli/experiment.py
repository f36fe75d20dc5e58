"""What the sub-commands that train share: choices by name, and what must be loaded before memory is measured."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bitlearn import models, optim
from bitlearn.nn import Sequential
from bitlearn.optim import Optimizer
from bitlearn.training import train_step

#: Settings that make a network of each kind as small as it can be, with every kind of layer.
_TINY: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (8, 8)},
    "cnv": {"filters": (8, 8), "dense": (8,)},
    "binarynet": {"filters": (8, 8), "dense": (8,)},
}


def image_size(model: str) -> int | None:
    """Return the side to which images are padded for a network, None where it takes any."""
    return models.IMAGE_SIZE if model in ("cnv", "binarynet") else None


def optimizer(name: str) -> Optimizer:
    """Return an optimiser by its name.

    Raises
    ------
    ValueError
        Where there is none.
    """
    if name not in optim.OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(optim.OPTIMIZERS)}, got {name!r}")
    return optim.OPTIMIZERS[name]()


def digest(model: Sequential) -> str:
    """Return the SHA-256 of all parameters and running statistics: equal weights have equal digests."""
    total = hashlib.sha256()
    for name, array in sorted((model.parameters() | model.statistics()).items()):
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def warm_up(name: str, input_shape: tuple[int, ...], rule: Optimizer, **options: Any) -> None:
    """Make a step with a tiny network of the kind, so that all kernels are loaded, and compiled where they must be.

    Else the first step would pay for that, in time and in memory. The network is tiny, so that what it leaves behind
    does not hide what training needs.

    Raises
    ------
    ValueError
        Where there is no such network or precision, or the network does not take inputs of this shape.
    """
    model = models.build(name, input_shape, 2, **_TINY.get(name, {}), **options)
    state = rule.init(model.parameters(), model.precision, model.binary_parameters())
    codes = np.zeros((2, *input_shape), dtype=np.int8)
    train_step(model, rule, state, codes, np.array([0, 1]), rule.learning_rate)
    model.predict(codes)
    model.freeze().predict(codes)
