"""A function run in a forked process: what it returns, or how the process ended."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

#: Seconds after which a forked process has stopped for ever.
PATIENCE = 60


def run(function: Callable[[], Any]) -> tuple[Any, int]:
    """Return what a function returns in a forked process, and the signal that ended the process, or 0."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            # The default action of a signal that nobody handles: where the process stands goes to the log first.
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            with os.fdopen(writing, "wb") as stream:
                pickle.dump(function(), stream)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return None, signal.SIGKILL
    assert status == 0, f"a process ended with status {status}, as its part's log tells"
    return pickle.loads(content), 0
