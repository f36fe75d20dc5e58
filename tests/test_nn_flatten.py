"""From maps to rows, packed or not."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import bits, bound, gradient, inferred, passes, sums

import bitlearn as bl
from bitlearn.nn import Flatten, Spec


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("n", [1, 3, 63, 64, 65, 128, 130])
def test_packed_maps(n, rng):
    plain = np.where(rng.random((3, 2, 5, n)) < 0.5, 1, -1)
    layer = bound(Flatten(), Spec.bits((2, 5, n)))
    assert layer.output == Spec.bits((10 * n,))
    for policy in ("standard", "int8", "low-memory"):
        bound(layer, layer.spec, policy)
        g = gradient(rng, policy, 3, 10 * n)
        found = passes(layer, bits(plain), g)
        assert found.y.shape == (3, 10 * n) and found.parameters == {}
        np.testing.assert_array_equal(found.y.words, bl.pack(plain.reshape(3, -1)))
        if policy == "standard":
            np.testing.assert_array_equal(found.dx, g.reshape(plain.shape))
        else:
            np.testing.assert_array_equal(found.dx.values, g.values.reshape(plain.shape))
            assert (found.dx.scale, found.dx.values.dtype) == (g.scale, g.values.dtype)
    np.testing.assert_array_equal(inferred(layer, bits(plain)).words, bl.pack(plain.reshape(3, -1)))


@pytest.mark.parametrize("kind", ["codes", "real", "sums", "rows"])
def test_values_that_are_not_packed_are_looked_at_in_another_shape(kind, rng):
    specs = {"codes": Spec.codes((4, 5, 2)), "real": Spec.real((4, 5, 2)), "sums": sums((4, 5, 2), unit=1 / 128)}
    spec = specs.get(kind, Spec.bits((70,)))
    layer = bound(Flatten(), spec)
    assert layer.output == spec.reshaped((spec.size,))
    values = rng.integers(-128, 128, size=(3, *spec.shape))
    x = bits(values) if kind == "rows" else values.astype(spec.dtype)
    found = passes(layer, x)
    expected = x.words if kind == "rows" else x.reshape(3, -1)
    np.testing.assert_array_equal(found.y.words if kind == "rows" else found.y, expected)
    assert found.program.calls == []
