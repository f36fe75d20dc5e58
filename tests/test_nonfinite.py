"""NaN and infinity at every place of a step: the layer is named, nothing is changed, and the next step works."""

from __future__ import annotations

import numpy as np
import pytest
import small
from recorded import bits, bound, passes, sums
from test_whole_steps import residual

import bitlearn as bl
from bitlearn import optim
from bitlearn.backends.reference.norms import LARGEST_SCALE
from bitlearn.errors import NonFiniteError
from bitlearn.nn import BatchNorm, BatchNormSign, BinaryConv2d, BinaryLinear, Linear, Model, Residual, Sign, Spec
from bitlearn.ops.quantized import Quantized
from bitlearn.training import Trainer

#: The specification's NumPy warns of what is found a few calls later.
pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")

POLICIES = [*small.POLICIES, "int4"]
#: Where a value is put, the layer that is named, and what it says of it; None where it depends on the policy.
PLACES = {
    "linear1.weight": "the latent weights",
    "residual1.main.linear1.weight": "the latent weights",
    "norm1.bias": "bias and statistics",
    "residual2.shortcut.norm1.bias": "bias and statistics",
    "norm1.running_mean": "the running statistics",
    "residual2.main.norm1.running_std": "the running statistics",
    "head1.weight": None,
}


def trainer_and_data(policy: str, transforms=()):
    trainer = Trainer(residual(policy), optim.adam(), transforms=transforms)
    data = small.examples("mlp", 24)
    codes, labels = data.codes().reshape(24, -1), data.y
    trainer.step(codes[:8], labels[:8], 0.01)
    return trainer, codes[8:], labels[8:]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("place", PLACES)
def test_parameters_and_statistics(place, policy, bad):
    trainer, codes, labels = trainer_and_data(policy)
    other, _, _ = trainer_and_data(policy)
    array = trainer.model.state()[place]
    good, array.flat[1] = array.flat[1], bad
    before = small.everything(trainer.model, trainer.state)
    layer = place.rpartition(".")[0]
    what = PLACES[place] or ("the scores" if policy == "standard" else "the weights")
    for batch in (8, 5):  # a size that was recorded before, and a new one
        with pytest.raises(NonFiniteError, match=f"^{what} must be finite, got NaN or infinity in layer '{layer}'$"):
            trainer.step(codes[:batch], labels[:batch], 0.01)
        assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
    array.flat[1] = good
    losses = [each.step(codes[:8], labels[:8], 0.01) for each in (trainer, other)]
    assert losses[0] == losses[1]
    assert small.everything(trainer.model, trainer.state) == small.everything(other.model, other.state)


@pytest.mark.parametrize("policy", POLICIES)
def test_scores_are_named_by_the_last_layer_where_all_parameters_are_finite(policy):
    """A head whose finite weights add up to more than float32 holds."""
    trainer, codes, labels = trainer_and_data(policy)
    trainer.model["head1"].weight[...] = 3e38
    before = small.everything(trainer.model, trainer.state)
    with pytest.raises(NonFiniteError, match=r"^the scores must be finite, got NaN or infinity in layer 'head1'$"):
        trainer.step(codes[:8], labels[:8], 0.01)
    assert small.everything(trainer.model, trainer.state) == before


@pytest.mark.parametrize("policy", POLICIES)
def test_moments_are_found_at_the_next_step(policy):
    """The moments of an optimiser are read by the update alone: what they make of a weight is found as it is used."""
    trainer, codes, labels = trainer_and_data(policy)
    trainer.state["linear1.weight.mean"].flat[0] = np.inf
    trainer.step(codes[:8], labels[:8], 0.01)
    before = small.everything(trainer.model, trainer.state)
    with pytest.raises(
        NonFiniteError, match=r"^the latent weights must be finite, got NaN or infinity in layer 'linear1'$"
    ):
        trainer.step(codes[:8], labels[:8], 0.01)
    assert small.everything(trainer.model, trainer.state) == before


def real_network(policy: str) -> Model:
    """A network of real values, which its first layers pass on as they are."""
    block = [Sign("approximate"), BinaryLinear(9), BatchNorm()]
    layers = [Residual(block), Residual([Sign(), BinaryLinear(9), BatchNorm()]), Sign("approximate"), BinaryLinear(7)]
    return Model([*layers, BatchNormSign(), Linear(3)], Spec.real((9,)), precision=policy)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("policy", POLICIES)
def test_real_inputs(policy, bad, rng):
    trainer = Trainer(real_network(policy), optim.adam())
    x, labels = rng.normal(size=(8, 9)).astype(np.float32), rng.integers(0, 3, 8)
    trainer.step(x, labels, 0.01)
    before = small.everything(trainer.model, trainer.state)
    x[3, 4] = bad
    with pytest.raises(NonFiniteError, match=r"^the input must be finite, .* in layer 'residual1.main.sign1'$"):
        trainer.step(x, labels, 0.01)
    assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
    x[3, 4] = 1
    assert np.isfinite(trainer.step(x, labels, 0.01))


