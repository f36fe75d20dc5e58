"""Two bit widths: a head's and a convolution's step against plain integers, integer latent weights, and what flips."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import small
from published import check_requantized, sgn
from recorded import bits, bound, gradient, inferred, passes

import bitlearn as bl
from bitlearn import nn, streams
from bitlearn.backends import variants
from bitlearn.errors import NonFiniteError
from bitlearn.nn import BinaryConv2d, Linear, Spec
from bitlearn.nn.step import ParameterGradient
from bitlearn.optim import quantized_sgd
from bitlearn.precision import POLICIES, Precision, dual, policy
from bitlearn.rng import Key
from bitlearn.training import FlipRatio, Options, Trainer, fit, flip_ratio, signs

WIDTHS = [(forward, backward) for forward in (8, 16) for backward in (8, 16)]
LIMIT = {8: 127, 16: 32767}
TYPE = {8: np.int8, 16: np.int16}


def rounded(values: np.ndarray, words: np.ndarray | None) -> np.ndarray:
    """Integers next to float64 values: ties to even, or up where a random word is below the fraction."""
    if words is None:
        return np.rint(values)
    whole = np.floor(values)
    return whole + (words.reshape(values.shape) < (values - whole) * 2.0**32)


def codes_of(real: np.ndarray, bits: int) -> tuple[np.ndarray, np.float32]:
    """Symmetric codes of float32 values, and what one is worth: the largest magnitude gets the largest code."""
    scale = np.float32(np.abs(real).max()) / np.float32(LIMIT[bits])
    return np.rint(real / scale).astype(np.int64), scale


def latents_after(codes, gradient, rate, rule, width, words):
    """The rule of the docs on codes, written down."""
    limit = LIMIT[width]
    base = codes.astype(np.float64) if rule == "mended" else np.where(codes >= 0, limit, -limit)
    change = gradient.astype(np.float32) * np.float32(rate) * np.float32(limit)
    return rounded(np.clip(base - change, -limit, limit), words if rule == "mended" else None)


def noise(rule: str, step: int, count: int, parameter: int = 0) -> np.ndarray | None:
    return Key(7, step, streams.UPDATES + parameter).words(count) if rule == "mended" else None


# --- A step of the head ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["mended", "paper"])
@pytest.mark.parametrize(("forward", "backward"), WIDTHS)
@pytest.mark.parametrize("inputs", [1, 70, 128])
def test_a_step_of_the_head(forward, backward, rule, inputs, rng, variant):
    batch, classes, rate = 9, 5, 0.37
    model = nn.Model([Linear(classes)], Spec.bits((inputs,)), precision=dual(forward, backward))
    model["head1"].weight[...] = weight = rng.normal(size=(classes, inputs)).astype(np.float32) / np.float32(inputs)
    x, y = sgn(rng.normal(size=(batch, inputs))), rng.integers(0, classes, batch)
    trainer = Trainer(model, quantized_sgd(rate, rule), seed=7, steps=3)
    loss = trainer.step(bits(x), y, rate)

    own, scale = codes_of(weight, forward)
    scores = ((x.astype(np.int64) @ own.T) * float(scale)).astype(np.float32).astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    levels = 2**forward - 1
    d = np.rint(powers / powers.sum(axis=1, keepdims=True) * levels).astype(np.int64)
    d[np.arange(batch), y] -= levels
    step = max(np.abs(d).max() / LIMIT[backward], 1)
    sums, worth = np.rint(d / step).astype(np.int64).T @ x.astype(np.int64), 1 / (levels * batch) * step
    change = (sums * worth).astype(np.float32) * np.float32(rate)
    real = (weight.astype(np.float64) - change).astype(np.float32)
    grid = float(np.float32(np.abs(real).max()) / np.float32(LIMIT[backward]))
    grid = 2.0 ** np.ceil(np.log2(grid)) if rule == "mended" else grid
    codes = rounded(real.astype(np.float64) / grid, noise(rule, 3, real.size))
    wanted = np.clip(codes, -LIMIT[backward], LIMIT[backward]) * grid
    np.testing.assert_array_equal(model["head1"].weight, wanted.astype(np.float32))
    assert loss == pytest.approx(float(np.mean(-np.log(powers / powers.sum(1, keepdims=True))[np.arange(batch), y])))


@pytest.mark.parametrize(("forward", "backward"), [*WIDTHS, (8, None), (None, 8), (None, None)])
@pytest.mark.parametrize("inputs", [3, 65])
def test_the_heads_products(forward, backward, inputs, rng):
    """Forward codes of one width, backward codes of another; on bits and on real values."""
    for real in (False, True):
        layer = bound(Linear(4), Spec.real((inputs,)) if real else Spec.bits((inputs,)), dual(forward, backward))
        layer.weight[...] = rng.normal(size=layer.weight.shape)
        plain = rng.normal(size=(6, inputs)).astype(np.float32) if real else sgn(rng.normal(size=(6, inputs)))
        g = gradient(rng, layer.precision, 6, 4)
        found = passes(layer, plain if real else bits(plain), g)
        exact = plain @ layer.weight.astype(np.float64).T
        # A code of a weight is within half a step of it, and so is one of 8 bits of a real value.
        size = np.abs(plain).sum(axis=1, keepdims=True)
        loss = 0 if forward is None else np.abs(layer.weight).max() / LIMIT[forward]
        loss += np.abs(layer.weight).sum(axis=1).max() / 127 if real and forward else 0
        np.testing.assert_allclose(found.y, exact, atol=float((size * loss).max()) + 1e-4)
        if not real and forward:
            own, scale = codes_of(layer.weight, forward)
            np.testing.assert_array_equal(found.y, ((plain.astype(np.int64) @ own.T) * float(scale)).astype(np.float32))
        if backward is not None:
            own, scale = codes_of(layer.weight, backward)
            check_requantized(found.dx, g.values.astype(np.int64) @ own, backward, g.scale * float(scale))
        np.testing.assert_array_equal(found.y, inferred(layer, plain if real else bits(plain)))
        wanted = (g if backward is None else g.values * float(g.scale)).T.astype(np.float64) @ plain
        most = np.abs(wanted).max() + np.abs(g if backward is None else g.values * float(g.scale)).sum() * size.max()
        np.testing.assert_allclose(found.parameters["weight"].real(layer.weight), wanted, atol=most / 100)


# --- A step of a convolution -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["mended", "paper"])
@pytest.mark.parametrize("latent", [8, 16])
@pytest.mark.parametrize("backward", [8, 16])
def test_a_step_of_a_convolution(backward, latent, rule, rng, variant):
    layer = bound(BinaryConv2d(5), Spec.bits((4, 3, 66)), dual(8, backward, latent_bits=latent))
    before, limit = rng.integers(-9, 10, size=layer.weight.shape), LIMIT[latent]
    assert layer.weight.dtype == TYPE[latent]
    layer.weight[...] = before
    plain, g = sgn(rng.normal(size=(2, 4, 3, 66))), gradient(rng, layer.precision, 2, 4, 3, 5, scale=1e-6)
    found = passes(layer, bits(plain), g)
    np.testing.assert_array_equal(found.y, oracles.conv2d(plain, np.where(before >= 0, 1, -1), 1, "same"))
    dx = oracles.grad_input(g.values.astype(np.int64), np.where(before >= 0, 1, -1), (4, 3), 1, "same")
    check_requantized(found.dx, dx, backward, g.scale)
    dw = oracles.grad_weight(g.values.astype(np.int64), plain, (3, 3), 1, "same", 0)
    np.testing.assert_array_equal(found.parameters["weight"].values, dw)

    # The sums and their scale into the update, as the network's step takes them.
    weight, rate = layer.weight, 1.0 / (limit * 2e-6)
    stepped(weight, dw, g.scale, rate, rule)
    gradient_of_w = (dw * float(g.scale)).astype(np.float32)
    wanted = latents_after(before, gradient_of_w, rate, rule, latent, noise(rule, 0, before.size))
    np.testing.assert_array_equal(weight, wanted)
    assert rule == "paper" or (weight != before).any()


def stepped(weight, sums, scale, rate, rule) -> None:
    """Update integer latent weights by integer sums and a scale, as a recorded step does."""
    from bitlearn.nn.step import Step, training_key
    from bitlearn.optim.rule import Updates
    from bitlearn.program import Program

    updates, optimizer = Updates(Step(1)), quantized_sgd(rate, rule, binary_factor=1.0)
    values = np.ascontiguousarray(sums, dtype=np.int64)
    found = ParameterGradient(updates.step.constant(values), updates.step.constant(np.array([float(scale)])), 1.0)
    optimizer.record(updates, "weight", found, weight, {})
    program = Program(updates.step)
    updates.write(1, rate)
    for key, stream in updates.step.keys:
        key.outside()[...] = training_key(7, 0, streams.ROUNDING + stream)
    program.run()


# --- What flips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [8, 16])
def test_the_published_rule_flips_nothing_where_the_mended_one_does(latent, variant):
    """Gradients against every weight, just short of one code less than the whole range: rate * |G| is almost 1."""
    limit = LIMIT[latent]
    codes = np.array([1, -1, 3, -3, limit, -limit, 0], dtype=TYPE[latent])[None]
    against = np.where(codes >= 0, 1.0, -1.0).astype(np.float32)
    for share, flipped in (((limit - 1) / limit, False), (1 + 2 / limit, True)):
        weights = {rule: codes.copy() for rule in ("paper", "mended")}
        for rule, weight in weights.items():
            optimizer = quantized_sgd(1.0, rule, binary_factor=1.0)
            state = optimizer.init({"w": weight}, dual(latent_bits=latent), {"w"})
            optimizer.update({"w": weight}, {"w": against * np.float32(share)}, state, 1.0)
        np.testing.assert_array_equal((weights["paper"] >= 0) != (codes >= 0), flipped)
        # One that is at the end of its range is the same to both.
        assert (((weights["mended"] >= 0) != (codes >= 0)) == [[True] * 4 + [flipped] * 2 + [True]]).all()


def test_the_published_rule_forgets_what_went_before():
    """A thousand steps of a tenth of the range end where one does; latent weights add them up."""
    weights = {rule: np.full((3, 5), 127, dtype=np.int8) for rule in ("paper", "mended")}
    for rule, weight in weights.items():
        optimizer = quantized_sgd(1.0, rule, binary_factor=1.0)
        state = optimizer.init({"w": weight}, dual(latent_bits=8), {"w"})
        for _ in range(1000):
            optimizer.update({"w": weight}, {"w": np.full(weight.shape, 0.1, np.float32)}, state, 1.0)
    assert (weights["paper"] == round(127 * 0.9)).all() and (weights["mended"] == -127).all()


def test_random_rounding_is_unbiased():
    weight = np.zeros((300, 300), dtype=np.int8)
    optimizer = quantized_sgd(1.0, binary_factor=1.0)
    optimizer.update({"w": weight}, {"w": np.full(weight.shape, -0.25 / 127, np.float32)}, {"step": np.zeros(())}, 1.0)
    assert set(np.unique(weight)) == {0, 1}
    assert abs(weight.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / weight.size)


def test_float_latents_are_clipped_and_not_rounded(rng):
    model = small.model("mlp", "dual-16", "real")
    trainer = Trainer(model, quantized_sgd(0.1, binary_factor=1e6))
    data = small.examples("mlp", 8)
    trainer.step(data.codes(), data.y, 0.1)  # the head begins at 0, and gives no gradient
    before = model["linear2"].weight.copy()
    trainer.step(data.codes(), data.y, 0.1)
    weight = model["linear2"].weight
    assert weight.dtype == np.float32 and np.abs(weight).max() == 1
    inside = np.abs(weight) < 1
    assert (weight != before)[inside].any() and (np.rint(weight * 127) != weight * 127)[inside].any()


def test_a_head_on_its_grid_stays_where_it_has_no_gradient():
    """The grid's step is a power of two, so it moves only when the largest weight passes the next one."""
    weight = np.array([[1.0, 0.25, -0.5, 0.125]], dtype=np.float32)
    model = nn.Model([Linear(1)], Spec.bits((4,)), precision=dual(8, 8))
    model["head1"].weight[...] = weight
    trainer = Trainer(model, quantized_sgd(0.1))
    for _ in range(20):  # one class: the softmax is 1, and so no gradient
        trainer.step(bits(np.ones((2, 4))), np.array([0, 0]), 0.1)
    np.testing.assert_array_equal(model["head1"].weight, weight)


