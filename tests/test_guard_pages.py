"""No kernel in C reads or writes outside its arrays: they lie against pages that end a process that touches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)

SCRIPT = Path(__file__).with_name("guard_pages.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are protected as Linux does")


def ended(*arguments: str) -> tuple[int, list[str]]:
    """Run the script and return how it ended and what it said."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(SCRIPT), *arguments]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return outcome.returncode, [*outcome.stdout.splitlines(), outcome.stderr[-2000:]]


@pytest.mark.parametrize("variant", cext.VARIANTS)
def test_kernels_stay_within_their_arrays(variant):
    code, lines = ended(variant)
    assert code == 0 and "passed" in lines, f"exit status {code} in or after: {' '.join(lines[-2:])}"


def test_a_read_outside_is_noticed():
    code, lines = ended("overrun")
    assert code != 0
    assert lines[0] == "within" and "outside" not in lines
