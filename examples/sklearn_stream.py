"""A pipeline of scikit-learn that goes on learning: digits come in batches, and half of the classes only later.

python examples/sklearn_stream.py --batch 100
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bitlearn.sklearn import ContinualBitClassifier


def partial_fit(pipeline, x, y):
    """Let each step of a pipeline learn a batch: `Pipeline` has no such method of its own."""
    for _, step in pipeline.steps[:-1]:
        x = step.partial_fit(x).transform(x)
    pipeline[-1].partial_fit(x, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100)
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    order = np.argsort(y >= 5, kind="stable")  # 0 to 4 first
    pipeline = make_pipeline(StandardScaler(), ContinualBitClassifier())
    for start in range(0, len(order), options.batch):
        chosen = order[start : start + options.batch]
        partial_fit(pipeline, x[chosen], y[chosen])
        print(f"{start + len(chosen)} examples, {len(pipeline.classes_)} classes: {pipeline.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