def test_the_flip_ratio(rng):
    model = small.model("mlp", dual(latent_bits=8), "real")
    before = signs(model)
    codes = model["linear2"].weight
    codes[0, :7] = ~codes[0, :7]  # -1 - code: another sign
    total = sum(model.parameters()[name].size for name in model.binary_parameters())
    assert flip_ratio(before, signs(model)) == 7 / total
    flips, options = FlipRatio(), Options(epochs=2, batch_size=8)
    result = fit(model, quantized_sgd(0.1, binary_factor=1e3), small.examples("mlp", 24), options, hooks=flips)
    assert len(flips.steps) == 6 and len(flips.epochs) == 2
    assert 0 < flips.epochs[0] <= sum(flips.steps[:3])
    assert [entry["flip_ratio_of_epoch"] for entry in result.history] == flips.epochs
    assert [entry["flip_ratio"] for entry in result.history] == [np.mean(flips.steps[:3]), np.mean(flips.steps[3:])]


# --- Whole networks --------------------------------------------------------------------------------------------------

NETWORKS = [dual(8, 8, latent_bits=8), dual(8, 16, latent_bits=16), dual(16, 16, latent_bits=8), POLICIES["dual-16"]]


def named(value: Precision) -> str:
    return value.name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("each", variants())
@pytest.mark.parametrize("rule", ["mended", "paper"])
@pytest.mark.parametrize("precision", NETWORKS, ids=named)
@pytest.mark.parametrize("name", ["mlp", "cnv"])
def test_the_same_bits_from_everywhere(name, precision, rule, each, threads):
    def trained() -> dict[str, bytes]:
        trainer = Trainer(small.model(name, precision, "real"), quantized_sgd(0.1, rule), seed=5)
        data = small.examples(name, 16)
        for at in (0, 8):
            trainer.step(data.codes()[at : at + 8], data.y[at : at + 8], 0.1)
        return small.everything(trainer.model, trainer.state)

    before = bl.get_num_threads()
    try:
        bl.set_num_threads(1)
        with bl.use_backend("reference"):
            wanted = trained()
        bl.set_num_threads(threads)
        with bl.use_backend(each):
            assert trained() == wanted
    finally:
        bl.set_num_threads(before)


