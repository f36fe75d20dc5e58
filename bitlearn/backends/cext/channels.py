"""What becomes of a channel's sums: statistics, bounds and factors of batch norm; batch norm in calls; the loss."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, lib, pointer


def _l2_statistics(variant, sums, count, out):
    lib.bl_l2_statistics(variant, pointer(sums), len(sums), count, sums.shape[2], pointer(out, True))


def _norm_bounds(variant, mean, spread, shift, out):
    inputs = (pointer(mean), pointer(spread), pointer(shift))
    lib.bl_norm_bounds(variant, *inputs, mean.size, pointer(out, True))


def _l2_factors(variant, sums, mean, spread, count, scale, out):
    statistics = (pointer(mean), pointer(spread), count, scale)
    lib.bl_l2_factors(variant, pointer(sums), len(sums), *statistics, mean.size, pointer(out, True))


def _batch_statistics(variant, y, scale, momentum, mean, spread, out, finite):
    running = (pointer(mean, True), pointer(spread, True))
    results = (pointer(out, True), pointer(finite, True))
    lib.bl_batch_statistics(variant, pointer(y), code(y), scale, momentum, *running, *y.shape, *results)


def _norm_signs(variant, y, mean, spread, shift, bounds, out):
    inputs = (pointer(y), code(y), pointer(mean), pointer(spread), pointer(shift))
    lib.bl_norm_signs(variant, *inputs, pointer(bounds, True), *y.shape, pointer(out, True))


def _batch_gradient(variant, d, passes, x, mean, spread, scale, worth, limit, factors, shift, step, out):
    inputs = (pointer(d), code(d), pointer(passes), pointer(x), code(x), pointer(mean), pointer(spread))
    found = (pointer(factors, True), pointer(shift, True), pointer(step, True))
    lib.bl_batch_gradient(variant, *inputs, scale, worth, limit, *found, *d.shape, pointer(out, True))


def _softmax_gradient(variant, labels, scores, terms, out):
    results = (pointer(scores, True), pointer(terms, True), pointer(out, True))
    lib.bl_softmax_gradient(variant, pointer(labels), *scores.shape, *results)


KERNELS = {
    function.__name__[1:]: function
    for function in (
        _l2_statistics,
        _norm_bounds,
        _l2_factors,
        _batch_statistics,
        _norm_signs,
        _batch_gradient,
        _softmax_gradient,
    )
}
