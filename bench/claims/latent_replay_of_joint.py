"""How much of joint training's accuracy replay with one bit per value keeps."""

from __future__ import annotations

from . import Claim, _digits


def _measure() -> float:
    return _digits.average_accuracy("latent-replay") / _digits.average_accuracy("joint")


CLAIMS = (
    Claim(
        id="latent-replay-of-joint",
        statement="on digits, 1-bit latent replay of 300 examples reaches 0.8 of joint training's average accuracy",
        source=_digits.SOURCE,
        bar=(">=", 0.8),
        unit="",
        measure=_measure,
    ),
)
