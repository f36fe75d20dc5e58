"""How much of joint training's accuracy one bit a value of replay keeps."""

from __future__ import annotations

from bitlearn.bench.claims import _digits

ID = "latent-replay-of-joint"
STATEMENT = "on digits, 1-bit latent replay of 300 examples reaches 0.8 of joint training's average accuracy"
SOURCE = _digits.SOURCE
BAR = (">=", 0.8)
UNIT = ""


def measure() -> float:
    return _digits.average_accuracy("latent-replay") / _digits.average_accuracy("joint")
