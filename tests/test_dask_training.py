"""Training on a Dask cluster of processes: the bits of one process, killed workers, and what goes wrong."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import threading
import time

import pytest
from small import everything, examples, model

import bitlearn as bl
from bitlearn.nn.layer import Layer
from bitlearn.training import DataParallel, LocalWorkers, Options, ProgressBar, Trainer, fit

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install bitlearn-xnor[dask]")
dask = pytest.importorskip("dask")

from bitlearn import dask as bd  # noqa: E402
from bitlearn.dask import wire  # noqa: E402
from bitlearn.dask.workers import EVENTS  # noqa: E402

pytestmark = [
    # Of Dask's own: sockets and loops that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """Three processes of one thread each. One that was killed comes back, however often."""
    settings = {"distributed.deploy.lost-worker-timeout": "1 hour", "distributed.logging": {"distributed": "error"}}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=":0") as found,
    ):
        yield found


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as found:
        found.wait_for_workers(3)
        yield found


def trained(trainer: Trainer, name: str, steps: int, before=lambda step: None) -> dict[str, bytes]:
    data = examples(name, 10 * steps)
    codes = data.codes()
    for step in range(steps):
        before(step)
        rows = slice(10 * step, 10 * step + 10)
        trainer.step(codes[rows], data.y[rows], 0.01)
    trainer.settle()
    return everything(trainer.model, trainer.state)


@pytest.mark.parametrize(("name", "precision", "count"), [("mlp", "int8", 4), ("binarynet", "low-memory", 2)])
def test_fifty_steps_of_processes_are_those_of_one(client, name, precision, count):
    """Four replicas at three workers: one has two."""
    wanted = trained(Trainer(model(name, precision), bl.optim.adam()), name, 50)
    with bd.Workers(client, count) as found:
        trainer = DataParallel(model(name, precision), bl.optim.adam(), workers=found)
        assert trained(trainer, name, 50) == wanted
        trainer.close()
    assert trainer.traffic.lost == 0


@pytest.mark.parametrize(("form", "kills"), [("exact", 2), ("vote", 1)])
def test_killed_workers(client, cluster, form, kills, rng):
    wanted = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), workers=LocalWorkers(2), form=form)
    wanted = trained(wanted, "mlp", 40)
    with bd.Workers(client, 2) as found:
        trainer = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), workers=found, form=form)

        def kill(step):
            if step % 15 == 5 and step // 15 < kills:
                holders = [each for each in cluster.workers.values() if each.worker_address in found.places.values()]
                victim = holders[int(rng.integers(len(holders)))].process.process.pid
                threading.Timer(0.02 * rng.random(), os.kill, (victim, signal.SIGKILL)).start()

        assert trained(trainer, "mlp", 40, kill) == wanted
        trainer.close()
    assert kills <= trainer.traffic.lost <= 3 * kills


def test_the_dashboard_and_the_bar_tell_how_it_goes(client, cluster):
    """Steps and bytes are metrics of the workers, losses are events, and the bar has the same numbers."""
    data, told = examples("mlp", 30), io.StringIO()
    with bd.Workers(client, 2) as found:
        made = []

        def make(*given):
            made.append(DataParallel(*given, workers=found))
            return made[0]

        options = Options(epochs=2, batch_size=10)
        fit(model("mlp", "int8"), bl.optim.adam(), data, options, hooks=ProgressBar(told), make_trainer=make)
        traffic = made[0].traffic
        assert re.search(rf"s, {re.escape(str(traffic))}$", told.getvalue(), re.MULTILINE)
        places = set(found.places.values())
        metrics = told_by(client, places, lambda each: each.get("bitlearn steps") == traffic.steps == 6)
        assert sum(each["bitlearn bytes sent"] for each in metrics) >= traffic.received
        assert all(each["bitlearn steps a second"] >= 0 for each in metrics)
        victim = found.places[0]
        os.kill(client.run(os.getpid)[victim], signal.SIGKILL)
        made[0].step(data.codes()[:10], data.y[:10], 0.01)
        made[0].close()
        assert traffic.lost >= 1 and f"workers lost {traffic.lost} times" in str(traffic)
    assert victim in {event["lost"] for _, event in client.get_events(EVENTS)}


def told_by(client, places, are_right):
    """Return the metrics of workers as the scheduler knows them, once they are right."""
    for _ in range(100):
        workers = client.scheduler_info(n_workers=-1)["workers"]
        metrics = [workers[place]["metrics"] for place in places]
        if all(map(are_right, metrics)):
            return metrics
        time.sleep(0.1)
    raise AssertionError(metrics)


def test_a_worker_that_does_not_answer_in_time_is_taken_for_lost(client):
    wanted = trained(Trainer(model("mlp", "int8"), bl.optim.adam()), "mlp", 12)
    with bd.Workers(client, 2, timeout=2) as found:
        trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=found)
        stopped = []

        def stop(step):
            if step == 6:
                stopped.append(client.run(os.getpid)[found.places[0]])
                os.kill(stopped[0], signal.SIGSTOP)

        try:
            assert trained(trainer, "mlp", 12, stop) == wanted
        finally:
            os.kill(stopped[0], signal.SIGCONT)
        assert trainer.traffic.lost >= 1
        trainer.close()


def test_another_version_is_refused_by_name(client, monkeypatch):
    monkeypatch.setattr("bitlearn.version.VERSION", "0.0.9")
    with bd.Workers(client, 1) as found:
        trainer, data = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=found), examples("mlp", 10)
        with pytest.raises(ValueError, match=r"worker tcp://.* must have {'bitlearn': '0.0.9'}, got {'bitlearn': '0.1"):
            trainer.step(data.codes(), data.y, 0.01)


def test_workers_of_another_instruction_set_come_to_the_same_bits():
    """As machines of several kinds have: here the workers are told to use portable C, or no C at all."""
    variant = "cext:portable" if bl.which("xnor_matmul").startswith("cext") else "reference"
    wanted = trained(Trainer(model("mlp", "low-memory"), bl.optim.adam()), "mlp", 12)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", env={"BITLEARN_BACKEND": variant}
        ) as other,
        distributed.Client(other) as client,
        bd.Workers(client, 2) as found,
    ):
        assert set(client.run(bl.which, "xnor_matmul").values()) == {variant} != {bl.which("xnor_matmul")}
        trainer = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), workers=found)
        assert trained(trainer, "mlp", 12) == wanted
        trainer.close()


def test_a_full_disk_at_a_worker_is_told(client):
    """Whatever a layer of one's own raises there."""
    with bd.Workers(client, 1) as found:
        network = bl.nn.Model(
            [bl.nn.Flatten(), bl.nn.BinaryLinear(4), Writing(), bl.nn.BatchNorm()], (7, 5, 1), precision="int8"
        )
        trainer, data = DataParallel(network, bl.optim.adam(), workers=found), examples("mlp", 10)
        with pytest.raises(RuntimeError, match=r"worker 0 must answer, got OSError: .*No space left on device"):
            trainer.step(data.codes(), data.y, 0.01)


