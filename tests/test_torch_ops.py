"""The operators of PyTorch: what they compute, what is registered of them, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[torch]")
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

functional = torch.nn.functional
import bitlearn.torch  # noqa: E402
from bitlearn.torch import tensors  # noqa: E402

ops = torch.ops.bitlearn
WHOLE = [32, 32]


class Signs(torch.autograd.Function):
    """sign(x) with sign(0) = +1, and the gradient of a straight-through estimator."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0].abs() <= 1)


def real(seed, *shape, grad=False):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if values.numel() > 2:
        values.view(-1)[:2] = torch.tensor([0.0, -0.0])
    return values.requires_grad_(grad)


def cases():
    a, b, n = ops.pack(real(1, 5, 70)), ops.pack(real(2, 7, 70)), 70
    images, kernels = real(3, 2, 70, 6, 5, grad=True), real(4, 9, 70, 3, 2, grad=True)
    conv = [1, 2], [1, 0], 0, [8, 8]
    _, *linear = ops.binary_linear(real(1, 5, 70), real(2, 7, 70), [8, 8])
    y, *packed = ops.binary_conv2d(images.detach(), kernels.detach(), *conv)
    return {
        "pack": (real(1, 3, 65),),
        "xnor_matmul": (a, b, n),
        "xnor_conv2d": (packed[0], packed[2], 70, [1, 2], [1, 0], -1),
        "transpose_bits": (a, n),
        "grad_input": (real(5, 4, 7, grad=True), b, n),
        "grad_weight": (real(5, 7, 4, grad=True), b, n),
        "binary_linear": (real(1, 5, 70, grad=True), real(2, 7, 70, grad=True), [8, 8]),
        "binary_linear_backward": (real(6, 5, 7), *linear, 70, [8, 4], [True, False]),
        "binary_conv2d": (images, kernels, *conv),
        "binary_conv2d_backward": (real(6, *y.shape), *packed, 70, *conv, [False, True]),
    }


@pytest.mark.parametrize("name", cases())
def test_opcheck(name):
    torch.library.opcheck(getattr(ops, name).default, cases()[name])


def test_every_operator_is_checked():
    assert {each.split("::")[1] for each in torch._C._dispatch_get_all_op_names() if each.startswith("bitlearn::")} == {
        *cases()
    }


@pytest.mark.parametrize("name", ["grad_input", "grad_weight"])
def test_gradients_by_differences(name):
    """They are linear, so differences over any distance are exact to the rounding of float32."""
    g, words, n = cases()[name]
    check = lambda g: getattr(ops, name)(g, words, n)  # noqa: E731
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(check, (g,), eps=0.5, atol=1e-3, fast_mode=False)
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradgradcheck(check, (g,), eps=0.5, atol=1e-3)


def test_packed_products(rng):
    x, y = rng.standard_normal((5, 70), dtype=np.float32), rng.standard_normal((7, 70), dtype=np.float32)
    a, b = ops.pack(torch.from_numpy(x)), ops.pack(torch.from_numpy(y))
    np.testing.assert_array_equal(a.numpy().view(np.uint64), bl.pack(x))
    found = ops.xnor_matmul(a, b, 70)
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found.numpy(), np.where(x >= 0, 1, -1) @ np.where(y >= 0, 1, -1).T)
    np.testing.assert_array_equal(ops.transpose_bits(a, 70).numpy().view(np.uint64), bl.pack(x.T.copy()))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_linear_is_that_of_floats(kind):
    x, w = (each.to(kind).requires_grad_() for each in (2 * real(1, 5, 70), 2 * real(2, 7, 70)))
    copies = [each.detach().float().requires_grad_() for each in (x, w)]
    y, wanted = ops.binary_linear(x, w, WHOLE)[0], Signs.apply(copies[0]) @ Signs.apply(copies[1]).t()
    assert y.dtype == torch.float32 and torch.equal(y, wanted)
    d = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(torch.autograd.grad(y, (x, w), d), torch.autograd.grad(wanted, copies, d), strict=True):
        assert ours.dtype == kind
        torch.testing.assert_close(ours, theirs.to(kind), rtol=1e-5 if kind == torch.float32 else 1e-2, atol=1e-4)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("stride", "padding"), [((1, 1), (1, 1)), ((2, 1), (0, 2))])
