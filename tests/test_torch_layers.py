"""Layers for PyTorch: training beside floats that play binary, packed weights, state dicts, compilation."""

from __future__ import annotations

import copy
import io

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[torch]")
import bitlearn.torch as bt  # noqa: E402
from bitlearn import precision  # noqa: E402

nn = torch.nn


def network(policy="int8"):
    torch.manual_seed(3)
    return nn.Sequential(
        bt.BitConv2d(3, 8, 3, padding=1, bias=True, precision=policy),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(8),
        bt.BitConv2d(8, 70, (3, 2), stride=2, precision=policy),
        nn.Flatten(),
        nn.BatchNorm1d(280),
        bt.BitLinear(280, 5, bias=True, precision=policy),
    )


def images(count=4):
    return torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def step(model, x, run=None):
    loss = nn.functional.cross_entropy((run or model)(x), torch.arange(len(x)) % 5)
    return loss, torch.autograd.grad(loss, list(model.parameters()))


def test_training_lowers_the_loss():
    model, x = network(), images(20)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for _ in range(30):
        loss, _ = step(model, x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 5).backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_int8_is_near_standard():
    gradients = [step(network(policy), images())[1] for policy in ("standard", "int8")]
    for whole, quantized in zip(*gradients, strict=True):
        assert float((whole - quantized).norm()) <= 0.05 * float(whole.norm()) + 1e-5


@pytest.mark.parametrize("policy", ["int8", "standard"])
def test_compiled_steps_are_the_same(policy):
    model, x = network(policy), images()
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    loss, gradients = step(model, x)
    other, others = step(compiled, x)
    torch.testing.assert_close(other, loss)
    for one, two in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, two)


def test_under_autocast():
    model, x = network(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradients = step(model, x)
    assert torch.isfinite(loss) and all(torch.isfinite(each).all() for each in gradients)


def test_inference_is_that_of_training_and_follows_the_weights():
    layer, x = bt.BitLinear(70, 5), torch.randn(3, 2, 70)
    wanted = layer(x)
    layer.eval()
    with torch.no_grad():
        assert torch.equal(layer(x), wanted) and wanted.shape == (3, 2, 5)
        layer.weight.neg_()
        assert torch.equal(layer(x), -wanted)
        layer.weight.data = -layer.weight.data
        assert torch.equal(layer(x), wanted)


def test_packed_weights_go_through_state_dicts():
    model, x = network().eval(), images()
    with torch.no_grad():
        wanted = model(x)
        latent = copy.deepcopy(model.state_dict())
        for each in model:
            if isinstance(each, bt.BitConv2d | bt.BitLinear):
                each.pack_()
        assert torch.equal(model(x), wanted) and "packed" in repr(model)
        packed, file = model.state_dict(), io.BytesIO()
        assert packed["0.words"].shape == (8, 3, 3, 1) and "0.weight" not in packed
        torch.save(packed, file)
        file.seek(0)
        fresh = network().eval()
        fresh.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(fresh(x), wanted)
        fresh.load_state_dict(latent)
        assert torch.equal(fresh(x), wanted) and fresh[0].weight.shape == (8, 3, 3, 3)
        assert torch.equal(copy.deepcopy(fresh)(x), wanted)


def test_what_is_refused():
    layer = bt.BitLinear(70, 5).pack_()
    with pytest.raises(ValueError, match=r"^x must not require a gradient where weights are packed"):
        layer(torch.randn(2, 70, requires_grad=True))
    assert layer(torch.randn(2, 70)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"^x must have 70 values in its last axis, got shape \(2, 71\)$"):
        layer(torch.randn(2, 71))
    with pytest.raises(ValueError, match=r"^x must be images \(batch, 3, height, width\), got \(3, 9, 9\)$"):
        bt.BitConv2d(3, 4, 3)(torch.randn(3, 9, 9))
    with pytest.raises(ValueError, match=r"^kernels must fit images"):
        bt.BitConv2d(3, 4, 3)(torch.randn(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"^precision must be standard, or quantize .*, got 'low-memory'$"):
        bt.BitLinear(3, 4, precision="low-memory")
    with pytest.raises(ValueError, match=r"^pad_value must be 0, 1 or -1, got 2$"):
        bt.BitConv2d(3, 4, 3, pad_value=2)
    with pytest.raises(TypeError, match=r"^stride must be an integer or a pair of integers, got 1\.5$"):
        bt.BitConv2d(3, 4, 3, stride=1.5)


def test_a_policy_of_ones_own():
    policy = precision.Precision("mine", precision.Quantization(4), precision.Quantization(6))
    assert bt.BitLinear(3, 4, precision=policy).bits == [4, 6]
