"""Ghost statistics: batch norms with statistics of each micro-batch, against formulas on each of them alone."""

from __future__ import annotations

import numpy as np
import published
import pytest
import small
from published import check_codes, sgn
from recorded import bound, gradient, passes, real, sums

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.nn import BatchNorm, BatchNormSign, Savings, Spec, Step
from bitlearn.training import Trainer

GHOST = Savings(ghost=4)
#: Of 11 examples.
MICRO = [slice(0, 5), slice(5, 11)]
NORMS = ["l1", "l2"]
UNIT = 2.0**-7


def steps(name: str, precision, savings: Savings, count: int = 3) -> dict[str, bytes]:
    trainer = Trainer(small.model(name, precision), bl.optim.adam(), 5, savings=savings)
    data = small.examples(name, 12)
    for _ in range(count):
        trainer.step(data.codes(), data.y, 0.01)
    return small.everything(trainer.model, trainer.state)


def test_micro_batches_have_at_least_so_many_examples():
    assert Step(11, savings=GHOST).micro_batches == MICRO
    assert Step(11).micro_batches == Step(11, savings=Savings(ghost=6)).micro_batches == [slice(0, 11)]
    assert Step(3, savings=GHOST).micro_batches == [slice(0, 3)]
    for batch in range(4, 60):
        found = Step(batch, savings=GHOST).micro_batches
        sizes = [each.stop - each.start for each in found]
        assert sum(sizes) == batch and min(sizes) >= 4 and max(sizes) - min(sizes) <= 1 and len(sizes) == batch // 4
    with pytest.raises(ValueError, match="ghost must be at least 1, got 0"):
        Savings(ghost=0)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_integer_gradients_of_each_micro_batch(kind, policy, norm, rng):
    layer = bound(kind(norm=norm), sums((3, 70), unit=UNIT), policy)
    layer.bias[...] = rng.normal(scale=0.5, size=70)
    y, g = rng.integers(-300, 500, size=(11, 3, 70)).astype(np.int16), gradient(rng, policy, 11, 3, 70)
    y[MICRO[1]] += 200  # whose statistics are others
    found = passes(layer, y, g, savings=GHOST)
    dy, total = [], 0
    for some in MICRO:
        _, _, x = published.normalized(layer, y[some].astype(np.int64))
        d = g.values[some].reshape(-1, 70).astype(np.float64)
        if kind is BatchNormSign:
            np.testing.assert_array_equal(bl.unpack(found.y.words[some], 70).reshape(-1, 70), sgn(x))
            d = d * (np.abs(x) <= layer.clip)
        else:
            np.testing.assert_allclose(found.y[some].reshape(-1, 70), x, rtol=1e-5, atol=1e-5)
        part, bias = published.norm_backward(layer, y[some].astype(np.int64), d)
        dy.append(part)
        total = total + bias
    codes = bl.Quantized(found.dx.values.reshape(-1, 70), found.dx.scale, 0, found.dx.bits)
    check_codes(codes, np.concatenate(dy), g.bits, g.scale)
    np.testing.assert_allclose(found.parameters["bias"].values, total * g.scale, rtol=1e-6)


def by_formula(y, g, bias, norm):
    """Values, dY and the running statistics' share of a micro-batch, in float64, as PyTorch's batch norm has them."""
    mean = y.mean(axis=0)
    centred = y - mean
    std = np.abs(centred).mean(axis=0) if norm != "l2" else np.sqrt((centred**2).mean(axis=0))
    z, v = centred / std, g / std
    if norm != "l2":
        side = np.sign(centred)
        dy = v - v.mean(axis=0) - (v * z).mean(axis=0) * (side - side.mean(axis=0))
    else:
        dy = v - v.mean(axis=0) - z * (v * z).mean(axis=0)
    return z + bias, dy, (mean, std)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("of", ["sums", "real"])
