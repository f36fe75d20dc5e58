"""Sums of products, bases and null spaces against plain NumPy, and the published rule on singular values."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import bound
from scipy.stats import norm

import bitlearn as bl
from bitlearn.continual.bases import Basis
from bitlearn.continual.grams import input_grams, weighted
from bitlearn.continual.subspaces import energy_directions, null_space, spectrum
from bitlearn.nn import BinaryConv2d, BinaryLinear, Conv2d, Linear, Spec


def signs(rng, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.4, -1, 1).astype(np.int8)


def windows(x: np.ndarray, layer, pad: int) -> np.ndarray:
    """The rows that a convolution multiplies its kernels with, one after the other."""
    (top, left), (down, right), (high, wide) = layer.windows.padding, layer.windows.stride, layer.kernel
    padded = np.pad(x.astype(np.float64), ((0, 0), (top, 9), (left, 9), (0, 0)), constant_values=pad)
    rows, columns = layer.windows.out_size
    places = [(image, r * down, c * right) for image in range(len(x)) for r in range(rows) for c in range(columns)]
    return np.stack([padded[image, r : r + high, c : c + wide].ravel() for image, r, c in places])


@pytest.mark.parametrize("n", [1, 63, 64, 65, 129])
def test_sums_of_products_of_bits_and_codes_are_exact(rng, n):
    x, codes = signs(rng, 37, n), rng.integers(-128, 128, (37, n), dtype=np.int8)
    wide, of_codes = x.astype(np.int64), codes.astype(np.int64)
    for layer in (BinaryLinear(3), Linear(3)):
        assert (bound(layer, Spec.bits((n,))).gram(bl.pack(x)) == wide.T @ wide).all()
    for layer in (BinaryLinear(3), Linear(3, drawn=True)):
        assert (bound(layer, Spec.codes((n,))).gram(codes) == of_codes.T @ of_codes).all()
    values = rng.normal(size=(37, n)).astype(np.float32)
    np.testing.assert_allclose(
        bound(Linear(3), Spec.real((n,))).gram(values), values.T.astype(float) @ values, atol=1e-4
    )


@pytest.mark.parametrize("pad", [0, 1, -1])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((3, 3), 1, "same"), ((3, 3), 2, "same"), ((1, 1), 1, 0), ((2, 3), (2, 1), (1, 0)), ((1, 1), 2, 0)],
)
@pytest.mark.parametrize("channels", [3, 64, 65])
def test_sums_of_products_of_windows(rng, kernel, stride, padding, pad, channels):
    x = signs(rng, 3, 5, 6, channels)
    layer = bound(
        BinaryConv2d(2, kernel=kernel, stride=stride, padding=padding, pad_value=pad), Spec.bits((5, 6, channels))
    )
    seen = windows(x, layer, pad)
    assert (layer.gram(bl.pack(x)) == seen.T @ seen).all()


def test_sums_of_products_of_windows_of_codes(rng):
    x = rng.integers(-128, 128, (3, 5, 6, 3), dtype=np.int8)
    for layer in (BinaryConv2d(2, stride=2), Conv2d(2, stride=2)):
        seen = windows(x, bound(layer, Spec.codes((5, 6, 3))), 0)
        assert (layer.gram(x) == seen.T @ seen).all()


def test_what_flows_into_each_layer_is_seen(rng):
    layers = [bl.nn.Conv2d(4), bl.nn.BatchNorm(), bl.nn.Residual([bl.nn.Sign(), BinaryConv2d(4), bl.nn.BatchNorm()])]
    model = bl.nn.Model([*layers, bl.nn.AveragePool2d(), Linear(3)], (6, 6, 2))
    x = rng.integers(-128, 128, (7, 6, 6, 2), dtype=np.int8)
    sizes = weighted(model)
    assert sizes == {"conv1": 18, "residual1.main.conv1": 36, "head1": 4}
    found = input_grams(model, lambda index: x[index], np.arange(7), sizes)
    inside = model.split("norm1")[0].apply(x)
    seen = windows(np.where(inside >= 0, 1, -1), model["residual1.main.conv1"], 0)
    assert (found["residual1.main.conv1"] == seen.T @ seen).all()
    last = model.split("average1")[0].apply(x).astype(np.float64)
    np.testing.assert_allclose(found["head1"], last.T @ last, rtol=1e-5)
    assert not np.shares_memory(found["conv1"], found["head1"])


# --- which directions ------------------------------------------------------------------------------------------------


def published(r: np.ndarray, m: np.ndarray, energy: float) -> int:
    """How many columns join by the paper's formula, from singular values."""
    rest = r - m @ (m.T @ r)
    values = np.linalg.svd(rest, compute_uv=False) ** 2
    total, covered = (r**2).sum(), (r**2).sum() - (rest**2).sum()
    held = covered + np.concatenate([[0], np.cumsum(values)])
    return int(np.argmax(held >= energy * total - 1e-9 * total))


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.97, 0.999])
def test_directions_are_those_of_the_singular_values(rng, energy):
    m = np.zeros((30, 0))
    for _ in range(4):
        r = rng.normal(size=(30, 50)) * np.exp(-np.arange(30) / 4)[:, None]
        r = np.linalg.qr(rng.normal(size=(30, 30)))[0] @ r
        found = energy_directions(r @ r.T, energy, m)
        assert found.shape[1] == published(r, m, energy)
        m = np.concatenate([m, found], axis=1)
        np.testing.assert_allclose(m.T @ m, np.eye(m.shape[1]), atol=1e-10)
        assert ((m.T @ r) ** 2).sum() >= energy * (r**2).sum() * (1 - 1e-9)


