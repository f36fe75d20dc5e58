"""Max pooling, whose sizes are a struct: the arguments of its kernels in C."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, pointer, pool2d


def max_pool(x, window, stride, out):
    return pointer(x), code(x), pool2d(x.shape, window, stride, out.shape[1:3]), pointer(out, True)


def max_pool_places(x, window, stride, out):
    return pointer(x), code(x), pool2d(x.shape, window, stride, out.shape[1:3]), pointer(out, True)


def max_pool_gradient(d, places, window, stride, out):
    shape = pool2d(out.shape, window, stride, d.shape[1:3])
    return pointer(d), code(d), pointer(places), shape, pointer(out, True), code(out)


def bit_pool(x, window, stride, out):
    return pointer(x), pool2d(x.shape, window, stride, out.shape[1:3]), pointer(out, True)


def bit_pool_places(x, window, stride, out):
    return pointer(x), pool2d(x.shape, window, stride, out.shape[1:3]), pointer(out, True)


ARGUMENTS = {
    function.__name__: function
    for function in (max_pool, max_pool_places, max_pool_gradient, bit_pool, bit_pool_places)
}
