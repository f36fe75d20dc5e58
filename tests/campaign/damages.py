"""Ways to damage bytes, and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_JSON: tuple = (0, 1, -1, 2**31, 2**40, 2**63, 10**30, 1.5, float("nan"), "", "x" * 100, "\n", None, True, [], {}, [[]])


def _span(rng: np.random.Generator, size: int) -> slice:
    start = int(rng.integers(size)) if rng.random() < 0.7 else int(rng.integers(min(size, 128)))
    return slice(start, start + 1 + int(2 ** rng.uniform(0, np.log2(max(size - start, 2)))))


def flipped(x: bytearray, rng: np.random.Generator) -> bytes:
    """Flip some bits."""
    for _ in range(int(rng.integers(1, 9))):
        x[rng.integers(len(x))] ^= 1 << int(rng.integers(8))
    return bytes(x)


def number_changed(x: bytearray, rng: np.random.Generator) -> bytes:
    """Put an extreme number somewhere, most often near the beginning, where the lengths are."""
    width = (1, 2, 4, 8)[rng.integers(4)]
    value = _NUMBERS[rng.integers(len(_NUMBERS))] % 256**width
    at = int(rng.integers(min(len(x), 64 if rng.random() < 0.7 else len(x)))) // width * width
    x[at : at + width] = value.to_bytes(width, ("little", "big")[rng.integers(2)])
    return bytes(x)


def truncated(x: bytearray, rng: np.random.Generator) -> bytes:
    """Cut the end off."""
    return bytes(x[: int(rng.integers(len(x))) if rng.random() < 0.7 else len(x) - 1])


def lengthened(x: bytearray, rng: np.random.Generator) -> bytes:
    """Put something behind the end."""
    return bytes(x) + (rng.bytes(int(rng.integers(1, 300))) if rng.random() < 0.5 else bytes(x[: rng.integers(1, 300)]))


def spliced(x: bytearray, rng: np.random.Generator) -> bytes:
    """Put one part in the place of another."""
    x[_span(rng, len(x))] = x[_span(rng, len(x))]
    return bytes(x)


def blanked(x: bytearray, rng: np.random.Generator) -> bytes:
    """Overwrite a part with zeros or noise."""
    span = _span(rng, len(x))
    size = len(x[span])
    x[span] = bytes(size) if rng.random() < 0.5 else rng.bytes(size)
    return bytes(x)


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], bytes], ...] = (
    flipped,
    flipped,
    number_changed,
    truncated,
    lengthened,
    spliced,
    blanked,
)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes in one way."""
    return DAMAGES[rng.integers(len(DAMAGES))](bytearray(content), rng) if content else b"\0"


def changed(value: Any, rng: np.random.Generator) -> Any:
    """Return JSON with one thing in it changed, left out or put twice."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        if rng.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = int(rng.integers(len(value)))
        way = rng.random()
        if way < 0.1:
            return value[:at] + value[at + 1 :]
        if way < 0.2:
            return value[: at + 1] + value[at:]
        return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    if type(value) is int and rng.random() < 0.4:
        return value + int(rng.integers(-2, 3))
    return _JSON[rng.integers(len(_JSON))]
