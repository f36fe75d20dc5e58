"""Competing units and subnetworks, against PyTorch and against their formulas in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import bound, passes
from scipy.special import softmax

import bitlearn as bl
from bitlearn import streams
from bitlearn.nn import BinaryLinear, Competition, Linear, Model, RealLinear, Sign, Spec, SubnetworkLinear
from bitlearn.nn.competition import Winners, gumbel, logit_gradient
from bitlearn.nn.narrow import competitions, narrow
from bitlearn.nn.subnetwork import largest
from bitlearn.rng import Key
from bitlearn.training import Trainer


def drawn(units: int, blocks: int, *, seed: int = 5, **settings) -> Competition:
    layer = bound(Competition(units, **settings), Spec.real((blocks * units,)))
    rng = np.random.default_rng(seed)
    layer.logits[...] = rng.normal(size=layer.logits.shape)
    layer.noise[...] = rng.gumbel(size=layer.noise.shape)
    return layer


@pytest.mark.parametrize("sampling", ["soft", "hard"])
@pytest.mark.parametrize(("units", "blocks"), [(1, 3), (2, 1), (3, 5), (8, 65)])
def test_passes_are_those_of_autograd(sampling, units, blocks):
    torch = pytest.importorskip("torch")
    layer = drawn(units, blocks, sampling=sampling, temperature=0.67, weight=0.25)
    rng = np.random.default_rng(0)
    h, d = (rng.normal(size=(7, blocks * units)).astype(np.float32) for _ in range(2))
    found = passes(layer, h, d)

    logits = torch.tensor(layer.logits[0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor(h, dtype=torch.float64, requires_grad=True)
    soft = torch.softmax((torch.log_softmax(logits, 1) + torch.tensor(layer.noise)) / 0.67, 1)
    sample = soft
    if sampling == "hard":
        hard = torch.nn.functional.one_hot(soft.argmax(1), units).double()
        sample = soft + (hard - soft).detach()
    y = (x.reshape(7, blocks, units) * sample).reshape(7, -1)
    q = torch.softmax(logits, 1)
    divergence = (q * (torch.log(q) + np.log(units))).sum()
    ((y * torch.tensor(d)).sum() + 0.25 * divergence).backward()
    np.testing.assert_allclose(found.y, y.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.dx, x.grad, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.parameters["logits"].values[0], logits.grad, rtol=1e-4, atol=1e-5)


def test_a_map_wins_at_all_positions_and_losers_give_exactly_nothing():
    layer = bound(Competition(4), Spec.real((3, 2, 8)))
    layer.noise[...] = [[0, 9, 0, 0], [0, 0, 0, 9]]
    h = np.random.default_rng(1).normal(size=(5, 3, 2, 8)).astype(np.float32)
    found = passes(layer, h, np.ones_like(h))
    kept = np.zeros(8, bool)
    kept[[1, 7]] = True
    np.testing.assert_array_equal(found.y, h * kept)
    np.testing.assert_array_equal(found.dx, np.broadcast_to(kept, h.shape).astype(np.float32))


def test_only_the_logits_of_the_step_s_task_get_a_gradient():
    layers = [RealLinear(6), Competition(3, tasks=4), Linear(2)]
    model = Model(layers, (5,))
    rng = np.random.default_rng(2)
    model["head1"].weight[...] = rng.normal(size=(2, 6))
    trainer, before = Trainer(model, bl.optim.sgd(momentum=0.0)), model["competition1"].logits.copy()
    trainer.task = 2
    trainer.step(rng.integers(-128, 127, (8, 5), dtype=np.int8), np.arange(8) % 2, 0.1)
    moved = model["competition1"].logits != before
    assert moved[2].any() and not moved[[0, 1, 3]].any()
    trainer.task = 4
    with pytest.raises(ValueError, match="task must be one of the 4 with a posterior, got 4"):
        trainer.step(np.zeros((8, 5), np.int8), np.arange(8) % 2, 0.1)


def test_noise_is_gumbel_and_the_generator_s():
    key = Key(7, 3, streams.COMPETITION)
    u = (key.words(1000) >> 8).astype(np.float64) / 2**24 + 2.0**-25
    np.testing.assert_array_equal(gumbel(key, (10, 100)), (-np.log(-np.log(u))).astype(np.float32).reshape(10, 100))
    noise = gumbel(Key(1), (100000,))
    assert np.isfinite(noise).all() and abs(noise.mean() - np.euler_gamma) < 0.02 and abs(noise.std() - 1.2825) < 0.02
    layer = drawn(3, 4)
    layer.draw(Key(0, 5))
    first = layer.noise.copy()
    layer.draw(Key(0, 6))
    assert (layer.noise != first).all()
    layer.draw(Key(0, 5))
    np.testing.assert_array_equal(layer.noise, first)


def test_winners_are_drawn_as_often_as_their_posterior_says():
    layer = drawn(4, 3, seed=8)
    counts = np.zeros((3, 4))
    for step in range(4000):
        layer.draw(Key(0, step))
        counts[np.arange(3), layer.sampled(0)] += 1
    expected = softmax(layer.logits[0].astype(np.float64), axis=1)
    assert (abs(counts / 4000 - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)).all()


@pytest.mark.parametrize("kind", ["bits", "real"])
def test_the_winners_alone_give_the_logits_the_gradient_of_what_is_computed(kind):
    whole = drawn(4, 3, seed=4)
    spec = Spec.bits((3,)) if kind == "bits" else Spec.real((3,))
    layer = bound(Winners(whole), spec)
    rng = np.random.default_rng(0)
    h = rng.choice([-1.0, 1.0], size=(9, 3)) if kind == "bits" else rng.normal(size=(9, 3))
    h, d = h.astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    found = passes(layer, bl.Bits(bl.pack(h), 3) if kind == "bits" else h, d)
    np.testing.assert_array_equal(found.dx, d)
    of_sample = np.zeros((3, 4))
    logits = whole.logits[0].astype(np.float64)
    soft = softmax((np.log(softmax(logits, axis=1)) + whole.noise) / 0.67, axis=1)
    of_sample[np.arange(3), soft.argmax(axis=1)] = (h.astype(np.float64) * d).sum(axis=0)
    wanted = logit_gradient(logits, soft, of_sample, 0.67, 0.001)
    np.testing.assert_allclose(found.parameters["logits"].values[0], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "spec", "says"),
    [
        (lambda: Competition(3), Spec.real((8,)), "channels in blocks of 3, got 8, which 3 does not divide"),
        (lambda: Competition(2), Spec.codes(()), "a competition must get real values, bits or input codes, got codes"),
        (lambda: Competition(2, sampling="soft"), Spec.codes((8,)), "a competition of inputs must have hard winners"),
        (lambda: Competition(2, sampling="soft"), Spec.bits((8,)), "a competition of bits must have hard winners"),
        (lambda: Competition(0), None, "units must be at least 1, got 0"),
        (lambda: Competition(2, tasks=0), None, "tasks must be at least 1, got 0"),
        (lambda: Competition(2, sampling="softly"), None, "sampling must be one of 'hard', 'soft', got 'softly'"),
        (lambda: Competition(2, temperature=0), None, "temperature must be a finite number above 0, got 0"),
        (lambda: Competition(2, weight=-1), None, "weight must be a finite number of at least 0, got -1"),
        (lambda: SubnetworkLinear(2, share=0), None, "share must be above 0 and at most 1, got 0"),
        (lambda: RealLinear(2), Spec.bits((8,)), "a real linear layer must get rows of codes or real values"),
    ],
)
def test_bad_settings_and_inputs(make, spec, says):
    with pytest.raises(ValueError, match=says):
        bound(make(), spec)


def test_a_network_of_all_units_says_what_it_cannot_do():
    model = bl.models.competing_mlp((4,), 2, hidden=(8,), units=2, tasks=3)
    with pytest.raises(ValueError, match="a competition of bits must predict by a task's ticket"):
        model.predict(np.zeros((1, 4), np.int8))
    with pytest.raises(ValueError, match="a competition of bits must be trained ticket by ticket"):
        Trainer(model, bl.optim.adam()).step(np.zeros((2, 4), np.int8), np.array([0, 1]), 0.1)
    real = bl.models.competing_mlp((4,), 2, hidden=(8,), units=2, tasks=3, weights="real")
    with pytest.raises(ValueError, match="a competition for 3 tasks must predict by a task's ticket, got none"):
        real.predict(np.zeros((1, 4), np.int8))


# --- tickets ---------------------------------------------------------------------------------------------------------


def random_winners(model: Model, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, layer.units, layer.blocks) for name, layer in competitions(model).items()}


def test_a_ticket_computes_what_the_whole_network_does_with_losers_at_zero():
    model = bl.models.competing_mlp((9,), 3, hidden=(12, 20), units=4, tasks=1, weights="real")
    rng = np.random.default_rng(0)
    for array in model.state().values():
        array[...] = abs(rng.normal(size=array.shape)) + 0.1
    for name, array in model.parameters().items():
        if not name.endswith("logits"):
            array[...] = rng.normal(size=array.shape)
    winners = random_winners(model, 3)
    for name, layer in competitions(model).items():
        layer.logits[0, np.arange(layer.blocks), winners[name]] = 99
    x = rng.integers(-128, 127, (50, 9), dtype=np.int8)
    small = narrow(model, winners).model
    assert [small[f"linear{i}"].weight.shape for i in (1, 2)] == [(3, 9), (5, 3)]
    np.testing.assert_allclose(small.scores(x), model.scores(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_binary_ticket_is_that_of_products_in_plain_numpy(pooled):
    layers = [bl.nn.BinaryConv2d(6, padding=0), *([bl.nn.MaxPool2d(2)] if pooled else []), bl.nn.BatchNormSign()]
    layers += [Competition(3), bl.nn.Flatten(), BinaryLinear(4), bl.nn.BatchNorm(), Sign(), Competition(2), Linear(3)]
    model = Model(layers, (6, 6, 2), precision="int8")
    rng = np.random.default_rng(1)
    model["head1"].weight[...] = rng.normal(size=(3, 4))
    winners = random_winners(model, 2)
    x = rng.integers(-128, 127, (4, 6, 6, 2), dtype=np.int8)
    first, second = (competitions(model)[name].channels(winners[name]) for name in winners)
    kernels = np.where(model["conv1"].weight >= 0, 1, -1)[first]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(int), (3, 3), axis=(1, 2))
    maps = np.einsum("byxcij,oijc->byxo", windows, kernels)
    if pooled:
        maps = maps.reshape(4, 2, 2, 2, 2, -1).max(axis=(2, 4))
    bits = np.where(maps >= 0, 1, -1).reshape(4, -1)
    positions = bits.shape[1] // len(first)
    columns = (np.arange(positions)[:, None] * 6 + first).reshape(-1)
    hidden = np.where(bits @ np.where(model["linear1"].weight >= 0, 1, -1)[second][:, columns].T >= 0, 1, -1)
    ticket = narrow(model, winners).model
    wanted = hidden @ ticket["head1"].weight.T
    np.testing.assert_array_equal(ticket["head1"].weight, model["head1"].weight[:, second])
    np.testing.assert_allclose(ticket.scores(x), wanted, rtol=0.02, atol=0.02)  # the head's weights have 8 bits


@pytest.mark.parametrize(
    ("layers", "winners", "says"),
    [
        ([RealLinear(4), Linear(2)], {}, "a ticket must be of a network whose units compete, got linear1, head1"),
        ([RealLinear(4), Competition(2), Linear(2)], {}, "winners of 'competition1' must be 2 integers, got float64"),
        ([RealLinear(4), Competition(2), Linear(2)], {"competition1": np.array([0, 2])}, "from 0 to 1, got 0 to 2"),
        (
            [RealLinear(4), Competition(2), Competition(2), Linear(2)],
            {"competition1": np.zeros(2, int), "competition2": np.zeros(2, int)},
            "a layer with weights must stand between two competitions",
        ),
        (
            [bl.nn.Residual([RealLinear(5), Competition(1)]), Linear(2)],
            {},
            "a ticket must be of layers in a row, got residual1",
        ),
    ],
)
def test_what_has_no_ticket(layers, winners, says):
    spec = Spec.real((5,)) if isinstance(layers[0], bl.nn.Residual) else (5,)
    with pytest.raises(ValueError, match=says):
        narrow(Model(layers, spec), winners)


@pytest.mark.parametrize("trained", [False, True])
def test_a_ticket_of_inputs_that_won_sees_these_alone(trained, rng):
    model = Model([Competition(3), RealLinear(4), Competition(2), Linear(2)], (15,), seed=1)
    winners = {"competition1": np.array([2, 0, 1, 0, 2]), "competition2": np.array([1, 0])}
    ticket = narrow(model, winners, trained=trained)
    layer, x = model["competition1"], rng.integers(-128, 128, (6, 15)).astype(np.int8)
    seen = layer.channels(winners["competition1"])
    assert sorted(layer.order) == list(range(15)) and (layer.order[1:4] == np.array([1, 2, 3]) * 11 % 15).all()
    assert (layer.by_block(np.arange(15)) == layer.order.reshape(5, 3)).all()
    first = model["linear1"].weight[np.ix_([1, 2], seen)]
    expected = (x[:, seen] / 128) @ first.T @ model["head1"].weight[:, [1, 2]].T
    np.testing.assert_allclose(ticket.model.apply(x), expected, rtol=1e-5, atol=1e-6)
    assert ticket.shared == {"linear1.weight"}
    np.testing.assert_array_equal(ticket.model["competition1"].channels, seen)


def test_inputs_stand_in_no_file_that_names_them_wrongly(tmp_path):
    model = Model([bl.nn.Selection(2), RealLinear(2), Linear(2)], (5,))
    model["selection1"].channels[...] = [4, 1]
    for each in (model, model.freeze()):
        bl.save(each, tmp_path / "model")
        found = bl.load(tmp_path / "model")
        x = np.arange(10, dtype=np.int8).reshape(2, 5)
        np.testing.assert_array_equal(found.apply(x), model.apply(x))
    for wrong in ([4, 4], [-1, 0], [5, 0]):
        with pytest.raises(ValueError, match="channels must be different numbers from 0 to 4"):
            model["selection1"].check({"channels": np.array(wrong)})
    for make, says in (
        (lambda: Model([bl.nn.Selection(6), Linear(2)], (5,)), "a selection of 6 channels must get as many or more"),
        (lambda: Model([bl.nn.Selection(2), Linear(2)], Spec.bits((5,))), "a selection must get codes or real values"),
    ):
        with pytest.raises(ValueError, match=says):
            make()


def test_a_selection_of_real_values_passes_their_gradient_back(rng):
    whole = Model([RealLinear(5), bl.nn.Selection(2), Linear(3)], (4,), seed=2)
    small = Model([RealLinear(2), Linear(3)], (4,), seed=3)
    whole["selection1"].channels[...] = [3, 0]
    small["linear1"].weight[...] = whole["linear1"].weight[[3, 0]]
    small["head1"].weight[...] = whole["head1"].weight
    others = whole["linear1"].weight[[1, 2, 4]].copy()
    x, y = rng.integers(-99, 99, (8, 4)).astype(np.int8), np.arange(8) % 3
    for model in (whole, small):
        trainer = bl.training.Trainer(model, bl.optim.sgd(0.1))
        for _ in range(3):
            trainer.step(x, y, 0.1)
    np.testing.assert_array_equal(whole["linear1"].weight[[3, 0]], small["linear1"].weight)
    np.testing.assert_array_equal(whole["linear1"].weight[[1, 2, 4]], others)


def test_a_layer_of_ones_own_cannot_be_cut_down():
    class Mine(bl.nn.ReLU):
        def narrowed(self, inputs, outputs):
            return bl.nn.Layer.narrowed(self, inputs, outputs)

    model = Model([RealLinear(4), Mine(), Competition(2), Linear(2)], (3,))
    with pytest.raises(ValueError, match="a ticket must be of layers that can be cut down to channels, got a Mine"):
        narrow(model, {"competition1": np.zeros(2, int)})


# --- real layers and subnetworks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 63, 65])
def test_a_real_layer_is_a_product(count):
    rng = np.random.default_rng(count)
    layer = bound(RealLinear(5), Spec.real((count,)))
    x, d = rng.normal(size=(7, count)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
    found = passes(layer, x, d)
    np.testing.assert_allclose(found.y, x.astype(float) @ layer.weight.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.dx, d.astype(float) @ layer.weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.parameters["weight"].values, d.T.astype(float) @ x, rtol=1e-4, atol=1e-5)
    codes = rng.integers(-128, 127, (7, count), dtype=np.int8)
    of_codes = passes(bound(RealLinear(5), Spec.codes((count,))), codes, d, wanted=False)
    np.testing.assert_allclose(of_codes.parameters["weight"].values, d.T @ (codes / 128), rtol=1e-4, atol=1e-5)


def test_a_subnetwork_is_straight_through_its_choice():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    layer = bound(SubnetworkLinear(6, share=0.3), Spec.real((11,)))
    x, d = rng.normal(size=(5, 11)).astype(np.float32), rng.normal(size=(5, 6)).astype(np.float32)
    found = passes(layer, x, d)
    weight, scores = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (layer.weight, layer.scores))
    inputs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    size = scores.abs()
    limit = size.detach().flatten().sort(descending=True).values[round(0.3 * 66) - 1]
    mask = size + ((size >= limit).double() - size).detach()
    y = inputs @ (weight * mask).T
    (y * torch.tensor(d)).sum().backward()
    np.testing.assert_allclose(found.y, y.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.dx, inputs.grad, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.parameters["weight"].values, weight.grad, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.parameters["scores"].values, scores.grad, rtol=1e-4, atol=1e-5)


def test_as_many_scores_as_wanted_are_the_largest():
    assert largest(np.array([[1.0, -1.0], [1.0, 0.5]]), 2).tolist() == [[True, True], [False, False]]
    scores = np.random.default_rng(0).normal(size=(30, 41))
    found = largest(scores, 100)
    assert found.sum() == 100 and abs(scores[found]).min() >= abs(scores[~found]).max()


def test_subnetworks_are_of_real_gradients():
    with pytest.raises(ValueError, match="a layer of subnetworks must have precision 'standard', got 'int8'"):
        Model([SubnetworkLinear(2)], (4,), precision="int8")
