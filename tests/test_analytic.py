"""The analytic learner: what it keeps are exact sums of features, whatever the way in which examples came."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitlearn as bl
from bitlearn import streams
from bitlearn.backends import variants
from bitlearn.continual import AnalyticLearner, ClassPrototypes
from bitlearn.continual.features import drawn, kept_bytes
from bitlearn.continual.packed import narrowed, widened
from bitlearn.continual.statistics import Statistics
from bitlearn.rng import Key


def examples(rng, count=97, shape=(17, 16, 2), classes=4, kind=np.uint8):
    """Random images, whose classes differ in a block, with labels."""
    y = rng.integers(0, classes, count)
    x = rng.integers(0, 256, (count, *shape))
    for i in range(count):
        x[i, 4 * y[i] : 4 * y[i] + 4] //= 3
    return (x if kind == np.uint8 else x - 128).astype(kind), y


def stored(learner):
    """All that a learner keeps, as bytes."""
    arrays = learner.statistics.arrays()
    return learner.labels, {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}


def learned(x, y, **settings):
    return AnalyticLearner(**{"features": 70, "examples": 500} | settings).partial_fit(x, y)


# --- features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("shape", [(16, 17, 2), (30, 16), (8, 40, 3), (8, 8)])
def test_slopes_are_rectified_differences_over_boxes(rng, bits, shape):
    """Summed pixel by pixel; the places are drawn anew from the same random words."""
    count, x = 53, rng.integers(0, 256, (31, *shape), dtype=np.uint8)
    height, width, channels = (*shape, 1)[:3]
    images, wanted, step = x.reshape(-1, height, width, channels).astype(int), [], max(1, max(height, width) // 14)
    for i in range(count):
        word = Key(5, i // 16, streams.FEATURES).words(64).reshape(16, 4)[i % 16].tolist()
        least = [max(2, side // 8) for side in (height, width)]
        most = [max(low, side // 2) for low, side in zip(least, (height, width), strict=True)]
        h, w = (low + (word[k] * (high - low + 1) >> 32) for k, (low, high) in enumerate(zip(least, most, strict=True)))
        top, left = word[2] * (height - h + 1) >> 32, word[3] * (width - w + 1) >> 32
        down, right = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)][i % 8]
        total = np.zeros(len(x), dtype=int)
        for row in range(top, top + h):
            for column in range(left, left + w):
                r, c = row + step * down, column + step * right
                if 0 <= r < height and 0 <= c < width:
                    channel = i // 8 % channels
                    total += np.maximum(images[:, r, c, channel] - images[:, row, column, channel], 0)
        unit = math.ceil(h * w * 1020 * step / (max(height, width) * 2**bits))
        wanted.append(np.minimum(total // unit, 2**bits - 1))
    features = drawn("codes", shape, count, bits, 5)
    np.testing.assert_array_equal(features(x), wanted)
    np.testing.assert_array_equal(features(x[3:4]), np.array(wanted)[:, 3:4])
    assert features.nbytes == kept_bytes("codes", shape, count)


@pytest.mark.parametrize("bits", [1, 4])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [("codes", (70,)), ("bits", (65,)), ("bits", (3, 2, 5)), ("bits", (2, 2, 64)), ("codes", (6, 15, 1))],
)
def test_rows_are_combined_by_balanced_orthogonal_signs(rng, bits, kind, shape):
    count, n, depth = 40, math.prod(shape), 255 if kind == "codes" else 1
    values = rng.integers(0, depth + 1, (50, *shape), dtype=np.uint8)
    x = values if kind == "codes" else bl.Bits(bl.pack(values.astype(bool)), shape[-1])
    features = drawn(kind, shape, count, bits, 11)
    rows = shape[:-1] if kind == "bits" else ()
    words = features.weights(0, count)
    signs = bl.unpack(words.reshape(count, *rows, -1), shape[-1] if rows else n).reshape(count, n).astype(int)
    assert abs(signs.mean()) < 0.2 and len(np.unique(signs, axis=0)) == count
    # Sylvester's matrix, row by row, times the first one's signs.
    last = shape[-1] if rows or kind == "bits" else n
    apart = 1 << (min(last, 64) - 1).bit_length()
    used = -(-last // 64)
    place = [k * used * apart + np.arange(last) % 64 + np.arange(last) // 64 * apart for k in range(math.prod(rows))]
    place = np.concatenate(place)
    for i in (1, 5, 33):
        odd = np.array([bin(i & int(j)).count("1") % 2 for j in place])
        np.testing.assert_array_equal(signs[i], np.where(odd, -signs[0], signs[0]))
    flat = values.reshape(50, n).astype(int)
    z = n * flat @ signs.T - signs.sum(axis=1) * flat.sum(axis=1, keepdims=True)
    reach = depth * math.isqrt(n) * n
    wanted = np.clip(((2 if kind == "codes" else 1) * z + reach) * 2**bits // (2 * reach), 0, 2**bits - 1)
    np.testing.assert_array_equal(features(x), wanted.T)
    assert 0 < wanted.mean() < 2**bits - 1
    assert features.nbytes == kept_bytes(kind, shape, count)
    # What all values of an example have in common does not count.
    if kind == "codes":
        low = (values // 2).astype(np.uint8)
        np.testing.assert_array_equal(features(low), features(low + np.uint8(100)))


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_few_codes_are_features_themselves(rng, bits):
    x = rng.integers(0, 256, (40, 5), dtype=np.uint8)
    codes = drawn("codes", (5,), 12, bits, 0)(x)
    np.testing.assert_array_equal(codes[:5], x.T // 2 ** (8 - bits))
    # What follows are combinations of all that the codes hold, each around another centre.
    combined = drawn("codes", (5,), 200, bits, 0)(x)[5:]
    assert (combined.max(axis=1) > combined.min(axis=1)).mean() > 0.9
    assert len(np.unique(combined, axis=0)) > (20 if bits == 1 else 150)


@pytest.mark.parametrize(
    ("kind", "shape"), [("codes", (16, 16)), ("codes", (9, 8, 3)), ("codes", (70,)), ("codes", (5,)), ("bits", (3, 70))]
)
def test_fewer_features_are_the_first_of_more(rng, kind, shape):
    x = rng.integers(0, 256, (9, *shape), dtype=np.uint8)
    x = x if kind == "codes" else bl.Bits(bl.pack(x.astype(np.int16) - 128), shape[-1])
    few, many, other = (drawn(kind, shape, count, 2, seed) for count, seed in ((7, 3), (330, 3), (330, 4)))
    whole = many(x)
    np.testing.assert_array_equal(few(x), whole[:7])
    assert not np.array_equal(other(x), whole)
    for count in (300, 64, 7):
        many.keep(count)
        np.testing.assert_array_equal(many(x), whole[:count])
        assert many.nbytes == kept_bytes(kind, shape, count)


# --- the sums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 4])
@pytest.mark.parametrize("features", [1, 64, 131])
def test_sums_are_those_of_the_features(rng, bits, features):
    x, y = examples(rng)
    learner = learned(x, y, features=features, bits=bits, seed=2)
    codes, found = drawn("codes", x.shape[1:], features, bits, 2)(x).T.astype(np.int64), learner.statistics
    np.testing.assert_array_equal(found.counts, np.bincount(y))
    np.testing.assert_array_equal(found.class_sums(), np.stack([codes[y == c].sum(axis=0) for c in range(4)]))
    np.testing.assert_array_equal(found.products(), codes.T @ codes)
    # 500 examples: sums of 1 bit and products of 1 bit take 2 bytes, of 4 bits 2 (7,500) and 3 (112,500).
    wide = {1: (2, 2), 4: (2, 3)}[bits]
    assert found.nbytes == features * (features + 1) // 2 * wide[1] + 4 * features * wide[0] + 4 * 8
    memory = learner.memory(classes=4)
    assert memory.pairs + memory.class_sums == found.nbytes and memory.kept == learner.nbytes
    learner.predict(x[:1])
    assert learner.nbytes == memory.kept + memory.head


def test_integers_keep_their_values_in_few_bytes():
    values = np.array([[0, 1, 2**24 - 1], [2**16, 255, 256]])
    for width in (3, 4, 7):
        np.testing.assert_array_equal(widened(narrowed(values, width)), values)
    full = Statistics(1, 255, pairs=True, examples=257)  # 257 * 255**2 is just below 2**24
    full.admit([0])
    assert full.change(np.full((1, 256), 255, dtype=np.uint8), np.zeros(256, dtype=int), 1, work=0)
    assert full.change(np.full((1, 1), 255, dtype=np.uint8), np.zeros(1, dtype=int), 1, work=0)
    assert full.products()[0, 0] == 257 * 255**2 and full.pairs.shape == (1, 3)


def test_order_and_batches_do_not_show(rng):
    x, y = examples(rng)
    wanted = stored(learned(x, y))
    order = rng.permutation(len(x))
    by_class = np.argsort(y, kind="stable")[::-1]
    for index, size in ((order, 97), (order, 1), (by_class, 10)):
        learner = AnalyticLearner(70, examples=500)
        for start in range(0, len(x), size):
            rows = index[start : start + size]
            learner.partial_fit(x[rows], y[rows])
        assert stored(learner) == wanted
    assert stored(learned((x.astype(int) - 128).astype(np.int8), y)) == wanted
    assert stored(learned(x, y, seed=1)) != wanted


def test_every_backend_and_number_of_threads_keeps_the_same(rng):
    x, y = examples(rng)
    row = bl.Bits(bl.pack(rng.normal(size=(97, 70))), 70)
    wanted = None
    chosen = [name for name in ("cext:portable", "jit", variants()[0]) if name in variants()]
    for backend in dict.fromkeys(["reference", *chosen]):
        for threads in (1, 2):
            before = bl.get_num_threads()
            bl.set_num_threads(threads)
            try:
                with bl.use_backend(backend):
                    kept = stored(learned(x, y)), stored(learned(row, y)), stored(learned(x.reshape(97, -1), y))
            finally:
                bl.set_num_threads(before)
            wanted = wanted or kept
            assert kept == wanted, (backend, threads)


def test_merging_equals_learning_all(rng):
    x, y = examples(rng)
    parts = [y < 2, (y >= 2) & (np.arange(97) % 2 == 0), (y >= 1) & (np.arange(97) % 2 == 1)]
    parts[2] &= ~parts[0]
    devices = [learned(x[part], y[part]) for part in parts]
    before = stored(devices[1])
    whole = AnalyticLearner(70, examples=500).merge(devices[2]).merge(devices[0]).merge(devices[1])
    assert stored(whole) == stored(learned(x, y)) and stored(devices[1]) == before
    whole.partial_fit(x, y)
    assert stored(devices[2]) == stored(learned(x[parts[2]], y[parts[2]]))


@pytest.mark.parametrize("kind", [int, str])
def test_forgetting_leaves_what_would_be_without(rng, kind):
    x, y = examples(rng)
    y = y if kind is int else np.array(["delta", "a", "cc", "b"])[y]
    gone = (y == y[0]) | (np.arange(97) % 3 == 0)
    learner = learned(x, y).forget(x[gone], y[gone])
    assert stored(learner) == stored(learned(x[~gone], y[~gone])) and y[0] not in learner.labels
    assert np.array_equal(learner.scores(x), learned(x[~gone], y[~gone]).scores(x))
    learner.forget(x[~gone], y[~gone])
    assert learner.labels == [] and learner.nbytes == learner.count == 0
    # As if it had never learned: other inputs and labels will do.
    other = rng.integers(0, 256, (5, 3), dtype=np.uint8)
    assert stored(learner.partial_fit(other, [True, 0, 0, 1, 1])) == stored(learned(other, [1, 0, 0, 1, 1]))


@given(st.lists(st.tuples(st.sampled_from("lfm"), st.lists(st.integers(0, 19), max_size=6)), max_size=8))
def test_any_sequence_leaves_what_is_there(steps):
    """Learn, forget and merge in any order: what counts is which examples are left."""
    x, y = examples(np.random.default_rng(3), 20, (13,))
    left, learner = [], AnalyticLearner(5, examples=500)
    for what, index in steps:
        if what == "f":
            index = [i for i in dict.fromkeys(index) if i in left]
            for i in index:
                left.remove(i)
            learner.forget(x[index], y[index])
            continue
        left += index
        if what == "l":
            learner.partial_fit(x[index], y[index])
        else:
            learner.merge(AnalyticLearner(5, examples=500).partial_fit(x[index], y[index]))
    assert learner.count == len(left)
    if left:
        assert stored(learner) == stored(learned(x[left], y[left], features=5))


# --- predictions -----------------------------------------------------------------------------------------------------


def test_predictions_follow_what_was_learned_last(rng):
    x, y = examples(rng, 300)
    learner = AnalyticLearner(120, examples=500)
    first, names = y < 2, np.array(["zero", "one", "two", "three"])
    assert set(learner.partial_fit(x[first], names[y[first]]).predict(x)) == {"one", "zero"}
    learner.partial_fit(x[~first], names[y[~first]])
    assert learner.score(x, names[y]) > 0.95 and learner.labels == sorted(names)
    probability = learner.predict_proba(x[:7])
    assert probability.shape == (7, 4) and np.allclose(probability.sum(axis=1), 1)
    assert np.array_equal(np.array(learner.labels)[probability.argmax(axis=1)], learner.predict(x[:7]))
    assert learner.predict(x[:0]).shape == (0,) and learner.score(x[:0], []) == 0


def test_one_example_is_enough(rng):
    x, _ = examples(rng)
    learner = learned(x[:1], [7])
    assert learner.predict(x[:3]).tolist() == [7, 7, 7]
    learner.partial_fit(x[1:2], [-3])
    assert learner.predict(x[:2]).tolist() == [7, -3]


def test_a_backbones_bits_stand_for_the_input(rng, tmp_path):
    x, y = examples(rng, kind=np.int8)
    model = bl.models.mlp((17, 16, 2), 4, hidden=(65, 40), precision="int8", head="real")
    lower, _ = model.split("sign1")
    learner = learned(x, y, backbone=lower)
    assert stored(learner) == stored(learned(lower.packed_output(x), y))
    learner.save(tmp_path / "file")
    again = AnalyticLearner.load(tmp_path / "file")
    assert stored(again.forget(x[:9], y[:9])) == stored(learned(x[9:], y[9:], backbone=lower))
    assert stored(again.merge(learned(x[:9], y[:9], backbone=lower))) == stored(learner)
    with pytest.raises(ValueError, match="the same network"):
        learner.merge(learned(lower.packed_output(x), y))
    with pytest.raises(ValueError, match="backbone must end in packed bits"):
        AnalyticLearner(backbone=model)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda a, x, y: a.partial_fit(x, y[:-1]), ValueError, "a label for each of the 97"),
        (lambda a, x, y: a.partial_fit(x, y / 2), TypeError, "integers or strings, got float64"),
        (lambda a, x, y: a.partial_fit(x, y.astype(str)), TypeError, "labels like 0, got '\\d'"),
        (lambda a, x, y: a.partial_fit(x / 2, y), TypeError, "uint8 codes, int8 codes or Bits, got float64"),
        (
            lambda a, x, y: a.partial_fit(x[:, 1:], y),
            ValueError,
            r"of shape \(17, 16, 2\) per example, got codes of",
        ),
        (lambda a, x, y: a.partial_fit(x[0, 0, 0], y[:2]), ValueError, r"shape \(count, ...\)"),
        (lambda a, x, y: a.partial_fit(x[:50], y[:50] + 1), ValueError, "classes must be at most 4, got 5"),
        (lambda a, x, y: a.partial_fit(x, y), ValueError, "examples must be at most 150, got 194"),
        (lambda a, x, y: a.forget(x[:5], (y[:5] + 1) % 4), ValueError, "examples that were learned, got some that"),
        (lambda a, x, y: a.forget(x[:5], y[:5] + 9), ValueError, "examples that were learned, got some that"),
        (lambda a, x, y: a.forget(255 - x[y == 3], y[y == 3]), ValueError, "examples that were learned, got some that"),
        (lambda a, x, y: a.forget(np.tile(x, (2, 1, 1, 1)), np.tile(y, 2)), ValueError, "at most the 97"),
        (lambda a, x, y: a.predict(bl.Bits(bl.pack(np.ones((2, 9))), 9)), ValueError, r"got bits of \(9,\)"),
        (lambda a, x, y: a.merge(ClassPrototypes(70)), TypeError, "other must be of the class AnalyticLearner"),
        (lambda a, x, y: a.merge(AnalyticLearner(70, examples=150, classes=4, seed=1)), ValueError, "the settings"),
        (lambda a, x, y: AnalyticLearner(5).predict(x), ValueError, "must have learned an example"),
        (lambda a, x, y: AnalyticLearner(0), ValueError, "features must be at least 1"),
        (lambda a, x, y: AnalyticLearner(5, bits=9), ValueError, "bits must be from 1 to 8"),
        (lambda a, x, y: AnalyticLearner(5, seed=-1), ValueError, "seed must be in"),
        (lambda a, x, y: AnalyticLearner(5, examples=2**40), ValueError, "examples must be at most"),
        (lambda a, x, y: AnalyticLearner(9, memory_budget="8 KiB"), ValueError, "must be given without features"),
        (lambda a, x, y: AnalyticLearner(half_life=0), ValueError, "half_life must be at least 1"),
        (lambda a, x, y: AnalyticLearner(half_life=9, examples=9), ValueError, "and given without examples"),
        (lambda a, x, y: AnalyticLearner(half_life=9).forget(x, y), ValueError, "a learner without half_life"),
        (lambda a, x, y: AnalyticLearner(memory_budget="8 furlongs", classes=2), ValueError, "got '8 furlongs'"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(rng, call, error, sentence):
    x, y = examples(rng)
    learner = learned(x, y, examples=150, classes=4)
    before = stored(learner)
    with pytest.raises(error, match=sentence) as found:
        call(learner, x, y)
    assert "\n" not in str(found.value) and stored(learner) == before
