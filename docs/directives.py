"""Parts of the pages that are made from the package itself, so that they cannot disagree with it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from bitlearn.bench import (
    accuracy,
    accuracy_per_byte,
    adapters,
    analytic,
    centre,
    centre_costs,
    claims,
    continual,
    dual,
    growth,
    intensity,
    many_classes,
    plots,
    projection,
    pytorch_script,
    results,
    sweep,
    tables,
    wta,
)
from bitlearn.continual import METHODS, Options
from bitlearn.continual.settings import declared, owners
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


class SettingsOfMethods(SphinxDirective):
    """The settings of all methods, and of each that has its own, as they were declared."""

    def run(self) -> list[nodes.Node]:
        shared = declared(Options)
        found = shared | {name: each for kind in METHODS.values() for name, each in declared(kind.takes).items()}
        lines = [".. list-table::", "   :header-rows: 1", ""]
        rows = [["setting", "of", "type", "default", "meaning"]]
        for name, each in found.items():
            whose = "all methods" if name in shared else ", ".join(f"``{method}``" for method in owners(name))
            meaning = each.meaning if each.range is None else f"{each.meaning} Must be {each.range.says}."
            rows.append([f"``{name}``", whose, f"``{each.type}``", f"``{each.default!r}``", meaning])
        for row in rows:
            lines += [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(row)]
        for kind in METHODS.values():
            self.env.note_dependency(sys.modules[kind.takes.__module__].__file__ or "")
        return self.parse_text_to_nodes("\n".join(lines))


def escaped(text: str) -> str:
    """Return text in which every character is what it is."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def list_table(rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return a heading and rows of plain text as a table."""
    lines = [f".. list-table:: {title}".rstrip(), "   :header-rows: 1", ""]
    for row in rows:
        # A number keeps its unit beside it.
        cells = [re.sub(r"^([\d.]+) ", "\\1\N{NO-BREAK SPACE}", escaped(cell)) for cell in row]
        lines += [f"   {'* -' if index == 0 else '  -'} {cell}".rstrip() for index, cell in enumerate(cells)]
    return "\n".join(lines)


def measured(env: BuildEnvironment, name: str) -> list[list[dict]]:
    """Return the entries of each file of that name among the results that are kept with the code."""
    files = sorted(results.FOLDER.glob(f"*/{name}"))
    for file in files:
        env.note_dependency(str(file))
    return [results.read(file) for file in files]


class Claims(SphinxDirective):
    """Every claim with its bar, and what each kind of machine measured."""

    def run(self) -> list[nodes.Node]:
        machines = measured(self.env, "claims.json")
        found = [{entry["id"]: entry for entry in entries} for entries in machines]
        rows = [["claim", "statement", "bar", *(entries[0]["machine"]["kind"] for entries in machines)]]
        for claim in claims.load():
            cells = [tables.verdict(each[claim.id]) if claim.id in each else "" for each in found]
            rows.append([claim.id, claim.statement, claim.bar_text, *cells])
        widths = f":widths: 18 52 15 {' '.join(['15'] * len(machines))}"
        table = list_table(rows).replace(":header-rows: 1", f":header-rows: 1\n   {widths}", 1)
        return self.parse_text_to_nodes(table)


class Benchmarks(SphinxDirective):
    """A section a kind of machine, with all that was measured there as tables and plots."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for entries in measured(self.env, "bench.json"):
            machine = entries[0]["machine"]
            title = machine["microarchitecture"] or machine["kind"]
            parts += [f"{title}\n{'~' * len(title)}", list_table([("property", "value"), *tables.facts(machine)])]
            for name, group in tables.families(entries):
                parts += [f"{name.capitalize()}\n{'^' * len(name)}"]
                parts += [list_table(tables.rival_table(group), "Compared with other packages")]
                parts += [self.drawing(plots.ratios(group), f"Ratios to the rivals: {name}")]
                parts += [list_table(tables.variant_table(group), "All variants")]
                parts += [self.drawing(plots.shares(group), f"Shares of the probe's rate: {name}")]
            parts += map(escaped, tables.missing(entries))
        text = "\n\n".join(parts) or "None are kept with this version."
        return self.parse_text_to_nodes(text, allow_section_headings=True)

    @staticmethod
    def drawing(svg: bytes | None, alternative: str) -> str:
        """Return a picture inside the page: no file to keep, and its names meet no other's."""
        if svg is None:
            return ""
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
        return f'.. raw:: html\n\n   <p><img alt="{alternative}" src="{source}"></p>'