def test_float32_gradients_and_running_statistics(of, norm, rng):
    """The running statistics move once a micro-batch."""
    spec = sums((2, 2, 4), unit=UNIT) if of == "sums" else Spec.real((2, 2, 4))
    layer = bound(BatchNorm(norm=norm), spec)
    layer.bias[...] = rng.normal(size=4)
    y = rng.integers(-500, 900, size=(11, 2, 2, 4)).astype(np.int16)
    y[MICRO[1]] -= 300
    given = y if of == "sums" else (y * UNIT).astype(np.float32)
    g = rng.normal(size=y.shape).astype(np.float32)
    found = passes(layer, given, g, savings=GHOST)
    mean, std = np.zeros(4), np.ones(4)
    for some in MICRO:
        flat, wide = (y[some] * UNIT).reshape(-1, 4), g[some].reshape(-1, 4).astype(np.float64)
        values, dy, moments = by_formula(flat, wide, layer.bias, norm)
        np.testing.assert_allclose(found.y[some].reshape(-1, 4), values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(real(found.dx)[some].reshape(-1, 4), dy, rtol=1e-3, atol=1e-5)
        mean, std = 0.9 * mean + 0.1 * moments[0], 0.9 * std + 0.1 * moments[1]
    np.testing.assert_allclose(found.parameters["bias"].values, g.reshape(-1, 4).sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_std, std, rtol=1e-5)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory", "lowest-memory"])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_the_loss_of_a_step_is_that_of_its_micro_batches_alone(name, precision):
    """Nothing of an example's forward pass depends on those of other micro-batches."""
    data = small.examples(name, 11)

    def loss(some: slice, savings: Savings) -> float:
        trainer = Trainer(small.model(name, precision), bl.optim.adam(), savings=savings)
        return trainer.step(data.codes()[some], data.y[some], 0.01)

    parts = [(some.stop - some.start) * loss(some, Savings()) for some in MICRO]
    assert loss(slice(0, 11), GHOST) == pytest.approx(sum(parts) / 11, rel=1e-6)
    assert loss(slice(0, 11), GHOST) != pytest.approx(loss(slice(0, 11), Savings()), rel=1e-6)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory", "lowest-memory", *small.APART])
@pytest.mark.parametrize("name", ["mlp", "binarynet"])
def test_other_savings_change_no_bit_of_it(name, precision):
    expected = steps(name, precision, Savings(ghost=5))
    assert expected != steps(name, precision, Savings())
    for savings in (
        Savings(sums=64, keep=0, summed=True, repack=True, ghost=5),
        Savings(keep=2000, summed=True, ghost=5),
        Savings(sums=64, keep=1500, partly=True, ghost=5),
        Savings(sums=64, keep=1500, block=300, ghost=5, recompute=True),
    ):
        assert steps(name, precision, savings) == expected
    assert steps(name, precision, Savings(ghost=7)) == steps(name, precision, Savings())  # one micro-batch


@pytest.mark.parametrize("precision", ["int8", "low-memory"])
def test_the_same_bits_from_every_backend_and_any_threads(precision):
    with bl.use_backend("reference"):
        expected = steps("binarynet", precision, GHOST, 2)
    for variant in variants():
        for threads in (1, 2):
            bl.set_num_threads(threads)
            try:
                with bl.use_backend(variant):
                    assert steps("binarynet", precision, GHOST, 2) == expected
            finally:
                bl.set_num_threads(1)


def test_sums_are_formed_once():
    """A micro-batch at a time, where statistics of the whole batch take four passes over what is not kept."""
    layers = [bl.nn.BinaryConv2d(64), bl.nn.BatchNormSign(), bl.nn.Flatten(), bl.nn.Linear(3)]
    model = bl.nn.Model(layers, Spec.bits((16, 16, 64)), precision="low-memory")

    def products(ghost: int | None) -> int:
        savings = Savings(2**14, 0, True, True, 2**14, ghost=ghost)
        program = Trainer(model, bl.optim.adam(), savings=savings).record(32).program
        return sum(len(call.arguments[0]) for call in program.calls if str(call.kernel).startswith("xnor_conv2d"))

    assert products(None) == 4 * 32 and products(16) == 32


def test_fixed_statistics_are_of_no_micro_batch(rng):
    layer = bound(BatchNormSign(fixed=True), sums((5,)), "low-memory")
    y, g = rng.integers(-3, 4, size=(11, 5)).astype(np.int16), gradient(rng, "low-memory", 11, 5)
    one, other = passes(layer, y, g, savings=GHOST), passes(layer, y, g)
    np.testing.assert_array_equal(one.y.words, other.y.words)
    np.testing.assert_array_equal(one.dx.values, other.dx.values)


def test_a_micro_batch_of_one_row_is_refused():
    with pytest.raises(ValueError, match="a batch norm must get at least 2 values per channel in training, got 1"):
        steps("mlp", "low-memory", Savings(ghost=1))


def test_a_part_of_a_batch_has_none():
    step = Step(11, savings=GHOST)
    step.partial = True
    with pytest.raises(ValueError, match="ghost statistics must be of a step with the whole batch, got 11"):
        _ = step.micro_batches


# The planner


def planned(limit, narrow=(), batch=64):
    model = bl.models.binarynet(precision="low-memory", filters=(64, 64, 64, 64), dense=(64,))
    return bl.training.plan(model, bl.optim.adam(), batch, limit, narrow=narrow)


def least_of(narrow=()) -> int:
    with pytest.raises(ValueError, match=r"memory_budget must be at least (\d+) bytes") as refused:
        planned(1, narrow)
    return int(str(refused.value).split("at least ")[1].split()[0])


def test_a_plan_takes_ghost_statistics_where_they_take_less_time_and_says_so():
    free = planned("1 GiB", ["statistics"])
    assert free.savings == Savings() and free.cost == 1
    tight = least_of() * 5 // 4
    whole, ghost = planned(tight), planned(tight, ["statistics"])
    assert whole.savings.ghost is None and "ghost" not in str(whole)
    assert ghost.savings.ghost == 16 and ghost.cost < whole.cost and ghost.nbytes <= tight
    assert ghost.precision.name == "low-memory"
    assert "batch norms with statistics of 16 examples or more (ghost statistics)" in str(ghost)


def test_training_with_ghost_statistics(tmp_path):
    data, path = small.examples("binarynet", 96), tmp_path / "training"
    filters = {"filters": (32, 32, 32, 32), "dense": (32,)}
    with pytest.raises(ValueError, match="memory_budget must be at least") as refused:
        bl.training.plan(bl.models.binarynet(precision="low-memory", **filters), bl.optim.adam(), 48, 1)
    budget = int(str(refused.value).split("at least ")[1].split()[0]) * 5 // 4

    def fit(epochs, **more):
        model = bl.models.binarynet(precision="low-memory", **filters)
        options = bl.training.Options(epochs=epochs, batch_size=48, schedule="constant")
        return model, bl.training.fit(model, bl.optim.adam(), data, options, **more)

    allowed = {"memory_budget": budget, "narrow": ["statistics"]}
    whole, result = fit(2, **allowed)
    assert result.plan.savings.ghost == 16
    fit(1, checkpoint=path, **allowed)
    resumed, again = fit(2, checkpoint=path, resume=True, **allowed)
    assert again.resumed == 1 and small.everything(resumed) == small.everything(whole)
    with pytest.raises(ValueError, match="must belong to the same training, but it has ghost 16, not None"):
        fit(2, checkpoint=path, resume=True)
    plain, _ = fit(2)
    assert small.everything(plain) != small.everything(whole)
