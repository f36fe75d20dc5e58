"""What is special to the Numba backend: when it compiles, where it keeps the code, and what happens where it cannot.

That its kernels compute the right thing is tested with those of every other backend.
"""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bitlearn.backends
from bitlearn.backends import KERNELS

numba = pytest.importorskip("numba")

ROOT = Path(bitlearn.backends.__file__).parents[2]

#: Count the bits of 5, and say where the code came from.
COUNT = """
import numpy as np
from bitlearn.backends import jit
count = jit.VARIANTS["jit"]["popcount"]
out = np.zeros((1, 1), np.int64)
{before}
count(np.array([[[5]]], np.uint64), out)
assert out[0, 0] == 2, out
print(sum(count.stats.cache_hits.values()), jit.UNCACHED.get("popcount", ""))
"""


def run(code: str, *, root: Path = ROOT, **environment: object) -> str:
    """Return what `code` prints in a fresh interpreter, with the package found under `root`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    settings = inherited | {"PYTHONPATH": str(root)} | {name: str(value) for name, value in environment.items()}
    done = subprocess.run([sys.executable, "-c", code], env=settings, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_kernel_but_one_is_here() -> None:
    from bitlearn.backends import jit

    assert set(jit.VARIANTS["jit"]) == {*KERNELS} - {"quantize_power_of_two"}


def test_parameters_are_those_of_the_specification() -> None:
    from bitlearn.backends import jit, reference

    for name, kernel in jit.VARIANTS["jit"].items():
        assert inspect.signature(kernel.py_func).parameters == inspect.signature(reference.KERNELS[name]).parameters


def test_importing_compiles_nothing() -> None:
    code = "from bitlearn.backends import jit; print([f for f, k in jit.VARIANTS['jit'].items() if k.signatures])"
    assert run(code) == "[]"


def test_warmup_compiles_every_kernel() -> None:
    from bitlearn.backends import jit

    seconds = jit.warmup()
    assert set(seconds) == set(jit.VARIANTS["jit"])
    assert all(value > 0 for value in seconds.values())
    assert all(kernel.signatures for kernel in jit.VARIANTS["jit"].values())


def test_a_second_process_uses_the_kept_code(tmp_path: Path) -> None:
    assert run(COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path) == "0"
    assert run(COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path) == "1"


def test_no_folder_can_be_written(tmp_path: Path) -> None:
    """Numba raises while it decorates; the kernels work all the same, and the reason is kept."""
    (tmp_path / "file").touch()
    # The other places are taken away, as a read-only installation without a home does: root may write anywhere.
    only_the_users = """
from numba.core import caching
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]
"""
    report = run(only_the_users + COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path / "file" / "cache")
    assert report.startswith("0 RuntimeError: cannot cache function 'popcount': no locator available")


def test_the_users_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run(COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path / "file" / "cache")


def test_the_folder_is_lost_between_the_import_and_the_first_call(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    lose = f"import shutil, pathlib; shutil.rmtree({str(folder)!r}); pathlib.Path({str(folder)!r}).touch()"
    assert "Error" in run(COUNT.format(before=lose), NUMBA_CACHE_DIR=folder)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_file_cut_short_is_compiled_again(tmp_path: Path, suffix: str) -> None:
    run(COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path)
    (file,) = tmp_path.rglob(f"*.popcount-*.{suffix}")
    file.write_bytes(b"")
    assert run(COUNT.format(before=""), NUMBA_CACHE_DIR=tmp_path).startswith("0 EOFError")


def test_code_kept_under_the_name_of_other_types_is_not_run(tmp_path: Path) -> None:
    """What two processes can leave behind that compile one kernel for different types at the same moment."""
    pack = """
import numpy as np
from bitlearn.backends import jit
for dtype in (np.float32, np.float64):
    out = np.zeros((1, 1), np.uint64)
    jit.VARIANTS["jit"]["pack"](np.array([[1, -1, 1]], dtype), np.zeros(3, dtype), out)
    print(out[0, 0])
