"""The C kernels on another processor, without Python there: compile the driver, run it, send it calls."""

from __future__ import annotations

import ctypes
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from guards import span

from bitlearn.backends.table import TABLE

# The arguments in C are made here as they are for the extension.
cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
ffi, program, StandIn = cext.ffi, cext.program, cext.arrays.StandIn

CSRC = Path(__file__).parents[1] / "csrc"
CROSS = Path(__file__).parent / "cross"
# Those of the extension, and no warnings.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]


@dataclass(frozen=True)
class Target:
    """A processor: its compiler, what runs its programs, and further flags."""

    processor: str
    compiler: str
    emulator: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def lacks(self) -> list[str]:
        """Return what has to be installed first."""
        return [tool for tool in (self.compiler, *self.emulator) if shutil.which(tool) is None]


TARGETS = {
    "aarch64": Target("aarch64", "aarch64-linux-gnu-gcc", ("qemu-aarch64",), ("-static",)),
    # Tiles are emulated on every machine: the extension runs on those that a processor has.
    "native": Target(platform.machine().lower(), "gcc", flags=("-DBL_EMULATE_TILES", "-pthread")),
}
#: Where the calls of this file mean the same on both sides: 64-bit, little-endian, POSIX pipes.
SUPPORTED = platform.system() in ("Linux", "Darwin") and platform.machine().lower() in ("x86_64", "aarch64", "arm64")


def _compile(target: Target, folder: Path) -> list[str]:
    """Compile the kernels and the driver to one program, and return the command that runs it."""
    program = folder / "driver"
    sources = [CROSS / "driver.c", CROSS / "tiles.c", *sorted(CSRC.glob("**/*.c"))]
    command = [target.compiler, *FLAGS, *target.flags, "-I", CSRC, *sources, "-o", program, "-lm"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return [*target.emulator, str(program)]


def _memory(x: np.ndarray) -> tuple[bytes, int]:
    """Return what an array with strides covers, gaps included, and how far in its first element lies."""
    size, before = span(x)
    return ctypes.string_at(x.ctypes.data - before, size) if size else b"", before


def _pointed_at(found: tuple) -> Iterator[tuple[int, bytes, int, np.ndarray | None]]:
    """Yield for each pointer among the arguments in C its place, the memory, how far in it points, and the array."""
    for slot, value in enumerate(found):
        if isinstance(value, StandIn):
            yield slot, *_memory(value.array), value.array
        elif isinstance(value, ffi.CData) and value != ffi.NULL:
            yield slot, bytes(ffi.buffer(value)), 0, None


class Machine:
    """A running driver, started by `command`.

    `kernels` holds each variant's own, `lacking` what the others lack, or why they are refused.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.command = command = _compile(target, folder)
        self.on_arm = target.processor in ("aarch64", "arm64")
        self.kernels: dict[str, list[str]] = {}
        self.lacking: dict[str, list[str]] = {}
        lines = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
        self.names = [line.split()[0] for line in lines]
        for name, *words in map(str.split, lines):
            if words[0] in ("lacks", "refused:"):
                self.lacking[name] = words[1:]
            else:
                self.kernels[name] = words
        self._process = subprocess.Popen([*command, "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()

    def kernel(self, variant: str, kernel: str) -> Callable[..., None]:
        """Return a function like the reference's that runs a variant's kernel over there."""

        def run(*arguments):
            self._call(variant, kernel, arguments)

        return run

    def _call(self, variant, kernel, arguments):
        given = [StandIn(each) if isinstance(each, np.ndarray) else each for each in arguments]
        found = cext.ARGUMENTS[kernel](*given)
        slots, pointers = program.slots(kernel, found), list(_pointed_at(found))
        written = [arguments[position] for position in TABLE[kernel].writes]
        results = []
        function = TABLE[kernel].function.encode()
        message = [struct.pack("<q", len(function)), function]
        message += [struct.pack("<qqq", self.names.index(variant), len(slots) // 8, len(pointers)), slots]
        for slot, memory, first, array in pointers:
            is_result = any(array is each for each in written)
            results += [array] if is_result else []
            message += [struct.pack("<qqqq", slot, first, is_result, len(memory)), memory]
        self._process.stdin.write(b"".join(message))
        self._process.stdin.flush()
        broken = struct.unpack("<q", self._receive(8))[0]
        assert not broken, f"{variant} changed argument {broken - 1} in C of {kernel}, or wrote around it"
        for out in results:
            out[...] = np.frombuffer(self._receive(out.nbytes), dtype=out.dtype).reshape(out.shape)

    def _receive(self, size):
        content = self._process.stdout.read(size)
        assert len(content) == size, f"the driver stopped with exit status {self._process.wait()}"
        return content
