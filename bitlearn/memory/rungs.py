"""The ablation of arXiv 2102.04270: how much each change of types saves, according to its memory model."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn import optim
from bitlearn.errors import by_name
from bitlearn.memory.paper import layout
from bitlearn.nn.layer import whole

#: The bits of X, of dX, Y and dY each, of W, of dW, of the moments, of pool masks and of beta on each rung.
_RUNGS = {
    "all float32": (32, 32, 32, 32, 32, 32, 32),
    "float32, X and masks as bits": (1, 32, 32, 32, 32, 1, 32),
    "all float16": (16, 16, 16, 16, 16, 16, 16),
    "float16, dW as bits": (16, 16, 16, 1, 16, 16, 16),
    "low-memory": (1, 16, 16, 1, 16, 1, 16),
    "low-memory, moments in 8 bits": (1, 16, 16, 1, 8, 1, 16),
    "low-memory, moments and dX, Y, dY in 8 bits": (1, 8, 16, 1, 8, 1, 16),
}


@dataclass(frozen=True)
class Rung:
    """A choice of types, its bytes according to the published model, and the ratio of float32's bytes to them.

    Parameters
    ----------
    name : str
    bytes : int
    ratio : float
    """

    name: str
    bytes: int
    ratio: float


def ladder(model_name: str, batch_size: int = 100, optimizer: str = "adam") -> list[Rung]:
    """Return the rungs from float32 down to the published method, and two further ones of this library.

    Parameters
    ----------
    model_name : {"mlp", "cnv", "binarynet"}
    batch_size : int
        At least 1.
    optimizer : {"adam", "sgd", "bop"}

    Returns
    -------
    list of Rung

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, or that of a network with real layers, or `batch_size` is no such number.

    Notes
    -----
    This is the model of the final version, with the masks of all max pools on every rung. So for ``cnv`` these are not
    the published totals, which count masks differently, but consistent ones. The two 8-bit rungs do not count the
    scales, 4 bytes per 256 moments.

    Examples
    --------
    >>> [(rung.name, round(rung.bytes / 2**20, 2)) for rung in ladder("binarynet")[::4]]
    [('all float32', 512.81), ('low-memory', 138.13)]
    """
    batch_size = whole("batch_size", batch_size)
    rule: optim.Optimizer = by_name("optimizer", optimizer, optim.OPTIMIZERS)()
    found = layout(model_name)
    if found.real_weights:
        raise ValueError(f"model_name must be mlp, cnv or binarynet, whose weights are all binary, got {model_name!r}")
    latent = 0 if isinstance(rule, optim.Bop) else 1
    rungs: list[Rung] = []
    for name, (x, moving, w, dw, moment, mask, beta) in _RUNGS.items():
        bits = batch_size * (found.inputs * x + 2 * found.largest * moving + found.pooled * mask)
        bits += found.weights * (latent * w + dw + len(rule.moments) * moment) + found.channels * beta
        nbytes = -(-bits // 8)
        rungs.append(Rung(name, nbytes, (rungs[0].bytes if rungs else nbytes) / nbytes))
    return rungs
