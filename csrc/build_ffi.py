"""Build the extension ``bitlearn.backends._cext``: the contract goes to cffi, the C files to the compiler.

Plain flags for the plain processor: what needs newer instructions says so function by function and is chosen at run
time. No ``-march=native``, so a wheel runs anywhere.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import cffi

CSRC = Path(__file__).parent
# setuptools wants sources relative to the directory of setup.py, with slashes.
SOURCES = sorted(path.relative_to(CSRC.parent).as_posix() for path in CSRC.glob("**/*.c"))
HEADERS = sorted(path.relative_to(CSRC.parent).as_posix() for path in CSRC.glob("**/*.h"))

if sysconfig.get_platform().startswith("win"):
    FLAGS = ["/O2", "/std:c11"]
else:
    # Contraction would round a multiply-add once where another variant rounds twice.
    FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]

ffibuilder = cffi.FFI()
ffibuilder.cdef((CSRC / "kernels.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "bitlearn.backends._cext",
    '#include "common.h"\n#include "kernels.h"',
    sources=SOURCES,
    include_dirs=["csrc"],
    depends=HEADERS,
    define_macros=[("BL_FLAGS", f'"{" ".join(FLAGS)}"')],
    extra_compile_args=FLAGS,
    optional=True,
)
