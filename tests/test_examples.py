"""The examples run, on small sizes, and say what they should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import notebooks
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

if not EXAMPLES.exists():
    pytest.skip("the examples are not part of this installation", allow_module_level=True)


def run(name: str, *options: str) -> str:
    command = [sys.executable, EXAMPLES / name, *options]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_hamming_search():
    """It fails by itself where another package finds other distances."""
    text = run("hamming_search.py", "--rows", "3000", "--queries", "20")
    assert text.startswith("bitlearn ") and "faiss" in text and "numkong" in text


def test_numba_loop():
    shares = re.findall(r"^(\d\.\d+) of the", run("numba_loop.py", "--rows", "2000"), re.MULTILINE)
    assert shares == ["1.000", "1.000"]


def test_sklearn_stream():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install bitlearn-xnor[sklearn]")
    lines = run("sklearn_stream.py", "--batch", "300").splitlines()
    assert [re.search(r"(\d+) classes", line)[1] for line in lines] == ["5", "5", "10", "10", "10"]
    shares = [float(line.rpartition(" ")[2]) for line in lines]
    assert shares[1] > 0.4 and shares[-1] > 0.75


def test_the_notebook_shows_what_it_does():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install bitlearn-xnor[sklearn]")
    notebook = json.loads((EXAMPLES / "digits.ipynb").read_text(encoding="utf-8"))
    cells = notebooks.code(notebook)
    assert (notebook["nbformat"], len({cell["id"] for cell in notebook["cells"]})) == (4, len(notebook["cells"]))
    for number, (cell, found) in enumerate(zip(cells, notebooks.shown(cells), strict=True), 1):
        assert cell["outputs"] == notebooks.outputs(*found, number), "".join(cell["source"])


def test_the_notebook_is_as_the_format_wants_it():
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbformat.validate(nbformat.read(EXAMPLES / "digits.ipynb", as_version=4))


def test_pytorch_training_changes_three_lines(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[torch]")
    losses = []
    for more in ([], ["--bitlearn"]):
        file = tmp_path / f"{len(losses)}.json"
        small = ("--steps=6", "--batch-size=20", "--widths=8,16", "--dense=32", "--threads=1", f"--json={file}")
        text = run("pytorch_training.py", *small, *more)
        losses.append([each["loss"] for each in json.loads(file.read_text(encoding="utf-8"))])
    before, after = map(int, re.search(r"(\d+) bytes, (\d+) for inference", text).groups())
    assert after < before / 5
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-3)
    assert losses[0] == pytest.approx(losses[1], abs=0.6)
