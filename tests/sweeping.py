"""What workers run in the tests of sweeps: functions that a worker can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import bitlearn as bl


def noted(settings):
    """Leave a line behind, so that a test can count the calls; and tell of this process."""
    with open(Path(settings["folder"]) / "calls", "a") as file:
        file.write(f"{settings['seed']}\n")
    return {"square": settings["seed"] ** 2, "threads": bl.get_num_threads(), "process": os.getpid()}


def killed_once(settings):
    """End the worker at the first call of the third run."""
    mark = Path(settings["folder"]) / "killed"
    if settings["seed"] == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return noted(settings)


def fails(settings):
    """Raise in the third run, when the others have had time to end."""
    if settings["seed"] == 2:
        time.sleep(1)
        raise ValueError("seed must be another, got 2")
    return noted(settings)


def full(settings):
    """Write to a full disk."""
    with open("/dev/full", "w") as file:
        file.write("x" * 10**6)


def slow(settings):
    """Take longer than a scheduler is there."""
    time.sleep(5)
