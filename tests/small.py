"""Small networks and data on which several tests train."""

from __future__ import annotations

import numpy as np

import bitlearn as bl
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.nn.losses import Loss
from bitlearn.precision import Precision, Quantization
from bitlearn.training import Trainer

POLICIES = ("standard", "int8", "low-memory")
#: All that are built in and give the same bits everywhere.
INTEGER = tuple(name for name, each in bl.precision.POLICIES.items() if each.integer)
#: Both products apart: narrower than the gradient between the layers, each with a scale and a rounding of its own.
APART = (
    Precision("apart", Quantization(4, "row", "stochastic"), Quantization(3, "channel", "stochastic")),
    Precision("one", Quantization(16), Quantization(4, "channel"), norm="l1", latent=np.dtype(np.float16)),
    Precision("other", Quantization(5, "row"), Quantization(16), norm="l1", sign_weight_gradient=True),
)
MODELS = {
    "mlp": ((7, 5, 1), {"hidden": (65, 33)}),
    "cnv": ((32, 32, 3), {"filters": (5, 9, 6, 4), "dense": (17,)}),
    "binarynet": ((32, 32, 3), {"filters": (5, 9, 6, 4), "dense": (17,)}),
}
CLASSES = 4


def model(name: str, precision: str | Precision, head: str = "binary", seed: int = 3) -> bl.nn.Model:
    shape, options = MODELS[name]
    return bl.models.build(name, shape, CLASSES, precision=precision, head=head, seed=seed, **options)


def examples(name: str, count: int, seed: int = 11) -> Examples:
    """Images whose brightness, place by place, tells the class, under noise."""
    rng = np.random.default_rng(seed)
    shape = MODELS[name][0]
    y = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(5).integers(60, 196, size=(CLASSES, *shape))
    x = np.clip(centres[y] + rng.normal(scale=50, size=(count, *shape)), 0, 255).astype(np.uint8)
    return Examples(x, y, prepare(x))


def trained(
    name: str, precision: str | Precision, steps: int, head: str = "binary", optimizer: str = "adam", batch: int = 8
) -> tuple[bl.nn.Model, dict[str, np.ndarray], list[float]]:
    """Return a network after some steps, the optimiser's state and the losses."""
    trainer = Trainer(model(name, precision, head), bl.optim.OPTIMIZERS[optimizer]())
    data = examples(name, batch * steps)
    codes = data.codes()
    losses = [trainer.step(codes[i : i + batch], data.y[i : i + batch], 0.01) for i in range(0, batch * steps, batch)]
    return trainer.model, trainer.state, losses


def everything(network: bl.nn.Model, state: dict[str, np.ndarray] | None = None) -> dict[str, bytes]:
    """Return the bytes of all that training changes."""
    arrays = network.state() | (state or {})
    return {name: array.tobytes() for name, array in arrays.items()}


class Squares(Loss):
    """Half the squared distance to ±1 targets, written in NumPy alone."""

    def record(self, step, scores, labels):
        grad = step.empty("dX", scores.array.shape, np.float32)
        terms = step.output("loss", (step.batch,), np.float64)

        def gradient(scores, labels, grad, terms):
            distance = scores - (2 * np.eye(scores.shape[1])[labels] - 1)
            grad[...] = distance / len(scores)
            terms[...] = (distance**2).sum(axis=1) / 2

        step.run(gradient, scores.array, labels, grad, terms)
        return grad, terms

    def value(self, program, terms):
        return float(program[terms].mean())
