"""Real convolutions of real values: against sums in plain NumPy, exactly where these are of integers."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import small
from published import check_requantized
from recorded import bound, gradient, inferred, passes
from test_nn_reals import codes_of, operands, reals

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.errors import NonFiniteError
from bitlearn.nn import BatchNorm, Conv2d, Flatten, Linear, MaxPool2d, Model, ReLU, Residual, Savings, Spec, products
from bitlearn.training import Trainer

INTEGER = ["int8", "int4", "low-memory"]
#: kernel, stride, padding
WINDOWS = [
    ((3, 3), 1, "same"),
    ((3, 3), 1, 0),
    ((3, 2), (2, 3), "same"),
    ((2, 3), 3, (1, 2)),
    ((5, 1), 2, 2),
    ((1, 1), 2, 0),
    ((1, 1), 1, 1),
    ((2, 2), 1, 3),  # windows that lie past the edge altogether
    ((2, 1), 4, 3),
]
SHAPE, FILTERS = (7, 6, 9), 5


def made(windows, policy) -> Conv2d:
    kernel, stride, padding = windows
    return bound(Conv2d(FILTERS, kernel=kernel, stride=stride, padding=padding), Spec.real(SHAPE), policy)


@pytest.fixture(params=[2**18, 400], ids=["at once", "image by image"])
def _few(request, monkeypatch):
    monkeypatch.setattr(products, "WINDOW_VALUES", request.param)


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("policy", INTEGER)
def test_products_of_codes_are_exact(windows, policy, rng):
    kernel, stride, padding = windows
    layer, x = made(windows, policy), reals(rng, 4, *SHAPE)
    each = [codes_of(image, 8) for image in x]
    steps = np.array([step for _, step in each])
    weight, worth = codes_of(layer.weight, layer.precision.gradient_bits)
    values = np.stack([codes for codes, _ in each])
    exact = oracles.conv2d(values, weight, stride, padding)
    g = gradient(rng, policy, *exact.shape)
    found = passes(layer, x, g)
    np.testing.assert_allclose(found.y, exact * (steps * worth).reshape(-1, 1, 1, 1), rtol=1e-6)
    assert found.y.shape[1:] == layer.output.shape
    for count in (1000, 3, 1):  # an image's result does not depend on the others
        np.testing.assert_array_equal(inferred(layer, x, batch_size=count), found.y)
    # For the weights' gradient the codes get one scale.
    by = steps.max()
    alike = np.stack([np.rint(codes / max(by / step, 1)) for codes, step in each]).astype(np.int64)
    (for_weight, weight_scale), (for_input, input_scale) = operands(layer, g)
    dw = found.parameters["weight"]
    np.testing.assert_array_equal(dw.values, oracles.grad_weight(for_weight, alike, kernel, stride, padding))
    np.testing.assert_allclose(dw.scale, np.reshape(weight_scale, -1) * by, rtol=1e-12)
    assert dw.fan_in == 9 * kernel[0] * kernel[1]
    sums = oracles.grad_input(for_input, weight, SHAPE[:2], stride, padding)
    check_requantized(found.dx, sums, g.bits, input_scale * worth)
    assert passes(layer, x, g, wanted=False).dx is None


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("windows", WINDOWS)
def test_products_of_floats(windows, rng):
    """The oracle is for integers: whole numbers below 2**24 in all are exact in float32 too."""
    kernel, stride, padding = windows
    layer = made(windows, "standard")
    layer.weight[...] = weight = rng.integers(-9, 10, layer.weight.shape)
    x = rng.integers(-9, 10, (4, *SHAPE)).astype(np.float32)
    exact = oracles.conv2d(x, weight, stride, padding)
    g = rng.integers(-9, 10, exact.shape).astype(np.float32)
    found = passes(layer, x, g)
    np.testing.assert_array_equal(found.y, exact)
    np.testing.assert_array_equal(inferred(layer, x), exact)
    expected = oracles.grad_weight(g, x.astype(np.int64), kernel, stride, padding)
    np.testing.assert_array_equal(found.parameters["weight"].values, expected)
    np.testing.assert_array_equal(found.dx, oracles.grad_input(g, weight, SHAPE[:2], stride, padding))
    assert (found.y.dtype, found.dx.dtype) == (np.float32, np.float32)


def test_no_more_windows_are_formed_than_fit(monkeypatch, rng):
    """The bytes of a step beside maps and weights do not grow with the number of images."""
    most = {}
    for count in (8, 64):
        layer = bound(Conv2d(6), Spec.real((8, 8, 5)))
        monkeypatch.setattr(products, "WINDOW_VALUES", 4 * 64 * 9 * 6)
        x, g = reals(rng, count, 8, 8, 5), rng.normal(size=(count, 8, 8, 6)).astype(np.float32)
        program = passes(layer, x, g).program
        most[count] = max(each.nbytes for each in program.buffers if each.name == "scratch")
    assert most[8] == most[64] == 4 * 64 * 9 * 6 * 4


def test_what_is_kept_of_real_values_is_a_byte(rng):
    layer = bound(Conv2d(8), Spec.real((4, 4, 16)), "low-memory")
    program = passes(layer, np.ones((3, 4, 4, 16), np.float32), gradient(rng, "low-memory", 3, 4, 4, 8)).program
    backward = next(at for at, call in enumerate(program.calls) if call.phase == "backward")
    alive = [each for each in program.alive(backward) if 0 <= (each.first or 0) < backward - 1 and each.name == "X"]
    assert [(each.nbytes, each.dtype) for each in alive] == [(3 * 4 * 4 * 16, np.dtype(np.int8))]


@pytest.mark.parametrize("policy", INTEGER)
def test_values_that_are_not_finite_are_named(policy):
    layer = bound(Conv2d(3), Spec.real((2, 2, 4)), policy)
    x = np.ones((2, 2, 2, 4), dtype=np.float32)
    x[1, 0, 1, 2] = np.inf
    with pytest.raises(NonFiniteError, match="the values must be finite, got NaN or infinity"):
        passes(layer, x)


def test_sums_of_products_of_windows(rng):
    layer, x = bound(Conv2d(3, kernel=(2, 3), stride=2, padding=1), Spec.real((5, 4, 3))), reals(rng, 4, 5, 4, 3)
    rows = []
    canvas = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
    for image in canvas:
        for r, c in np.ndindex(*layer.output.shape[:2]):
            rows.append(image[2 * r : 2 * r + 2, 2 * c : 2 * c + 3].ravel())
    np.testing.assert_allclose(layer.gram(x), np.transpose(rows) @ rows, rtol=1e-12)


def test_multiply_adds_are_those_that_a_step_records(rng):
    layer, batch = bound(Conv2d(6, stride=2), Spec.real((8, 8, 5))), 3
    g = rng.normal(size=(batch, 4, 4, 6)).astype(np.float32)
    counts = {"forward": 0.0, "backward": 0.0}
    for call in passes(layer, reals(rng, batch, 8, 8, 5), g).program.calls:
        counts[call.phase] += call.operations().get("multiply float32", 0)
    assert layer.operations() == (0, 4 * 4 * 6 * 9 * 5)
    assert counts["forward"] == batch * layer.operations()[1]
    # The weights' gradient takes as many; the input's meets zeros between pixels too, so a window for each of its own.
    assert counts["backward"] == batch * (layer.operations()[1] + 8 * 8 * 5 * 9 * 6)


# --- in a network ----------------------------------------------------------------------------------------------------


def network(precision: str) -> Model:
    block = Residual([Conv2d(6, kernel=(3, 2)), BatchNorm()])
    layers = [Conv2d(6), BatchNorm(), ReLU(), block, MaxPool2d(2), Conv2d(7, stride=2), BatchNorm(), ReLU()]
    return Model([*layers, Flatten(), Linear(small.CLASSES)], (7, 5, 1), precision=precision, seed=4)


def trained(precision: str, savings: Savings = Savings()) -> tuple[dict[str, bytes], list[float]]:  # noqa: B008
    trainer, data = Trainer(network(precision), bl.optim.adam(), savings=savings), small.examples("mlp", 36)
    losses = [trainer.step(data.codes(rows), data.y[rows], 0.01) for rows in np.arange(36).reshape(3, 12)]
    return small.everything(trainer.model, trainer.state), losses


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("precision", INTEGER)
def test_the_same_bits_from_every_variant(precision, threads):
    before = bl.get_num_threads()
    try:
        bl.set_num_threads(1)
        with bl.use_backend("reference"):
            wanted = trained(precision)
        bl.set_num_threads(threads)
        for each in variants():
            with bl.use_backend(each):
                assert trained(precision) == wanted, each
    finally:
        bl.set_num_threads(before)


@pytest.mark.parametrize("precision", INTEGER)
def test_a_step_that_saves_memory_computes_the_same(precision):
    assert trained(precision, Savings(sums=64, keep=0, block=300, summed=True, repack=True)) == trained(precision)


@pytest.mark.parametrize("precision", ["standard", *INTEGER])
def test_a_network_learns_and_is_saved(precision, tmp_path):
    model, data = network(precision), small.examples("mlp", 240)
    trainer = Trainer(model, bl.optim.adam())
    losses = [
        trainer.step(data.codes(rows), data.y[rows], 0.01) for _ in range(4) for rows in np.arange(240).reshape(12, 20)
    ]
    assert np.mean(losses[-12:]) < 0.5 * np.mean(losses[:12])
    scores = model.freeze().scores(data.codes())
    assert (scores.argmax(axis=1) == data.y).mean() > 0.8
    for each in (model, model.freeze()):
        bl.save(each, tmp_path / "model")
        np.testing.assert_array_equal(bl.load(tmp_path / "model").scores(data.codes()), scores)
