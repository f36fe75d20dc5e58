"""Build the extension ``bitlearn.backends._cext``: the contract goes to cffi, the C files to the compiler.

Plain flags for the plain processor: what needs newer instructions says so function by function and is chosen at run
time. No ``-march=native``, so a wheel runs anywhere.

The environment variable ``BITLEARN_SANITIZE`` names sanitizers of GCC or Clang, as in ``address,undefined``: what they
find ends the process. Such an extension needs their runtime loaded before Python's own memory functions (``make
sanitize`` does that) and is for tests alone. ``BITLEARN_EMULATE_TILES``, set to anything, compiles the variant ``amx``
with plain C in the place of the tile instructions (``make emulate``): for tests on processors that have none.
"""

from __future__ import annotations

import os
import sys
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
    FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-pthread"]

LINK_FLAGS = [flag for flag in FLAGS if flag == "-pthread"]
if sys.platform == "linux" and "BITLEARN_SANITIZE" not in os.environ:
    LINK_FLAGS.append("-Wl,--strip-all")  # names of symbols and lines take four times as much as the code
if sanitizers := os.environ.get("BITLEARN_SANITIZE"):
    LINK_FLAGS += [f"-fsanitize={sanitizers}"]
    # The better optimizer removes some of the reads that are looked for. Python's own flags may define signed overflow
    # (-fwrapv), which is then not looked for; another Python's may not. -g1 names functions and lines, as reports do.
    FLAGS += [LINK_FLAGS[-1], "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-fno-wrapv", "-O1", "-g1"]

CONTRACT = ("kernels.h", "norm_steps.h", "steps.h", "program.h")

MACROS: list[tuple[str, str | None]] = [("BL_FLAGS", f'"{" ".join(FLAGS)}"')]
if os.environ.get("BITLEARN_EMULATE_TILES"):
    MACROS.append(("BL_EMULATE_TILES", None))

ffibuilder = cffi.FFI()
for header in CONTRACT:
    ffibuilder.cdef((CSRC / header).read_text(encoding="utf-8"))
ffibuilder.set_source(
    "bitlearn.backends._cext",
    "\n".join(f'#include "{header}"' for header in ("common.h", *CONTRACT)),
    sources=SOURCES,
    include_dirs=["csrc"],
    depends=HEADERS,
    define_macros=MACROS,
    extra_compile_args=FLAGS,
    extra_link_args=LINK_FLAGS,
    optional=True,
)
