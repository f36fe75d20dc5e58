"""Calls of kernels written down as csrc/program.h has them, and run in C in one go.

How a call's arguments differ in a part of its rows is found by asking for them: the function that makes a kernel's
arguments is given stand-ins for its arrays, whose pointers say of themselves by how much they move, and then the same
with a row more. The numbers that have grown count rows, and where the first member of a struct of sizes has grown,
that does.
"""

from __future__ import annotations

import struct
from functools import cache
from itertools import accumulate

import numpy as np

from bitlearn import threads as threading
from bitlearn.backends.cext.arrays import StandIn, ffi, lib
from bitlearn.backends.cext.kernel import row_of

_SLOTS, _CHANGES, _CALLS = (ffi.typeof(name) for name in ("uint64_t[]", "bl_change[]", "bl_call[]"))
_INTEGER, _INTEGERS, _SIZES = ffi.typeof("intptr_t"), ffi.typeof("intptr_t *"), ffi.typeof("intptr_t[]")
_OPAQUE = type(ffi.NULL)


class _First(int):
    """The number of the first row, to be found again among the arguments in C."""


@cache
def _form(name):
    """Return a kernel's number, and how its arguments are laid out as slots."""
    function = row_of(name).function
    types = ffi.typeof(getattr(lib, f"bl_{function}")).args[1:]
    assert len(types) <= lib.BL_CALL_SLOTS
    layout = {"double": "d", "float": "f4x"}
    return lib.bl_kernel_number(function.encode()), struct.Struct(
        "<" + "".join(layout.get(t.cname, "q") for t in types)
    )


