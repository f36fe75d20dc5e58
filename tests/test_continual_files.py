"""Files of continual learners: damage with a checksum that is right again is refused at once, whatever it hits."""

from __future__ import annotations

import numpy as np
import pytest
from damage import refused, rewritten
from test_continual import clusters
from test_continual_learner import NAMES, learner, streamed

import bitlearn as bl

X, Y, *_ = clusters()


@pytest.fixture
def path(tmp_path):
    """A learner that replays bits, after some of a stream."""
    bl.save(streamed(learner("latent-replay", consolidate=True), NAMES[Y]), tmp_path / "saved.learner")
    return tmp_path / "saved.learner"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c, a: c.update(method="replays"), "method must be one of naive"),
        (lambda c, a: c.update(method="joint"), "must hold what joint keeps"),
        (lambda c, a: c.update(method="analytic"), "must hold"),
        (lambda c, a: c["options"].update(epochs=0), "epochs must be at least 1, got 0"),
        (lambda c, a: c["options"].update(replay_size=10**12), r"replay_size must fit the file's \d+ bytes"),
        (lambda c, a: c["options"].update(replay_size=31), "must"),
        (lambda c, a: c["options"].update(colour=1), "a setting of latent-replay must be one of .* got 'colour'"),
        (lambda c, a: c["options"].update(latents=3), "latents must be a string or None, got 3"),
        (lambda c, a: c["optimizer"].update(name="sgd"), "unexpected keyword|must hold"),
        (lambda c, a: c["labels"].append("gnu"), "must hold an output for each of 7 labels, got 6"),
        (lambda c, a: c["labels"].append(3), "labels must be distinct and of one type"),
        (lambda c, a: c["labels"].append("ant"), "labels must be distinct and of one type"),
        (lambda c, a: c["counts"].update(steps=-1), r"counts must be integers in \[0, 2\*\*63\)"),
        (lambda c, a: c["counts"].update(steps=0), "the optimiser must have made at most 0 steps"),
        (lambda c, a: c["counts"].update(batches=2**32), r"steps, tasks and batches must be below 2\*\*32"),
        (lambda c, a: c["counts"].update(epochs=2), "must have epochs left of 2, got 2 done"),
        (lambda c, a: c["inputs"].update(form=["uint8"]), "a form must be a type and a shape"),
        (lambda c, a: c["networks"].update(model=None), "must hold what latent-replay keeps"),
        (lambda c, a: c["networks"].update(lower=None), "must"),
        (lambda c, a: c.pop("task"), "must be described by"),
        (lambda c, a: a["state.head1.weight.square"].__setitem__(..., -1), "means of squares must be at least 0"),
        (lambda c, a: a["state.head1.weight.mean"].__setitem__(..., np.nan), "what an optimiser keeps must be finite"),
        (lambda c, a: a["model.head1.weight"].__setitem__(..., np.inf), "must be finite"),
        (lambda c, a: a["method.memory.seen"].__setitem__(..., 7), "must have seen as many examples as were added"),
        (lambda c, a: a["method.memory.labels"].__setitem__(..., 9), "must be below 6, got 9"),
        (lambda c, a: a.pop("method.head.past"), "must hold"),
        (lambda c, a: a.update(more=np.zeros(3)), "no arrays but those that it describes"),
        (
            lambda c, a: a.update({"lower.linear1.words": a["lower.linear1.words"][1:]}),
            "must hold 'lower.linear1.words'",
        ),
    ],
)
def test_what_never_was_a_learner_is_refused(path, change, sentence):
    rewritten(path, lambda header, arrays: change(header["config"], arrays))
    with refused(path.name, sentence, memory=2**23):
        bl.load(path)


def test_bytes_that_are_missing_or_turned_are_refused(path, rng):
    content = path.read_bytes()
    for damaged in (b"", content[:7], content[:100], content[:-1], content + b"\0"):
        path.write_bytes(damaged)
        with refused(path.name, "must", memory=2**23):
            bl.load(path)
    for at in rng.integers(0, len(content), 60):
        turned = bytearray(content)
        turned[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(turned))
        with refused(path.name, "must", memory=2**23):
            bl.load(path)
