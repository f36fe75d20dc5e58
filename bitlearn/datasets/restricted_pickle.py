"""Dictionaries of uint8 arrays from a pickle, without running anything that the pickle asks for.

CIFAR's Python version is a set of pickles, and a pickle is a program that can call any function, set any attribute and
ask for any amount of memory. So none is ever unpickled here. Its instructions are read one by one, and the few that
such a file needs do what they say to lists, to dictionaries with text as keys, and to notes of what an array is. Others
are rejected.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.errors import sentence

#: An image takes 3,072 bytes and 3 or 4 instructions. Each may take as much memory as this, so that a file of nothing
#: but instructions is refused before it takes more than its size.
_BYTES_AN_INSTRUCTION = 256
#: Those of a small file.
_FEW_INSTRUCTIONS = 10_000

_GLOBALS = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "type",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}


class _Refused(ValueError):
    """What a pickle of arrays has no need of."""


@dataclass(eq=False)
class _Note:
    """What stands for a function, or for a dtype or an array that it has made, while a pickle is read."""

    function: str
    made: bool = False
    name: object = None
    values: np.ndarray | None = None

    def is_made(self, function: str) -> bool:
        return self.made and self.function == function


_MARK = _Note("mark")
_NUMBERS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class _Reader:
    """The stack and the memo of a pickle; a method an instruction, or several that are alike."""

    def __init__(self, size: int):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        #: How many bytes may be made of text: all that is there, once.
        self.left = size

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise _Refused("its marks do not fit")
        return value

    def marked(self) -> list[Any]:
        """Take everything above the last mark."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise _Refused("its marks do not fit")

    def constant(self, name: str, argument: Any) -> None:
        self.stack.append(_NUMBERS.get(name, argument))

    def empty(self, name: str, argument: Any) -> None:
        self.stack.append({"MARK": _MARK, "EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_TUPLE": ()}[name])

    def collect(self, name: str, argument: Any) -> None:
        items = self.marked()
        if name == "DICT":
            self.stack.append({})
            self.set(items)
        else:
            self.stack.append(items if name == "LIST" else tuple(items))

    def tuple(self, name: str, argument: Any) -> None:
        items = [self.pop() for _ in range(int(name[-1]))]
        self.stack.append(tuple(reversed(items)))

    def append(self, name: str, argument: Any) -> None:
        items = self.marked() if name == "APPENDS" else [self.pop()]
        if type(self.stack[-1]) is not list:
            raise _Refused("it appends to something that is no list")
        self.stack[-1].extend(items)

    def set_items(self, name: str, argument: Any) -> None:
        self.set(self.marked() if name == "SETITEMS" else [self.pop(), self.pop()][::-1])

    def set(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if type(into) is not dict or len(items) % 2:
            raise _Refused("it sets items of something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes):  # the hash of a tuple of tuples may take forever
                raise _Refused("its keys must be text")
            into[key.decode("latin1") if isinstance(key, bytes) else key] = value

    def put(self, name: str, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def get(self, name: str, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    def find(self, name: str, argument: Any) -> None:
        if name == "STACK_GLOBAL":
            function, module = self.pop(), self.pop()
            if not isinstance(function, str) or not isinstance(module, str):  # tuples of tuples have endless names
                raise _Refused("what it asks for must have a name")
            argument = f"{module} {function}"
        if argument not in _GLOBALS:
            raise _Refused(f"it asks for {argument.replace(' ', '.')}, which a file of arrays does not need")
        self.stack.append(_Note(_GLOBALS[argument]))

    def reduce(self, name: str, argument: Any) -> None:
        arguments, called = self.pop(), self.pop()
        kind = called.function if isinstance(called, _Note) and not called.made else ""
        if kind == "encode" and len(arguments) == 2 and arguments[1] in ("latin1", b"latin1"):
            self.left -= len(arguments[0])
            if self.left < 0:
                raise _Refused("it makes more bytes of text than it holds")
            self.stack.append(arguments[0].encode("latin1"))
        elif kind in ("array", "dtype"):
            self.stack.append(_Note(kind, made=True, name=arguments[0]))
        else:
            raise _Refused("it calls something that makes no array")

    def build(self, name: str, argument: Any) -> None:
        state, built = self.pop(), self.stack[-1]
        if isinstance(built, _Note) and built.is_made("dtype"):  # its byte order, which one byte has not
            return
        if not isinstance(built, _Note) or not built.is_made("array"):
            raise _Refused("it gives a state to something that is no array")
        _version, shape, dtype, fortran_order, content = state
        if not isinstance(dtype, _Note) or not dtype.is_made("dtype") or dtype.name not in ("u1", b"u1"):
            raise _Refused("arrays must be uint8")
        if not isinstance(content, bytes):
            raise _Refused("the content of arrays must be bytes")
        values = np.frombuffer(content, dtype=np.uint8)
        built.values = values.reshape(shape, order="F" if fortran_order else "C")


_INSTRUCTIONS = {
    name: method
    for method, names in (
        (_Reader.constant, "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING"),
        (_Reader.constant, "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE SHORT_BINUNICODE BINUNICODE"),
        (_Reader.constant, "BINUNICODE8 BINFLOAT FLOAT"),
        (_Reader.empty, "MARK EMPTY_LIST EMPTY_DICT EMPTY_TUPLE"),
        (_Reader.collect, "LIST TUPLE DICT"),
        (_Reader.tuple, "TUPLE1 TUPLE2 TUPLE3"),
        (_Reader.append, "APPEND APPENDS"),
        (_Reader.set_items, "SETITEM SETITEMS"),
        (_Reader.put, "PUT BINPUT LONG_BINPUT MEMOIZE"),
        (_Reader.get, "GET BINGET LONG_BINGET"),
        (_Reader.find, "GLOBAL STACK_GLOBAL"),
        (_Reader.reduce, "REDUCE"),
        (_Reader.build, "BUILD"),
    )
    for name in names.split()
}


def _value(content: bytes | bytearray) -> Any:
    """Return what a pickle holds; whatever is wrong with it may raise anything."""
    reader, most = _Reader(len(content)), _FEW_INSTRUCTIONS + len(content) // _BYTES_AN_INSTRUCTION
    for count, (instruction, argument) in enumerate(_instructions(content)):
        if count > most:
            raise _Refused(f"it must have at most {most} instructions, got more")
        if instruction == "STOP":
            return reader.pop()
        if instruction not in ("PROTO", "FRAME"):
            if instruction not in _INSTRUCTIONS:
                raise _Refused(f"it asks for {instruction}, which a file of arrays does not need")
            _INSTRUCTIONS[instruction](reader, instruction, argument)
    raise _Refused("it has no end")


def _instructions(content: bytes | bytearray) -> Iterator[tuple[str, Any]]:
    """Yield names and arguments; a string's length is held against what is there before it is read."""
    stream = io.BytesIO(content)
    while code := stream.read(1):
        instruction = _CODES.get(code.decode("latin1"))
        if instruction is None:
            raise _Refused(f"a byte {code.hex()} is no instruction")
        kind = instruction.arg
        if kind is None or kind.n not in _LENGTHS:
            yield instruction.name, None if kind is None else kind.reader(stream)
            continue
        size = int.from_bytes(stream.read(_LENGTHS[kind.n]), "little")
        argument: Any = stream.read(min(size, len(content)))
        if len(argument) < size:
            raise _Refused(f"a string must take {size} bytes, got {len(argument)}")
        if "UNICODE" in instruction.name:
            argument = argument.decode("utf-8", "surrogatepass")
        yield instruction.name, pickle.decode_long(argument) if "LONG" in instruction.name else argument


_CODES = {each.code: each for each in pickletools.opcodes}
#: The bytes of the length of an argument that says its own.
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def read_dict(content: bytes | bytearray, where: str) -> dict[str, Any]:
    """Return the dictionary that a pickle holds, its byte-string keys as strings and its arrays as uint8 arrays.

    Parameters
    ----------
    content : bytes
    where : str
        The file's name, for errors.

    Raises
    ------
    ValueError
        If the pickle is truncated or corrupt, is not of a dictionary, or asks for anything but uint8 arrays.

    Examples
    --------
    >>> import pickle
    >>> read_dict(pickle.dumps({b"labels": [3, 1]}), "batch")
    {'labels': [3, 1]}
    >>> read_dict(pickle.dumps(print), "batch")
    Traceback (most recent call last):
    ...
    ValueError: batch cannot be read: it asks for builtins.print, which a file of arrays does not need
    """
    try:
        value = _value(content)
    except Exception as error:  # a corrupt pickle raises anything, from IndexError to StopIteration
        raise ValueError(f"{where} cannot be read: {sentence(error)}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a pickled dictionary, got {type(value).__name__}")
    return {key: item.values if isinstance(item, _Note) else item for key, item in value.items()}
