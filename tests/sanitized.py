"""The pytest plugin of `make sanitize`: the extension with sanitizers, no Numba, arrays alone in their memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Whatever imports it gets an ImportError, so that the registry goes from C straight to the reference: compiling for the
# tests takes Numba a minute, and its code is not instrumented. Now, because conftest.py loads the backends.
sys.modules["numba"] = None


def pytest_configure() -> None:
    import guards

    from bitlearn.backends import _cext

    if b"__asan_report" not in Path(_cext.__file__).read_bytes():
        raise pytest.UsageError(f"{_cext.__file__} was not built with AddressSanitizer")
    # Inside a larger buffer a read past an array's end is one of valid memory, which no sanitizer reports.
    guards.MARGIN = 0
