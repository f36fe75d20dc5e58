"""What is alive at the worst moments of a layer's forward and backward pass, beside what outlives the pass.

The counts follow the expressions in `bitlearn.nn`, `bitlearn.quantizers` and `bitlearn.ops`: NumPy allocates the result
of every operation, and keeps an operand as long as a name or the expression still needs it. What has no name of its
own is "scratch". The compiled kernels allocate nothing but what a thread keeps for the tile unit. Buffers of a fixed
size (up to a few hundred KiB of stack) and arrays of one value a channel are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitlearn import nn
from bitlearn.bits import words_for
from bitlearn.nn import conv_pool
from bitlearn.nn.conv import Convolution
from bitlearn.nn.layer import Layer, Variable
from bitlearn.nn.linear import FullyConnected
from bitlearn.nn.norm import Normalization
from bitlearn.nn.products import code_sum_type, images_at_a_time, sum_type
from bitlearn.nn.weights import SIGN_SUMS
from bitlearn.ops.dispatch import attribute, which
from bitlearn.ops.quantize import NOISE_WORDS
from bitlearn.ops.requantize import rows_at_a_time
from bitlearn.precision import Precision, Quantization
from bitlearn.threads import get_num_threads

#: The transient variables that are alive at one moment.
Moment = list[Variable]


@dataclass(frozen=True)
class Flow:
    """What a pass hands on: the variable, and how many values it has."""

    variable: Variable
    values: int


def _transient(name: str, dtype: np.dtype | type | str, values: int) -> Flow:
    kind = np.dtype(dtype)
    return Flow(Variable(name, "transient", kind.name, kind.itemsize * values), values)


def scratch(nbytes: int) -> Variable:
    """Return a variable for arrays without a name of their own."""
    return Variable("scratch", "transient", "various", nbytes)


def kept_by_kernels() -> Variable:
    """Return what the threads keep for large products, where those run on the tile unit."""
    on_tiles = which("xnor_matmul_panels", shape=(4096, 4096, 4096)) == "cext:amx"
    each = attribute("cext", "TILES_SCRATCH") if on_tiles else 0
    assert isinstance(each, int)
    return Variable("scratch", "persistent", "various", get_num_threads() * each)


def gradient_type(precision: Precision) -> np.dtype:
    """Return the type in which gradients flow under a policy."""
    bits = precision.gradient_bits
    return np.dtype(np.float32 if bits is None else np.int8 if bits <= 8 else np.int16)


def quantize_scratch(values: int) -> int:
    """Bytes that quantizing sums needs beside its operand and its result.

    Only the reference allocates: quotients in float64, rounded quotients, their sum with an int64 zero point, and that
    clipped.
    """
    if which("quantize_linear") != "reference":
        return 0
    return 8 * 4 * values


def forward(layer: Layer, shape: tuple[int, ...], batch: int, flow: Flow) -> tuple[list[Moment], Flow]:
    """Return the worst moments of a forward pass and its result, from what flows in."""
    outputs = batch * int(np.prod(layer.output_shape(shape)))
    if isinstance(layer, Normalization):
        return _norm_forward(layer, flow)
    if isinstance(layer, nn.MaxPool2d):
        if flow.variable.dtype == "bool":
            return [], Flow(flow.variable, outputs)
        pooled = _transient("Y", flow.variable.dtype, outputs)
        return [[flow.variable, pooled.variable]], pooled
    if isinstance(layer, nn.InputConv2d):
        sums = _transient("Y", code_sum_type(layer.fan_in), outputs)
        rows, values = _unfolded(layer, shape, batch)
        # The windows of the last images live on while the next ones are unfolded.
        work = rows * max(2 * values, values + 4 * layer.filters)
        return [[sums.variable, scratch(work)]], sums
    if isinstance(layer, nn.InputLinear):
        sums = _transient("Y", np.int32, outputs)
        transposed = 8 * layer.inputs * words_for(layer.outputs)
        return [[sums.variable, scratch(2 * transposed)]], sums
    if isinstance(layer, nn.Linear):
        sums = _transient("Y", np.float32, outputs)
        transposed = 8 * layer.inputs * words_for(batch)
        return [[sums.variable, scratch(transposed + 16 * outputs + 5 * layer.weight.size)]], sums
    if isinstance(layer, nn.BinaryConv2d | nn.BinaryLinear):
        fan_in = layer.fan_in if isinstance(layer, nn.BinaryConv2d) else layer.inputs
        sums = _transient("Y", sum_type(fan_in), outputs)
        return [[sums.variable]], sums
    return [], flow


def _norm_forward(layer: Normalization, flow: Flow) -> tuple[list[Moment], Flow]:
    values, sums = flow.values, flow.variable
    result = Flow(Variable("X", "forward to backward", "bool", 0), values)
    if isinstance(layer, nn.BatchNorm):
        result = _transient("Y", np.float32, values)
    if not layer.precision.integer:
        # The centred values and their squares; later the shifted values, their magnitudes and a comparison.
        return [[sums, scratch(9 * values)]], result
    # Signs and mask, side by side before each is an array of its own; or the centred values and their quotients.
    rows = values // layer.channels
    work = 8 * values if isinstance(layer, nn.BatchNorm) else 16 * rows * words_for(layer.channels)
    # Under "l2" the sums are kept, and counted, by the norm itself.
    return [([sums] if layer.norm == "l1" else []) + [scratch(work)]], result


def _unfolded(layer: nn.InputConv2d, shape: tuple[int, ...], batch: int) -> tuple[int, int]:
    """Rows and columns of the windows that are formed at a time."""
    windows = layer.windows((shape[0], shape[1]))
    images = min(batch, images_at_a_time(layer.fan_in, windows))
    return images * windows.out_size[0] * windows.out_size[1], layer.fan_in


def backward(
    layer: Layer, shape: tuple[int, ...], batch: int, grad: Flow, *, input_gradient: bool
) -> tuple[list[Moment], Flow]:
    """Return the worst moments of a backward pass and the gradient of its input, from that of its result."""
    inputs = batch * int(np.prod(shape))
    if isinstance(layer, Normalization):
        return _norm_backward(layer, grad)
    if isinstance(layer, nn.Sign):
        masked = replace(grad.variable, name="dX")
        return [[grad.variable, masked, scratch(grad.values)]], Flow(masked, grad.values)
    if isinstance(layer, nn.MaxPool2d):
        kind = np.dtype(grad.variable.dtype)
        routed = _transient("dX", kind, inputs)
        return [[grad.variable, routed.variable]], routed
    if isinstance(layer, FullyConnected | Convolution):
        moments, operand = _narrowed(layer.precision, layer.precision.weight_gradient, grad)
        if isinstance(layer, nn.InputConv2d | nn.InputLinear):
            found = _input_backward(layer, shape, batch, grad)
        else:
            found = _weight_moments(layer, grad)
        moments += [[*moment, operand, *_unscaled(layer)] for moment in found]
        if not input_gradient or isinstance(layer, nn.InputConv2d | nn.InputLinear):
            return moments, grad
        more, operand = _narrowed(layer.precision, layer.precision.input_gradient, grad)
        moment, result = _input_gradient(layer, batch, inputs, grad)
        return [*moments, *more, [*moment, operand]], result
    return [], grad


def _narrowed(precision: Precision, how: Quantization | None, grad: Flow) -> tuple[list[Moment], Variable]:
    """Return the moment in which a gradient is narrowed for a product, if it is, and what the product then takes."""
    if how is None or precision.gradient_bits is None or how.bits >= precision.gradient_bits:
        return [], scratch(0)
    codes = scratch(grad.values * (1 if how.bits <= 8 else 2))
    # Random words are drawn in blocks, but not in small ones.
    work = quantize_scratch(grad.values)
    if how.rounding == "stochastic":
        work += 4 * min(grad.values, NOISE_WORDS)
    return [[grad.variable, codes, scratch(work)]], codes


def _unscaled(layer: Layer) -> Moment:
    """The sums of a weight's gradient that has a scale an output, beside their float32."""
    assert isinstance(layer, FullyConnected | Convolution)
    how = layer.precision.weight_gradient
    if how is None or how.scale == "tensor" or layer.precision.sign_weight_gradient or isinstance(layer, nn.Linear):
        return []
    return [scratch(layer.weight.size * (4 if how.bits <= 8 else 8))]


