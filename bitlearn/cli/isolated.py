"""Calls a function in a process of its own, since memory left behind by other calls would hide how much it needs.

The process is not a child of `multiprocessing`, which a Dask worker may not have, and it ends with its parent.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

#: The program of the process. It finds modules in the same places as this one.
_CODE = """\
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from bitlearn.cli.isolated import answer
answer()
"""


def isolated(function: Callable[..., Any], *arguments: Any, quiet: bool = False) -> Any:
    """Call a function in a new process; return its result, or raise its exception.

    Parameters
    ----------
    function : callable
        One that can be imported.
    *arguments : object
    quiet : bool
        Whether to drop what the function prints; otherwise it goes to standard error.

    Returns
    -------
    object

    Raises
    ------
    ChildProcessError
        If the process ended without an answer.

    Notes
    -----
    If this process is killed, the other one ends too.
    """
    given = pickle.dumps(sys.path) + pickle.dumps((function, arguments))
    errors = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(
        [sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(given)
            process.stdin.flush()  # it stays open: when it is closed, the process ends
            found = process.stdout.read()
        except BrokenPipeError:
            found = b""
        finally:
            process.kill()
    if not found:
        raise ChildProcessError("a process must end by itself, got one that was killed")
    is_right, value = pickle.loads(found)
    if is_right:
        return value
    raise value


def answer() -> None:
    """Run as the new process: call the function from standard input, and write the outcome to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep what is printed out of the answer
    function, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        found = True, function(*arguments)
    except KeyboardInterrupt:
        os._exit(130)  # the parent was interrupted too and reports it
    except Exception as error:
        error.add_note(traceback.format_exc())
        found = False, error
    with answers:
        answers.write(_pickled(found))
    os._exit(0)  # do not wait for the reading thread or for a library's exit handlers


def _pickled(found: tuple[bool, Any]) -> bytes:
    try:
        return pickle.dumps(found)
    except Exception as error:  # such as classes inside functions
        return pickle.dumps((False, RuntimeError(f"{type(found[1]).__name__} cannot be sent on ({error}): {found[1]}")))


def _end_with_parent() -> None:
    # Not through the buffered file, whose lock would be held when the process ends.
    while os.read(0, 2**10):
        pass
    os._exit(1)
