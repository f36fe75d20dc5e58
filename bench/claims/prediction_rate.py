"""How much of a product's rate a prediction keeps, against xnor_matmul on the network's products of bits alone."""

from __future__ import annotations

import numpy as np

import bitlearn as bl

from .. import harness, predictions
from ..harness import Contender
from ..predictions.race import ROUNDS, threads_of_all
from ..predictions.stages import binary_products
from . import Claim, Measured
from . import predictions as _predictions

THREADS, BATCH, _NETWORK = 2, 100, "binarynet"
_SECONDS = 3.0
#: So many rows of each product are checked.
_CHECKED = 16


def _products(sizes: list[tuple[int, int, int]]) -> Contender:
    """Return plain products of these sizes, one after the other, with prepared weights and room for the results."""
    rng = np.random.default_rng(0)
    made = []
    for rows, outputs, terms in sizes:
        x, w = (bl.pack(rng.integers(0, 2, size=(count, terms), dtype=np.int8) * 2 - 1) for count in (rows, outputs))
        made.append((x, bl.pack_weights(w, terms), terms, np.zeros((rows, outputs), dtype=np.int32), w))

    def call() -> None:
        for x, weights, terms, out, _ in made:
            bl.xnor_matmul(x, weights, terms, out=out)

    def right(answer: object) -> bool:
        return all(
            np.array_equal(
                out[:_CHECKED], bl.unpack(x[:_CHECKED], n, dtype=np.int32) @ bl.unpack(w, n, dtype=np.int32).T
            )
            for x, _, n, out, w in made
        )

    return Contender("products", call, right)


def _measure() -> Measured:
    with threads_of_all(THREADS):
        frozen = predictions.model(_NETWORK).freeze()
        codes = predictions.examples(_NETWORK, BATCH)
        wanted = np.concatenate([frozen.predict(one[None]) for one in codes])
        whole = Contender("prediction", lambda: frozen.predict(codes), lambda answer: np.array_equal(answer, wanted))  # type: ignore[arg-type]
        sizes = binary_products(frozen.root, BATCH)
        timings = harness.compare([whole, _products(sizes)], _SECONDS, ROUNDS)
    seconds = {name: timing.seconds for name, timing in timings.items()}
    operations = sum(rows * outputs * terms for rows, outputs, terms in sizes)
    return Measured(seconds["products"] / seconds["prediction"], {"seconds": seconds, "bit-MAC": operations})


CLAIMS = (
    Claim(
        id=f"predict-{_NETWORK}-share-of-products",
        statement=f"predicting {BATCH} examples with {_NETWORK} keeps 0.75 of the rate of xnor_matmul at the same sum"
        f" of work: its products of bits alone, with prepared weights ({THREADS} threads)",
        source=_predictions.SOURCE,
        bar=(">=", 0.75),
        unit="of the rate of xnor_matmul",
        measure=_measure,
    ),
)
