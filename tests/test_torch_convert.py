"""The converter: every way to play binary is found and proved, and what differs is left."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[torch]")
import bitlearn.torch as bt  # noqa: E402

nn, functional = torch.nn, torch.nn.functional


def signs(limit):
    class Signs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.where(x >= 0, 1.0, -1.0)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (ctx.saved_tensors[0].abs() <= limit)

    return Signs.apply


clipped, unlimited = signs(1.0), signs(float("inf"))


class Sign(nn.Module):
    def forward(self, x):
        return clipped(x)


class Conv(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, clipped(self.weight), self.bias, self.stride, self.padding, 1, self.groups)


class Own(nn.Module):
    """As Larq has it: quantizers of input and kernel, and nothing of PyTorch's layers."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / 10)

    def forward(self, x):
        return functional.linear(clipped(x), clipped(self.weight))


class Detached(nn.Linear):
    """The estimator written with detach, as many do."""

    def forward(self, x):
        def quantized(v):
            inside = v.clamp(-1, 1)
            return inside + (torch.where(v >= 0, 1.0, -1.0) - inside).detach()

        return functional.linear(quantized(x), quantized(self.weight), self.bias)


class Unlimited(nn.Linear):
    def forward(self, x):
        return functional.linear(x, unlimited(self.weight))


def network(head=None):
    torch.manual_seed(0)
    return nn.Sequential(
        Conv(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        Sign(),
        Conv(8, 12, 3, stride=2, padding="valid"),
        nn.BatchNorm2d(12),
        Sign(),
        nn.Flatten(),
        Own(108, 20),
        nn.BatchNorm1d(20),
        head or Detached(20, 5),
    )


def example(count=2):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_way_to_play_binary():
    model, x = network(), example(7)
    before, parameters = model.eval()(x), dict(model.named_parameters())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = bt.convert(model.train(), x[:2])
    assert found is model and model.training
    kinds = [type(each).__name__ for each in model]
    assert kinds == [
        *("Conv", "BatchNorm2d", "Identity", "BitConv2d", "BatchNorm2d"),
        *("Identity", "Flatten", "BitLinear", "BatchNorm1d", "BitLinear"),
    ]
    assert model.bitlearn_left == {"0": "its output is not that of signs times signs"}
    torch.testing.assert_close(model.eval()(x), before)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in parameters.items())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_training_goes_on_as_before():
    curves = []
    for convert in (False, True):
        model = network()
        optimizer, losses = torch.optim.Adam(model.parameters(), lr=3e-3), []
        if convert:
            bt.convert(model, example())
        x = example(20)
        for _ in range(40):
            loss = functional.cross_entropy(model(x), torch.arange(20) % 5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        curves.append(losses)
    ours, theirs = (sum(losses[-10:]) / 10 for losses in curves[::-1])
    assert curves[0][0] == pytest.approx(curves[1][0], rel=1e-5)
    assert ours == pytest.approx(theirs, abs=0.15)


def test_what_differs_is_left():
    model = bt.convert(network(Unlimited(20, 5)), example())
    assert "gradient of its weight" in model.bitlearn_left["9"] or "output" in model.bitlearn_left["9"]
    with pytest.raises(ValueError, match=r"^every layer with weights must be .*, got others \(0: its output"):
        bt.convert(network(), example(), strict=True)
    grouped = nn.Sequential(Sign(), Conv(4, 4, 1, groups=4), Conv(4, 4, 1, bias=False))
    with pytest.raises(
        ValueError, match=r"^model must have layers of signs times signs, got none .*groups or dilation"
    ):
        bt.convert(grouped, torch.randn(2, 4, 3, 3))
    with pytest.raises(ValueError, match=r"got none \(no weights\)$"):
        bt.convert(nn.Sequential(nn.ReLU()), example())


def test_signs_of_another_estimator_stay():
    class Wide(nn.Module):
        def forward(self, x):
            return unlimited(x)

    model = nn.Sequential(nn.BatchNorm1d(30), Wide(), Own(30, 4))
    bt.convert(model, torch.randn(3, 30))
    assert [type(each).__name__ for each in model] == ["BatchNorm1d", "Wide", "BitLinear"]


def test_a_model_that_is_a_layer():
    with pytest.raises(ValueError, match=r"the model itself: it is all there is to swap; put it into a Sequential"):
        bt.convert(Own(30, 4), torch.randn(3, 30))
    model = nn.Sequential(Own(30, 4))
    x = torch.randn(3, 30)
    wanted = model(x)
    assert torch.equal(bt.convert(model, x)(x), wanted)
