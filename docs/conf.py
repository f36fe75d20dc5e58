"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

from bitlearn.version import VERSION

sys.path.insert(0, str(Path(__file__).parent))

project = "bitlearn"
author = "The bitlearn developers"
copyright = author
version = release = VERSION

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "accessible",
    "directives",
    "mathml",
    "plotted",
]
exclude_patterns = ["_build", "_templates", "examples"]
# Docstrings write `name` for anything of the package; what is no such name stays plain code.
default_role = "py:obj"

# A page for each name, in docs/api/generated: from the list of each page of docs/api.
autosummary_generate = True
templates_path = ["_templates"]
# Where a function is called as a class is, but for capitals, some file systems would keep one of two pages.
_TWINS = {
    "backends.table": ["Kernel"],
    "continual": ["Prequential", "Stream"],
    "continual.settings": ["Setting"],
    "memory": ["Account"],
    "optim": ["Adam", "Bop", "SGD"],
    "training": ["Plan"],
}
_NAMES = [f"bitlearn.{module}.{name}" for module, names in _TWINS.items() for name in names]
autosummary_filename_map = {name: f"{name}-class" for name in _NAMES}
# An extra that the documentation is built without.
autodoc_mock_imports = ["dask", "distributed", "flwr", "mpi4py"]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# The docstrings state types, shapes and units; annotations would say half of it again.
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Functions and classes have to document all parameters and what they return; a method may say it in its first line.
numpydoc_validation_checks = {"GL08", "PR01", "PR02", "PR10", "RT01"}
# The methods of continual learning take what their base class takes.
numpydoc_validation_exclude = {r"\.[A-Z]\w*\.\w+$", r"continual\.methods\.\w+\.[A-Z]\w*$"}
python_maximum_signature_line_length = 100

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"bitlearn {release}"
html_static_path = ["_static"]
html_css_files = ["bitlearn.css"]
# Nothing is loaded from elsewhere: the pages work without a network.
html_copy_source = False
html_show_copyright = False
# Of 4.5:1 and more in all places.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
highlight_language = "none"
