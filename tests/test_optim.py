"""The optimisers against the published formulas in float64, and bit for bit against float32 NumPy."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import optim
from bitlearn.backends import variants
from bitlearn.precision import policy
from bitlearn.quantizers import BinaryGradient, SumsGradient, is_finite, latent_mask

STANDARD, LOW = policy("standard"), policy("low-memory")
SHAPES = {"conv.weight": (4, 3, 3, 5), "linear.weight": (7, 70), "shift": (9,)}


def parameters(rng, dtype=np.float32) -> dict[str, np.ndarray]:
    return {
        name: rng.normal(scale=0.8, size=shape).astype(np.float32 if name == "shift" else dtype)
        for name, shape in SHAPES.items()
    }


FORMS = ["dense", "signs", "int32", "int64"]


def gradients(rng, form: str) -> dict[str, np.ndarray | BinaryGradient | SumsGradient]:
    """Dense gradients, or for the weights their packed signs, or integer sums."""
    found = {}
    for name, shape in SHAPES.items():
        dense = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2)).astype(np.float32)
        if form == "dense" or name == "shift":
            found[name] = dense
        elif form == "signs":
            found[name] = BinaryGradient(bl.pack(dense), shape[-1], int(np.prod(shape[1:])))
        else:
            found[name] = SumsGradient(rng.integers(-(2**31), 2**31, size=shape).astype(form), 1e-9 / 3)
    return found


def real(gradient, weight, attenuated: bool) -> np.ndarray:
    """What a gradient stands for: 0 where |W| > 1 unless it is dense; signs over sqrt(fan_in) where attenuated."""
    if isinstance(gradient, SumsGradient):
        return np.where(np.abs(weight) > 1, 0, gradient.sums * gradient.scale)
    if not isinstance(gradient, BinaryGradient):
        return gradient.astype(np.float64)
    signs = bl.unpack(gradient.words, gradient.n).astype(np.float64)
    signs[np.abs(weight) > 1] = 0
    return signs / math.sqrt(gradient.fan_in) if attenuated else signs


@pytest.mark.parametrize("form", FORMS)
def test_sgd(form, rng):
    ours = parameters(rng)
    theirs = {name: array.astype(np.float64) for name, array in ours.items()}
    velocity = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    rule = optim.sgd(0.05, 0.9)
    state = rule.init(ours, STANDARD, set())
    for step in range(5):
        g = gradients(rng, form)
        for name in SHAPES:
            velocity[name] = 0.9 * velocity[name] + real(g[name], ours[name], attenuated=True)
            theirs[name] -= 0.02 * velocity[name]
        rule.update(ours, g, state, 0.02)
        assert state["step"] == step + 1
        for name in SHAPES:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(state[f"{name}.velocity"], velocity[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_adam(form, rng):
    ours = parameters(rng)
    theirs = {name: array.astype(np.float64) for name, array in ours.items()}
    mean, square = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    rule = optim.adam(epsilon=1e-3)  # large enough to see that it is added to the corrected root
    state = rule.init(ours, STANDARD, set())
    for step in range(1, 6):
        g = gradients(rng, form)
        for name in SHAPES:
            dense = real(g[name], ours[name], attenuated=False)
            mean[name] = 0.9 * mean[name] + 0.1 * dense
            square[name] = 0.999 * square[name] + 0.001 * dense**2
            corrected = mean[name] / (1 - 0.9**step), square[name] / (1 - 0.999**step)
            theirs[name] -= 0.01 * corrected[0] / (np.sqrt(corrected[1]) + 1e-3)
        rule.update(ours, g, state, 0.01)
        assert state["step"] == step
        for name in SHAPES:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", [STANDARD, LOW], ids=lambda each: each.name)
@pytest.mark.parametrize("form", FORMS)
def test_bop_flips_by_its_definition(precision, form, rng):
    weights = {name for name in SHAPES if name != "shift"}
    ours = parameters(rng, precision.latent)
    start = {name: np.where(array >= 0, 1.0, -1.0) for name, array in ours.items()}
    shift = ours["shift"].copy()
    rule = optim.bop(threshold=1e-3, gamma=0.05)
    state = rule.init(ours, precision, weights)
    other = optim.adam()
    other_state = other.init({"shift": shift}, precision, set())
    flips = 0
    for _ in range(30):
        g = gradients(rng, form)
        before = {name: ours[name].astype(np.float64) for name in weights}
        moments = {name: state[f"{name}.flip"].astype(np.float64) for name in weights}
        rule.update(ours, g, state, 0.01)
        other.update({"shift": shift}, {"shift": g["shift"]}, other_state, 0.01)
        for name in weights:
            moment = 0.95 * moments[name] + 0.05 * real(g[name], before[name], attenuated=True)
            rounding = float(np.finfo(precision.moments).eps)
            np.testing.assert_allclose(state[f"{name}.flip"], moment, rtol=max(1e-5, rounding), atol=1e-6)
            # The definition, on the moment as it is stored.
            agrees = before[name] * state[f"{name}.flip"].astype(np.float64) > np.float32(1e-3)
            np.testing.assert_array_equal(ours[name], np.where(agrees, -before[name], before[name]))
            flips += agrees.sum()
    assert flips > 100 and all((ours[name] != start[name]).any() for name in weights)
    np.testing.assert_array_equal(ours["shift"], shift)
    assert state["step"] == 30


def test_bop_flips_above_the_threshold_and_not_at_it():
    weight = {"w": np.array([[1.0, 1.0, -1.0, -1.0]], dtype=np.float32)}
    rule = optim.bop(threshold=0.25, gamma=0.5)
    state = rule.init(weight, STANDARD, {"w"})
    g = np.array([[0.5, 0.5 + 2.0**-20, 1.0, -1.0]], dtype=np.float32)
    rule.update(weight, {"w": g}, state, 0.001)
    assert weight["w"].tolist() == [[1, -1, -1, 1]]


def dense(gradient, weight) -> np.ndarray:
    """A gradient in float32, by NumPy alone."""
    if isinstance(gradient, SumsGradient):
        return (gradient.sums * gradient.scale).astype(np.float32) * (np.abs(weight) <= 1)
    if isinstance(gradient, BinaryGradient):
        return bl.unpack(gradient.words, gradient.n, dtype=np.float32) * (np.abs(weight) <= 1)
    return gradient


def by_numpy(name, rule, parameters, gradients, state, learning_rate, binary) -> None:
    """One step in float32, one operation after the other."""
    f = np.float32
    if name == "bop":
        rest = {key: g for key, g in gradients.items() if key not in binary}
        by_numpy("adam", rule.other, parameters, rest, state, learning_rate, set())
        for key in binary:
            weight, moment, g = parameters[key], state[f"{key}.flip"], gradients[key]
            shrunk = f(1 / math.sqrt(g.fan_in)) if isinstance(g, BinaryGradient) else f(1)
            mean = moment.astype(f) * f(1 - rule.gamma) + dense(g, weight) * (f(rule.gamma) * shrunk)
            moment[...] = mean
            weight[...] = np.where(weight * mean > f(rule.threshold), -weight, weight)
        return
    state["step"] += 1
    step = int(state["step"])
    for key, g in gradients.items():
        weight = parameters[key]
        if name == "sgd":
            velocity = state[f"{key}.velocity"]
            shrunk = f(1 / math.sqrt(g.fan_in)) if isinstance(g, BinaryGradient) else f(1)
            moved = velocity.astype(f) * f(rule.momentum) + dense(g, weight) * shrunk
            velocity[...] = moved
            weight[...] = weight.astype(f) - f(learning_rate) * moved
            continue
        mean, square, values = state[f"{key}.mean"], state[f"{key}.square"], dense(g, weight)
        correction = math.sqrt(1 - rule.beta2**step)
        first = mean.astype(f) * f(rule.beta1) + values * f(1 - rule.beta1)
        second = square.astype(f) * f(rule.beta2) + (values * values) * f(1 - rule.beta2)
        mean[...], square[...] = first, second
        rate = f(learning_rate * correction / (1 - rule.beta1**step))
        weight[...] = weight.astype(f) - rate * first / (np.sqrt(second) + f(rule.epsilon * correction))


WIDE = dataclasses.replace(LOW, name="wide-moments", moments=np.dtype(np.float32))


@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("precision", [STANDARD, LOW, WIDE], ids=lambda each: each.name)
def test_every_variant_gives_the_bits_of_numpy(name, form, precision, rng):
    start, weights = parameters(rng, precision.latent), {key for key in SHAPES if key != "shift"}
    steps = [gradients(rng, form) for _ in range(3)]
    rule = optim.OPTIMIZERS[name]()

    def trained(update, threads=1) -> dict[str, bytes]:
        ours = {key: array.copy() for key, array in start.items()}
        state = rule.init(ours, precision, weights)
        bl.set_num_threads(threads)
        try:
            for g in steps:
                update(ours, g, state)
        finally:
            bl.set_num_threads(1)
        assert {key: array.dtype for key, array in ours.items()} == {key: array.dtype for key, array in start.items()}
        for key in state.keys() - {"step"}:
            assert state[key].dtype == (np.float32 if key.startswith("shift") else precision.moments)
        return {key: array.tobytes() for key, array in (ours | state).items()}

    expected = trained(lambda ours, g, state: by_numpy(name, rule, ours, g, state, 0.01, weights))
    for variant in variants():
        with bl.use_backend(variant):
            for threads in (1, 3):
                assert trained(lambda ours, g, state: rule.update(ours, g, state, 0.01), threads) == expected


@pytest.mark.skipif(not bl.which("adam_update").startswith("cext"), reason="other kernels allocate")
@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("form", FORMS)
def test_an_update_has_no_temporaries(name, form, rng, monkeypatch):
    monkeypatch.setitem(SHAPES, "linear.weight", (300, 1000))
    ours, g = parameters(rng, np.float16), gradients(rng, form)
    rule = optim.OPTIMIZERS[name]()
    state = rule.init(ours, LOW, {"conv.weight", "linear.weight"})
    rule.update(ours, g, state, 0.01)
    tracemalloc.start()
    try:
        rule.update(ours, g, state, 0.01)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**15


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_parameters_of_any_layout_and_type(name, rng):
    g = {"w": rng.normal(size=(6, 10))}
    plain = {"w": rng.normal(size=(6, 10)).astype(np.float32)}
    rule, found = optim.OPTIMIZERS[name](), []
    strided = np.zeros((10, 12), np.float32)
    for weight in (plain["w"].copy(), np.asfortranarray(plain["w"]), strided[:, ::2].T, plain["w"].astype(np.float64)):
        weight[...] = plain["w"]
        ours = {"w": weight}
        state = rule.init(plain, STANDARD, set())
        rule.update(ours, g, state, 0.01)
        found.append((ours["w"].astype(np.float32).tobytes(), *(array.tobytes() for array in state.values())))
    assert found[1:] == found[:-1]
    assert not strided[:, 1::2].any()


@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (np.zeros((7, 1), np.float32), r"must have shape \(7, 70\), got \(7, 1\)"),
        (SumsGradient(np.zeros((70, 7), np.int32), 1.0), r"must have shape \(7, 70\), got \(70, 7\)"),
        (BinaryGradient(np.zeros((7, 1), np.uint64), 70, 70), r"must have shape \(7, 2\), got \(7, 1\)"),
        (BinaryGradient(np.zeros((7, 2), np.uint64), 65, 70), "must hold 70 values a row, got 65"),
        (SumsGradient(np.zeros((7, 70), np.int16), 1.0), "must be int32 or int64, got int16"),
        (BinaryGradient(np.zeros((7, 2), np.int64), 70, 70), "must be uint64, got int64"),
    ],
)
def test_a_wrong_gradient_changes_nothing(name, wrong, sentence, rng):
    ours = parameters(rng)
    rule = optim.OPTIMIZERS[name]()
    state = rule.init(ours, STANDARD, {"conv.weight", "linear.weight"})
    before = {key: array.copy() for key, array in (ours | state).items()}
    with pytest.raises((TypeError, ValueError), match="the gradient of 'linear.weight' " + sentence):
        rule.update(ours, gradients(rng, "dense") | {"linear.weight": wrong}, state, 0.01)
    with pytest.raises(ValueError, match="the gradient of 'shift' must have shape"):
        rule.update(ours, gradients(rng, "dense") | {"shift": np.zeros(8, np.float32)}, state, 0.01)
    for key, array in (ours | state).items():
        np.testing.assert_array_equal(array, before[key])


def test_gradients_that_are_not_finite():
    for form in (np.float32, np.float64):
        for bad in (np.nan, np.inf, -np.inf):
            assert not is_finite(np.array([0, bad, 1], dtype=form))
        assert is_finite(np.array([0, np.finfo(form).max], dtype=form))
    assert is_finite(np.zeros(0, np.float32))
    assert is_finite(BinaryGradient(np.zeros((1, 1), np.uint64), 3, 3))
    for kind in (np.int32, np.int64):
        for sums in ([5, -7], [-(2**31), 0], []):
            largest = max(map(abs, sums), default=0)
            at_most = float(np.finfo(np.float32).max) / max(largest, 1)
            gradient = SumsGradient(np.array(sums, dtype=kind), at_most)
            assert is_finite(gradient)
            with np.errstate(over="ignore"):
                assert np.isfinite(gradient.dense(np.zeros(len(sums), np.float32), slice(None))).all()
            assert is_finite(SumsGradient(gradient.sums, 2 * at_most)) == (largest == 0)
            assert is_finite(SumsGradient(gradient.sums, 1e-3))


def test_dense_sums_are_masked_float32(rng):
    weight = np.array([[0.5, 1.0, -1.0, 1.5, np.nan]], dtype=np.float16)
    dense = SumsGradient(np.array([[3, -3, 1, 7, 9]], dtype=np.int64), 0.1).dense(weight, slice(0, 1))
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(dense, np.array([[0.3, -0.3, 0.1, 0, 0]]).astype(np.float32))
    np.testing.assert_array_equal(latent_mask(weight), [[True, True, True, False, False]])


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_float16_weights_are_rounded_once(name, rng):
    """The update is in float32; only what is stored is float16."""
    low = {"w": rng.normal(size=(5, 70)).astype(np.float16)}
    wide = {"w": low["w"].astype(np.float32)}
    g = {"w": rng.normal(size=(5, 70)).astype(np.float32)}
    for ours, precision in ((low, LOW), (wide, STANDARD)):
        rule = optim.OPTIMIZERS[name]()
        rule.update(ours, g, rule.init(ours, precision, set()), 0.01)
    np.testing.assert_array_equal(low["w"], wide["w"].astype(np.float16))


def test_parameters_without_gradient_stay(rng):
    ours = parameters(rng)
    before = ours["shift"].copy()
    rule = optim.adam()
    state = rule.init(ours, STANDARD, set())
    rule.update(ours, {"linear.weight": np.ones(SHAPES["linear.weight"], dtype=np.float32)}, state, 0.1)
    np.testing.assert_array_equal(ours["shift"], before)
    assert not state["shift.mean"].any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: optim.sgd(0), "learning_rate must be a finite number above 0, got 0"),
        (lambda: optim.sgd(math.nan), "learning_rate must be a finite number above 0, got nan"),
        (lambda: optim.sgd(momentum=1), r"momentum must be in \[0, 1\), got 1"),
        (lambda: optim.adam(beta1=-0.1), r"beta1 must be in \[0, 1\), got -0.1"),
        (lambda: optim.adam(beta2=1.5), r"beta2 must be in \[0, 1\), got 1.5"),
        (lambda: optim.adam(epsilon=0), "epsilon must be a finite number above 0, got 0"),
        (lambda: optim.bop(threshold=-1), "threshold must be at least 0, got -1"),
        (lambda: optim.bop(gamma=0), r"gamma must be in \(0, 1\], got 0"),
        (lambda: optim.bop(learning_rate=math.inf), "learning_rate must be a finite number above 0, got inf"),
    ],
)
def test_wrong_numbers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
