"""The replay memory: its bounds, its balance, and that what it keeps of a class is a uniform sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlearn.bits import WORD, Bits
from bitlearn.continual.replay import ReplayBuffer, quotas
from bitlearn.rng import Key

CLASSES = 5


def numbered(first: int, labels: np.ndarray) -> Bits:
    """Examples of two words that can be told apart: their number, and their label."""
    words = np.stack([np.arange(first, first + len(labels)), labels], axis=1).astype(WORD)
    return Bits(words, 128)


def share_by_dealing(seen: list[int], capacity: int) -> list[int]:
    """Deal places round by round, one to each class that has examples left."""
    share = [0] * len(seen)
    while capacity and any(s < n for s, n in zip(share, seen, strict=True)):
        for label, n in enumerate(seen):
            if capacity and share[label] < n:
                share[label] += 1
                capacity -= 1
    return share


streams = st.lists(st.lists(st.integers(0, CLASSES - 1), max_size=30), max_size=6)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=7), st.integers(1, 40))
def test_quotas_deal_places_round_by_round(seen, capacity):
    assert quotas(np.array(seen), capacity).tolist() == share_by_dealing(seen, capacity)


@given(streams, st.integers(1, 23))
def test_invariants_hold_after_each_addition(stream, capacity):
    memory = ReplayBuffer(capacity, 128, CLASSES)
    everything: list[int] = []
    stored_before: set[int] = set()
    for step, labels in enumerate(stream):
        bits = numbered(len(everything), np.array(labels, dtype=np.int64))
        memory.add(bits, np.array(labels, dtype=np.int64), Key(3, step))
        new = set(range(len(everything), len(everything) + len(labels)))
        everything += labels
        size = len(memory)
        assert size == min(capacity, len(everything))
        counts = np.bincount(memory.labels[:size], minlength=CLASSES)
        assert counts.tolist() == share_by_dealing(np.bincount(everything, minlength=CLASSES).tolist(), capacity)
        numbers = memory.words[:size, 0].tolist()
        assert len(set(numbers)) == size
        # Labels stay with their bits, and nothing that was dropped comes back.
        assert memory.words[:size, 1].tolist() == memory.labels[:size].tolist()
        assert [everything[number] for number in numbers] == memory.labels[:size].tolist()
        assert set(numbers) <= stored_before | new
        stored_before = set(numbers)


@given(st.integers(0, 30), st.integers(1, 12), st.integers(0, 30))
def test_a_sample_repeats_only_what_it_must(stored, capacity, count):
    memory = ReplayBuffer(capacity, 128, CLASSES)
    labels = np.arange(stored) % CLASSES
    memory.add(numbered(0, labels), labels, Key(1))
    bits, found = memory.sample(count, Key(2))
    wanted = count if stored else 0
    assert bits.shape == (wanted, 128) and bits.words.dtype == WORD and found.shape == (wanted,)
    assert np.array_equal(bits.words[:, 1], found)
    if stored:
        times = np.unique(bits.words[:, 0], return_counts=True)[1]
        assert len(times) == min(count, len(memory))
        assert not len(times) or times.max() <= -(-count // len(memory))


def test_the_same_keys_give_the_same_memory_and_others_give_another():
    labels = np.arange(200) % CLASSES

    def filled(seed: int) -> ReplayBuffer:
        memory = ReplayBuffer(20, 128, CLASSES)
        for step in range(4):
            memory.add(numbered(200 * step, labels), labels, Key(seed, step))
        return memory

    first, again, other = filled(0), filled(0), filled(1)
    assert all(np.array_equal(a, b) for a, b in zip(first.arrays().values(), again.arrays().values(), strict=True))
    assert not np.array_equal(first.words, other.words)
    assert np.array_equal(first.sample(9, Key(5))[0].words, again.sample(9, Key(5))[0].words)


def test_filling_its_arrays_restores_a_memory():
    labels = np.arange(33) % 3
    memory, copy = ReplayBuffer(10, 128, CLASSES), ReplayBuffer(10, 128, CLASSES)
    memory.add(numbered(0, labels), labels, Key(0))
    for name, array in copy.arrays().items():
        array[...] = memory.arrays()[name]
    for each in (memory, copy):
        each.add(numbered(50, labels + 1), labels + 1, Key(0, 1))
    assert np.array_equal(memory.words, copy.words) and np.array_equal(memory.labels, copy.labels)
    assert np.array_equal(memory.sample(4, Key(9))[1], copy.sample(4, Key(9))[1])


@pytest.mark.parametrize(
    ("capacity", "shape", "classes", "nbytes"),
    [
        (300, 256, 10, 300 * 32 + 300 + 10 * 8),
        (7, 65, 10, 7 * 16 + 7 + 80),
        (7, (3, 5, 64), 256, 7 * 15 * 8 + 7 + 256 * 8),
        (7, (3, 5, 64), 257, 7 * 15 * 8 + 7 * 2 + 257 * 8),
    ],
)
def test_bytes_are_those_of_the_arrays_and_do_not_change(capacity, shape, classes, nbytes):
    memory = ReplayBuffer(capacity, shape, classes)
    arrays = memory.arrays()
    assert memory.nbytes == nbytes == sum(array.nbytes for array in arrays.values())
    words = np.zeros((20, *memory.words.shape[1:]), dtype=WORD)
    memory.add(Bits(words, memory.shape[-1]), np.arange(20) % classes, Key(0))
    assert memory.nbytes == nbytes
    assert all(memory.arrays()[name] is array for name, array in arrays.items())


def test_every_example_of_a_class_is_as_likely_to_be_kept():
    # 48 examples in four additions, while another class comes up and halves the places from 12 to 6.
    repeats, count, places = 800, 48, 6
    kept = np.zeros(count, dtype=np.int64)
    for seed in range(repeats):
        memory = ReplayBuffer(12, 128, 2)
        zeros, ones = np.zeros(12, dtype=np.int64), np.ones(40, dtype=np.int64)
        for step in range(4):
            memory.add(numbered(12 * step, zeros), zeros, Key(seed, step))
            if step == 1:
                memory.add(numbered(1000, ones), ones, Key(seed, 10))
        kept[memory.words[memory.labels == 0, 0].astype(np.int64)] += 1
    assert kept.sum() == repeats * places
    share = places / count
    # Each count is binomial; six standard deviations are passed by one in 10^7 of 48 counts.
    assert np.abs(kept - repeats * share).max() < 6 * np.sqrt(repeats * share * (1 - share))


@pytest.mark.parametrize(
    ("bits", "labels", "message"),
    [
        (Bits(np.zeros((2, 1), dtype=WORD), 64), [0, 1], r"shape \(count, 128\) and as many labels, got \(2, 64\)"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0], "as many labels"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0, 5], r"labels must lie in \[0, 5\), got 0 to 5"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [-1, 0], "got -1 to 0"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0.0, 1.0], "labels must be integers, got float64"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(bits, labels, message):
    memory = ReplayBuffer(3, 128, CLASSES)
    memory.add(numbered(0, np.array([1, 2])), np.array([1, 2]), Key(0))
    before = {name: array.copy() for name, array in memory.arrays().items()}
    with pytest.raises((ValueError, TypeError), match=message):
        memory.add(bits, np.array(labels), Key(1))
    assert all(np.array_equal(array, before[name]) for name, array in memory.arrays().items())


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 4, 2), "capacity"), ((4, (3, 0), 2), "shape"), ((4, 4, 0), "classes")]
)
def test_a_memory_of_nothing_is_refused(sizes, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ReplayBuffer(*sizes)


def test_a_negative_sample_is_refused():
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        ReplayBuffer(3, 4, 2).sample(-1, Key(0))
