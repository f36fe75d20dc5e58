"""Convolutions and gradients against PyTorch's, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from cases import WINDOWS, integers, packed, signs

import bitlearn as bl

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[test-all]")
functional = torch.nn.functional

#: PyTorch's "same" wants stride 1 and its own rule: these windows are padded alike on both sides.
EVEN = [case for case in WINDOWS if case.padding != "same"]


def nchw(values) -> torch.Tensor:
    """NHWC values as a float64 tensor, in which all sums here are exact."""
    return torch.tensor(np.moveaxis(values, -1, 1).astype(np.float64), requires_grad=True)


def nhwc(tensor) -> np.ndarray:
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def their_conv2d(x, w, case, pad_value):
    vertical, horizontal = case.padding if isinstance(case.padding, tuple) else (case.padding, case.padding)
    canvas = functional.pad(x, (horizontal, horizontal, vertical, vertical), value=pad_value)
    return functional.conv2d(canvas, w, stride=case.stride)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("case", EVEN, ids=str)
def test_conv2d_and_its_gradients(case, pad_value, rng):
    x, w = signs(rng, case.batch, *case.image, case.n), signs(rng, case.k, *case.kernel, case.n)
    their_x, their_w = nchw(x), nchw(w)
    theirs = their_conv2d(their_x, their_w, case, pad_value)
    options = {"stride": case.stride, "padding": case.padding, "pad_value": pad_value}
    ours = bl.xnor_conv2d(packed(x), packed(w), case.n, **options)
    np.testing.assert_array_equal(ours, nhwc(theirs))

    g = integers(rng, np.int16, *ours.shape)
    theirs.backward(nchw(g).detach())
    into_input = bl.conv2d_grad_input(g, packed(w), case.n, x.shape, **options)
    into_weight = bl.conv2d_grad_weight(g, packed(x), case.n, w.shape, **options)
    np.testing.assert_array_equal(into_input, nhwc(their_x.grad))
    np.testing.assert_array_equal(into_weight, nhwc(their_w.grad))


@pytest.mark.usefixtures("variant")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # it may copy the input
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 1)])
def test_same_padding_with_stride_one(kernel, rng):
    x, w = signs(rng, 2, 6, 7, 10), signs(rng, 3, *kernel, 10)
    ours = bl.xnor_conv2d(packed(x), packed(w), 10, padding="same")
    np.testing.assert_array_equal(ours, nhwc(functional.conv2d(nchw(x), nchw(w), padding="same")))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 7, 70), (33, 65, 129)])
def test_linear_and_its_gradients(m, k, n, rng):
    x, w = signs(rng, m, n), signs(rng, k, n)
    their_x, their_w = (torch.tensor(each.astype(np.float64), requires_grad=True) for each in (x, w))
    theirs = functional.linear(their_x, their_w)
    np.testing.assert_array_equal(bl.xnor_matmul(packed(x), packed(w), n), theirs.detach().numpy())
    g = integers(rng, np.int8, m, k)
    theirs.backward(torch.tensor(g.astype(np.float64)))
    np.testing.assert_array_equal(bl.grad_input(g, packed(w), n), their_x.grad.numpy())
    np.testing.assert_array_equal(bl.grad_weight(g, packed(x), n), their_w.grad.numpy())