class Writing(Layer):
    """Writes to a full disk as it works."""

    kind = "writing"

    def infer(self, spec):
        return spec

    def settings(self):
        return {}

    def forward(self, step, x):
        def write(values):
            with open("/dev/full", "w") as file:
                file.write("x" * 10**6)

        step.run(write, x.array)
        return x, None

    def backward(self, step, cache, grad, *, wanted):
        return grad

    def predict(self, step, arrays, x):
        return x


def test_no_worker_and_no_scheduler():
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty, distributed.Client(empty) as client:
        with pytest.raises(TimeoutError, match=r"must have a worker within 0\.3 seconds, got none"):
            bd.Workers(client, patience=0.3)
        empty.scale(1)
        client.wait_for_workers(1)
        with bd.Workers(client) as found:
            assert found.count == 1
            trainer, data = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=found), examples("mlp", 10)
            trainer.step(data.codes(), data.y, 0.01)
            trainer.settle()
            before = everything(trainer.model, trainer.state)
            empty.close()
            with pytest.raises(ConnectionError, match="the scheduler must be reachable, got"):
                trainer.step(data.codes(), data.y, 0.01)
            assert everything(trainer.model, trainer.state) == before


def test_bad_arguments(client):
    with pytest.raises(ValueError, match="timeout must be above 0 seconds, got 0"):
        bd.Workers(client, timeout=0)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        bd.Workers(client, 0)


def test_strangers_are_hung_up_on():
    listener = wire.Listener("127.0.0.1", b"w" * 32)
    listener.expect(7)
    for greeting in (b"", b"x" * 40, b"w" * 32 + b"\x08" + b"\0" * 7):
        with socket.create_connection(listener.address, timeout=5) as stranger:
            stranger.sendall(greeting)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    assert listener.arrived(7, 0.05) is None
    connection = wire.connect(listener.address, b"w" * 32, 7)
    other = wire.Connection(listener.arrived(7, 5), 5)
    for message in (b"", b"short", os.urandom(10**6)):
        threading.Thread(target=connection.send, args=(message,)).start()
        assert other.receive() == message
    connection.close()
    with pytest.raises(EOFError):
        other.receive()
    other.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.address, timeout=1)
