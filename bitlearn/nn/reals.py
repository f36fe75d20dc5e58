"""Products with real weights: of float32 values under the policy ``standard``, of codes under an integer policy.

What flows in is quantized to 8 bits, as the network's input is, and the weights as wide as the gradient between the
layers, or forward as wide as the policy says. Each example has a scale of its own, so that its results do not depend on
the others'. So the sums are exact integers, and their scale is the product of the two. For the gradient of the weights,
which sums over the examples, their codes then get one scale.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.nn.gradients import largest_code, quantized, requantized, requantized_in_parts
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient
from bitlearn.precision import Precision
from bitlearn.program import Array, counted

#: Bits of the values that a product with real weights takes under an integer policy.
_BITS = 8
#: Exact sums that are formed at a time, before they are scaled to float32: 2 MiB of int64.
_SUMS_AT_A_TIME = 2**18
#: A product over at most so many terms, as that of a head, is formed twice where its sums are many: so many at a time,
#: 256 KiB of int64, once for the largest and once to be quantized. That costs about what writing them whole does.
_FEW_TERMS, _FORMED_TWICE = 128, 2**15


def activations(step: Step, x: Array, spec: Spec, precision: Precision) -> Gradient:
    """Return what flows into a product as it takes it: input codes are codes already, and real values become some."""
    if spec.kind == "codes":
        return Gradient(step, x, step.constant(np.array([spec.unit])))
    return Gradient(step, x, None) if precision.weight_bits is None else _codes(step, x)


def _codes(step: Step, x: Array) -> Gradient:
    """Return real values as codes with a scale per example."""
    codes, scale, finite = step.empty("X", x.shape, np.int8), step.empty("scales", (len(x),), np.float64), step.finite()
    step.run("all_finite", x.rows(), finite, check=finite, what="the values")
    step.run("quantize_rows", x.rows(), largest_code(_BITS), scale, codes.rows())
    return Gradient(step, codes, scale)


def kept(step: Step, x: Gradient, precision: Precision) -> Gradient:
    """Return what flowed in as the product that gives the weights' gradient takes it: under an integer policy codes."""
    return with_one_scale(step, _codes(step, x.values) if x.is_real and precision.integer else x)


def with_one_scale(step: Step, x: Gradient) -> Gradient:
    """Record that codes with a scale per example get the largest of these, in the same memory."""
    if x.is_real or len(x.scale) == 1:
        return x
    scale = step.empty("scales", (1,), np.float64)
    step.run("largest_scale", x.scale, scale)
    step.over_batch("largest", scale)
    step.run("equalize_rows", x.scale, scale, largest_code(_BITS), x.values.rows())
    return x.with_values(x.values, scale)


def real_weights(step: Step, weight: Array, precision: Precision, *, forward: bool = False) -> Gradient:
    """Return weights (k, n) as products take them, those forward or those backward."""
    bits = precision.weight_bits if forward else precision.gradient_bits
    return (
        Gradient(step, weight, None)
        if bits is None
        else quantized(step, weight, bits, "the weights", name="W codes", batch=False)
    )


def transposed(step: Step, weight: Array) -> Array:
    """Return float32 weights (k, n) as (n, k)."""
    return step.prepared("scaled_transpose", "scratch", weight.shape[::-1], np.float32, weight, step.constant(_ONE))