class Trainings(SphinxDirective):
    """The accuracies of the trainings that are kept with the code: ``accuracy`` or ``sweep``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] == "accuracy":
            folder, found = accuracy.FOLDER, [("", accuracy.rows(accuracy.FOLDER))]
        else:
            folder, found = sweep.FOLDER, sweep.tables(sweep.present(sweep.FOLDER))
        for file in sorted(folder.glob("*.json")):
            self.env.note_dependency(str(file))
        parts = [list_table(rows, title) for title, rows in found if len(rows) > 1]
        if self.arguments[0] == "accuracy":
            parts.append(Benchmarks.drawing(accuracy.draw(folder), "Accuracy on held-out data, epoch by epoch"))
        return self.parse_text_to_nodes("\n\n".join(parts) or "None are kept with this version.")


class AnalyticCurve(SphinxDirective):
    """Accuracy against bytes, of learners of exact sums: on the ``test`` set with a plot, or on ``held-out`` data."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0]
        for file in sorted(analytic.FOLDER.glob(f"*-{kind}.json")):
            self.env.note_dependency(str(file))
        found = analytic.present(analytic.FOLDER, kind)
        if not found:
            return self.parse_text_to_nodes("None are kept with this version.")
        parts = [list_table(analytic.rows(found))]
        if kind == "test":
            parts.insert(0, Benchmarks.drawing(analytic.curve(found), "Accuracy against bytes"))
        return self.parse_text_to_nodes("\n\n".join(parts))


class Dual(SphinxDirective):
    """Latent replay with two bit widths: on the ``test`` set, or on ``held-out`` data."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kind = "" if self.arguments[0] == "test" else f"{self.arguments[0]}-"
        for file in sorted(dual.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        rows = dual.rows(dual.present(dual.FOLDER, kind))
        return self.parse_text_to_nodes(list_table(rows) if len(rows) > 1 else "None are kept with this version.")


class ManyClasses(SphinxDirective):
    """What signs of gradients lose as classes grow: on the ``test`` set, or on ``held-out`` digits."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for file in sorted(many_classes.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        made = many_classes.told_rows if self.arguments[0] == "test" else many_classes.held_out_rows
        rows = made(many_classes.FOLDER)
        return self.parse_text_to_nodes(list_table(rows) if len(rows) > 1 else "None are kept with this version.")


class AccuracyPerByte(SphinxDirective):
    """Bytes of a step against accuracy and time, of every policy and optimiser: a plot and a table."""

    def run(self) -> list[nodes.Node]:
        folder = accuracy_per_byte.FOLDER
        for file in sorted(folder.glob("*.json")):
            self.env.note_dependency(str(file))
        rows = accuracy_per_byte.rows(folder)
        if len(rows) == 1:
            return self.parse_text_to_nodes("None are kept with this version.")
        drawn = Benchmarks.drawing(accuracy_per_byte.draw(folder), "Accuracy and time against bytes")
        return self.parse_text_to_nodes(f"{drawn}\n\n{list_table(rows)}")


class Growth(SphinxDirective):
    """Time and bytes of a step against its batch, depth, width and threads: a plot and a table a machine and policy."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for file in sorted(growth.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
            entries = json.loads(file.read_text("utf-8"))["entries"]
            drawn = Benchmarks.drawing(growth.draw(entries), f"Growth of a step, {file.stem}")
            parts += [drawn, list_table(growth.rows(entries), escaped(file.stem))]
        return self.parse_text_to_nodes("\n\n".join(parts) if parts else "None are kept with this version.")


class Continual(SphinxDirective):
    """What methods of continual learning reach on images: a table for each protocol whose results are kept."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for protocol in continual.PROTOCOLS:
            kept = continual.present(continual.FOLDER, protocol, "test")
            for file in sorted(continual.FOLDER.glob("*.json")):
                self.env.note_dependency(str(file))
            if kept:
                parts.append(list_table(continual.rows(kept), escaped(protocol.title)))
        return self.parse_text_to_nodes("\n\n".join(parts) if parts else "None are kept with this version.")


