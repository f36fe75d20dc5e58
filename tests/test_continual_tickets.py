"""Tickets: what is kept of each task, saved alone, opened on its network, and refused on another."""

from __future__ import annotations

import numpy as np
import pytest
from test_continual import clusters
from test_continual_wta import network, started

import bitlearn as bl
from bitlearn.continual import Tickets, task_incremental
from bitlearn.continual.runner import learn_task
from bitlearn.continual.tickets import pack_winners, unpack_winners, winner_bits


@pytest.fixture(scope="module")
def scenario():
    return task_incremental(*clusters(), 3)


@pytest.mark.parametrize("units", [1, 2, 3, 8, 9, 16])
@pytest.mark.parametrize("blocks", [1, 7, 65])
def test_winners_take_as_few_bits_as_there_can_be(units, blocks):
    winners = np.random.default_rng(units).integers(0, units, blocks)
    packed = pack_winners(winners, units)
    assert winner_bits(units) == int(np.ceil(np.log2(units))) and packed.nbytes == -(-blocks * winner_bits(units) // 8)
    np.testing.assert_array_equal(unpack_winners(packed, blocks, units), winners)


def test_bytes_that_are_no_winners():
    with pytest.raises(ValueError, match="winners must be from 0 to 2, got 3"):
        unpack_winners(np.array([0b11], np.uint8), 1, 3)
    with pytest.raises(ValueError, match="winners must be 2 numbers of 2 bits, got 1 other bytes"):
        unpack_winners(np.array([0b10000], np.uint8), 2, 3)
    with pytest.raises(ValueError, match="winners must be 9 numbers of 2 bits"):
        unpack_winners(np.zeros(2, np.uint8), 9, 3)


@pytest.mark.parametrize("weights", ["real", "binary"])
def test_a_ticket_is_saved_alone_and_opened_on_its_network(scenario, weights, tmp_path):
    model = network(scenario, weights=weights)
    method, steps = started(model, bl.optim.adam())
    for task in scenario.tasks[:2]:
        learn_task(method, steps, task.index, task.train)
    codes = scenario.tasks[0].test.codes(slice(None))
    wanted = method.predictor_of(0).scores(codes)
    bl.save(method.tickets.ticket(0), tmp_path / "ticket")
    ticket = bl.load(tmp_path / "ticket")
    np.testing.assert_array_equal(ticket.open(model).scores(codes), wanted)
    # Winners of 6 and 4 blocks, and 24 and 16 units, of which a fourth wins; 6 outputs; a bias, a mean and a deviation.
    norms = 4 * (6 + 4) * (1 if weights == "binary" else 3)
    assert ticket.nbytes == 2 + 1 + norms + 4 * 4 * scenario.classes
    # Alone, as a small dense network.
    bl.save(method.frozen(0), tmp_path / "frozen")
    small = bl.load(tmp_path / "frozen")
    np.testing.assert_array_equal(small.scores(codes), wanted)
    hidden = small.arrays["linear2.words" if weights == "binary" else "linear2.weight"]
    assert hidden.shape == ((4, 1) if weights == "binary" else (4, 6))  # 1/16 of 16 x 24


def test_a_ticket_for_another_network(scenario):
    model = network(scenario)
    method, steps = started(model, bl.optim.adam())
    learn_task(method, steps, 0, scenario.tasks[0].train)
    ticket = method.tickets.ticket(0)
    for other in (network(scenario, units=2), network(scenario, hidden=(24,)), bl.models.mlp((16,), 6, hidden=(24,))):
        with pytest.raises(ValueError, match="a ticket must be for this network, with competitions of"):
            ticket.open(other)
    with pytest.raises(ValueError, match="winners of 'competition1' must be 12 integers, got int64"):
        ticket.open(network(scenario, hidden=(48, 16)))
    with pytest.raises(
        ValueError, match="a ticket must be for this network with its current weights, got one for others"
    ):
        ticket.open(network(scenario, seed=1))
    wider = bl.models.competing_mlp(scenario.input_shape, 9, hidden=(24, 16), units=4, tasks=4)
    with pytest.raises(ValueError, match="a ticket must be for this network with its current weights"):
        ticket.open(wider)


def test_a_damaged_ticket_is_refused(scenario, tmp_path):
    method, steps = started(network(scenario), bl.optim.adam())
    learn_task(method, steps, 0, scenario.tasks[0].train)
    bl.save(method.tickets.ticket(0), path := tmp_path / "ticket")
    data = bytearray(path.read_bytes())
    for at in (20, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[at] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            bl.load(path)


def test_a_table_of_tickets_is_taken_up_again(scenario):
    model = network(scenario)
    method, steps = started(model, bl.optim.adam())
    learn_task(method, steps, 0, scenario.tasks[0].train)
    arrays = {name: array.copy() for name, array in method.arrays().items()}
    again, _ = started(network(scenario), bl.optim.adam())
    for name, array in again.networks.model.state().items():
        array[...] = model.state()[name]
    again.restore(arrays)
    codes = scenario.tasks[0].test.codes(slice(None))
    np.testing.assert_array_equal(again.predictor_of(0).scores(codes), method.predictor_of(0).scores(codes))
    assert again.tickets.learned == [0] and again.free == method.free
    arrays["winners.competition1"][0, 0] = 4
    with pytest.raises(ValueError, match="winners of 'competition1' must be from -1 to 3, got others"):
        again.restore(arrays)


def test_competitions_for_other_numbers_of_tasks():
    layers = [bl.nn.RealLinear(4), bl.nn.Competition(2, tasks=1), bl.nn.RealLinear(4), bl.nn.Competition(2, tasks=2)]
    model = bl.nn.Model([*layers, bl.nn.Linear(2)], (3,))
    with pytest.raises(ValueError, match=r"all competitions must be for the same number of tasks, got \[1, 2\]"):
        Tickets(model)


def test_a_ticket_is_opened_on_the_network_that_was_saved(scenario, tmp_path):
    for weights in ("binary", "real"):
        model = network(scenario, weights=weights)
        method, steps = started(model, bl.optim.adam())
        learn_task(method, steps, 0, scenario.tasks[0].train)
        bl.save(model, tmp_path / "network")
        again = bl.load(tmp_path / "network")
        codes = scenario.tasks[0].test.codes(slice(None))
        found = method.tickets.ticket(0).open(again).scores(codes)
        np.testing.assert_array_equal(found, method.predictor_of(0).scores(codes))
        np.testing.assert_array_equal(again["competition1"].logits, model["competition1"].logits)
        assert "competition1" in str(again.summary()) and "Competition(units=4, tasks=4" in repr(again)


def test_a_network_for_one_task_predicts_as_a_whole(tmp_path):
    model = bl.models.competing_mlp((20,), 6, hidden=(8,), units=2, tasks=1, weights="real")
    frozen = model.freeze()
    bl.save(frozen, tmp_path / "frozen")
    x = np.random.default_rng(0).integers(-128, 127, (5, 20), dtype=np.int8)
    np.testing.assert_array_equal(bl.load(tmp_path / "frozen").scores(x), model.scores(x))
    frozen.arrays["competition1.winners"][0, 0] = 2
    with pytest.raises(ValueError, match="winners must be units from 0 to 1, got 0 to 2 in layer 'competition1'"):
        bl.save(frozen, tmp_path / "wrong")
