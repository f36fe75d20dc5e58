"""A stream of digits that a device goes on with: half is learned here, the rest by a C program of 64 KiB of RAM.

The C is compiled for this machine and called through ctypes, in the place of the device. Needs a C compiler, cc, and
scikit-learn for the digits.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import bitlearn as bl

digits = bl.datasets.load("digits")
preparation = bl.datasets.prepare(digits.x_train)
half = len(digits.x_train) // 2

# The network is trained on the first half. Of the second only the last layer goes on learning, on a device.
first = bl.datasets.Examples(digits.x_train[:half], digits.y_train[:half], preparation)
model = bl.models.mlp((8, 8, 1), 10, hidden=(128, 128), head="real", precision="low-memory")
bl.training.fit(model, bl.optim.adam(), first, bl.training.Options(epochs=10))
learner = bl.continual.ContinualLearner(
    "latent-replay",
    backbone=model,
    cut="sign2",
    labels=range(10),
    replay_size=64,
    batch_size=16,
    preparation=preparation,
)
learner.partial_fit(digits.x_train[:half], digits.y_train[:half])

with tempfile.TemporaryDirectory() as folder:
    found = bl.export.c99(learner, folder, name="digits", memory_budget="64 KiB")
    print(f"{found['ram_bytes']} bytes of RAM, {found['constant_bytes']} bytes of constants")
    library = Path(folder) / "digits.so"
    subprocess.run(
        ["cc", "-std=c99", "-O2", "-shared", "-fPIC", "-o", library, Path(folder) / "digits.c", "-lm"], check=True
    )
    device = ctypes.CDLL(str(library))

    # The device and Python learn the same examples, four new ones at a time.
    for start in range(half, len(digits.x_train) - 3, 4):
        x, y = digits.x_train[start : start + 4], digits.y_train[start : start + 4]
        device.digits_learn(preparation.codes(x).tobytes(), y.astype(np.int32).tobytes())
        learner.partial_fit(x, y)

    predicted = [device.digits_predict(code.tobytes(), None) for code in preparation.codes(digits.x_test)]
    assert np.array_equal(predicted, learner.predict(digits.x_test))
    print(f"{np.mean(predicted == digits.y_test):.3f} of the test digits are right, the same ones as in Python")
