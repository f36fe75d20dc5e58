"""Updates of parameters by the optimisers."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import code, lib, pointer


def _update(variant, call, g, scale, coefficients, weight, *moments):
    inputs = (pointer(g), code(g), pointer(scale), pointer(coefficients), *weight.shape)
    changed = (pointer(weight, True), code(weight), *(pointer(moment, True) for moment in moments))
    call(variant, *inputs, *changed, code(moments[0]))


def _adam_update(variant, *arguments):
    _update(variant, lib.bl_adam_update, *arguments)


def _sgd_update(variant, *arguments):
    _update(variant, lib.bl_sgd_update, *arguments)


def _bop_update(variant, *arguments):
    _update(variant, lib.bl_bop_update, *arguments)


KERNELS = {function.__name__[1:]: function for function in (_adam_update, _sgd_update, _bop_update)}
