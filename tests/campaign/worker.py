"""The process that runs a part's cases: an exception of a case is a finding, and the process goes on."""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import os
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from campaign.state import MOST_FINDINGS, State

#: Seconds between two writes of the state.
KEPT_EVERY = 2.0


class Skipped(Exception):
    """A part cannot run here."""


def scratch() -> Path:
    """Return a folder that goes when the process ends."""
    kept = tempfile.TemporaryDirectory(prefix="bitlearn-campaign-")
    atexit.register(kept.cleanup)
    return Path(kept.name)


def generator(part: str, seed: int, case: int) -> np.random.Generator:
    """Return the random numbers of a case: the same whenever it is run."""
    return np.random.default_rng((seed, zlib.crc32(part.encode()), case))


def prepared(part: str) -> Callable[[np.random.Generator], int]:
    """Return a part's function: it runs the case of a generator and returns how many calls that were."""
    warnings.simplefilter("error")
    # A process of several threads is forked on purpose.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
    return importlib.import_module(f"campaign.{part}").start()


def described(error: BaseException) -> str:
    """Return an error and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__}: {error} ({where})"[:4000]


def work(part: str, seed: int, seconds: float, folder: Path, again: bool) -> None:
    """Run cases until the time is over: first, where asked, those that were found to fail."""
    faulthandler.enable()
    state = State.read(folder, part, seed)
    # Not the state's own count, which is written now and then: where the process ends, this says in which case.
    at = os.open(folder / f"{part}.at", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        run = prepared(part)
        state.skipped = ""
    except Skipped as reason:
        state.skipped = str(reason)
        state.write(folder)
        return
    begun = kept = time.monotonic()
    before = state.seconds

    def keep() -> None:
        state.seconds = before + time.monotonic() - begun
        state.write(folder)

    def case(number: int) -> None:
        os.pwrite(at, number.to_bytes(8, "little"), 0)
        try:
            state.calls += run(generator(part, seed, number))
        except Exception as error:
            if number not in state.findings:
                state.add(number, described(error))
                keep()
        else:
            if state.findings.pop(number, None) is not None:
                keep()

    try:
        for number in list(state.findings) if again else ():
            case(number)
        while time.monotonic() - begun < seconds and len(state.findings) < MOST_FINDINGS:
            case(state.cases)
            state.cases += 1
            if time.monotonic() - kept > KEPT_EVERY:
                kept = time.monotonic()
                keep()
    finally:
        keep()
