"""Build the C extension and name the packages; everything else is in pyproject.toml."""

import sysconfig

from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError


class OptionalBuildExt(build_ext):
    """Leave a working install without the extension where it cannot be compiled."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            self.warn(f"{ext.name} was not built ({error}); bitlearn will run on Numba instead, with the same results")


# One wheel serves every later CPython; free-threaded builds have no stable ABI.
wheel = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"py_limited_api": "cp311"}

# The benchmarks lie beside the package, and are installed inside it.
bench = ["bitlearn.bench", *(f"bitlearn.bench.{name}" for name in find_packages("bench"))]

setup(
    packages=[*find_packages(include=["bitlearn", "bitlearn.*"]), *bench],
    package_dir={"bitlearn.bench": "bench"},
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuildExt},
    options={"bdist_wheel": wheel},
)