@pytest.mark.parametrize("policy", POLICIES)
def test_huge_real_inputs(policy, rng):
    """The largest floats: shortcuts may carry infinity on, signs take it, and no parameter is harmed."""
    trainer = Trainer(real_network(policy), optim.adam())
    labels = rng.integers(0, 3, 8)
    x = np.where(rng.random((8, 9)) < 0.5, 3.4e38, -3.4e38).astype(np.float32)
    for _ in range(3):
        assert np.isfinite(trainer.step(x, labels, 0.01))
    assert all(np.isfinite(array).all() for array in (trainer.model.state() | trainer.state).values())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_of_standard_that_is_not_finite(bad):
    """Of the float32 policy gradients can overflow: all are looked at before the first update."""

    class Spoiled(bl.nn.SoftmaxCrossEntropy):
        def record(self, step, scores, labels):
            grad, terms = super().record(step, scores, labels)
            step.run(lambda g: g.fill(bad), grad)
            return grad, terms

    trainer, codes, labels = trainer_and_data("standard")
    spoiled = Trainer(trainer.model, optim.adam(), loss=Spoiled())
    before = small.everything(spoiled.model, spoiled.state)
    with pytest.raises(
        NonFiniteError, match=r"^the gradient of weight must be finite, got NaN or infinity in layer 'head1'$"
    ):
        spoiled.step(codes[:8], labels[:8], 0.01)
    assert small.everything(spoiled.model, spoiled.state) == before
    trainer.step(codes[:8], labels[:8], 0.01)


@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
def test_a_loss_whose_gradient_is_not_finite(policy):
    class Spoiled(bl.nn.SoftmaxCrossEntropy):
        def record(self, step, scores, labels):
            grad, terms = super().record(step, scores, labels)
            step.run(lambda g: g.fill(np.inf), grad)
            return grad, terms

    trainer, codes, labels = trainer_and_data(policy)
    spoiled = Trainer(trainer.model, optim.adam(), loss=Spoiled())
    before = small.everything(spoiled.model, spoiled.state)
    with pytest.raises(NonFiniteError, match=r"^the gradient must be finite, got NaN or infinity"):
        spoiled.step(codes[:8], labels[:8], 0.01)
    assert small.everything(spoiled.model, spoiled.state) == before


# --- scales ----------------------------------------------------------------------------------------------------------

#: A layer, what flows in, and what comes back through it is worth more than what came.
GROWING = {
    "linear": (lambda: BinaryLinear(70), Spec.bits((65,)), (9, 70)),
    "conv": (lambda: BinaryConv2d(7), Spec.bits((4, 4, 65)), (9, 4, 4, 7)),
    "head": (lambda: Linear(70), Spec.bits((65,)), (9, 70)),
    "norm": (lambda: BatchNorm(), sums((5,), unit=2.0**-7), (9, 5)),
    "norm and sign": (lambda: BatchNormSign(), sums((5,), unit=2.0**-7), (9, 5)),
    "shortcut": (lambda: Residual([], []), Spec.real((65,)), (9, 65)),
}


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
@pytest.mark.parametrize("name", GROWING)
def test_scales_are_held_below_their_limit(name, policy, rng):
    """A gradient with a scale at the limit keeps its signs, and a scale at the limit."""
    make, spec, shape = GROWING[name]
    layer = bound(make(), spec, policy)
    if name == "head":
        layer.weight[...] = rng.normal(size=layer.weight.shape) * 1e6
    limit = 2 ** (layer.precision.gradient_bits - 1) - 1
    kind = np.int8 if limit < 128 else np.int16
    g = Quantized(
        rng.integers(-limit, limit + 1, size=shape).astype(kind), LARGEST_SCALE, 0, layer.precision.gradient_bits
    )
    if spec.kind == "bits":
        x = bits(rng.normal(size=(9, *spec.shape)))
    else:
        x = rng.integers(-1, 2, size=(9, *spec.shape)).astype(spec.dtype)
    found = passes(layer, x, g).dx
    assert found.scale == LARGEST_SCALE if name != "shortcut" else found.scale <= 2 * LARGEST_SCALE
    assert found.values.any()
    small_scale = passes(layer, x, Quantized(g.values, 1.0, 0, g.bits)).dx
    if name != "shortcut":
        np.testing.assert_array_equal(np.sign(found.values), np.sign(small_scale.values))


@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
def test_a_deep_network_whose_gradients_explode_stays_finite(policy, rng):
    """Each norm divides by a deviation near 0, and each product adds up: 1e30 after a few layers without a limit."""
    layers = [layer for _ in range(12) for layer in (BinaryLinear(33), BatchNormSign())]
    trainer = Trainer(Model([*layers, Linear(3)], Spec.bits((33,)), precision=policy), optim.adam())
    trainer.model["head1"].weight[...] = rng.normal(size=(3, 33)) * 1e9
    plain = np.ones((200, 33))
    plain[0] = -1
    labels = rng.integers(0, 3, 200)
    for _ in range(2):
        assert np.isfinite(trainer.step(bits(plain), labels, 1e-3))
    assert all(np.isfinite(array).all() for array in (trainer.model.state() | trainer.state).values())
