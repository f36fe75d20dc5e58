"""The inference form gives the scores of the network it was made from."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import small
from oracles import conv2d
from published import plain, pooled, sgn
from recorded import bits
from test_whole_steps import residual

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.nn import BatchNorm, BatchNormSign, BinaryConv2d, BinaryLinear, Flatten, Linear, MaxPool2d, Sign


def check_same(found: np.ndarray, expected: np.ndarray, precision: str) -> None:
    """Assert that scores do not depend on the batch; the specification's float32 products are NumPy's, which round."""
    if precision == "standard" and bl.which("grad_input") == "reference":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("precision", small.POLICIES)
@pytest.mark.parametrize("name", list(small.MODELS))
@pytest.mark.parametrize("head", ["binary", "real"])
def test_scores_are_the_same(name, precision, head):
    model, _, _ = small.trained(name, precision, steps=3, head=head)
    codes = small.examples(name, 23, seed=8).codes()
    frozen = model.freeze()
    scores = model.scores(codes, batch_size=7)
    found = frozen.scores(codes, batch_size=10)
    assert found.dtype == np.float32 and frozen.classes == small.CLASSES
    check_same(found, scores, precision)
    np.testing.assert_array_equal(frozen.predict(codes), model.predict(codes))
    assert frozen.predict(codes[:0]).shape == (0,) and frozen.scores(codes[:0]).shape == (0, small.CLASSES)
    assert len(np.unique(scores, axis=0)) > 10


@pytest.mark.parametrize("precision", small.POLICIES)
@pytest.mark.parametrize("name", list(small.MODELS))
def test_odd_statistics(name, precision, rng):
    """Running deviations of zero and of next to nothing, means on a tie, biases of either sign."""
    model = small.model(name, precision)
    for key, array in (model.parameters() | model.statistics()).items():
        if key.endswith("running_std"):
            array[...] = rng.choice([0, 1e-30, 0.5, 7], size=array.shape)
        elif key.endswith("running_mean"):
            array[...] = rng.choice([0, -0.0, 1, 2.5, -3], size=array.shape)
        elif key.endswith("bias"):
            array[...] = rng.choice([0, -0.5, 2, -1e30, 1e30], size=array.shape)
    codes = small.examples(name, 12).codes()
    np.testing.assert_array_equal(model.freeze().scores(codes), model.scores(codes))


def test_the_inference_form_is_a_copy():
    model, _, _ = small.trained("mlp", "low-memory", steps=2)
    codes = small.examples("mlp", 9).codes()
    frozen = model.freeze()
    before = frozen.scores(codes)
    for array in (model.parameters() | model.statistics()).values():
        array[...] = 0.25
    np.testing.assert_array_equal(frozen.scores(codes), before)


def test_weights_take_one_bit():
    frozen = bl.models.mlp((1024,), 10, hidden=(1024, 1024)).freeze()
    assert frozen.nbytes == 2 * (1024 * 1024 // 8 + 4 * 1024) + 10 * 1024 // 8 + 3 * 4 * 10


@pytest.mark.usefixtures("variant")
def test_every_variant_gives_the_same(rng):
    frozen = small.trained("cnv", "int8", steps=1)[0].freeze()
    codes = small.examples("cnv", 3).codes()
    with bl.use_backend("reference"):
        expected = frozen.scores(codes)
    np.testing.assert_array_equal(frozen.scores(codes), expected)


def test_the_upper_part_of_a_cut_network_takes_bits():
    model, _, _ = small.trained("mlp", "int8", steps=1)
    lower, upper = model.split("sign1")
    codes = small.examples("mlp", 9).codes()
    packed = lower.packed_output(codes)
    np.testing.assert_array_equal(upper.freeze().scores(packed), upper.scores(packed))
    np.testing.assert_array_equal(upper.scores(packed), model.scores(codes))
    np.testing.assert_array_equal(lower.freeze().apply(codes, batch_size=4).words, packed.words)


def by_formulas(model, x) -> np.ndarray:
    """Return a network's scores from its live parameters and running statistics, on plain integers and float64."""
    for _, layer in model.items():
        match layer:
            case Flatten():
                x = x.reshape(len(x), -1)
            case MaxPool2d():
                x = pooled(x, layer.window, layer.stride)[0]
            case BinaryConv2d():
                x = conv2d(x, sgn(layer.weight), layer.stride, layer.padding, layer.pad_value)
            case BinaryLinear():
                x = x @ sgn(layer.weight).T
            case Linear():
                x = x @ layer.weight.T.astype(np.float64)
            case Sign():
                x = sgn(x)
            case BatchNorm() | BatchNormSign():
                mean, std, bias = (a.astype(np.float64) for a in (layer.running_mean, layer.running_std, layer.bias))
                x = (x * layer.spec.unit - mean) / std + bias
                if isinstance(layer, BatchNormSign):
                    assert (np.abs(x) > 1e-12).all()
                    x = sgn(x)
    return x


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
@pytest.mark.parametrize("name", list(small.MODELS))
def test_scores_are_those_of_the_formulas(name, precision):
    model = small.trained(name, precision, steps=2)[0]
    codes = small.examples(name, 6, seed=8).codes()
    expected = by_formulas(model, codes.astype(np.int64))
    np.testing.assert_allclose(model.freeze().scores(codes), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
def test_batches_of_every_size_give_the_same(precision):
    """More sizes than programs are kept, and back to the first."""
    model, codes = residual(precision), small.examples("mlp", 40).codes().reshape(40, -1)
    model["head1"].weight[...] = np.sin(np.arange(36)).reshape(4, 9)
    frozen = model.freeze()
    expected = frozen.scores(codes)
    assert np.unique(expected, axis=0).shape[0] > 20
    for size in (1, 40, 7, 2, 3, 11, 13, 17, 19, 23, 1, 7, 41):
        check_same(frozen.scores(codes, batch_size=size), expected, precision)
    check_same(np.concatenate([frozen.scores(codes[i : i + 1]) for i in range(40)]), expected, precision)


def test_several_threads_predict_at_once():
    """Each with a batch size of its own, and all with the same; on one backend and on several."""
    model = small.trained("cnv", "int8", steps=1)[0]
    codes, frozen, callers = small.examples("cnv", 12).codes(), model.freeze(), 6
    expected, ready = frozen.scores(codes), Barrier(callers)

    def caller(number: int) -> bool:
        ready.wait()
        right = True
        for turn in range(8):
            size = (3, 12, 1 + number, 4)[turn % 4]
            found = frozen.scores(codes, batch_size=size)
            right &= np.array_equal(found, expected)
        return right

    with ThreadPoolExecutor(callers) as pool:
        assert all(pool.map(caller, range(callers)))


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda frozen: pickle.loads(pickle.dumps(frozen))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("used", [False, True])
def test_copies(how, used):
    frozen, codes = small.trained("mlp", "low-memory", steps=1)[0].freeze(), small.examples("mlp", 9).codes()
    if used:
        frozen.scores(codes)
    other = how(frozen)
    np.testing.assert_array_equal(other.scores(codes), frozen.scores(codes))
    for array in other.arrays.values():
        array[...] = 0
    assert not np.array_equal(how(other).scores(codes), frozen.scores(codes))
    assert other.nbytes == frozen.nbytes and repr(other) == repr(frozen)


def test_weights_are_laid_out_once_for_all_sizes_and_backends():
    frozen, codes = small.trained("cnv", "int8", steps=1)[0].freeze(), small.examples("cnv", 6).codes()
    found = []
    for each in variants():
        with bl.use_backend(each):
            for size in (6, 1, 4):
                found.append(frozen.scores(codes, batch_size=size))
    kept = {key: id(array) for key, (array, _) in frozen._operands.items()}
    assert all(np.array_equal(each, found[0]) for each in found)
    frozen.scores(codes, batch_size=5)
    assert kept.items() <= {key: id(array) for key, (array, _) in frozen._operands.items()}.items()


def test_a_pool_behind_a_convolution_is_taken_of_the_signs():
    """The sums are compared first and their bits pooled: a comparison is monotone."""
    model = bl.nn.Model([BinaryConv2d(9), MaxPool2d(3, 2), BatchNormSign()], (7, 6, 3), seed=4)
    model["sign1"].running_mean[...] = np.linspace(-0.5, 0.5, 9)
    model["sign1"].bias[...] = np.cos(np.arange(9))
    codes = np.random.default_rng(3).integers(-128, 128, size=(5, 7, 6, 3)).astype(np.int8)
    found = model.apply(codes)
    np.testing.assert_array_equal(plain(found), by_formulas(model, codes.astype(np.int64)))
    kernels = [call.kernel for call in model.freeze().record(5)[0].calls]
    assert "bit_pool" in kernels and "max_pool" not in kernels


def test_apply_gives_what_flows(rng):
    x = rng.normal(size=(6, 70)).astype(np.float32)
    layers = [BinaryLinear(5)]
    sums = bl.nn.Model(layers, bl.nn.Spec.bits((70,))).apply(bits(x))
    assert sums.dtype == np.int16
    np.testing.assert_array_equal(sums, sgn(x) @ sgn(layers[0].weight).T)
    signs = bl.nn.Model([Sign()], bl.nn.Spec.real((70,))).apply(x, batch_size=4)
    assert isinstance(signs, bl.Bits) and signs.shape == (6, 70)
    np.testing.assert_array_equal(plain(signs), sgn(x))
    empty = bl.nn.Model([Sign()], bl.nn.Spec.real((70,))).apply(x[:0])
    assert empty.shape == (0, 70)


def test_what_does_not_fit(rng):
    frozen = small.model("mlp", "int8").freeze()
    codes = small.examples("mlp", 3).codes()
    for wrong, error, sentence in (
        (codes[:, :6], ValueError, r"examples must have shape \(7, 5, 1\), got \(6, 5, 1\)"),
        (codes.astype(np.int16), TypeError, "examples must be int8, got int16"),
        (bits(codes), TypeError, "examples must be an array of int8, got Bits"),
        ([1], TypeError, "examples must be an array of int8, got list"),
    ):
        with pytest.raises(error, match=sentence):
            frozen.predict(wrong)
    assert (frozen.input_shape, frozen.classes) == ((7, 5, 1), 4)
