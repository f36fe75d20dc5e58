"""The replay memory: its bounds, its balance, its bytes, and that what it keeps of a class is a uniform sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitlearn as bl
from bitlearn import streams
from bitlearn.bits import WORD, Bits
from bitlearn.continual import reservoir
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.rng import Key

CLASSES = 5


def numbered(first: int, labels: np.ndarray) -> Bits:
    """Examples of two words that can be told apart: their number, and their label."""
    return Bits(np.stack([np.arange(first, first + len(labels)), labels], axis=1).astype(WORD), 128)


def numbers(memory: ReplayBuffer) -> list[int]:
    return memory.examples[: len(memory), 0].tolist()


class OneByOne:
    """The rules of the memory, with a list of places for each class, and plain integers."""

    def __init__(self, capacity: int, classes: int, key: Key, most: int = 1000):
        self.capacity, self.words = capacity, key.words(most).tolist()
        self.priority = key.at(streams.CLASS_PRIORITY).words(classes).tolist()
        self.held: list[list[int]] = [[] for _ in range(classes)]
        self.seen = [0] * classes
        self.number = 0

    def rank(self, label: int, count: int) -> tuple[int, int, int]:
        return count, self.priority[label], label

    def add(self, label: int) -> None:
        """Of each class the numbers of the examples that are held; their order inside a class is not looked at."""
        word, number, held = self.words[self.number], self.number, self.held
        self.number += 1
        self.seen[label] += 1
        seen = self.seen[label]
        largest = max(range(len(held)), key=lambda each: self.rank(each, len(held[each])))
        if number < self.capacity:
            held[label].append(number)
        elif len(held[label]) == seen - 1 and self.rank(label, seen) < self.rank(largest, len(held[largest])):
            held[largest].pop(word * len(held[largest]) >> 32)
            held[label].append(number)
        elif (place := word * seen >> 32) < len(held[label]):
            held[label][place] = number


def dealt(seen: list[int], capacity: int, priority: list[int]) -> list[int]:
    """Deal places round by round, one to each class that has examples left, those of the lowest priority first."""
    share = [0] * len(seen)
    while capacity and any(s < n for s, n in zip(share, seen, strict=True)):
        for label in sorted(range(len(seen)), key=lambda each: (priority[each], each)):
            if capacity and share[label] < seen[label]:
                share[label] += 1
                capacity -= 1
    return share


parts = st.lists(st.lists(st.integers(0, CLASSES - 1), max_size=30), max_size=6)


@given(parts, st.integers(1, 23), st.integers(0, 2**64 - 1))
def test_invariants_hold_after_each_addition(stream, capacity, seed):
    key = Key(seed, stream=streams.RESERVOIR)
    memory, rules = ReplayBuffer(capacity, 128, CLASSES, key=key), OneByOne(capacity, CLASSES, key)
    everything: list[int] = []
    before: set[int] = set()
    for labels in stream:
        memory.add(numbered(len(everything), np.array(labels, dtype=np.int64)), np.array(labels, dtype=np.int64))
        new = set(range(len(everything), len(everything) + len(labels)))
        everything += labels
        for label in labels:
            rules.add(label)
        memory._check()
        size, seen = len(memory), np.bincount(everything, minlength=CLASSES).tolist()
        assert size == min(capacity, len(everything))
        counts = np.bincount(memory.labels[:size], minlength=CLASSES)
        assert counts.tolist() == dealt(seen, capacity, rules.priority) == [len(held) for held in rules.held]
        assert counts.tolist() == memory.counts.tolist() and memory.seen.tolist() == seen
        found = numbers(memory)
        # Labels stay with their bits, and nothing that was dropped comes back.
        assert len(set(found)) == size and set(found) <= before | new
        assert memory.examples[:size, 1].tolist() == memory.labels[:size].tolist()
        assert [everything[number] for number in found] == memory.labels[:size].tolist()
        before = set(found)


def stream_of(rng: np.random.Generator) -> np.ndarray:
    """Labels of a few classes or many, of unequal frequency, mixed or class by class."""
    classes = int(rng.choice([1, 2, 6, 40]))
    labels = rng.choice(classes, int(rng.integers(0, 300)), p=rng.dirichlet(np.full(classes, 0.4)))
    return np.sort(labels) if rng.random() < 0.3 else labels


@pytest.mark.parametrize("seed", range(60))
def test_one_at_a_time_or_all_at_once_is_the_same_memory(seed, monkeypatch):
    monkeypatch.setattr(reservoir, "_BLOCK", 7)  # so that blocks with and without growing classes alternate
    rng = np.random.default_rng(seed)
    labels, capacity = stream_of(rng), int(rng.integers(1, 40))
    classes, key = int(labels.max(initial=0)) + 1, Key(seed, 3, 8)
    memories = [ReplayBuffer(capacity, 128, classes, key=key) for _ in range(3)]
    rules = OneByOne(capacity, classes, key)
    for number, label in enumerate(labels):
        memories[0].add(numbered(number, labels[number : number + 1]), labels[number : number + 1])
        rules.add(label)
    memories[1].add(numbered(0, labels), labels)
    first = 0
    for some in np.split(labels, np.sort(rng.integers(0, len(labels) + 1, 4))):
        memories[2].add(numbered(first, some), some)
        first += len(some)
    memories[0]._check()
    for other in memories[1:]:
        for name, array in memories[0].arrays().items():
            assert np.array_equal(array, other.arrays()[name]), name
    # As many of each class as the rules keep; before any place went from class to class, the very same examples.
    assert memories[0].counts.tolist() == [len(held) for held in rules.held]
    if classes == 1:
        assert sorted(numbers(memories[0])) == sorted(rules.held[0])


def test_the_examples_are_those_of_the_rules_while_classes_keep_their_places():
    key, labels = Key(5), np.tile(np.arange(4), 200)
    memory, rules = ReplayBuffer(40, 128, 4, key=key), OneByOne(40, 4, key)
    memory.add(numbered(0, labels), labels)
    for label in labels:
        rules.add(label)
    assert sorted(numbers(memory)) == sorted(number for held in rules.held for number in held)


def test_every_example_of_a_class_is_as_likely_to_be_kept():
    # 48 examples in four additions, while another class comes up and halves the places from 12 to 6.
    repeats, count, places = 800, 48, 6
    kept = np.zeros(count, dtype=np.int64)
    for seed in range(repeats):
        memory = ReplayBuffer(12, 128, 2, key=Key(seed))
        zeros, ones = np.zeros(12, dtype=np.int64), np.ones(40, dtype=np.int64)
        for step in range(4):
            memory.add(numbered(12 * step, zeros), zeros)
            if step == 1:
                memory.add(numbered(1000, ones), ones)
        kept[memory.examples[memory.labels == 0, 0].astype(np.int64)] += 1
    assert kept.sum() == repeats * places
    share = places / count
    # Each count is binomial; six standard deviations are passed by one in 10^7 of 48 counts.
    assert np.abs(kept - repeats * share).max() < 6 * np.sqrt(repeats * share * (1 - share))


def test_more_classes_than_places_keep_a_random_choice_of_classes_and_the_order_does_not_matter():
    repeats, classes, capacity = 1000, 12, 5
    chosen = np.zeros(classes, dtype=np.int64)
    for seed in range(repeats):
        labels = np.repeat(np.arange(classes), 3)
        memory, other = (ReplayBuffer(capacity, 128, classes, key=Key(seed)) for _ in range(2))
        memory.add(numbered(0, labels), labels)
        other.add(numbered(0, labels[::-1]), labels[::-1])
        assert memory.counts.max() == 1 and np.array_equal(memory.counts, other.counts)
        chosen += memory.counts
    assert chosen.sum() == repeats * capacity
    share = capacity / classes
    assert np.abs(chosen - repeats * share).max() < 6 * np.sqrt(repeats * share * (1 - share))


def test_classes_can_come_at_any_time_and_labels_widen_when_they_have_to():
    grown, whole = ReplayBuffer(30, 128, 1), ReplayBuffer(30, 128, 300)
    first = 0
    for classes in (1, 2, 2, 40, 256, 257, 300):
        labels = np.arange(50) * 7 % classes
        grown.grow(classes)
        assert grown.labels.dtype == (np.uint8 if classes <= 256 else np.uint16) and grown.classes == classes
        for memory in (grown, whole):
            memory.add(numbered(first, labels), labels)
        first += 50
    grown.grow(3)
    assert grown.classes == 300 and grown.nbytes == whole.nbytes
    assert all(np.array_equal(a, whole.arrays()[name]) for name, a in grown.arrays().items())


@given(st.integers(0, 30), st.integers(1, 12), st.integers(0, 30))
def test_a_sample_repeats_only_what_it_must(stored, capacity, count):
    memory = ReplayBuffer(capacity, 128, CLASSES)
    labels = np.arange(stored) % CLASSES
    memory.add(numbered(0, labels), labels)
    bits, found = memory.sample(count, Key(2))
    wanted = count if stored else 0
    assert bits.shape == (wanted, 128) and bits.words.dtype == WORD and found.shape == (wanted,)
    assert np.array_equal(bits.words[:, 1], found)
    if stored:
        times = np.unique(bits.words[:, 0], return_counts=True)[1]
        assert len(times) == min(count, len(memory))
        assert not len(times) or times.max() <= -(-count // len(memory))


def test_the_same_keys_give_the_same_memory_and_others_give_another():
    labels = np.arange(800) % CLASSES

    def filled(seed: int) -> ReplayBuffer:
        memory = ReplayBuffer(20, 128, CLASSES, key=Key(seed))
        memory.add(numbered(0, labels), labels)
        return memory

    first, again, other = filled(0), filled(0), filled(1)
    assert all(np.array_equal(a, b) for a, b in zip(first.arrays().values(), again.arrays().values(), strict=True))
    assert not np.array_equal(first.examples, other.examples)
    assert np.array_equal(first.sample(9, Key(5))[0].words, again.sample(9, Key(5))[0].words)


@pytest.mark.parametrize("before", [0, 6, 10, 33])
def test_a_restored_memory_goes_on_as_the_other_would_have(before):
    labels = np.arange(before) % 3
    memory, copy = ReplayBuffer(10, 128, CLASSES), ReplayBuffer(10, 128, 2)
    memory.add(numbered(0, labels), labels)
    copy.restore(memory.arrays())
    assert copy.classes == CLASSES
    for each in (memory, copy):
        more = np.arange(50) % CLASSES
        each.add(numbered(100, more), more)
    assert all(np.array_equal(array, copy.arrays()[name]) for name, array in memory.arrays().items())
    assert np.array_equal(memory.sample(4, Key(9))[1], copy.sample(4, Key(9))[1])


def spoiled(name: str, value) -> dict[str, np.ndarray]:
    memory = ReplayBuffer(10, 100, 3)
    labels = np.arange(33) % 3
    memory.add(Bits(np.arange(66, dtype=WORD).reshape(33, 2), 100), labels)
    arrays = {key: array.copy() for key, array in memory.arrays().items()}
    arrays[name][-1] = value
    return arrays


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("added", 32, "must have seen as many examples as were added"),
        ("seen", -1, "must have seen as many"),
        ("labels", 3, "labels of a memory must be below 3, got 3"),
        ("labels", 1, "must list its places by class"),
        ("order", 0, "must list its places by class"),
        ("order", 200, "must list its places by class"),
        ("ends", 9, "must list its places by class"),
        ("examples", 2**63, "no bit past n=100"),
    ],
)
def test_arrays_that_no_memory_has_are_refused(name, value, message):
    memory = ReplayBuffer(10, 100, 3)
    arrays = spoiled(name, value)
    if name in ("labels", "order"):
        assert memory.arrays()[name].dtype == np.uint8
    with pytest.raises(ValueError, match=message):
        memory.restore(arrays)
    assert len(memory) == 0
    with pytest.raises(ValueError, match=r"examples of a memory must be .*, got"):
        ReplayBuffer(11, 100, 3).restore(arrays)
    with pytest.raises(ValueError, match="seen of a memory must be"):
        memory.restore({key: array for key, array in arrays.items() if key != "seen"})


@pytest.mark.parametrize(
    ("capacity", "shape", "classes", "dtype", "examples", "books"),
    [
        (300, (4, 4, 512), 10, "bits", 300 * 1024, 300 * 2 + 10 * (2 + 8 + 4) + 8),
        (7, 65, 10, "bits", 7 * 16, 7 + 10 * 13 + 8),
        (7, (3, 5, 64), 257, "bits", 7 * 15 * 8, 7 + 257 * 13 + 8),
        (256, (3, 5, 3), 256, np.uint8, 256 * 45, 256 + 256 * (2 + 8 + 4) + 8),
        (7, (3, 5), 2, "int8", 7 * 15, 7 + 2 * 13 + 8),
        (7, 5, 2, np.dtype("float32"), 7 * 20, 7 + 2 * 13 + 8),
    ],
)
def test_bytes_are_those_of_the_arrays_and_do_not_change(capacity, shape, classes, dtype, examples, books):
    memory = ReplayBuffer(capacity, shape, classes, dtype=dtype)
    label = 1 if classes <= 256 else 2
    nbytes = examples + capacity * label + books
    assert memory.nbytes == nbytes and memory.examples.nbytes == examples and memory.labels.nbytes == capacity * label
    assert sum(array.nbytes for array in memory.arrays().values()) == nbytes - 4 * classes
    assert memory._books.priority.nbytes == 4 * classes and ReplayBuffer.size(*memory_arguments(memory)) == nbytes
    found = ReplayBuffer.types(capacity, memory.shape, classes, dtype)
    assert {name: (array.shape, array.dtype) for name, array in memory.arrays().items()} == found
    x = np.zeros((600, *memory.examples.shape[1:]), dtype=memory.examples.dtype)
    memory.add(Bits(x, memory.shape[-1]) if dtype == "bits" else x, np.arange(600) % classes)
    assert memory.nbytes == nbytes


def memory_arguments(memory: ReplayBuffer) -> tuple:
    return memory.capacity, memory.shape, memory.classes, memory.kind


def test_books_of_300_latents_of_4_by_4_by_512_take_less_than_a_kibibyte():
    memory = ReplayBuffer(300, (4, 4, 512), 10)
    assert memory.examples.nbytes == 307200 and round(307200 / 2**20, 3) == 0.293
    assert memory.nbytes - memory.examples.nbytes - memory.labels.nbytes == 748 < 1024


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_values_come_back_as_they_were(dtype):
    rng, labels = np.random.default_rng(0), np.arange(90) % 3
    x = rng.integers(0, 120, (90, 2, 3)).astype(dtype)
    x[:, 0, 0] = np.arange(90)
    memory = ReplayBuffer(20, (2, 3), 3, dtype=dtype)
    memory.add(x, labels)
    found, of = memory.sample(15, Key(1))
    index = found[:, 0, 0].astype(int)
    assert found.dtype == dtype and np.array_equal(found, x[index]) and np.array_equal(of, labels[index])
    with pytest.raises(TypeError, match=f"x must be an array of {dtype}, got"):
        memory.add(x.astype(np.float64), labels)
    with pytest.raises(TypeError, match="x must be an array"):
        memory.add(Bits(np.zeros((1, 1), WORD), 3), labels[:1])


@pytest.mark.parametrize(
    ("bits", "labels", "message"),
    [
        (Bits(np.zeros((2, 1), dtype=WORD), 64), [0, 1], r"shape \(count, 128\) and as many labels, got \(2, 64\)"),
        (Bits(np.zeros((2, 2), dtype=WORD), 127), [0, 1], r"shape \(count, 128\) and as many labels, got \(2, 127\)"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0], "as many labels"),
        (Bits(np.zeros((1, 2), dtype=WORD), 128), [5], r"labels must lie in \[0, 5\), got 5 to 5"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0, 5], r"labels must lie in \[0, 5\), got 0 to 5"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [-1, 0], "got -1 to 0"),
        (Bits(np.zeros((2, 2), dtype=WORD), 128), [0.0, 1.0], "labels must be integers, got float64"),
        (np.zeros((2, 2), dtype=WORD), [0, 1], "x must be Bits, got an array"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(bits, labels, message):
    memory = ReplayBuffer(3, 128, CLASSES)
    memory.add(numbered(0, np.array([1, 2])), np.array([1, 2]))
    before = {name: array.copy() for name, array in memory.arrays().items()}
    with pytest.raises((ValueError, TypeError), match=message):
        memory.add(bits, np.array(labels))
    assert all(np.array_equal(array, before[name]) for name, array in memory.arrays().items())


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((0, 4, 2), {}, "capacity must be at least 1, got 0"),
        ((4, (3, 0), 2), {}, "a size of shape must be at least 1, got 0"),
        ((4, (), 2), {}, "shape must have at least one axis"),
        ((4, 4, 0), {}, "classes must be at least 1, got 0"),
        ((4, 4, 2), {"dtype": "float64"}, "dtype must be one of bits, int8, uint8, float32, got 'float64'"),
        ((4, 4, 2), {"key": 3}, "key must be a Key, got 3"),
    ],
)
def test_a_memory_of_nothing_is_refused(sizes, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ReplayBuffer(*sizes, **options)


def test_a_negative_sample_is_refused():
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        ReplayBuffer(3, 4, 2).sample(-1, Key(0))


def test_an_addition_that_failed_half_way_is_noticed_until_the_memory_is_restored(monkeypatch):
    memory, labels = ReplayBuffer(10, 128, 2), np.arange(20) % 2
    memory.add(numbered(0, labels), labels)
    kept = {name: array.copy() for name, array in memory.arrays().items()}

    def failing(self, labels):
        yield slice(0, 2), np.array([3, 4])
        raise MemoryError

    monkeypatch.setattr(reservoir.Reservoir, "place_all", failing)
    with pytest.raises(MemoryError):
        memory.add(numbered(50, labels), labels)
    monkeypatch.undo()
    for use in (lambda: memory.add(numbered(0, labels), labels), lambda: memory.sample(1, Key(0))):
        with pytest.raises(RuntimeError, match="must be restored after an addition that failed half-way"):
            use()
    memory.restore(kept)
    assert all(np.array_equal(array, kept[name]) for name, array in memory.arrays().items())
    memory.add(numbered(0, labels), labels)


def test_every_backend_keeps_the_same():
    labels, found = np.arange(300) * 7 % 11 % CLASSES, []
    for variant in ("reference", *bl.ops.dispatch.implementing("random_words")):
        with bl.use_backend(variant):
            memory = ReplayBuffer(20, 128, CLASSES)
            memory.add(numbered(0, labels), labels)
            memory.add(numbered(300, labels[:1]), labels[:1])
            found.append((memory.examples.tolist(), memory.sample(5, Key(1))[1].tolist()))
    assert all(each == found[0] for each in found[1:]) and len(found) > 1
