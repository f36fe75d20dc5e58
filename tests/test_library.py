"""The C sources as a library: built by CMake without Python, installed, and used from C, C++ and Cython."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import exported
import numpy as np
import pytest

import bitlearn as bl

ROOT = Path(__file__).parents[1]
CSRC, EXAMPLES, HERE = ROOT / "csrc", ROOT / "examples", ROOT / "tests" / "library"

pytestmark = pytest.mark.skipif(
    not (CSRC / "CMakeLists.txt").exists() or sys.platform != "linux",
    reason="the library is tested on Linux, from a checkout",
)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Build and install the library once; quickly, not for speed."""
    exported.needed("cmake", "gcc")
    folder = tmp_path_factory.mktemp("library")
    options = ("-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O1", f"-DCMAKE_INSTALL_PREFIX={folder / 'installed'}")
    exported.run("cmake", "-S", CSRC, "-B", folder / "build", "-DCMAKE_INSTALL_LIBDIR=lib", *options)
    exported.run("cmake", "--build", folder / "build")
    exported.run("cmake", "--install", folder / "build")
    return folder / "installed"


def flags(prefix, *more):
    """Return what pkg-config says."""
    exported.needed("pkg-config")
    environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    command = ["pkg-config", *more, "--cflags", "--libs", "bitlearn"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def test_the_header_stands_alone(prefix, tmp_path):
    exported.needed("gcc", "g++")
    for compiler, suffix, standard in (("gcc", "c", "c99"), ("g++", "cpp", "c++11")):
        source = tmp_path / f"alone.{suffix}"
        source.write_text(
            "#include <bitlearn.h>\n#include <bitlearn.h>\nint main(void) { return bl_variant_count() == 0; }\n"
        )
        strict = (f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
        target = tmp_path / f"alone_{suffix}"
        exported.run(compiler, *strict, "-o", target, source, *flags(prefix), f"-Wl,-rpath,{prefix / 'lib'}")
        assert exported.run(target).returncode == 0


def test_the_version_is_the_package_s(prefix):
    assert f'#define BITLEARN_VERSION "{bl.__version__}"' in (prefix / "include" / "bitlearn.h").read_text()


def test_only_the_contract_is_visible(prefix):
    exported.needed("nm")
    listed = exported.run("nm", "-D", "--defined-only", prefix / "lib" / "libbitlearn.so").stdout.split("\n")
    names = {line.split()[-1] for line in listed if line}
    assert "bl_xnor_matmul" in names and "bl_run" in names
    text = (prefix / "include" / "bitlearn.h").read_text()
    assert not [name for name in names if f"{name}(" not in text]


def test_examples_in_c_and_cpp(prefix, tmp_path):
    exported.needed("g++")
    exported.run("cmake", "-S", EXAMPLES / "c", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    exported.run("cmake", "--build", tmp_path)
    assert exported.run(tmp_path / "product").stdout.startswith("600 products by ")
    assert exported.run(tmp_path / "nearest").stdout.startswith("row 0 at distance 1\nrow 7 at distance 1\n")


def test_example_in_cython(prefix, tmp_path, rng, monkeypatch):
    pytest.importorskip("Cython")
    source = tmp_path / "differences.c"
    exported.run(sys.executable, "-m", "cython", EXAMPLES / "cython" / "differences.pyx", "-o", source)
    target = tmp_path / f"differences{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    linked = (f"-I{prefix / 'include'}", prefix / "lib" / "libbitlearn.a", "-lm", "-pthread")
    exported.run("gcc", "-shared", "-fPIC", "-O1", f"-I{include}", "-o", target, source, *linked)
    spec = importlib.util.spec_from_file_location("differences", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    a, b = (rng.integers(0, 2**64, (rows, 3), dtype=np.uint64) for rows in (5, 9))
    out = np.empty((5, 9), dtype=np.int32)
    module.differences(a, b, out)
    assert np.array_equal(out, bl.hamming(a, b, 192))


def test_threads_stacks_signals_and_unloading(prefix, tmp_path):
    target = tmp_path / "threads"
    exported.run(
        "gcc", "-std=gnu11", "-Wall", f"-I{prefix / 'include'}", "-o", target, HERE / "threads.c", "-ldl", "-pthread"
    )
    done = exported.run(target, prefix / "lib" / "libbitlearn.so")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_program_holds_the_kernels_that_it_calls(prefix, tmp_path):
    exported.needed("nm")
    target = tmp_path / "one"
    linked = (prefix / "lib" / "libbitlearn.a", "-Wl,--gc-sections", "-lm", "-pthread")
    exported.run("gcc", f"-I{prefix / 'include'}", "-o", target, HERE / "one.c", *linked)
    assert exported.run(target).returncode == 0
    names = {line.split()[-1] for line in exported.run("nm", target).stdout.split("\n") if line}
    assert "bl_popcount_portable" in names
    assert not names & {"bl_adam_update_portable", "bl_xnor_matmul_portable", "bl_grad_input_portable", "bl_run"}


@pytest.mark.parametrize(
    ("given", "said"),
    [("-ffast-math", "without -ffast-math"), ("-U__BYTE_ORDER__ -D__BYTE_ORDER__=4321", "little-endian")],
)
def test_what_breaks_results_does_not_compile(given, said):
    exported.needed("gcc")
    command = ["gcc", "-std=c11", *given.split(), "-fsyntax-only", str(CSRC / "portable" / "losses.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_every_file_is_c11(compiler):
    exported.needed(compiler)
    sources = sorted(str(path) for path in CSRC.glob("**/*.c"))
    exported.run(compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *sources)


@pytest.mark.parametrize(
    ("compiler", "system", "emulator"),
    [
        ("clang", (), ()),
        (
            "aarch64-linux-gnu-gcc",
            ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"),
            ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        ),
    ],
)
def test_other_compilers_build_it(compiler, system, emulator, tmp_path):
    """The static library alone, and a program of it."""
    exported.needed("cmake", compiler, *emulator[:1])
    options = (f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O1", *system)
    exported.run("cmake", "-S", CSRC, "-B", tmp_path, *options)
    exported.run("cmake", "--build", tmp_path, "--target", "bitlearn_static")
    target, include = tmp_path / "product", tmp_path / "include"
    linked = (EXAMPLES / "c" / "product.c", tmp_path / "libbitlearn.a", "-lm", "-pthread")
    exported.run(compiler, "-std=c11", f"-I{include}", "-o", target, *linked)
    assert exported.run(*emulator, target).stdout.startswith("600 products by ")


def test_threads_do_not_pay_for_tiles_that_they_never_use():
    """Thread-local arrays are part of every thread's stack, whatever it runs."""
    library = Path(importlib.util.find_spec("bitlearn.backends._cext").origin)
    exported.needed("readelf")
    segments = [line.split() for line in exported.run("readelf", "-lW", library).stdout.split("\n") if " TLS " in line]
    assert all(int(words[5], 16) < 4096 for words in segments)
