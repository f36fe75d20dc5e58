"""A replay memory when Ctrl-C comes, or memory ends, at each point of an addition, of growing and of being restored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from interruptions import Failure, at_every_point

from bitlearn.bits import WORD, Bits
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.rng import Key

LABELS = np.arange(40) * 7 % 11 % 3
EXAMPLES = Bits(np.arange(80, dtype=WORD).reshape(40, 2), 128)


def state(memory: ReplayBuffer) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in memory.arrays().items()}


def memory(path=None, first: int = 20) -> ReplayBuffer:
    """A full memory of classes 0 and 1, in which class 2 is about to take places."""
    found = ReplayBuffer(9, 128, 3, path=path)
    found.add(EXAMPLES[:first], LABELS[:first] % 2)
    return found


def other() -> dict[str, np.ndarray]:
    found = ReplayBuffer(9, 128, 400)
    found.add(EXAMPLES, LABELS + 300)
    return found.arrays()


CHANGES = {
    "one that fills it": (8, lambda each: each.add(EXAMPLES[8:9], np.array([2]))),
    "one of a class that gains": (20, lambda each: each.add(EXAMPLES[20:21], np.array([2]))),
    "one of a class that does not": (9, lambda each: each.add(EXAMPLES[20:21], np.array([1]))),
    "many": (4, lambda each: each.add(EXAMPLES[4:], LABELS[4:])),
    "growing": (20, lambda each: each.grow(300)),
    "restoring": (20, lambda each: each.restore(other())),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_made_or_not_begun(what, where, tmp_path):
    numbers, (first, change) = itertools.count(), CHANGES[what]
    made: list[ReplayBuffer] = []

    def fresh() -> ReplayBuffer:
        if made:
            made[-1].close()
        made.append(memory(tmp_path / str(next(numbers)) if where == "file" else None, first))
        return made[-1]

    before, after = memory(None, first), memory(None, first)
    change(after)
    states, seen = [state(before), state(after)], set()
    for n, one in at_every_point(fresh, change):
        assert state(one) in states, f"neither made nor left alone at point {n}"
        seen.add(states.index(state(one)))
        one.sample(3, Key(0))
    assert seen == {0, 1}
    made[-1].close()


@pytest.mark.parametrize("what", CHANGES)
def test_where_memory_ends_a_change_is_made_or_not_begun_or_noticed(what):
    first, change = CHANGES[what]
    before, after = memory(None, first), memory(None, first)
    change(after)
    states, kept = [state(before), state(after)], {name: array.copy() for name, array in before.arrays().items()}
    for n, one in at_every_point(lambda: memory(None, first), change, kind=Failure):
        try:
            one.sample(3, Key(0))
        except RuntimeError:
            one.restore(kept)
            assert state(one) == states[0]
        else:
            assert state(one) in states, f"neither made nor left alone at point {n}"
