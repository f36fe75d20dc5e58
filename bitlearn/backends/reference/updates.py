"""Updates of parameters by the optimisers, in place.

weight, mean, square and moment (rows, n): float32, or uint16 as the bits of float16; all are changed in place. The
arithmetic is float32, one operation after the other. g is a gradient (rows, n) of float32, taken as it is; or int32 or
int64 sums, to be multiplied by scale float64, one (1,) or one per row (rows,); or uint64 words (rows, words) of packed
signs. All pass where |weight| <= clip, infinity at most. coefficients: float32, in the order of each function's first
line.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import to_signs
from bitlearn.backends.reference.quantization import random_operations, random_words
from bitlearn.backends.table import kernel


def _work(g, scale, clip, coefficients, weight, *moments):
    """A value takes about as long as sixteen operations on a word, most of it for its memory."""
    return 16 * weight.shape[1]


def _of_update(multiplications, additions):
    """Of each weight: the rule in float32, a comparison with the clip, and the scale of integer sums."""

    def operations(g, scale, clip, coefficients, weight, *moments):
        found = {"multiply float32": multiplications * weight.size, "add float32": (additions + 1) * weight.size}
        return found | ({"multiply float64": weight.size} if g.dtype.kind == "i" else {})

    return operations


def _of_rounding(scale, limit, whole, key, first, weight):
    """Two multiplications and two comparisons of each weight, and a random word where there is a key."""
    noise = random_operations(weight.size) if key.shape[0] else {}
    return {"multiply float64": 2 * weight.size, "add float64": 2 * weight.size} | noise


def _of_quantized(g, scale, coefficients, signs, limit, key, first, weight):
    """The change in float32, the rest in float64, and a random word where there is a key."""
    scaled = weight.size if g.dtype.kind == "i" else 0
    noise = random_operations(weight.size) if key.shape[0] else {}
    found = {"multiply float32": 3 * weight.size, "add float64": 3 * weight.size}
    return found | ({"multiply float64": scaled} if scaled else {}) | noise


def _of_store(values, key, first, codes, scale):
    """A root, a division, two comparisons, and a random word."""
    found = {"multiply float32": 2 * values.size, "add float32": 2 * values.size}
    return found | random_operations(values.size)


def _real(array):
    """A copy in float32."""
    return (array.view(np.float16) if array.dtype == np.uint16 else array).astype(np.float32)


def _store(array, values):
    target = array.view(np.float16) if array.dtype == np.uint16 else array
    with np.errstate(over="ignore"):  # past the largest float16 comes infinity
        target[...] = values


def _gradient(g, scale, clip, weight):
    if g.dtype == np.uint64:
        g = to_signs(g, weight.shape[1])
    elif g.dtype != np.float32:
        g = g * scale[:, None]
    return g.astype(np.float32) * (np.abs(_real(weight)) <= np.float32(clip))


@kernel(
    writes="weight mean square",
    changes="weight mean square",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[6]",
    weight="float32|uint16[rows, n]",
    mean="float32|uint16[rows, n]",
    square="mean[rows, n]",
    operations=_of_update(8, 4),
)
def adam_update(g, scale, clip, coefficients, weight, mean, square):
    """Adam; beta1, rest1, beta2, rest2, rate, epsilon."""
    beta1, rest1, beta2, rest2, rate, epsilon = coefficients
    g = _gradient(g, scale, clip, weight)
    first = _real(mean) * beta1 + g * rest1
    second = _real(square) * beta2 + (g * g) * rest2
    _store(mean, first)
    _store(square, second)
    _store(weight, _real(weight) - rate * first / (np.sqrt(second) + epsilon))


@kernel(
    writes="weight moment",
    changes="weight moment",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[3]",
    weight="float32|uint16[rows, n]",
    moment="float32|uint16[rows, n]",
    operations=_of_update(3, 2),
)
def sgd_update(g, scale, clip, coefficients, weight, moment):
    """SGD with momentum; momentum, factor (of the gradient), rate."""
    momentum, factor, rate = coefficients
    step = _real(moment) * momentum + _gradient(g, scale, clip, weight) * factor
    _store(moment, step)
    _store(weight, _real(weight) - rate * step)


@kernel(
    writes="weight",
    changes="weight",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[2]",
    weight="float32|uint16[rows, n]",
    operations=_of_update(2, 1),
)
def descent_update(g, scale, clip, coefficients, weight):
    """SGD without momentum; factor (of the gradient), rate."""
    factor, rate = coefficients
    _store(weight, _real(weight) - rate * (_gradient(g, scale, clip, weight) * factor))


@kernel(
    writes="weight moment",
    changes="weight moment",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[3]",
    weight="float32|uint16[rows, n]",
    moment="float32|uint16[rows, n]",
    operations=_of_update(3, 2),
)
def bop_update(g, scale, clip, coefficients, weight, moment):
    """Bop; keep, factor (of the gradient), threshold."""
    keep, factor, threshold = coefficients
    mean = _real(moment) * keep + _gradient(g, scale, clip, weight) * factor
    old = _real(weight)
    _store(moment, mean)
    _store(weight, np.where(old * mean > threshold, -old, old))


def _rounded(values, key, first):
    """Integers next to float64 values: ties to even, or by random bits, floor(v) + [u < (v - floor(v)) * 2**32].

    0 is +0, whatever it is the rounding of.
    """
    if not len(key):
        return np.rint(values) + 0.0
    whole, noise = np.floor(values), np.empty(values.shape, dtype=np.uint32)
    random_words(key, first * values.shape[1], values.shape[1], noise)
    return whole + (noise < (values - whole) * 2.0**32)


def _random_work(weight, key):
    return (32 if len(key) else 16) * weight.shape[1]


@kernel(
    writes="weight",
    changes="weight",
    split="rows",
    work=lambda g, scale, coefficients, signs, limit, key, first, weight: _random_work(weight, key),
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    coefficients="float32[2]",
    signs=(False, True),
    key="uint32[4]?",
    weight="float32|int8|int16[rows, n]",
    operations=_of_quantized,
)
def quantized_update(g, scale, coefficients, signs, limit, key, first, weight):
    """weight = clip(round(base - limit * rate * (factor * g)), -limit, limit); factor, rate.

    base is the weight, or with `signs` the limit with its sign, that of 0 being +. float32 weights are not rounded, and
    a limit of 0 is none: weight = weight - rate * (factor * g). Rounding is to nearest, ties to even; with a key at
    random, by the word ``(first + i) * n + j`` of the stream, as `narrow` has it. The change is formed in float32, the
    rest in float64.
    """
    factor, rate = coefficients
    values = to_signs(g, weight.shape[1]) if g.dtype == np.uint64 else g
    values = (values if g.dtype in (np.float32, np.uint64) else values * scale[:, None]).astype(np.float32)
    change = values * factor * rate
    if limit:
        change = change * np.float32(limit)
    base = np.where(weight >= 0, limit, -limit) if signs else weight
    found = base.astype(np.float64) - change
    if limit:
        found = np.clip(found, -limit, limit)
    weight[...] = found if weight.dtype == np.float32 else _rounded(found, key, first)


@kernel(
    writes="weight",
    changes="weight",
    split="rows",
    work=lambda scale, limit, whole, key, first, weight: _random_work(weight, key),
    scale="float64[1]",
    whole=(False, True),
    key="uint32[4]?",
    weight="float32[rows, n]",
    operations=_of_rounding,
)
def round_weights(scale, limit, whole, key, first, weight):
    """weight = step * clip(round(weight / step), -limit, limit), in float64, rounded to float32.

    step is the scale, or with `whole` the least power of two that is no smaller: then what lies on the grid stays there
    from one call to the next, whatever the scale does in between. Rounding is that of `quantized_update`.
    """
    step = scale[0]
    if whole and np.isfinite(step):
        mantissa, exponent = np.frexp(step)
        step = np.ldexp(1.0, exponent - (mantissa == 0.5))
    weight[...] = np.clip(_rounded(weight.astype(np.float64) / step, key, first), -limit, limit) * step


@kernel(
    split="rows",
    codes="int8|uint8[rows, n]",
    scale="float32[rows]",
    out="float32[rows, n]",
    operations={"multiply float32": 2},
)
def load_moments(codes, scale, out):
    """out[i] = codes[i] * scale[i]; of uint8 its square: such codes are of roots."""
    found = codes * scale[:, None]
    out[...] = found * found if codes.dtype == np.uint8 else found


@kernel(
    writes="codes scale",
    split="rows",
    work=lambda values, key, first, codes, scale: 32 * values.shape[1],
    values="float32[rows, n]",
    key="uint32[4]",
    codes="int8|uint8[rows, n]",
    scale="float32[rows]",
    operations=_of_store,
)
def store_moments(values, key, first, codes, scale):
    """codes[i] = round(v / scale[i]), scale[i] = max |v| / most: v are values for int8 (127), roots for uint8 (255).

    Rounding is random, by the word ``(first + i) * n + j`` of the stream, as `quantized_update` has it. A root above 0
    has a code of at least 1, since it is divided by. Where the scale is 0, codes are those of 0.
    """
    root = codes.dtype == np.uint8
    most, v = np.float32(255 if root else 127), np.sqrt(values) if root else values
    scale[...] = np.abs(v).max(axis=1, initial=0) / most
    by = scale[:, None]
    ratio = np.clip(np.divide(v, by, out=np.zeros_like(v), where=by > 0), -most, most)
    found = _rounded(ratio.astype(np.float64), key, first)
    codes[...] = np.maximum(found, v > 0) if root else found


@kernel(writes="counts", changes="counts", counts="int64[n]", operations={"add int64": 1})
def count_step(counts):
    """counts += 1: the number of a step changes with what the step changes."""
    counts += 1
