"""Build the C extension; everything else about the package is in pyproject.toml."""

import sysconfig

from setuptools import setup
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

setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuildExt},
    options={"bdist_wheel": wheel},
)
