"""A network as a table: for each layer what it gives, holds and costs."""

from __future__ import annotations

import copy
import html
from dataclasses import dataclass

from bitlearn.nn.layer import Layer

_HEADS = ("layer", "type", "output", "parameters", "bits", "stored", "binary ops", "other ops")
_TO_THE_RIGHT = {3, 4, 6, 7}
#: What predictions keep of a parameter that is not binarised: a float, or an integer threshold.
_REAL_BITS = 32


@dataclass(frozen=True)
class Summary:
    """A table of a network's layers.

    Parameters
    ----------
    rows : tuple of tuple
        One per layer, and the totals: path, type, shape of an example's result, parameters, the bits that each of them
        takes in the inference form, bytes of that form, binary and other multiply-adds in the forward pass of an
        example.
    """

    rows: tuple[tuple[str, str, str, int, str, int, int, int], ...]

    def _cells(self) -> list[list[str]]:
        return [
            [f"{each:,} bytes" if at == 5 else f"{each:,}" if type(each) is int else str(each) for at, each in cells]
            for cells in map(enumerate, self.rows)
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


def summarize(root: Layer, *, bare: bool = False) -> Summary:
    """Return the table of a network of bound layers, which need not have their arrays: `bare` ones are built to see."""
    rows = []
    for path, layer in root.leaves():
        if bare:
            layer = copy.copy(layer)
            layer.build(0)
        parameters = {name: array.size for name, array in layer.parameters().items()}
        bits = sorted({1 if name in layer.binary else _REAL_BITS for name in parameters})
        stored, shape = sum(array.nbytes for array in layer.inference().values()), str(layer.output.shape)
        widths = ", ".join(map(str, bits))
        rows.append((path, type(layer).__name__, shape, sum(parameters.values()), widths, stored, *layer.operations()))
    _, _, _, counts, _, sizes, binary, others = zip(*rows, strict=True)
    return Summary((*rows, ("total", "", "", sum(counts), "", sum(sizes), sum(binary), sum(others))))
