"""What is made of measurements: records kept small, tables, plots, and the results that are kept with the code."""

from __future__ import annotations

import doctest
import json
import re
import socket
from pathlib import Path

import pytest

import bitlearn as bl
from bitlearn.bench import claims, kernels, plots, processor, records, report, results, rivals, runner, tables

MACHINE = {
    "cpu": "Some Processor",
    "kind": "some-processor",
    "threads": 1,
    "commit": None,
    "packages": {"numpy": "2.4"},
}
OF = {"kernel": "xnor_matmul", "form": "prepared", "shape": [64, 65, 66], "operations": 64 * 65 * 66, "unit": "bit-MAC"}
PROBE = ("probe:cext:avx2", 2.5e11, 128.0)
STORED = [
    entry | {"machine": MACHINE}
    for entry in (
        records.measured(OF, "cext:avx2", (2e-6, 1e-6, 3e-6, 4e-6), PROBE, "faiss", (5e-7, 1e-6)),
        records.measured(OF, "jit", (4e-6, 3e-6, 5e-6, 1.0), PROBE, "faiss", (5e-7, 1e-6)),
        records.missing(OF, "reference", None, "too slow"),
        records.missing(OF, None, "torch", "not installed"),
    )
]
CLAIM = {
    "id": "c",
    "statement": "it is fast",
    "source": "README.md",
    "bar": ">= 2 times",
    "measured": 1.94321,
    "unit": "times",
    "holds": False,
    "reason": None,
    "details": {"seconds": {"ours": 0.123456}},
    "machine": MACHINE,
}


def test_no_path_and_no_host_name_is_recorded():
    text = json.dumps(records.machine())
    assert str(Path.home()) not in text and str(Path(bl.__file__).parents[1]) not in text
    assert socket.gethostname() not in text


def test_a_benchmark_is_kept_and_read_again(tmp_path):
    path = results.write(STORED, tmp_path)
    assert path == tmp_path / "some-processor" / "bench.json"
    assert results.read(path) == STORED
    # The machine once, a line a case.
    assert path.read_text().count("Some Processor") == 1 and path.read_text().count("xnor_matmul") == 1


def test_a_real_run_is_kept_to_four_digits(tmp_path):
    cases = kernels.cases(kernels.places(["xnor_matmul", "grad_input"], [(3, 4, 65)]))
    entries = runner.run(cases, rivals.load(["numpy-float32"]), seconds=1e-6)
    found = results.read(results.write(entries, tmp_path))
    assert len(found) == len(entries)
    for kept, entry in zip(found, entries, strict=True):
        assert set(kept) == set(entry)
        for name, value in entry.items():
            assert kept[name] == (pytest.approx(value, rel=2e-3) if isinstance(value, float) else value)


def test_claims_are_kept_and_read_again(tmp_path):
    path = results.write([CLAIM], tmp_path)
    assert path == tmp_path / "some-processor" / "claims.json"
    assert results.read(path) == [CLAIM | {"measured": 1.943, "details": {"seconds": {"ours": 0.1235}}}]


