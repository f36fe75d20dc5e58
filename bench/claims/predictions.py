"""Predictions of one prepared example against the same network in float32, by onnxruntime and by compiled PyTorch."""

from __future__ import annotations

from functools import partial

from .. import predictions
from ..predictions.race import race
from . import Claim, Measured, NotHere

SOURCE = "docs/benchmarks.rst, predictions"


def _measure(network: str) -> Measured:
    entries = {entry["way"]: entry for entry in race([predictions.Task(network, way) for way in predictions.WAYS])}
    if missing := [f"{way}: {entry['reason']}" for way, entry in entries.items() if entry["reason"]]:
        raise NotHere("; ".join(missing))
    seconds = {way: entry["seconds"] for way, entry in entries.items()}
    fastest = min(seconds[way] for way in predictions.RIVALS)
    return Measured(fastest / seconds[predictions.OURS], {"seconds": seconds})


CLAIMS = tuple(
    Claim(
        id=f"predict-{network}-over-fastest",
        statement=f"predicting one prepared example with {network} is {bar:g} times as fast as onnxruntime and compiled"
        " PyTorch on the same network in float32, the faster of the two (one thread)",
        source=SOURCE,
        bar=(">=", bar),
        unit="times as fast",
        measure=partial(_measure, network),
    )
    for network, bar in (("mlp", 2.0), ("cnv", 6.0), ("binarynet", 16.0))
)
