"""The same weights from every variant, at any number of threads: bit for bit where the arithmetic is integer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import nn
from bitlearn.backends import variants
from bitlearn.precision import Precision
from bitlearn.training import Trainer

STEPS = {"mlp": 4, "binarynet": 2, "cnv": 2}


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


def named(value) -> str | None:
    return value.name if isinstance(value, Precision) else None


@cache
def expected(name: str, precision: str | Precision, head: str, optimizer: str) -> tuple[dict[str, bytes], list[float]]:
    bl.set_num_threads(1)
    with bl.use_backend("reference"):
        model, state, losses = small.trained(name, precision, STEPS[name], head, optimizer)
    return small.everything(model, state), losses


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("each", variants())
@pytest.mark.parametrize("precision", ["int8", "int4", "low-memory", *small.APART], ids=named)
@pytest.mark.parametrize(("name", "head", "optimizer"), [("mlp", "real", "adam"), ("binarynet", "binary", "adam")])
def test_weights_bit_for_bit(name, head, optimizer, precision, each, threads):
    arrays, losses = expected(name, precision, head, optimizer)
    bl.set_num_threads(threads)
    with bl.use_backend(each):
        model, state, found = small.trained(name, precision, STEPS[name], head, optimizer)
    assert found == losses
    assert small.everything(model, state) == arrays


@pytest.mark.parametrize("optimizer", ["sgd", "bop"])
@pytest.mark.parametrize("precision", ["int8", "low-memory"])
@pytest.mark.parametrize("name", ["mlp", "cnv"])
def test_other_optimizers(name, optimizer, precision):
    arrays, losses = expected(name, precision, "binary", optimizer)
    bl.set_num_threads(2)
    model, state, found = small.trained(name, precision, STEPS[name], "binary", optimizer)
    assert found == losses
    assert small.everything(model, state) == arrays


def of_blocks(precision: str) -> tuple[dict[str, bytes], list[float]]:
    """Train a network of residual blocks, each sign with an estimator of its own."""
    block = nn.Residual([nn.Sign("approximate"), nn.BinaryConv2d(9), nn.BatchNorm()])
    narrow = nn.Residual(
        [nn.Sign(), nn.BinaryConv2d(5, stride=2), nn.BatchNorm()],
        [nn.Sign(clip=0.5), nn.BinaryConv2d(5, kernel=(1, 1), stride=2, padding=0), nn.BatchNorm()],
    )
    layers = [nn.BinaryConv2d(9), nn.BatchNorm(), block, narrow, nn.Sign(), nn.Flatten(), nn.Linear(small.CLASSES)]
    trainer = Trainer(nn.Model(layers, (7, 5, 1), precision=precision), bl.optim.adam())
    data = small.examples("mlp", 36)
    losses = [trainer.step(data.codes(rows), data.y[rows], 0.01) for rows in np.arange(36).reshape(3, 12)]
    return small.everything(trainer.model, trainer.state), losses


@cache
def of_blocks_by_the_reference(precision: str) -> tuple[dict[str, bytes], list[float]]:
    bl.set_num_threads(1)
    with bl.use_backend("reference"):
        return of_blocks(precision)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("each", variants())
@pytest.mark.parametrize("precision", ["int8", "int4", "low-memory"])
def test_residual_blocks(precision, each, threads):
    wanted = of_blocks_by_the_reference(precision)
    bl.set_num_threads(threads)
    with bl.use_backend(each):
        assert of_blocks(precision) == wanted


@pytest.mark.parametrize("each", variants())
def test_standard_losses_are_close(each):
    with bl.use_backend("reference"):
        _, _, losses = small.trained("mlp", "standard", steps=10, batch=16)
    for threads in (1, 3):
        bl.set_num_threads(threads)
        with bl.use_backend(each):
            _, _, found = small.trained("mlp", "standard", steps=10, batch=16)
        np.testing.assert_allclose(found, losses, atol=1e-4)