def _norm_backward(layer: Normalization, grad: Flow) -> tuple[list[Moment], Flow]:
    values, kind = grad.values, gradient_type(layer.precision)
    result = _transient("dY", kind, values)
    if layer.precision.integer:
        return [[result.variable]], result  # in the place of what came
    coming = [grad.variable]
    if isinstance(layer, nn.BatchNormSign):
        coming.append(_transient("dX", kind, values).variable)  # what the straight-through mask lets pass
    work = 8 if layer.norm == "l2" else 12
    return [[*coming, result.variable, scratch(work * values)]], result


def _weight_moments(layer: Layer, grad: Flow) -> list[Moment]:
    """Moments of the gradient of weights on packed inputs; the full gradient itself is counted as dW."""
    count = layer.parameters()["weight"].size
    if isinstance(layer, nn.Linear):
        return [[grad.variable]]
    assert isinstance(layer, nn.BinaryConv2d | nn.BinaryLinear)
    if layer.precision.integer:
        return [[grad.variable]]
    masks = layer.weight.nbytes + count  # |W| and a comparison
    return [[grad.variable], [grad.variable, scratch(masks)]]


def _input_gradient(layer: Layer, batch: int, inputs: int, grad: Flow) -> tuple[Moment, Flow]:
    kind = np.dtype(grad.variable.dtype)
    if kind.kind == "f":
        sums = _transient("dX sums", np.float32, inputs)
        return [grad.variable, sums.variable], sums
    result = _transient("dX", kind, inputs)
    assert isinstance(layer, FullyConnected | Convolution)
    how, head = layer.precision.input_gradient, isinstance(layer, nn.Linear)
    narrow = how is not None and how.bits <= 8 and not head
    values, work = inputs, 0
    if layer.precision.row_by_row and not head:
        values = inputs // batch * min(batch, rows_at_a_time(inputs // batch))
        work = kind.itemsize * values  # the codes of those rows
    sums = _transient("dX sums", np.int32 if narrow else np.int64, values)
    work += quantize_scratch(values) + (8 * inputs if head else 0)  # the head's product is in float64
    return [grad.variable, sums.variable, result.variable, scratch(work)], result


