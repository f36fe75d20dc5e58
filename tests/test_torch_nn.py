"""Layers, whole networks and optimisers under the policy `standard` against PyTorch, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import bits, bound, passes, sums
from test_nn_step import disturbed, network

import bitlearn as bl
from bitlearn.nn import (
    AveragePool2d,
    BatchNorm,
    BatchNormSign,
    BinaryConv2d,
    BinaryLinear,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sign,
    Spec,
)
from bitlearn.precision import policy

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[test-all]")
functional = torch.nn.functional


class Clipped(torch.autograd.Function):
    """sign(x) with sign(0) = +1; the gradient passes where |x| is at most the clip."""

    @staticmethod
    def forward(ctx, x, clip):
        ctx.save_for_backward(x)
        ctx.clip = clip
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= ctx.clip), None


def approximate(x):
    """Return sign(x) with the gradient of a piecewise quadratic (arXiv 1808.00278), which autograd itself finds."""
    inside = torch.where(x < 0, 2 * x + x * x, 2 * x - x * x)
    curve = torch.where(x.abs() < 1, inside, 0 * x)
    return curve + (torch.where(x >= 0, 1.0, -1.0) - curve).detach()


def their_norm(x, layer, bias):
    """Batch norm over all but the last axis."""
    axes = tuple(range(x.ndim - 1))
    centred = x * layer.spec.unit
    centred = centred - centred.mean(dim=axes)
    if (layer.norm or layer.precision.norm) == "l1":
        # Not `abs`, whose derivative at 0 is 0: that of a value on the mean counts as +1 here.
        return centred / (centred * torch.where(centred >= 0, 1.0, -1.0)).mean(dim=axes) + bias
    return centred / torch.sqrt((centred**2).mean(dim=axes)) + bias


def binary(weight, layer):
    """The signs of latent weights, times the mean magnitude of each row, through which no gradient flows."""
    signs = Clipped.apply(weight, 1.0)
    return (
        signs * weight.abs().flatten(1).mean(1).reshape(-1, *[1] * (weight.ndim - 1)).detach()
        if layer.scaled
        else signs
    )


def their_conv(x, kernels, layer, pad_value=0):
    """NHWC, padded by hand: TensorFlow's "same" is not PyTorch's where windows are apart."""
    (top, left), (height, width) = layer.windows.padding, layer.windows.out_size
    (sh, sw), (kh, kw) = layer.windows.stride, layer.kernel
    bottom = max((height - 1) * sh + kh - top - x.shape[1], 0)
    right = max((width - 1) * sw + kw - left - x.shape[2], 0)
    x = functional.pad(x, (0, 0, left, right, top, bottom), value=float(pad_value))
    y = functional.conv2d(x.permute(0, 3, 1, 2), kernels.permute(0, 3, 1, 2), stride=(sh, sw)).permute(0, 2, 3, 1)
    return y[:, :height, :width]


def theirs(layer: Layer, parameters: dict, x, path: str = ""):
    """Return what a layer makes of a tensor of plain values, by PyTorch alone."""

    def below(name: str) -> str:
        return f"{path}.{name}" if path else name

    match layer:
        case Residual():
            return theirs(layer.main, parameters, x, below("main")) + theirs(
                layer.shortcut, parameters, x, below("shortcut")
            )
        case Sequential():
            for name, each in layer.layers.items():
                x = theirs(each, parameters, x, below(name))
            return x
        case Flatten():
            return x.reshape(len(x), -1)
        case MaxPool2d():
            x = x.permute(0, 3, 1, 2)
            return functional.max_pool2d(x, layer.window, layer.stride, ceil_mode=layer.ceil_mode).permute(0, 2, 3, 1)
        case AveragePool2d():
            maps = functional.avg_pool2d(x.permute(0, 3, 1, 2), layer.window or x.shape[1:3]).permute(0, 2, 3, 1)
            return maps if layer.window else maps.flatten(1)
        case ReLU():
            return functional.relu(x)
        case Sign():
            return approximate(x) if layer.estimator == "approximate" else Clipped.apply(x, layer.clip)
        case BatchNorm():
            return their_norm(x, layer, parameters[below("bias")])
        case BatchNormSign():
            return Clipped.apply(their_norm(x, layer, parameters[below("bias")]), 1.0)
        case BinaryLinear():
            unit = layer.spec.unit if layer.scaled else 1.0
            return unit * x @ binary(parameters[below("weight")], layer).T
        case Linear():
            return x @ parameters[below("weight")].T
        case BinaryConv2d():
            unit = layer.spec.unit if layer.scaled else 1.0
            return unit * their_conv(x, binary(parameters[below("weight")], layer), layer, layer.pad_value)
        case Conv2d():
            return layer.spec.unit * their_conv(x, parameters[below("weight")], layer)
    raise AssertionError(f"no form of {layer!r} in PyTorch")


def tensors(arrays: dict[str, np.ndarray]) -> dict:
    return {name: torch.tensor(array.astype(np.float64), requires_grad=True) for name, array in arrays.items()}


#: layers, and what flows in
LAYERS = {
    "linear": ([BinaryLinear(65)], Spec.bits((70,))),
    "linear of codes": ([BinaryLinear(65)], Spec.codes((70,))),
    "head": ([Linear(5)], Spec.bits((70,))),
    "conv": ([BinaryConv2d(5)], Spec.bits((6, 5, 66))),
    "conv apart": ([BinaryConv2d(5, stride=(2, 3))], Spec.bits((6, 7, 3))),
    "conv padded by +1": ([BinaryConv2d(5, padding=(1, 2), pad_value=1)], Spec.bits((6, 5, 3))),
    "conv padded by -1": ([BinaryConv2d(5, kernel=(2, 3), padding="same", pad_value=-1)], Spec.bits((6, 5, 3))),
    "conv without padding": ([BinaryConv2d(5, kernel=(3, 2), padding=0)], Spec.bits((6, 5, 3))),
    "conv of codes": ([BinaryConv2d(5)], Spec.codes((6, 5, 3))),
    "conv of codes apart": ([BinaryConv2d(5, kernel=(2, 3), stride=2, padding=1)], Spec.codes((6, 5, 3))),
    "pool of sums": ([MaxPool2d(2)], sums((6, 5, 65))),
    "pool of sums that overlaps": ([MaxPool2d(3, 1)], sums((6, 5, 65))),
    "pool of bits": ([MaxPool2d(2)], Spec.bits((6, 5, 65))),
    "pool of bits that overlaps": ([MaxPool2d(3, 2)], Spec.bits((7, 5, 65))),
    "norm l1": ([BatchNorm(norm="l1")], sums((3, 65))),
    "norm l2": ([BatchNorm(norm="l2")], sums((3, 65), unit=1 / 128)),
    "norm and sign l1": ([BatchNormSign(norm="l1")], sums((65,), unit=1 / 128)),
    "norm and sign l2": ([BatchNormSign(norm="l2")], sums((65,))),
    "sign": ([Sign()], Spec.real((3, 65))),
    "sign with a clip": ([Sign(clip=0.4)], Spec.real((3, 65))),
    "approximate sign": ([Sign("approximate")], Spec.real((65,))),
    "flatten": ([Flatten()], Spec.bits((3, 2, 5))),
    "flatten between": ([BinaryConv2d(5), BatchNormSign(), Flatten(), BinaryLinear(9)], Spec.bits((4, 3, 7))),
    "shortcut": ([Residual([Sign(), BinaryLinear(65), BatchNorm()])], Spec.real((65,))),
    "approximate shortcut": ([Residual([Sign("approximate"), BinaryLinear(65), BatchNorm()])], Spec.real((65,))),
    "shortcut with layers": (
        [
            Residual(
                [Sign(), BinaryLinear(9), BatchNorm()], [Sign("approximate"), BinaryLinear(9), BatchNorm(norm="l1")]
            )
        ],
        Spec.real((65,)),
    ),
    "shortcuts in a row": (
        [Residual([Sign(), BinaryLinear(65), BatchNorm()]), Residual([Sign(), BinaryLinear(65), BatchNorm()]), Sign()],
        Spec.real((65,)),
    ),
    "head of real values": ([Linear(5)], Spec.real((70,))),
    "scaled linear": ([BinaryLinear(65, scaled=True)], Spec.bits((70,))),
    "scaled linear of codes": ([BinaryLinear(65, scaled=True)], Spec.codes((70,))),
    "scaled conv": ([BinaryConv2d(5, stride=2, scaled=True)], Spec.bits((6, 8, 66))),
    "scaled conv of codes": ([BinaryConv2d(5, scaled=True)], Spec.codes((6, 5, 3))),
    "real conv": ([Conv2d(5, kernel=(3, 2), stride=2)], Spec.codes((6, 7, 3))),
    "real conv of real values": ([Conv2d(5, kernel=(1, 1))], Spec.real((3, 4, 65))),
    "real conv of real maps": ([Conv2d(5)], Spec.real((6, 5, 7))),
    "real conv of real maps apart": ([Conv2d(5, kernel=(3, 2), stride=(2, 3))], Spec.real((7, 8, 3))),
    "real conv of real maps padded": ([Conv2d(5, kernel=(2, 3), stride=2, padding=(1, 2))], Spec.real((6, 5, 4))),
    "real conv of real maps far past the edge": ([Conv2d(3, kernel=(2, 1), padding=(3, 2))], Spec.real((4, 5, 6))),
    "average": ([AveragePool2d(2)], Spec.real((6, 5, 65))),
    "average of a map": ([AveragePool2d()], Spec.real((3, 5, 65))),
    "relu": ([ReLU()], Spec.real((3, 65))),
    "pool of real values": ([MaxPool2d(2)], Spec.real((6, 5, 65))),
    "pool of real values with cut windows": ([MaxPool2d(3, 2, ceil_mode=True)], Spec.real((6, 8, 5))),
    "pool of bits with cut windows": ([MaxPool2d(2, ceil_mode=True)], Spec.bits((5, 7, 65))),
    "norm l1 of real values": ([BatchNorm(norm="l1")], Spec.real((3, 65))),
    "norm l2 of real values": ([BatchNorm(norm="l2")], Spec.real((65,))),
    "sign, pool": ([Sign(), MaxPool2d(2), BinaryConv2d(3)], Spec.real((6, 4, 5))),
}


def values(spec: Spec, rng, rows: int = 11):
    """Return a batch as plain numbers, and as it flows."""
    shape = (rows, *spec.shape)
    if spec.kind == "bits":
        plain = np.where(rng.normal(size=shape) >= 0, 1, -1)
        return plain, bits(plain)
    if spec.kind == "real":
        plain = rng.normal(size=shape).astype(np.float32)
        return plain, plain
    limit = 128 if spec.kind == "codes" else 300
    plain = rng.integers(-limit, limit, size=shape).astype(spec.dtype)
    return plain, plain


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer(name, rng):
    layers, spec = LAYERS[name]
    layer = bound(Sequential(layers), spec)
    for _, leaf in layer.leaves():
        for key, array in leaf.parameters().items():
            scale = 0.5 if key == "bias" else 0.8
            array[...] = rng.normal(scale=scale, size=array.shape)
    plain, x = values(spec, rng)
    parameters = tensors({f"{path}.{key}": a for path, leaf in layer.leaves() for key, a in leaf.parameters().items()})
    # Of several largest values the first one wins: a little less for each later one says so to PyTorch.
    fed = plain - 1e-9 * np.arange(plain[0].size).reshape(plain[0].shape) if name.startswith("pool") else plain
    real_input = torch.tensor(fed.astype(np.float64), requires_grad=True)
    expected = theirs(layer, parameters, real_input)
    g = rng.normal(size=(len(plain), *layer.output.shape)).astype(np.float32)
    (expected * torch.tensor(g.astype(np.float64))).sum().backward()

    found = passes(layer, x, g, wanted=spec.kind != "codes")
    y = bl.unpack(found.y.words, found.y.n) if isinstance(found.y, bl.Bits) else found.y
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert found.parameters.keys() == parameters.keys()
    unit = spec.unit if spec.kind == "codes" and layer.output.kind == "sums" else 1.0
    for key, each in found.parameters.items():
        theirs_now = parameters[key].grad.numpy() * unit
        leaf_path, _, parameter = key.rpartition(".")
        leaf = dict(layer.leaves())[leaf_path]
        ours = each.real(leaf.parameters()[parameter])
        np.testing.assert_allclose(ours, theirs_now, rtol=1e-3, atol=1e-5 * np.abs(theirs_now).max(), err_msg=key)
        assert np.abs(theirs_now).max() > 0
    if spec.kind == "codes":
        assert found.dx is None
        return
    # The gradient of sums is in units of the real input.
    input_gradient = real_input.grad.numpy() / (spec.unit if spec.kind == "sums" else 1.0)
    np.testing.assert_allclose(found.dx, input_gradient, rtol=1e-3, atol=1e-5 * np.abs(input_gradient).max())


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("name", ["mlp", "real", "cnv", "binarynet", "residual", "resnete18", "birealnet18"])
def test_losses_and_every_gradient(name, norm, rng):
    model = disturbed(network(name, "standard", norm), rng)
    codes = rng.integers(-128, 128, size=(13, 8, 8, 3)).astype(np.int8)
    labels = rng.integers(0, 5, size=13)
    scores = passes(model.root, codes).y
    loss, grad = bl.nn.softmax_cross_entropy(scores, labels)
    grads = passes(model.root, codes, grad, wanted=False).parameters

    parameters = tensors(model.parameters())
    expected = theirs(model.root, parameters, torch.tensor(codes.astype(np.float64)))
    their_loss = functional.cross_entropy(expected, torch.tensor(labels))
    their_loss.backward()

    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-4, atol=1e-4)
    assert loss == pytest.approx(their_loss.item(), rel=1e-5)
    assert grads.keys() == parameters.keys()
    for key, each in grads.items():
        wanted = parameters[key].grad.numpy()
        assert np.abs(wanted).max() > 0
        found = each.real(model.parameters()[key])
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max(), err_msg=key)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_optimizers(name, rng):
    ours = {"w": rng.normal(size=(7, 70)).astype(np.float32), "bias": rng.normal(size=9).astype(np.float32)}
    theirs = {key: torch.tensor(array.copy(), requires_grad=True) for key, array in ours.items()}
    if name == "sgd":
        rule, optimizer = bl.optim.sgd(0.05, 0.9), torch.optim.SGD(theirs.values(), lr=0.05, momentum=0.9)
    else:
        # As the published algorithm, and PyTorch: epsilon is added to the corrected root.
        rule = bl.optim.adam(0.01, 0.8, 0.95, epsilon=0.1)
        optimizer = torch.optim.Adam(theirs.values(), lr=0.01, betas=(0.8, 0.95), eps=0.1)
    state = rule.init(ours, policy("standard"), set())
    for _ in range(20):
        grads = {key: rng.normal(size=array.shape).astype(np.float32) for key, array in ours.items()}
        for key, tensor in theirs.items():
            tensor.grad = torch.tensor(grads[key])
        optimizer.step()
        rule.update(ours, grads, state, rule.learning_rate)
        for key, tensor in theirs.items():
            np.testing.assert_allclose(ours[key], tensor.detach().numpy(), rtol=1e-5, atol=1e-6)
