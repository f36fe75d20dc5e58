"""The default estimator compared with scikit-learn's perceptron of the same shape, on generated tabular data.

Run ``python -m bitlearn.bench.tabular``; ``--json FILE`` writes the results. The default settings of `BitClassifier`
were chosen on other generated data (other generators and seeds); nothing is chosen here. The rival gets standardised
features, as its documentation advises.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn.files import atomic_write

SEEDS = (0, 1, 2)
#: How much worse the default may be.
BAR = 0.02
_COUNT, _TEST = 6000, 1500

Data = tuple[np.ndarray, np.ndarray]


def long_tails(seed: int) -> Data:
    """Five classes of a sensor with 14 exponential features: a few readings are a thousand times larger than others."""
    from sklearn.datasets import make_classification

    x, y = make_classification(_COUNT, n_features=14, n_informative=9, n_redundant=3, n_classes=5, random_state=seed)
    return np.exp(1.5 * x), y


def mixed_scales(seed: int) -> Data:
    """Four nested shells in 10 dimensions, whose axes have units from 1e-5 to 1e5, and offsets."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=_COUNT, n_features=10, n_classes=4, random_state=seed)
    rng = np.random.default_rng(seed)
    return x * 10.0 ** rng.uniform(-5, 5, 10) + rng.normal(size=10), y


def many_classes(seed: int) -> Data:
    """Fifty overlapping groups in 16 dimensions."""
    from sklearn.datasets import make_blobs

    x, y = make_blobs(_COUNT, n_features=16, centers=50, cluster_std=5.0, random_state=seed)
    return x, y


SETS: dict[str, Callable[[int], Data]] = {
    "long tails": long_tails,
    "mixed scales": mixed_scales,
    "many classes": many_classes,
}


def compared(name: str, seed: int) -> dict[str, Any]:
    """Return the test accuracies of both on a set, with the same hidden layers and epochs."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from bitlearn.sklearn import BitClassifier

    x, y = SETS[name](seed)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=_TEST, random_state=seed, stratify=y)
    ours = BitClassifier(random_state=seed)
    rival = MLPClassifier(ours.hidden, max_iter=ours.epochs, random_state=seed)
    found = {"set": name, "seed": seed, "bitlearn": float(ours.fit(x_train, y_train).score(x_test, y_test))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # only as many epochs as ours
        scaled = make_pipeline(StandardScaler(), rival).fit(x_train, y_train)
    return found | {"sklearn": float(scaled.score(x_test, y_test))}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each set, the means over seeds, the difference, and whether it meets the bar."""
    found = []
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        ours, theirs = (float(np.mean([row[key] for row in own])) for key in ("bitlearn", "sklearn"))
        difference = ours - theirs
        found.append(
            {"set": name, "bitlearn": ours, "sklearn": theirs, "difference": difference, "holds": difference >= -BAR}
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Compare on every set and seed, and print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m bitlearn.bench.tabular", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), metavar="N")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), metavar="NAME")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    arguments = parser.parse_args(argv)
    rows = []
    print(f"{'set':14} {'seed':>4}  {'bitlearn':>8}  {'sklearn':>8}")
    for name in arguments.sets:
        for seed in arguments.seeds:
            rows.append(row := compared(name, seed))
            print(f"{name:14} {seed:4}  {row['bitlearn']:8.4f}  {row['sklearn']:8.4f}", flush=True)
    for row in summary(rows):
        told = "holds" if row["holds"] else "fails"
        print(
            f"{row['set']:14} mean  {row['bitlearn']:8.4f}  {row['sklearn']:8.4f}  {row['difference']:+.4f}  {told}: "
            f"at most {BAR} below"
        )
    if arguments.json is not None:
        with atomic_write(arguments.json) as stream:
            stream.write(json.dumps({"rows": rows, "summary": summary(rows)}, indent=1).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
