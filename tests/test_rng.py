"""The counter-based generator: known answers, and what is built on its words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bitlearn.rng import Key, philox4x32

#: Random123's own known answers for philox4x32, 10 rounds: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def hexadecimal(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    k0, k1 = hexadecimal(key)
    words = philox4x32(np.array([hexadecimal(counter)], dtype=np.uint32), (k0, k1))
    assert words.tolist() == [hexadecimal(result)]


def test_words_are_those_of_the_documented_counters():
    key = Key(0x0123456789ABCDEF, step=7, stream=9)
    counters = np.array([[0, 0, 7, 9], [1, 0, 7, 9]], dtype=np.uint32)
    expected = philox4x32(counters, (0x89ABCDEF, 0x01234567)).reshape(-1)
    np.testing.assert_array_equal(key.words(8), expected, strict=True)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 65])
def test_fewer_words_are_a_prefix_of_more(count):
    np.testing.assert_array_equal(Key(3).words(count), Key(3).words(1000)[:count], strict=True)


def test_every_part_of_a_key_matters():
    keys = [Key(1), Key(2), Key(1 + 2**32), Key(1, step=1), Key(1, stream=1), Key(1, step=1, stream=1)]
    words = {key.words(4).tobytes() for key in keys}
    assert len(words) == len(keys)


def test_words_and_uniform_values_are_uniform():
    count = 2**16
    bits = np.unpackbits(Key(5).words(count).view(np.uint8)).reshape(count, 32)
    # Each bit is set in a half of the words, within 5 standard deviations of a binomial.
    assert (np.abs(bits.sum(axis=0, dtype=np.int64) - count / 2) < 5 * np.sqrt(count) / 2).all()
    values = Key(6).uniform(count)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    assert (values * 2**24 == np.floor(values * 2**24)).all()
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1000])
def test_permutations_are_permutations(count):
    order = Key(8).permutation(count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))
    assert count < 60 or (order != np.arange(count)).any()


def test_first_of_a_permutation_is_uniform():
    firsts = np.bincount([Key(9, step=step).permutation(6)[0] for step in range(1200)], minlength=6)
    assert stats.chisquare(firsts).pvalue > 1e-4


def test_integers_cover_their_range_evenly():
    values = Key(10).integers(60_000, 7)
    assert values.dtype == np.int64
    assert stats.chisquare(np.bincount(values, minlength=7)).pvalue > 1e-4
    assert set(values.tolist()) == set(range(7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"seed must be in \[0, 2\*\*64\), got -1"),
        ({"seed": 2**64}, r"seed must be in \[0, 2\*\*64\)"),
        ({"seed": 0, "step": 2**32}, r"step must be in \[0, 2\*\*32\)"),
        ({"seed": 0, "stream": -1}, r"stream must be in \[0, 2\*\*32\), got -1"),
    ],
)
def test_keys_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Key(**arguments)
