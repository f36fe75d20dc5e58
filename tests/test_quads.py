"""Products on recoded columns, for every number of rows: as the kernels on panels that they stand behind."""

from __future__ import annotations

import numpy as np
import pytest
import test_kernels_panels as panels
import test_kernels_planes as planes

import bitlearn as bl
from bitlearn.ops import dispatch
from bitlearn.panels import ROWS_WORTH_PANELS

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)

VARIANTS = [
    variant
    for index, variant in enumerate(cext._names())
    if variant in cext.VARIANTS and cext.lib.bl_variant_implements(index, b"recode_panels")
]


@pytest.fixture(params=VARIANTS)
def recoding(request, monkeypatch):
    """A variant that recodes columns, and does so for any number of rows."""

    def form(variant, kernel, rows, k, words, n, once):
        recodes = cext.lib.bl_variant_implements(variant, b"recode_panels") and 0 < words <= cext.lib.BL_QUADS_WORDS
        return "recoded" if recodes else cext.product_form(variant, kernel, rows, k, words, n, once)

    monkeypatch.setattr(cext.quads, "product_form", form)
    return request.param


@pytest.mark.parametrize("kernel", ["hamming", "xnor_matmul"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_products(recoding, kernel, dtype, rng):
    panels.test_products(kernel, recoding, dtype, rng)


def test_signs(recoding, rng):
    panels.test_xnor_matmul_sign_panels("xnor_matmul_sign", recoding, rng)


@pytest.mark.parametrize("n", [64 * 63, 64 * 63 + 1, 64 * 64 + 5, 2**15 - 1, 64 * 1023, 64 * 1023 + 1])
def test_long_rows_and_those_past_the_limit(recoding, n, rng):
    panels.test_longest_rows("xnor_matmul", recoding, np.int32, n, rng)


@pytest.mark.parametrize("bits", range(1, 9))
def test_planes(recoding, bits, rng):
    planes.test_products("planes_matmul", recoding, bits, True, rng)


@pytest.mark.parametrize("kernel", ["xnor_conv2d", "xnor_conv2d_sign"])
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_convolutions(recoding, kernel, pad_value, rng):
    panels.test_convolutions(kernel, recoding, pad_value, rng)


def test_more_pixels_than_a_block_and_more_channels_than_a_table(recoding, rng):
    for shape, filters, kernel, padding in (((3, 9, 11, 65), 130, (3, 3), 1), ((1, 7, 7, 3), 1100, (3, 3), 1)):
        x, w = (np.where(rng.random(size) < 0.5, 1, -1) for size in (shape, (filters, *kernel, shape[3])))
        for dtype in (np.int16, np.int32, np.float32):
            with bl.use_backend("cext:portable"):
                expected = bl.xnor_conv2d(bl.pack(x), bl.pack(w), shape[3], padding=padding, dtype=dtype)
            with bl.use_backend(recoding):
                got = bl.xnor_conv2d(bl.pack(x), bl.pack(w), shape[3], padding=padding, dtype=dtype)
            np.testing.assert_array_equal(got, expected)


def test_bytes_of_what_is_recoded_are_counted(recoding, rng):
    a, b = (bl.pack(np.where(rng.random(size) < 0.5, 1, -1)) for size in ((9, 130), (70, 130)))
    with bl.use_backend(recoding):
        weights = bl.pack_weights(b, 130)
        before = weights.nbytes
        bl.xnor_matmul(a, weights, 130)
    assert weights.nbytes == before + 2 * (3 * 1024 + 64)


def test_the_form_of_a_product():
    """Its thresholds; what no variant recodes has two forms."""

    def forms(kernel, words, once):
        return [dispatch.product_form(kernel, rows, 64, words, 64 * words, once) for rows in (7, 8, 15, 16, 127, 128)]

    once, kept = ["words"] * 3 + ["panels"] * 2, ["panels"]
    assert cext.lib.BL_ROWS_WORTH_PANELS == ROWS_WORTH_PANELS
    for variant in VARIANTS:
        with bl.use_backend(variant):
            for kernel in cext.PRODUCTS:
                assert forms(kernel, 3, True) == [*once, "recoded"]
                assert forms(kernel, 3, False) == kept + ["recoded"] * 5
                assert forms(kernel, 1023, True)[-1] == "recoded"
                assert forms(kernel, 1024, True)[-1] == "panels"
                assert forms(kernel, 4097, True)[-1] == ("words" if "conv2d" in kernel else "panels")
    for backend in ("cext:portable", "reference"):
        with bl.use_backend(backend):
            assert forms("xnor_matmul", 3, True) == [*once, "panels"]
            assert forms("xnor_conv2d", 4097, True)[-1] == "words"
