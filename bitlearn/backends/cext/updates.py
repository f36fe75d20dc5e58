"""Updates of parameters by the optimisers."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, lib, pointer


def _arguments(g, scale, coefficients, weight, *moments):
    inputs = (pointer(g), code(g), pointer(scale), pointer(coefficients), *weight.shape)
    changed = (pointer(weight, True), code(weight), *(pointer(moment, True) for moment in moments))
    return (*inputs, *changed, code(moments[0]))


def _adam_update(variant, *arguments, threads=1):
    lib.bl_adam_update_on_threads(threads, variant, *_arguments(*arguments))


def _sgd_update(variant, *arguments):
    lib.bl_sgd_update(variant, *_arguments(*arguments))


def _bop_update(variant, *arguments):
    lib.bl_bop_update(variant, *_arguments(*arguments))


KERNELS = {function.__name__[1:]: function for function in (_adam_update, _sgd_update, _bop_update)}
