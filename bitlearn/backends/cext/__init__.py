"""The C backend: csrc/ through cffi, one variant for each instruction set.

Each kernel here only takes pointers and sizes from its arrays; what it computes is in csrc/kernels.h and csrc/*steps.h.
The functions that do so (`bitlearn.backends.cext.arguments`) serve direct calls and those that are written down in a
program (`bitlearn.backends.cext.program`) alike. The global interpreter lock is released during every call.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial

from bitlearn import threadpools
from bitlearn.backends.cext import declared as declared
from bitlearn.backends.cext import packing, program, quads
from bitlearn.backends.cext.arrays import ffi, lib
from bitlearn.backends.cext.kernel import ARGUMENTS, EXTRA, PRODUCTS, called, described, implements, row_of

__all__ = ["ARGUMENTS", "EXTRA", "REASONS", "VARIANTS", "row_of"]


def _kernel(name: str, index: int) -> Callable[..., None]:
    """Return a kernel of a variant; one of a product has its panels bound for it."""
    if name == "pack":
        return described(partial(packing.pack_at_once, index), name, index)
    plain = called(name, index)
    if name not in PRODUCTS:
        return plain
    bind = partial(quads.bind, name, index)

    def product(left, right, *rest):
        if right.ndim == 1:
            bind(right, True)(left, *rest)
        else:
            plain(left, right, *rest)

    product.bind = bind  # type: ignore[attr-defined]
    return described(product, name, index)


def _names() -> list[str]:
    """The variants of this build, best first, as `which` writes them."""
    names = (ffi.string(lib.bl_variant_name(index)).decode() for index in range(lib.bl_variant_count()))
    return [f"cext:{name}" for name in names]


def _variant_at(name: str, shape: tuple[int, int, int]) -> str:
    """The variant that a kernel which chooses takes for a product: the first or the second."""
    kind = lib.BL_UINT64 if name in PRODUCTS else lib.BL_INT8
    return _names()[not lib.bl_tiles_pay(row_of(name).function.encode(), kind, *shape)]


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
            variants[name] = {kernel: _kernel(kernel, index) for kernel in ARGUMENTS if implements(index, kernel)}
    return variants, reasons


def _choosing() -> dict[str, Callable[..., None]]:
    """The kernels that choose between the first two variants, where both run here."""
    index = lib.BL_CHOICE
    found = {}
    if not _missing(index) and lib.bl_variant_refused(index) == ffi.NULL:
        for name in ARGUMENTS:
            if implements(index, name):
                found[name] = _kernel(name, index)
                found[name].at = partial(_variant_at, name)
    return found


VARIANTS, REASONS = _tables()
CHOOSING = _choosing()
#: Whether this build has threads of its own for the rows of calls in a program.
HAS_THREADS = bool(lib.bl_has_threads())
compile, of_one_call, run_groups = program.compile, program.of_one_call, program.run_groups
#: End the threads: they are started again where they are wanted.
stop_threads = lib.bl_stop_threads
atexit.register(stop_threads)
planes_pay = lib.bl_planes_pay
product_form, recoded_bytes, recoded_scratch = quads.product_form, quads.recoded_bytes, quads.recoded_scratch
threadpools.register()  # from now on it can find the extension
#: The compiler that built the extension, for the record of a measurement.
COMPILER = ffi.string(lib.bl_compiler()).decode()
#: Bytes that a thread keeps from its first large product on, by the variants that it is of.
SCRATCH = {"amx": max(lib.bl_tiles_scratch(), lib.BL_TABLES_SCRATCH), "avx512": lib.BL_TABLES_SCRATCH}
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
