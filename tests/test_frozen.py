"""The inference form gives the scores of the network it was made from."""

from __future__ import annotations

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.nn.frozen import Frozen, Stage


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
    np.testing.assert_array_equal(found, scores)
    np.testing.assert_array_equal(frozen.predict(codes), model.predict(codes))
    assert frozen.predict(codes[:0]).shape == (0,) and frozen.scores(codes[:0]).shape == (0, small.CLASSES)
    assert len(np.unique(scores, axis=0)) > 10


@pytest.mark.parametrize("precision", small.POLICIES)
@pytest.mark.parametrize("name", list(small.MODELS))
def test_odd_statistics(name, precision, rng):
    """Running spreads of zero and of next to nothing, means on a tie, shifts of either sign."""
    model = small.model(name, precision)
    for key, array in (model.parameters() | model.statistics()).items():
        if key.endswith("running_spread"):
            array[...] = rng.choice([0, 1e-30, 0.5, 7], size=array.shape)
        elif key.endswith("running_mean"):
            array[...] = rng.choice([0, -0.0, 1, 2.5, -3], size=array.shape)
        elif key.endswith("shift"):
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
    packed = lower.packed_output(small.examples("mlp", 9).codes())
    np.testing.assert_array_equal(upper.freeze().scores(packed), upper.scores(packed))


def test_what_has_no_inference_form():
    model = bl.nn.Sequential([bl.nn.Sign(), bl.nn.Linear(4, 2)], input_shape=(4,))
    with pytest.raises(ValueError, match="inference form to freeze, got Sign 'sign1'"):
        model.freeze()
    with pytest.raises(ValueError, match=r"a stage must be one of linear, .*, got 'dropout'"):
        Frozen([Stage("dropout", {}, {})], input_shape=(4,), classes=2)
