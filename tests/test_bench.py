"""The benchmarks: what is verified, in which turns, what is recorded. Nothing here depends on a time."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from bitlearn import cli
from bitlearn.backends import implementing
from bitlearn.bench import harness, kernels, probe, rivals, runner, tables
from bitlearn.bench.harness import Contender, WrongAnswer

SECONDS = 1e-6
KEYS = {"kernel", "variant", "shape", "seconds", "ops_per_second", "rival", "ratio"}


def right(answer: object) -> bool:
    return answer == "right"


def one_case():
    return kernels.cases(kernels.places(["xnor_matmul"], [(3, 4, 65)], ["prepared"]))


def rival(name: str, prepare, check=lambda case, answer: True) -> SimpleNamespace:
    return SimpleNamespace(NAME=name, KERNELS={"xnor_matmul": ("prepared",)}, prepare=prepare, check=check)


def test_a_wrong_answer_is_an_error_before_anything_is_timed(monkeypatch):
    monkeypatch.setattr(harness, "block", lambda contender, repeats: pytest.fail("timed before it was verified"))
    wrong = [Contender("a", lambda: "right", right), Contender("b", lambda: "wrong", right)]
    with pytest.raises(WrongAnswer, match="b must give the expected answer"):
        harness.compare(wrong, SECONDS)


def test_contenders_take_turns(monkeypatch):
    turns = []
    monkeypatch.setattr(harness, "calibrate", lambda contender, seconds: {"a": 3, "b": 1}[contender.name])

    def call(name):
        turns.append(name)
        return "right"

    timings = harness.compare([Contender(name, lambda name=name: call(name), right) for name in "ab"], SECONDS, 3)
    assert "".join(turns) == "ab" + 3 * "aaab"
    assert timings["a"].repeats == 3 and timings["a"].rounds == 3


def test_medians_and_quartiles(monkeypatch):
    times = iter([5.0, 1.0, 4.0, 2.0, 3.0])
    monkeypatch.setattr(harness, "calibrate", lambda contender, seconds: 10)
    monkeypatch.setattr(harness, "block", lambda contender, repeats: 10 * next(times))
    timing = harness.compare([Contender("a", lambda: "right", right)], SECONDS, 5)["a"]
    assert (timing.lower_quartile, timing.seconds, timing.upper_quartile) == (2.0, 3.0, 4.0)


def test_what_is_slow_has_fewer_turns(monkeypatch):
    monkeypatch.setattr(harness, "calibrate", lambda contender, seconds: 1)
    monkeypatch.setattr(harness, "block", lambda contender, repeats: {"slow": 5.0, "fast": 0.1}[contender.name])
    contenders = [Contender(name, lambda: "right", right) for name in ("slow", "fast")]
    timings = harness.compare(contenders, 1.0)
    assert timings["slow"].rounds == harness.SLOW_ROUNDS and timings["fast"].rounds == harness.ROUNDS


def test_blocks_are_long_enough_for_the_clock(monkeypatch):
    monkeypatch.setattr(harness, "block", lambda contender, repeats: 0.001 * repeats)
    assert harness.calibrate(Contender("a", lambda: "right", right), 0.1) == 100
    assert harness.calibrate(Contender("a", lambda: "right", right), 1e-9) == 1


def test_a_call_runs_in_its_context():
    inside = []

    @contextmanager
    def within():
        inside.append(True)
        yield
        inside.pop()

    harness.compare([Contender("a", lambda: "right" if inside else "wrong", right, within)], SECONDS, 1)


def test_contenders_have_names_of_their_own():
    twice = [Contender("a", lambda: "right", right)] * 2
    with pytest.raises(ValueError, match="contenders must have names of their own, got a, a"):
        harness.compare(twice, SECONDS)


def test_probes_count_every_bit():
    for contender in probe.contenders():
        if contender.name != probe.CLOCK:
            differing = contender.call() / probe.ITERATIONS
            # The same whatever the variant, and as Python counts it.
            left, right = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9), (0x94D049BB133111EB, 0xD6E8FEB86659FD93)
            pairs = sum((a ^ b).bit_count() for a in left for b in right)
            assert differing == pairs * probe.operations() / probe.ITERATIONS / (4 * 64)


def test_entries_have_the_keys_of_the_contract():
    entries = runner.run(one_case(), rivals.load(["numpy-float32"]), seconds=SECONDS)
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert [entry["variant"] for entry in entries] == implementing("xnor_matmul")
    for entry in entries:
        assert set(entry) >= KEYS
        assert entry["shape"] == [3, 4, 65] and entry["rival"] == "numpy-float32"
        assert entry["ops_per_second"] == pytest.approx(3 * 4 * 65 / entry["seconds"])
        assert entry["ratio"] == pytest.approx(entry["rival_seconds"] / entry["seconds"])
        assert set(entry["machine"]) >= {"cpu", "compiler", "flags", "commit", "threads", "packages"}


def test_a_missing_rival_is_recorded_with_the_reason():
    def prepare(case):
        raise ModuleNotFoundError("No module named 'fast'")

    def broken(case):
        raise ImportError("cannot import name 'x' from 'slow' (/home/somebody/slow.so)", name="slow")

    def cannot(case):
        raise rivals.CannotDo("more than 16 rows are wanted")

    modules = [rival("fast", prepare), rival("slow", broken), rival("picky", cannot)]
    entries = runner.run(one_case(), modules, ["reference"], SECONDS)
    assert [entry["rival"] for entry in entries] == [None, "fast", "slow", "picky"]
    assert entries[0]["seconds"] > 0 and entries[0]["ratio"] is None
    assert [entry["reason"] for entry in entries[1:]] == [
        "not installed: No module named 'fast'",
        "broken: slow does not import",
        "more than 16 rows are wanted",
    ]
    assert all(set(entry) == set(entries[0]) and entry["seconds"] is None for entry in entries[1:])
    assert "fast was not timed on xnor_matmul prepared 3×4×65: not installed: No module named 'fast'" in tables.missing(
        entries
    )


def test_a_wrong_rival_stops_the_run():
    wrong = rival("wrong", lambda case: lambda: None, lambda case, answer: False)
    with pytest.raises(WrongAnswer, match="wrong must give the expected answer"):
        runner.run(one_case(), [wrong], ["reference"], SECONDS)


def test_bench_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "bench.json"
    options = [
        "--kernels",
        "xnor_matmul,pack",
        "--shapes",
        "3x4x65,3x65",
        "--variants",
        "reference",
        "--forms",
        "prepared,float32",
        "--seconds",
        "1e-6",
    ]
    assert cli.main(["bench", *options, "--rivals", "numpy-bitwise-count", "--threads", "1", "--json", str(path)]) == 0
    entries = json.loads(path.read_text())
    assert [(entry["kernel"], entry["rival"]) for entry in entries] == [
        ("xnor_matmul", "numpy-bitwise-count"),
        ("pack", None),
    ]
    out, err = capsys.readouterr()
    assert "numpy-bitwise-count" in out and "[1/2] xnor_matmul prepared 3x4x65" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--kernels", "gemm"], "kernel must be one of"),
        (["--rivals", "abacus"], "rival must be one of"),
        (["--variants", "cext:quantum"], "'cext:quantum' is not available"),
        (["--shapes", "3"], "a shape must be"),
        (["--forms", "int4"], "form must be one of"),
        (["--seconds", "0"], "expected a positive number of seconds"),
        (["--threads", "0"], "threads"),
    ],
)
def test_bad_options_of_bench(capsys, options, reason):
    assert cli.main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert reason in err and len(err.splitlines()) == 1
