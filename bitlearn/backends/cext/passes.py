"""The passes over channels: batch norm, its sign and its gradient, and pooling."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, ffi, lib, pointer


def _pool2d(x_shape, window, stride, out_size):
    """The sizes of a max pooling; the bits of a place are those of the largest place's number."""
    return ffi.new("bl_pool2d *", (*x_shape, *out_size, window, stride, (window * window - 1).bit_length()))


def _channel_sums(variant, y, out):
    lib.bl_channel_sums(variant, pointer(y), code(y), *y.shape, pointer(out, True))


def _channel_sums_above(variant, y, bound, out):
    lib.bl_channel_sums_above(variant, pointer(y), code(y), pointer(bound), *y.shape, pointer(out, True))


def _sign_pass(variant, y, threshold, low, high, out):
    bounds = (pointer(threshold), pointer(low), pointer(high))
    lib.bl_sign_pass(variant, pointer(y), code(y), *bounds, *y.shape, pointer(out, True))


def _gradient_sums(variant, d, passes, x, out):
    inputs = (pointer(d), code(d), pointer(passes), pointer(x), code(x))
    lib.bl_gradient_sums(variant, *inputs, *d.shape, pointer(out, True))


def _norm_gradient_peak(variant, d, passes, x, first, second, factor, out):
    inputs = (pointer(d), code(d), pointer(passes), pointer(x), code(x))
    factors = (pointer(first), pointer(second), pointer(factor))
    lib.bl_norm_gradient_peak(variant, *inputs, *factors, *d.shape, pointer(out, True))


def _norm_gradient(variant, d, passes, x, first, second, factor, scale, limit, out):
    inputs = (pointer(d), code(d), pointer(passes), pointer(x), code(x))
    factors = (pointer(first), pointer(second), pointer(factor))
    lib.bl_norm_gradient(variant, *inputs, *factors, scale, limit, *d.shape, pointer(out, True))


def _max_pool(variant, x, window, stride, out):
    shape = _pool2d(x.shape, window, stride, out.shape[1:3])
    lib.bl_max_pool(variant, pointer(x), code(x), shape, pointer(out, True))


def _max_pool_places(variant, x, window, stride, out):
    shape = _pool2d(x.shape, window, stride, out.shape[1:3])
    lib.bl_max_pool_places(variant, pointer(x), code(x), shape, pointer(out, True))


def _max_pool_gradient(variant, d, places, window, stride, out):
    shape = _pool2d(out.shape, window, stride, d.shape[1:3])
    inputs = (pointer(d), code(d), pointer(places), shape)
    lib.bl_max_pool_gradient(variant, *inputs, pointer(out, True), code(out))


KERNELS = {
    function.__name__[1:]: function
    for function in (
        _channel_sums,
        _channel_sums_above,
        _sign_pass,
        _gradient_sums,
        _norm_gradient_peak,
        _norm_gradient,
        _max_pool,
        _max_pool_places,
        _max_pool_gradient,
    )
}
