"""One mean of squares for all weights of a parameter whose gradients are signs, against one each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.nn import ParameterGradient, Step
from bitlearn.optim import parts
from bitlearn.optim.rule import Updates
from bitlearn.precision import policy
from bitlearn.program import Program
from bitlearn.training import Trainer

SIGNS = ("low-memory", "float16-sign", "low-memory-5bit", "low-memory-8bit", "low-memory-4bit")
NARROW = ("low-memory-moments8", "lowest-memory")


@pytest.fixture
def always(monkeypatch):
    """Share squares of parameters of any size."""
    monkeypatch.setattr(parts, "SHARED_FROM", 1)


def of_each(model: bl.nn.Model, rule: bl.optim.Optimizer) -> dict[str, np.ndarray]:
    """The state with a square for each weight."""
    return rule.init(model.parameters(), model.precision, model.binary_parameters())


def trained(name: str, precision: str, steps: int = 4, *, each: bool = False, rate: float = 0.01) -> Trainer:
    model, rule = small.model(name, precision), bl.optim.adam()
    trainer = Trainer(model, rule, 5, state=of_each(model, rule) if each else None)
    data = small.examples(name, 12)
    for _ in range(steps):
        trainer.step(data.codes(), data.y, rate)
    return trainer


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("precision", SIGNS)
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_the_bits_are_those_of_a_square_for_each_weight(name, precision):
    shared, each = trained(name, precision), trained(name, precision, each=True)
    assert small.everything(shared.model) == small.everything(each.model)
    found = 0
    for key, array in shared.state.items():
        if array.shape == each.state[key].shape:
            np.testing.assert_array_equal(array, each.state[key])
        else:
            assert key.endswith(".weight.square") and array.shape == (1,) and array.dtype == each.state[key].dtype
            assert (each.state[key] == array[0]).all() and array[0] > 0
            found += 1
    assert found == sum(name.endswith(".weight") for name in shared.model.sign_parameters()) >= 3


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("precision", ["low-memory", *NARROW])
def test_the_same_bits_from_every_backend_and_any_threads(precision):
    def found() -> dict[str, bytes]:
        trainer = trained("binarynet", precision, 2)
        return small.everything(trainer.model, trainer.state)

    with bl.use_backend("reference"):
        expected = found()
    for variant in variants():
        for threads in (1, 2):
            bl.set_num_threads(threads)
            try:
                with bl.use_backend(variant):
                    assert found() == expected
            finally:
                bl.set_num_threads(1)


def steps_of_numpy(rule, weight, mean, signs, rate, clip=1.0):
    """Adam in float32 on signs, with float16 weights and means, and one square that no clip stops."""
    f, square = np.float32, np.float16(0)
    weight, mean = weight.copy(), mean.copy()
    for number, sign in enumerate(signs, 1):
        correction = math.sqrt(1 - rule.beta2**number)
        inside = (np.abs(weight.astype(f)) <= clip).astype(f)
        first = mean.astype(f) * f(rule.beta1) + sign * inside * f(1 - rule.beta1)
        second = f(square) * f(rule.beta2) + inside * f(1 - rule.beta2)
        step = f(rate * correction / (1 - rule.beta1**number))
        weight = (weight.astype(f) - step * first / (np.sqrt(second) + f(rule.epsilon * correction))).astype(np.float16)
        mean = first.astype(np.float16)
        square = np.float16(f(square) * f(rule.beta2) + f(1 - rule.beta2))
    return weight, mean, square


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("shape", [(7, 70), (1, 65), (6, 3, 3, 5)])
def test_weights_beyond_the_clip(shape, rng):
    """They get no gradient; all others have the bits that a square each gives, and so has every sign."""
    rule, low = bl.optim.adam(), policy("low-memory")
    start = rng.uniform(-1.1, 1.1, size=shape).astype(np.float16)
    signs = [np.where(rng.random(shape) < 0.7, 1, -1).astype(np.float32) for _ in range(12)]

    def run(names: set[str], threads: int = 1):
        weights = {"w": start.copy()}
        state = rule.init(weights, low, {"w"}, names)
        bl.set_num_threads(threads)
        try:
            for number, sign in enumerate(signs, 1):
                step = Step(1)
                updates = Updates(step)
                gradient = ParameterGradient(step.constant(bl.pack(sign)), None, 1.0, 4)
                rule.record(updates, "w", gradient, weights["w"], state)
                program = Program(step)
                updates.write(number, 0.05)
                program.run()
        finally:
            bl.set_num_threads(1)
        return weights["w"], state

    each, _ = run(set())
    wanted = steps_of_numpy(rule, start, np.zeros(shape, np.float16), signs, 0.05)
    for variant in variants():
        with bl.use_backend(variant):
            for threads in (1, 3):
                weight, state = run({"w"}, threads)
                np.testing.assert_array_equal(weight, wanted[0])
                np.testing.assert_array_equal(state["w.mean"], wanted[1])
                assert state["w.square"].shape == (1,) and state["w.square"][0] == wanted[2]
    inside = np.abs(each) <= 1
    assert 0.2 < inside.mean() < 0.95
    np.testing.assert_array_equal(wanted[0][inside], each[inside])
    np.testing.assert_array_equal(wanted[0] < 0, each < 0)
    np.testing.assert_array_equal(np.abs(wanted[0]) <= 1, inside)


def test_what_is_shared_and_what_is_not():
    rule = bl.optim.adam()

    def squares(model, transforms=()):
        trainer = Trainer(model, rule, transforms=transforms)
        return {key.removesuffix(".square"): a.shape for key, a in trainer.state.items() if key.endswith(".square")}

    model = bl.models.mlp((28, 28, 1), precision="low-memory")
    found = squares(model)
    assert found["linear1.weight"] == (1,)
    assert found["linear2.weight"] == (256, 256)  # too small for what sharing takes
    assert all(found[name] == array.shape for name, array in model.parameters().items() if name.endswith("bias"))
    assert squares(model, (bl.optim.clip(1.0),))["linear1.weight"] == (256, 784)
    for other in ("standard", "int8", "float16"):
        model = bl.models.mlp((28, 28, 1), precision=other)
        assert not model.sign_parameters() and squares(model)["linear1.weight"] == (256, 784)
    spec = bl.nn.Spec.bits((512,))
    layers = [bl.nn.BinaryLinear(512, scaled=True), bl.nn.BatchNorm(), bl.nn.Sign(), bl.nn.Linear(3)]
    scaled = bl.nn.Model(layers, spec, precision="low-memory")
    assert squares(scaled)["linear1.weight"] == (512, 512)  # whose magnitudes matter
    narrow = Trainer(bl.models.mlp((28, 28, 1), precision="lowest-memory"), rule).state
    assert narrow["linear1.weight.square"].dtype == np.float32 and narrow["linear1.weight.mean"].dtype == np.int8
    for name in ("sgd", "bop"):
        model = bl.models.mlp((28, 28, 1), precision="low-memory")
        state = Trainer(model, bl.optim.OPTIMIZERS[name]()).state
        del state["step"]
        assert all(a.shape == model.parameters()[key.rpartition(".")[0]].shape for key, a in state.items())


def test_one_square_is_of_signs(rng):
    weights = {"w": rng.normal(size=(256, 512)).astype(np.float32)}
    rule = bl.optim.adam()
    state = rule.init(weights, policy("low-memory"), {"w"}, {"w"})
    before = weights["w"].copy()
    with pytest.raises(ValueError, match="the gradient of 'w' must be signs, of which one square is kept, got numbers"):
        rule.update(weights, {"w": before}, state, 0.1)
    np.testing.assert_array_equal(weights["w"], before)
    assert not state["w.mean"].any() and state["step"] == 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("precision", ["low-memory", "lowest-memory"])
def test_a_checkpoint_holds_the_square(precision, tmp_path):
    data, path = small.examples("mlp", 24), tmp_path / "training"
    options = {"batch_size": 8, "seed": 2}

    def fit(model, epochs, **more):
        given = bl.training.Options(epochs=epochs, schedule="constant", **options)
        return bl.training.fit(model, bl.optim.adam(), data, given, **more)

    whole, parted = small.model("mlp", precision), small.model("mlp", precision)
    fit(whole, 4)
    fit(parted, 2, checkpoint=path)
    resumed = small.model("mlp", precision)
    assert fit(resumed, 4, checkpoint=path, resume=True).resumed == 2
    assert small.everything(resumed) == small.everything(whole)


@pytest.mark.usefixtures("always")
def test_a_restart_begins_with_no_square():
    trainer = trained("mlp", "low-memory")
    assert any(array.any() for key, array in trainer.state.items() if key.endswith(".weight.square"))
    trainer.restart()
    assert not any(array.any() for array in trainer.state.values())


def test_a_step_takes_less_memory():
    model, rule = bl.models.mlp((28, 28, 1), precision="low-memory"), bl.optim.adam()
    weights = 784 * 256
    records = [Trainer(model, rule, state=state).record(100).program for state in (None, of_each(model, rule))]
    outside = [sum(buffer.nbytes for buffer in program.outside) for program in records]
    assert outside[1] - outside[0] > 2 * weights - 1000
    arena = [program.nbytes for program in records]
    assert sum(outside) and outside[0] + arena[0] < outside[1] + arena[1] - weights
