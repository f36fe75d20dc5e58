"""Exports, compiled and run: by GCC under sanitizers, by Clang, and for other machines in emulation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bitlearn as bl

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: Where there is no run-time library to say what was undefined, the program stops there.
TRAPPED = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
CORTEX = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99", "-Os", "-Wall", "-Wextra", "-Werror")
HERE = Path(__file__).parent / "export"


def needed(*programs):
    """Skip where a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")


def run(*command, cwd=None):
    """Run a command and return its result; an error of a compiler shows what it said."""
    done = subprocess.run([str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 or Path(command[0]).exists() or "qemu" in command[0], done.stderr
    return done


def self_test(source, compiler, *flags, emulator=()):
    """Compile an export's self-test and return what it returns."""
    needed(compiler, *emulator[:1])
    target = source.with_suffix(f".{compiler}")
    run(compiler, *FLAGS, *flags, f"-D{source.stem.upper()}_SELF_TEST", "-o", target, source, "-lm")
    return run(*emulator, target).returncode


def in_cortex_m(source, ram, *flags):
    """Run an export's self-test on a Cortex-M4 with so many bytes of RAM; return its result and its bytes of stack."""
    needed("arm-none-eabi-gcc", "qemu-system-arm")
    target = source.with_suffix(".elf")
    linked = ("-nostartfiles", "--specs=nosys.specs", f"-Wl,--defsym=RAM_BYTES={ram}", "-T", HERE / "cortex_m.ld")
    test = f"-D{source.stem.upper()}_SELF_TEST"
    run(*CORTEX, *flags, *linked, test, "-o", target, HERE / "cortex_m.c", source, "-lm")
    machine = ("-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config")
    done = run("qemu-system-arm", *machine, "enable=on,target=native", "-kernel", target)
    return done.returncode, int(done.stdout + done.stderr or -1)


def library(source, folder):
    """Return an export as a shared library: its name is of this process, and of one load."""
    import ctypes

    needed("gcc")
    if sys.platform == "win32":
        pytest.skip("a shared library is made as Unix has it")
    target = folder / f"{source.stem}.so"
    run("gcc", *FLAGS, "-shared", "-fPIC", "-o", target, source, "-lm")
    return ctypes.CDLL(str(target))


def filled(model, seed=3):
    """Return a network with statistics, biases and real weights as training leaves them."""
    rng = np.random.default_rng(seed)
    for name, array in model.state().items():
        if name.endswith("running_mean"):
            array[...] = 3 * rng.normal(size=array.shape)
        elif name.endswith("bias"):
            array[...] = 0.3 * rng.normal(size=array.shape)
        elif name.startswith("head"):
            array[...] = rng.normal(size=array.shape)
    return model


def learner(cut="sign1", precision="low-memory", hidden=(70, 40), size=40, shape=(8, 8, 1), **settings):
    """Return a learner of latent replay that has learned some random examples of ten classes."""
    model = bl.models.mlp(shape, 10, hidden=hidden, head="real", precision=precision)
    options = {"batch_size": 16, "seed": 5} | settings
    made = bl.continual.ContinualLearner("latent-replay", model, cut=cut, replay_size=size, labels=range(10), **options)
    x, y = examples(shape, 24, 0)
    return made.partial_fit(x, y)


def examples(shape, count, seed):
    """Return random codes and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, *shape)).astype(np.int8), rng.integers(0, 10, count)
