"""The same weights from every variant, at any number of threads: bit for bit where the arithmetic is integer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.precision import Precision

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
@pytest.mark.parametrize("precision", ["int8", "low-memory", *small.APART], ids=named)
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


@pytest.mark.parametrize("each", variants())
def test_standard_losses_are_close(each):
    with bl.use_backend("reference"):
        _, _, losses = small.trained("mlp", "standard", steps=10, batch=16)
    for threads in (1, 3):
        bl.set_num_threads(threads)
        with bl.use_backend(each):
            _, _, found = small.trained("mlp", "standard", steps=10, batch=16)
        np.testing.assert_allclose(found, losses, atol=1e-4)
