"""The optimisers against the published formulas in float64, block by block and in float16."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import optim
from bitlearn.precision import policy
from bitlearn.quantizers import BinaryGradient

STANDARD, LOW = policy("standard"), policy("low-memory")
SHAPES = {"conv.weight": (4, 3, 3, 5), "linear.weight": (7, 70), "shift": (9,)}


def parameters(rng, dtype=np.float32) -> dict[str, np.ndarray]:
    return {
        name: rng.normal(scale=0.8, size=shape).astype(np.float32 if name == "shift" else dtype)
        for name, shape in SHAPES.items()
    }


def gradients(rng, binary: bool) -> dict[str, np.ndarray | BinaryGradient]:
    """Dense gradients, or for the weights their packed signs."""
    found = {}
    for name, shape in SHAPES.items():
        dense = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2)).astype(np.float32)
        if binary and name != "shift":
            found[name] = BinaryGradient(bl.pack(dense), shape[-1], int(np.prod(shape[1:])))
        else:
            found[name] = dense
    return found


def real(gradient, weight, attenuated: bool) -> np.ndarray:
    """What a gradient stands for: a binary one is its signs where |W| <= 1, over sqrt(fan_in) where attenuated."""
    if not isinstance(gradient, BinaryGradient):
        return gradient.astype(np.float64)
    signs = bl.unpack(gradient.words, gradient.n).astype(np.float64)
    signs[np.abs(weight) > 1] = 0
    return signs / math.sqrt(gradient.fan_in) if attenuated else signs


@pytest.mark.parametrize("binary", [False, True])
def test_sgd(binary, rng):
    ours = parameters(rng)
    theirs = {name: array.astype(np.float64) for name, array in ours.items()}
    velocity = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    rule = optim.sgd(0.05, 0.9)
    state = rule.init(ours, STANDARD, set())
    for step in range(5):
        g = gradients(rng, binary)
        for name in SHAPES:
            velocity[name] = 0.9 * velocity[name] + real(g[name], ours[name], attenuated=True)
            theirs[name] -= 0.02 * velocity[name]
        rule.update(ours, g, state, 0.02)
        assert state["step"] == step + 1
        for name in SHAPES:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(state[f"{name}.velocity"], velocity[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
def test_adam(binary, rng):
    ours = parameters(rng)
    theirs = {name: array.astype(np.float64) for name, array in ours.items()}
    mean, square = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    rule = optim.adam(epsilon=1e-3)  # large enough to see that it is added to the corrected root
    state = rule.init(ours, STANDARD, set())
    for step in range(1, 6):
        g = gradients(rng, binary)
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
@pytest.mark.parametrize("binary", [False, True])
def test_bop_flips_by_its_definition(precision, binary, rng):
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
        g = gradients(rng, binary)
        before = {name: ours[name].astype(np.float64) for name in weights}
        moments = {name: state[f"{name}.flip"].astype(np.float64) for name in weights}
        rule.update(ours, g, state, 0.01)
        other.update({"shift": shift}, {"shift": g["shift"]}, other_state, 0.01)
        for name in weights:
            moment = 0.95 * moments[name] + 0.05 * real(g[name], before[name], attenuated=True)
            np.testing.assert_allclose(state[f"{name}.flip"], moment, rtol=1e-5, atol=1e-6)
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


@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("precision", [STANDARD, LOW], ids=lambda each: each.name)
def test_blocks_give_the_same_bits_as_one(name, binary, precision, rng, monkeypatch):
    start = parameters(rng, precision.latent)
    steps = [gradients(rng, binary) for _ in range(3)]
    results = []
    for values in (2**14, 1, 150):
        monkeypatch.setattr(optim, "_BLOCK_VALUES", values)
        ours = {key: array.copy() for key, array in start.items()}
        rule = optim.OPTIMIZERS[name]()
        state = rule.init(ours, precision, {key for key in SHAPES if key != "shift"})
        for g in steps:
            rule.update(ours, g, state, 0.01)
        results.append({key: array.tobytes() for key, array in (ours | state).items()})
        assert {key: array.dtype for key, array in ours.items()} == {key: array.dtype for key, array in start.items()}
        assert all(array.dtype == precision.moments for key, array in state.items() if key != "step")
    assert results[0] == results[1] == results[2]


def test_a_parameter_larger_than_a_block(rng):
    rows = 2 * optim._BLOCK_VALUES // 100 + 3
    whole = rng.normal(size=(rows, 100)).astype(np.float32)
    g = rng.normal(size=whole.shape).astype(np.float32)
    expected = whole - np.float32(0.1) * g
    ours = {"w": whole}
    rule = optim.sgd(0.1, momentum=0)
    rule.update(ours, {"w": g}, rule.init(ours, STANDARD, set()), 0.1)
    np.testing.assert_array_equal(ours["w"], expected)


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
