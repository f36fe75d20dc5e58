"""The table of kernels against C, against the other backends, and against the operands of the tests."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from operands import OPERANDS

from bitlearn.backends import KERNELS, table
from bitlearn.backends.table import TABLE, kernel
from bitlearn.bits import words_for
from bitlearn.panels import panel_words

CSRC = Path(__file__).parents[1] / "csrc"


def sizes_of(row: table.Kernel, arguments: tuple) -> dict[str, int]:
    """Return what each named size of a call is, and assert that its arrays agree on it."""
    found = {name: value for name, value in zip(row.parameters, arguments, strict=True) if isinstance(value, int)}
    for name, array in row.arrays.items():
        value = arguments[row.parameters.index(name)]
        packed = value.dtype == np.uint64 and {"bits", "panels"} & set(array.types)
        for axis, size in zip(array.axes, value.shape[:-1] if packed else value.shape, strict=False):
            if len(axis) == 1 and not axis[0].isdigit() and not (array.optional and size == 0):
                assert found.setdefault(axis[0], size) == size, f"{row.name}: {axis[0]} of {name}"
    return found


def fits(value: np.ndarray, array: table.Array, kind: str, sizes: dict[str, int]) -> bool:
    """Whether an array has the declared shape, as far as its sizes are known."""
    if kind == "panels":
        return value.ndim == 1
    if len(value.shape) != len(array.axes):
        return False
    if array.optional and len(value) == 0:
        return True
    *outer, last = [[int(name) if name.isdigit() else sizes.get(name) for name in axis] for axis in array.axes]
    if kind == "bits":
        last = [None if size is None else words_for(size) for size in last]
    return all(size in wanted or None in wanted for size, wanted in zip(value.shape, (*outer, last), strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_operands_are_as_declared(name, rng):
    row, operands = TABLE[name], OPERANDS[name]
    assert operands.sizes, f"the operands of {name} are to be made by hand"
    strided = name in ("pack", "popcount")
    seen: dict[str, set[str]] = {each: set() for each in row.arrays}
    for dtype in operands.dtypes:
        for size in operands.sizes:
            arguments = operands.make(rng, size, dtype)
            given = dict(zip(row.parameters, arguments, strict=True))
            assert {each for each, value in given.items() if isinstance(value, np.ndarray)} == set(row.arrays)
            sizes, kinds = sizes_of(row, arguments), {}
            for each, array in row.arrays.items():
                value = given[each]
                assert strided or value.flags.c_contiguous
                assert value.dtype in array.dtypes, f"{each} is {value.dtype}"
                at = array.dtypes.index(value.dtype) if array.by is None else kinds[array.by]
                at += array.types[at:] == ("bits", "panels") and value.ndim == 1
                assert value.dtype == array.dtypes[at], f"{each} is {value.dtype}, not by {array.by}"
                kinds[each] = at
                seen[each].add(value.dtype.name)
                assert strided or fits(value, array, array.types[at], sizes), f"{each} is {value.shape}"
    for each, array in row.arrays.items():
        wanted = {dtype.name for dtype in array.dtypes}
        assert seen[each] == wanted, f"{each} is never {wanted - seen[each]}"


def test_sizes_of_what_is_packed():
    row = TABLE["xnor_matmul"]
    sizes = {"m": 3, "k": 9, "n": 70}
    assert row.sizes == ("m", "n", "k")
    assert row.arrays["a"].shape("bits", sizes) == (3, words_for(70))
    assert row.arrays["b"].shape("panels", sizes) == (panel_words(9, 2),)
    assert TABLE["requantize"].arrays["step"].shape("float64", {"rows": 3}, each=False) == (1,)


def test_what_is_declared_wrongly():
    with pytest.raises(ValueError, match=r"int32\|int64\[rows, n\]"):
        kernel(x="float32 rows n")(lambda x, out: None)
    with pytest.raises(TypeError, match="no argument y"):
        kernel(y="float32[rows]")(lambda x, out: None)
    assert "<lambda>" not in TABLE


# --- C ---------------------------------------------------------------------------------------------------------------

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
ffi, lib, BY_HAND = cext.ffi, cext.lib, cext.arguments.BY_HAND
IN_C = sorted(cext.ARGUMENTS)
#: How the pointers of C name the element types.
POINTEES = {"float": "float32", "double": "float64"} | {
    f"{kind}{bits}_t": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


def parameters(name: str) -> list[tuple[str, str]]:
    """Return the type and the name of each parameter of a kernel in C after `variant`."""
    function = cext.row_of(name).function
    names = ffi.string(lib.bl_kernel_arguments(function.encode())).decode().strip("()").split(", ")
    types = ffi.typeof(getattr(lib, f"bl_{function}")).args[1:]
    return [(each.cname, parameter) for each, parameter in zip(types, names, strict=True)]


def test_c_has_every_kernel_but_one():
    assert {*KERNELS} - {*IN_C} == {"quantize_power_of_two"}
    assert lib.bl_kernel_arguments(b"quantize_power_of_two") == ffi.NULL


def test_the_lists_of_c_name_parameters_as_the_contract_does():
    if not CSRC.exists():
        pytest.skip("the C sources are not here")
    headers = ("kernels.h", "norm_steps.h", "steps.h")
    contract = "".join((CSRC / name).read_text(encoding="utf-8") for name in headers)
    for name in IN_C:
        (text,) = re.findall(rf"void bl_{cext.row_of(name).function}\(int variant, ([^)]*)\)", contract)
        declared = [re.split(r"[ *]", parameter.strip())[-1] for parameter in text.split(",")]
        assert declared == [parameter for _, parameter in parameters(name)], name


@pytest.mark.parametrize("name", [name for name in IN_C if name not in BY_HAND])
def test_pointers_of_c_are_of_the_declared_types(name):
    """A pointer without a type has the type beside it, or that of the argument that decides it."""
    row, found = cext.row_of(name), parameters(name)
    names = [parameter for _, parameter in found]
    for ctype, parameter in found:
        pointee = ctype.removesuffix(" *")
        if parameter not in row.arrays:
            continue
        array = row.arrays[parameter]
        if pointee == "void":
            told = [parameter, array.by, *(each for each, one in row.arrays.items() if one.by == parameter)]
            others = [each for each, one in row.arrays.items() if one.types == array.types]
            assert {f"{each}_type" for each in (*told, *others)} & set(names), f"{parameter} of {name}"
        else:
            assert {dtype.name for dtype in array.dtypes} == {POINTEES[pointee]}, f"{parameter} of {name}"


@pytest.mark.parametrize("name", KERNELS)
def test_parameters_of_every_backend_are_those_of_the_table(name):
    jit = pytest.importorskip("bitlearn.backends.jit", exc_type=ImportError)
    assert tuple(inspect.signature(TABLE[name].specification).parameters) == TABLE[name].parameters
    if name in jit.VARIANTS["jit"]:
        assert tuple(inspect.signature(jit.VARIANTS["jit"][name].py_func).parameters) == TABLE[name].parameters
    if name in cext.ARGUMENTS:
        assert tuple(inspect.signature(cext.ARGUMENTS[name]).parameters) == TABLE[name].parameters
