"""The published networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitlearn import nn
from bitlearn.errors import by_name
from bitlearn.models import residual as residual
from bitlearn.models.competing import competing_cnv as competing_cnv
from bitlearn.models.competing import competing_mlp as competing_mlp
from bitlearn.models.competing import subnetwork_cnv as subnetwork_cnv
from bitlearn.models.competing import subnetwork_mlp as subnetwork_mlp
from bitlearn.models.residual import birealnet18 as birealnet18
from bitlearn.models.residual import resnete18 as resnete18
from bitlearn.models.sequential import IMAGE_SIZE as IMAGE_SIZE
from bitlearn.models.sequential import binarynet as binarynet
from bitlearn.models.sequential import cnv as cnv
from bitlearn.models.sequential import mlp as mlp
from bitlearn.models.sequential import relu_mlp as relu_mlp

MODELS: dict[str, Callable[..., nn.Model]] = {
    "mlp": mlp,
    "cnv": cnv,
    "binarynet": binarynet,
    "resnete18": resnete18,
    "birealnet18": birealnet18,
    "relu-mlp": relu_mlp,
    "competing-mlp": competing_mlp,
    "competing-cnv": competing_cnv,
    "subnetwork-mlp": subnetwork_mlp,
    "subnetwork-cnv": subnetwork_cnv,
}


def image_size(name: str, shape: tuple[int, ...]) -> int | None:
    """Return the side to which examples of a shape are padded for a network; None if it takes them unchanged.

    Parameters
    ----------
    name : str
        As for `build`.
    shape : tuple of int
        Of one example.

    Returns
    -------
    int or None

    Examples
    --------
    >>> image_size("cnv", (28, 28, 1)), image_size("cnv", (64, 48, 3)), image_size("mlp", (28, 28, 1))
    (32, None, None)
    """
    if name in ("cnv", "binarynet"):
        if len(shape) != 3 or max(shape[:2]) <= IMAGE_SIZE:
            return IMAGE_SIZE
        return max(shape[:2]) if min(shape[:2]) < IMAGE_SIZE else None
    return residual.padded_side(shape) if name in ("resnete18", "birealnet18") and len(shape) == 3 else None


def build(name: str, input_shape: tuple[int, ...] | nn.Spec, classes: int, **options: Any) -> nn.Model:
    """Return a network by its name.

    Parameters
    ----------
    name : str
        One of `MODELS`: "mlp", "cnv", "binarynet", "resnete18", "birealnet18", "relu-mlp", "competing-mlp",
        "competing-cnv", "subnetwork-mlp" or "subnetwork-cnv".
    input_shape : tuple of int or Spec
        The shape of one example of int8 codes; for ``mlp`` also the type of the input.
    classes : int
    **options
        As for the function of that name.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> build("mlp", (4,), 2, hidden=(8,)).output_shape
    (2,)
    """
    return by_name("model", name, MODELS)(input_shape, classes, **options)
