"""The cases: every forward kernel of the registry, with random operands of a shape and the expected result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

import bitlearn as bl
from bitlearn.ops.dispatch import KERNELS

SEED = 20260801

#: What a shape of so many sizes means, and the shapes that are run where none is named.
MEANINGS = {2: "rows × n", 3: "M × N × n", 6: "batch × height × width × in × out × kernel"}
GRIDS = {
    "small": (
        (1000, 1000),
        (256, 256, 256),
        (4, 1024, 1024),
        (65, 127, 1091),
        (2, 16, 16, 64, 64, 3),
    ),
    "full": (
        (1, 256),
        (256, 4096),
        (8192, 8192),
        (1, 256, 256),
        (1, 1024, 1024),
        (2, 1024, 1024),
        (4, 1024, 1024),
        (96, 1024, 1024),
        (65, 127, 1091),
        (256, 256, 256),
        (1024, 1024, 1024),
        (6144, 128, 1152),
        (1536, 1536, 4096),
        (4096, 4096, 4096),
        (100, 32, 32, 128, 128, 3),
        (100, 16, 16, 256, 256, 3),
        (100, 8, 8, 512, 512, 3),
        (100, 32, 32, 64, 64, 1),
    ),
}


@dataclass(frozen=True)
class Case:
    """A kernel at a shape.

    `call` runs it through the public function, with ``out=`` and a prepared operand where it takes them. `operands` are
    what a rival is given: ``a`` and ``b`` as ±1 float32, their packed ``words_a`` and ``words_b``... `operations`
    counts bit multiply-adds of a product, and values of a kernel of the format.
    """

    kernel: str
    shape: tuple[int, ...]
    n: int
    operations: int
    unit: str
    call: Callable[[], np.ndarray]
    expected: np.ndarray
    operands: dict[str, np.ndarray] = field(repr=False)


def _signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], dtype=np.float32), size=shape)


def _words(bits: np.ndarray) -> np.ndarray:
    """Pack by NumPy alone, since `pack` is among what is verified."""
    n = bits.shape[-1]
    packed = np.zeros((*bits.shape[:-1], 8 * math.ceil(n / 64)), dtype=np.uint8)
    packed[..., : math.ceil(n / 8)] = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view("<u8")


def _format(kernel: str, shape: tuple[int, ...], rng: np.random.Generator) -> Case:
    rows, n = shape
    values = rng.normal(size=shape).astype(np.float32)
    bits = values >= 0
    words = _words(bits)
    call: Callable[[], np.ndarray]
    if kernel == "pack":
        out = np.empty_like(words)
        operands = {"values": values}
        call, expected = (lambda: bl.pack(values, out=out)), words
    elif kernel == "unpack":
        operands = {"words": words}
        call, expected = (lambda: bl.unpack(words, n)), np.where(bits, 1, -1).astype(np.int8)
    elif kernel == "popcount":
        operands = {"words": words}
        call, expected = (lambda: bl.popcount(words)), bits.sum(axis=-1, dtype=np.int64)
    else:
        operands = {"words": words}
        call, expected = (lambda: bl.transpose_bits(words, n)), _words(np.ascontiguousarray(bits.T))
    return Case(kernel, shape, n, rows * n, "values", call, expected, operands)


def _product(kernel: str, shape: tuple[int, ...], rng: np.random.Generator) -> Case:
    m, k, n = shape
    a, b = _signs(rng, m, n), _signs(rng, k, n)
    words_a, words_b = _words(a > 0), _words(b > 0)
    # float32 holds every sum below 2**24 exactly.
    dots = (a @ b.T).astype(np.int32)
    threshold = rng.integers(-int(n**0.5) - 1, int(n**0.5) + 1, size=k, dtype=np.int32)
    operands = {"a": a, "b": b, "words_a": words_a, "words_b": words_b, "threshold": threshold}
    call: Callable[[], np.ndarray]
    if kernel == "xnor_matmul":
        weights, out = bl.pack_weights(words_b, n), np.empty_like(dots)
        call, expected = (lambda: bl.xnor_matmul(words_a, weights, n, out=out)), dots
    elif kernel == "hamming":
        weights, out = bl.pack_weights(words_b, n), np.empty_like(dots)
        call, expected = (lambda: bl.hamming(words_a, weights, n, out=out)), (n - dots) // 2
    else:
        weights, expected = bl.pack_weights(words_b, n), _words(dots >= threshold)
        signs = np.empty_like(expected)
        call = lambda: bl.xnor_matmul_sign(words_a, weights, n, threshold, out=signs)  # noqa: E731
    return Case(kernel, shape, n, m * k * n, "bit-MAC", call, expected, operands)


def _convolution(kernel: str, shape: tuple[int, ...], rng: np.random.Generator) -> Case:
    batch, height, width, n, k, size = shape
    x, w = _signs(rng, batch, height, width, n), _signs(rng, k, size, size, n)
    words_x, words_w = _words(x > 0), _words(w > 0)
    before = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (before, size - 1 - before), (before, size - 1 - before), (0, 0)))
    sums = np.zeros((batch * height * width, k), dtype=np.float32)
    for i in range(size):
        for j in range(size):
            sums += padded[:, i : i + height, j : j + width].reshape(-1, n) @ w[:, i, j].T
    expected = sums.astype(np.int32).reshape(batch, height, width, k)
    weights = bl.pack_weights(words_w, n)
    threshold = rng.integers(-n, n, size=k, dtype=np.int32)
    operands = {"x": x, "w": w, "words_x": words_x, "words_w": words_w, "threshold": threshold}
    call: Callable[[], np.ndarray]
    if kernel == "xnor_conv2d":
        out = np.empty_like(expected)
        call = lambda: bl.xnor_conv2d(words_x, weights, n, padding="same", out=out)  # noqa: E731
    else:
        expected = _words(expected >= threshold)
        signs = np.empty_like(expected)
        call = lambda: bl.xnor_conv2d_sign(words_x, weights, n, threshold, padding="same", out=signs)  # noqa: E731
    return Case(kernel, shape, n, batch * height * width * size * size * n * k, "bit-MAC", call, expected, operands)


#: How the case of each forward kernel is made, and how many sizes its shape has.
_MAKERS = {
    **dict.fromkeys(("pack", "unpack", "popcount", "transpose_bits"), (2, _format)),
    **dict.fromkeys(("hamming", "xnor_matmul", "xnor_matmul_sign"), (3, _product)),
    **dict.fromkeys(("xnor_conv2d", "xnor_conv2d_sign"), (6, _convolution)),
}

#: The forward kernels, in the registry's order.
FORWARD = tuple(kernel for kernel in KERNELS if kernel in _MAKERS)


def parse_shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a grid's name or of a list such as ``256x256x256,1000x64``.

    Raises
    ------
    ValueError
        Where a shape has another number of sizes than any kernel takes, or a size is not positive.
    """
    if text in GRIDS:
        return GRIDS[text]
    shapes = []
    for part in text.split(","):
        sizes = part.strip().split("x")
        if len(sizes) not in MEANINGS or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            wanted = " or ".join(meaning.replace(" × ", "x") for meaning in MEANINGS.values())
            raise ValueError(f"a shape must be {' or '.join(GRIDS)}, or positive sizes {wanted}, got {part!r}")
        shapes.append(tuple(int(size) for size in sizes))
    return tuple(shapes)