@pytest.mark.parametrize("precision", NETWORKS, ids=named)
def test_saved_and_loaded(precision, tmp_path):
    model = small.model("mlp", precision, "real")
    trainer, data = Trainer(model, quantized_sgd()), small.examples("mlp", 8)
    trainer.step(data.codes(), data.y, 0.1)
    bl.save(model, tmp_path / "model")
    found = bl.load(tmp_path / "model")
    assert found.precision == precision and small.everything(found) == small.everything(model)
    np.testing.assert_array_equal(found.scores(data.codes()), model.scores(data.codes()))


def test_a_code_that_no_weight_has(tmp_path):
    model = small.model("mlp", dual(latent_bits=8), "real")
    model["linear1"].weight[0, 0] = -128
    with pytest.raises(ValueError, match="weight must be at least -127, got -128 in layer 'linear1'"):
        bl.save(model, tmp_path / "model")


@pytest.mark.parametrize("precision", NETWORKS, ids=named)
def test_resumed_after_an_interruption(precision, tmp_path):
    class Interrupted(bl.training.Hook):
        def on_step(self, step, steps, loss):
            if step == 7:
                raise KeyboardInterrupt

    def run(**how):
        model, options = small.model("mlp", precision, "real"), Options(epochs=3, batch_size=10, seed=5)
        fit(model, quantized_sgd(), small.examples("mlp", 43), options, **how)
        return small.everything(model)

    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path / "c", hooks=Interrupted())
    assert run(checkpoint=tmp_path / "c", resume=True) == run()


