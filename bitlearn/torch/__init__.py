"""Binary layers for PyTorch: operators, layers, and a converter for networks that emulate binary arithmetic in floats.

The operators are ``torch.ops.bitlearn``; see `bitlearn.torch.ops`. It needs PyTorch 2.6 or newer.
"""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("bitlearn.torch needs PyTorch: pip install 'bitlearn-xnor[torch]'") from error

from bitlearn.torch import ops
from bitlearn.torch.conversion import convert
from bitlearn.torch.layers import BitConv2d, BitLinear

__all__ = ["BitConv2d", "BitLinear", "convert", "ops"]
