"""The rungs of low-memory training: what is kept in few bits, and what is formed anew without a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small
from guards import results_of, rivals

import bitlearn as bl
from bitlearn import memory
from bitlearn.nn import Savings
from bitlearn.optim import blocks
from bitlearn.rng import Key

MIB = 2.0**20
ALL = Savings(sums=64, keep=0, summed=True, repack=True)


def norm(policy: str) -> str:
    return bl.precision.policy(policy).norm


def trained(name, precision, optimizer, savings=None, steps=3, head="binary") -> dict[str, np.ndarray]:
    """All arrays behind some steps: parameters, statistics and the optimiser's state."""
    model = small.model(name, precision, head)
    rule = bl.optim.OPTIMIZERS[optimizer]()
    trainer = bl.training.Trainer(model, rule, 5, savings=savings or Savings())
    data = small.examples(name, 12)
    for _ in range(steps):
        trainer.step(data.codes(), data.y, 0.01)
    return model.state() | {f"state.{key}": array for key, array in trainer.state.items()}


def same(a, b) -> None:
    assert a.keys() == b.keys()
    for key, array in a.items():
        np.testing.assert_array_equal(array, b[key], err_msg=key)


@pytest.mark.parametrize(
    "savings",
    [
        *(ALL, Savings(keep=2000, summed=True), Savings(repack=True), Savings(keep=0)),
        *(Savings(keep=20000, summed=True, partly=True), Savings(sums=64, keep=1500, partly=True)),
    ],
)
@pytest.mark.parametrize("precision", [*small.INTEGER, *small.APART, "standard"])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_savings_change_no_bit(name, precision, savings):
    same(trained(name, precision, "adam", savings), trained(name, precision, "adam"))


@pytest.mark.parametrize(
    "savings",
    [Savings(recompute=True), replace(ALL, recompute=True), replace(ALL, recompute=True, block=200, partly=True)],
)
@pytest.mark.parametrize("precision", [*(name for name in small.INTEGER if norm(name) == "l2"), small.APART[0]])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_sums_that_are_formed_again_change_no_bit(name, precision, savings):
    """Of a pool too, and of the codes that a network begins with; the weights they are of have not changed yet."""
    kept = replace(bl.precision.policy(precision), recompute=False)
    same(trained(name, kept, "adam", savings), trained(name, kept, "adam"))


def test_the_exact_policy_is_that_of_signs_with_fewer_bytes():
    for name in ("mlp", "cnv", "binarynet"):
        same(trained(name, "low-memory-exact", "sgd"), trained(name, "float16-sign", "sgd"))
    found = {}
    for precision in ("low-memory-exact", "low-memory", "float16-sign"):
        rows = memory.predict(bl.models.binarynet(precision=precision), bl.optim.adam(), 100)
        found[precision] = sum(row.bytes for row in rows)
        between = {row.variable for row in rows if row.lifetime == "forward to backward"}
        assert ("Y" in between) == (precision == "float16-sign")
    assert found["low-memory-exact"] < found["low-memory"] < found["float16-sign"] - 30 * MIB


