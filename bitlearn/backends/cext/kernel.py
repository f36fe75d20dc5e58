"""The kernels in C: their rows in the table, how their arguments are made, and functions of the reference's arguments.

A variant may recode the right operand of a product for itself (`bitlearn.backends.cext.quads`). Such a product is the
same function of C, called with two arrays more: it has a row of its own here, which is no part of the specification, as
another variant may recode in another way or not at all.
"""

from __future__ import annotations

from dataclasses import replace

from bitlearn.backends.cext.arguments import of_table
from bitlearn.backends.cext.arrays import lib
from bitlearn.backends.table import TABLE, Array, Kernel

#: The products whose right operand may be recoded.
PRODUCTS = ("hamming", "xnor_matmul", "xnor_matmul_sign", "planes_matmul", "xnor_conv2d", "xnor_conv2d_sign")


def _bytes(*sizes):
    return Array(("uint8",), tuple((size,) for size in sizes), False, None)


def _recoded(row):
    """Return the row of a product that is given its panels recoded too, and scratch for its rows.

    Rows are cut into some parts for each thread: one that was asleep comes 40 microseconds late, and then takes fewer.
    (Other kernels have one, as those of gradients expand their bits once a part.)
    """
    left, right, *rest, out = row.parameters
    parameters = (left, right, "recoded", *rest, "scratch", out)
    last = len(parameters) - 1
    return replace(
        row,
        name=f"{row.name}_recoded",
        parameters=parameters,
        arrays=row.arrays | {"recoded": _bytes("recoded"), "scratch": _bytes("threads", "room")},
        writes=(last - 1, last),
        rows=(0, last),
        work=lambda left, right, recoded, *rest: row.work(left, right, *rest[:-2], rest[-1]),
        operations=lambda left, right, recoded, *rest: row.operations(left, right, *rest[:-2], rest[-1]),
        scratch=last - 1,
        parts_a_thread=4,
    )


_PANELS = {"panels": Array(("panels",), (("k",), ("n",)), False, None), "out": _bytes("recoded")}
_RECODE = Kernel(
    "recode_panels",
    specification=None,
    parameters=("panels", "k", "words", "out"),
    arrays=_PANELS,
    values={},
    writes=(3,),
    rows=(),
    first=None,
    work=lambda panels, *rest: panels.size,
    function="recode_panels",
    fixed={},
)
#: The kernels that only a variant has that recodes.
EXTRA = {row.name: row for row in (_RECODE, *(_recoded(TABLE[name]) for name in PRODUCTS))}
#: For each kernel: from its arguments to those of its function in C after `variant`.
ARGUMENTS = of_table(TABLE | EXTRA)


def row_of(name):
    """Return a kernel's row in the table, or in that of the kernels which are here alone."""
    return TABLE.get(name) or EXTRA[name]


def implements(variant, name):
    """Whether a variant has its own version of a kernel."""
    row = row_of(name)
    needed = row.function if row.scratch is None else "recode_panels"
    return bool(lib.bl_variant_implements(variant, needed.encode()))


def described(function, name, variant):
    """Have a function say which kernel it calls, of which variant, and how the arguments are made."""
    function.kernel, function.variant, function.arguments = name, variant, ARGUMENTS[name]
    return function


def called(name, variant):
    """Return a kernel that makes the arguments in C from its own."""
    function, arguments = getattr(lib, f"bl_{row_of(name).function}"), ARGUMENTS[name]

    def kernel(*given):
        function(variant, *arguments(*given))

    return described(kernel, name, variant)
