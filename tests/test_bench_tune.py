"""The tuner: rules fitted to times, the header they become, and the way from two variants to both."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bitlearn.bench import kernels, rules, tune
from bitlearn.bench.rules import NEVER, Point, Rule
from bitlearn.ops.dispatch import implementing

SIZES = [(m, k, n) for m in (4, 16, 64, 256) for k in (32, 128) for n in (64, 256, 1024)]


def timed(faster, gain=0.5, noise=0.0, seed=0):
    """Return times in which the fast variant takes `gain` of the slow one's where `faster` says so, else twice."""
    rng = np.random.default_rng(seed)
    found = []
    for m, k, n in SIZES:
        slow = m * k * n * 1e-12 + 1e-6
        fast = slow * (gain if faster(m, k, n) else 2.0)
        found.append(Point((m, k, n), fast * (1 + noise * rng.uniform(-1, 1)), slow * (1 + noise * rng.uniform(-1, 1))))
    return found


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        (lambda m, k, n: m >= 64, Rule(64, 32, 64, 64 * 32 * 64)),
        (lambda m, k, n: k >= 128 and n >= 256, Rule(4, 128, 256, 4 * 128 * 256)),
        (lambda m, k, n: m >= 16 and n >= 256, Rule(16, 32, 256, 16 * 32 * 256)),
        (lambda m, k, n: m * k * n >= 2**21, Rule(16, 32, 64, 2**21)),
        (lambda m, k, n: True, Rule(4, 32, 64, 4 * 32 * 64)),
        (lambda m, k, n: False, Rule(NEVER, 0, 0, 0)),
    ],
)
def test_thresholds_are_found_again(faster, expected, noise):
    points = timed(faster, noise=noise)
    rule = rules.fit(points)
    assert rule == expected
    assert all(rule.pays(point.sizes) == faster(*point.sizes) for point in points)
    assert rule.never == (expected.m == NEVER)


def test_a_rule_never_takes_what_is_smaller_than_all_that_was_timed():
    rule = rules.fit(timed(lambda m, k, n: True))
    assert rule.pays((4, 32, 64)) and not rule.pays((3, 32, 64)) and not rule.pays((4, 31, 64))


def test_a_loss_weighs_more_than_a_gain():
    # Twice as fast at one size, and half as fast at another of the same rows, columns and terms or more.
    points = [Point((8, 64, 64), 0.5, 1.0), Point((16, 64, 64), 2.0, 1.0)]
    assert rules.fit(points).never
    # What differs by less than the noise is neither.
    assert rules.fit([points[0], Point((16, 64, 64), 1.01, 1.0)]) == Rule(8, 64, 64, 8 * 64 * 64)


def test_what_a_rule_loses():
    points = [Point((8, 64, 64), 0.5, 1.0), Point((16, 64, 64), 1.5, 1.0)]
    assert rules.lost(Rule(8, 64, 64, 0), points) == pytest.approx((0.25, 0.5))
    assert rules.lost(Rule(NEVER, 0, 0, 0), points) == pytest.approx((0.5, 0.0))
    assert rules.fit([]).never


def test_a_header_is_read_as_it_was_written():
    found = {("grad_input", "INT8"): Rule(16, 32, 64, 2**22), ("xnor_matmul", "UINT64"): Rule(NEVER, 0, 0, 0)}
    source = "Measured on a processor, " + "at length, " * 20 + "and well."
    text = rules.write(found, source)
    assert rules.read(text) == (found, source)
    assert max(map(len, text.splitlines())) <= 120
    assert "X(grad_input, INT8, 16, 32, 64, 4194304)" in text and text.count("\\\n") == len(found)


def record(fast=tune.FAST, slow=tune.SLOW, skip=()):
    """Return a record in which the fast variant wins at 64 rows and more."""
    points = [
        {
            "kernel": place.kernel,
            "form": place.form,
            "shape": list(place.shape),
            "seconds": {fast: 1.0 if tune.sizes(place.shape)[0] >= 64 else 3.0, slow: 2.0},
        }
        for place in tune.places("small")
        if place.kernel not in skip
    ]
    return {
        "fast": fast,
        "slow": slow,
        "machine": {"cpu": "Some Processor", "kind": "some-processor"},
        "points": points,
    }


def test_every_product_is_timed_at_shapes_that_it_takes():
    names = {place.kernel for place in tune.places("small")}
    assert names == {name for name in kernels.TIMED if name.startswith(("hamming", "xnor_", "grad_", "conv2d_grad_"))}
    for grid in tune.GRIDS:
        for place in tune.places(grid):
            assert kernels.FAMILIES[kernels.family(place.kernel)].takes(*place)
    assert {place.form for place in tune.places("small", ["grad_weight"])} == {"int8", "int16"}


def test_a_record_becomes_the_header(tmp_path, capsys):
    before = tmp_path / "rules.h"
    keys = [*tune.points(record()), ("codes_grad_weight", "INT8"), ("codes_grad_weight", "INT16")]
    before.write_text(rules.write(dict.fromkeys(keys, Rule(1, 1, 1, 1)), "Derived, not measured."))
    kept = tmp_path / "tune.json"
    kept.write_text(json.dumps(record()))
    assert tune.main(["--from", str(kept), "--header", str(before)]) == 0
    found, source = rules.read(before.read_text())
    assert list(found) == keys
    assert source == "Measured on Some Processor (some-processor), cext:amx against cext:avx512."
    assert {rule.m for rule in found.values()} == {64, 128}
    assert found["codes_grad_weight", "INT8"] == found["grad_weight", "INT8"]
    assert "grad_input" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("made", "code", "reason"),
    [
        (record(skip=("grad_input",)), 2, "got none of grad_input INT8, grad_input INT16"),
        (record("cext:avx512", "cext:avx2"), 0, ""),
    ],
)
def test_the_rules_in_use_stay(tmp_path, capsys, made, code, reason):
    header = tmp_path / "rules.h"
    text = rules.write(dict.fromkeys(tune.points(record()), Rule(1, 1, 1, 1)), "Derived, not measured.")
    header.write_text(text)
    kept = tmp_path / "tune.json"
    kept.write_text(json.dumps(made))
    assert tune.main(["--from", str(kept), "--header", str(header)]) == code
    assert header.read_text() == text
    assert reason in capsys.readouterr().err


def test_two_variants_of_this_machine_are_timed(tmp_path, capsys):
    pair = [variant for variant in implementing("grad_input") if variant.startswith("cext")][-2:]
    if len(pair) < 2:
        pytest.skip("there is no second variant")
    options = ["--grid", "small", "--kernels", "grad_input", "--seconds", "0.001", "--into", str(tmp_path)]
    header = tmp_path / "rules.h"
    assert tune.main(["--fast", pair[0], "--slow", pair[1], "--header", str(header), *options]) == 0
    (path,) = tmp_path.glob("*/tune-*.json")
    kept = json.loads(path.read_text())
    assert (kept["fast"], kept["slow"]) == tuple(pair) and path.parent.name == kept["machine"]["kind"]
    assert len(kept["points"]) == len(tune.places("small", ["grad_input"]))
    assert all(set(entry["seconds"]) == set(pair) for entry in kept["points"])
    assert not header.exists() and "grad_input" in capsys.readouterr().out


def test_a_variant_that_is_not_here_is_an_error(tmp_path, capsys):
    assert tune.main(["--fast", "cext:abacus", "--into", str(tmp_path)]) == 2
    assert "cext:abacus is not available: there is no such variant" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tune.main(["--kernels", "popcount", "--into", str(tmp_path)])
    assert "invalid choice: 'popcount'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
