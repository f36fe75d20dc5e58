"""The kernels by address: through ctypes, and from a C extension that is handed capsules."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import sysconfig
from pathlib import Path

import exported
import numpy as np
import pytest
from cases import PRODUCTS, bits

import bitlearn as bl
from bitlearn import capi
from bitlearn.bits import words_for
from bitlearn.ops.dispatch import unavailable

if "cext" in unavailable():
    pytest.skip("the compiled extension is not here", allow_module_level=True)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
def test_a_product_by_ctypes(m, k, n, rng):
    a, b, out = bits(rng, m, n), bits(rng, k, n), np.empty((m, k), np.int32)
    best, code = capi.function("bl_best_variant")(), capi.constants()["BL_INT32"]
    product = capi.function("bl_xnor_matmul")
    product(best, a.ctypes, b.ctypes, 0, None, m, k, words_for(n), n, 0, None, out.ctypes, code, None)
    np.testing.assert_array_equal(out, bl.xnor_matmul(a, b, n))


def test_a_struct_by_ctypes(rng):
    x, w = bits(rng, 2 * 5 * 6, 70).reshape(2, 5, 6, 2), bits(rng, 7 * 6, 70).reshape(7, 3, 2, 2)
    wanted = bl.xnor_conv2d(x, w, 70, stride=(1, 2), padding=(1, 0), pad_value=-1)
    (_, height, width, filters), out = wanted.shape, np.empty(wanted.shape, np.int32)
    shape = capi.structure("bl_conv2d")(
        batch=2, height=5, width=6, words=2, out_height=height, out_width=width, out_channels=filters,
        kernel_height=3, kernel_width=2, stride_height=1, stride_width=2, padding_top=1, padding_left=0, n=70,
        pad_value=-1,
    )  # fmt: skip
    best, code = capi.function("bl_best_variant")(), capi.constants()["BL_INT32"]
    given = best, x.ctypes, w.ctypes, 0, None, ctypes.byref(shape), None, out.ctypes, code, None
    capi.function("bl_xnor_conv2d")(*given)
    np.testing.assert_array_equal(out, wanted)
    with pytest.raises(ctypes.ArgumentError):
        capi.function("bl_xnor_conv2d")(*given[:5], ctypes.byref(capi.structure("bl_pool2d")()), *given[6:])


def test_texts_by_ctypes():
    name = capi.function("bl_variant_name")
    assert name(capi.function("bl_variant_count")() - 1) == b"portable"
    assert capi.function("bl_kernel_arguments")(b"popcount").startswith(b"(x, outer, rows, words")


def test_every_function_has_types_that_ctypes_knows():
    numbers = {ctypes.c_int, ctypes.c_int32, ctypes.c_int64, ctypes.c_ssize_t, ctypes.c_float, ctypes.c_double}
    assert {"bl_run", "bl_pack", "bl_adam_update"} < set(capi.names())
    for name in capi.names():
        inside = capi.signature(name).partition("(")[2].removesuffix(")")
        kinds = inside.split(", ") if inside else []
        for kind, given in zip(kinds, capi.function(name).argtypes, strict=True):
            assert ("*" in kind) == (given not in numbers)


def test_a_capsule_says_its_type():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    for name in capi.names():
        assert pointer(capi.capsule(name), capi.signature(name).encode()) == capi.address(name)
    with pytest.raises(ValueError, match="incorrect name"):
        pointer(capi.capsule("bl_best_variant"), b"void ()")


def test_capsules_in_a_module_of_cython(tmp_path, rng):
    pytest.importorskip("Cython", reason="cython is not installed: pip install bitlearn-xnor[test-all]")
    exported.needed("gcc")
    example = ROOT / "examples" / "cython" / "by_capsule.pyx"
    if not example.exists():
        pytest.skip("the examples are not here")
    source = tmp_path / "by_capsule.c"
    exported.run(sys.executable, "-m", "cython", example, "-o", source)
    target = tmp_path / f"by_capsule{sysconfig.get_config_var('EXT_SUFFIX')}"
    exported.run("gcc", "-shared", "-fPIC", "-O1", f"-I{sysconfig.get_paths()['include']}", "-o", target, source)
    spec = importlib.util.spec_from_file_location("by_capsule", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    words, out = rng.integers(0, 2**64, (9, 3), dtype=np.uint64), np.empty(9, np.int64)
    module.counts(words, out)
    np.testing.assert_array_equal(out, bl.popcount(words))
    with pytest.raises(ValueError, match="out must have a value for each row"):
        module.counts(words, out[:8])


def test_what_is_refused():
    for call in (capi.address, capi.function, capi.capsule, capi.signature):
        with pytest.raises(ValueError, match=r"^name must be that of a function of bitlearn.h.*, got 'pack'"):
            call("pack")
    with pytest.raises(ValueError, match=r"got 'bl_popcnt'; perhaps bl_popcount$"):
        capi.address("bl_popcnt")
    with pytest.raises(ValueError, match=r"^name must be one of bl_.*, got 'conv'; perhaps bl_conv2d$"):
        capi.structure("conv")
