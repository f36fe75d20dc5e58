"""The optimisers against the published formulas in float64, and bit for bit against float32 NumPy."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from recorded import Parameter

import bitlearn as bl
from bitlearn import optim
from bitlearn.backends import variants
from bitlearn.nn import ParameterGradient, Step
from bitlearn.optim.rule import Updates
from bitlearn.precision import policy
from bitlearn.program import Program

STANDARD, LOW = policy("standard"), policy("low-memory")
SHAPES = {"conv.weight": (4, 3, 3, 5), "linear.weight": (7, 70), "bias": (9,)}


def parameters(rng, dtype=np.float32) -> dict[str, np.ndarray]:
    return {
        name: rng.normal(scale=0.8, size=shape).astype(np.float32 if name == "bias" else dtype)
        for name, shape in SHAPES.items()
    }


#: float32, packed signs, and exact sums with one scale or one a row.
FORMS = ["dense", "signs", "int32", "int64", "rows"]


def gradients(rng, form: str) -> dict[str, Parameter]:
    """Return gradients in the forms in which backward passes leave them; that of a bias is float32."""
    found = {}
    for name, shape in SHAPES.items():
        dense = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2)).astype(np.float32)
        fan_in = int(np.prod(shape[1:]))
        if form == "dense" or name == "bias":
            found[name] = Parameter(dense, None, math.inf, fan_in)
        elif form == "signs":
            found[name] = Parameter(bl.pack(dense), None, 1.0, fan_in)
        else:
            rows = shape[0] if form == "rows" else 1
            sums = rng.integers(-(2**31), 2**31, size=shape).astype("int64" if form == "rows" else form)
            found[name] = Parameter(sums, 1e-9 / 3 * rng.uniform(0.5, 2, size=rows), 1.0, fan_in)
    return found


def update(rule, parameters, gradients, state, learning_rate) -> None:
    """Record the updates of some parameters as a step does, and run them."""
    step = Step(1)
    updates = Updates(step)
    for name, each in gradients.items():
        scale = None if each.scale is None else step.constant(each.scale)
        gradient = ParameterGradient(step.constant(each.values), scale, each.clip, each.fan_in)
        rule.record(updates, name, gradient, parameters[name], state)
    program = Program(step)
    state["step"] += 1
    updates.write(int(state["step"]), learning_rate)
    program.run()


def is_signs(gradient: Parameter) -> bool:
    return gradient.values.dtype == np.uint64


def real(gradient: Parameter, weight, attenuated: bool) -> np.ndarray:
    """Return what a gradient stands for: signs over sqrt(fan_in) where attenuated."""
    values = gradient.real(weight)
    return values / math.sqrt(gradient.fan_in) if attenuated and is_signs(gradient) else values


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
        update(rule, ours, g, state, 0.02)
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
        update(rule, ours, g, state, 0.01)
        assert state["step"] == step
        for name in SHAPES:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", [STANDARD, LOW], ids=lambda each: each.name)
@pytest.mark.parametrize("form", FORMS)
def test_bop_flips_by_its_definition(precision, form, rng):
    weights = {name for name in SHAPES if name != "bias"}
    ours = parameters(rng, precision.latent)
    start = {name: np.where(array >= 0, 1.0, -1.0) for name, array in ours.items()}
    bias = ours["bias"].copy()
    rule = optim.bop(threshold=1e-3, gamma=0.05)
    state = rule.init(ours, precision, weights)
    other = optim.adam()
    other_state = other.init({"bias": bias}, precision, set())
    flips = 0
    for _ in range(30):
        g = gradients(rng, form)
        before = {name: ours[name].astype(np.float64) for name in weights}
        moments = {name: state[f"{name}.flip"].astype(np.float64) for name in weights}
        update(rule, ours, g, state, 0.01)
        update(other, {"bias": bias}, {"bias": g["bias"]}, other_state, 0.01)
        for name in weights:
            moment = 0.95 * moments[name] + 0.05 * real(g[name], before[name], attenuated=True)
            rounding = float(np.finfo(precision.moments).eps)
            np.testing.assert_allclose(state[f"{name}.flip"], moment, rtol=max(1e-5, rounding), atol=1e-6)
            # The definition, on the moment as it is stored.
            agrees = before[name] * state[f"{name}.flip"].astype(np.float64) > np.float32(1e-3)
            np.testing.assert_array_equal(ours[name], np.where(agrees, -before[name], before[name]))
            flips += agrees.sum()
    assert flips > 100 and all((ours[name] != start[name]).any() for name in weights)
    np.testing.assert_array_equal(ours["bias"], bias)
    assert state["step"] == 30


def test_bop_flips_above_the_threshold_and_not_at_it():
    weight = {"w": np.array([[1.0, 1.0, -1.0, -1.0]], dtype=np.float32)}
    rule = optim.bop(threshold=0.25, gamma=0.5)
    state = rule.init(weight, STANDARD, {"w"})
    g = np.array([[0.5, 0.5 + 2.0**-20, 1.0, -1.0]], dtype=np.float32)
    rule.update(weight, {"w": g}, state, 0.001)
    assert weight["w"].tolist() == [[1, -1, -1, 1]]


def dense(gradient: Parameter, weight) -> np.ndarray:
    """Return a gradient in float32, by NumPy alone."""
    if gradient.scale is not None:
        scale = gradient.scale.reshape(-1, *[1] * (weight.ndim - 1))
        values = (gradient.values * scale).astype(np.float32)
    elif is_signs(gradient):
        values = bl.unpack(gradient.values, weight.shape[-1], dtype=np.float32)
    else:
        return gradient.values
    return values * (np.abs(weight) <= 1)


def by_numpy(name, rule, parameters, gradients, state, learning_rate, binary) -> None:
    """One step in float32, one operation after the other."""
    f = np.float32
    if name == "bop":
        rest = {key: g for key, g in gradients.items() if key not in binary}
        by_numpy("adam", rule.other, parameters, rest, state, learning_rate, set())
        for key in binary:
            weight, moment, g = parameters[key], state[f"{key}.flip"], gradients[key]
            shrunk = f(1 / math.sqrt(g.fan_in)) if is_signs(g) else f(1)
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
            shrunk = f(1 / math.sqrt(g.fan_in)) if is_signs(g) else f(1)
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
    start, weights = parameters(rng, precision.latent), {key for key in SHAPES if key != "bias"}
    steps = [gradients(rng, form) for _ in range(3)]
    rule = optim.OPTIMIZERS[name]()

    def trained(make_step, threads=1) -> dict[str, bytes]:
        ours = {key: array.copy() for key, array in start.items()}
        state = rule.init(ours, precision, weights)
        bl.set_num_threads(threads)
        try:
            for g in steps:
                make_step(ours, g, state)
        finally:
            bl.set_num_threads(1)
        assert {key: array.dtype for key, array in ours.items()} == {key: array.dtype for key, array in start.items()}
        for key in state.keys() - {"step"}:
            assert state[key].dtype == (np.float32 if key.startswith("bias") else precision.moments)
        return {key: array.tobytes() for key, array in (ours | state).items()}

    expected = trained(lambda ours, g, state: by_numpy(name, rule, ours, g, state, 0.01, weights))
    for variant in variants():
        with bl.use_backend(variant):
            for threads in (1, 3):
                assert trained(lambda ours, g, state: update(rule, ours, g, state, 0.01), threads) == expected


@pytest.mark.skipif(not bl.which("adam_update").startswith("cext"), reason="other kernels allocate")
@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("form", FORMS)
def test_an_update_has_no_temporaries(name, form, rng, monkeypatch):
    monkeypatch.setitem(SHAPES, "linear.weight", (300, 1000))
    ours, g = parameters(rng, np.float16), gradients(rng, form)
    rule = optim.OPTIMIZERS[name]()
    state = rule.init(ours, LOW, {"conv.weight", "linear.weight"})
    update(rule, ours, g, state, 0.01)
    tracemalloc.start()
    try:
        update(rule, ours, g, state, 0.01)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**15


@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
def test_outside_a_network(name, rng):
    """`Optimizer.update` takes float32 gradients of any layout, and does what a recorded step does."""
    rule, binary = optim.OPTIMIZERS[name](), {"conv.weight", "linear.weight"}
    recorded, ours = parameters(rng), {}
    states = [rule.init(recorded, STANDARD, binary) for _ in range(2)]
    ours = {key: array.copy() for key, array in recorded.items()}
    for _ in range(3):
        g = gradients(rng, "dense")
        update(rule, recorded, g, states[0], 0.01)
        given = {key: np.asfortranarray(each.values.astype(np.float64)) for key, each in g.items()}
        rule.update(ours, given, states[1], 0.01)
    for one, other in ((recorded, ours), states):
        assert {key: array.tobytes() for key, array in one.items()} == {key: a.tobytes() for key, a in other.items()}


@pytest.mark.parametrize("name", ["sgd", "adam", "bop"])
def test_a_wrong_gradient_changes_nothing(name, rng):
    ours = parameters(rng)
    rule = optim.OPTIMIZERS[name]()
    state = rule.init(ours, STANDARD, {"conv.weight", "linear.weight"})
    before = {key: array.copy() for key, array in (ours | state).items()}
    right = {key: each.values for key, each in gradients(rng, "dense").items()}
    for key, wrong, sentence in (
        ("linear.weight", np.zeros((7, 1)), r"must have shape \(7, 70\), got \(7, 1\)"),
        ("linear.weight", np.zeros((70, 7)), r"must have shape \(7, 70\), got \(70, 7\)"),
        ("bias", np.zeros(8), r"must have shape \(9,\), got \(8,\)"),
    ):
        with pytest.raises(ValueError, match=f"the gradient of '{key}' {sentence}"):
            rule.update(ours, right | {key: wrong}, state, 0.01)
    with pytest.raises(ValueError, match="C-contiguous"):
        rule.update(ours | {"bias": np.zeros(18, np.float32)[::2]}, right, state, 0.01)
    for key, array in (ours | state).items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("form", ["dense", "signs", "int32"])
def test_weights_beyond_the_clip_stay(name, form, rng):
    weight = {"w": np.array([[0.5, 1.0, -1.0, 1.5, -7.0]], dtype=np.float16)}
    given = {
        "dense": (np.ones((1, 5), np.float32), None),
        "signs": (bl.pack(np.ones((1, 5))), None),
        "int32": (np.ones((1, 5), np.int32), np.ones(1)),
    }
    rule = optim.OPTIMIZERS[name]()
    state, before = rule.init(weight, LOW, {"w"}), weight["w"].copy()
    update(rule, weight, {"w": Parameter(*given[form], 1.0, 4)}, state, 0.25)
    np.testing.assert_array_equal((weight["w"] != before)[0], [True, True, True, False, False])


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
    before = ours["bias"].copy()
    rule = optim.adam()
    state = rule.init(ours, STANDARD, set())
    rule.update(ours, {"linear.weight": np.ones(SHAPES["linear.weight"], dtype=np.float32)}, state, 0.1)
    np.testing.assert_array_equal(ours["bias"], before)
    assert not state["bias.mean"].any()


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
