"""The packed format: words, tails, and the container that carries their length."""

from __future__ import annotations

import numpy as np
import pytest
from cases import SIZES, packed, signs, tails_are_zero

from bitlearn.bits import WORD, Bits, ones, tail_mask, words_for


@pytest.mark.parametrize("n", SIZES)
def test_words_for_is_the_fewest_that_hold_n(n):
    assert words_for(n) * 64 >= n
    assert (words_for(n) - 1) * 64 < n


@pytest.mark.parametrize("n", [size for size in SIZES if size])
def test_tail_mask_has_the_bits_in_use(n):
    used = (n - 1) % 64 + 1
    assert int(tail_mask(n)) == 2**used - 1


@pytest.mark.parametrize("n", SIZES)
def test_ones(n):
    words = ones((3, 2), n)
    np.testing.assert_array_equal(words, packed(np.ones((3, 2, n))), strict=True)
    assert words.dtype == WORD
    assert tails_are_zero(words, n)


def test_bits_carry_their_length(rng):
    values = signs(rng, 5, 70)
    bits = Bits(packed(values), 70)
    assert (bits.shape, bits.nbytes, len(bits)) == ((5, 70), 5 * 2 * 8, 5)
    for index in (slice(1, 3), [4, 0, 0], np.arange(5) % 2 == 0):
        chosen = bits[index]
        assert chosen.n == 70
        np.testing.assert_array_equal(chosen.words, packed(values[index]))
