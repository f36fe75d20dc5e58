"""A convolution and the max pool behind it, a few images at a time: the sums between them are never whole.

Forward, sums are pooled while they are in the cache. Backward, a pooled gradient is spread over its windows for a few
images, which is all that the input's gradient needs at a time, or for a few filters, which is all that the weights'
needs. The results are those of the two layers one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitlearn import threads
from bitlearn.arena import track
from bitlearn.bits import WORD, WORD_BITS, Bits, words_for
from bitlearn.nn.conv import BinaryConv2d
from bitlearn.nn.layer import Gradients, Layer, Value
from bitlearn.nn.pool import MaxPool2d
from bitlearn.nn.products import sum_type
from bitlearn.nn.weights import binary_weight_gradient
from bitlearn.ops import passes
from bitlearn.ops.conv import xnor_conv2d
from bitlearn.ops.conv_gradients import conv2d_grad_input, conv2d_grad_weight
from bitlearn.ops.packing import pack
from bitlearn.ops.weights import pack_weights
from bitlearn.quantizers import Gradient, input_gradient_of, input_operand, integers, sums_like, width
from bitlearn.rng import Key
from bitlearn.workspace import empty

#: Sums, or values of a gradient, that are formed at a time for a few images: half of a second-level cache.
IMAGE_VALUES = 2**18
#: Bytes of a gradient that is spread at a time for a few filters: each time all bits of the input are expanded.
FILTER_BYTES = 2**24


def fits(conv: Layer, pool: Layer) -> bool:
    """Whether two layers are a convolution of bits under an integer policy and a pool whose windows are apart.

    Not where a product rounds at random: the random bits belong to places of the gradient that is not formed here.
    """
    if not isinstance(conv, BinaryConv2d) or not isinstance(pool, MaxPool2d) or pool.stride < pool.window:
        return False
    products = (conv.precision.input_gradient, conv.precision.weight_gradient)
    return all(each is not None and each.rounding == "nearest" for each in products)


def images_at_a_time(size: tuple[int, ...]) -> int:
    """Return how many maps (height, width, channels) are formed at a time."""
    return max(1, IMAGE_VALUES // max(int(np.prod(size)), 1))


def filters_at_a_time(positions: int, filters: int, kind: np.dtype) -> int:
    """Return for how many filters a gradient of so many positions is spread at a time: whole words of them."""
    return min(filters, max(1, FILTER_BYTES // max(positions * WORD_BITS * kind.itemsize, 1)) * WORD_BITS)


def pair(layers: Sequence[Layer]) -> tuple[BinaryConv2d, MaxPool2d]:
    """Return two layers that fit, as what they are."""
    conv, pool = layers
    assert isinstance(conv, BinaryConv2d) and isinstance(pool, MaxPool2d)
    return conv, pool


def forward(layers: Sequence[Layer], x: Value, *, training: bool) -> tuple[Value, list[Any]]:
    """Return the pooled sums and the two layers' caches."""
    conv, pool = pair(layers)
    assert isinstance(x, Bits)
    words = track("packed W", pack(conv.weight))
    weights, kind = pack_weights(words, x.n), sum_type(conv.fan_in)
    size = conv.output_shape(x.shape[1:])
    height, width, filters = pool.output_shape(size)
    y = track("Y", empty((len(x), height, width, filters), kind))
    planes = (pool.window * pool.window - 1).bit_length()
    places = empty((len(x), height, width, planes, words_for(filters)), WORD) if training else None
    step = images_at_a_time(size)

    def pooled(first: int, last: int) -> None:
        room = empty((min(step, last - first), *size), kind)
        for start in range(first, last, step):
            images = slice(start, min(start + step, last))
            sums = room[: images.stop - start]
            xnor_conv2d(x.words[images], weights, x.n, dtype=kind, out=sums, threads=1, **conv.options)
            y[images] = passes.max_pool(sums, pool.window, pool.stride, (height, width))
            if places is not None:
                places[images] = passes.max_pool_places(sums, pool.window, pool.stride, (height, width))

    threads.over_ranges(pooled, len(x), threads.get_num_threads())
    if places is None:
        return y, [None, None]
    return y, [(x, words), (track("pool mask", places), (len(x), *size))]


def backward(
    layers: Sequence[Layer], caches: Sequence[Any], grad: Gradient, *, input_gradient: bool, key: Key | None
) -> tuple[Gradient | None, Gradients]:
    """Return dX and dW from the gradient of the pooled sums."""
    conv, pool = pair(layers)
    (x, words), (places, shape) = caches
    _, rows, columns, filters = shape

    def spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
        size = (len(values), rows, columns, values.shape[3])
        return passes.max_pool_gradient(values, where, pool.window, pool.stride, size)

    def weight_product(operand: Gradient, **options: Any) -> np.ndarray:
        values = integers(operand)
        signs = options.get("output") == "sign"
        options |= {"bits": width(operand)} | conv.options
        result = empty((filters, *conv.kernel, words_for(x.n) if signs else x.n), WORD if signs else sums_like(values))
        step = filters_at_a_time(len(x) * rows * columns, filters, values.dtype)
        for first in range(0, filters, step):
            some = slice(first, min(first + step, filters))
            where = places[..., first // WORD_BITS : words_for(some.stop)]
            part = spread(np.ascontiguousarray(values[..., some]), np.ascontiguousarray(where))
            conv2d_grad_weight(part, x.words, x.n, conv.kernel, out=result[some], **options)
        return result

    grads: Gradients = {"weight": binary_weight_gradient(weight_product, grad, conv.weight, conv.precision, key)}
    if not input_gradient:
        return None, grads
    operand = input_operand(grad, conv.precision, key)
    values, step = integers(operand), images_at_a_time((rows, columns, filters))

    def product(images: slice, out: np.ndarray) -> None:
        def spread_and_multiplied(first: int, last: int) -> None:
            for start in range(first, last, step):
                stop = min(start + step, last)
                some = slice(images.start + start, images.start + stop)
                options = {"out": out[start:stop], "bits": width(operand), "threads": 1} | conv.options
                conv2d_grad_input(spread(values[some], places[some]), words, x.n, x.words.shape[1:3], **options)

        threads.over_ranges(spread_and_multiplied, len(out), threads.get_num_threads())

    return input_gradient_of(product, (len(x), *x.words.shape[1:3], x.n), operand, conv.precision), grads
