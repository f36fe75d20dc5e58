"""Convolutions, their gradients and their windows, whose sizes are a struct: the arguments of their kernels in C."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, conv2d, pointer


def _sizes(x, kernel, n, stride, padding, pad_value, out, k):
    return conv2d(n, x.shape, kernel, (*out.shape[:3], k), x.shape[3], stride, padding, pad_value)


def xnor_conv2d(x, w, n, stride, padding, pad_value, out):
    sizes = _sizes(x, w.shape[1:3], n, stride, padding, pad_value, out, out.shape[3])
    return pointer(x), pointer(w), sizes, pointer(out, True), code(out)


def xnor_conv2d_sign(x, w, n, stride, padding, pad_value, threshold, out):
    sizes = _sizes(x, w.shape[1:3], n, stride, padding, pad_value, out, w.shape[0])
    return pointer(x), pointer(w), sizes, pointer(threshold), pointer(out, True)


def xnor_conv2d_panels(x, panels, kernel, n, stride, padding, pad_value, out):
    sizes = _sizes(x, kernel, n, stride, padding, pad_value, out, out.shape[3])
    return pointer(x), pointer(panels), sizes, pointer(out, True), code(out)


def xnor_conv2d_sign_panels(x, panels, kernel, n, stride, padding, pad_value, threshold, out):
    sizes = _sizes(x, kernel, n, stride, padding, pad_value, out, threshold.shape[0])
    return pointer(x), pointer(panels), sizes, pointer(threshold), pointer(out, True)


def _recoded(columns, scratch, arguments):
    x, panels, *rest = arguments
    return x, panels, pointer(columns), *rest, pointer(scratch, True)


def xnor_conv2d_recoded(x, panels, columns, kernel, n, stride, padding, pad_value, scratch, out):
    arguments = xnor_conv2d_panels(x, panels, kernel, n, stride, padding, pad_value, out)
    return _recoded(columns, scratch, arguments)


def xnor_conv2d_sign_recoded(x, panels, columns, kernel, n, stride, padding, pad_value, threshold, scratch, out):
    arguments = xnor_conv2d_sign_panels(x, panels, kernel, n, stride, padding, pad_value, threshold, out)
    return _recoded(columns, scratch, arguments)


def conv2d_grad_input(g, w, n, stride, padding, out):
    sizes = conv2d(n, out.shape, w.shape[1:3], g.shape, w.shape[3], stride, padding)
    return pointer(g), code(g), pointer(w), sizes, pointer(out, True)


def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    sizes = conv2d(n, x.shape, out.shape[1:3], g.shape, x.shape[3], stride, padding, pad_value)
    return pointer(g), code(g), pointer(x), sizes, first, out.shape[0], accumulate, pointer(out, True)


def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    sizes = conv2d(n, x.shape, out.shape[1:3], g.shape, x.shape[3], stride, padding, pad_value)
    rest = (pointer(threshold), pointer(mask), pointer(out, True))
    return pointer(g), code(g), pointer(x), sizes, first, out.shape[0], *rest


def plane_windows(planes, kernel, padding, first, out_size, out):
    *image, bits, words = planes.shape
    sizes = conv2d(0, image, kernel, (image[0], *out_size, 0), words, (1, 1), padding)
    return pointer(planes), bits, sizes, first, out.shape[0], pointer(out, True)


def unfold_codes(x, stride, padding, out):
    sizes = conv2d(x.shape[3], x.shape, out.shape[3:5], (*out.shape[:3], 1), 0, stride, padding)
    return pointer(x), sizes, pointer(out, True)


ARGUMENTS = {
    function.__name__: function
    for function in (
        xnor_conv2d,
        xnor_conv2d_sign,
        xnor_conv2d_panels,
        xnor_conv2d_sign_panels,
        xnor_conv2d_recoded,
        xnor_conv2d_sign_recoded,
        conv2d_grad_input,
        conv2d_grad_weight,
        conv2d_grad_weight_sign,
        plane_windows,
        unfold_codes,
    )
}
