"""What the library says of its build and of this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import config
from bitlearn.backends import BACKENDS, KERNELS, variants


def test_dictionary():
    found = bl.show_config(mode="dict")
    assert json.loads(json.dumps(found)) == found
    assert found["version"] == bl.__version__ and found["numpy"] == np.__version__
    assert found["threads"] == bl.get_num_threads()
    assert set(found["kernels"]) == set(KERNELS)
    for kernel, variant in found["kernels"].items():
        assert variant == bl.which(kernel)
    for variant in variants():
        assert found["backends"][variant] == "available"
    assert {name.split(":")[0] for name in found["backends"]} >= set(BACKENDS)


def test_the_choice_in_force_shows():
    with bl.use_backend("reference"):
        assert set(bl.show_config(mode="dict")["kernels"].values()) == {"reference"}


def test_print(capsys):
    assert bl.show_config() is None
    text = capsys.readouterr().out
    for name in ("version", "cpu", "threads", "backends", "kernels", "xnor_matmul", "reference"):
        assert name in text


def test_a_missing_extension_and_numba_are_named(monkeypatch):
    monkeypatch.setattr(config, "variants", lambda: ["reference"])
    monkeypatch.setattr(config, "unavailable", lambda: {"cext": "it was not compiled"})
    monkeypatch.setattr(config.importlib.util, "find_spec", lambda name: None)
    found = bl.show_config(mode="dict")
    assert found["compiler"] == "none: it was not compiled" and found["numba"] == "not installed"
    assert found["backends"] == {"reference": "available", "cext": "it was not compiled"}


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode must be 'print' or 'dict', got 'json'"):
        bl.show_config(mode="json")


def test_the_package_of_another_project(monkeypatch, capsys):
    """It is told from an older checkout of this one, whose summary speaks of packed words."""
    from importlib import metadata

    from bitlearn.version import other_project

    found = {"Summary": "Fast machine learning in C++", "Version": "1.1.5"}
    monkeypatch.setattr(metadata, "metadata", lambda name: found)
    assert other_project() == "1.1.5"
    bl.show_config()
    assert "bitlearn 1.1.5 of another project is installed too: pip uninstall bitlearn" in capsys.readouterr().out
    found["Summary"] = "Learning on small devices with binary (±1) networks on packed 64-bit words"
    assert other_project() is None
    bl.show_config()
    assert "another project" not in capsys.readouterr().out
