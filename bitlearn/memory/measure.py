"""The measured memory of a training step: the highest resident memory of the process."""

from __future__ import annotations

import copy
import math

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.memory.meter import PeakMeter
from bitlearn.nn import Model
from bitlearn.nn.frozen import Batch
from bitlearn.nn.savings import Savings
from bitlearn.ops.packing import pack
from bitlearn.optim import Optimizer
from bitlearn.rng import Key
from bitlearn.training.step import Trainer


def random_batch(model: Model, batch_size: int) -> tuple[Batch, np.ndarray]:
    """Return seeded random inputs of the network, and labels."""
    spec = model.root.spec
    shape = (batch_size, *spec.shape)
    words = Key(0, stream=streams.RANDOM_CODES).words(math.prod(shape))
    codes = (words >> np.uint32(24)).astype(np.uint8).view(np.int8).reshape(shape)
    labels = Key(0, stream=streams.RANDOM_LABELS).integers(batch_size, math.prod(model.output_shape))
    if spec.kind == "bits":
        return Bits(pack(codes), shape[-1]), labels
    return codes.astype(spec.dtype, copy=False), labels


def peak(
    model: Model,
    optimizer: Optimizer,
    batch_size: int,
    steps: int = 3,
    savings: Savings = Savings(),  # noqa: B008 - it never changes
) -> PeakMeter:
    """Measure how far the highest resident memory of training steps, on random data, exceeds the level before them.

    Parameters
    ----------
    model : Model
        Not changed. The steps are made with a copy, which is counted, as are the optimiser's state and the batch.
    optimizer : Optimizer
    batch_size : int
        At least 2.
    steps : int
        At least 1.
    savings : Savings
        How the steps are recorded, as chosen by `bitlearn.training.plan`.

    Returns
    -------
    PeakMeter
        Its ``peak_bytes`` and ``how``.

    Raises
    ------
    ValueError
        If `steps` is below 1.

    Notes
    -----
    One step is made before the measurement, so that loading kernels is not counted. Memory that the allocator and a
    BLAS keep for themselves is.

    Examples
    --------
    >>> import bitlearn as bl
    >>> peak(bl.models.mlp((4,), 2, hidden=(8,)), bl.optim.sgd(), 8).peak_bytes >= 0
    True
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    # Drawing random words takes many times the memory of the codes, so they are drawn before the block and copied in
    # it.
    batch = random_batch(model, batch_size)
    _train(copy.deepcopy(model), optimizer, batch, 1, savings)
    meter = PeakMeter()
    with meter:
        _train(copy.deepcopy(model), optimizer, copy.deepcopy(batch), steps, savings)
    return meter


def _train(model: Model, optimizer: Optimizer, batch: tuple[Batch, np.ndarray], steps: int, savings: Savings) -> None:
    trainer = Trainer(model, optimizer, savings=savings)
    for _ in range(steps):
        trainer.step(*batch, optimizer.rate(model.precision))
