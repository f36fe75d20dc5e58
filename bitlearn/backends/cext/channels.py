"""What becomes of a channel's sums: statistics, bounds and factors of batch norm."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import lib, pointer


def _l2_statistics(variant, sums, count, out):
    lib.bl_l2_statistics(variant, pointer(sums), len(sums), count, sums.shape[2], pointer(out, True))


def _norm_bounds(variant, mean, spread, shift, out):
    inputs = (pointer(mean), pointer(spread), pointer(shift))
    lib.bl_norm_bounds(variant, *inputs, mean.size, pointer(out, True))


def _l2_factors(variant, sums, mean, spread, count, scale, out):
    statistics = (pointer(mean), pointer(spread), count, scale)
    lib.bl_l2_factors(variant, pointer(sums), len(sums), *statistics, mean.size, pointer(out, True))


KERNELS = {function.__name__[1:]: function for function in (_l2_statistics, _norm_bounds, _l2_factors)}
