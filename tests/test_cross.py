"""The tests of the kernels, run again on another processor, with no Python there.

The kernels and a driver are compiled to one program, for AArch64 by a cross compiler, which QEMU runs. Every test of a
kernel then gets the program's kernels in the place of the extension's.
"""

from __future__ import annotations

import inspect
import itertools
import subprocess
from contextlib import nullcontext
from functools import partial

import guards
import numpy as np
import pytest
import test_kernels
import test_kernels_arrays
import test_kernels_codes
import test_kernels_conv
import test_kernels_gradients
import test_kernels_norms
import test_kernels_panels
import test_kernels_planes
import test_kernels_quantize
import test_kernels_updates
from machines import CSRC, SUPPORTED, TARGETS, Machine

from bitlearn.backends.table import TABLE

MODULES = (
    test_kernels,
    test_kernels_arrays,
    test_kernels_codes,
    test_kernels_conv,
    test_kernels_gradients,
    test_kernels_norms,
    test_kernels_panels,
    test_kernels_planes,
    test_kernels_quantize,
    test_kernels_updates,
)
#: What runs on no processor here, or on few. All else is tested through the extension, of the same files and sizes.
ON_ARM, EMULATED = ("neondot", "neon", "portable"), ("amx",)
HEADERS = ("kernels.h", "norm_steps.h", "steps.h")
CONTRACT = "".join((CSRC / name).read_text(encoding="utf-8") for name in HEADERS if CSRC.exists())


def combinations(function):
    """Yield (kernel, further arguments) of a parametrized test: each combination, with each kernel once."""
    choices = []
    for mark in function.pytestmark:
        names, values = mark.args
        if names == ("kernel", "variant"):
            choices.append([{"kernel": kernel} for kernel in dict.fromkeys(kernel for kernel, _ in values)])
        elif isinstance(names, str):
            choices.append([{names: value} for value in values])
        else:
            choices.append([dict(zip(names, value, strict=True)) for value in values])
    for parts in itertools.product(*choices):
        arguments = {name: value for part in parts for name, value in part.items()}
        yield arguments.pop("kernel"), arguments


def is_repeated(arguments):
    """Say whether only the padding differs from a float case with zeros: one code for all types, and QEMU is slow."""
    return arguments.get("dtype") is np.float32 and arguments.get("pad_value", 0) != 0


def label(kernel, arguments):
    return "-".join([kernel, *(getattr(value, "__name__", str(value)) for value in arguments.values())])


def cases():
    """Return every test of a kernel that is in C, with every combination of its parameters."""
    return [
        pytest.param(function, kernel, arguments, id=f"{name}-{label(kernel, arguments)}")
        for module in MODULES
        for name, function in vars(module).items()
        if name.startswith("test_")
        for kernel, arguments in combinations(function)
        if f"void bl_{TABLE[kernel].function}(" in CONTRACT and not is_repeated(arguments)
    ]


@pytest.fixture(scope="module", params=TARGETS)
def machine(request, tmp_path_factory):
    target = TARGETS[request.param]
    if not CONTRACT:
        pytest.skip("the C sources are not here")
    if not SUPPORTED:
        pytest.skip("the driver's protocol is for 64-bit Linux and macOS")
    if lacking := target.lacks():
        pytest.skip(f"there is no {' and no '.join(lacking)}")
    with Machine(target, tmp_path_factory.mktemp("driver")) as running:
        yield running


@pytest.mark.parametrize(("function", "kernel", "arguments"), cases())
def test_kernel(machine, function, kernel, arguments, rng, monkeypatch):
    for module in (guards, *MODULES):
        monkeypatch.setattr(module, "use_backend", nullcontext, raising=False)
    if "rng" in inspect.signature(function).parameters:
        arguments = {**arguments, "rng": rng}
    variants = ON_ARM if machine.on_arm else EMULATED
    having = [variant for variant in variants if TABLE[kernel].function in machine.kernels.get(variant, [])]
    if not having:
        pytest.skip(f"{' and '.join(variants)} leave it to others, or want another processor")
    for variant in having:
        for module in (guards, *MODULES):
            monkeypatch.setattr(module, "lookup", partial(machine.kernel, variant), raising=False)
        function(kernel, variant, **arguments)


@pytest.mark.parametrize("what", ["choice", "user", "fork", "signal", "threads"])
def test_tiles_are_used_as_by_one_of_many(machine, what):
    if "amx" not in machine.kernels:
        pytest.skip("tiles are emulated on processors with AVX-512")
    done = subprocess.run(
        [*machine.command, what], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_kernel_of_the_contract_has_a_test(machine):
    tested = {TABLE[parameters.values[1]].function for parameters in cases()}
    assert set(machine.kernels["portable"]) == tested


def test_the_processor_decides_which_variants_run(machine):
    assert machine.kernels.keys().isdisjoint(machine.lacking)
    if machine.on_arm:
        assert list(machine.kernels) == ["neondot", "neon", "portable"]
        assert machine.lacking["avx2"] == ["avx2"]
    else:
        assert machine.lacking["neon"] == ["neon"]
        assert machine.lacking["neondot"] == ["neon", "dotprod"]
        assert ("amx" in machine.kernels) == ("avx512" in machine.kernels)  # its tiles are emulated
