"""Predictions beside the same network in float32: it is the same network, and only right answers are timed."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.bench import harness, predictions
from bitlearn.bench.claims import NotHere, prediction_rate
from bitlearn.bench.claims import predictions as claims
from bitlearn.bench.harness import WrongAnswer
from bitlearn.bench.predictions import race, stages, tables


def evaluated(chain, x):
    """Return what a chain gives, by plain NumPy in float64."""
    x = x.astype(np.float64)
    for stage in chain:
        match stage:
            case stages.Linear():
                x = x @ stage.weight.T.astype(np.float64) + stage.bias
            case stages.Conv2d():
                side, size = stage.padding, stage.weight.shape[2:]
                padded = np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))
                windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(2, 3))
                x = np.einsum("bchwij,kcij->bkhw", windows, stage.weight) + stage.bias[:, None, None]
            case stages.Pool():
                n, c, height, width = x.shape
                out = height // stage.window, width // stage.window
                x = x[:, :, : out[0] * stage.window, : out[1] * stage.window]
                x = x.reshape(n, c, out[0], stage.window, out[1], stage.window).max(axis=(3, 5))
            case stages.Sign():
                assert np.abs(x).min() > 0
                x = np.sign(x)
            case stages.Flatten():
                x = x.reshape(len(x), -1)
    return x


@pytest.fixture(params=predictions.NETWORKS)
def network(request):
    return request.param


def test_the_float32_network_gives_our_scores(network):
    frozen, codes = predictions.model(network, tiny=True).freeze(), predictions.examples(network, 50)
    chain = stages.stages(frozen)
    scores = frozen.scores(codes)
    np.testing.assert_allclose(evaluated(chain, stages.inputs(chain, codes)), scores, rtol=1e-4, atol=1e-5)
    assert len(set(scores.argmax(axis=1))) > 1


def test_a_network_with_real_weights_is_refused():
    model = bl.models.mlp((4, 4, 1), 3, hidden=(8,), head="real")
    with pytest.raises(TypeError, match="a network must have binary weights alone to be made float32, got Linear"):
        stages.stages(model.freeze())


def test_a_network_is_the_same_in_every_run(network):
    first, second = (predictions.model(network, tiny=True).state() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("batch", [1, 3])
def test_onnxruntime_predicts_our_classes(network, batch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install bitlearn-xnor[bench]")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install bitlearn-xnor[bench]")
    task = predictions.Task(network, "onnxruntime", batch)
    harness.verify(race.contender(task, tiny=True))


@pytest.mark.parametrize("batch", [1, 3])
def test_pytorch_predicts_our_classes(network, batch):
    pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[test-all]")
    from bitlearn.bench.predictions import pytorch

    frozen, codes = predictions.model(network, tiny=True).freeze(), predictions.examples(network, 20 * batch)
    chain = stages.stages(frozen)
    call, memory = pytorch.prepare(chain, stages.inputs(chain, codes[:batch]), 1, compiled=False)
    for each in np.split(codes, 20):
        memory[...] = stages.inputs(chain, each)
        np.testing.assert_array_equal(call(), frozen.predict(each))


def rival(monkeypatch, classes):
    """Have a rival in the place of onnxruntime that predicts by NumPy what `classes` makes of the right answer."""

    def prepare(chain, x, threads):
        memory = x.copy()
        return lambda: classes(evaluated(chain, memory).argmax(axis=1)), memory

    module = f"{predictions.__name__}.{predictions.RIVALS['onnxruntime']}"
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(prepare=prepare))


def raced(*ways, network="mlp"):
    return race.race([predictions.Task(network, way) for way in ways], 1e-6, tiny=True)


def test_a_race(monkeypatch):
    rival(monkeypatch, lambda found: found)
    before = bl.get_num_threads()
    entries = raced(predictions.OURS, "onnxruntime")
    assert json.loads(json.dumps(entries)) == entries and bl.get_num_threads() == before
    for entry in entries:
        assert entry["measures"] == "prediction" and entry["verified"] == 1 + race.CHECKED
        assert 0 < entry["lower_quartile"] <= entry["seconds"] <= entry["upper_quartile"] and entry["reason"] is None
    assert {row[1] for row in tables.standings(entries)} == {predictions.OURS, "onnxruntime"}


def test_a_rival_that_errs_once_is_not_timed(monkeypatch):
    calls = iter(range(1000))
    rival(monkeypatch, lambda found: found + (next(calls) == race.CHECKED - 1))
    monkeypatch.setattr(harness, "block", lambda contender, repeats: pytest.fail("timed before it was verified"))
    with pytest.raises(WrongAnswer, match="onnxruntime must predict the classes that ours does on mlp"):
        raced(predictions.OURS, "onnxruntime")


def test_what_is_not_installed_is_recorded(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "bitlearn.bench.predictions.onnx_runtime", raising=False)
    ours, theirs = raced(predictions.OURS, "onnxruntime")
    assert ours["seconds"] > 0 and theirs["seconds"] is None and "installed" in theirs["reason"]
    assert set(ours) == set(theirs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network": "vgg"}, "network must be one of mlp, cnv, binarynet, got 'vgg'"),
        ({"way": "jax"}, "way must be one of bitlearn, .*, got 'jax'"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_tasks(change, reason):
    with pytest.raises(ValueError, match=reason):
        predictions.Task(**{"network": "mlp", "way": "bitlearn"} | change)


def test_predictions_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "predictions.json"
    options = ["--predict", "mlp", "--ways", "bitlearn", "--seconds", "1e-6", "--threads", "1", "--json", str(path)]
    assert cli.main(["bench", *options]) == 0
    (entry,) = json.loads(path.read_text())
    assert (entry["network"], entry["way"], entry["batch_size"]) == ("mlp", "bitlearn", 1)
    assert entry["seconds"] > 0 and entry["machine"]["cpu"]
    assert "mlp, batch 1, threads 1" in capsys.readouterr().out
    assert cli.main(["bench", "--predict", "mlp", "--ways", "int8"]) == 2
    assert "way must be one of bitlearn" in capsys.readouterr().err


def test_claims_take_the_faster_rival(monkeypatch):
    figures = {"bitlearn": 2.0, "onnxruntime": 5.0, "torch-compiled": 4.0}
    entries = [{"way": way, "seconds": seconds, "reason": None} for way, seconds in figures.items()]
    monkeypatch.setattr(claims, "race", lambda tasks: entries)
    claim = next(each for each in claims.CLAIMS if each.id == "predict-mlp-over-fastest")
    assert claim.measure().value == 2.0
    entries[1]["reason"] = "not installed"
    with pytest.raises(NotHere, match="onnxruntime: not installed"):
        claim.measure()


def test_the_work_of_a_prediction_is_that_of_its_binary_layers(network):
    model = predictions.model(network, tiny=True)
    sizes = stages.binary_products(model.root, 7)
    assert sum(rows * outputs * terms for rows, outputs, terms in sizes) == 7 * sum(
        layer.operations()[0] for _, layer in model.items()
    )


def test_the_share_of_a_product(monkeypatch):
    plain = predictions.model
    monkeypatch.setattr(predictions, "model", lambda name: plain(name, tiny=True))
    monkeypatch.setattr(prediction_rate, "BATCH", 20)
    monkeypatch.setattr(prediction_rate, "_SECONDS", 1e-6)
    found = prediction_rate.CLAIMS[0].measure()
    assert found.value == pytest.approx(found.details["seconds"]["products"] / found.details["seconds"]["prediction"])


def test_plain_products_are_checked():
    products = prediction_rate._products([(3, 5, 70), (40, 2, 64)])
    products.call()
    assert products.check(None)
    assert not prediction_rate._products([(3, 5, 70)]).check(None)  # nothing has been computed