def parts(row, arguments, threads, least):
    """Return how many rows a call has and into how many parts they are cut: none has less work than is worth it."""
    if threads == 1 or not row.rows:
        return 0, 1
    rows = max(len(arguments[position]) for position in row.rows)
    most = threads * row.parts_a_thread
    return rows, max(1, min(most, rows, 1 + rows * row.work(*arguments) // least))


class _Call:
    """A call as it is written down: its slots, and how they differ in a part."""

    __slots__ = ("changes", "check", "kept", "number", "parts", "rows", "slots", "variant")

    def __init__(self, function, arguments, check, threads, least):
        row = row_of(function.kernel)
        self.variant, self.check = function.variant, check
        self.rows, self.parts = parts(row, arguments, threads, least)
        self.number = _form(function.kernel)[0]
        given = [StandIn(each) if isinstance(each, np.ndarray) else each for each in arguments]
        cut = self._cut(row, given, threads) if self.parts > 1 else []
        found = function.arguments(*given)
        if cut:
            for each in cut:
                each.grow()
            self.changes = list(self._changes(found, function.arguments(*given)))
            kinds = {kind for _, kind, _ in self.changes}
            assert lib.BL_COUNTS in kinds or lib.BL_SIZES in kinds, f"{function.kernel} is not told of its rows"
            if row.first is not None:
                self.changes.append((next(i for i, each in enumerate(found) if type(each) is _First), lib.BL_MOVES, 1))
        else:
            self.changes = []
        #: The structs of sizes, which live no longer than these.
        self.kept = [each for each in found if isinstance(each, _OPAQUE)]
        self.slots = slots(function.kernel, found)

    def _cut(self, row, given, threads):
        """Have the stand-ins of arrays that are cut say so, and return them; one of a single row is shared."""
        cut = [given[position] for position in row.rows if given[position].shape[0] == self.rows]
        for each in cut:
            each.split(lib.BL_MOVES)
        if row.first is not None:
            given[row.first] = _First(given[row.first])
        if row.scratch is not None:
            scratch = given[row.scratch]
            if scratch.shape[0] < threads:
                raise ValueError(f"scratch must have a row for each of {threads} threads, got {scratch.shape}")
            scratch.split(lib.BL_SCRATCH)
        return cut

    def _changes(self, found, grown):
        for slot, (value, more) in enumerate(zip(found, grown, strict=True)):
            if isinstance(value, StandIn):
                if value.step:
                    yield slot, value.kind, value.step
            elif isinstance(value, _OPAQUE):
                if (sizes := ffi.typeof(value).item).kind == "struct" and _rows_of(value) != _rows_of(more):
                    yield slot, lib.BL_SIZES, ffi.sizeof(sizes)
            elif value is not more and value != more:
                assert value == self.rows * (more - value), "a number that grows with the rows is no number of them"
                yield slot, lib.BL_COUNTS, more - value


def _rows_of(sizes):
    return ffi.cast(_INTEGERS, sizes)[0]


def _number(value):
    """Return an argument in C as what is packed into its slot."""
    if isinstance(value, StandIn):
        return value.address
    return int(ffi.cast(_INTEGER, value)) if isinstance(value, _OPAQUE) else value


def slots(name, found):
    """Return a kernel's arguments in C as a call has them: the slots of bl_call."""
    return _form(name)[1].pack(*map(_number, found))


class Program:
    """Calls in C. The memory of their arrays is the caller's to keep.

    Parameters
    ----------
    calls : list of _Call
    threads : int

    Attributes
    ----------
    threads : int
        How many threads it is worth.
    """

    __slots__ = ("_calls", "_count", "_kept", "threads")

    def __init__(self, calls, threads):
        self._count = len(calls)
        self._calls = ffi.new(_CALLS, self._count)
        content = b"".join(each.slots for each in calls)
        memory = ffi.new(_SLOTS, len(content) // 8)
        ffi.memmove(memory, content, len(content))
        changes = ffi.new(_CHANGES, [change for each in calls for change in each.changes])
        self._kept = [memory, changes, [each.kept for each in calls if each.kept]]
        self.threads = threads
        slot = change = 0
        for place, each in zip(self._calls, calls, strict=True):
            place.slots, place.changes = memory + slot, changes + change
            slot, change = slot + len(each.slots) // 8, change + len(each.changes)
            place.rows, place.parts, place.change_count = each.rows, each.parts, len(each.changes)
            place.kernel, place.variant = each.number, each.variant
            if each.check is not None:
                place.check = ffi.cast("uint8_t *", ffi.from_buffer(each.check))

    def __len__(self):
        return self._count

    def run(self):
        """Run the calls, and return the index of the one that failed its check, or their number."""
        return lib.bl_run(self._calls, self._count, self.threads, threading.processors())

    def run_groups(self, sizes):
        """Run groups of so many calls beside each other, those of a group in order."""
        starts = ffi.new(_SIZES, [0, *accumulate(sizes)])
        lib.bl_run_groups(self._calls, starts, len(sizes), self.threads, threading.processors())


def compile(calls, threads):
    """Return a program of calls, their rows cut for so many threads.

    Parameters
    ----------
    calls : iterable of (kernel, tuple, ndarray or None)
        A kernel of a variant in C, its arguments, and one byte that must not be 0 after the call.
    threads : int
    """
    written = [_Call(*call, threads, threading.WORK_PER_WAITING_THREAD) for call in calls]
    return Program(written, min(threads, max((each.parts for each in written), default=1)))


def run_groups(groups, threads):
    """Run groups of calls (kernel, tuple) beside each other, those of a group in order on one thread."""
    written = [_Call(*call, None, 1, 1) for group in groups for call in group]
    Program(written, threads).run_groups([len(group) for group in groups])


def of_one_call(function, arguments, threads):
    """Return a program of one call, or None where its rows are not worth more than one thread.

    To write it down takes some fifteen microseconds, which its parts must be worth too.
    """
    least = 2 * threading.WORK_PER_WAITING_THREAD
    count = parts(row_of(function.kernel), arguments, threads, least)[1]
    return None if count == 1 else Program([_Call(function, arguments, None, threads, least)], min(threads, count))