def test_sums_with_room_are_formed_again_but_once():
    """Of a step's largest sums, and of all where gradients are formed too, each pass forms its own."""
    model = bl.models.binarynet(filters=(64, 64, 64, 64), dense=(64,), precision="low-memory-exact")

    def formed(path: str, savings: Savings) -> int:
        """How many images' sums the backward pass forms."""
        program = bl.training.Trainer(model, bl.optim.adam(), savings=savings).record(16).program
        calls = [call for call in program.calls if call.path == path and call.phase == "backward"]
        products = ("unfold_codes", "xnor_conv2d", "xnor_conv2d_recoded", "xnor_matmul")
        return sum(len(call.arguments[-1]) for call in calls if call.kernel in products)

    # The first product unfolds its images for the weights' gradient too.
    names = ("conv1", "conv2", "conv3", "conv4", "linear1")
    assert [formed(name, Savings()) // 16 for name in names] == [3 + 1, 1, 1, 1, 1]
    tight = Savings(keep=1000, summed=True)
    assert all(formed(name, tight) >= 3 * 16 for name in names[1:4])


def test_only_sums_that_can_be_formed_again_are():
    """After a pool of real values, or of sums that frozen taps share, they are kept."""
    exact = bl.precision.policy("low-memory-exact")
    for precision in (exact, replace(exact, recompute=False)):
        model = bl.models.resnete18((16, 16, 3), 4, width=8, blocks=(1, 1), precision=precision)
        trainer = bl.training.Trainer(model, bl.optim.sgd())
        x = np.random.default_rng(3).integers(-128, 128, (6, 16, 16, 3)).astype(np.int8)
        trainer.step(x, np.arange(6) % 4, 0.01)
        if precision is exact:
            expected = model.state()
    same(model.state(), expected)


def test_a_part_of_a_gradient_is_kept():
    """Bytes and work of a step lie between those that keep gradients and those that form them anew."""
    model = bl.models.binarynet(filters=(64, 64, 64, 64), dense=(64,), precision="low-memory")
    whole = 16 * 32 * 32 * 64 * 2
    sizes, work = [], []
    for keep, partly in ((whole, False), (3 * whole // 4, True), (whole // 4, True), (whole // 4, False)):
        savings = Savings(2**14, keep, True, True, partly=partly)
        program = bl.training.Trainer(model, bl.optim.adam(), savings=savings).record(16).program
        sizes.append(program.nbytes)
        work.append(sum(call.kernel == "conv2d_grad_input" for call in program.calls))
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4
    assert work == sorted(work) and len(set(work)) == 4
    assert [Savings(keep=100, partly=True).held(8, nbytes) for nbytes in (100, 101, 160, 801)] == [8, 6, 4, 0]
    assert Savings(keep=100).held(8, 101) == 0 and Savings().held(8, 10**9) == 8


@pytest.mark.parametrize("precision", ["lowest-memory", "int8", "dual-8", "dual-16"])
@pytest.mark.parametrize(("sums", "products"), [(1, 2 * 12), (100, 2 * 4), (1000, 1)])
def test_a_real_heads_sums_are_formed_twice_where_not_all_fit(precision, sums, products):
    """Of 12 examples and 33 values each: one by one, three at a time, all at once."""
    few = Savings(sums=sums)
    same(trained("mlp", precision, "sgd", few, head="real"), trained("mlp", precision, "sgd", head="real"))
    trainer = bl.training.Trainer(small.model("mlp", precision, "real"), bl.optim.sgd(), savings=few)
    assert sum(call.kernel == "integer_product" for call in trainer.record(12).program.calls) == products


@pytest.mark.parametrize("wrong", [{"sums": 0}, {"sums": -5}, {"keep": -1}, {"block": 0}])
def test_savings_that_cannot_be(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be at least {int(name != 'keep')}, got {value}"):
        Savings(**wrong)


def test_savings_need_fewer_bytes():
    model = bl.models.binarynet(filters=(64, 64, 64, 64), dense=(64,), precision="lowest-memory")
    sizes = [
        bl.training.Trainer(model, bl.optim.adam(), savings=savings).record(16).program.nbytes
        for savings in (Savings(2**19), Savings(sums=2**14), Savings(2**14, 2**18, True, True))
    ]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < sizes[0] / 2


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("precision", small.INTEGER)
def test_the_same_bits_from_every_backend_and_any_threads(precision, optimizer):
    expected = trained("binarynet", precision, optimizer, ALL, steps=2)
    found = []
    for backend in ("reference", "jit", "cext:portable"):
        try:
            with bl.use_backend(backend):
                found.append(trained("binarynet", precision, optimizer, steps=2))
        except ValueError:
            continue  # not available here
    before = bl.get_num_threads()
    bl.set_num_threads(2)
    try:
        found.append(trained("binarynet", precision, optimizer, steps=2))
    finally:
        bl.set_num_threads(before)
    for each in found:
        same(each, expected)


# Moments in 8 bits


def test_blocks_divide_what_feeds_an_output():
    for shape in ((512, 3, 3, 256), (256, 784), (64, 3, 3, 3), (10, 509), (7, 1), (3, 262)):
        size, fan_in = blocks.block_size(shape), int(np.prod(shape[1:]))
        assert fan_in % size == 0 and (size <= 256 or size == fan_in)


@pytest.mark.parametrize(("kernel", "variant"), rivals("store_moments"))
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_moments_are_kept_on_average(kernel, variant, dtype):
    """Rounding at random is unbiased: over many keys the mean of what is read is what was stored."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(2, 200)).astype(np.float32)
    values = values**2 if dtype == np.uint8 else values
    total, count = np.zeros(values.shape), 300
    for step in range(count):
        codes, scale = np.empty(values.shape, dtype), np.empty(2, np.float32)
        key = Key(1, step, 0).as_words()
        codes, scale = results_of(kernel, variant, (values, key, 0, codes, scale))
        root = codes * scale[:, None].astype(np.float64)
        total += root
    exact = np.sqrt(values.astype(np.float64)) if dtype == np.uint8 else values
    # Of a code's width, with a deviation of half of it at most; roots below a code are raised to it.
    width = scale[:, None].astype(np.float64)
    sure = np.abs(exact) >= (width if dtype == np.uint8 else 0)
    assert (np.abs(total / count - exact) <= 5 * 0.5 * width / np.sqrt(count))[sure].all()


@pytest.mark.parametrize(("kernel", "variant"), rivals("store_moments"))
def test_no_square_above_zero_is_lost(kernel, variant):
    values = np.array([[1.0, 1e-20, 1e-12, 0.0]], dtype=np.float32)
    codes, scale = np.empty(values.shape, np.uint8), np.empty(1, np.float32)
    codes, scale = results_of(kernel, variant, (values, Key(0).as_words(), 0, codes, scale))
    assert codes[0, 0] == 255 and (codes[0, 1:3] == 1).all() and codes[0, 3] == 0
    codes, scale = results_of(kernel, variant, (0 * values, Key(0).as_words(), 0, codes, scale))
    assert not codes.any() and not scale.any()


def test_an_update_with_moments_in_8_bits_is_the_rule_on_what_they_stand_for(rng):
    policy = bl.precision.policy("lowest-memory")
    parameters = {"w": rng.normal(size=(6, 40)).astype(np.float16)}
    rule = bl.optim.adam()
    state = rule.init(parameters, policy, {"w"})
    assert (state["w.mean"].dtype, state["w.square"].dtype) == (np.int8, np.uint8)
    assert state["w.mean.scale"].shape == (6,)
    for step in range(1, 4):
        mean = state["w.mean"] * state["w.mean.scale"][:, None]
        square = (state["w.square"] * state["w.square.scale"][:, None]) ** 2
        old, g = parameters["w"].astype(np.float32), rng.normal(size=(6, 40)).astype(np.float32)
        rule.update(parameters, {"w": g}, state, 0.01, seed=9)
        plain = {"w": old.copy()}
        float_state = {"step": np.array(step - 1), "w.mean": mean.copy(), "w.square": square.copy()}
        rule.update(plain, {"w": g}, float_state, 0.01)
        np.testing.assert_array_equal(parameters["w"], plain["w"].astype(np.float16))
        again = state["w.mean"] * state["w.mean.scale"][:, None]
        assert (np.abs(again - float_state["w.mean"]) <= state["w.mean.scale"][:, None] * 1.001).all()
        root = state["w.square"] * state["w.square.scale"][:, None]
        assert (np.abs(root - np.sqrt(float_state["w.square"])) <= state["w.square.scale"][:, None] * 1.001).all()


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_a_checkpoint_holds_scales_and_codes(optimizer, tmp_path):
    data, path = small.examples("mlp", 24), tmp_path / "training"
    whole = small.model("mlp", "lowest-memory")
    options = {"epochs": 4, "batch_size": 8, "seed": 2}
    rule = bl.optim.OPTIMIZERS[optimizer]()
    bl.training.fit(whole, rule, data, bl.training.Options(**options))

    class Stop(Exception):
        pass

    class Stopping(bl.training.Hook):
        def on_step(self, step, steps, loss):
            if step == 8:
                raise Stop

    with pytest.raises(Stop):
        bl.training.fit(
            small.model("mlp", "lowest-memory"),
            rule, data, bl.training.Options(**options), checkpoint=path, hooks=Stopping(),
        )  # fmt: skip
    resumed = small.model("mlp", "lowest-memory")
    bl.training.fit(resumed, rule, data, bl.training.Options(**options), checkpoint=path, resume=True)
    same(resumed.state(), whole.state())


@pytest.mark.parametrize("precision", small.INTEGER)
def test_networks_learn(precision):
    data, model = small.examples("mlp", 400), small.model("mlp", precision)
    bl.training.fit(model, bl.optim.adam(), data, bl.training.Options(epochs=20, batch_size=50))
    assert bl.training.accuracy(model, data) > 0.9


# Powers of two


@pytest.mark.parametrize(("kernel", "variant"), rivals("powers_of_two"))
def test_gradients_are_rounded_as_published(kernel, variant):
    """Against the formula of the first version of arXiv 2102.04270, with the largest code as the largest gradient.

    It has no zero: what is 0 would become half of the smallest code, which is the only difference.
    """
    codes = np.arange(-32767, 32768, dtype=np.int16).reshape(1, -1)
    (found,) = results_of(kernel, variant, (codes.copy(),))
    g = codes.astype(np.float64)
    bias = -np.round(np.log2(np.abs(g).max())) + 8
    with np.errstate(divide="ignore"):
        exponent = np.clip(np.round(np.log2(np.abs(g) * 2.0**bias)), -8, 7)
    published = np.sign(g) * 2.0 ** (exponent - bias)
    np.testing.assert_array_equal(found, published)
    assert len(np.unique(found)) == 31


# float16


@pytest.mark.parametrize("precision", ["float16", "float16-sign"])
@pytest.mark.parametrize(("optimizer", "moment"), [("adam", "square"), ("sgd", "velocity"), ("bop", "flip")])
def test_what_float16_cannot_hold_is_kept_in_float32(precision, optimizer, moment):
    """Squares and ten-thousandths of whole gradients are below the smallest float16; those of signs are not."""
    model, rule = small.model("mlp", precision), bl.optim.OPTIMIZERS[optimizer]()
    state = bl.training.Trainer(model, rule).state
    kind = state[f"linear1.weight.{moment}"].dtype
    assert kind == (np.float16 if precision == "float16-sign" else np.float32)
    data = small.examples("mlp", 400)
    bl.training.fit(model, rule, data, bl.training.Options(epochs=10, batch_size=50))
    assert bl.training.accuracy(model, data) > 0.8  # a chance of 0.25


def test_moments_of_whole_gradients_do_not_vanish_under_bop():
    """A mean of 1/10,000 at a time, beside the same policy with float32 moments: the same bits."""
    data, found = small.examples("mlp", 400), []
    for moments in (np.float16, np.float32):
        policy = replace(bl.precision.policy("float16"), name="f", moments=np.dtype(moments))
        model = small.model("mlp", policy)
        trainer = bl.training.Trainer(model, bl.optim.bop())
        for _ in range(5):
            trainer.step(data.codes(slice(0, 50)), data.y[:50], 0.001)
        assert np.count_nonzero(trainer.state["linear2.weight.flip"]) > 0
        found.append(model.state() | trainer.state)
    same(*found)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_transforms_may_make_small_numbers_of_signs(optimizer):
    """Which a float16 loses: with clipped norms, moments are float32, as those of whole gradients are."""
    data, model = small.examples("mlp", 100), small.model("mlp", "low-memory")
    plain = bl.training.Trainer(small.model("mlp", "low-memory"), bl.optim.OPTIMIZERS[optimizer]())
    trainer = bl.training.Trainer(model, bl.optim.OPTIMIZERS[optimizer](), transforms=(bl.optim.clip(1e-6),))
    trainer.step(data.codes(slice(0, 50)), data.y[:50], 0.001)
    for name, array in trainer.state.items():
        if name.startswith("linear1.weight."):
            assert plain.state[name].dtype == np.float16 and array.dtype == np.float32
            assert np.count_nonzero(array) > array.size // 2


# The ladder


def test_the_ladder_is_the_published_one():
    rungs = {rung.name: rung for rung in memory.ladder("binarynet", 100, "adam")}
    for name, total, ratio in (
        ("all float32", 512.81, 1.0),
        ("all float16", 256.40, 2.00),
        ("float16, dW as bits", 231.33, 2.22),
        ("low-memory", 138.13, 3.71),
        ("float32, X and masks as bits", 320.19, 1.60),
    ):
        assert rungs[name].bytes / MIB == pytest.approx(total, abs=0.01)
        assert rungs[name].ratio == pytest.approx(ratio, abs=0.005)
    # CNV with its masks at the pools' inputs on both sides.
    cnv = {rung.name: rung for rung in memory.ladder("cnv")}["low-memory"]
    assert (cnv.bytes / MIB, cnv.ratio) == (pytest.approx(32.91, abs=0.01), pytest.approx(3.92, abs=0.005))
    with pytest.raises(ValueError, match="model_name must be mlp, cnv or binarynet, whose weights are all binary"):
        memory.ladder("resnete18")


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_the_ladder_ends_in_the_published_totals(optimizer):
    for name in ("mlp", "binarynet"):
        rungs = memory.ladder(name, 100, optimizer)
        found = memory.account(name, 100, optimizer, "paper-final")
        # Rows are rounded to bytes one by one.
        assert abs(rungs[0].bytes - found.standard_bytes) < 8
        low = next(rung for rung in rungs if rung.name == "low-memory")
        assert abs(low.bytes - found.low_memory_bytes) < 8
