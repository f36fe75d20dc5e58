"""The script for accuracy against bytes: what it measures, keeps and shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import analytic
from bitlearn.continual import LDA, AnalyticLearner


@pytest.fixture
def small(monkeypatch):
    """Digits alone, and two small budgets."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr(analytic, "DATASETS", {"digits": 2000})
    monkeypatch.setattr(analytic, "BUDGETS", ("5 KiB", "6 KiB"))
    monkeypatch.setattr(analytic, "SEEDS", (0, 1))


def test_entries_are_what_the_learners_give(small, tmp_path, capsys, monkeypatch):
    assert analytic.main(["--into", str(tmp_path)]) == 0
    path = tmp_path / "digits-test.json"
    kept, digits = json.loads(path.read_text("utf-8")), bl.datasets.load("digits")
    one = next(e for e in kept if e["method"] == "analytic" and e["budget"] == "6 KiB" and e["seed"] == 1)
    learner = AnalyticLearner(memory_budget=6144, seed=1)
    learner.partial_fit(digits.x_train, digits.y_train)
    assert (
        one["accuracy"] == learner.score(digits.x_test, digits.y_test)
        and one["bytes"] == learner.memory().total <= 6144
    )
    lda = LDA(classes=10, examples=2000).partial_fit(digits.x_train, digits.y_train)
    memory, accuracy = lda.memory(least=True), lda.score(digits.x_test, digits.y_test)
    sizes = {"bytes": memory.total, "kept": memory.kept, "features": 64}
    assert kept[-1] == {"method": "lda"} | sizes | {"accuracy": accuracy}
    # The mean of the seeds; and what is there is not measured again.
    monkeypatch.setattr(analytic, "measure", None)
    assert analytic.main(["--into", str(tmp_path)]) == 0
    means = analytic.present(tmp_path)["digits"]
    both = [e["accuracy"] for e in kept if e["method"] == "analytic" and e["budget"] == "6 KiB"]
    mean = next(e for e in means if e["method"] == "analytic" and e["budget"] == "6 KiB")
    assert mean["accuracy"] == np.mean(both) and mean["seeds"] == 2 and "KiB" in capsys.readouterr().out
    assert b"nearest-mean" in analytic.curve({"digits": means})


def test_the_choice_asks_no_test_set(small, tmp_path, monkeypatch):
    whole = bl.datasets.load("digits")
    blind = bl.datasets.Dataset("digits", whole.x_train, whole.y_train, whole.x_train[:1], whole.y_train[:1], 10)
    monkeypatch.setattr(bl.datasets, "load", lambda name, folder: blind)
    assert analytic.main(["--choose", "--into", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / "digits-held-out.json").read_text("utf-8"))
    assert {(e["bits"], e["budget"]) for e in kept} == {(b, k) for b in (1, 2, 3, 4) for k in ("5 KiB", "6 KiB")}
    assert {e["method"] for e in kept} == {"analytic"} and all(e["accuracy"] > 0.2 for e in kept)