def test_all_of_the_energy_is_the_rank_and_nothing_gives_nothing(rng):
    r = rng.normal(size=(20, 7))
    assert energy_directions(r @ r.T, 1.0).shape == (20, 7)
    assert energy_directions(np.zeros((20, 20)), 1.0).shape == (20, 0)
    assert energy_directions(r @ r.T, 1.0, most=3).shape == (20, 3)
    assert energy_directions(np.zeros((0, 0)), 0.5).shape == (0, 0)
    with pytest.raises(ValueError, match=r"energy must be in \(0, 1\], got 0"):
        energy_directions(r @ r.T, 0.0)


def test_the_null_space_is_that_of_the_eigenvalues(rng):
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    gram = q @ np.diag([1.0, 4.0, 6.0, 10.0, 50.0, 1000.0]) @ q.T
    for ratio, kept in ((1, 1), (5, 2), (10.5, 4), (1e9, 6)):
        found = null_space(gram, ratio)
        assert found.shape == (6, kept)
        np.testing.assert_allclose(found @ found.T, q[:, :kept] @ q[:, :kept].T, atol=1e-9)


def test_dead_channels_are_free_and_do_not_hide_the_others(rng):
    x = rng.normal(size=(200, 8))
    x[:, [2, 5]] = 0
    gram = x.T @ x
    found = null_space(gram, 5, 0.0)
    assert found.shape == (8, 2) and np.abs(found[[0, 1, 3, 4, 6, 7]]).max() < 1e-9
    assert null_space(gram, 1e6).shape[1] == 8 and null_space(gram, 5).shape == (8, 2)
    assert null_space(np.zeros((4, 4))).shape == (4, 4)  # nothing was there: all is free
    assert null_space(np.zeros((0, 0))).shape == (0, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ratio": 0.5}, "ratio must be at least 1"),
        ({"ratio": np.nan}, "ratio must be at least 1"),
        ({"floor": 1.0}, r"floor must be in \[0, 1\)"),
        ({"gram": np.ones((2, 3))}, "must be a square matrix"),
        ({"gram": np.full((2, 2), np.nan)}, "must be finite"),
    ],
)
def test_what_has_no_null_space_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        null_space(**({"gram": np.eye(2)} | change))


def test_round_off_below_zero_is_zero():
    x = np.outer([1.0, 1e8, 3.0], [1.0, 1e8, 3.0])
    values, vectors = spectrum(x)
    assert values.min() >= 0 and np.allclose(vectors.T @ vectors, np.eye(3))


# --- bases of a few bits ---------------------------------------------------------------------------------------------


def asymmetric(u: np.ndarray, bits: int) -> np.ndarray:
    scale = np.float32((max(u.max(), 0) - min(u.min(), 0)) / (2**bits - 1))
    zero = np.rint(-min(u.min(), 0) / scale)
    return (np.clip(np.rint(u / scale) + zero, 0, 2**bits - 1) - zero) * scale


def normal(u: np.ndarray, bits: int) -> np.ndarray:
    side, order = int(0.01 * len(u)), np.argsort(u, kind="stable")
    inside = order[side : len(u) - side]
    levels = norm.ppf((np.arange(2**bits) + 0.5) / 2**bits)
    levels /= levels.max()
    mean = u[inside].mean()
    scale, found = np.abs(u[inside] - mean).max(), u.copy()
    nearest = np.abs((u[inside] - mean)[:, None] / scale - levels).argmin(axis=1)
    found[inside] = levels[nearest] * scale + mean
    return found


