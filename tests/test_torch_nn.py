"""Whole networks and optimisers under the policy `standard` against PyTorch, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from test_nn_step import INPUT_SCALE, disturbed, network

import bitlearn as bl
from bitlearn.precision import policy

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn[test-all]")
functional = torch.nn.functional


class SignSTE(torch.autograd.Function):
    """sign(x) with sign(0) = +1; the gradient passes where |x| <= 1."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


def their_norm(x, layer, shift):
    """Batch norm over all but the last axis."""
    axes = tuple(range(x.ndim - 1))
    real = x * layer.input_scale
    centred = real - real.mean(dim=axes)
    if layer.norm == "l1":
        return centred / centred.abs().mean(dim=axes) + shift
    return centred / torch.sqrt((centred**2).mean(dim=axes) + 1e-5) + shift


def their_conv(x, weight, layer):
    """NHWC; a first layer pads with code 0, the others with 0 as well."""
    padding = "same" if layer.padding == "same" else layer.padding
    kernels = SignSTE.apply(weight).permute(0, 3, 1, 2)
    return functional.conv2d(x.permute(0, 3, 1, 2), kernels, padding=padding).permute(0, 2, 3, 1)


def their_scores(model, parameters, codes):
    x = torch.tensor(codes.astype(np.float64))
    for name, layer in model.items():
        weight, shift = parameters.get(f"{name}.weight"), parameters.get(f"{name}.shift")
        kind = type(layer).__name__
        if kind == "Flatten":
            x = x.reshape(len(x), -1)
        elif kind in ("InputLinear", "BinaryLinear"):
            x = x @ SignSTE.apply(weight).T
        elif kind == "Linear":
            x = x @ weight.T
        elif kind in ("InputConv2d", "BinaryConv2d"):
            x = their_conv(x, weight, layer)
        elif kind == "MaxPool2d":
            x = functional.max_pool2d(x.permute(0, 3, 1, 2), layer.window, layer.stride).permute(0, 2, 3, 1)
        else:
            x = their_norm(x, layer, shift)
            if kind == "BatchNormSign":
                x = SignSTE.apply(x)
    return x


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("name", ["mlp", "real", "cnv", "binarynet"])
def test_losses_and_every_gradient(name, norm, rng):
    model = disturbed(network(name, "standard", norm), rng)
    codes = rng.integers(-128, 128, size=(13, 8, 8, 3)).astype(np.int8)
    labels = rng.integers(0, 5, size=13)
    scores, caches = model.forward(codes, training=True)
    loss, grad = bl.nn.softmax_cross_entropy(scores, labels)
    _, grads = model.backward(caches, grad)

    parameters = {
        key: torch.tensor(array.astype(np.float64), requires_grad=True) for key, array in model.parameters().items()
    }
    theirs = their_scores(model, parameters, codes)
    their_loss = functional.cross_entropy(theirs, torch.tensor(labels))
    their_loss.backward()

    np.testing.assert_allclose(scores, theirs.detach().numpy(), rtol=1e-4, atol=1e-4)
    assert loss == pytest.approx(their_loss.item(), rel=1e-5)
    assert set(grads) == set(parameters)
    for key, found in grads.items():
        expected = parameters[key].grad.numpy()
        assert found.dtype == np.float32 and np.abs(expected).max() > 0
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(), err_msg=key)


def test_the_first_layers_scale_is_that_of_the_codes():
    assert network("mlp", "standard")["sign1"].input_scale == INPUT_SCALE


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_optimizers(name, rng):
    ours = {"w": rng.normal(size=(7, 70)).astype(np.float32), "shift": rng.normal(size=9).astype(np.float32)}
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
