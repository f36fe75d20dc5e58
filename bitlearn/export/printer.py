"""A recorded program as a function in C: each call a line, each array a place in the arena, a constant or a state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bitlearn.export import text
from bitlearn.export.parts import TYPES, parts
from bitlearn.ops.dispatch import TABLE
from bitlearn.program import Array, Buffer, Call
from bitlearn.program.arena import place

#: Where arrays in the arena begin: what the widest type wants.
ALIGNMENT = 8
#: Sums over more terms than this of int16 values might not fit the 32 bits that a device sums them in.
_MOST_TERMS = 65535


class Recording:
    """Calls and arrays of a program, as they are printed: products take their weights as rows of words.

    Parameters
    ----------
    calls : sequence of Call
    kept : iterable of Array
        Those that are written before a run or read after it.
    """

    def __init__(self, calls: Sequence[Call], kept: Iterable[Array]):
        aliases: dict[Buffer, Array] = {}
        self.calls: list[Call] = []
        for call in calls:
            if call.kernel == "pack_panels":
                words, panels = call.arguments
                aliases[panels.buffer] = words
            else:
                arguments = tuple(aliases.get(a.buffer, a) if isinstance(a, Array) else a for a in call.arguments)
                self.calls.append(Call(call.kernel, arguments, call.path, call.phase, call.check, call.what))
        _fuse(self.calls)
        self.flags = {call.check.buffer: call.check for call in self.calls if call.check is not None}
        whole = {array.buffer for array in kept} | set(self.flags)
        for buffer in self._buffers():
            buffer.first, buffer.last = (-1, None) if buffer in whole else (None, -1)
        for index, call in enumerate(self.calls):
            for argument in call.arguments:
                if isinstance(argument, Array):
                    argument.buffer.touch(index)
        for buffer in whole:
            buffer.first = -1
        self.offsets, self.nbytes = place([*whole, *self._buffers()], len(self.calls), ALIGNMENT)

    def _buffers(self) -> list[Buffer]:
        return list({a.buffer: None for call in self.calls for a in call.arguments if isinstance(a, Array)})

    def written(self) -> set[int]:
        """Return the addresses of the memory outside that its calls write."""
        found = set()
        for call in self.calls:
            kernel = TABLE[call.kernel] if isinstance(call.kernel, str) and call.kernel in TABLE else None
            for at in kernel.writes if kernel else ():
                argument = call.arguments[at]
                if argument.buffer.memory is not None:
                    found.add(_address(argument.buffer.memory))
        return found


def _fuse(calls: list[Call]) -> None:
    """Take products whose sums are only compared with thresholds as one call each, which forms 64 sums at a time."""

    def readers(array: Array) -> int:
        return sum(any(isinstance(a, Array) and a.buffer is array.buffer for a in call.arguments) for call in calls)

    for at in range(len(calls) - 2, -1, -1):
        product, compared = calls[at : at + 2]
        if (product.kernel, compared.kernel) != ("grad_input", "norm_signs"):
            continue
        (g, w, n, sums), (y, bounds, signs, mask) = product.arguments, compared.arguments
        if y.buffer is sums.buffer and readers(sums) == 2 and readers(mask) == 1 and g.dtype.kind == "i":
            fused = "grad_input_signs", (g, w, n, bounds, signs), product.path, product.phase
            calls[at : at + 2] = [Call(*fused)]


def _address(memory: np.ndarray) -> int:
    return memory.__array_interface__["data"][0]


@dataclass
class Sheet:
    """What is collected while programs are printed: the functions in C that they call, constants and states.

    Attributes
    ----------
    functions : dict of str to None
        Names with types, in the order in which they came up.
    constants, states : dict of str to ndarray
        By the name in C; the values of states are those to begin with.
    """

    functions: dict[str, None] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, np.ndarray] = field(default_factory=dict)
    _known: dict[Any, str] = field(default_factory=dict)
    _kept: list[np.ndarray] = field(default_factory=list)

    def state(self, name: str, memory: np.ndarray) -> str:
        """Name memory that changes and lasts; return the name."""
        self.states[name] = memory
        self._known[_address(memory)] = name
        self._kept.append(memory)  # another array must not get its address
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        """Name values that never change, the same name for the same values; return it."""
        key = (values.dtype.name, values.tobytes())
        if key not in self._known:
            self._known[key] = name
            self.constants[name] = values
        return self._known[key]

    def _outside(self, array: Array) -> str:
        memory = array.buffer.memory
        assert memory is not None
        kind = TYPES[array.dtype.name]
        name = self._known.get(_address(memory))
        if name is None:
            return self.constant(f"c{len(self.constants)}", array.outside())
        own = self.states[name].dtype
        start = name if TYPES[own.name] == kind else f"({kind} *){name}"
        return start if not array.offset else f"({start} + {array.offset // array.dtype.itemsize})"

    def _argument(self, argument: Any, recording: Recording) -> str:
        if not isinstance(argument, Array):
            return text.number(argument)
        if argument.buffer.memory is not None:
            return self._outside(argument) if argument.size else "0"
        return f"AT({TYPES[argument.dtype.name]}, {recording.offsets[argument.buffer] + argument.offset})"

    def call(self, call: Call, recording: Recording) -> str:
        """Return the line of a call."""
        name = call.kernel if isinstance(call.kernel, str) else getattr(call.kernel, "__name__", "a function")
        part = parts().get(name) if isinstance(call.kernel, str) else None
        if part is None:
            what = "the kernel" if isinstance(call.kernel, str) else "the Python function"
            raise ValueError(
                f"layer {call.path!r} must be made of kernels that can be printed as C, under an integer policy, "
                f"got {what} {name}"
            )
        if any(isinstance(a, Array) and a.dtype == np.float32 for a in call.arguments[:1]) and name in _PRODUCTS:
            raise ValueError(
                f"layer {call.path!r} must have an integer policy to give the same bits in C, as "
                f"model.with_precision('int8') has, got a product of float32"
            )
        names = TABLE[name].parameters if name in TABLE else _PARAMETERS[name]
        given = dict(zip(names, call.arguments, strict=True))
        typed = "_".join([name, *(TYPES[given[each].dtype.name] for each in part.types)])
        self.functions[typed] = None
        words = []
        for parameter in part.parameters():
            if parameter in part.sizes:
                argument, axis = part.sizes[parameter]
                value = given[argument]
                words.append(str(value.shape[axis] if isinstance(value, Array) else value[axis]))
            else:
                words.append(self._argument(given[parameter], recording))
        if name.startswith("grad_") and given["g"].shape[1 if name.startswith("grad_input") else 0] > _MOST_TERMS:
            raise ValueError(f"layer {call.path!r} must have sums of at most {_MOST_TERMS} terms, got more")
        return f"{typed}({', '.join(words)});"

    def program(self, name: str, recording: Recording) -> str:
        """Return a function that runs a program: it returns 0 where a value was not finite, else 1."""
        lines = [f"    *{self._argument(flag, recording)} = 1;" for flag in recording.flags.values()]
        path = None
        for call in recording.calls:
            if call.path != path:
                lines.append(f"    /* {call.path or 'all layers'} */")
                path = call.path
            lines.append(f"    {self.call(call, recording)}")
            if call.check is not None:
                lines += [f"    if (!*{self._argument(call.check, recording)})", "        return 0;"]
        return "\n".join([f"static int {name}(void)", "{", *lines, "    return 1;", "}"])


#: Sums of many terms, whose order shows in float32.
_PRODUCTS = ("grad_input", "grad_weight", "grad_weight_sign")
#: What is no kernel of the table: two in one; and how what still learns is brought into its inference form.
_PARAMETERS = {
    "grad_input_signs": ("g", "w", "n", "bounds", "out"),
    "live_statistics": ("mean", "std", "unit", "out"),
    "live_centre": ("mean", "std", "out"),
}
