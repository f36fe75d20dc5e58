"""Shortcuts: both ways, and the sum of their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from published import check_codes
from recorded import bound, gradient, inferred, passes, real

import bitlearn as bl
from bitlearn.nn import BatchNorm, BinaryLinear, Flatten, Residual, Sequential, Sign, Spec

POLICIES = ["standard", "int8", "low-memory", "int4"]


def block(kind: str, policy: str, rng) -> Residual:
    """Return a block of 70 values with an identity, or with layers on both ways."""
    shortcut = None if kind == "identity" else [Sign("approximate"), BinaryLinear(70), BatchNorm()]
    layer = bound(Residual([Sign(), BinaryLinear(70), BatchNorm()], shortcut), Spec.real((70,)), policy)
    for _, leaf in layer.leaves():
        for name, array in leaf.parameters().items():
            array[...] = rng.normal(scale=0.5 if name == "bias" else 0.8, size=array.shape)
    return layer


def ways(layer: Residual, x, g):
    """Return what each way gives on its own."""
    return [passes(way, x, g) for way in (layer.main, layer.shortcut)]


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("kind", ["identity", "layers"])
@pytest.mark.parametrize("policy", POLICIES)
def test_both_ways_are_added(kind, policy, rng):
    layer, x, g = block(kind, policy, rng), rng.normal(size=(9, 70)).astype(np.float32), gradient(rng, policy, 9, 70)
    found = passes(layer, x, g)
    first, second = ways(layer, x, g)
    np.testing.assert_array_equal(found.y, first.y + second.y)
    expected = real(first.dx) + real(second.dx)
    if policy == "standard":
        np.testing.assert_allclose(found.dx, expected, rtol=1e-6, atol=1e-7)
    else:
        # Codes of two scales are added as the real numbers that they stand for.
        assert first.dx.scale != second.dx.scale
        check_codes(found.dx, expected, g.bits)
    named = {f"main.{name}": each for name, each in first.parameters.items()}
    named |= {f"shortcut.{name}": each for name, each in second.parameters.items()}
    assert found.parameters.keys() == named.keys()
    for name, each in named.items():
        np.testing.assert_array_equal(found.parameters[name].values, each.values, err_msg=name)
    without = passes(layer, x, g, wanted=False)
    assert without.dx is None and without.parameters.keys() == named.keys()


@pytest.mark.parametrize("policy", POLICIES)
def test_in_inference(policy, rng):
    layer, x = block("layers", policy, rng), rng.normal(size=(9, 70)).astype(np.float32)
    arrays = {f"{path}.{key}": array for path, leaf in layer.leaves() for key, array in leaf.inference().items()}
    found = bl.nn.Frozen(layer, arrays).apply(x, batch_size=4)
    expected = []
    for way in (layer.main, layer.shortcut):
        y = x
        for each in way.layers.values():
            y = inferred(each, y)
        expected.append(y)
    np.testing.assert_array_equal(found, expected[0] + expected[1])


@pytest.mark.parametrize("policy", POLICIES)
def test_two_shortcuts_in_a_row_and_one_inside_another(policy, rng):
    """Plain doubling: y = 8 x, so the gradient is 8 times what comes in."""
    inner = Residual(Residual([Flatten()], [Flatten()]), Residual([], []))
    layer = bound(Sequential([inner, Residual([])]), Spec.real((70,)), policy)
    x, g = rng.normal(size=(3, 70)).astype(np.float32), gradient(rng, policy, 3, 70)
    found = passes(layer, x, g)
    np.testing.assert_array_equal(found.y, 8 * x)
    slack = 0 if policy == "standard" else 4 * found.dx.scale
    np.testing.assert_allclose(real(found.dx), 8 * real(g), rtol=1e-5, atol=slack)


def test_ways_that_do_not_fit():
    for main, shortcut in (
        ([Sign(), BinaryLinear(8)], None),
        ([Sign()], [Sign()]),
        ([Sign(), BinaryLinear(4), BatchNorm()], None),
    ):
        with pytest.raises(ValueError, match="both paths of a residual block must give real values of one shape, got "):
            bound(Residual(main, shortcut), Spec.real((8,)))