def test_results_of_the_command_line(tmp_path, capsys):
    for name, entries in (("bench.json", STORED), ("claims.json", [CLAIM])):
        (tmp_path / name).write_text(json.dumps(entries))
    files = [str(tmp_path / "bench.json"), str(tmp_path / "claims.json")]
    assert results.main([*files, "--into", str(tmp_path / "kept")]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == ["bench.json", "claims.json"]


def test_entries_of_several_machines_are_not_kept_as_one(tmp_path):
    with pytest.raises(ValueError, match="the entries of one run were wanted"):
        results.write([*STORED, STORED[0] | {"machine": MACHINE | {"threads": 2}}], tmp_path)


@pytest.mark.parametrize("text", ["{}", "[1]", '{"machine": {}}', '[{"kernel": "pack"}, {}]'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="the entries of a benchmark or of claims were wanted"):
        results.read(path)


def test_standings_have_the_fastest_first():
    assert tables.standings(STORED) == [
        ("xnor_matmul prepared 64×65×66", "faiss", "500 ns", "549 G bit-MAC/s", "", "0.25"),
        ("", "cext:avx2", "2 µs", "137 G bit-MAC/s", "0.55", "1.00"),
        ("", "jit", "4 µs", "68.6 G bit-MAC/s", "0.27", "2.00"),
    ]
    assert tables.missing(STORED) == [
        "reference was not timed on xnor_matmul prepared 64×65×66: too slow",
        "torch was not timed on xnor_matmul prepared 64×65×66: not installed",
    ]


def test_a_report(tmp_path, capsys):
    for name, entries in (("bench.json", STORED), ("claims.json", [CLAIM])):
        (tmp_path / name).write_text(json.dumps(entries))
    out = tmp_path / "out"
    assert report.main([str(tmp_path / "bench.json"), str(tmp_path / "claims.json"), "--out", str(out)]) == 0
    names = ["bench.md", "ratios-products.svg", "shares-products.svg", "claims.md"]
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == names
    lines = (out / "bench.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "## Some Processor" and "- packages: numpy 2.4" in lines
    # Losing cases stay.
    row = "| xnor_matmul | prepared | 64×65×66 | cext:avx2 | 2 µs | 137 G bit-MAC/s | 0.55 | 0.25 |"
    assert row in lines and "| xnor_matmul | prepared | 64×65×66 | 2 µs | 4 µs |" in lines
    assert lines[-1] == "torch was not timed on xnor_matmul prepared 64×65×66: not installed"
    assert "| c | it is fast | >= 2 times | 1.943, does not hold |" in (out / "claims.md").read_text()


def test_plots_are_the_same_bytes_each_time():
    ((_, group),) = tables.families(STORED)
    assert plots.ratios(group).startswith(b"<?xml") and plots.ratios(group) == plots.ratios(group)
    assert plots.shares(group) == plots.shares(group)
    alone = [tables.Summary("pack", "float32", "3×65", "values", 195, {"jit": 1.0})]
    assert plots.ratios(alone) is None and plots.shares(alone) is None


def test_machines_have_tables_of_their_own():
    other = [STORED[0] | {"machine": MACHINE | {"cpu": "Another"}}]
    text = tables.document([*STORED, *other])
    assert text.count("### products") == 2 and "## Another" in text


def test_processors_are_known_by_their_numbers():
    text = "processor : 0\nvendor_id : GenuineIntel\ncpu family : 6\nmodel : 143\n\nprocessor : 1\nmodel : 1\n"
    found = processor.parse(text)
    assert (found.microarchitecture, found.kind) == ("Sapphire Rapids", "intel-sapphire-rapids")
    assert found.bits_per_cycle == pytest.approx(341.3, abs=0.1)
    assert processor.Processor("AMD", 26, 2).bits_per_cycle == pytest.approx(682.7, abs=0.1)
    unknown = processor.Processor("AMD", 23, 1)
    assert unknown.microarchitecture is None and unknown.bits_per_cycle is None and unknown.kind == "amd-23-1"
    assert re.fullmatch(r"[a-z0-9-]+", processor.parse("Hardware : BCM2835").kind)


@pytest.mark.parametrize("module", [processor, tables])
def test_examples_in_the_benchmarks_run(module):
    assert doctest.testmod(module).failed == 0


KEPT = sorted(path for name in ("bench", "claims") for path in results.FOLDER.glob(f"*/{name}.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_kept_results_fit_the_code(path):
    text, entries = path.read_text(encoding="utf-8"), results.read(path)
    assert re.search(r"/(home|root|tmp|work|usr)\b|\b[\w.-]+@", text) is None
    assert entries[0]["machine"]["kind"] == path.parent.name
    if results.of_claims(entries):
        known = {claim.id: claim for claim in claims.load()}
        for entry in entries:
            assert entry["bar"] == known[entry["id"]].bar_text and entry["statement"] == known[entry["id"]].statement
    else:
        assert tables.document(entries)
