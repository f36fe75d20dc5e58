"""The benchmarks: what is verified, in which turns, what is recorded. Nothing here depends on a time."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.backends import KERNELS, implementing
from bitlearn.bench import claims, harness, kernels, probe, records, rivals, runner, tables
from bitlearn.bench.harness import Contender, WrongAnswer

SECONDS = 1e-6
KEYS = {"kernel", "variant", "shape", "seconds", "ops_per_second", "rival", "ratio"}
SHAPES = {2: (9, 70), 3: (5, 7, 70), 6: (2, 4, 5, 3, 6, 3)}


def right(answer: object) -> bool:
    return answer == "right"


def shape_of(kernel: str) -> tuple[int, ...]:
    return SHAPES[kernels._MAKERS[kernel][0]]


def rival(name: str, prepare, check=lambda case, answer: True) -> SimpleNamespace:
    return SimpleNamespace(NAME=name, KERNELS=("xnor_matmul",), prepare=prepare, check=check)


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


#: What lies between the products of a step, inside the layers.
PASSES = ("channel_", "sign_pass", "gradient_", "norm_", "max_pool")


def test_every_forward_kernel_has_cases():
    backward = ("grad_", "conv2d_grad_", "quantize_", *PASSES)
    # What runs on panels is timed through the public function that a prepared operand is given to.
    forward = {kernel for kernel in KERNELS if not kernel.startswith(backward) and not kernel.endswith("_panels")}
    assert set(kernels.FORWARD) == forward


@pytest.mark.parametrize("kernel", kernels.FORWARD)
def test_every_variant_gives_the_expected_answer(kernel):
    case = kernels.case(kernel, shape_of(kernel))
    contenders = runner.ours(case)
    assert contenders
    for contender in contenders:
        harness.verify(contender)


@pytest.mark.parametrize("kernel", kernels.FORWARD)
def test_a_case_notices_a_wrong_answer(kernel):
    case = kernels.case(kernel, shape_of(kernel))
    answer = case.call().copy()
    assert runner.ours(case)[0].check(answer)
    answer.flat[-1] ^= 1
    assert not runner.ours(case)[0].check(answer)


@pytest.mark.parametrize("name", [module.NAME for module in rivals.load()])
def test_a_rival_does_the_work_and_a_wrong_answer_is_noticed(name):
    (module,) = rivals.load([name])
    for kernel in module.KERNELS:
        case = kernels.case(kernel, (20, 24, 128) if kernel in ("xnor_matmul", "hamming") else shape_of(kernel))
        try:
            answer = module.prepare(case)()
        except ImportError as error:
            pytest.skip(str(error))
        assert module.check(case, answer)
        expected = case.expected.copy()
        expected.flat[0] += 64  # beyond what bfloat16 rounds
        assert not module.check(SimpleNamespace(**vars(case) | {"expected": expected}), answer)


def test_shapes_are_read():
    assert kernels.parse_shapes("2x3x4, 5x6") == ((2, 3, 4), (5, 6))
    assert kernels.parse_shapes("full") == kernels.GRIDS["full"]
    for text in ("", "0x3", "3", "2x3x4x5", "axb", "2x-3"):
        with pytest.raises(ValueError, match="a shape must be small or full, or positive sizes rowsxn"):
            kernels.parse_shapes(text)


def test_a_shape_that_no_kernel_takes_is_an_error():
    with pytest.raises(ValueError, match="pack must be given shapes that they take, got 2x3x4"):
        list(kernels.cases(["pack"], [(2, 3, 4)]))
    with pytest.raises(ValueError, match=r"kernel must be one of pack, .* got 'gemm'"):
        list(kernels.cases(["gemm"]))


def test_probes_count_every_bit():
    for contender in probe.contenders():
        if contender.name != probe.CLOCK:
            differing = contender.call() / probe.ITERATIONS
            # The same whatever the variant, and as Python counts it.
            left, right = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9), (0x94D049BB133111EB, 0xD6E8FEB86659FD93)
            pairs = sum((a ^ b).bit_count() for a in left for b in right)
            assert differing == pairs * probe.operations() / probe.ITERATIONS / (4 * 64)


def test_entries_have_the_keys_of_the_contract():
    entries = runner.run(kernels.cases(["xnor_matmul"], [(3, 4, 65)]), rivals.load(["numpy-float32"]), seconds=SECONDS)
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

    cases = kernels.cases(["xnor_matmul"], [(3, 4, 65)])
    modules = [rival("fast", prepare), rival("slow", broken), rival("picky", cannot)]
    entries = runner.run(cases, modules, ["reference"], SECONDS)
    assert [entry["rival"] for entry in entries] == [None, "fast", "slow", "picky"]
    assert entries[0]["seconds"] > 0 and entries[0]["ratio"] is None
    assert [entry["reason"] for entry in entries[1:]] == [
        "not installed: No module named 'fast'",
        "broken: slow does not import",
        "more than 16 rows are wanted",
    ]
    assert all(set(entry) == set(entries[0]) and entry["seconds"] is None for entry in entries[1:])
    assert "fast was not timed on xnor_matmul 3×4×65: not installed: No module named 'fast'" in tables.missing(entries)


def test_a_wrong_rival_stops_the_run():
    wrong = rival("wrong", lambda case: lambda: None, lambda case, answer: False)
    with pytest.raises(WrongAnswer, match="wrong must give the expected answer"):
        runner.run(kernels.cases(["xnor_matmul"], [(3, 4, 65)]), [wrong], ["reference"], SECONDS)


def test_no_path_and_no_host_name_is_recorded():
    import socket
    from pathlib import Path

    text = json.dumps(records.machine())
    assert str(Path.home()) not in text and str(Path(bl.__file__).parents[1]) not in text
    assert socket.gethostname() not in text


MACHINE = {"cpu": "Some Processor", "threads": 1, "commit": None, "packages": {"numpy": "2.4"}}
BASE = {"kernel": "xnor_matmul", "shape": [64, 65, 66], "unit": "bit-MAC", "machine": MACHINE, "reason": None}
STORED = [
    BASE
    | {"variant": "cext:avx2", "seconds": 2e-6, "ops_per_second": 1.3e11, "share_of_probe": 0.5}
    | {"rival": "faiss", "ratio": 0.25},
    BASE
    | {"variant": "jit", "seconds": 4e-6, "ops_per_second": 6.5e10, "share_of_probe": None}
    | {"rival": None, "ratio": None},
    BASE
    | dict.fromkeys(("variant", "seconds", "ops_per_second", "share_of_probe", "ratio"))
    | {"rival": "torch", "reason": "not installed"},
]


def test_tables_from_a_stored_record(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(STORED))
    assert tables.main([str(path), "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "bench.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "## Some Processor"
    assert "- packages: numpy 2.4" in lines
    # Losing cases stay.
    assert "| xnor_matmul | 64×65×66 | cext:avx2 | 2 µs | 130 G bit-MAC/s | 0.50 | faiss | 0.25 |" in lines
    assert "| xnor_matmul | 64×65×66 | jit | 4 µs | 65 G bit-MAC/s |  |  |  |" in lines
    assert lines[-1] == "torch was not timed on xnor_matmul 64×65×66: not installed"
    first = (tmp_path / "out" / "bench.svg").read_bytes()
    tables.plot(STORED, tmp_path / "again.svg")
    assert first.startswith(b"<?xml") and (tmp_path / "again.svg").read_bytes() == first


def test_machines_have_tables_of_their_own():
    other = [STORED[0] | {"machine": MACHINE | {"cpu": "Another"}}]
    text = tables.markdown([*STORED, *other])
    assert text.count("\n| kernel |") == 2 and "## Another" in text


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="a list of entries of a benchmark was wanted"):
        records.read(path)


def test_bench_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "bench.json"
    options = [
        "--kernels",
        "xnor_matmul,pack",
        "--shapes",
        "3x4x65,3x65",
        "--variants",
        "reference",
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
    assert "numpy-bitwise-count" in out and "xnor_matmul 3x4x65" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--kernels", "gemm"], "kernel must be one of"),
        (["--rivals", "abacus"], "rival must be one of"),
        (["--variants", "cext:quantum"], "'cext:quantum' is not available"),
        (["--shapes", "3"], "a shape must be"),
        (["--seconds", "0"], "a positive number of seconds was wanted"),
        (["--threads", "0"], "threads"),
    ],
)
def test_bad_options_of_bench(capsys, options, reason):
    assert cli.main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert reason in err and len(err.splitlines()) == 1


def test_claims_are_whole():
    found = claims.load()
    assert len({claim.id for claim in found}) == len(found)
    for claim in found:
        assert claim.statement and claim.source and claim.bar[0] in claims._COMPARISONS


def claim(measure, bar=(">=", 2.0)) -> claims.Claim:
    return claims.Claim("c", "it is fast", "README.md", bar, "times", measure)


def test_a_claim_holds_or_does_not_or_cannot_be_measured():
    def not_here():
        raise claims.NotHere("no such instructions")

    held, failed, unknown = claims.measure([claim(lambda: 2.0), claim(lambda: 1.9), claim(not_here)])
    assert set(held) >= {"id", "statement", "source", "bar", "measured", "holds"}
    assert held["holds"] is True and held["bar"] == ">= 2 times" and held["measured"] == 2.0
    assert failed["holds"] is False
    assert unknown["holds"] is None and unknown["measured"] is None and unknown["reason"] == "no such instructions"
    assert claims.measure([claim(lambda: np.nan)])[0]["holds"] is False


def test_claims_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "claims.json"
    assert cli.main(["claims", "paper-memory-low", "paper-memory-standard", "--json", str(path)]) == 0
    assert [(each["id"], each["holds"]) for each in json.loads(path.read_text())] == [
        ("paper-memory-low", True),
        ("paper-memory-standard", True),
    ]
    assert "yes" in capsys.readouterr().out
    assert cli.main(["claims", "no-such-claim"]) == 2
