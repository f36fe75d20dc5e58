"""Figures of continual learning: what is drawn, on the axes that were given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib import pyplot
from matplotlib.figure import Figure

from bitlearn.report.figures import accuracy_against_bytes, accuracy_matrix, accuracy_over_tasks

MATRIX = [[0.9, None, None], [0.4, 0.8, None], [0.1, 0.3, 0.7]]


def test_the_matrix_shows_its_numbers_where_they_belong():
    ax = Figure().subplots()
    assert accuracy_matrix(MATRIX, title="naive", ax=ax) is ax
    shown = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in ax.texts}
    assert shown == {(0, 0): "90", (1, 0): "40", (1, 1): "80", (2, 0): "10", (2, 1): "30", (2, 2): "70"}
    pixels = ax.images[0].get_array()
    assert np.array_equal(np.ma.filled(pixels, np.nan), np.array(MATRIX, dtype=float), equal_nan=True)
    assert ax.get_title(loc="center") == "naive" and ax.get_ylabel() == "after task"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]


def test_lines_are_means_and_bands_intervals():
    other = [[0.7, None, None], [0.6, 0.4, None], [0.5, 0.3, 0.1]]
    ax = accuracy_over_tasks({"a": [MATRIX, other], "b": [MATRIX]}, ax=Figure().subplots())
    means = [[0.9, 0.6, 1.1 / 3], [0.7, 0.5, 0.3]]
    first, second = ax.lines
    np.testing.assert_allclose(first.get_ydata(), np.mean(means, axis=0))
    np.testing.assert_allclose(second.get_ydata(), means[0])
    assert [line.get_label() for line in ax.lines] == ["a", "b"] and first.get_color() != second.get_color()
    (band,) = ax.collections
    at_last = sorted(y for x, y in band.get_paths()[0].vertices if x == 2)
    half = 12.706205 * (1.1 / 3 - 0.3) / 2
    assert at_last[0] == 0 and at_last[-1] == pytest.approx(np.mean([1.1 / 3, 0.3]) + half, abs=1e-5)  # cut at 0


def test_bytes_are_on_a_logarithmic_axis_with_a_place_for_0():
    points = {"none": (0, [0.2]), "some": (3000, [0.6, 0.7]), "all": (10**6, [0.9])}
    ax = accuracy_against_bytes(points, ax=Figure().subplots())
    places = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in ax.lines if line.get_marker() in "osD"
    ]
    assert places == [(0, 0.2), (3000, pytest.approx(0.65)), (10**6, 0.9)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(points)
    drawn = ax.transData.transform([(0, 0), (2048, 0), (2**20, 0)])[:, 0]
    assert drawn[0] < drawn[1] < drawn[2]
    low, high = ax.get_xlim()
    assert low < 0 and high > 10**6
    assert ax.get_xticklabels()[0].get_text() == "0 B" and ax.get_xticklabels()[1].get_text() == "2 KiB"


def test_nothing_kept_by_anyone_is_no_error():
    ax = accuracy_against_bytes({"naive": (0, [0.2]), "cwr": (0, [0.5, 0.5])}, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0 B"]


def test_without_axes_a_figure_is_made():
    made = [
        accuracy_matrix(MATRIX),
        accuracy_over_tasks({"a": [MATRIX]}),
        accuracy_against_bytes({"a": (1, [0.5])}),
    ]
    assert len({ax.figure for ax in made}) == 3
    for ax in made:
        pyplot.close(ax.figure)