@pytest.mark.parametrize("n", [2, 7, 100, 255])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("name", "rule"), [("asymmetric", asymmetric), ("normal", normal)])
def test_columns_are_quantized_as_published(rng, n, bits, name, rule):
    u = np.linalg.qr(rng.normal(size=(n, n)))[0][:, : max(1, n // 3)]
    basis = Basis(n, bits=bits, quantizer=name)
    basis.append(u[:, :1])
    basis.append(u[:, 1:])
    wanted = np.stack([rule(column, bits) for column in u.T], axis=1)
    np.testing.assert_allclose(basis.columns, wanted, atol=2e-6)
    cosine = (wanted * u).sum(0) / np.linalg.norm(wanted, axis=0) / np.linalg.norm(u, axis=0)
    trust = 1 - np.clip(10 * (1 - cosine), 0, 1)
    x = rng.normal(size=(5, n)).astype(np.float32)
    left = x.copy()
    basis.remove(left)
    np.testing.assert_allclose(left, x - (x @ wanted) * trust @ wanted.T, atol=0.01)
    assert basis.nbytes == Basis.size(n, u.shape[1], bits, name)


def test_nibbles_take_half_a_byte_each():
    assert Basis.size(785, 3, 4) == 3 * (393 + 4 + 1 + 1)
    assert Basis.size(785, 3, 8) == 3 * (785 + 4 + 1 + 1)
    assert Basis.size(785, 3) == 3 * 785 * 4
    assert Basis.size(785, 3, 4, "normal") == 3 * (393 + 4 + 1 + 4 + 14 * 8)


def test_a_basis_of_32_bits_takes_its_part_away_exactly(rng):
    u = np.linalg.qr(rng.normal(size=(40, 12)))[0]
    basis = Basis(40)
    basis.append(u)
    inside = (rng.normal(size=(3, 12)) @ u.T).astype(np.float32)
    basis.remove(inside)
    assert np.abs(inside).max() < 1e-5


@pytest.mark.parametrize("rank", [19, 20, 21, 22, 39, 40])
def test_what_a_large_basis_leaves_is_the_same(rng, rank):
    """Past half of all directions it is made from the others; more columns make it anew."""
    u, x = np.linalg.qr(rng.normal(size=(40, 40)))[0], rng.normal(size=(7, 40)).astype(np.float32)
    basis = Basis(40)
    for some in (u[:, : rank - 1], u[:, rank - 1 : rank]):
        basis.append(some)
        found, held = x.copy(), u[:, : basis.rank]
        basis.remove(found)
        np.testing.assert_allclose(found, x - x @ held @ held.T, atol=2e-5)


@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize("name", ["asymmetric", "normal"])
def test_a_basis_goes_on_from_what_it_stored(rng, bits, name):
    u = np.linalg.qr(rng.normal(size=(70, 9)))[0]
    basis, again = (Basis(70, bits=bits, quantizer=name) for _ in range(2))
    basis.append(u)
    again.restore(basis.stored)
    assert (again.columns == basis.columns).all() and again.rank == 9
    for broken in ({}, {**basis.stored, "more": np.zeros(9)}, {**basis.stored, "codes": basis.stored["codes"][:, :-1]}):
        with pytest.raises(ValueError, match="a basis must hold columns of 70 values"):
            again.restore(broken)
    floats = next(key for key, array in basis.stored.items() if array.dtype.kind == "f")
    with pytest.raises(ValueError, match=f"{floats} of a basis must be at most 2"):
        again.restore({**basis.stored, floats: np.full_like(basis.stored[floats], np.nan)})
    assert (again.columns == basis.columns).all()


def test_places_past_the_end_are_refused(rng):
    basis = Basis(100, bits=8, quantizer="normal")
    basis.append(np.linalg.qr(rng.normal(size=(100, 2)))[0])
    with pytest.raises(ValueError, match="place of a basis must be below 100, got 100"):
        basis.restore({**basis.stored, "place": np.full_like(basis.stored["place"], 100)})


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (np.eye(5)[:, :4], "at most 3 columns"),
        (np.eye(4), "columns must have 5 rows"),
        (np.full((5, 1), np.inf), "columns must be finite"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, sentence):
    basis = Basis(5)
    basis.append(np.eye(5)[:, :2])
    with pytest.raises(ValueError, match=sentence):
        basis.append(columns)
    assert basis.rank == 2


def test_a_basis_of_other_bits_is_refused():
    with pytest.raises(ValueError, match="bits must be 32, 8 or 4, got 5"):
        Basis(5, bits=5)
    with pytest.raises(ValueError, match="quantizer must be 'asymmetric' or 'normal', got 'best'"):
        Basis(5, quantizer="best")
