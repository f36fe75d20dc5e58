"""Rules that choose between two variants by the sizes of a product: fitted to times, and written as a C header.

A rule is four minimum sizes, of rows, columns, terms and total multiply-adds: the simplest rule that separates small
products, few rows and thin matrices from the rest. Products smaller than all timed ones use the slow variant.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

Sizes = tuple[int, int, int]
#: A kernel and the C name of the type of its left operand.
Key = tuple[str, str]

#: A minimum number of rows that no product has.
NEVER = 2**62
#: A product that the choice makes slower counts as this many that it fails to make faster.
CAUTION = 4.0
#: Times that differ by less count as equal.
NOISE = 0.02


@dataclass(frozen=True)
class Point:
    """The seconds of both variants at a product of (m, k, n)."""

    sizes: Sizes
    fast: float
    slow: float


@dataclass(frozen=True)
class Rule:
    """The least rows, columns, terms and multiply-adds of the products that the fast variant gets."""

    m: int
    k: int
    n: int
    work: int

    def pays(self, sizes: Sizes) -> bool:
        """Whether the fast variant gets a product."""
        m, k, n = sizes
        return m >= self.m and k >= self.k and n >= self.n and m * k * n >= self.work

    @property
    def never(self) -> bool:
        """Whether it gets none."""
        return self.m >= NEVER


def fit(points: Sequence[Point]) -> Rule:
    """Return the rule whose choices lose least, by the sum of logarithms of the times lost, over all thresholds.

    Among rules that choose alike, the one with the largest thresholds.
    """
    sizes = np.array([point.sizes for point in points], dtype=np.int64).reshape(len(points), 3)
    work = sizes.astype(object).prod(axis=1).astype(np.float64)
    # The gain of the fast variant, in logarithms; a loss has more weight.
    won = np.log([point.slow / point.fast for point in points])
    won = np.where(np.abs(won) < np.log1p(NOISE), 0.0, np.where(won < 0, CAUTION * won, won))
    order = np.argsort(-work, kind="stable")
    best, most = np.zeros(len(points), dtype=bool), 0.0
    for least in itertools.product(*(np.unique(column) for column in sizes.T)):
        inside = (sizes >= least).all(axis=1)
        sums = np.cumsum(np.where(inside, won, 0.0)[order])
        # A threshold of work includes all products with as much work.
        ends = np.flatnonzero(np.append(np.diff(work[order]) != 0, True)) if len(points) else np.array([], dtype=int)
        at = ends[np.argmax(sums[ends])]
        if sums[at] > most + 1e-9:
            best, most = inside & (work >= work[order][at]), float(sums[at])
    if not best.any():
        return Rule(NEVER, 0, 0, 0)
    m, k, n = (int(least) for least in sizes[best].min(axis=0))
    return Rule(m, k, n, int(work[best].min()))


def lost(rule: Rule, points: Sequence[Point]) -> tuple[float, float]:
    """Return by how much a rule's choices are slower: than the better variant on average, than slow at worst."""
    chosen = [(point.fast if rule.pays(point.sizes) else point.slow, point) for point in points]
    average = float(np.mean([seconds / min(point.fast, point.slow) for seconds, point in chosen]))
    return average - 1, max(seconds / point.slow for seconds, point in chosen) - 1


_INTRODUCTION = """\
/* Which products run on tiles: X(kernel, type of the left operand, m, k, n, work), those of at least m rows, k columns,
   n terms and work multiply-adds; the sizes are those that the public functions name. `make tune` writes this file.

"""
_ENTRY = re.compile(r"^    X\((\w+), (\w+), (\w+), (\w+), (\w+), (\w+)\)", re.MULTILINE)


def write(rules: Mapping[Key, Rule], source: str) -> str:
    """Return the header of rules, with where they come from."""
    lines = ["#define BL_TILE_RULES(X)"]
    lines += [f"    X({', '.join([*key, *map(str, astuple(rule))])})" for key, rule in rules.items()]
    listed = "".join(f"{line:<119}\\\n" for line in lines[:-1]) + lines[-1] + "\n"
    text = textwrap.fill(source, 118, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False)
    return f"{_INTRODUCTION}{text} */\n#ifndef BL_RULES_H\n#define BL_RULES_H\n\n{listed}\n#endif\n"


def read(header: str) -> tuple[dict[Key, Rule], str]:
    """Return the rules of a header, and where they come from."""
    source = header.removeprefix(_INTRODUCTION).split(" */\n", 1)[0]
    found = {(kernel, kind): Rule(*map(int, sizes)) for kernel, kind, *sizes in _ENTRY.findall(header)}
    return found, " ".join(source.split())
