"""What people see in a browser: the report and the documentation, as headless Chromium shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, needed

HTML = Path(__file__).parents[1] / "docs/_build/html"
#: Of every kind of page: texts, long tables, pictures, code, a reference page, the search.
PAGES = ("index", "which", "tutorials/start", "benchmarks", "kernels", "gallery", "api/arrays", "search")
PAGES += ("api/generated/bitlearn.xnor_matmul", "how_to/custom_layer", "continual", "genindex", "memory", "install")

#: What people look for, and the page that has to come first.
SEARCHES = {
    "nearest neighbour": "how_to/nearest_neighbours",
    "csv": "how_to/csv",
    "callback": "how_to/callbacks",
    "sklearn": "embedding/scikit_learn",
    "custom layer": "how_to/custom_layer",
    "custom method": "how_to/custom_method",
    "early stopping": "how_to/early_stopping",
    "njit": "how_to/njit",
    "memory budget": "tutorials/memory_budget",
}


@pytest.fixture(scope="module")
def browser():
    needed()
    with Browser() as made:
        yield made


@pytest.fixture
def docs():
    if not (HTML / "index.html").is_file():
        pytest.skip("the documentation is not built: make docs")
    return HTML


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a short demonstration."""
    for package in ("sklearn", "matplotlib", "jinja2"):
        pytest.importorskip(package)
    from bitlearn.cli import main

    folder = tmp_path_factory.mktemp("report")
    assert main(["demo", "--out", str(folder), "--epochs", "1"]) == 0
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_is_accessible(browser, report, width, dark):
    needed(axe=True)
    browser.open(report, width=width, dark=dark)
    assert browser.findings() == []
    assert browser.overflow() == 0


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The page of a comparison of two methods, each with two seeds."""
    pytest.importorskip("matplotlib")
    from bitlearn.report.comparison import write_page

    runs = [
        {"accuracy_matrix": [[1.0, None], [0.5, last]], "average_accuracy": (0.5 + last) / 2} for last in (0.8, 0.9)
    ]
    row = {"interval": (0.6, 0.7), "average_accuracy": 0.675, "forgetting_mean_of_best_minus_last": 0.5, "runs": runs}
    row |= {"kept_bytes": 1000, "peak_bytes_measured": 2**20, "seconds": 1.0}
    settings = ("model", "precision", "optimizer", "learning_rate", "schedule", "epochs", "batch_size", "seeds")
    result = {"scenario": "class", "dataset": "digits", **dict.fromkeys(settings, "as given")}
    path = tmp_path_factory.mktemp("comparison") / "page.html"
    write_page(result | {"rows": [row | {"label": label} for label in ("naive", "latent-replay")]}, path)
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_a_comparison_is_accessible(browser, comparison, width, dark):
    needed(axe=True)
    browser.open(comparison, width=width, dark=dark)
    assert browser.findings() == []
    assert browser.overflow() == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("page", PAGES)
def test_the_documentation_is_accessible(browser, docs, page, width, dark):
    needed(axe=True)
    browser.open(docs / f"{page}.html", width=width, dark=dark)
    assert browser.findings() == []
    assert browser.overflow() == 0


def test_a_bad_page_is_found(browser, tmp_path):
    """The checks can fail: no alternative text, no language, grey on grey, wider than a phone."""
    needed(axe=True)
    page = tmp_path / "bad.html"
    page.write_text(
        "<!DOCTYPE html><html><head><title>bad</title></head><body style='width: 700px'><img src='x.png'>"
        "<p style='color: #999; background: #eee'>grey</p></body></html>"
    )
    browser.open(page, width=390)
    found = {line.split(": ")[1] for line in browser.findings()}
    assert {"image-alt", "html-has-lang", "color-contrast"} <= found
    assert browser.overflow() > 200


@pytest.mark.parametrize("words", SEARCHES)
def test_a_search_finds_its_page_first(browser, docs, words):
    browser.open(f"{(docs / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
    first = browser.evaluate(
        "new Promise(done => { const look = () => { const all = document.querySelectorAll('#search-results li a');"
        " const ended = document.querySelector('#search-results h2')?.textContent === 'Search Results';"
        " if (ended) done([...all].slice(0, 3).map(each => each.href)); else setTimeout(look, 50); }; look(); })"
    )
    names = [each.partition("/_build/html/")[2].partition(".html")[0] for each in first]
    assert names[:1] == [SEARCHES[words]], names
