"""A network as a table: for each layer what it gives, holds and costs."""

from __future__ import annotations

import html
from dataclasses import dataclass

from bitlearn.nn.layer import Layer

_HEADS = ("layer", "type", "output", "parameters", "stored", "binary ops", "other ops")
_TO_THE_RIGHT = {3, 5, 6}


@dataclass(frozen=True)
class Summary:
    """A table of a network's layers.

    Parameters
    ----------
    rows : tuple of tuple
        One a layer, and the totals: path, type, shape of an example's result, parameters, bytes of its inference form,
        binary and other multiply-adds an example takes forward.
    """

    rows: tuple[tuple[str, str, str, int, int, int, int], ...]

    def _cells(self) -> list[list[str]]:
        return [
            [f"{each:,} bytes" if at == 4 else f"{each:,}" if at > 2 else str(each) for at, each in enumerate(row)]
            for row in self.rows
        ]

    def __str__(self) -> str:
        lines = [list(_HEADS), *self._cells()]
        widths = [max(len(line[at]) for line in lines) for at in range(len(_HEADS))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if at in _TO_THE_RIGHT else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(cells, "td") for cells in self._cells())
        return f"<table><thead>{line(list(_HEADS), 'th')}</thead><tbody>{body}</tbody></table>"


def summarize(root: Layer) -> Summary:
    """Return the table of a network of bound layers."""
    rows = []
    for path, layer in root.leaves():
        count = sum(array.size for array in layer.parameters().values())
        stored = sum(array.nbytes for array in layer.inference().values())
        shape = str(layer.output.shape)
        rows.append((path, type(layer).__name__, shape, count, stored, *layer.operations()))
    *_, counts, bits, binary, others = zip(*rows, strict=True)
    totals = ("total", "", "", sum(counts), sum(bits), sum(binary), sum(others))
    return Summary((*rows, totals))
