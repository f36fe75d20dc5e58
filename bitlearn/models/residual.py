"""The published networks with shortcuts of real values round their binary convolutions."""

from __future__ import annotations

from collections.abc import Callable

from bitlearn import nn
from bitlearn.precision import Precision

#: What the sides of images are multiples of, with four stages: behind the 3x3 stem, and behind that of ImageNet.
_SIDES = {"3x3": 8, "7x7": 32}
#: From this height on, images get the stem of ImageNet: 7x7, and a pool.
_LARGE = 64


def padded_side(shape: tuple[int, ...]) -> int | None:
    """Return the side to which images (height, width, channels) are padded for `resnete18` and `birealnet18`.

    None where both sides can be halved as often as they have to be.

    Examples
    --------
    >>> padded_side((28, 28, 1)), padded_side((100, 64, 3)), padded_side((32, 32, 3))
    (32, 128, None)
    """
    sides = _SIDES["7x7" if max(shape[:2]) >= _LARGE else "3x3"]
    return -(-max(shape[:2]) // sides) * sides if any(side % sides for side in shape[:2]) else None


def _residual(
    input_shape: tuple[int, ...],
    classes: int,
    width: int,
    blocks: tuple[int, ...],
    stem: str | None,
    *,
    sign: Callable[[], nn.Layer],
    scaled: bool,
    rectified: bool,
    head: str,
    precision: str | Precision,
    seed: int,
) -> nn.Model:
    """Stack a real stem, blocks with a shortcut round each binary convolution, and a real head on the maps' means."""
    if head != "real":
        raise ValueError(f"head must be 'real' after a residual network, got {head!r}")
    if not blocks or min(blocks) < 1:
        raise ValueError(f"blocks must name at least one block per stage, got {blocks}")
    stem = stem or ("7x7" if input_shape[0] >= _LARGE else "3x3")
    if stem not in ("7x7", "3x3"):
        raise ValueError(f"stem must be '7x7' or '3x3', got {stem!r}")
    side = (4 if stem == "7x7" else 1) * 2 ** (len(blocks) - 1)
    if len(input_shape) != 3 or min(input_shape) < 1 or input_shape[0] % side or input_shape[1] % side:
        raise ValueError(
            f"input_shape must be (height, width, channels) with sides that are multiples of {side} for a {stem} stem "
            f"and {len(blocks)} stages, got {input_shape}"
        )
    relu: list[nn.Layer] = [nn.ReLU()] if rectified else []
    if stem == "7x7":
        layers = [nn.Conv2d(width, kernel=(7, 7), stride=2), nn.BatchNorm(), *relu, nn.MaxPool2d(3, 2, ceil_mode=True)]
        layers += [nn.BatchNorm()] if rectified else []
    else:
        layers = [nn.Conv2d(width), nn.BatchNorm()]
    for stage, count in enumerate(blocks):
        filters = width * 2**stage
        for block in range(count):
            halved = stage > 0 and block == 0
            binary = nn.BinaryConv2d(filters, stride=2 if halved else 1, scaled=scaled)
            shortcut = [nn.AveragePool2d(2), nn.Conv2d(filters, kernel=(1, 1)), nn.BatchNorm()] if halved else None
            layers.append(nn.Residual([sign(), binary, nn.BatchNorm()], shortcut))
    return nn.Model(
        [*layers, *([nn.ReLU()] if rectified else []), nn.AveragePool2d(), nn.Linear(classes)],
        tuple(input_shape),
        precision=precision,
        seed=seed,
    )


def resnete18(
    input_shape: tuple[int, ...] = (224, 224, 3),
    classes: int = 1000,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = (4, 4, 4, 4),
    stem: str | None = None,
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return ResNetE-18 (arXiv 1906.08637): a shortcut of real values around each of 16 binary 3×3 convolutions.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of int8 codes. The sides must be multiples of 32, or of 8 with the small stem.
    classes : int
    width : int
        Channels of the first stage; each of the next ones has twice as many, on maps of half the size.
    blocks : tuple of int
        Binary convolutions of each stage.
    stem : {"7x7", "3x3"}, optional
        A real convolution: 7×7 with stride 2, batch norm, ReLU, a pool and another batch norm, as for ImageNet, the
        default from a height of 64 up; or 3×3 with a batch norm, as for CIFAR.
    head : {"real"}
    precision, seed
        As `mlp`.

    Returns
    -------
    Model
        ``conv1, norm1, relu1, pool1, norm2, residual1, ... residual16, relu2, average1, head1``.

    Raises
    ------
    ValueError
        As `mlp`; also if the sides of the images cannot be halved as often as necessary.

    Notes
    -----
    A block is a sign (whose gradient passes up to a magnitude of 1.25), a binary convolution and a batch norm. At the
    start of a stage the convolution has stride 2, and the shortcut a 2×2 average pool, a real 1×1 convolution and a
    batch norm. Batch norms have no gain, as in all networks here, and the head has no bias. With SGD, set a learning
    rate: its default of 10 under ``standard``, ``int8`` and ``int4`` is meant for binary weights, and too large for
    real ones.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.resnete18((16, 16, 3), 10, width=8, blocks=(1, 1))
    >>> model.names[:5], model.names[-3:]
    (['conv1', 'norm1', 'residual1.main.sign1', 'residual1.main.conv1', 'residual1.main.norm1'],
     ['relu1', 'average1', 'head1'])
    """
    return _residual(
        input_shape,
        classes,
        width,
        blocks,
        stem,
        sign=lambda: nn.Sign(clip=1.25),
        scaled=False,
        rectified=True,
        head=head,
        precision=precision,
        seed=seed,
    )


def birealnet18(
    input_shape: tuple[int, ...] = (224, 224, 3),
    classes: int = 1000,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = (4, 4, 4, 4),
    stem: str | None = None,
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return Bi-Real Net 18 (arXiv 1808.00278): as `resnete18`, with an approximate sign and scaled binary weights.

    Parameters
    ----------
    input_shape, classes, width, blocks, stem, head, precision, seed
        As `resnete18`.

    Returns
    -------
    Model
        ``conv1, norm1, pool1, residual1, ... residual16, average1, head1``: no ReLU.

    Raises
    ------
    ValueError
        As `resnete18`.

    Notes
    -----
    The gradient of a sign is that of a piecewise quadratic, and a kernel's scale is the mean magnitude of its latent
    weights. The batch norm after it cancels that scale in the values and in the gradient, up to rounding: it changes
    only the running statistics.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.birealnet18((16, 16, 3), 10, width=8, blocks=(1, 1)).output_shape
    (10,)
    """
    return _residual(
        input_shape,
        classes,
        width,
        blocks,
        stem,
        sign=lambda: nn.Sign("approximate"),
        scaled=True,
        rectified=False,
        head=head,
        precision=precision,
        seed=seed,
    )
