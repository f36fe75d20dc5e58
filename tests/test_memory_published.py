"""The published memory model: its totals to the last digit, and what it is asked for."""

from __future__ import annotations

import pytest

from bitlearn import memory

MIB = 2.0**20

# The published networks, written out: weights and inputs of each weight layer, channels, and inputs of the pools.
MLP = ([784 * 256, 256 * 256, 256 * 256, 256 * 256, 2560], [784, 256, 256, 256, 256], [256] * 4 + [10], [])
CNV = (
    [27 * 64, 576 * 64, 576 * 128, 1152 * 128, 1152 * 256, 2304 * 256, 256 * 512, 512 * 512, 5120],
    [3072, 900 * 64, 196 * 64, 144 * 128, 25 * 128, 9 * 256, 256, 512, 512],
    [64, 64, 128, 128, 256, 256, 512, 512, 10],
    [784 * 64, 100 * 128],
)
BINARYNET = (
    [27 * 128, 1152 * 128, 1152 * 256, 2304 * 256, 2304 * 512, 4608 * 512, 8192 * 1024, 1024 * 1024, 10240],
    [3072, 1024 * 128, 256 * 128, 256 * 256, 64 * 256, 64 * 512, 8192, 1024, 1024],
    [128, 128, 256, 256, 512, 512, 1024, 1024, 10],
    [1024 * 128, 256 * 256, 64 * 512],
)
NETWORKS = {"mlp": MLP, "cnv": CNV, "binarynet": BINARYNET}


def published(name: str, batch: int, optimizer: str, final: bool) -> tuple[float, float]:
    """Both totals in MiB, from the published formulas and the sizes above."""
    weights, inputs, channels, pools = (sum(sizes) for sizes in NETWORKS[name])
    largest = max(NETWORKS[name][1])
    moments, latent = {"adam": (2, 1), "sgd": (1, 1), "bop": (1, 0)}[optimizer]
    masks = (pools, pools) if final else (0, 0)
    if final and name == "cnv":
        masks = (900 * 64 + 144 * 128, 0)

    def total(x: int, dx: int, dy: int, w: int, dw: int, mask: int) -> float:
        bits = batch * ((inputs + 10) * x + largest * (dx + dy))
        bits += weights * (w * latent + dw + w * moments) + channels * w + mask
        return bits / 8 / MIB

    standard = total(32, 32, 32, 32, 32, batch * 32 * masks[0])
    return standard, total(1, 16, 16 if final else 5, 16, 1, batch * masks[1])


@pytest.mark.parametrize(
    ("model", "accounting", "standard", "low_memory", "ratio"),
    [
        ("mlp", "paper-final", 7.397, 2.658, 2.78),
        ("cnv", "paper-final", 134.051, 32.162, 4.17),
        ("binarynet", "paper-final", 512.806, 138.127, 3.71),
        ("binarynet", "paper-v1", 425.306, 118.205, 3.60),
    ],
)
def test_published_totals(model, accounting, standard, low_memory, ratio):
    found = memory.account(model, 100, "adam", accounting)
    assert found.standard_bytes / MIB == pytest.approx(standard, abs=1e-3)
    assert found.low_memory_bytes / MIB == pytest.approx(low_memory, abs=1e-3)
    assert found.ratio == pytest.approx(ratio, abs=5e-3)


@pytest.mark.parametrize(
    ("optimizer", "accounting", "standard", "low_memory", "ratio"),
    [
        # The workbook of the authors of arXiv 2102.04270, batch 4096; the final version adds the stem's pool masks.
        ("adam", "paper-v1", 59234.603179931641, 18983.03303527832, 3.12),
        ("adam", "paper-final", 59234.603179931641 + 12544, 18983.03303527832, 3.78),
        ("sgd", "paper-v1", 59190.1, 18960.8, 3.12),
        ("bop", "paper-v1", 59145.5, 18938.5, 3.12),
    ],
)
@pytest.mark.parametrize("model", ["resnete18", "birealnet18"])
def test_published_totals_of_residual_networks(model, optimizer, accounting, standard, low_memory, ratio):
    found = memory.account(model, 4096, optimizer, accounting)
    slack = 1e-6 if optimizer == "adam" else 0.05
    assert found.standard_bytes / MIB == pytest.approx(standard, abs=slack)
    assert found.low_memory_bytes / MIB == pytest.approx(low_memory, abs=slack)
    assert found.ratio == pytest.approx(ratio, abs=5e-3)
    masks = [row for row in found.rows if row.variable.startswith("pool masks")]
    assert [(row.standard_bytes, row.low_memory_bytes) for row in masks] == (
        [(12544 * 2**20, 0)] if accounting == "paper-final" else []
    )