@pytest.mark.parametrize("latent", [8, 16])
def test_another_policy_keeps_the_signs(latent):
    data = small.examples("mlp", 20)
    model = small.model("mlp", "standard", "real")
    trainer = Trainer(model, bl.optim.adam())
    for _ in range(5):
        trainer.step(data.codes(), data.y, 0.01)
    model["linear1"].weight.flat[:4] = [1e-9, -1e-9, 0.0, -0.0]
    own = model.with_precision(dual(8, 16, latent_bits=latent))
    assert own["linear1"].weight.dtype == TYPE[latent]
    before, after = model.freeze().arrays, own.freeze().arrays
    assert {name: array.tobytes() for name, array in before.items()} == {n: a.tobytes() for n, a in after.items()}
    back = own.with_precision("standard")["linear2"].weight
    wanted = model["linear2"].weight
    np.testing.assert_allclose(back, np.clip(wanted, -1, 1), atol=1.0001 / LIMIT[latent])
    again = own.with_precision("standard").with_precision(own.precision)["linear2"].weight
    np.testing.assert_array_equal(again, own["linear2"].weight)


@pytest.mark.parametrize("consolidate", [False, True])
@pytest.mark.parametrize("rule", ["mended", "paper"])
def test_latent_replay_in_integers(rule, consolidate):
    """The part above a sign learns from stored bits; the same network from every backend, int8 latents all along."""
    data = small.examples("mlp", 160)
    scenario = bl.continual.class_incremental(data.x[:120], data.y[:120], data.x[120:], data.y[120:], 2)
    settings = {"epochs": 4, "batch_size": 16, "replay_size": 30, "consolidate": consolidate}
    found = []
    for each in ("reference", variants()[0]):
        model = bl.models.mlp(
            (7, 5, 1), small.CLASSES, hidden=(65, 33), head="real", precision=dual(8, 16, latent_bits=8), seed=3
        )
        with bl.use_backend(each):
            result = bl.continual.run("latent-replay", scenario, model, quantized_sgd(0.03, rule), **settings)
        found.append((small.everything(model), result.accuracy_matrix))
        assert model["linear2"].weight.dtype == np.int8
    assert found[0] == found[1]
    assert np.mean(found[0][1][-1]) > (0.6 if rule == "mended" else 0.25)


