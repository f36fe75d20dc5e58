"""Which of two variants is faster, by the sizes of a product: ``python -m bitlearn.bench.tune``, ``make tune``.

Both are timed over a grid of shapes for each kernel that both have, in turns on one thread. The times are stored in
``bench/results/<kind>/``, and a rule for each kernel is fitted to them. The rules of tiles against counted bits are
written to ``csrc/amx/rules.h``, which the next build of the extension uses; those of any other pair are only shown, and
so are those fitted again to stored times.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.files import atomic_write
from bitlearn.ops.dispatch import TABLE, unavailable, variants

from . import harness, kernels, records, results, rules, runner
from .cases import Shape
from .kernels import Place
from .rules import Key, Point, Rule, Sizes

FAST, SLOW = "cext:amx", "cext:avx512"
HEADER = Path(__file__).parents[1] / "csrc" / "amx" / "rules.h"

PRODUCTS = tuple(name for name in kernels.TIMED if name.startswith(("hamming", "xnor_", "grad_", "conv2d_grad_")))
#: The timed forms, and the C name of the type of the left operand.
TYPES = {"prepared": "UINT64", "int8": "INT8", "int16": "INT16"}
#: Kernels that use the rule of another one, because they do the same on operands of another kind.
ALIKE = {"codes_grad_weight": "grad_weight"}
GRIDS: dict[str, dict[int, tuple[Shape, ...]]] = {
    # Products by their three sizes, convolutions by their six.
    "full": {
        3: tuple(product((4, 16, 32, 64, 128, 512, 2048), (16, 64, 256, 1024), (64, 256, 1024, 4096))),
        6: tuple(
            (*maps, channels, filters, size)
            for maps in ((1, 4, 4), (1, 8, 8), (4, 8, 8), (4, 16, 16), (4, 32, 32))
            for channels in (64, 256)
            for filters in (32, 128, 512)
            for size in (1, 3)
        ),
    },
    "small": {3: tuple(product((4, 64), (16, 128), (64, 512))), 6: ((1, 4, 4, 64, 32, 3), (2, 8, 8, 64, 64, 3))},
}

Record = dict[str, Any]


def sizes(shape: Shape) -> Sizes:
    """Return the sizes of a product, or of the product that a convolution is: pixels, filters and a window's values.

    >>> sizes((2, 8, 8, 64, 32, 3))
    (128, 32, 576)
    """
    if len(shape) == 3:
        m, k, n = shape
        return m, k, n
    batch, height, width, channels, filters, size = shape
    return batch * height * width, filters, size * size * channels


def places(grid: str, names: Sequence[str] | None = None) -> list[Place]:
    """List what is timed: every product of the kernels, or of those named, with each type of operand."""
    found = []
    for name in names or PRODUCTS:
        module = kernels.FAMILIES[kernels.family(name)]
        shapes = GRIDS[grid][len(module.MEANING.split("×"))]
        forms = [form for form in TYPES if form in module.FORMS[name]]
        found += [Place(name, form, shape) for form in forms for shape in shapes if module.takes(name, form, shape)]
    return found


def time(where: Iterable[Place], fast: str, slow: str, seconds: float) -> Iterator[Record]:
    """Yield the times of both variants at each place whose kernel both have."""
    for case in kernels.cases(list(where)):
        contenders, _ = runner.ours(case, [fast, slow])
        if len(contenders) < 2:
            continue
        with runner.held_threads(1):
            timings = harness.compare(contenders, seconds)
        yield {
            "kernel": case.kernel,
            "form": case.form,
            "shape": list(case.shape),
            "seconds": {name: float(f"{timing.seconds:.4g}") for name, timing in timings.items()},
        }


def points(record: Record) -> dict[Key, list[Point]]:
    """Return the times of a record, by function of C and type."""
    found: dict[Key, list[Point]] = {}
    for entry in record["points"]:
        key = TABLE[entry["kernel"]].function, TYPES[entry["form"]]
        fast, slow = (entry["seconds"][record[name]] for name in ("fast", "slow"))
        found.setdefault(key, []).append(Point(sizes(tuple(entry["shape"])), fast, slow))
    return found


def fitted(record: Record) -> dict[Key, Rule]:
    """Return a rule for each kernel and type of a record."""
    found = {key: rules.fit(timed) for key, timed in points(record).items()}
    alike = {
        (name, kind): found[other, kind] for name, other in ALIKE.items() for _, kind in found if (other, kind) in found
    }
    return found | alike


def header(record: Record, before: str) -> str:
    """Return the header with the rules of a record in place of its rules `before`.

    Raises
    ------
    ValueError
        If it does not have all of them: a header states the source of all its rules.
    """
    known, _ = rules.read(before)
    found = fitted(record)
    if missing := [" ".join(key) for key in known if key not in found]:
        raise ValueError(f"rules of every kernel on tiles were wanted, got none of {', '.join(missing)}")
    machine = record["machine"]
    source = f"Measured on {machine['cpu']} ({machine['kind']}), {record['fast']} against {record['slow']}."
    return rules.write({key: found[key] for key in known}, source)


def table(record: Record) -> list[str]:
    """Return a line a rule: what it says, and what its choices lose."""
    lines = [
        f"{'kernel':28}{'type':8}{'rows':>7}{'columns':>9}{'terms':>7}{'work':>12}{'points':>8}{'lost':>8}{'worst':>8}"
    ]
    found = fitted(record)
    for key, timed in points(record).items():
        rule = found[key]
        average, worst = rules.lost(rule, timed)
        least = "   never" if rule.never else f"{rule.m:7}{rule.k:9}{rule.n:7}{rule.work:12}"
        lines.append(f"{key[0]:28}{key[1]:8}{least:35}{len(timed):8}{average:8.1%}{worst:8.1%}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Time two variants, keep the times, and show the rules; of tiles, write them too."""
    parser = argparse.ArgumentParser(prog="bitlearn.bench.tune", description=__doc__.split("\n")[0])
    parser.add_argument("--fast", default=FAST, help="the variant that has to be faster to be chosen")
    parser.add_argument("--slow", default=SLOW, help="the variant that runs otherwise")
    parser.add_argument("--grid", choices=GRIDS, default="full")
    parser.add_argument(
        "--kernels", nargs="+", choices=PRODUCTS, metavar="NAME", help="the products to time; all by default"
    )
    parser.add_argument("--seconds", type=float, default=0.1, help="seconds per variant and shape")
    parser.add_argument("--into", type=Path, default=results.FOLDER, help="the folder of the stored times")
    parser.add_argument("--header", type=Path, default=HEADER, help="the file for the rules of tiles")
    parser.add_argument("--from", type=Path, dest="kept", help="fit the rules to these stored times, and time nothing")
    options = parser.parse_args(arguments)
    try:
        record = json.loads(options.kept.read_text(encoding="utf-8")) if options.kept else _record(options)
    except ValueError as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(record)))
    if (record["fast"], record["slow"]) == (FAST, SLOW):
        try:
            text = header(record, options.header.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"tune: the rules in use stay: {error}", file=sys.stderr)
            return 2
        _write(options.header, text)
        print(f"wrote {options.header.name}: build the extension again")
    return 0


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def _record(options: argparse.Namespace) -> Record:
    """Time the requested kernels, and store the times.

    Raises
    ------
    ValueError
        If a variant is not available.
    """
    for name in (options.fast, options.slow):
        if name not in variants():
            raise ValueError(f"{name} is not available: {unavailable().get(name, 'there is no such variant')}")
    bl.set_num_threads(1)
    where = places(options.grid, options.kernels)
    found = []
    for entry in time(where, options.fast, options.slow, options.seconds):
        found.append(entry)
        if len(found) % 10 == 0:
            print(f"{len(found)} of {len(where)}: {entry['kernel']}, {entry['form']}", file=sys.stderr)
    if not found:
        raise ValueError(f"kernels of both {options.fast} and {options.slow} were wanted, got none")
    machine = records.machine()
    record = {"fast": options.fast, "slow": options.slow, "machine": machine, "points": found}
    names = (name.removeprefix("cext:") for name in (options.fast, options.slow))
    path = options.into / machine["kind"] / f"tune-{'-'.join(names)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in found)
    text = json.dumps(record | {"points": []}, indent=1).removesuffix("[]\n}") + f"[\n{lines}\n]\n}}\n"
    _write(path, text)
    print(f"wrote {path.parent.name}/{path.name}")
    return record


if __name__ == "__main__":
    sys.exit(main())
