"""What is written as ONNX gives the scores of Python in onnxruntime; safetensors' own reader reads saved files."""

from __future__ import annotations

import exported
import numpy as np
import pytest

import bitlearn as bl

NETWORKS = {
    "mlp": lambda: bl.models.mlp((28, 28, 1), 10),
    "odd": lambda: bl.models.mlp((13,), 3, hidden=(70, 33), precision="low-memory"),
    "real": lambda: bl.models.mlp((65,), 7, hidden=(64, 129), head="real", precision="int8"),
    "cnv": lambda: bl.models.cnv(precision="low-memory"),
    "cnv-real": lambda: bl.models.cnv(head="real", precision="low-memory"),
    "padded": lambda: bl.nn.Model(
        [
            bl.nn.BinaryConv2d(70, kernel=(3, 2)),
            bl.nn.BatchNormSign(),
            bl.nn.BinaryConv2d(64, kernel=(3, 2), stride=2, padding=1, pad_value=-1),
            bl.nn.MaxPool2d(2),
            bl.nn.BatchNormSign(),
            bl.nn.BinaryConv2d(65, kernel=(2, 2), padding=1),
            bl.nn.BatchNormSign(),
            bl.nn.BinaryConv2d(64, kernel=(1, 1), padding=0),
            bl.nn.BatchNormSign(),
            bl.nn.Flatten(),
            bl.nn.BinaryLinear(5),
            bl.nn.BatchNorm(),
        ],
        (9, 12, 2),
    ),
}


def scores(network, folder, x):
    """Return the scores that onnxruntime gives."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    found = bl.export.onnx(network, folder, name="network")
    assert found["files"] == ["network.onnx"]
    session = runtime.InferenceSession(str(folder / "network.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"codes": x})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_equal(name, tmp_path, rng):
    network = exported.filled(NETWORKS[name]())
    x = rng.integers(-128, 128, (5, *network.input_shape)).astype(np.int8)
    assert np.array_equal(scores(network, tmp_path, x), network.scores(x))


def test_real_weights_of_the_policy_standard_agree_to_rounding(tmp_path, rng):
    network = exported.filled(bl.models.mlp((28, 28, 1), 10, hidden=(128, 100), head="real"))
    x = rng.integers(-128, 128, (5, 28, 28, 1)).astype(np.int8)
    wanted = network.scores(x)
    bound = 100 * np.finfo(np.float32).eps * np.abs(network["head1"].weight).sum(axis=1)
    assert (np.abs(scores(network, tmp_path, x) - wanted) <= bound).all()


def test_only_operators_of_the_standard(tmp_path):
    onnx = pytest.importorskip("onnx")
    bl.export.onnx(NETWORKS["cnv"](), tmp_path)
    made = onnx.load(tmp_path / "model.onnx")
    assert {each.domain for each in made.opset_import} == {""}
    assert {node.domain for node in made.graph.node} == {""}


def test_what_cannot_be_written_is_an_error(tmp_path):
    pytest.importorskip("onnx")
    residual = bl.models.birealnet18((16, 16, 3), 10, width=16, blocks=(1, 1))
    with pytest.raises(ValueError, match="must be one that can be written as ONNX, got the kernel"):
        bl.export.onnx(residual, tmp_path)
    with pytest.raises(TypeError, match="model must be a Model"):
        bl.export.onnx(3, tmp_path)
    _, upper = bl.models.mlp((9,), 4, hidden=(20,)).split("sign1")
    with pytest.raises(ValueError, match="must take codes"):
        bl.export.onnx(upper, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["model", "frozen"])
def test_saved_files_are_read_by_the_package_safetensors(form, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    network = exported.filled(NETWORKS["odd"]())
    bl.save(network if form == "model" else network.freeze(), tmp_path / "network.safetensors")
    found = numpy.load_file(tmp_path / "network.safetensors")
    wanted = network.state() if form == "model" else network.freeze().arrays
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