@pytest.mark.parametrize("accounting", ["paper-v1", "paper-final"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("model", list(NETWORKS))
def test_published_formulas_at_any_batch_size(model, optimizer, accounting):
    for batch in (1, 40, 100, 200, 400, 800, 1600, 3200, 6400, 12800):
        found = memory.account(model, batch, optimizer, accounting)
        wanted = published(model, batch, optimizer, accounting == "paper-final")
        assert (found.standard_bytes / MIB, found.low_memory_bytes / MIB) == pytest.approx(wanted, abs=1e-3)


def test_the_asymmetric_masks_of_cnv_say_so():
    rows = memory.account("cnv", 100, "adam", "paper-final").rows
    (masks,) = (row for row in rows if row.variable.startswith("pool masks"))
    assert "standard side only" in masks.variable
    assert (masks.standard_bytes, masks.low_memory_bytes) == (76_032 * 100 * 4, 0)
    assert not any(row.variable.startswith("pool") for row in memory.account("mlp", 100, "adam", "paper-final").rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mlp", 100, "adam", "paper"), "accounting must be one of paper-v1, paper-final, honest, got 'paper'"),
        (("mlp", 100, "lion", "honest"), "optimizer must be one of sgd, adam, bop, quantized-sgd, got 'lion'"),
        (("mlp", 0, "adam", "paper-v1"), "batch_size for paper-v1 must be at least 1, got 0"),
        (("mlp", 1, "adam", "honest"), "batch_size for honest must be at least 2, got 1"),
        (("alexnet", 100, "adam", "paper-v1"), "model must be one of mlp, cnv, binarynet, resnete18, .*got 'alexnet'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        memory.account(*arguments)


@pytest.mark.parametrize("accounting", memory.ACCOUNTINGS)
def test_only_published_networks_are_accounted_for(accounting):
    """Others have no published input: an account of some other input would mean nothing."""
    with pytest.raises(ValueError, match=r"model must be one of mlp, cnv, binarynet, .*, got 'competing-mlp'"):
        memory.account("competing-mlp", 100, "adam", accounting)


def test_batches_of_no_size():
    with pytest.raises(TypeError, match=r"batch_size for paper-v1 must be an integer, got 2\.5"):
        memory.account("mlp", 2.5, "adam", "paper-v1")
    with pytest.raises(TypeError, match=r"batch_size must be an integer, got 2\.5"):
        memory.ladder("mlp", 2.5)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got -5"):
        memory.ladder("mlp", -5)


@pytest.mark.parametrize(
    ("model", "batch", "accounting", "ratio"),
    [
        ("cnv", 100, "paper-final", 3.92),
        ("resnete18", 4096, "paper-final", 3.70),
        ("mlp", 100, "paper-final", None),
        ("binarynet", 100, "paper-final", None),
        ("cnv", 100, "paper-v1", None),
        ("mlp", 100, "honest", None),
    ],
)
def test_a_consistent_ratio_stands_beside_an_asymmetric_one(model, batch, accounting, ratio):
    found = memory.account(model, batch, "adam", accounting).consistent_ratio
    assert found is None if ratio is None else found == pytest.approx(ratio, abs=5e-3)
    if model == "cnv" and ratio is not None:  # the ladder counts masks alike on every rung
        assert found == pytest.approx({rung.name: rung for rung in memory.ladder("cnv")}["low-memory"].ratio)
