"""What is special to the C backend: its table of variants, its reasons, where arrays may start."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from guards import check_exactly

from bitlearn.backends import reference
from bitlearn.bits import tail_mask, words_for
from bitlearn.panels import panel_words, to_panels

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
ffi, lib = cext.ffi, cext.lib

NAMES = [ffi.string(lib.bl_variant_name(index)).decode() for index in range(lib.bl_variant_count())]
#: Words at every offset of a cache line.
OFFSETS = range(0, 64, 8)


def having(kernel):
    """Return the variants with a version of a kernel of their own."""
    return [variant for variant, kernels in cext.VARIANTS.items() if kernel in kernels]


def test_every_variant_runs_or_has_a_reason():
    assert NAMES[-1] == "portable"
    assert list(cext.VARIANTS) == [f"cext:{name}" for name in NAMES if f"cext:{name}" not in cext.REASONS]
    assert set(cext.VARIANTS) | set(cext.REASONS) == {f"cext:{name}" for name in NAMES}
    assert set(cext.VARIANTS).isdisjoint(cext.REASONS)


def test_reasons_name_the_missing_features():
    for index, name in enumerate(NAMES):
        features = cext._missing(index)
        if features:
            assert cext.REASONS[f"cext:{name}"] == f"this processor lacks {', '.join(features)}"
        else:
            refused = lib.bl_variant_refused(index)
            assert cext.REASONS.get(f"cext:{name}") == (None if refused == ffi.NULL else ffi.string(refused).decode())
        assert all(re.fullmatch(r"[a-z0-9_]+", feature) for feature in features)
        assert lib.bl_variant_missing(index, len(features)) == ffi.NULL
    assert cext._missing(NAMES.index("portable")) == []


def test_what_refuses_a_variant_is_its_reason(monkeypatch):
    amx = NAMES.index("amx")
    if not cext._missing(amx):
        pytest.skip("this processor has tiles")
    monkeypatch.setattr(cext, "_missing", lambda index: [])
    variants, reasons = cext._tables()
    assert reasons == {"cext:amx": ffi.string(lib.bl_variant_refused(amx)).decode()}
    assert re.match("this processor's tiles are not|tiles need a build for", reasons["cext:amx"])
    assert "cext:amx" not in variants


def test_the_processor_decides_about_neon():
    if platform.machine().lower() in ("aarch64", "arm64"):
        assert "cext:neon" in cext.VARIANTS
        assert cext.REASONS["cext:avx2"] == "this processor lacks avx2"
    else:
        assert cext.REASONS["cext:neon"] == "this processor lacks neon"
        assert cext.REASONS["cext:neondot"] == "this processor lacks neon, dotprod"


def test_a_table_holds_what_its_variant_implements():
    for name, kernels in cext.VARIANTS.items():
        index = NAMES.index(name.removeprefix("cext:"))
        every = [*reference.KERNELS, *cext.EXTRA]
        implemented = [kernel for kernel in every if cext.implements(index, kernel)]
        assert sorted(kernels) == sorted(implemented)
        assert not lib.bl_variant_implements(index, b"no_such_kernel")


def test_the_portable_variant_has_every_kernel_of_the_contract():
    declared = {name.removeprefix("bl_") for name in dir(lib) if name.startswith("bl_")}
    declared -= {
        "best_variant",
        "variant_count",
        "variant_name",
        "variant_missing",
        "variant_refused",
        "variant_implements",
    }
    declared -= {
        "best_variant",
        "tiles_pay",
        "tiles_scratch",
        "compiler",
        "compiler_flags",
        "probe_popcount",
        "probe_dot8",
        "probe_cycles",
    }
    declared -= {"has_threads", "kernel_number", "kernel_arguments", "run", "product_form", "planes_pay"}
    # What a variant recodes for itself.
    declared -= {"quads_bytes", "quads_scratch", "planes_scratch", "recode_panels"}
    declared -= {"run_groups", "threads_started", "stop_threads"}
    assert {cext.row_of(name).function for name in cext.VARIANTS["cext:portable"]} == declared


@pytest.mark.parametrize("variant", cext.VARIANTS)
def test_the_probe_of_dot_products_counts_every_group(variant):
    expected = [3 * cext.PROBE_PRODUCTS // 4] if variant in ("cext:avx512", "cext:avx2") else [-1]
    assert [cext.probe_dot8(variant, 3)] == expected


def test_the_compiler_is_named():
    assert re.match(r"(GCC|Clang|MSVC) ", cext.COMPILER)


def place(array, offset):
    """Return a copy of `array` that starts `offset` bytes into a cache line."""
    buffer = np.empty(array.nbytes + 128, dtype=np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def packed(rng, *shape, n):
    words = rng.integers(0, 2**64, (*shape, words_for(n)), dtype=np.uint64)
    words[..., -1] &= tail_mask(n)
    return words


def calls(rng):
    """Return (kernel, arguments) for each product that has vector loads and a tail."""
    n, k = 1 + 64 * 10, 70
    a, b, g = packed(rng, 5, n=n), packed(rng, k, n=n), rng.integers(-128, 128, (5, k), dtype=np.int8)
    panels = np.empty(panel_words(*b.shape), np.uint64)
    to_panels(b, panels)
    x, w = packed(rng, 2, 4, 5, n=n), packed(rng, 6, 3, 3, n=n)
    gy = rng.integers(-(2**15), 2**15, (2, 4, 5, 6), dtype=np.int16)
    values = rng.normal(size=(3, n)).astype(np.float32)
    conv = (n, (1, 1), (1, 1), 0)
    rows = w.reshape(6, -1)
    return [
        ("pack", (values, np.zeros(n, np.float32), np.empty((3, words_for(n)), np.uint64))),
        ("unpack", (a, n, np.empty((5, n), np.int16))),
        ("popcount", (a[None], np.empty((1, 5), np.int64))),
        ("transpose_bits", (a, n, np.empty((n, 1), np.uint64))),
        ("hamming", (a, b, n, np.empty((5, k), np.int32))),
        ("xnor_matmul", (a, b, n, np.empty((5, k), np.int16))),
        ("xnor_matmul_sign", (a, b, n, np.zeros(k, np.int32), np.empty((5, words_for(k)), np.uint64))),
        ("xnor_matmul", (a, panels, n, np.empty((5, k), np.float32))),
        ("xnor_conv2d", (x, rows, (3, 3), *conv, np.empty((2, 4, 5, 6), np.int32))),
        ("grad_input", (g, b, n, np.empty((5, n), np.int32))),
        ("grad_weight", (g.T.copy(), b, n, 0, True, np.ones((5, n), np.int32))),
        ("conv2d_grad_input", (gy, w, n, (1, 1), (1, 1), np.empty((2, 4, 5, n), np.int64))),
        ("conv2d_grad_weight", (gy, x, *conv, 0, True, np.ones((6, 3, 3, n), np.int64))),
    ]


@pytest.mark.parametrize("variant", cext.VARIANTS)
def test_arrays_may_start_at_any_word(variant, rng):
    for kernel, arguments in calls(rng):
        if kernel not in cext.VARIANTS[variant]:
            continue
        expected = check_exactly(kernel, variant, arguments)
        for offset in OFFSETS:
            copies = [place(each, offset) if isinstance(each, np.ndarray) else each for each in arguments]
            cext.VARIANTS[variant][kernel](*copies)
            np.testing.assert_array_equal(copies[-1], expected, f"{variant}, {kernel}, offset {offset}")


@pytest.mark.parametrize("variant", having("grad_weight"))
@pytest.mark.parametrize(("dtype", "sum_dtype"), [(np.int8, np.int32), (np.int16, np.int64)])
@pytest.mark.parametrize("bit", [0, 1])
def test_a_block_of_the_most_extreme_terms_is_exact(variant, dtype, sum_dtype, bit):
    # 256 terms make a block, whose int8 sums are held in 16 bits: -128 * 256 is the least that fits.
    for terms in (255, 256, 257, 512, 1000):
        for extreme in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            g = np.full((terms, 5), extreme, dtype=dtype)
            words = np.full((terms, 1), 0xFFFF_FFFF_FFFF_FFFF if bit else 0, dtype=np.uint64)
            out = np.zeros((5, 64), dtype=sum_dtype)
            cext.VARIANTS[variant]["grad_weight"](g, words, 64, 0, False, out)
            np.testing.assert_array_equal(out, np.full_like(out, (1 if bit else -1) * int(extreme) * terms))


@pytest.mark.parametrize("variant", having("xnor_conv2d"))
def test_a_window_longer_than_the_buffer_is_gathered_in_parts(variant, rng):
    n = 64 * 130 + 5  # 131 words a tap; the buffer of a window holds 256
    x, w = packed(rng, 1, 3, 3, n=n), packed(rng, 66, 2, 3, n=n)
    for pad_value in (0, 1, -1):
        out = np.empty((1, 4, 5, 66), np.int32)
        check_exactly("xnor_conv2d", variant, (x, w.reshape(66, -1), (2, 3), n, (1, 1), (1, 2), pad_value, out))


def test_out_must_be_writable():
    words, out = np.zeros((1, 1, 1), np.uint64), np.zeros((1, 1), np.int64)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        cext.VARIANTS["cext:portable"]["popcount"](words, out)
