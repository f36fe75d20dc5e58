"""The simulation of growth: times that follow by hand, and the real protocol measured in its parts."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl

pytest.importorskip("distributed", reason="Dask is not installed: pip install bitlearn-xnor[dask]")

from bitlearn.bench.scaling import products, training
from bitlearn.bench.scaling.link import Link, measured
from bitlearn.bench.scaling.simulation import Machine, Receive, Send, Simulation, Work
from bitlearn.bench.scaling.training import Stage, step


@pytest.mark.parametrize(("cores", "seconds"), [(1, 6.0), (2, 4.0), (3, 3.0), (9, 3.0)])
def test_processes_share_cores(cores, seconds):
    simulation, machine = Simulation(0.0), Machine(cores)
    for number in (1, 2, 3):
        simulation.add(number, machine, iter_of(Work(number)))
    assert simulation.run() == seconds


def iter_of(*acts):
    for act in acts:
        _ = yield act  # a tuple's own iterator takes nothing


def test_ports_carry_one_message_at_a_time():
    """Two of 100 bytes at 50 a second, from one machine to two: 2 and 4 seconds, and 1 more on the way."""
    simulation, leader = Simulation(1.0, 50), Machine(1)
    simulation.add("leader", leader, iter_of(Send("a", 100), Send("b", 100)))
    for name in ("a", "b"):
        simulation.add(name, Machine(1), iter_of(Receive("leader")))
    assert simulation.run() == 5.0 and leader.sent == 200
    # Inside a machine there is no port.
    simulation, machine = Simulation(1.0, 50), Machine(1)
    simulation.add("leader", machine, iter_of(Send("a", 100), Send("b", 100)))
    for name in ("a", "b"):
        simulation.add(name, machine, iter_of(Receive("leader")))
    assert simulation.run() == 1.0


def test_processes_that_wait_for_ever_are_named():
    simulation = Simulation(0.0)
    simulation.add("a", Machine(1), iter_of(Receive("b")))
    simulation.add("b", Machine(1), iter_of(Work(1)))
    with pytest.raises(RuntimeError, match=r"processes must end, got \['a'\] that wait"):
        simulation.run()


STAGE = Stage(lead=1.0, lead_each=0.5, work=2.0, work_each=0.25, down=10.0, down_each=1.0, up=20.0)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_step_is_the_sum_of_its_parts(workers):
    """On machines of their own the leading process sends one after the other, and waits for the last."""
    part = 40 / workers
    found = step([STAGE] * 3, 40, workers, Link(0.125, rate=100))
    down, up = (10 + part) / 100, 20 / 100
    one = 1 + max(0.5, down) * (workers - 1) + 0.5 + down + 0.125 + 2 + 0.25 * part + up + 0.125
    assert found.seconds == pytest.approx(3 * one)
    assert found.link_bytes == pytest.approx(3 * workers * (10 + part + 20))
    # On one core all work is done after the other, and links are not counted.
    found = step([STAGE], 40, workers, Link(0.0, message=0.5, copy=0.01), cores=1)
    copied = 0.01 * 2 * workers * (10 + part + 20) + 2 * 0.5 * workers
    assert found.seconds == found.busy == pytest.approx(1 + 0.5 * workers + workers * 2 + 0.25 * 40 + copied)
    assert found.link_bytes == 0


def test_a_tree_carries_less_on_a_link_and_takes_the_logarithm():
    free = Stage(0, 0, 1, 0, 0, 0, 1000)
    for workers, depth in ((2, 1), (4, 2), (64, 6)):
        found = step([free], 0, workers, Link(0.0, rate=1000), fan_out=2)
        assert found.seconds == pytest.approx(1 + 2 * depth)  # two messages up at each level, one after the other
        assert found.link_bytes <= 3000
    assert step([free], 0, 64, Link(0.0, rate=1000)).link_bytes == 64000


def test_a_link_is_measured():
    found = measured(rounds=4)
    assert found.latency >= 0 and 0 < found.message < 0.1 and 0 < found.copy < 1e-6


def test_the_parts_of_a_step_are_those_of_the_real_one():
    def make():
        return bl.models.mlp((16,), 4, hidden=(32,), precision="low-memory")

    batch = np.random.default_rng(0).integers(-128, 128, (24, 16), dtype=np.int8), np.arange(24) % 4
    trainer = bl.training.DataParallel(make(), bl.optim.adam(), workers=bl.training.LocalWorkers(4), agree_every=100)
    trainer.step(*batch, 0.001)
    traffic = trainer.traffic
    trainer.step(*batch, 0.001)
    one, more = (training.parts(make, "exact", batch, count, steps=2) for count in (1, 4))
    found = training.stages(one, more, 24, 4)
    # Of each worker: what stages say goes down and up, and what the training counted.
    down = sum(stage.down + 6 * stage.down_each for stage in found)
    assert 4 * down == pytest.approx((traffic.sent + traffic.examples) / traffic.steps, rel=0.02)
    assert 4 * sum(stage.up for stage in found) == pytest.approx(traffic.received / traffic.steps, rel=0.02)
    assert all(stage.lead >= 0 and stage.work >= 0 for stage in found) and sum(stage.work for stage in found) > 0


def test_a_product_ends_with_its_last_task_or_at_the_schedulers_pace():
    costs = products.Costs(client=0.1, scheduler=0.5, worker=1.0, row=0.25)
    alone = products.product(costs, 40, 4, 1, Link(0.0))
    assert alone.seconds == pytest.approx(1 + 0.25 + 10 * 2 + 0.25) and alone.link_bytes > 0  # the next is at hand
    assert alone.busy == pytest.approx(1 + 10 * 2 + 10 * 0.5)
    many = products.product(costs, 40, 4, 10, Link(0.0))
    assert many.seconds == pytest.approx(1 + 10 * 0.5)  # the client's and the scheduler's own time
    stored = products.product(costs, 40, 4, 10, Link(0.0), source=40 * products.N / 8 / 1000)
    assert stored.seconds == 1000


def test_what_is_measured_is_a_product(tmp_path):
    path, weights = products.written(tmp_path, 50)
    found = products.of_rows(path, bl.pack_weights(weights, products.N), 10, 30)
    x, y = (bl.unpack(words, products.N).astype(np.int32) for words in (np.load(path)[10:40], weights))
    assert np.array_equal(found, (x @ y.T >= 0).sum(axis=0))
    least, mean = products._row_seconds(str(path), weights, 50, rounds=3)
    assert 0 < least <= mean