"""
    assert run(pack, NUMBA_CACHE_DIR=tmp_path).split() == ["5", "5"]
    first, second = tmp_path.rglob("*.pack-*.nbc")
    first_code, second_code = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_code)
    second.write_bytes(first_code)
    assert run(pack, NUMBA_CACHE_DIR=tmp_path).split() == ["5", "5"]


def test_a_change_of_another_file_is_noticed(tmp_path: Path) -> None:
    """`xnor_matmul_sign` compares in a helper of packing.py."""
    shutil.copytree(ROOT / "bitlearn", tmp_path / "bitlearn", ignore=shutil.ignore_patterns("__pycache__"))
    sign = """
import numpy as np
from bitlearn.backends import jit
out, row = np.zeros((1, 1), np.uint64), np.ones((1, 1), np.uint64)
jit.VARIANTS["jit"]["xnor_matmul_sign"](row, row, 1, np.ones(1, np.int32), out)
print(out[0, 0])
"""
    assert run(sign, root=tmp_path) == "1"
    packing = tmp_path / "bitlearn" / "backends" / "jit" / "packing.py"
    packing.write_text(packing.read_text().replace("part[j] >= limits[j]", "part[j] > limits[j]"))
    assert run(sign, root=tmp_path) == "0"


def test_a_switched_off_compiler_is_a_reason() -> None:
    code = "from bitlearn import backends; print(backends.unavailable()['jit'])"
    assert run(code, NUMBA_DISABLE_JIT=1).endswith("Numba's compiler is switched off by NUMBA_DISABLE_JIT")


def test_popcount_refuses_a_signed_word() -> None:
    from bitlearn.backends.jit.compilation import popcount_word

    @numba.njit
    def count(word):
        return popcount_word(word)

    assert count(np.uint64(2**64 - 1)) == 64
    with pytest.raises(numba.TypingError, match="popcount_word"):
        count(np.int64(1))


def test_a_tile_refuses_what_are_no_words() -> None:
    from bitlearn.backends.jit.tile import count_tile

    @numba.njit
    def count(rows, panel, counts):
        count_tile(rows, 0, panel, 8, 0, counts)

    rows, panel, counts = np.ones((1, 1), np.uint64), np.zeros(8, np.uint64), np.zeros((4, 8), np.int32)
    count(rows, panel, counts)
    assert (counts == 1).all()
    with pytest.raises(numba.TypingError, match="count_tile"):
        count(rows, panel, counts.astype(np.int64))
    with pytest.raises(numba.TypingError, match="count_tile"):
        count(rows.astype(np.int64), panel, counts)


def test_kernels_run_without_the_gil() -> None:
    from bitlearn.backends import jit

    compiled = [part for each in jit.VARIANTS["jit"].values() for part in getattr(each, "compiled", (each,))]
    assert all(kernel.targetoptions.get("nogil") for kernel in compiled)


def test_floats_are_rounded_once_to_float16() -> None:
    from bitlearn.backends.jit.floats import rounded_to_half, to_float16

    halves = np.unique(np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64))
    finite = halves[np.isfinite(halves)]
    # Between two of them, on either side of that, and past the largest: by way of float32 some would be rounded twice.
    middle = np.concatenate([(finite[1:] + finite[:-1]) / 2, [65520.0, -65520.0, 1e300, 5e-324, -0.0]])
    values = np.concatenate([halves, middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf)])
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
        singles = values.astype(np.float32)
        wanted_of_singles = singles.astype(np.float16)
    got = np.array([rounded_to_half(value) for value in values])
    np.testing.assert_array_equal(got, wanted.astype(np.float64))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))
    bits = np.array([to_float16(value) for value in singles], np.uint16)
    np.testing.assert_array_equal(bits, wanted_of_singles.view(np.uint16))
