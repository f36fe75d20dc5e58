"""PyTorch's first step against ours under ``standard``: the loss, and the gradient of every parameter."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn import nn
from bitlearn.nn import Model
from bitlearn.nn.frozen import Batch
from bitlearn.training import Trainer

from . import PYTORCH, SEED, optimizer

#: The least number of examples compared: normalised over only a few, gradients of weights vanish except for rounding.
EXAMPLES = 100

#: Biases start at 0, and sums of bits often equal their mean, so a sign would depend on how 0 is rounded. So the
#: comparison uses biases up to this. A real head starts at 0 too, and would pass no gradient on.
_BIAS = 0.1


@dataclass(frozen=True)
class Tolerance:
    """How far a way may be from ours: the loss, and the angle and the length of each parameter's gradient.

    One sign that rounding flips changes thousands of sums by 2, which flips some of their signs in turn; so float32
    agrees to a few percent at worst, and bfloat16, which rounds the sums themselves, in direction only.
    """

    loss: float
    cosine: float
    gradient: float


FLOAT32 = Tolerance(loss=0.01, cosine=0.995, gradient=0.1)
BFLOAT16 = Tolerance(loss=0.1, cosine=0.8, gradient=0.7)


def tolerance(way: str) -> Tolerance:
    """Return the tolerance for a way."""
    return BFLOAT16 if PYTORCH[way]["bfloat16"] else FLOAT32


def disturb(model: Model) -> Model:
    """Give a network biases and a real head that differ from 0, in place, and return it."""
    rng = np.random.default_rng(SEED)
    for key, array in model.parameters().items():
        if key.endswith(".bias"):
            array[...] = rng.uniform(-_BIAS, _BIAS, size=array.shape)
        elif isinstance(model[key.rpartition(".")[0]], nn.Linear):
            array[...] = rng.normal(0, 1 / np.sqrt(array.shape[1]), size=array.shape)
    return model


def first_step(model: Model, codes: Batch, labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss of a network of ours, which does not change, and the gradient of each parameter."""
    gradients: dict[str, np.ndarray] = {}

    def keep(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        gradients[name] = gradient.copy()

    rule = optimizer()
    trainer = Trainer(copy.deepcopy(model), rule, transforms=(keep,))
    loss = trainer.step(codes, labels, rule.rate(model.precision))
    return loss, {name: gradients[name] for name in trainer.parameters}


def differences(
    ours: tuple[float, dict[str, np.ndarray]], theirs: tuple[float, dict[str, np.ndarray]]
) -> dict[str, Any]:
    """Return how far a first step is from ours: see `Tolerance`; the worst parameter counts.

    Raises
    ------
    ValueError
        If the parameters have other names or shapes.
    """
    shapes = [{key: array.shape for key, array in gradients.items()} for _, gradients in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"gradients of the same parameters must be compared, got {shapes[0]} and {shapes[1]}")
    cosines, distances = [], []
    for key, mine in ours[1].items():
        wide, other = mine.astype(np.float64).ravel(), theirs[1][key].astype(np.float64).ravel()
        length = np.linalg.norm(wide)
        cosines.append(wide @ other / (length * np.linalg.norm(other)))
        distances.append(np.linalg.norm(other - wide) / length)
    # NumPy's maximum and minimum, unlike Python's, are NaN if one of the values is.
    loss = abs(theirs[0] - ours[0]) / ours[0]
    return {"loss": loss, "cosine": float(np.min(cosines)), "gradient": float(np.max(distances))}


def agrees(found: dict[str, Any], allowed: Tolerance) -> bool:
    """Return whether the differences are within a tolerance; NaN is not."""
    return bool(
        found["loss"] <= allowed.loss and found["cosine"] >= allowed.cosine and found["gradient"] <= allowed.gradient
    )


def of_pytorch(way: str, model: Model, codes: Batch, labels: np.ndarray) -> dict[str, Any]:
    """Return how far PyTorch's first step in some way is from ours."""
    from . import pytorch

    mine = first_step(disturb(model), codes, labels)
    training = pytorch.Training(way, model, codes, labels)
    loss = training.loss()[1]
    loss.backward()
    return differences(mine, (loss.item(), training.gradients()))
