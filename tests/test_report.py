"""`bitlearn demo` and its HTML report."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import report
from bitlearn.cli import demo as demonstration
from bitlearn.cli import main
from bitlearn.report import evidence
from bitlearn.report.units import size

for package in ("sklearn", "matplotlib", "jinja2"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A quick demo's result and the page it wrote."""
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(folder / "out"), "--epochs", "1", "--json", str(folder / "demo.json")]) == 0
    result = json.loads((folder / "demo.json").read_text())
    assert result["report"] == str(folder / "out" / "report.html")
    assert os.listdir(folder / "out") == ["report.html"]
    return result, (folder / "out" / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects what a page refers to and what it shows, and checks that elements close."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str):
        super().__init__()
        self.references: list[str] = []
        self.alternatives: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        self.alternatives += [value for name, value in attributes if tag == "img" and name == "alt"]
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        self.text += text


def test_result(demo):
    result, _ = demo
    assert [method["name"] for method in result["methods"]] == ["naive", "latent-replay", "joint"]
    for method in result["methods"]:
        matrix = method["accuracy_matrix"]
        assert [len(row) for row in matrix] == [5] * 5
        assert method["average_accuracy"] == pytest.approx(sum(matrix[-1]) / 5)
    assert result["tasks"] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_the_memory_is_that_of_the_recorded_step(demo):
    """Each variable of the step at its fullest, with what it is, and all of them together."""
    found = demo[0]["memory"]
    model = bl.models.mlp((8, 8, 1), 10, hidden=(256, 256), head="real", precision="low-memory")
    wanted = bl.memory.predict(model, bl.optim.adam(), demo[0]["batch_size"])
    assert [(row["variable"], row["lifetime"], row["bytes"]) for row in found["rows"]] == [
        (row.variable, row.lifetime, row.bytes) for row in wanted
    ]
    assert all(row["meaning"] for row in found["rows"])
    assert found["bytes"] == sum(row["bytes"] for row in found["rows"])
    # What is measured holds the bits of a task's examples and the replay memory as well.
    assert found["peak_bytes_measured"] >= 0


@pytest.mark.parametrize("precision", ["standard", "int8", "int4", "low-memory"])
@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_every_variable_has_a_meaning(name, precision):
    options = {} if name == "mlp" else {"filters": (8, 8), "dense": (8,)}
    shape = (8, 8, 1) if name == "mlp" else (32, 32, 3)
    for head in ("real", "binary"):
        model = bl.models.build(name, shape, 10, head=head, precision=precision, **options)
        assert set(bl.memory.by_variable(model, bl.optim.adam(), 4)) <= set(demonstration._MEANINGS)


def test_page_refers_to_nothing_outside(demo):
    result, text = demo
    page = Page(text)
    kinds = [re.match(r"data:image/(svg\+xml|png);base64,", reference) for reference in page.references]
    assert all(kinds) and page.tags.count("img") == len(kinds)
    # Means, curves, bits, distances, and of each method its tasks and its matrix; and one picture for each sample.
    assert [kind[1] for kind in kinds].count("svg+xml") == 4 + 2 * len(result["methods"])
    assert [kind[1] for kind in kinds].count("png") == len(result["samples"])
    assert len(page.alternatives) == len(kinds) and all(len(words) > 20 for words in page.alternatives)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", text)


def test_page_holds_the_numbers(demo):
    result, text = demo
    shown = Page(text).text
    for method in result["methods"]:
        assert f"{100 * method['average_accuracy']:.1f} %" in shown
        assert f"{100 * method['forgetting_mean_of_best_minus_last']:.1f} %" in shown
        assert all(
            f"{100 * cell:.1f} %" in shown for row in method["accuracy_matrix"] for cell in row if cell is not None
        )
    for row in result["memory"]["rows"]:
        assert row["variable"] in shown
        assert size(row["bytes"]) in shown
    assert size(result["memory"]["peak_bytes_measured"]) in shown
    assert result["machine"]["cpu"] in shown
    assert result["command"] in shown
    assert result["command"].startswith("python -m bitlearn demo --out ")


def test_samples_are_what_the_networks_say(demo):
    """One test image of each class, and errors of the main method alone; with answers of all methods."""
    result, text = demo
    digits = bl.datasets.load("digits")
    first, errors = [[each for each in result["samples"] if each["error"] == kind] for kind in (False, True)]
    assert [each["label"] for each in first] == [str(label) for label in range(10)] and len(errors) == 6
    for each in result["samples"]:
        pixels = evidence.decoded(each["picture"])
        same = np.flatnonzero((digits.x_test == pixels).all(axis=(1, 2, 3)))
        assert str(digits.y_test[same[0]]) == each["label"]
        assert set(each["answers"]) == {method["name"] for method in result["methods"]}
        for answer in each["answers"].values():
            assert answer["right"] == (answer["label"] == each["label"]) and 0.1 < answer["share"] <= 1
            assert f"{answer['label']}, {100 * answer['share']:.0f}\N{NO-BREAK SPACE}%" in text
    assert not any(each["answers"]["latent-replay"]["right"] for each in errors)


def test_curves_are_the_losses_of_each_epoch(demo):
    for method in demo[0]["methods"]:
        assert [each["task"] for each in method["curve"]] == list(range(1, 6))  # an epoch a task
        assert all(each["loss"] > 0 for each in method["curve"])


def test_hidden_bits_are_those_of_the_network():
    digits = bl.datasets.load("digits")
    data = [part[:120] for part in (digits.x_train, digits.y_train, digits.x_test, digits.y_test)]
    scenario = bl.continual.class_incremental(*data, tasks=2)
    model = bl.models.mlp((8, 8, 1), 10, hidden=(70,), head="real", precision="int8")
    options = bl.continual.Options(epochs=1)
    predictor = bl.continual.run("naive", scenario, model, bl.optim.adam(), options).predictor
    found = evidence.hidden(predictor, scenario)
    lower, _ = model.split("sign1")
    values = {}
    for task in scenario.tasks:
        words = lower.freeze().apply(task.test.codes()).words
        for label in np.unique(task.test.y):
            values[label] = bl.unpack(words[task.test.y == label], 70).astype(int)
    assert found["units"] == 70 and found["labels"] == [str(label) for label in range(10)]
    shown = np.concatenate([values[label][:8] for label in range(10)])
    np.testing.assert_array_equal(evidence.decoded(found["bits"]), shown > 0)
    for (row, column), distance in np.ndenumerate(np.array(found["distances"])):
        pairs = (values[row][:, None] != values[column]).sum(axis=2)
        others = ~np.eye(len(pairs), dtype=bool) if row == column else np.ones(pairs.shape, dtype=bool)
        assert distance == pytest.approx(pairs[others].mean())
    assert evidence.hidden(object(), scenario) is None


def test_a_page_of_one_method(tmp_path, capsys):
    """Of a method without a network, and of features that are no images: what there is not is left out."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 5)) + 3 * (np.arange(80) % 4)[:, None], np.arange(80) % 4
    np.savez(tmp_path / "data.npz", X=x, y=y)
    command = ["continual", "--dataset", "npz", "--data", str(tmp_path / "data.npz"), "--tasks", "2"]
    command += ["--method", "analytic", "--report", str(tmp_path / "page.html"), "--json", str(tmp_path / "page.json")]
    assert main(command) == 0
    result, page = json.loads((tmp_path / "page.json").read_text()), (tmp_path / "page.html").read_text("utf-8")
    shown = Page(page)
    assert f"{100 * result['average_accuracy']:.1f} %" in shown.text and shown.tags.count("img") == 3
    assert "hidden bits" not in shown.text and "Learning curves" not in shown.text and "test images" not in shown.text
    assert main([*command[:-4], "--report", str(tmp_path / "no" / "page.html")]) == 2
    assert "the folder of a file to write must exist" in capsys.readouterr().err


def test_page_is_the_same_for_the_same_numbers(demo):
    result, text = demo
    assert report.render(result) == text


def test_text_is_escaped(demo):
    result, _ = demo
    assert "<b>&</b>" not in report.render(result | {"command": "<b>&</b>"})


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named_before_any_work(capsys, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"bitlearn demo: error: the report needs {package}: pip install 'bitlearn-xnor[demo]'"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("where", ["no/such/out", "file"])
def test_bad_folder(capsys, tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", where]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**40, "1024.0 GiB")])
def test_size(count, text):
    assert size(count) == text
