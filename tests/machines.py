"""The C kernels on another processor, without Python there: compile the driver, run it, send it calls."""

from __future__ import annotations

import ctypes
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from guards import span

from bitlearn.backends.reference import RESULTS

CSRC = Path(__file__).parents[1] / "csrc"
CROSS = Path(__file__).parent / "cross"
# Those of the extension, and no warnings.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]

#: The codes of csrc/kernels.h for element types.
_CODES = {"int8": 0, "int16": 1, "int32": 2, "int64": 3, "float32": 4, "float64": 5, "uint8": 6, "uint16": 7}
_CODES |= {"uint32": 8, "uint64": 9, "float16": 10, "bool": 6}


@dataclass(frozen=True)
class Target:
    """A processor: its compiler, what runs its programs, and further flags."""

    processor: str
    compiler: str
    emulator: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def lacks(self) -> list[str]:
        """Return what has to be installed first."""
        return [tool for tool in (self.compiler, *self.emulator) if shutil.which(tool) is None]


TARGETS = {
    "aarch64": Target("aarch64", "aarch64-linux-gnu-gcc", ("qemu-aarch64",), ("-static",)),
    # Tiles are emulated on every machine: the extension runs on those that a processor has.
    "native": Target(platform.machine().lower(), "gcc", flags=("-DBL_EMULATE_TILES", "-pthread")),
}
#: Where the calls of this file mean the same on both sides: 64-bit, little-endian, POSIX pipes.
SUPPORTED = platform.system() in ("Linux", "Darwin") and platform.machine().lower() in ("x86_64", "aarch64", "arm64")


