"""Pictures that the documentation draws itself: ``.. plotted:: NAME`` runs docs/plots/NAME.py and shows its figure."""

from __future__ import annotations

import base64
import io
import runpy
from pathlib import Path
from typing import ClassVar

import matplotlib as mpl
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from bitlearn.report.figures import STYLE

PLOTS = Path(__file__).parent / "plots"


def drawn(name: str) -> bytes:
    """Return the figure that a file of docs/plots leaves as ``figure``, as SVG with nothing behind it."""
    with mpl.rc_context(STYLE):
        figure = runpy.run_path(str(PLOTS / f"{name}.py"))["figure"]
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        return stream.getvalue()


class Plotted(SphinxDirective):
    """The figure of a file, with what it shows in words, and the code behind a fold."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.env.note_dependency(str(PLOTS / f"{name}.py"))
        source = f"data:image/svg+xml;base64,{base64.b64encode(drawn(name)).decode()}"
        alternative = " ".join(self.options["alt"].split())
        text = (
            f'.. raw:: html\n\n   <p><img class="drawn" alt="{alternative}" src="{source}"></p>'
            f"\n   <details><summary>Show the code: {name}</summary>\n\n"
            f".. literalinclude:: /plots/{name}.py\n   :language: python\n\n"
            f".. raw:: html\n\n   </details>"
        )
        return self.parse_text_to_nodes(text)


def setup(app) -> dict[str, bool]:
    app.add_directive("plotted", Plotted)
    return {"parallel_read_safe": True}
