"""The C backend: csrc/ through cffi, one variant for each instruction set.

Each kernel here only takes pointers and sizes from its arrays; what it computes is in csrc/kernels.h and csrc/steps.h.
The global interpreter lock is released during every call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from bitlearn import threadpools
from bitlearn.backends.cext import channels, passes, quads, updates
from bitlearn.backends.cext.arrays import CODES, WORDS, code, conv2d, ffi, lib, pointer


def _address(array):
    """The memory of an array whose elements need not lie side by side; the caller keeps it alive."""
    return ffi.cast("char *", array.__array_interface__["data"][0])


_PACK, _BUFFER = lib.bl_pack, ffi.from_buffer


def _pack(variant, x, threshold, out):
    """Written out, as a call inside the second-level cache takes hardly longer than a few look-ups."""
    limits, result, kind = _BUFFER(threshold), _BUFFER(WORDS, out, True), CODES[x.dtype]
    if x.flags.c_contiguous:
        n, size = x.shape[-1], x.itemsize
        rows = x.size // n if n else 0
        _PACK(variant, _BUFFER(x), kind, 1, rows, n, 0, n * size, size, limits, threshold.size > 1, result)
    else:
        _PACK(variant, _address(x), kind, *x.shape, *x.strides, limits, threshold.size > 1, result)


def _unpack(variant, words, n, out):
    lib.bl_unpack(variant, pointer(words), len(words), n, pointer(out, True), code(out))


def _popcount(variant, words, out):
    source = pointer(words) if words.flags.c_contiguous else ffi.cast("uint64_t *", _address(words))
    lib.bl_popcount(variant, source, *words.shape, *words.strides, pointer(out, True))


def _transpose_bits(variant, words, n, out):
    lib.bl_transpose_bits(variant, pointer(words), len(words), n, pointer(out, True))


def _pack_panels(variant, b, out):
    lib.bl_pack_panels(variant, pointer(b), *b.shape, pointer(out, True))


def _hamming_panels(variant, a, panels, n, out):
    sizes = (len(a), out.shape[1], a.shape[1])
    lib.bl_hamming_panels(variant, pointer(a), pointer(panels), *sizes, pointer(out, True), code(out))


def _xnor_matmul_panels(variant, a, panels, n, out):
    quads.bind_xnor_matmul_panels(variant, panels, len(a))(a, n, out)


def _xnor_matmul_sign_panels(variant, a, panels, n, threshold, out):
    quads.bind_xnor_matmul_sign_panels(variant, panels, len(a))(a, n, threshold, out)


def _hamming(variant, a, b, n, out):
    lib.bl_hamming(variant, pointer(a), pointer(b), len(a), *b.shape, pointer(out, True), code(out))


def _xnor_matmul(variant, a, b, n, out):
    lib.bl_xnor_matmul(variant, pointer(a), pointer(b), len(a), *b.shape, n, pointer(out, True), code(out))


def _xnor_matmul_sign(variant, a, b, n, threshold, out):
    sizes = (len(a), *b.shape, n)
    lib.bl_xnor_matmul_sign(variant, pointer(a), pointer(b), *sizes, pointer(threshold), pointer(out, True))


def _xnor_conv2d(variant, x, w, n, stride, padding, pad_value, out):
    shape = conv2d(n, x.shape, w.shape[1:3], out.shape, x.shape[3], stride, padding, pad_value)
    lib.bl_xnor_conv2d(variant, pointer(x), pointer(w), shape, pointer(out, True), code(out))


def _xnor_conv2d_sign(variant, x, w, n, stride, padding, pad_value, threshold, out):
    out_shape = (*out.shape[:3], len(w))
    shape = conv2d(n, x.shape, w.shape[1:3], out_shape, x.shape[3], stride, padding, pad_value)
    lib.bl_xnor_conv2d_sign(variant, pointer(x), pointer(w), shape, pointer(threshold), pointer(out, True))


def _split_planes(variant, g, bits, out, outside):
    lib.bl_split_planes(variant, pointer(g), *g.shape, bits, pointer(out, True), pointer(outside, True))


def _split_columns(variant, g, bits, first, out, outside):
    sizes = (*g.shape, first, len(out), bits)
    lib.bl_split_columns(variant, pointer(g), *sizes, pointer(out, True), pointer(outside, True))


def _plane_windows(variant, planes, kernel, padding, first, out_size, out):
    *image, bits, words = planes.shape
    shape = conv2d(0, image, kernel, (image[0], *out_size, 0), words, (1, 1), padding)
    lib.bl_plane_windows(variant, pointer(planes), bits, shape, first, len(out), pointer(out, True))


def _planes_matmul_panels(variant, planes, panels, n, accumulate, out):
    quads.bind_planes_matmul_panels(variant, panels, len(planes))(planes, n, accumulate, out)


def _xnor_conv2d_panels(variant, x, panels, kernel, *rest):
    pixels = math.prod(rest[-1].shape[:3])
    quads.bind_xnor_conv2d_panels(variant, panels, pixels)(x, kernel, *rest)


def _xnor_conv2d_sign_panels(variant, x, panels, kernel, *rest):
    pixels = math.prod(rest[-1].shape[:3])
    quads.bind_xnor_conv2d_sign_panels(variant, panels, pixels)(x, kernel, *rest)


def _grad_input(variant, g, w, n, out, threads=1):
    inputs = (pointer(g), code(g), pointer(w), *g.shape, n, pointer(out, True))
    lib.bl_grad_input_on_threads(threads, variant, *inputs)


def _grad_weight(variant, g, x, n, first, accumulate, out, threads=1):
    inputs = (pointer(g), code(g), pointer(x), *g.shape, n, first, len(out), accumulate)
    lib.bl_grad_weight_on_threads(threads, variant, *inputs, pointer(out, True))


def _grad_weight_sign(variant, g, x, n, first, threshold, mask, out):
    inputs = (pointer(g), code(g), pointer(x), *g.shape, n, first, len(out))
    lib.bl_grad_weight_sign(variant, *inputs, pointer(threshold), pointer(mask), pointer(out, True))


def _conv2d_grad_input(variant, g, w, n, stride, padding, out):
    shape = conv2d(n, out.shape, w.shape[1:3], g.shape, w.shape[3], stride, padding)
    lib.bl_conv2d_grad_input(variant, pointer(g), code(g), pointer(w), shape, pointer(out, True))


def _conv2d_grad_weight(variant, g, x, n, stride, padding, pad_value, first, accumulate, out):
    shape = conv2d(n, x.shape, out.shape[1:3], g.shape, x.shape[3], stride, padding, pad_value)
    inputs = (pointer(g), code(g), pointer(x), shape, first, len(out), accumulate)
    lib.bl_conv2d_grad_weight(variant, *inputs, pointer(out, True))


def _conv2d_grad_weight_sign(variant, g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    shape = conv2d(n, x.shape, out.shape[1:3], g.shape, x.shape[3], stride, padding, pad_value)
    inputs = (pointer(g), code(g), pointer(x), shape, first, len(out))
    lib.bl_conv2d_grad_weight_sign(variant, *inputs, pointer(threshold), pointer(mask), pointer(out, True))


def _codes_grad_weight(variant, g, codes, first, accumulate, out, threads=1):
    inputs = (pointer(g), code(g), pointer(codes), *g.shape, codes.shape[1], first, len(out), accumulate)
    lib.bl_codes_grad_weight_on_threads(threads, variant, *inputs, pointer(out, True), code(out))


def _unfold_codes(variant, x, stride, padding, out):
    shape = conv2d(x.shape[3], x.shape, out.shape[3:5], (*out.shape[:3], 1), 0, stride, padding)
    lib.bl_unfold_codes(variant, pointer(x), shape, pointer(out, True))


def _largest_magnitude(variant, x, out):
    lib.bl_largest_magnitude(variant, pointer(x), code(x), *x.shape, pointer(out, True))


def _quantize_linear(variant, x, scale, zero_point, low, high, noise, out):
    inputs = (pointer(x), code(x), pointer(scale), pointer(zero_point), *x.shape, low, high)
    random = pointer(noise) if noise.size else ffi.NULL
    lib.bl_quantize_linear(variant, *inputs, random, pointer(out, True), code(out))


def _requantize(variant, x, limit, step, out):
    lib.bl_requantize(variant, pointer(x), code(x), x.size, limit, pointer(step, True), pointer(out, True), code(out))


def _random_words(variant, key, start, stride, out):
    lib.bl_random_words(variant, pointer(key), start, stride, *out.shape, pointer(out, True))


_KERNELS = {
    function.__name__[1:]: function
    for function in (
        _pack,
        _unpack,
        _popcount,
        _transpose_bits,
        _pack_panels,
        _hamming_panels,
        _xnor_matmul_panels,
        _xnor_matmul_sign_panels,
        _split_planes,
        _split_columns,
        _plane_windows,
        _planes_matmul_panels,
        _xnor_conv2d_panels,
        _xnor_conv2d_sign_panels,
        _hamming,
        _xnor_matmul,
        _xnor_matmul_sign,
        _xnor_conv2d,
        _xnor_conv2d_sign,
        _grad_input,
        _grad_weight,
        _grad_weight_sign,
        _conv2d_grad_input,
        _conv2d_grad_weight,
        _conv2d_grad_weight_sign,
        _codes_grad_weight,
        _unfold_codes,
        _largest_magnitude,
        _quantize_linear,
        _requantize,
        _random_words,
    )
} | passes.KERNELS
_KERNELS |= updates.KERNELS | channels.KERNELS


#: The kernels that take `threads` and cut their rows themselves, where the extension has threads.
_ON_THREADS = ("grad_input", "grad_weight", "codes_grad_weight", "adam_update") if lib.bl_has_threads() else ()


def _kernel(name: str, index: int) -> Callable[..., None]:
    function = partial(_KERNELS[name], index)
    if name in quads.BINDERS:
        function.bind = partial(quads.BINDERS[name], index)  # type: ignore[attr-defined]
    if name in _ON_THREADS:
        function.on_threads = True  # type: ignore[attr-defined]
    return function


def _names() -> list[str]:
    """The variants of this build, best first, as `which` writes them."""
    names = (ffi.string(lib.bl_variant_name(index)).decode() for index in range(lib.bl_variant_count()))
    return [f"cext:{name}" for name in names]


def _variant_at(name: str, shape: tuple[int, int, int]) -> str:
    """The variant that a kernel which chooses takes for a product: the first or the second."""
    kind = lib.BL_UINT64 if name.endswith("_panels") else lib.BL_INT8
    return _names()[not lib.bl_tiles_pay(name.encode(), kind, *shape)]


def _missing(variant: int) -> list[str]:
    """The features that a variant needs and this processor lacks."""
    features = []
    while (text := lib.bl_variant_missing(variant, len(features))) != ffi.NULL:
        features.append(ffi.string(text).decode())
    return features


def _tables() -> tuple[dict[str, dict[str, Callable[..., None]]], dict[str, str]]:
    """Ask the library for its variants: the kernels of those that run here, and the reason for each other."""
    variants, reasons = {}, {}
    for index, name in enumerate(_names()):
        if missing := _missing(index):
            reasons[name] = f"this processor lacks {', '.join(missing)}"
        elif (refused := lib.bl_variant_refused(index)) != ffi.NULL:
            reasons[name] = ffi.string(refused).decode()
        else:
            variants[name] = {
                kernel: _kernel(kernel, index)
                for kernel in _KERNELS
                if lib.bl_variant_implements(index, kernel.encode())
            }
    return variants, reasons


def _choosing() -> dict[str, Callable[..., None]]:
    """The kernels that choose between the first two variants, where both run here."""
    index = lib.bl_variant_count()
    found = {}
    if not _missing(index) and lib.bl_variant_refused(index) == ffi.NULL:
        for name in _KERNELS:
            if lib.bl_variant_implements(index, name.encode()):
                found[name] = _kernel(name, index)
                found[name].at = partial(_variant_at, name)
    return found


VARIANTS, REASONS = _tables()
CHOOSING = _choosing()
threadpools.register()  # from now on it can find the extension
#: The compiler that built the extension, for the record of a measurement.
COMPILER = ffi.string(lib.bl_compiler()).decode()
#: Bytes that a thread keeps from its first product on tiles on.
TILES_SCRATCH = lib.bl_tiles_scratch()
FLAGS = ffi.string(lib.bl_compiler_flags()).decode()
PROBE_BITS, PROBE_CYCLES, PROBE_PRODUCTS = lib.BL_PROBE_BITS, lib.BL_PROBE_CYCLES, lib.BL_PROBE_PRODUCTS


def probe_popcount(variant, iterations):
    """Compare and count iterations * PROBE_BITS bits in registers alone; the differing ones, or -1 without a probe."""
    return lib.bl_probe_popcount(_names().index(variant), iterations)


def probe_dot8(variant, iterations):
    """Sum iterations * PROBE_PRODUCTS products of int8 with bits in registers alone; -1 without a probe."""
    return lib.bl_probe_dot8(_names().index(variant), iterations)


def probe_cycles(iterations):
    """Spend iterations * PROBE_CYCLES cycles; -1 without a probe."""
    return lib.bl_probe_cycles(iterations)
