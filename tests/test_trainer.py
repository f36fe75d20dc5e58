"""A recorded training step, run again and again: what it changes, what it leaves, and what it refuses."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import streams
from bitlearn.backends import variants
from bitlearn.errors import NonFiniteError
from bitlearn.optim import transforms
from bitlearn.program import Arena
from bitlearn.rng import Key
from bitlearn.training import Trainer

DATA = small.examples("mlp", 60)
CODES = DATA.codes()


def trainer(precision="int8", optimizer="adam", head="binary", **how) -> Trainer:
    return Trainer(small.model("mlp", precision, head), bl.optim.OPTIMIZERS[optimizer](), **how)


def steps(of: Trainer, sizes) -> list[float]:
    """Make steps on so many examples each, one batch after the other."""
    at, losses = 0, []
    for size in sizes:
        losses.append(of.step(CODES[at : at + size], DATA.y[at : at + size], 0.01))
        at += size
    return losses


def everything(of: Trainer) -> dict[str, bytes]:
    return small.everything(of.model, of.state)


@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
def test_batches_of_any_size_share_one_state(precision):
    """More sizes than programs are kept: the same as by a trainer a step, which takes up the state of the last one."""
    sizes = (8, 2, 5, 8, 3, 9, 4, 8, 2, 11)
    whole = trainer(precision)
    losses, parts = steps(whole, sizes), trainer(precision)
    found, at = [], 0
    for size in sizes:
        fresh = Trainer(parts.model, parts.optimizer, steps=parts.steps)
        for name, array in fresh.state.items():
            array[...] = parts.state[name]
        found.append(fresh.step(CODES[at : at + size], DATA.y[at : at + size], 0.01))
        at, parts = at + size, fresh
    assert found == losses
    assert everything(parts) == everything(whole)


def test_another_backend_and_number_of_threads_in_the_middle():
    whole, changed, before = trainer("int4"), trainer("int4"), bl.get_num_threads()
    losses = steps(whole, [8] * 6)
    try:
        found = []
        for at, (backend, threads) in enumerate([(variants()[0], 1), ("reference", 1), (variants()[0], 2)] * 2):
            bl.set_num_threads(threads)
            with bl.use_backend(backend):
                rows = slice(8 * at, 8 * at + 8)
                found.append(changed.step(CODES[rows], DATA.y[rows], 0.01))
    finally:
        bl.set_num_threads(before)
    assert found == losses and everything(changed) == everything(whole)


def test_rounding_noise_is_that_of_seed_and_step():
    def after(precision, **how):
        each = trainer(precision, **how)
        steps(each, [20])
        return small.everything(each.model)

    assert after("int4") == after("int4")
    assert after("int4") != after("int4", seed=1)
    assert after("int4") != after("int4", steps=1)
    assert after("int8") == after("int8", seed=1, steps=1)  # which rounds to nearest


def test_each_step_has_keys_of_its_own():
    each = trainer("int4")
    seen, recorded = set(), each.recorded(20)
    numbers = {stream for _, stream in recorded.keys}
    assert len(numbers) == len(recorded.keys) == 3  # one a layer with weights
    for _ in range(3):
        steps(each, [20])
        seen |= {tuple(recorded.program[key]) for key, _ in recorded.keys}
    assert seen == {tuple(Key(0, step, streams.ROUNDING + each).as_words()) for step in range(3) for each in numbers}


def test_restarting_begins_the_optimizer_anew_and_not_the_random_bits():
    each = trainer("int4")
    steps(each, [8, 8])
    kept = copy.deepcopy(each.model)
    each.restart()
    assert each.steps == 2 and not any(array.any() for array in each.state.values())
    assert small.everything(each.model) == small.everything(kept)
    fresh = Trainer(kept, bl.optim.adam(), steps=2)
    assert steps(each, [8, 9]) == steps(fresh, [8, 9]) and everything(each) == everything(fresh)


@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
@pytest.mark.parametrize(("layer", "array"), [("norm1", "bias"), ("sign2", "bias"), ("linear2", "weight")])
def test_a_step_that_stops_changes_nothing_at_all(precision, layer, array):
    """Not even running statistics; with the value mended, training goes on as if it had not been."""
    each, other = trainer(precision), trainer(precision)
    steps(each, [8, 8])
    target = each.model[layer].parameters()[array]
    value = target.flat[0]
    target.flat[0] = np.nan
    before = everything(each)
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=f"in layer '{layer}'"):
            steps(each, [8])
        assert everything(each) == before and each.steps == 2
    target.flat[0] = value
    steps(other, [8, 8])
    assert steps(each, [8, 7]) == steps(other, [8, 7])
    assert everything(each) == everything(other)


def test_a_gradient_that_is_not_finite_names_its_layer():
    """Under ``standard`` all gradients are checked before the first update."""
    network = bl.models.mlp((35,), 4, hidden=(9,), head="real")
    each = Trainer(network, bl.optim.sgd(), loss=Huge())
    before = everything(each)
    with pytest.raises(NonFiniteError, match=r"gradient of weight must be finite, .* in layer 'head1'"):
        each.step(CODES[:8].reshape(8, 35), DATA.y[:8], 0.01)
    assert everything(each) == before


class Huge(small.Squares):
    """A gradient whose sums are beyond float32."""

    def record(self, step, scores, labels):
        grad, terms = super().record(step, scores, labels)
        step.run(lambda grad: grad.fill(3e38), grad)
        return grad, terms


def test_a_loss_of_ones_own():
    """Of a real head at zero: the scores are 0, the gradient of its weights is an outer product, and SGD one step."""
    network = bl.models.mlp((35,), 4, hidden=(9,), head="real")
    codes, y = CODES[:20].reshape(20, 35), DATA.y[:20]
    each = Trainer(network, bl.optim.sgd(momentum=0.0), loss=small.Squares())
    noted = {}
    each.transforms = (lambda name, gradient, parameter: noted.update({name: gradient.copy()}),)
    before = {name: array.copy() for name, array in network.parameters().items()}
    assert each.step(codes, y, 0.5) == 2.0  # half of four squares
    bits = batch_bits(before["linear1.weight"], codes)
    wanted = (1 - 2 * np.eye(4)[y]).T @ bits / 20
    np.testing.assert_allclose(noted["head1.weight"], wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(network["head1"].weight, -0.5 * wanted, rtol=1e-6, atol=1e-7)
    losses = [each.step(codes, y, 0.5) for _ in range(10)]
    assert losses[-1] < losses[0] < 2.0


def batch_bits(weight, codes) -> np.ndarray:
    """What a linear layer and a batch norm with bias 0 give for a batch: the signs of centred sums."""
    sums = codes.astype(np.int64) @ np.where(weight >= 0, 1, -1).T
    return np.where(sums * len(sums) >= sums.sum(axis=0), 1, -1)


@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_sgd_takes_the_gradient_that_a_transform_sees(precision):
    """One step without momentum: w - rate * g, in float32, for every parameter and each step."""
    noted = {}
    each = trainer(precision, "sgd")
    each.optimizer = bl.optim.sgd(momentum=0.0)
    each.transforms = (
        transforms.clip(0.01),
        lambda name, gradient, parameter: noted.update({name: (gradient.copy(), parameter.copy())}),
    )
    for _ in range(2):
        steps(each, [20])
        for name, (gradient, parameter) in noted.items():
            assert np.abs(gradient).max() <= np.float32(0.01)
            wanted = parameter - np.float32(0.01) * gradient
            np.testing.assert_array_equal(each.parameters[name], wanted)
        assert sorted(noted) == sorted(each.parameters)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (CODES[:4, :6], DATA.y[:4], ValueError, r"examples must have shape \(7, 5, 1\), got \(6, 5, 1\)"),
        (CODES[:4].astype(np.int16), DATA.y[:4], TypeError, "examples must be int8, got int16"),
        (CODES[:4].tolist(), DATA.y[:4], TypeError, "examples must be an array of int8, got list"),
        (CODES[:4], DATA.y[:3], ValueError, r"labels must be integers of shape \(4,\), got int64 \(3,\)"),
        (CODES[:4], DATA.y[:4] / 2, ValueError, r"labels must be integers of shape \(4,\), got float64"),
        (CODES[:4], DATA.y[:4] + 4, ValueError, r"labels must lie in \[0, 4\)"),
        (CODES[:4], DATA.y[:4] - 9, ValueError, r"labels must lie in \[0, 4\)"),
        (CODES[:1], DATA.y[:1], ValueError, "a batch norm must get at least 2 values per channel in training, got 1"),
        (CODES[:0], DATA.y[:0], ValueError, "a batch norm must get at least 2 values per channel in training, got 0"),
    ],
)
@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_a_batch_that_does_not_fit_changes_nothing(precision, x, y, error, message):
    each = trainer(precision)
    steps(each, [4])
    before = everything(each)
    with pytest.raises(error, match=message):
        each.step(x, y, 0.01)
    assert everything(each) == before and each.steps == 1
    steps(each, [4])


def test_a_network_that_does_not_end_in_scores_is_refused():
    sums = bl.nn.Model([bl.nn.BinaryLinear(5)], (8,))
    with pytest.raises(ValueError, match=r"must end in a row of real values to be trained, got sums of shape \(5,\)"):
        Trainer(sums, bl.optim.adam()).step(np.zeros((2, 8), np.int8), np.array([0, 1]), 0.01)
    image = bl.nn.Model([bl.nn.BinaryConv2d(3), bl.nn.BatchNorm()], (4, 4, 1))
    with pytest.raises(
        ValueError, match=r"must end in a row of real values to be trained, got real of shape \(4, 4, 3"
    ):
        Trainer(image, bl.optim.adam()).step(np.zeros((2, 4, 4, 1), np.int8), np.array([0, 1]), 0.01)


def test_the_halves_of_a_network_train_in_one_arena():
    """Programs that share memory run in turns, and none minds what another left there."""

    def learned(shared: bool):
        network = small.model("mlp", "int4")
        lower, upper = network.split("sign1")
        assert lower.arena is upper.arena is network.arena
        if not shared:
            lower.arena, upper.arena = Arena(), Arena()
        whole, part, losses = Trainer(network, bl.optim.adam()), Trainer(upper, bl.optim.adam()), []
        for size in (20, 8, 33, 20):
            bits = lower.packed_output(CODES[:size])
            losses += [part.step(bits, DATA.y[:size], 0.01), whole.step(CODES[:size], DATA.y[:size], 0.01)]
        return losses, everything(whole), everything(part)

    assert learned(True) == learned(False)


@pytest.mark.parametrize("precision", small.POLICIES)
def test_bop_begins_with_the_signs_of_the_weights(precision):
    """A zero of either sign is +1; what is not binary stays."""
    network = small.model("mlp", precision, head="real")
    network["linear1"].weight[0, :2] = 0.0, -0.0
    before = {name: array.copy() for name, array in network.parameters().items()}
    Trainer(network, bl.optim.bop())
    for name, array in network.parameters().items():
        wanted = np.where(before[name] >= 0, 1, -1) if name in network.binary_parameters() else before[name]
        np.testing.assert_array_equal(array, wanted)
