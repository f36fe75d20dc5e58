"""Learning on small devices with binary networks: kernels on packed bits, layers, training, continual learning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitlearn.bits import Bits as Bits
    from bitlearn.config import show_config as show_config
    from bitlearn.ops.conv import xnor_conv2d as xnor_conv2d
    from bitlearn.ops.conv import xnor_conv2d_sign as xnor_conv2d_sign
    from bitlearn.ops.conv_gradients import conv2d_grad_input as conv2d_grad_input
    from bitlearn.ops.conv_gradients import conv2d_grad_weight as conv2d_grad_weight
    from bitlearn.ops.dispatch import use_backend as use_backend
    from bitlearn.ops.dispatch import which as which
    from bitlearn.ops.gradients import grad_input as grad_input
    from bitlearn.ops.gradients import grad_weight as grad_weight
    from bitlearn.ops.matmul import hamming as hamming
    from bitlearn.ops.matmul import xnor_matmul as xnor_matmul
    from bitlearn.ops.matmul import xnor_matmul_sign as xnor_matmul_sign
    from bitlearn.ops.nearest import nearest as nearest
    from bitlearn.ops.packing import from_packbits as from_packbits
    from bitlearn.ops.packing import pack as pack
    from bitlearn.ops.packing import popcount as popcount
    from bitlearn.ops.packing import to_packbits as to_packbits
    from bitlearn.ops.packing import transpose_bits as transpose_bits
    from bitlearn.ops.packing import unpack as unpack
    from bitlearn.ops.packings import from_packing as from_packing
    from bitlearn.ops.packings import to_packing as to_packing
    from bitlearn.ops.quantize import quantize as quantize
    from bitlearn.ops.quantized import Quantized as Quantized
    from bitlearn.ops.weights import PackedWeights as PackedWeights
    from bitlearn.ops.weights import pack_weights as pack_weights
    from bitlearn.saving import load as load
    from bitlearn.saving import save as save
    from bitlearn.threads import get_num_threads as get_num_threads
    from bitlearn.threads import set_num_threads as set_num_threads

_FUNCTIONS = {
    "Bits": "bits",
    "PackedWeights": "ops.weights",
    "Quantized": "ops.quantized",
    "conv2d_grad_input": "ops.conv_gradients",
    "conv2d_grad_weight": "ops.conv_gradients",
    "from_packbits": "ops.packing",
    "from_packing": "ops.packings",
    "get_num_threads": "threads",
    "grad_input": "ops.gradients",
    "grad_weight": "ops.gradients",
    "hamming": "ops.matmul",
    "load": "saving",
    "nearest": "ops.nearest",
    "pack": "ops.packing",
    "pack_weights": "ops.weights",
    "popcount": "ops.packing",
    "quantize": "ops.quantize",
    "save": "saving",
    "set_num_threads": "threads",
    "show_config": "config",
    "to_packbits": "ops.packing",
    "to_packing": "ops.packings",
    "transpose_bits": "ops.packing",
    "unpack": "ops.packing",
    "use_backend": "ops.dispatch",
    "which": "ops.dispatch",
    "xnor_conv2d": "ops.conv",
    "xnor_conv2d_sign": "ops.conv",
    "xnor_matmul": "ops.matmul",
    "xnor_matmul_sign": "ops.matmul",
}
_SUBPACKAGES = (
    *("continual", "datasets", "energy", "export", "memory", "models"),
    *("nn", "optim", "precision", "program", "training"),
)

__all__ = ["__version__", *_FUNCTIONS, *_SUBPACKAGES]


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562), so that ``import bitlearn`` costs next to nothing."""
    if name in _FUNCTIONS:
        value = getattr(importlib.import_module(f"bitlearn.{_FUNCTIONS[name]}"), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"bitlearn.{name}")
    elif name == "__version__":
        from bitlearn.version import VERSION

        value = VERSION
    else:
        raise AttributeError(f"module 'bitlearn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