def _compile(target: Target, folder: Path) -> list[str]:
    """Compile the kernels and the driver to one program, and return the command that runs it."""
    program = folder / "driver"
    sources = [CROSS / "driver.c", CROSS / "tiles.c", *sorted(CSRC.glob("**/*.c"))]
    command = [target.compiler, *FLAGS, *target.flags, "-I", CSRC, *sources, "-o", program, "-lm"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return [*target.emulator, str(program)]


def _code(array: np.ndarray) -> int:
    return _CODES[array.dtype.name]


def _conv2d(n, x_shape, kernel_size, out_shape, words, stride, padding, pad_value=0) -> bytes:
    """Return the struct bl_conv2d: x_shape (batch, h, w, ...), out_shape (batch, out_h, out_w, out_channels)."""
    sizes = (*x_shape[:3], words, *out_shape[1:], *kernel_size, *stride, *padding, n)
    return struct.pack("<14qi4x", *sizes, pad_value)


def _memory(x: np.ndarray) -> tuple[bytes, int]:
    """Return what an array with strides covers, gaps included, and how far in its first element lies."""
    size, before = span(x)
    return ctypes.string_at(x.ctypes.data - before, size) if size else b"", before


def _pack(x, threshold, out):
    if x.ndim != 3:
        x = x.reshape(1, x.size // max(x.shape[-1], 1), x.shape[-1])
    return *_memory(x), _code(x), *x.shape, *x.strides, threshold, int(threshold.size > 1), out


def _popcount(x, out):
    return *_memory(x), *x.shape, *x.strides, out


def _unpack(words, n, out):
    return words, len(words), n, out, _code(out)


def _rows(x, out):
    return x, *x.shape, out


def _rows_of_bits(words, n, out):
    return words, len(words), n, out


def _hamming(a, b, n, out):
    return a, b, len(a), *b.shape, out, _code(out)


def _xnor_matmul(a, b, n, out):
    return a, b, len(a), *b.shape, n, out, _code(out)


def _xnor_matmul_sign(a, b, n, threshold, out):
    return a, b, len(a), *b.shape, n, threshold, out


def _xnor_conv2d(x, w, n, stride, padding, pad_value, out):
    return x, w, _conv2d(n, x.shape, w.shape[1:3], out.shape, x.shape[3], stride, padding, pad_value), out, _code(out)


def _xnor_conv2d_sign(x, w, n, stride, padding, pad_value, threshold, out):
    out_shape = (*out.shape[:3], len(w))
    shape = _conv2d(n, x.shape, w.shape[1:3], out_shape, x.shape[3], stride, padding, pad_value)
    return x, w, shape, threshold, out


def _hamming_panels(a, panels, n, out):
    return a, panels, len(a), out.shape[1], a.shape[1], out, _code(out)


def _xnor_matmul_panels(a, panels, n, out):
    return a, panels, len(a), out.shape[1], a.shape[1], n, out, _code(out)


def _xnor_matmul_sign_panels(a, panels, n, threshold, out):
    return a, panels, len(a), len(threshold), a.shape[1], n, threshold, out


def _split_planes(g, bits, out, outside):
    return g, *g.shape, bits, out, outside


def _split_columns(g, bits, first, out, outside):
    return g, *g.shape, first, len(out), bits, out, outside


def _plane_windows(planes, kernel, padding, first, out_size, out):
    *image, bits, words = planes.shape
    shape = _conv2d(0, image, kernel, (image[0], *out_size, 0), words, (1, 1), padding)
    return planes, bits, shape, first, len(out), out


def _planes_matmul_panels(planes, panels, n, accumulate, out):
    m, bits, words = planes.shape
    return planes, bits, panels, m, out.shape[1], words, n, accumulate, out


def _xnor_conv2d_panels(x, panels, kernel, n, stride, padding, pad_value, out):
    shape = _conv2d(n, x.shape, kernel, out.shape, x.shape[3], stride, padding, pad_value)
    return x, panels, shape, out, _code(out)


def _xnor_conv2d_sign_panels(x, panels, kernel, n, stride, padding, pad_value, threshold, out):
    out_shape = (*out.shape[:3], len(threshold))
    return x, panels, _conv2d(n, x.shape, kernel, out_shape, x.shape[3], stride, padding, pad_value), threshold, out


def _gradient(g, bits, n, *rest):
    return g, _code(g), bits, *g.shape, n, *rest


def _grad_weight(g, x, n, first, *rest):
    return g, _code(g), x, *g.shape, n, first, len(rest[-1]), *rest


def _conv2d_grad_input(g, w, n, stride, padding, out):
    return g, _code(g), w, _conv2d(n, out.shape, w.shape[1:3], g.shape, w.shape[3], stride, padding), out


def _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, *rest):
    shape = _conv2d(n, x.shape, rest[-1].shape[1:3], g.shape, x.shape[3], stride, padding, pad_value)
    return g, _code(g), x, shape, first, len(rest[-1]), *rest


def _l2_statistics(sums, count, out):
    return sums, len(sums), count, sums.shape[2], out


def _norm_bounds(mean, spread, shift, out):
    return mean, spread, shift, mean.size, out


def _l2_factors(sums, mean, spread, count, scale, out):
    return sums, len(sums), mean, spread, count, _double(scale), mean.size, out


def _double(number: float) -> bytes:
    return struct.pack("<d", number)


def _batch_statistics(y, scale, momentum, mean, spread, *results):
    return y, _code(y), _double(scale), _double(momentum), mean, spread, *y.shape, *results


def _norm_signs(y, mean, spread, shift, bounds, out):
    return y, _code(y), mean, spread, shift, bounds, *y.shape, out


def _batch_gradient(d, passes, x, mean, spread, scale, worth, limit, factors, shift, step, out):
    inputs = d, _code(d), passes, x, _code(x), mean, spread
    return *inputs, _double(scale), _double(worth), limit, factors, shift, step, *d.shape, out


def _softmax_gradient(labels, scores, *results):
    return labels, *scores.shape, scores, *results


def _codes_grad_weight(g, codes, first, accumulate, out):
    return g, _code(g), codes, *g.shape, codes.shape[1], first, len(out), accumulate, out, _code(out)


def _unfold_codes(x, stride, padding, out):
    return x, _conv2d(x.shape[3], x.shape, out.shape[3:5], (*out.shape[:3], 1), 0, stride, padding), out


def _largest_magnitude(x, out):
    return x, _code(x), *x.shape, out


def _requantize(x, limit, step, out):
    return x, _code(x), x.size, limit, step, out, _code(out)


def _random_words(key, start, stride, out):
    return key, start, stride, *out.shape, out


def _update(g, scale, coefficients, weight, *moments):
    return g, _code(g), scale, coefficients, *weight.shape, weight, _code(weight), *moments, _code(moments[0])


def _quantize_linear(x, scale, zero_point, low, high, noise, out):
    random = noise if noise.size else 0
    return x, _code(x), scale, zero_point, *x.shape, low, high, random, out, _code(out)


def _pool2d(x_shape, window, stride, out_size) -> bytes:
    """Return the struct bl_pool2d."""
    return struct.pack("<8qi4x", *x_shape, *out_size, window, stride, (window * window - 1).bit_length())


def _channels(y, *rest):
    return y, _code(y), *rest[:-1], *y.shape, rest[-1]


def _norm(d, passes, x, *rest):
    """The scale, a float, goes as the bytes of one."""
    middle = [struct.pack("<f", each) if isinstance(each, float) else each for each in rest[:-1]]
    return d, _code(d), passes, x, _code(x), *middle, *d.shape, rest[-1]


def _pool(x, window, stride, out):
    return x, _code(x), _pool2d(x.shape, window, stride, out.shape[1:3]), out


def _max_pool_gradient(d, places, window, stride, out):
    return d, _code(d), places, _pool2d(out.shape, window, stride, d.shape[1:3]), out, _code(out)


#: For each kernel: from the arguments of the reference to those of csrc/kernels.h and csrc/steps.h after `variant`.
_ARGUMENTS: dict[str, Callable[..., tuple]] = {
    "pack": _pack,
    "unpack": _unpack,
    "popcount": _popcount,
    "transpose_bits": _rows_of_bits,
    "hamming": _hamming,
    "xnor_matmul": _xnor_matmul,
    "xnor_matmul_sign": _xnor_matmul_sign,
    "xnor_conv2d": _xnor_conv2d,
    "xnor_conv2d_sign": _xnor_conv2d_sign,
    "pack_panels": _rows,
    "hamming_panels": _hamming_panels,
    "xnor_matmul_panels": _xnor_matmul_panels,
    "xnor_matmul_sign_panels": _xnor_matmul_sign_panels,
    "split_planes": _split_planes,
    "split_columns": _split_columns,
    "plane_windows": _plane_windows,
    "planes_matmul_panels": _planes_matmul_panels,
    "xnor_conv2d_panels": _xnor_conv2d_panels,
    "xnor_conv2d_sign_panels": _xnor_conv2d_sign_panels,
    "grad_input": _gradient,
    "grad_weight": _grad_weight,
    "grad_weight_sign": _grad_weight,
    "conv2d_grad_input": _conv2d_grad_input,
    "conv2d_grad_weight": _conv2d_grad_weight,
    "conv2d_grad_weight_sign": _conv2d_grad_weight,
    "l2_statistics": _l2_statistics,
    "norm_bounds": _norm_bounds,
    "l2_factors": _l2_factors,
    "batch_statistics": _batch_statistics,
    "norm_signs": _norm_signs,
    "batch_gradient": _batch_gradient,
    "softmax_gradient": _softmax_gradient,
    "codes_grad_weight": _codes_grad_weight,
    "unfold_codes": _unfold_codes,
    "largest_magnitude": _largest_magnitude,
    "quantize_linear": _quantize_linear,
    "requantize": _requantize,
    "random_words": _random_words,
    "adam_update": _update,
    "sgd_update": _update,
    "bop_update": _update,
    "channel_sums": _channels,
    "channel_sums_above": _channels,
    "sign_pass": _channels,
    "gradient_sums": _norm,
    "norm_gradient_peak": _norm,
    "norm_gradient": _norm,
    "max_pool": _pool,
    "max_pool_places": _pool,
    "max_pool_gradient": _max_pool_gradient,
}


class Machine:
    """A running driver, started by `command`.

    `kernels` holds each variant's own, `lacking` what the others lack, or why they are refused.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.command = command = _compile(target, folder)
        self.on_arm = target.processor in ("aarch64", "arm64")
        self.kernels: dict[str, list[str]] = {}
        self.lacking: dict[str, list[str]] = {}
        lines = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
        self.names = [line.split()[0] for line in lines]
        for name, *words in map(str.split, lines):
            if words[0] in ("lacks", "refused:"):
                self.lacking[name] = words[1:]
            else:
                self.kernels[name] = words
        self._process = subprocess.Popen([*command, "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()

    def kernel(self, variant: str, kernel: str) -> Callable[..., None]:
        """Return a function like the reference's that runs a variant's kernel over there."""

        def run(*arguments):
            self._call(variant, kernel, arguments)

        return run

    def _call(self, variant, kernel, arguments):
        fields = _ARGUMENTS[kernel](*arguments)
        message = [struct.pack("<q", len(kernel)), kernel.encode()]
        results = arguments[-RESULTS.get(kernel, 1) :]
        message.append(struct.pack("<qqq", self.names.index(variant), len(fields), len(results)))
        for field in fields:
            if isinstance(field, int):
                message.append(struct.pack("<qq", 0, field))
            else:
                content = field if isinstance(field, bytes) else field.tobytes()
                message += [struct.pack("<qq", 1, len(content)), content]
        self._process.stdin.write(b"".join(message))
        self._process.stdin.flush()
        broken = struct.unpack("<q", self._receive(8))[0]
        assert not broken, f"{variant} changed argument {broken - 1} of {kernel}, or wrote around it"
        for out in results:
            out[...] = np.frombuffer(self._receive(out.nbytes), dtype=out.dtype).reshape(out.shape)

    def _receive(self, size):
        content = self._process.stdout.read(size)
        assert len(content) == size, f"the driver stopped with exit status {self._process.wait()}"
        return content