def test_conv2d_is_that_of_floats(stride, padding, channels_last):
    form = torch.channels_last if channels_last else torch.contiguous_format
    x, w = 2 * real(3, 2, 70, 6, 5).contiguous(memory_format=form), 2 * real(4, 9, 70, 3, 2)
    pairs = [(each.clone().requires_grad_(), each.clone().requires_grad_()) for each in (x, w)]
    (x, theirs_x), (w, theirs_w) = pairs
    y = ops.binary_conv2d(x, w, list(stride), list(padding), 0, WHOLE)[0]
    wanted = functional.conv2d(Signs.apply(theirs_x), Signs.apply(theirs_w), stride=stride, padding=padding)
    assert torch.equal(y, wanted) and y.is_contiguous(memory_format=torch.channels_last)
    d = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    both = zip(torch.autograd.grad(y, (x, w), d), torch.autograd.grad(wanted, (theirs_x, theirs_w), d), strict=True)
    for ours, theirs in both:
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_a_quantized_gradient_is_that_of_its_codes(bits):
    x, w = real(1, 5, 70, grad=True), real(2, 7, 70, grad=True)
    y = ops.binary_linear(x, w, [bits, bits])[0]
    d = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    dx, dw = torch.autograd.grad(y, (x, w), d)
    step = d.abs().max().double() / (2 ** (bits - 1) - 1)
    codes = torch.round(d.double() / step.float()) * step.float()
    signs = [torch.where(each >= 0, 1.0, -1.0).double().detach() for each in (x, w)]
    torch.testing.assert_close(dx.double(), codes @ signs[1] * (x.abs() <= 1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dw.double(), codes.t() @ signs[0] * (w.abs() <= 1), rtol=1e-5, atol=1e-5)


def test_the_number_of_threads_does_not_show():
    x, w = real(3, 3, 70, 9, 9, grad=True), real(4, 9, 70, 3, 3, grad=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = ops.binary_conv2d(x, w, [1, 1], [1, 1], 0, [8, 8])[0]
            found.append((y, *torch.autograd.grad(y, (x, w), y.detach().sin())))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_is_refused():
    a = ops.pack(real(1, 5, 70))
    with pytest.raises(TypeError, match=r"^x must be float32, bfloat16 or float16, got torch.float64$"):
        ops.pack(real(1, 5, 70).double())
    with pytest.raises(
        TypeError, match=r"^a must be packed words of dtype int64, as pack gives them, got torch.float32$"
    ):
        ops.xnor_matmul(real(1, 5, 2), a, 70)
    with pytest.raises(ValueError, match=r"^a must have 2 words"):
        ops.xnor_matmul(a[:, :1].contiguous(), a, 70)
    x, w = real(1, 5, 70, grad=True), real(2, 7, 70)
    y = ops.binary_linear(x, w, [8, 8])[0]
    with pytest.raises(ValueError, match=r"^the gradient must be finite, got NaN or infinity$"):
        torch.autograd.grad(y, x, torch.full_like(y, float("nan")))
    assert not ops.xnor_matmul(a, a, 70).requires_grad


def test_gradients_that_do_not_exist_are_refused():
    x, w = real(1, 5, 70, grad=True), real(2, 7, 70, grad=True)
    with pytest.raises(ValueError, match=r"^x must not require a gradient, which words do not have.*x.detach\(\)"):
        ops.pack(x)
    with torch.no_grad():
        assert torch.equal(ops.pack(x), ops.pack(x.detach()))
    (dx,) = torch.autograd.grad(ops.binary_linear(x, w, [8, 8])[0].square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"^a binary layer must be derived once, .*create_graph=True$"):
        torch.autograd.grad(dx.sum(), w)


def test_another_device_is_refused_in_a_sentence():
    """A tensor of a device that this build of PyTorch need not have is as that device's operators get it."""
    with FakeTensorMode():
        x = torch.empty(3, 70, device="cuda")
    with pytest.raises(ValueError, match=r"^x must be on the CPU, got one on cuda:0; move it there with .cpu\(\)$"):
        tensors.on_processor("x", x)
    with pytest.raises(ValueError, match=r"^a tensor must be on the CPU, got one on cuda:0; move it there with .cpu"):
        bitlearn.torch.ops._refused([8, 8], x)
    for key in ("CUDA", "XPU", "MPS"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key("bitlearn::pack", key)


def test_shapes_alone_go_through():
    """On the device `meta`, as a network is laid out before it has memory."""
    layer = bitlearn.torch.BitLinear(70, 5).to("meta")
    assert layer(torch.empty(2, 70, device="meta")).shape == (2, 5)
    assert ops.pack(torch.empty(3, 130, device="meta")).shape == (3, 3)
