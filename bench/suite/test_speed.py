"""Every kernel, in every variant and by every rival, through pytest-benchmark: ``pytest bench/``.

The cases, the rivals and the checks are those of ``python -m bitlearn bench``. Here each is timed by itself, which
suits a comparison of two commits; take ratios between contenders from there, where they take turns. The
environment variable ``BITLEARN_BENCH_SHAPES`` names a grid or shapes, as ``--shapes`` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import bitlearn as bl
from bitlearn.bench import harness, kernels, rivals, runner
from bitlearn.bench.cases import Case
from bitlearn.bench.kernels import Place
from bitlearn.ops.dispatch import implementing

SHAPES = kernels.parse_shapes(os.environ.get("BITLEARN_BENCH_SHAPES", "small"))

#: One at a time: operands can be large, and the contenders of a case follow one another.
case_at = lru_cache(maxsize=1)(kernels.case)


def contenders() -> Iterator[object]:
    """Yield the place and the name of each contender, without making operands."""
    for place in kernels.places(shapes=SHAPES):
        names = implementing(place.kernel)
        names += [rival.NAME for rival in rivals.load() if runner.does(rival, place.kernel, place.form)]
        for name in names:
            yield pytest.param(place, name, id=f"{place.kernel}-{place.form}-{'x'.join(map(str, place.shape))}-{name}")


def contender(case: Case, name: str) -> harness.Contender:
    """Return one of our variants or a rival, or skip the test with the reason."""
    mine, left_out = runner.ours(case, [name])
    known = {rival.NAME for rival in rivals.load()}
    others, reasons = runner.theirs(case, rivals.load([name])) if name in known else ([], {})
    for found in (*mine, *others):
        return found
    pytest.skip((left_out | reasons)[name])


@pytest.mark.parametrize(("place", "name"), [*contenders()])
def test_speed(benchmark: BenchmarkFixture, place: Place, name: str) -> None:
    case = case_at(*place)
    chosen = contender(case, name)
    with runner.held_threads(bl.get_num_threads()):
        harness.verify(chosen)
        benchmark.group = str(place)
        benchmark.extra_info |= {"operations": case.operations, "unit": case.unit}
        with chosen.within():
            benchmark(chosen.call)
