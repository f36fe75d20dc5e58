"""How arrays and numbers are written in C."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.export.parts import TYPES

_WIDTH = 120


def number(value: Any, kind: str = "") -> str:
    """Return a number as a constant of a C type; without one as what it is in Python.

    Examples
    --------
    >>> number(True), number(0.5), number(-(2**31), "i32"), number(7, "u64"), number(float("inf"))
    ('1', '0x1.0000000000000p-1', '(-2147483647 - 1)', '0x7u', 'HUGE_VAL')
    """
    if isinstance(value, float | np.floating):
        real = float(value)
        if math.isnan(real):
            raise ValueError("a number must be one to be written in C, got NaN")
        if math.isinf(real):
            return "-HUGE_VAL" if real < 0 else "HUGE_VAL"
        return real.hex() + ("f" if kind == "f32" else "")
    whole = int(value)
    if kind in ("u16", "u32", "u64", "f16"):
        return f"{whole:#x}u"
    if whole in (-(2**31), -(2**63)):
        return f"({whole + 1}{'LL' if whole < -(2**31) else ''} - 1)"
    return f"{whole}LL" if abs(whole) >= 2**31 else str(whole)


def bits_of(array: np.ndarray) -> np.ndarray:
    """Return an array as C has it: float16 as its bits, bool as 0 and 1."""
    if array.dtype == np.float16:
        return array.view(np.uint16)
    return array.view(np.uint8) if array.dtype == bool else array


def array(name: str, values: np.ndarray, qualifier: str = "static const") -> str:
    r"""Return the definition of an array with its values; without them where all of their bytes are 0.

    Examples
    --------
    >>> array("x", np.array([1, -2], dtype=np.int8))
    'static const i8 x[2] = {\n    1, -2\n};'
    """
    kind, flat = TYPES[values.dtype.name], bits_of(np.ascontiguousarray(values)).reshape(-1)
    if "const" not in qualifier and not flat.view(np.uint8).any():
        return f"{qualifier} {kind} {name}[{flat.size}];"
    lines, line = [], "   "
    for value in flat:
        text = f" {number(value, kind)},"
        if len(line) + len(text) > _WIDTH:
            lines.append(line)
            line = "   "
        line += text
    lines.append(line[:-1])
    return f"{qualifier} {kind} {name}[{flat.size}] = {{\n" + "\n".join(lines) + "\n};"