# --- Policies, and what is refused -----------------------------------------------------------------------------------


def test_the_policies_by_name():
    assert policy("dual-16") == dual() == dual(8, 16) and policy("dual-8") == dual(8, 8)
    assert [dual(f, b).gradient_bits for f, b in [*WIDTHS, (8, None), (8, 32)]] == [8, 16, 8, 16, None, None]
    assert [dual(f, 8).weight_bits for f in (8, 16, None)] == [8, 16, None]
    assert dual(None, 8).probability_bits is None and policy("int8").probability_bits is None
    for each in NETWORKS:
        assert policy(each.setting()) == each


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 8), r"forward_bits must be in \[2, 16\], 32 or None, got 1"),
        ((8, 17), r"bits must be in \[2, 16\], got 17"),
        ((8, 4), r"backward_bits must be in \[8, 16\], 32 or None, got 4"),
        ((8, 8, 4), "latent_bits must be 8, 16 or None, got 4"),
    ],
)
def test_widths_that_there_are_not(given, message):
    with pytest.raises(ValueError, match=message):
        dual(*given)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_other_rules_refuse_integers(optimizer):
    model = small.model("mlp", dual(latent_bits=8), "real")
    before = small.everything(model)
    with pytest.raises(ValueError, match=r"linear1.weight must be float32 or float16 for \w+, got int8"):
        Trainer(model, bl.optim.OPTIMIZERS[optimizer]())
    assert small.everything(model) == before


def test_what_the_rule_refuses():
    with pytest.raises(ValueError, match=r"weight must be float32 or int8 or int16 for QuantizedSGD, got float16"):
        Trainer(small.model("mlp", "low-memory"), quantized_sgd())
    with pytest.raises(ValueError, match="rule must be one of"):
        quantized_sgd(rule="best")
    with pytest.raises(ValueError, match="binary_factor must be a finite number above 0, got 0"):
        quantized_sgd(binary_factor=0)
    for layer in (nn.BinaryLinear(3, scaled=True), nn.BinaryConv2d(3, scaled=True)):
        spec = Spec.bits((4, 4, 3) if isinstance(layer, nn.BinaryConv2d) else (3,))
        with pytest.raises(ValueError, match="a scaled layer must have latent weights of float32 or float16, got int8"):
            nn.Model([layer], spec, precision=dual(latent_bits=8))


def test_a_weight_that_is_not_finite_is_named():
    model = nn.Model([Linear(2)], Spec.bits((4,)), precision=dual(8, 8))
    trainer = Trainer(model, quantized_sgd(0.1))
    x, y = bits(np.ones((2, 4))), np.array([0, 1])
    trainer.step(x, y, 0.1)
    model["head1"].weight[0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="head1"):
        trainer.step(x, y, 0.1)
