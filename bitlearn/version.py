"""The version, and under which name the package is distributed."""

from __future__ import annotations

VERSION = "0.1.0"
#: On the package index `bitlearn` is another project's: the import name alone is ours.
DISTRIBUTION = "bitlearn-xnor"


def other_project() -> str | None:
    """Return the version of the other project's package where it is installed: its files lie where ours do."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        found = metadata("bitlearn")
    except PackageNotFoundError:
        return None
    # An earlier checkout of this library was installed under that name.
    return None if "packed 64-bit words" in (found.get("Summary") or "") else found["Version"]
