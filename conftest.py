"""Docstrings of adapters are no tests where the package that they adapt to is not installed."""

from importlib.util import find_spec

_ADAPTERS = {"torch": "bitlearn/torch/*", "jax": "bitlearn/jax.py"}
collect_ignore_glob = [files for package, files in _ADAPTERS.items() if find_spec(package) is None]
