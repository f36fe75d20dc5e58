"""Which taps of a trained network learn new classes: ``python -m bitlearn.bench.intensity``, on digits.

A network that has learned half of the classes (`centre`) is shown the other half: how its gradients are distributed
over the taps of each kernel, and how well it learns if only one tap of the last convolution and the head are trained.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.continual.intensity import knowledge_intensity, one_tap
from bitlearn.datasets.preparation import Examples
from bitlearn.files import atomic_write
from bitlearn.report.figures import STYLE, kernel_map
from bitlearn.training import Options

from . import centre, plots, store

FILE = centre.FOLDER / "intensity.json"
_LAYER, _EPOCHS, _BATCH = "conv3", 2, 50

Entry = dict[str, Any]


def measure(seed: int, base: Path) -> Entry:
    """Return both measures for the network of a seed."""
    protocol = centre.PROTOCOLS[0]
    scenario = centre.scenario_of(protocol, Path(), False)
    model = centre.base_of(protocol, scenario, seed, base).fixed()
    train, test = (_joined([getattr(task, part) for task in scenario.tasks[1:]]) for part in ("train", "test"))
    rows = [slice(start, start + _BATCH) for start in range(0, len(train), _BATCH)]
    found = knowledge_intensity(model, ((train.codes(some), train.y[some]) for some in rows))
    options = Options(epochs=_EPOCHS, batch_size=_BATCH, seed=seed)
    taps = one_tap(model, _LAYER, train, test, bl.optim.adam(), options)
    return {
        "seed": seed,
        "layer": _LAYER,
        "intensity": {name: kernel.tolist() for name, kernel in found.items()},
        "accuracy": taps.tolist(),
    }


def _joined(parts: Sequence[Examples]) -> Examples:
    x, y = np.concatenate([part.x[:] for part in parts]), np.concatenate([part.y for part in parts])
    return Examples(x, y, parts[0].preparation)


def draw(entries: Sequence[Entry]) -> bytes:
    """Draw the means over seeds as heat maps, in SVG."""
    mpl = plots.matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    maps = {f"{name}: intensity": [entry["intensity"][name] for entry in entries] for name in entries[0]["intensity"]}
    maps[f"{entries[0]['layer']}: one tap's accuracy"] = [entry["accuracy"] for entry in entries]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * len(maps), 2.6), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, values) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
            kernel_map(np.mean(values, axis=0), title=title, ax=axes)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, store them, and draw."""
    parser = argparse.ArgumentParser(description="Which taps of a trained network learn new classes.")
    parser.add_argument("--into", type=Path, default=FILE, metavar="FILE", help="the file of the results")
    parser.add_argument(
        "--bases", type=Path, default=centre.BASES, metavar="DIR", help="the folder of the pretrained networks"
    )
    parser.add_argument("--seeds", type=int, default=len(centre.SEEDS), metavar="N")
    parser.add_argument("--plot", type=Path, default=Path("out") / "intensity.svg", metavar="FILE")
    arguments = parser.parse_args(argv)
    entries: list[Entry] = json.loads(arguments.into.read_text("utf-8")) if arguments.into.exists() else []
    for seed in centre.SEEDS[: arguments.seeds]:
        if seed in {entry["seed"] for entry in entries}:
            continue
        entries.append(measure(seed, arguments.bases / f"{centre.PROTOCOLS[0].name}-test-{seed}.model"))
        store.write(arguments.into, entries)
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(arguments.plot) as stream:
        stream.write(draw(entries))
    for name in entries[0]["intensity"]:
        print(name, np.round(np.mean([entry["intensity"][name] for entry in entries], axis=0), 3).tolist())
    print("one tap", np.round(np.mean([entry["accuracy"] for entry in entries], axis=0), 3).tolist())
    return 0


if __name__ == "__main__":
    sys.exit(main())
