"""How the kernels are compiled: on their first call, without the GIL, and kept on disk wherever that is possible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numba
import numpy as np
from numba.core import sigutils, types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import intrinsic

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("Numba's compiler is switched off by NUMBA_DISABLE_JIT")

# Divisions as IEEE has them: Numba's default raises where it divides by zero, and its test stops LLVM from vectorising.
_OPTIONS = {"nogil": True, "error_model": "numpy"}

#: Why the compiled code of a kernel is not kept on disk, by the kernel's name.
UNCACHED: dict[str, str] = {}

# Numba notices a change of the file a function stands in, not one of the other files that it calls into, and would
# then run stale code. So the stamp covers the folder.
_SOURCES = sorted((file.name, file.read_bytes()) for file in files(__package__).iterdir() if file.name.endswith(".py"))
_STAMP = hashlib.sha256(repr(_SOURCES).encode()).digest()


class _Cache(FunctionCache):
    """Numba's cache of compiled code, made unable to fail a call or to hand out the wrong code."""

    def __init__(self, function: Callable[..., None]) -> None:
        super().__init__(function)
        self._function_name = function.__name__
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, _STAMP)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kept code, or None where there is none that can be used."""
        try:
            kept = super().load_overload(sig, target_context)
        except Exception as error:  # a file cut short by a power failure can raise anything
            UNCACHED[self._function_name] = f"{type(error).__name__}: {error}"
            return None
        # Two processes that compile a kernel for different types at the same moment can write under one file name.
        if kept is not None and tuple(kept.signature.args) != tuple(sigutils.normalize_signature(sig)[0]):
            return None
        return kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code; where that fails (a full disk, a folder no longer writable) it stays in memory alone."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            UNCACHED[self._function_name] = f"{type(error).__name__}: {error}"


def kernel(function: Callable[..., None]) -> Any:
    """Compile a kernel on its first call for each set of types; keep the code on disk wherever that is possible.

    Numba raises while it decorates where it finds no writable folder (a read-only installation without a home, a
    container, an embedded image). Nothing but the time of the next compilation depends on the cache, so the kernel
    then goes without, and `UNCACHED` says why. No ``parallel``: its default threading layer ends the process when two
    threads enter it. No ``fastmath``: NaN has a meaning, and other orders of additions have other last bits.
    """
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    try:
        dispatcher._cache = _Cache(function)  # what cache=True does with Numba's own class
    except Exception as error:
        UNCACHED[function.__name__] = f"{type(error).__name__}: {error}"
    return dispatcher


class WithHalves:
    """A kernel and its twin for float16, which Numba has not: the twin takes such arrays as their bits, in int16."""

    def __init__(self, compiled: Any, twin: Any) -> None:
        self.compiled = (compiled, twin)
        self.__name__: str = compiled.__name__
        self.py_func = compiled.py_func

    @property
    def signatures(self) -> list[Any]:
        """What the kernel is compiled for."""
        return self.compiled[0].signatures

    def __call__(self, *arguments: Any) -> None:
        """Run the kernel, or its twin where an argument is float16."""
        halves = [getattr(each, "dtype", None) == np.float16 for each in arguments]
        if any(halves):
            arguments = tuple(a.view(np.int16) if half else a for a, half in zip(arguments, halves, strict=True))
        self.compiled[any(halves)](*arguments)


def for_numbers(twin: Any) -> Callable[[Any], WithHalves]:
    """Return a decorator for a kernel that has a twin for float16."""
    return lambda compiled: WithHalves(compiled, twin)


#: For a function that kernels call. It is compiled into them and needs no cache of its own.
helper = numba.njit(**_OPTIONS)

#: For one that a kernel's innermost loops call: LLVM leaves a long one a call, whose arrays are some thirty arguments.
inlined = numba.njit(forceinline=True, **_OPTIONS)


@intrinsic
def popcount_word(typing_context, word):
    """Return the number of set bits of a uint64, as a uint64.

    Any other type is rejected: Numba adds an int64 and a uint64 as float64, and such a mixture would start here.
    """
    if word != types.uint64:
        return None

    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen
