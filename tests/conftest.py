"""What every test may ask for: a seeded generator, each variant in turn, the folder of data sets."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from cases import DEFAULT_SEED, SEED_VARIABLE, seed
from hypothesis import settings

import bitlearn as bl
from bitlearn import backends, threads
from bitlearn.backends import variants

#: A script for Linux and a plugin that switches Numba off: not to be imported in a search for examples.
collect_ignore = ["campaign", "guard_pages.py", "sanitized.py"]

settings.register_profile("bitlearn", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("bitlearn")


def pytest_report_header() -> str:
    return f"{SEED_VARIABLE}={seed()} (default {DEFAULT_SEED}); variants: {', '.join(variants())}"


@pytest.fixture(scope="module", autouse=True)
def garbage_of_this_module_alone():
    """Leave what lives already out of collections: a meter of memory collects, and thousands of tests lie about."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "rng" in getattr(item, "fixturenames", ()):
        report.sections.append(("seed", f"{SEED_VARIABLE}={seed()}"))
    return report


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run and whatever runs before, unless the environment variable names another seed."""
    return np.random.default_rng(seed())


@pytest.fixture(params=variants())
def variant(request):
    """Run the test on each variant that is available here."""
    with bl.use_backend(request.param):
        yield request.param


@pytest.fixture
def data_folder() -> Path:
    """The folder of image files; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("BITLEARN_DATA")
    if not folder:
        pytest.skip("BITLEARN_DATA is not set")
    return Path(folder)


@pytest.fixture(autouse=True)
def environment_read_anew():
    """Forget what was read of the environment: it is read once a process, and tests change it."""
    backends.forget()
    threads._from_environment.cache_clear()
    yield
    backends.forget()
    threads._from_environment.cache_clear()


@pytest.fixture(autouse=True)
def every_call_split(monkeypatch):
    """Split calls over as many threads as they ask for: the operands of tests are small."""
    monkeypatch.setattr(threads, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(threads, "WORK_PER_WAITING_THREAD", 1)
