"""Random draws without repetition, and words from anywhere in a stream."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn.continual.draws import distinct, words
from bitlearn.rng import Key


@pytest.mark.parametrize(
    ("count", "limit"),
    [(0, 0), (0, 5), (1, 1), (3, 7), (4, 7), (16, 32), (17, 34), (200, 10**6), (1500, 4000), (40000, 90000)],
)
def test_distinct_draws_are_the_first_different_ones_of_the_stream(count, limit):
    found = distinct(count, limit, Key(4, 2))
    assert len(set(found.tolist())) == count and all(0 <= value < limit for value in found.tolist())
    wanted = count if 2 * count <= limit else limit - count
    drawn = dict.fromkeys(int(word) * limit >> 32 for word in Key(4, 2).words(6 * wanted + 20))
    first = list(drawn)[:wanted]
    assert len(first) == wanted
    assert found.tolist() == (first if 2 * count <= limit else sorted(set(range(limit)) - set(first)))


def test_samples_take_every_place_alike():
    counts = sum(np.bincount(distinct(7, 20, Key(0, step)), minlength=20) for step in range(2000))
    assert np.abs(counts - 700).max() < 6 * np.sqrt(2000 * 0.35 * 0.65)


def test_words_of_the_kernel_are_those_of_the_stream():
    key = Key(2**40 + 3, 5, 7)
    assert all(np.array_equal(words(key.as_words(), at, 9), key.words(at + 9)[at:]) for at in range(6))