def case(kernel: str, shape: tuple[int, ...]) -> Case:
    """Return the case of a kernel at a shape, the same in every run."""
    sizes, make = _MAKERS[kernel]
    if len(shape) != sizes:
        raise ValueError(f"a shape of {kernel} must be {MEANINGS[sizes]}, got {shape}")
    return make(kernel, shape, np.random.default_rng((SEED, *shape)))


def cases(kernels: Sequence[str] = FORWARD, shapes: Sequence[tuple[int, ...]] = GRIDS["small"]) -> Iterator[Case]:
    """Yield the case of each kernel at each shape that it takes, one at a time: operands can be large.

    Raises
    ------
    ValueError
        Where a kernel is not a forward one, or none takes one of the shapes.
    """
    for kernel in kernels:
        if kernel not in FORWARD:
            raise ValueError(f"kernel must be one of {', '.join(FORWARD)}, got {kernel!r}")
    for shape in shapes:
        if not any(_MAKERS[kernel][0] == len(shape) for kernel in kernels):
            raise ValueError(
                f"{', '.join(kernels)} must be given shapes that they take, got {'x'.join(map(str, shape))}"
            )
    for kernel in kernels:
        for shape in shapes:
            if _MAKERS[kernel][0] == len(shape):
                yield case(kernel, shape)