def product(step: Step, x: Gradient, turned: Gradient, out: Array) -> None:
    """Record ``out = x @ turned`` for x (examples, ..., n), turned (n, k) and out (examples, ..., k) float32."""
    if turned.is_real:
        step.run(matmul, _floats(step, x.values.pixels(), x), turned.values, out.pixels())
        return
    examples, size = len(out), out.size // max(len(out), 1)
    count = max(1, min(examples, _SUMS_AT_A_TIME // max(size, 1)))
    room, scale = (
        step.empty("Y sums", (count, *out.shape[1:]), np.int64),
        step.empty("scales", x.scale.shape, np.float64),
    )
    step.run("multiply_scales", x.scale, turned.scale, scale)
    for start in range(0, examples, count):
        some = slice(start, min(start + count, examples))
        part = room[: some.stop - start]
        sums(step, x.values[some], turned, part)
        step.run("scale_sums", part.rows(), scale[some] if len(scale) > 1 else scale, out[some].rows())


def weight_product(step: Step, grad: Array, x: Gradient, accumulate: bool, out: Array) -> None:
    """Record ``out = grad.T @ x`` for grad and x of as many rows and out (k, n), or that it is added to `out`."""
    rows, values = grad.pixels(), x.values.pixels()
    if grad.dtype == np.float32:
        more = step.empty("scratch", out.shape, np.float32)
        step.run(_transposed_product, rows, _floats(step, values, x), accumulate, more, out)
    else:
        step.run("codes_grad_weight", rows, values, 0, accumulate, out)


def weight_gradient(step: Step, found: Array, operand: Gradient, x: Gradient, fan_in: int) -> ParameterGradient:
    """Return the gradient of real weights from what `weight_product` of `operand` and `x` gave."""
    if operand.is_real:
        return ParameterGradient(found, None, fan_in=fan_in)
    scale = step.empty("scales", operand.scale.shape, np.float64)
    step.run("multiply_scales", operand.scale, x.scale, scale)
    return ParameterGradient(found, scale, fan_in=fan_in)


def sums(step: Step, x: Array, weight: Gradient, out: Array) -> None:
    """Record ``out = x @ weight`` in the units of both, for x (..., k), weight (k, n) and out (..., n)."""
    step.run(matmul if weight.is_real else "integer_product", x.pixels(), weight.values, out.pixels())


def input_gradient(
    step: Step,
    grad: Gradient,
    weight: Gradient,
    shape: tuple[int, ...],
    precision: Precision,
    write: Callable[[slice, Array], None] | None = None,
) -> Gradient:
    """Return the gradient ``grad @ weight`` of what flowed in, of a shape (batch, ..., n), for weight (k, n).

    ``write(examples, out)``, where there is one, records other products of some examples with the weight.
    """

    def plain(some: slice, out: Array) -> None:
        sums(step, grad.values[some], weight, out)

    write = write or plain
    if grad.is_real:
        dx = step.empty("dX", shape, np.float32)
        write(slice(0, shape[0]), dx)
        return Gradient(step, dx, None)
    scale, rows = step.empty("scales", grad.scale.shape, np.float64), shape[0]
    most = step.savings.sums if len(weight.values) > _FEW_TERMS else min(_FORMED_TWICE, step.savings.sums)
    count = max(1, most // max(int(np.prod(shape[1:])), 1))
    room = step.empty("dX sums", (min(count, rows), *shape[1:]), np.int64)

    def form(some: slice) -> Array:
        part = room[: some.stop - some.start]
        write(some, part)
        return part

    if count >= rows:
        whole = form(slice(0, rows))
        step.run("multiply_scales", grad.scale, weight.scale, scale)
        return requantized(step, whole, scale, precision.code_bits)
    step.run("multiply_scales", grad.scale, weight.scale, scale)
    parts = [slice(start, min(start + count, rows)) for start in range(0, rows, count)]
    return requantized_in_parts(step, form, parts, shape, scale, precision.code_bits)


def _floats(step: Step, values: Array, x: Gradient) -> Array:
    """Return codes of x, of one scale, as the numbers that they stand for."""
    if x.is_real:
        return values
    out = step.empty("scratch", values.shape, np.float32)
    step.run("add_scaled", values, x.scale, values, step.constant(_NOTHING), out)
    return out


_ONE, _NOTHING = np.ones(1), np.zeros(1)


def float_operations(terms: int) -> dict[str, float]:
    """Return the operations of products of floats with so many terms in all."""
    return {"multiply float32": terms, "add float32": terms}


@counted(lambda a, b, out: float_operations(a.size * out.shape[-1]))
def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """``out = a @ b`` by NumPy's BLAS; what is not finite is found before it can change anything."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(a, b, out=out)


@counted(lambda grad, x, accumulate, more, out: float_operations(grad.shape[0] * out.size))
def _transposed_product(grad: np.ndarray, x: np.ndarray, accumulate: bool, more: np.ndarray, out: np.ndarray) -> None:
    matmul(grad.T, x, more)
    np.add(out, more, out=out) if accumulate else np.copyto(out, more)
