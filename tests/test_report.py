"""`bitlearn demo` and its HTML report."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser

import pytest

import bitlearn as bl
from bitlearn import report
from bitlearn.cli import demo as demonstration
from bitlearn.cli import main
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
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
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
    _, text = demo
    page = Page(text)
    assert page.tags.count("img") == 4
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in page.references)
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
