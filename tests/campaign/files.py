"""Damaged files of every format that is loaded: refused in one line, soon, in little memory, or loaded unaltered."""

from __future__ import annotations

import resource
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign.damages import damaged
from campaign.formats import Format, formats
from campaign.worker import scratch

#: Seconds of this process, and bytes beside twice what the honest file takes: for messages, and readers' own buffers.
MOST_SECONDS = 1.0
_SLACK = 4 << 20
#: So that a file that asks for far more memory is refused it, and the machine is left alone.
_ADDRESS_SPACE = 4 << 30


def _measured(each: Format, path: Path) -> tuple[Any, str, int, float]:
    """Load a file; return its content, or else the error's text, the peak of memory and the seconds."""
    found, text = None, ""
    tracemalloc.start()
    begun = time.process_time()
    try:
        found = each.load(path)
    except (ValueError, FileNotFoundError) as error:
        text = str(error) or type(error).__name__
    finally:
        seconds, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, text, peak, seconds


def start() -> Callable[[np.random.Generator], int]:
    """Return what damages a file and loads it."""
    known = formats(scratch())
    honest = {}
    for name, each in known.items():
        for _ in range(2):  # what the first load imports is not the file's
            content, text, peak, _ = _measured(each, each.path)
        assert not text, f"{name} | {text}"
        honest[name] = (each.path.read_bytes(), content, peak)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def case(rng: np.random.Generator) -> int:
        name = list(known)[rng.integers(len(known))]
        each, (content, wanted, usual) = known[name], honest[name]
        inside = rng.random() < 0.5
        given = each.refitted(content, rng) if inside else damaged(content, rng)
        each.path.write_bytes(given)
        what = f"{name}, {'its checksums made right' if inside else 'damaged'}, {len(given)} bytes"
        try:
            found, text, peak, seconds = _measured(each, each.path)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {str(error)[:300]} | {what}") from error
        finally:
            each.path.write_bytes(content)
        assert "\n" not in text, f"{name}: not one line | {text[:300]!r}, {what}"
        assert len(text) < 1000, f"{name}: an error of many characters | {len(text)}, {what}"
        assert text or inside or not each.covered or found == wanted, f"{name}: altered content accepted | {what}"
        assert seconds < MOST_SECONDS, f"{name}: it took too long | {seconds} s, {what}"
        assert peak < 2 * usual + _SLACK, f"{name}: it took too much memory | {peak} bytes, not {usual}, {what}: {text}"
        return 1

    return case
