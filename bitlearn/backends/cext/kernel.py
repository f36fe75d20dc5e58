"""A kernel as the registry has it: a function of the reference's arguments that says what it calls."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import lib


def described(function, name, variant, arguments):
    """Have a function say which kernel of C it calls, of which variant, and how the arguments are made."""
    function.kernel, function.variant, function.arguments = name, variant, arguments
    return function


def called(name, variant, arguments):
    """Return a kernel that makes the arguments in C from its own."""
    function = getattr(lib, f"bl_{name}")

    def kernel(*given):
        function(variant, *arguments(*given))

    return described(kernel, name, variant, arguments)
