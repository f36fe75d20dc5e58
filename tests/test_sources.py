"""The C sources compile without a warning."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[1] / "csrc"
#: What both compilers know. Not -Wcast-align: the unaligned loads of the vector intrinsics take aligned pointers.
WARNINGS = (
    *("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion"),
    *("-Wcast-qual", "-Wwrite-strings", "-Wstrict-prototypes", "-Wvla", "-Wundef", "-Wnull-dereference"),
)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("source", sorted(path.relative_to(CSRC).as_posix() for path in CSRC.glob("**/*.c")))
def test_no_warnings(compiler, source, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    # Not to the null device, which a compiler that fails removes where it may.
    # Optimized, because only then do the compilers follow values: what is uninitialized, or null, or out of bounds.
    command = [compiler, "-std=c11", "-O2", "-c", "-o", tmp_path / "object.o", "-Werror", *WARNINGS, source]
    outcome = subprocess.run(command, cwd=CSRC, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
