"""The innermost loop of the products on panels, in vectors of LLVM, which it turns into those of any processor.

A loop over columns that LLVM vectorises by itself loads and stores its counts for every few words, and ran at half the
speed. Here the counts of a tile stay in registers for the whole depth: 4 of 512 bits, 8 of 256 or 16 of 128.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

#: Rows and columns of a tile.
TILE_ROWS, TILE_COLUMNS = 4, 8

_WORDS = ir.VectorType(ir.IntType(64), TILE_COLUMNS)
_COUNTS = ir.VectorType(ir.IntType(32), TILE_COLUMNS)
_POPCOUNT = f"llvm.ctpop.v{TILE_COLUMNS}i64", (), ir.FunctionType(_WORDS, [_WORDS])


def _splat(builder, word):
    """A vector of one word in every lane."""
    nothing, every_lane_of_the_first = _WORDS(ir.Undefined), _COUNTS(None)
    first = builder.insert_element(nothing, word, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, every_lane_of_the_first)


@intrinsic
def count_tile(typing_context, rows, first, panel, width, column, counts):
    """counts[r, column + c] = in how many bits row first + r and column `column + c` of a panel differ.

    For r < 4 and c < 8; past the last row it is counted again. rows (m, words) and panel (words * width,) of uint64,
    counts (4, width) of int32. Any other type is rejected.
    """
    if (rows.dtype, panel.dtype, counts.dtype) != (types.uint64, types.uint64, types.int32):
        return None

    def codegen(context, builder, signature, arguments):
        rows, panel, counts = (
            context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 2, 5)
        )
        first, width, column = arguments[1], arguments[3], arguments[4]

        def pointer(place, array, *indices):
            return cgutils.get_item_pointer(context, builder, signature.args[place], array, indices)

        def vector(address, kind):
            return builder.bitcast(address, kind.as_pointer())

        m, words = cgutils.unpack_tuple(builder, rows.shape)
        last = builder.sub(m, m.type(1))
        indices = [builder.add(first, m.type(r)) for r in range(TILE_ROWS)]
        indices = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in indices]
        popcount = builder.module.declare_intrinsic(*_POPCOUNT)
        sums = [cgutils.alloca_once_value(builder, _WORDS(None)) for _ in indices]
        for total in sums:
            builder.store(_WORDS(None), total)
        with cgutils.for_range(builder, words) as loop:
            at = builder.add(builder.mul(loop.index, width), column)
            line = builder.load(vector(pointer(2, panel, at), _WORDS), align=8)
            for i, total in zip(indices, sums, strict=True):
                word = builder.load(pointer(0, rows, i, loop.index))
                differing = builder.call(popcount, [builder.xor(_splat(builder, word), line)])
                builder.store(builder.add(builder.load(total), differing), total)
        for r, total in enumerate(sums):
            place = pointer(5, counts, m.type(r), column)
            builder.store(builder.trunc(builder.load(total), _COUNTS), vector(place, _COUNTS), align=4)
        return context.get_dummy_value()

    return types.void(rows, types.intp, panel, types.intp, types.intp, counts), codegen
