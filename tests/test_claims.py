"""The claims: whole, measured against their bars, and the only source of figures of speed in the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bitlearn import cli
from bitlearn.bench import claims, processor, records
from bitlearn.bench.claims import Measured, _bit_products, _gradient_products, _speed, _tiles, step_memory
from bitlearn.bench.claims import tiles as tiles_claims
from bitlearn.ops.dispatch import unavailable

ROOT = Path(__file__).parents[1]

#: A figure of speed: a rate, a time, or so many times as fast as something.
FIGURE = re.compile(
    r"(?<![\w.×/-])(\d+(?:[.,]\d+)*)\s*"
    r"(?:×(?!\s*\d)|times (?:as (?:fast|long)|faster|slower)|(?:µs|ms|ns)\b|of the (?:probe|limit|rate|peak)"
    r"|(?:[TGMk] ?)?(?:bit-MAC|MAC|values|images|steps|ops|[GM]i?B)/s|% (?:of the|faster|slower))"
)


def test_claims_are_whole():
    found = claims.load()
    assert len({claim.id for claim in found}) == len(found)
    for claim in found:
        assert re.fullmatch(r"[a-z0-9-]+", claim.id) and claim.statement and claim.source
        page = ROOT / claim.source.split(",")[0].split(":")[0]
        assert page.is_file() or not (ROOT / "docs").is_dir(), claim.source


def test_a_bar_compares():
    with pytest.raises(ValueError, match=r"a bar of c must compare by <, .* got '=>'"):
        claim(lambda: 1.0, ("=>", 1.0))


def test_claims_are_chosen_by_id():
    assert [claim.id for claim in claims.load(["two-threads", "import-time"])] == ["two-threads", "import-time"]
    with pytest.raises(ValueError, match=r"claim must be one of the [0-9]+ that --list shows, got 'fast'"):
        claims.load(["fast"])


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
    detailed = claims.measure([claim(lambda: Measured(3.0, {"seconds": 1.0}))])[0]
    assert detailed["holds"] is True and detailed["details"] == {"seconds": 1.0} and held["details"] == {}


def test_claims_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "claims.json"
    assert cli.main(["claims", "paper-memory-low", "paper-memory-standard", "--json", str(path)]) == 0
    entries = json.loads(path.read_text())
    assert [(each["id"], each["holds"]) for each in entries] == [
        ("paper-memory-low", True),
        ("paper-memory-standard", True),
    ]
    assert all(each["machine"] == json.loads(json.dumps(records.machine())) for each in entries)
    out, err = capsys.readouterr()
    assert "yes" in out and "[2/2] paper-memory-standard" in err
    assert cli.main(["claims", "no-such-claim"]) == 2


def test_claims_are_written_as_they_come_and_resumed(tmp_path, capsys, monkeypatch):
    path, names, measured = tmp_path / "claims.json", ["paper-memory-low", "paper-memory-standard"], []
    measure = claims.measure

    def interrupted(chosen):
        measured.append(chosen[0].id)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(chosen)

    monkeypatch.setattr(claims, "measure", interrupted)
    assert cli.main(["claims", *names, "--json", str(path)]) == 130
    assert [each["id"] for each in json.loads(path.read_text())] == names[:1]
    assert cli.main(["claims", *names, "--json", str(path), "--resume"]) == 0
    assert [each["id"] for each in json.loads(path.read_text())] == names
    assert measured == [*names, names[1]]
    path.write_text("[1]")
    capsys.readouterr()
    assert cli.main(["claims", *names, "--json", str(path), "--resume"]) == 2
    assert "must hold earlier output of --json" in capsys.readouterr().err
    assert cli.main(["claims", "--resume"]) == 2
    assert cli.main(["claims", "--list"]) == 0
    assert "paper-memory-low" in capsys.readouterr().out
    assert cli.main(["claims", "paper-memory-lo"]) == 2
    err = capsys.readouterr().err
    assert "perhaps paper-memory-low" in err and len(err) < 300


@pytest.fixture
def raced(monkeypatch):
    """Every race takes one second of ours, three of each rival and half of one of the probe; answers are verified."""
    names = []

    def race(contenders):
        for contender in contenders:
            with contender.within():
                assert contender.check(contender.call())
        names.append([contender.name for contender in contenders])
        return {each.name: {"o": 1.0, "p": 0.5}.get(each.name[0], 3.0) for each in contenders}

    monkeypatch.setattr(_speed, "race", race)
    _bit_products._race.cache_clear()
    yield names
    _bit_products._race.cache_clear()


@pytest.mark.parametrize("name", ["over-numkong-256x256x256", "share-of-probe-256x256x256", "call-overhead"])
def test_claims_of_speed_race_verified_contenders(raced, name):
    (entry,) = claims.measure(claims.load([name]))
    if entry["reason"] is None:
        assert entry["measured"] > 0
        assert raced and (name == "call-overhead" or "ours" in raced[0])


def test_a_bar_of_another_processor_says_so(raced, monkeypatch):
    monkeypatch.setattr(processor, "current", lambda: processor.Processor("Intel", 6, 0x8F))
    (entry,) = claims.measure(claims.load(["over-numkong-1536x1536x4096"]))
    assert entry["holds"] is None and entry["reason"] == "this bar is for other processors than Intel"
    monkeypatch.setattr(processor, "current", lambda: processor.Processor("AMD", 25, 0x21))
    (entry,) = claims.measure(claims.load(["probe-of-ports"]))
    assert entry["holds"] is None and "not known here" in entry["reason"]
    assert raced == []


@pytest.fixture
def tiles(monkeypatch):
    """A processor with tiles, as far as claims can tell, and an environment that says nothing of them."""
    for name in ("ONEDNN_MAX_CPU_ISA", "BITLEARN_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_tiles, "variants", lambda: [_tiles.TILES, _tiles.BITS])
    tiles_claims._race.cache_clear()
    yield monkeypatch
    tiles_claims._race.cache_clear()


def test_bars_of_tiles_are_measured_where_both_sides_may_use_them(raced, tiles):
    (entry,) = claims.measure(claims.load(["tiles-grad-input-over-vnni"]))
    if _tiles.BITS in unavailable():
        assert unavailable()[_tiles.BITS] in entry["reason"]
    else:
        assert entry["measured"] == 3.0 and set(entry["details"]["seconds"]) >= {"ours", "avx512"}
    tiles.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    tiles_claims._race.cache_clear()
    (entry,) = claims.measure(claims.load(["tiles-grad-input-over-vnni"]))
    assert (
        entry["reason"] == "this bar is for all that a processor has: it wants no ONEDNN_MAX_CPU_ISA in the environment"
    )
    tiles.setattr(_tiles, "variants", list)
    for name in ("tiles-never-slower", "step-binarynet-int8-tiles-over-fastest"):
        (entry,) = claims.measure(claims.load([name]))
        assert entry["holds"] is None and entry["reason"].startswith("this bar is for processors with tiles: ")


def test_bars_without_tiles_leave_them_out(tiles):
    (entry,) = claims.measure(claims.load(["step-mlp-int8-over-eager"]))
    assert entry["reason"] == "this bar leaves tiles out: it wants BITLEARN_BACKEND=cext:avx512 in the environment"
    tiles.setenv("BITLEARN_BACKEND", _tiles.BITS)
    _tiles.needs_none()
    tiles.setattr(_gradient_products, "_features", lambda: ["avx512_vnni", "amx_int8"])
    tiles.setattr(_gradient_products, "variants", lambda: [_tiles.BITS])
    with pytest.raises(claims.NotHere, match="it wants ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI in the environment"):
        _gradient_products.needs_vnni()


def test_claims_of_memory_measure_a_fresh_process(monkeypatch):
    step_memory._found.cache_clear()
    (claim,) = claims.load(["memory-mlp-low-memory-as-predicted"])
    found = claim.measure()
    assert set(found.details["bytes"]) == {"measured", "predicted"} and found.details["bytes"]["measured"] > 2**20
    mib = 2**20
    for measured, apart in ((100.5, 0.0), (106.0, 5.0), (94.0, 5.0), (260.0, 159.0)):
        both = {"measured": int(measured * mib), "predicted": 100 * mib}
        monkeypatch.setattr(step_memory, "_found", lambda network, policy, both=both: both)
        assert claim.measure().value == pytest.approx(apart)
    (whole,) = claims.load(["memory-binarynet-int8"])
    assert whole.measure().value == pytest.approx(260.0)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("it is 2.5× faster, and 30 times as fast", ["2.5", "30"]),
        ("1.38 T bit-MAC/s or 17 GB/s in 1.2 µs", ["1.38", "17", "1.2"]),
        ("0.9 of the probe's rate, 20 % faster", ["0.9", "20"]),
        ("6144×128×1152, 3×3 kernels, 1 MiB, batch 100", []),
    ],
)
def test_figures_of_speed_are_recognised(text, figures):
    assert FIGURE.findall(text) == figures


def paragraphs() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.rst"))]
    pages += sorted((ROOT / "docs" / "embedding").glob("*.rst"))
    parts = [
        (page.name, part)
        for page in pages
        if page.is_file()
        for part in re.split(r"\n\s*\n|\n(?=\|)", page.read_text("utf-8"))
    ]
    return [(name, part) for name, part in parts if FIGURE.search(part)]


def test_every_figure_of_speed_in_the_documentation_is_a_bar_of_a_claim():
    bars = {claim.id: f"{claim.bar[1]:g}" for claim in claims.load()}
    for page, text in paragraphs():
        named = {bars[name] for name in re.findall(r"`+([a-z0-9-]+)`+", text) if name in bars}
        for figure in FIGURE.findall(text):
            assert f"{float(figure.replace(',', '')):g}" in named, (
                f"{page}: {figure} is no bar of a claim named in: {text}"
            )
