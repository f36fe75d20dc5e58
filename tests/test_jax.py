"""Packed products for JAX, under jit, vmap and grad, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl

jax = pytest.importorskip("jax", reason="jax is not installed: pip install bitlearn-xnor[jax]")
from bitlearn import jax as bj  # noqa: E402
from bitlearn.jax import host  # noqa: E402

jnp = jax.numpy


def real(rng, *shape):
    return (2 * rng.standard_normal(shape)).astype(np.float32)


def signs(x):
    return np.where(x >= 0, 1, -1)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
def test_packed_products(n, rng):
    x, y = real(rng, 5, n), real(rng, 7, n)
    np.testing.assert_array_equal(np.asarray(bj.pack(x)), bl.to_packing(bl.pack(x), n, "uint32"))
    found = jax.jit(lambda x, y: bj.xnor_matmul(bj.pack(x), bj.pack(y), n))(x, y)
    np.testing.assert_array_equal(np.asarray(found), (signs(x) @ signs(y).T).astype(np.int32), strict=True)


def test_under_vmap(rng):
    x, y = real(rng, 3, 5, 70), real(rng, 7, 70)
    product = jax.jit(jax.vmap(lambda x, y: bj.xnor_matmul(bj.pack(x), bj.pack(y), 70), (0, None)))
    np.testing.assert_array_equal(np.asarray(product(x, y)), signs(x) @ signs(y).T)


@pytest.mark.parametrize("bits", [32, 8])
def test_gradients(bits, rng):
    x, w, d = real(rng, 5, 70), real(rng, 7, 70), real(rng, 5, 7)
    value = jax.jit(jax.value_and_grad(lambda x, w: (bj.binary_matmul(x, w, bits=bits) * d).sum(), (0, 1)))
    _, (dx, dw) = value(x, w)
    codes = d.astype(np.float64) if bits == 32 else bl.quantize(d, bits).dequantize().astype(np.float64)
    np.testing.assert_allclose(dx, codes @ signs(w) * (np.abs(x) <= 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dw, codes.T @ signs(x) * (np.abs(w) <= 1), rtol=1e-5, atol=1e-5)
    each = jax.vmap(jax.grad(lambda x: bj.binary_matmul(x[None], w, bits=32).sum()))(jnp.asarray(x))
    np.testing.assert_array_equal(np.asarray(each), signs(w).sum(0) * (np.abs(x) <= 1))


@pytest.fixture(params=["by the FFI", "by callbacks"])
def both_ways(request, monkeypatch):
    """Every test runs in the way that is taken here, and these in the other one too."""
    if request.param == "by callbacks":
        monkeypatch.setattr(host, "by_ffi", lambda: False)
    else:
        assert host.by_ffi()
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("shape", [(0, 3, 70), (4, 0, 70), (3, 5, 1), (2, 3, 130)])
def test_both_ways_to_call(shape, rng):
    m, k, n = shape
    x, w, d = real(rng, m, n), real(rng, k, n), real(rng, m, k)
    found = jax.jit(lambda x, y: bj.xnor_matmul(bj.pack(x), bj.pack(y), n))(x, w)
    np.testing.assert_array_equal(np.asarray(found), (signs(x) @ signs(w).T).astype(np.int32), strict=True)
    _, back = jax.vjp(lambda x, w: bj.binary_matmul(x, w, bits=32), x, w)
    for ours, theirs in zip(back(d), (d @ signs(w) * (np.abs(x) <= 1), d.T @ signs(x) * (np.abs(w) <= 1)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_an_error_inside_says_what_it_was():
    with pytest.raises(Exception, match="FloatingPointError: no such thing"):
        host.call(_fails, ("fails",), (jax.ShapeDtypeStruct((1,), np.float32),), np.ones(1, np.float32))


def _fails(x):
    raise FloatingPointError("no such thing")


def test_gradients_that_are_not_finite():
    with pytest.raises(Exception, match=r"g must be finite"):
        jax.block_until_ready(jax.grad(lambda x: (bj.binary_matmul(x, x) * np.nan).sum())(jnp.ones((2, 3))))


def test_what_is_refused(rng):
    x = real(rng, 5, 70)
    with pytest.raises(
        TypeError, match=r"^a must be words viewed as uint32, got uint64; without its 64-bit mode JAX cuts"
    ):
        bj.xnor_matmul(bl.pack(x), bj.pack(x), 70)
    with pytest.raises(ValueError, match=r"^b must have shape \(rows, 4\) to hold n=70 values, got \(5, 2\)$"):
        bj.xnor_matmul(bj.pack(x), bj.pack(x[:, :5]), 70)
    with pytest.raises(TypeError, match=r"^x must be float32, got .*int32"):
        bj.pack(np.ones(3, np.int32))
    with pytest.raises(
        ValueError, match=r"^x and w must have shapes \(M, n\) and \(N, n\), got \(5, 70\) and \(5, 69\)$"
    ):
        bj.binary_matmul(x, x[:, 1:])
    with pytest.raises(ValueError, match=r"^bits must be from 2 to 16, or 32, got 1$"):
        bj.binary_matmul(x, x, bits=1)
