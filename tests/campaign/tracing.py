"""Something that happens at the n-th place of a call, counted in the library's own Python code."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import bitlearn

_FOLDER = str(Path(bitlearn.__file__).parent)
_JUMPS = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")


class Counter:
    """How many places have been seen."""

    def __init__(self) -> None:
        self.seen = 0


@cache
def _signalled(code: CodeType) -> frozenset[int]:
    """Return the instructions before which a signal's handler may run: at a function's start, a jump back, and behind a
    call, where that is still under the call's own ``try``; at no others, or ``with`` would lose its lock.
    """
    found = list(dis.get_instructions(code))
    table = dis.Bytecode(code).exception_entries

    def handler(offset: int) -> int | None:
        return next((entry.target for entry in table if entry.start <= offset < entry.end), None)

    places = {each.offset for each in found if each.opname == "RESUME" and each.arg == 0}
    places |= {each.offset for each in found if each.opname.startswith(_JUMPS)}
    for each, behind in zip(found, found[1:], strict=False):
        if each.opname.startswith("CALL") and handler(each.offset) == handler(behind.offset):
            places.add(behind.offset)
    return frozenset(places)


@contextmanager
def at_place(number: int, happens: Callable[[], Any], *, of_signals: bool) -> Iterator[Counter]:
    """Have something happen at a place of the block, counted from 0; count alone where it is -1.

    Places are instructions: all, or those where a signal's handler may run.
    """
    counter = Counter()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_FOLDER):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and (not of_signals or frame.f_lasti in _signalled(frame.f_code)):
            counter.seen += 1
            if counter.seen == number + 1:
                sys.settrace(None)
                happens()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield counter
    finally:
        sys.settrace(before)
