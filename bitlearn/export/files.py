"""The two files of an export: a header, and one C file that needs nothing but a C99 compiler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bitlearn.export import text
from bitlearn.export.parts import needed, parts
from bitlearn.export.printer import Recording, Sheet
from bitlearn.version import VERSION

#: Sizes of blocks that a compiler may be given, as kernels call them: the usual one, the largest, and what is said.
_BLOCKS = {
    "BLOCK_ROWS": (8, 32767, "rows of a product, or pixels of a line, for one reading of the weights"),
    "BLOCK_WORDS": (1, 64, "words of weights whose sums are formed at a time, in 256 bytes of stack each"),
}

#: What must not be assumed of floats, and how the types are called in the kernels.
_PREAMBLE = """\
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: it changes results"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packed words are little-endian"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "floats must be computed as what they are (on a 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* One place holds arrays of different types, one after the other. */
#if defined(__GNUC__)
#define ALIASES __attribute__((__may_alias__))
#else
#define ALIASES
#endif
typedef int8_t ALIASES i8;
typedef int16_t ALIASES i16;
typedef int32_t ALIASES i32;
typedef int64_t ALIASES i64;
typedef uint8_t ALIASES u8;
typedef uint16_t ALIASES u16, f16;
typedef uint32_t ALIASES u32;
typedef uint64_t ALIASES u64;
typedef float ALIASES f32;
typedef double ALIASES f64;
"""


@dataclass
class Export:
    """What an export is made of, as it comes together.

    Parameters
    ----------
    name : str
        The prefix of its functions and, in capitals, of its macros.
    what : str
        What the header says first.
    """

    name: str
    what: str
    #: The most bytes of RAM that it may take, where that was said.
    budget: int | None = None
    sheet: Sheet = field(default_factory=Sheet)
    recordings: list[Recording] = field(default_factory=list)
    #: Macros of the header, with what is said of each.
    macros: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: Declarations of the header; functions in C; and behind these the parts that are called from outside.
    interface: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    #: Definitions of the C file that those take, and the constants of the self-test.
    definitions: dict[str, str] = field(default_factory=dict)
    test: dict[str, np.ndarray] = field(default_factory=dict)
    #: What stands for a name behind a dollar in parts: types that are this export's own.
    types: dict[str, str] = field(default_factory=dict)

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.name.upper()

    def add(self, function: str, recording: Recording) -> None:
        """Print a program as a function."""
        self.recordings.append(recording)
        self.programs.append(self.sheet.program(function, recording))

    @property
    def arena_bytes(self) -> int:
        """The bytes of the arena: those of the largest program."""
        return max(8, *(recording.nbytes for recording in self.recordings))

    @property
    def state_bytes(self) -> int:
        """The bytes of what lasts and changes."""
        return sum(values.nbytes for values in self.sheet.states.values())

    @property
    def ram_bytes(self) -> int:
        """The bytes of memory that may be written, without the stack."""
        return self.arena_bytes + self.state_bytes

    @property
    def constant_bytes(self) -> int:
        """The bytes of constants, and of the values that states begin with."""
        begun = (values for values in self.sheet.states.values() if text.bits_of(values).any())
        return sum(each.nbytes for each in [*self.sheet.constants.values(), *begun])

    def header(self) -> str:
        """Return the text of the header."""
        sizes = {
            "ARENA_BYTES": (self.arena_bytes, "of arrays between the layers, in one block"),
            "RAM_BYTES": (self.ram_bytes, "of all memory that is written, but for the stack"),
            "CONSTANT_BYTES": (self.constant_bytes, "of constants, which may stay in flash"),
        }
        lines = [
            f"#define {self.upper}_{name} {value} /* {said} */" for name, (value, said) in (self.macros | sizes).items()
        ]
        test_bytes = sum(each.nbytes for each in self.test.values())
        blocks = [
            f"   -D{self.upper}_{name}=N, 1 to {most}, {usual} by default: {said}."
            for name, (usual, most, said) in self._blocks().items()
        ]
        within = "" if self.budget is None else f", within the {self.budget} of its memory budget"
        guard, limit = f"{self.upper}_H", f"{self.upper}_RAM_LIMIT"
        return "\n".join(
            [
                f"/* {self.what}",
                "",
                f"   Written by bitlearn {VERSION}. RAM besides the stack: {self.ram_bytes} bytes{within}.",
                f"   Constants besides the code: {self.constant_bytes} bytes. Nothing is allocated, and of",
                f"   libm it calls {self._libm()}. No two threads may be in its functions at the same time.",
                "",
                f"   -D{limit}=BYTES refuses to compile where it takes more RAM than that.",
                *blocks,
                *(["   Blocks change no result."] if blocks else []),
                "*/",
                f"#ifndef {guard}",
                f"#define {guard}",
                "",
                "#include <stdint.h>",
                "",
                *lines,
                "",
                f"#if defined({limit}) && {limit} < {self.upper}_RAM_BYTES",
                f'#error "{self.name} takes more RAM than {limit}: export a smaller network, or one that is cut later"',
                "#endif",
                "",
                "#ifdef __cplusplus",
                'extern "C" {',
                "#endif",
                "",
                *self.interface,
                "",
                "/* 0 where the results are those of Python, else a number that says which is not. Only with",
                f"   -D{self.upper}_SELF_TEST, which adds a main and {test_bytes} bytes of constants. */",
                f"int {self.name}_self_test(void);",
                "",
                "#ifdef __cplusplus",
                "}",
                "#endif",
                "",
                "#endif",
                "",
            ]
        )

    def _libm(self) -> str:
        called = "\n".join(self._kernels().values())
        names = [name for name in ("sqrt", "sqrtf") if re.search(rf"\b{name}\(", called)]
        return " and ".join(names) or "nothing"

    def _put(self, text: str) -> str:
        """Put in what stands for names after a dollar."""
        for name, kind in {"name": self.name, **self.types}.items():
            text = text.replace(f"${name}", kind)
        return text

    def _part(self, name: str) -> str:
        return self._put(parts()[name].text)

    def _needed(self, *texts: str) -> dict[str, str]:
        return {name: self._put(part) for name, part in needed("\n".join(texts)).items()}

    def _blocks(self) -> dict[str, tuple[int, int, str]]:
        """Return the sizes of blocks that its kernels have."""
        called = "\n".join(self._kernels().values())
        return {name: found for name, found in _BLOCKS.items() if re.search(rf"\b{name}\b", called)}

    def _block(self, name: str, usual: int, most: int) -> str:
        """Return the C that takes the size of a block from the compiler, or the usual one."""
        full = f"{self.upper}_{name}"
        return "\n".join(
            [
                f"#ifndef {full}\n#define {full} {usual}\n#elif {full} < 1 || {full} > {most}",
                f'#error "{full} must be from 1 to {most}"\n#endif\n#define {name} {full}',
            ]
        )

    def _kernels(self) -> dict[str, str]:
        """Return the C of what programs and the parts that are called from outside call."""
        return self._needed(*self.programs, *map(self._part, self.own))

    def _self_test(self) -> list[str]:
        """Return the C of the self-test, and of what that alone needs."""
        main = self._part(self.own[0].replace("predict", "self_test"))
        known = self._kernels()
        return [*(part for name, part in self._needed(main).items() if name not in known), main]

    def source(self) -> str:
        """Return the text of the C file."""
        constants = [text.array(name, values) for name, values in self.sheet.constants.items()]
        states = [text.array(name, values, "static") for name, values in self.sheet.states.items()]
        short = {name: f"{self.upper}_{name}" for name in self.macros} | self.definitions
        blocks: Sequence[str] = [
            f'/* {self.what} See the header. */\n#include "{self.name}.h"',
            _PREAMBLE.rstrip(),
            f"static union {{\n    u64 aligned;\n    u8 bytes[{self.upper}_ARENA_BYTES];\n}} arena;\n"
            "#define AT(type, offset) ((type *)(void *)(arena.bytes + (offset)))",
            "\n".join(f"#define {name} {value}" for name, value in short.items()),
            *(self._block(name, usual, most) for name, (usual, most, _) in self._blocks().items()),
            "/* --- Constants --- */",
            *constants,
            *(["/* --- What lasts --- */", *states] if states else []),
            "/* --- Kernels --- */",
            *self._kernels().values(),
            "/* --- The programs: calls of kernels on places of the arena --- */",
            *self.programs,
            "/* --- What is called --- */",
            *map(self._part, self.own),
            f"#ifdef {self.upper}_SELF_TEST",
            *(text.array(name, values) for name, values in self.test.items()),
            *self._self_test(),
            f"#ifndef {self.upper}_NO_MAIN\nint main(void) {{ return {self.name}_self_test(); }}\n#endif\n#endif",
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"