class Projection(SphinxDirective):
    """Gradient projection on permuted MNIST: the runs that are kept."""

    def run(self) -> list[nodes.Node]:
        for file in sorted(projection.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        rows = projection.rows(projection.present(projection.FOLDER))
        return self.parse_text_to_nodes(list_table(rows) if len(rows) > 1 else "None are kept with this version.")


class Adapters(SphinxDirective):
    """What the adapters add to a call, on each kind of machine."""

    def run(self) -> list[nodes.Node]:
        for file in sorted(adapters.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        parts = [list_table(adapters.rows(found), kind) for kind, found in adapters.kept().items()]
        return self.parse_text_to_nodes("\n\n".join(parts) or "None are kept with this version.")


class PytorchScript(SphinxDirective):
    """The race of a script of PyTorch's with and without three lines, on each kind of machine."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for file in sorted(pytorch_script.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        for kind, found in pytorch_script.kept().items():
            parts += [list_table(pytorch_script.rows(found), kind), escaped(pytorch_script.said(found))]
        return self.parse_text_to_nodes("\n\n".join(parts) or "None are kept with this version.")


class Centre(SphinxDirective):
    """Centre-sensitive kernels: ``accuracy``, a table for each protocol that is kept; ``costs`` or ``intensity``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for file in sorted(centre.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        if self.arguments[0] == "costs":
            file = centre_costs.FILE
            kept = centre_costs.by_network(json.loads(file.read_text("utf-8"))) if file.exists() else {}
            parts = [list_table(centre_costs.rows(entries), name) for name, entries in kept.items()]
        elif self.arguments[0] == "intensity":
            file = intensity.FILE
            kept = json.loads(file.read_text("utf-8")) if file.exists() else []
            parts = [Benchmarks.drawing(intensity.draw(kept), "Which taps learn new classes")] if kept else []
        else:
            found = [(protocol, centre.present(centre.FOLDER, protocol, "test")) for protocol in centre.PROTOCOLS]
            parts = [list_table(centre.rows(kept), protocol.name) for protocol, kept in found if kept]
        return self.parse_text_to_nodes("\n\n".join(parts) if parts else "None are kept with this version.")


class WinnerTakesAll(SphinxDirective):
    """What competing units reach: tables of accuracy, of ``times``, pictures of ``winners`` or of ``units``."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        what = self.arguments[0] if self.arguments else "accuracy"
        for file in sorted(wta.FOLDER.glob("*.json")):
            self.env.note_dependency(str(file))
        return self.parse_text_to_nodes("\n\n".join(self.parts(what)) or "None are kept with this version.")

    def parts(self, what: str) -> list[str]:
        """Return the tables or pictures of what is kept."""
        if what == "times":
            return [list_table(rows, escaped(title)) for title, rows in wta.timings(wta.FOLDER).items()]
        if what == "units":
            lines = wta.lines_by_units(wta.FOLDER)
            return [Benchmarks.drawing(plots.by_units(lines), "Tickets by units per block")] if lines else []
        kept = [(each, wta.present(wta.FOLDER, each, "test")) for each in wta.PROTOCOLS]
        if what == "accuracy":
            return [list_table(wta.rows(found), escaped(each.title)) for each, found in kept if found]
        shown = [(each, entry) for each, found in kept for entry in found[:1] if "winners" in entry["report"]]
        return [
            Benchmarks.drawing(plots.winners(entry["report"]), f"Which unit won where: {each.name}, {entry['way']}")
            for each, entry in shown
        ]


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
    app.add_directive("analytic-curve", AnalyticCurve)
    app.add_directive("dual", Dual)
    app.add_directive("many-classes", ManyClasses)
    app.add_directive("accuracy-per-byte", AccuracyPerByte)
    app.add_directive("growth", Growth)
    app.add_directive("continual", Continual)
    app.add_directive("projection", Projection)
    app.add_directive("centre", Centre)
    app.add_directive("adapters", Adapters)
    app.add_directive("pytorch-script", PytorchScript)
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("winner-takes-all", WinnerTakesAll)
    app.add_directive("claims", Claims)
    app.add_directive("policies", Policies)
    app.add_directive("settings-of-methods", SettingsOfMethods)
    app.add_directive("trainings", Trainings)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("markdown-file", MarkdownFile)
    return {"parallel_read_safe": True}
