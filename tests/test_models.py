"""The published networks: their layers, sizes and names."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.training import Trainer


def weights(model) -> int:
    return sum(array.size for name, array in model.parameters().items() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("model", "count"),
    # arXiv 2102.04270: the networks' weights
    [(bl.models.mlp, 399_872), (bl.models.cnv, 1_542_848), (bl.models.binarynet, 14_022_016)],
)
def test_published_sizes(model, count):
    assert weights(model(precision="low-memory")) == count


def test_layers_of_the_published_networks():
    names = bl.models.mlp(hidden=(8, 8)).names
    assert names == ["flatten1", "linear1", "sign1", "linear2", "sign2", "linear3", "norm1"]
    small = {"filters": (4, 4, 4, 4, 4, 4), "dense": (8, 8)}
    dense = "flatten1 linear1 sign{} linear2 sign{} linear3 norm1"
    cnv = "conv1 sign1 conv2 sign2 pool1 conv3 sign3 conv4 sign4 pool2 conv5 sign5 conv6 sign6 " + dense.format(7, 8)
    assert bl.models.cnv(**small).names == cnv.split()
    binarynet = "conv1 sign1 conv2 pool1 sign2 conv3 sign3 conv4 pool2 sign4 conv5 sign5 conv6 pool3 sign6 "
    assert bl.models.binarynet(**small).names == (binarynet + dense.format(7, 8)).split()
    assert bl.models.cnv(**small, head="real").names[-2:] == ["sign8", "head1"]


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
@pytest.mark.parametrize("head", ["binary", "real"])
def test_each_network_runs(name, precision, head, rng):
    options = {"hidden": (9,)} if name == "mlp" else {"filters": (3, 5, 4, 4), "dense": (9,)}
    model = bl.models.build(name, (32, 32, 1), 3, precision=precision, seed=4, head=head, **options)
    assert model.output_shape == (3,) and model.precision.name == precision
    codes = rng.integers(-128, 128, size=(4, 32, 32, 1)).astype(np.int8)
    assert np.isfinite(Trainer(model, bl.optim.adam()).step(codes, np.array([0, 1, 2, 0]), 0.01))
    scores = model.scores(codes)
    assert scores.shape == (4, 3) and scores.dtype == np.float32
    binary = {each for each in model.parameters() if each.endswith("weight") and not each.startswith("head")}
    assert model.binary_parameters() == binary


def test_the_seed_decides():
    def start(seed):
        parameters = bl.models.mlp((8,), 2, hidden=(9, 9), seed=seed).parameters()
        return b"".join(array.tobytes() for array in parameters.values())

    assert start(0) == start(0) != start(1)
    model = bl.models.mlp((9,), 9, hidden=(9, 9))
    assert not np.array_equal(model["linear2"].weight, model["linear1"].weight)


def test_split_shares_the_layers(rng):
    model = bl.models.mlp((8, 8, 1), 3, hidden=(9, 70, 9), precision="low-memory")
    codes = rng.integers(-128, 128, size=(5, 8, 8, 1)).astype(np.int8)
    lower, upper = model.split("sign2")
    assert lower.names + upper.names == model.names and upper["linear3"] is model["linear3"]
    packed = lower.packed_output(codes, batch_size=2)
    assert packed.shape == (5, 70) and upper.input_shape == (70,)
    np.testing.assert_array_equal(upper.scores(packed), model.scores(codes))
    empty = lower.packed_output(codes[:0])
    assert empty.shape == (0, 70) and upper.scores(empty).shape == (0, 3)
    for name in ("norm1", "sign9"):
        with pytest.raises(ValueError, match="cut must be one of the layers before the last, flatten1, linear1"):
            model.split(name)


def test_examples_must_have_the_shape_of_the_input(rng):
    model = bl.models.mlp((70,), 3, hidden=(9,))
    for network in (model, model.freeze()):
        # 65 features fill as many words as 70.
        with pytest.raises(ValueError, match=r"examples must have shape \(70,\), got \(65,\)"):
            network.predict(np.zeros((4, 65), dtype=np.int8))
    upper = model.split("sign1")[1]
    with pytest.raises(ValueError, match=r"examples must have shape \(9,\), got \(8,\)"):
        upper.predict(bl.Bits(bl.pack(np.ones((2, 8))), 8))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: bl.models.build("lenet", (8,), 2),
            "model must be one of mlp, cnv, binarynet, resnete18, .*got 'lenet'",
        ),
        (
            lambda: bl.models.mlp((8,), 2, precision="int3"),
            "precision must be one of standard, float32-bits, int8, int4",
        ),
        (lambda: bl.models.mlp((8,), 2, head="none"), "head must be 'binary' or 'real', got 'none'"),
        (lambda: bl.models.mlp((8,), 2, hidden=()), "at least one width, got none"),
        (
            lambda: bl.models.cnv((20, 28, 1), 2),
            r"must have sides that 6 convolutions leave a pixel of, got \(20, 28, 1\)",
        ),
    ],
)
def test_wrong_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