def pair_forward(layers: Sequence[Layer], shape: tuple[int, ...], batch: int) -> tuple[list[Moment], Flow]:
    """Return the worst moments of a convolution and the pool behind it, and the pooled sums: see `nn.conv_pool`."""
    conv, pool = conv_pool.pair(layers)
    size, kind = conv.output_shape(shape), np.dtype(sum_type(conv.fan_in))
    pooled = _transient("Y", kind, batch * int(np.prod(pool.output_shape(size))))
    images = min(batch, get_num_threads() * conv_pool.images_at_a_time(size))
    panels = 3 * conv.weight.size // 8  # the kernels' bits in panels, and recoded
    return [[pooled.variable, scratch(kind.itemsize * images * int(np.prod(size)) + panels)]], pooled


def pair_backward(
    layers: Sequence[Layer], shape: tuple[int, ...], batch: int, grad: Flow, *, input_gradient: bool
) -> tuple[list[Moment], Flow]:
    """Return the worst moments of their backward pass and the gradient of the convolution's input."""
    conv, _ = conv_pool.pair(layers)
    height, width, filters = conv.output_shape(shape)
    kind = np.dtype(grad.variable.dtype)
    size, some = kind.itemsize, conv_pool.filters_at_a_time(batch * height * width, filters, kind)
    copied = grad.values // filters * some
    moments: list[Moment] = [[grad.variable, scratch(size * (batch * height * width * some + copied))]]
    if not input_gradient:
        return moments, grad
    moment, result = _input_gradient(conv, batch, batch * int(np.prod(shape)), grad)
    images = min(batch, get_num_threads() * conv_pool.images_at_a_time((height, width, filters)))
    return [*moments, [*moment, scratch(size * images * height * width * filters)]], result


def _input_backward(
    layer: nn.InputConv2d | nn.InputLinear, shape: tuple[int, ...], batch: int, grad: Flow
) -> list[Moment]:
    count, fan_in = layer.weight.size, layer.weight[0].size
    rows, windows = batch, 0
    if isinstance(layer, nn.InputConv2d):
        rows, _ = _unfolded(layer, shape, batch)
        windows = 2 * rows * fan_in  # those of the last images live on while the next ones are formed
    if not layer.precision.integer:
        # Codes as float32, a block's product beside the sum of those before; then masks and magnitudes.
        return [[grad.variable, scratch(windows + 4 * rows * fan_in + 4 * count)], [grad.variable, scratch(9 * count)]]
    if layer.precision.sign_weight_gradient:
        windows += 9 * min(count, max(SIGN_SUMS, fan_in))  # sums as wide as they may be, and their signs
    return [[grad.variable, scratch(windows)]]
