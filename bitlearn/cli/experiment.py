"""Shared by the sub-commands that train: choices by name, and loading kernels before memory is measured."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bitlearn import models, optim
from bitlearn.errors import by_name
from bitlearn.nn import Model
from bitlearn.optim import Optimizer
from bitlearn.training import Trainer

#: Settings that make a network of each kind as small as possible, with every kind of layer.
_TINY: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (8, 8)},
    "cnv": {"filters": (8, 8), "dense": (8,)},
    "binarynet": {"filters": (8, 8), "dense": (8,)},
    "resnete18": {"width": 8, "blocks": (1, 1)},
    "birealnet18": {"width": 8, "blocks": (1, 1)},
    # With bits, units never take a step all at once: the kernels are those of a dense network.
    "competing-mlp": {"hidden": (8, 8), "units": 0},
    "competing-cnv": {"filters": (8, 8), "dense": (8,), "units": 0},
    "relu-mlp": {"hidden": (8, 8)},
    "subnetwork-mlp": {"hidden": (8, 8)},
    "subnetwork-cnv": {"filters": (8, 8), "dense": (8,)},
}


def optimizer(name: str) -> Optimizer:
    """Return an optimiser by its name.

    Raises
    ------
    ValueError
        If there is no such optimiser.
    """
    return by_name("optimizer", name, optim.OPTIMIZERS)()


def digest(model: Model) -> str:
    """Return the SHA-256 of the values of all trained arrays and running statistics, in the order of the network."""
    total = hashlib.sha256()
    for array in model.state().values():
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def warm_up(name: str, input_shape: tuple[int, ...], rule: Optimizer, **options: Any) -> None:
    """Make a step with a tiny network of the kind, so that all kernels are loaded and, if necessary, compiled.

    Otherwise the first step would pay for that in time and memory. The network is tiny, so that memory it leaves behind
    does not hide what training needs.

    Raises
    ------
    ValueError
        If there is no such network or precision, or the network does not take inputs of this shape.
    """
    model = models.build(name, input_shape, 2, **_TINY.get(name, {}), **options)
    codes = np.zeros((2, *input_shape), dtype=np.int8)
    Trainer(model, rule).step(codes, np.array([0, 1]), rule.rate(model.precision))
    model.freeze().predict(codes)
