"""The bytes of code and stack of an export, as a compiler makes them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_SIZES = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s", re.MULTILINE)


def measured(source: Path, compiler: Sequence[str]) -> tuple[int, int]:
    """Return the bytes of code and constants, and the most bytes of stack that one of the calls takes.

    Parameters
    ----------
    source : Path
        The C file.
    compiler : sequence of str
        A GCC and its options, as in ``["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-Os"]``.

    Returns
    -------
    code, stack : int
        Of the compiled file alone: what it calls of libm and of the compiler's own library comes on top.

    Raises
    ------
    ValueError
        If the compiler fails, or is none that tells these.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.o"
        command = [*compiler, "-std=c99", "-fstack-usage", "-c", str(source.resolve()), "-o", str(target)]
        size = re.sub(r"(g?cc|clang)(-\d+)?$", "size", compiler[0])
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
            sizes = subprocess.run([size, str(target)], check=True, capture_output=True, text=True).stdout
        except FileNotFoundError as error:
            raise ValueError(f"compiler must be an existing program, got {error.filename}") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
            said = next((line for line in lines if "error:" in line), lines[-1])
            raise ValueError(f"compiler must compile the export, got {said!r}") from None
        usage = next(iter(Path(folder).glob("*.su")), None)
        found = _SIZES.search(sizes)
        if usage is None or found is None:
            raise ValueError(f"compiler must be a GCC, which tells the bytes of code and stack, got {compiler[0]}")
        frames: dict[str, int] = {}
        for line in usage.read_text(encoding="utf-8").splitlines():
            where, used, _ = line.split("\t")
            name, _, copy = where.rpartition(":")[2].partition(".")
            # A copy for some arguments runs in the place of the function; a part that was cut off runs inside of it.
            inside = copy.startswith(("part", "cold"))
            frames[name] = frames.get(name, 0) + int(used) if inside else max(frames.get(name, 0), int(used))
        return int(found[1]), _deepest(source.read_text(encoding="utf-8"), frames)


def _deepest(text: str, frames: dict[str, int]) -> int:
    """Return the stack of the deepest chain of calls: functions in C stand before those that call them."""
    functions = list(re.finditer(r"^(?:static )?[\w ]+?[ *](\w+)\([^;{]*\)\s*\{", text, re.MULTILINE))
    most: dict[str, int] = {}
    for function, following in zip(functions, [*functions[1:], None], strict=True):
        body = text[function.end() : None if following is None else following.start()]
        called = [most[name] for name in set(re.findall(r"(\w+)\(", body)) if name in most]
        most[function[1]] = frames.get(function[1], 0) + max(called, default=0)
    return max(most.values(), default=0)
