"""Parts of the pages that are made from the package itself, so that they cannot disagree with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bitlearn.precision import POLICIES


class Policies(SphinxDirective):
    """The precision policies as a table: one row a field, one column a policy."""

    def run(self) -> list[nodes.Node]:
        rows = [["what", *(f"``{name}``" for name in POLICIES)]]
        for field in fields(next(iter(POLICIES.values()))):
            if field.name != "name":
                values = [getattr(policy, field.name) for policy in POLICIES.values()]
                rows.append([f"``{field.name}``", *(str(value) for value in values)])
        lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
        for row in rows:
            lines += [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(row)]
        self.env.note_dependency(sys.modules["bitlearn.precision"].__file__ or "")
        return self.parse_text_to_nodes("\n".join(lines))


class CommandHelp(SphinxDirective):
    """What ``python -m bitlearn SUB-COMMAND --help`` prints."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        command = [sys.executable, "-m", "bitlearn", *self.arguments, "--help"]
        environment = os.environ | {"COLUMNS": "88", "NO_COLOR": "1"}
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if found.returncode != 0:
            raise self.error(f"{' '.join(command[1:])} must exit 0, got {found.returncode}: {found.stderr}")
        return [nodes.literal_block(found.stdout, found.stdout, language="text")]


class MarkdownFile(SphinxDirective):
    """A plain Markdown file of this repository: headings, lists, code in backticks and links."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, self.arguments[0]).resolve()
        self.env.note_dependency(str(path))
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            heading = re.match(r"(#+) (.*)", line)
            text = heading[2] if heading else line
            text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text))
            lines.append(text)
            if heading:
                lines += ["=-~^"[len(heading[1]) - 1] * len(text), ""]
            elif re.match(r"\s*\S", line) is None:
                lines.append("")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app) -> dict[str, bool]:
    app.add_directive("policies", Policies)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("markdown-file", MarkdownFile)
    return {"parallel_read_safe": True}
