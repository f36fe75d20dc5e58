"""Where a network may be cut for latent replay, and which codecs can store the values there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.continual.codecs import (
    ByteBits,
    EightBit,
    Float,
    FloatBits,
    LatentCodec,
    PackedBits,
    ScaledSign,
    Sign,
)
from bitlearn.errors import by_name
from bitlearn.nn.model import Model
from bitlearn.nn.spec import Spec

#: The codecs by name, for a cut after a sign and for one with real values; the fewest bytes first.
CODECS: dict[str, dict[str, type[LatentCodec]]] = {
    "bits": {each.name: each for each in (PackedBits, ByteBits, FloatBits)},
    "real": {each.name: each for each in (Sign, ScaledSign, EightBit, Float)},
}


def latent_codec(spec: Spec, name: str | None = None) -> LatentCodec:
    """Return a codec for values at a cut.

    Parameters
    ----------
    spec : Spec
        The type of the values: bits or real.
    name : str, optional
        For bits ``"bits"`` (one bit per value, the default), ``"8-bit"`` or ``"float"``, all lossless. For real values
        ``"sign"``, ``"scaled-sign"`` (the default), ``"8-bit"`` or ``"float"``.

    Returns
    -------
    LatentCodec

    Raises
    ------
    ValueError
        If the values are neither, or there is no such codec for them.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bits, real = bl.nn.Spec.bits((4, 4, 512)), bl.nn.Spec.real((4, 4, 512))
    >>> [latent_codec(bits, name).nbytes for name in ("bits", "8-bit", "float")]
    [1024, 8192, 32768]
    >>> [latent_codec(real, name).nbytes for name in ("sign", "scaled-sign", "8-bit", "float")]
    [1024, 1024, 8192, 32768]
    """
    if spec.kind not in CODECS:
        raise ValueError(f"values at a cut must be bits or real, got {spec}")
    default = "bits" if spec.kind == "bits" else "scaled-sign"
    return by_name("codec", default if name is None else name, CODECS[spec.kind])(spec)


@dataclass(frozen=True)
class Cut:
    """A position where a network may be cut.

    Parameters
    ----------
    name : str
        The last layer of the lower network, which `Model.split` takes.
    spec : Spec
        The type of the values there.
    nbytes : dict of str to int
        The bytes per example, without its label, by the name of each codec.
    """

    name: str
    spec: Spec
    nbytes: dict[str, int]


def cuts(model: Model) -> dict[str, Cut]:
    """Return where a network may be cut for latent replay: where values are bits or real and trainable layers follow.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to Cut
        By the name of the layer, in order.

    Examples
    --------
    >>> import bitlearn as bl
    >>> [(cut.name, cut.nbytes["bits"]) for cut in cuts(bl.models.mlp((4,), 2, hidden=(100, 8), head="real")).values()]
    [('sign1', 16), ('sign2', 8)]
    >>> cuts(bl.models.birealnet18((16, 16, 3), 10, width=64, blocks=(1, 1)))["residual2"].nbytes
    {'sign': 1024, 'scaled-sign': 1024, '8-bit': 8192, 'float': 32768}
    """
    layers = dict(getattr(model.root, "layers", {}))
    learning = [name for name, layer in layers.items() if any(leaf.parameters() for _, leaf in layer.leaves())]
    last = list(layers).index(learning[-1]) if learning else 0
    return {
        name: Cut(
            name, layer.output, {each: kind(layer.output).nbytes for each, kind in CODECS[layer.output.kind].items()}
        )
        for name, layer in list(layers.items())[:last]
        if layer.output.kind in CODECS
    }


def default_cut(model: Model, wanted: str | None, latents: str | None = None) -> str:
    """Return the layer to cut after.

    Parameters
    ----------
    model : Model
    wanted : str or None
        One of `bitlearn.continual.cuts`; by default the first one where an example takes no more bytes than its codes,
        or else the one with the fewest. Packed bits are preferred to real values.
    latents : str, optional
        The codec, as `bitlearn.continual.latent_codec` takes it.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    found = cuts(model)
    if wanted is not None:
        if wanted not in found:
            raise ValueError(
                f"cut must be a layer whose output is packed bits or real values, with trainable layers after, one of "
                f"{', '.join(found) or 'none'}, got {wanted!r}"
            )
        return wanted
    packed = {name: cut for name, cut in found.items() if cut.spec.kind == "bits"}
    sizes = {name: latent_codec(cut.spec, latents).nbytes for name, cut in (packed or found).items()}
    if not sizes:
        raise ValueError(f"latent-replay must have a model that can be cut, got the layers {', '.join(model.names)}")
    codes = int(np.prod(model.input_shape))
    return next((name for name, size in sizes.items() if size <= codes), min(sizes, key=sizes.__getitem__))
