"""Calls on constants alone, which are made now: their results are constants too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bitlearn.ops.dispatch import TABLE, run
from bitlearn.program import Array, Buffer, Call


def outputs(call: Call) -> list[Array]:
    """Return the arrays that a call of a kernel writes; all of them where it is none of the table."""
    if isinstance(call.kernel, str) and call.kernel in TABLE:
        return [call.arguments[at] for at in TABLE[call.kernel].writes]
    return [argument for argument in call.arguments if isinstance(argument, Array)]


def folded(calls: Sequence[Call]) -> list[Call]:
    """Return calls without those that read constants alone; their results are constants in the others.

    Parameters
    ----------
    calls : sequence of Call
        Of an inference, whose arrays outside never change.

    Raises
    ------
    ValueError
        If a constant is NaN or infinite.
    """
    writers = Counter(array.buffer for call in calls for array in outputs(call))
    constants: dict[Buffer, Buffer] = {}
    left = []

    def given(argument: Any) -> Any:
        if isinstance(argument, Array) and argument.buffer in constants:
            return replace(argument, buffer=constants[argument.buffer])
        return argument

    for call in calls:
        call = replace(call, arguments=tuple(map(given, call.arguments)))
        made = outputs(call)
        inputs = [a for a in call.arguments if isinstance(a, Array) and not any(a is each for each in made)]
        whole = all(writers[a.buffer] == 1 and a.nbytes == a.buffer.nbytes for a in made)
        fixed = inputs and whole and all(array.buffer.memory is not None for array in inputs)
        if not (isinstance(call.kernel, str) and call.kernel in TABLE and fixed):
            left.append(call)
            continue
        values = {array: np.ones(array.shape, dtype=array.dtype) for array in made}
        arguments = [values[a] if a in values else a.outside() if isinstance(a, Array) else a for a in call.arguments]
        run(call.kernel, tuple(arguments), threads=1)
        if call.check is not None and not values[next(a for a in made if a.buffer is call.check.buffer)].all():
            raise ValueError(f"{call.what} in layer {call.path!r} must be finite, got NaN or infinity")
        for array, found in values.items():
            constants[array.buffer] = replace(array.buffer, memory=found)
    return left
