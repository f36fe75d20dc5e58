"""The precision policies, as data: which variable of a training step is kept in which type.

A layer or an optimiser asks its policy and has no branch of its own for a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Precision:
    """What each variable of a training step is kept as.

    Parameters
    ----------
    name : str
    norm : {"l1", "l2"}
        The batch norm that the published networks use under this policy.
    gradient_bits : int or None
        The width to which a gradient is quantized before a product; None leaves it in float32.
    sign_weight_gradient : bool
        Keep only the sign of each weight's gradient, one bit a weight.
    latent : dtype
        The type of the latent weights.
    statistics : dtype
        The type of the batch norm's spread and mean magnitude, kept from the forward to the backward pass.
    moments : dtype
        The type of the optimiser's moments of weights that are binarised; those of other parameters are float32.
    shift : dtype
        The type of the batch norm's shift.
    """

    name: str
    norm: Literal["l1", "l2"]
    gradient_bits: int | None
    sign_weight_gradient: bool
    latent: np.dtype
    statistics: np.dtype
    moments: np.dtype
    shift: np.dtype

    @property
    def integer(self) -> bool:
        """Whether gradients are quantized and sums are exact integers (every policy but ``standard``)."""
        return self.gradient_bits is not None

    def moments_of(self, binary: bool) -> np.dtype:
        """Return the type of the moments of a parameter that is binarised, or of another."""
        return self.moments if binary else _FLOAT32


_FLOAT32, _FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)

POLICIES = {
    policy.name: policy
    for policy in (
        Precision(
            name="standard",
            norm="l2",
            gradient_bits=None,
            sign_weight_gradient=False,
            latent=_FLOAT32,
            statistics=_FLOAT32,
            moments=_FLOAT32,
            shift=_FLOAT32,
        ),
        Precision(
            name="int8",
            norm="l2",
            gradient_bits=8,
            sign_weight_gradient=False,
            latent=_FLOAT32,
            statistics=_FLOAT32,
            moments=_FLOAT32,
            shift=_FLOAT32,
        ),
        # arXiv 2102.04270. A weight's gradient is -1, 0 or +1 for Adam, so its moments hold in float16, as published:
        # the mean of the squares stops at 0.76 on its way to 1, where a step of 0.001 is half of the last place. The
        # shifts' moments are float32: squares of small gradients are below the smallest float16.
        Precision(
            name="low-memory",
            norm="l1",
            gradient_bits=16,
            sign_weight_gradient=True,
            latent=_FLOAT16,
            statistics=_FLOAT16,
            moments=_FLOAT16,
            shift=_FLOAT32,
        ),
    )
}
#: Names of the contract that a later version brings.
PLANNED = ("low-memory-5bit",)


def policy(name: str | Precision) -> Precision:
    """Return the policy of that name (a policy is returned as it is).

    Parameters
    ----------
    name : str or Precision

    Returns
    -------
    Precision

    Raises
    ------
    ValueError
        Where there is none.

    Examples
    --------
    >>> policy("low-memory").gradient_bits
    16
    """
    if isinstance(name, Precision):
        return name
    if name in PLANNED:
        raise ValueError(f"precision {name!r} is not built yet; there are {', '.join(POLICIES)}")
    if name not in POLICIES:
        raise ValueError(f"precision must be one of {', '.join(POLICIES)}, got {name!r}")
    return POLICIES[name]
