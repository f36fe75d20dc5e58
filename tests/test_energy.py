"""The energy of a step: counts against the layers' own, joules by hand, and the counters of a made machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import energy
from bitlearn.backends.table import TABLE
from bitlearn.energy import horowitz, meter
from bitlearn.program import Program, Recorder, counted

#: Kernels that move values and do no more with them.
MOVES = {
    *("cast", "copy", "mask_gradient", "pack_panels", "plane_windows", "spread", "take", "take_bits"),
    *("transpose_bits", "unfold_codes", "unpack"),
}


def counts(program: Program) -> dict[str, float]:
    return {row.operation: row.count for row in energy.of_program(program).rows}


# --- The model -------------------------------------------------------------------------------------------------------


def test_the_table_is_the_published_one():
    picojoules = energy.PICOJOULES
    assert (picojoules["add int8"], picojoules["add int32"]) == (0.03, 0.1)
    assert (picojoules["multiply int8"], picojoules["multiply int32"]) == (0.2, 3.1)
    assert (picojoules["add float16"], picojoules["add float32"]) == (0.4, 0.9)
    assert (picojoules["multiply float16"], picojoules["multiply float32"]) == (1.1, 3.7)
    assert [cost for _, cost in horowitz.READS] == [10, 20, 100, 1300]
    # Derived: what lies between the published ones lies between them, and a word of bits is five additions.
    assert picojoules["add int8"] < picojoules["add int16"] < picojoules["add int32"] < picojoules["add int64"]
    assert picojoules["multiply int8"] < picojoules["multiply int16"] < picojoules["multiply int32"]
    assert 64 * picojoules["bit"] == pytest.approx(5 * picojoules["add int32"])


@pytest.mark.parametrize(("nbytes", "cost"), [(8192, 10), (8193, 20), (32768, 20), (2**20, 100), (2**20 + 1, 1300)])
def test_an_array_lies_in_the_smallest_memory_that_holds_it(nbytes, cost):
    assert horowitz.of_move(nbytes, "smallest") == pytest.approx(nbytes / 8 * cost)
    assert horowitz.of_move(nbytes) == pytest.approx(nbytes / 8 * 1300)


def test_every_kernel_says_what_it_does_with_numbers():
    silent = {name for name, row in TABLE.items() if row.operations.__name__ == "_nothing"}
    assert silent == MOVES


def test_a_program_by_hand():
    recorder = Recorder()
    a, b = (recorder.input(name, shape, np.uint64) for name, shape in (("a", (3, 2)), ("b", (5, 2))))
    y = recorder.output("y", (3, 5), np.int16)
    recorder.run("xnor_matmul", a, b, 100, y)
    g = recorder.input("g", (4, 3), np.int8)
    sums = recorder.output("sums", (3, 100), np.int32)
    recorder.run("grad_weight", g, recorder.input("x", (4, 2), np.uint64), 100, 0, True, sums)
    weight, moment = (recorder.input(name, (3, 100), np.float32) for name in ("w", "m"))
    scale, numbers = recorder.input("scale", (1,), np.float64), recorder.input("numbers", (3,), np.float32)
    recorder.run("sgd_update", sums, scale, 1.0, numbers, weight, moment)
    found = energy.of_program(Program(recorder))
    assert {row.operation: row.count for row in found.rows} == {
        "bit": 3 * 5 * 100,
        "add int32": 4 * 3 * 100,
        "multiply float64": 300,
        "multiply float32": 3 * 300,
        "add float32": 3 * 300,
        # What is added to and what is updated is read and written; all else is moved once.
        "bytes moved": (48 + 80 + 30) + (12 + 64 + 2 * 1200) + (1200 + 8 + 12 + 2 * 1200 + 2 * 1200),
    }
    assert found.arithmetic == pytest.approx(
        1e-12 * (1500 * (0.2 / 32 + 0.1 / 64) + 1200 * 0.1 + 300 * 4 * 3.7 + 900 * 3.7 + 900 * 0.9)
    )
    assert found.moves == pytest.approx(8654 / 8 * 1300e-12)
    assert found.joules == found.arithmetic + found.moves
    small = energy.of_program(Program(recorder), "smallest")
    assert small.arithmetic == found.arithmetic and small.moves == pytest.approx(8654 / 8 * 10e-12)


@pytest.mark.parametrize("name", ["mlp", "cnv", "binarynet"])
def test_forward_products_are_those_of_the_layers(name):
    """The layers count the multiply-adds of an example for themselves."""
    shape, options = ((28, 28, 1), {}) if name == "mlp" else ((32, 32, 3), {"filters": (32, 64), "dense": (64,)})
    model = bl.models.build(name, shape, 10, precision="low-memory", **options)
    bits = sum(leaf.operations()[0] for _, leaf in model.items())
    of_codes = next(leaf.operations()[1] for _, leaf in model.items() if "weight" in leaf.parameters())
    calls = bl.training.Trainer(model, bl.optim.adam()).record(8).program.calls
    forward = [call.operations() for call in calls if call.phase == "forward"]
    assert sum(found.get("bit", 0) for found in forward) == 8 * bits
    # The input's codes are added and subtracted.
    products = [call for call in calls if call.phase == "forward" and call.name == "grad_input"]
    assert sum(sum(call.operations().values()) for call in products) == 8 * of_codes


def test_every_backend_makes_the_same_products():
    model = bl.models.mlp((20, 10, 1), 10, hidden=(256, 128), precision="low-memory")

    def bits():
        return counts(bl.training.Trainer(model, bl.optim.adam()).record(256).program)["bit"]

    native = bits()
    with bl.use_backend("reference"):
        assert bits() == native == 256 * (256 * 128 + 128 * 10)


@pytest.mark.parametrize("policy", ["standard", "int8", "low-memory", "lowest-memory", "low-memory-5bit", "dual-16"])
def test_every_policy_is_counted(policy):
    for head in ("binary", "real"):
        model = bl.models.mlp((6, 5, 1), 4, hidden=(9, 8), precision=policy, head=head)
        found = energy.predict(model, bl.optim.adam(), 10)
        assert found.uncounted == () and found.joules > found.moves > 0 and found.arithmetic > 0
        with bl.use_backend("reference"):
            assert energy.predict(model, bl.optim.adam(), 10).uncounted == ()


def test_fewer_bits_take_less_where_they_are_worked_with():
    names = ("standard", "low-memory", "low-memory-moments8")
    standard, low, moments = (energy.predict(bl.models.mlp(precision=name), bl.optim.adam(), 100) for name in names)
    assert standard.moves > low.moves and standard.arithmetic > low.arithmetic
    # Moments in 8 bits are widened to be worked with: they take fewer bytes, and more moves.
    assert moments.moves > low.moves


def test_a_python_function_says_what_it_does_or_is_named():
    def known(x, out):
        np.multiply(x, 2, out=out)

    def unknown(x, out):
        np.multiply(x, 2, out=out)

    recorder = Recorder()
    x, y = recorder.input("x", (4,), np.float32), recorder.output("y", (4,), np.float32)
    recorder.run(counted(lambda x, out: {"multiply float32": x.size})(known), x, y)
    recorder.run(unknown, x, y)
    found = energy.of_program(Program(recorder))
    assert found.uncounted == ("unknown",)
    assert {row.operation: row.count for row in found.rows} == {"multiply float32": 4, "bytes moved": 64}


@pytest.mark.parametrize("memory", ["DRAM", "", "cache"])
def test_bad_memories(memory):
    with pytest.raises(ValueError, match="memory must be one of dram, smallest, got"):
        energy.predict(bl.models.mlp((4,), 2, hidden=(8,)), bl.optim.adam(), 4, memory)


def test_bad_operations():
    with pytest.raises(ValueError, match=r"operation must be one of .* got 'divide int8'"):
        horowitz.of_operation("divide int8")


# --- The machine's counters ------------------------------------------------------------------------------------------


def zone(root: Path, zone: str, name: str, energy_uj: int, most: int = 1000) -> Path:
    """Make a zone as powercap shows it, and return the file of its counter."""
    folder = root / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


@pytest.fixture
def machine(tmp_path):
    """Two packages with their parts, memory, and a platform that holds all of them."""
    return {
        name: zone(tmp_path, folder, name, 500)
        for folder, name in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "uncore"),
            ("intel-rapl:0:2", "dram"),
            ("intel-rapl:1", "package-1-die-0"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0 again"),
        ]
    } | {"root": tmp_path}


def test_packages_and_memory_add_up(machine):
    found = energy.EnergyMeter(machine["root"])
    assert found.joules == 0 and found.how == (
        "RAPL through powercap (package-0, dram, package-1-die-0), all processes together"
    )
    with found:
        for name, value in [("package-0", 600), ("core", 590), ("dram", 520), ("package-1-die-0", 501), ("psys", 900)]:
            machine[name].write_text(f"{value}\n")
    assert found.joules == pytest.approx(121e-6)
    machine["package-0"].write_text("700\n")  # between blocks
    with found:
        machine["package-0"].write_text("710\n")
    assert found.joules == pytest.approx(131e-6)


def test_a_counter_that_begins_again(machine):
    found = energy.EnergyMeter(machine["root"])
    with found:
        machine["package-0"].write_text("20\n")
    assert found.joules == pytest.approx((1000 - 500 + 20) * 1e-6)


def test_a_long_block_is_looked_at_while_it_lasts(machine, monkeypatch):
    """A counter that passes its range twice in a block would be missed once by two looks."""
    monkeypatch.setattr(meter, "_SECONDS", 0.005)
    found = energy.EnergyMeter(machine["root"])
    with found:
        for value in (900, 300, 900, 300):
            before = found._counters[0]._last
            written = machine["root"] / "written"
            written.write_text(f"{value}\n")
            written.replace(machine["package-0"])  # at once, as the kernel does
            end = time.monotonic() + 5
            while found._counters[0]._last == before and time.monotonic() < end:
                time.sleep(0.002)
    assert found.joules == pytest.approx((400 + 400 + 600 + 400) * 1e-6)


def test_mapped_registers_are_read_where_there_are_no_others(tmp_path):
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    assert energy.EnergyMeter(tmp_path).joules == 0
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    assert len(energy.EnergyMeter(tmp_path)._counters) == 1


def test_a_machine_without_counters_says_so(tmp_path):
    for root in (tmp_path, tmp_path / "absent"):
        found = energy.EnergyMeter(root)
        with found:
            pass
        assert found.joules is None
        assert found.how == f"not measured: this machine exposes no energy counters of processors under {root}"
    zone(tmp_path, "intel-rapl:0", "psys", 5)
    assert energy.EnergyMeter(tmp_path).joules is None


def test_counters_that_may_not_be_read(machine, monkeypatch):
    text, closed = Path.read_text, machine["package-0"]

    def read_text(path, *given):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return text(path, *given)

    monkeypatch.setattr(Path, "read_text", read_text)
    found = energy.EnergyMeter(machine["root"])
    assert found.joules is None and found.how == f"not measured: the counter {closed} may not be read by this user"


def test_a_counter_that_goes_away(machine):
    """What it counted before is no measurement of the block."""
    found = energy.EnergyMeter(machine["root"])
    with found:
        machine["package-0"].unlink()
    assert found.joules is None and found.how.startswith("not measured: ")


def test_a_zone_that_makes_no_sense(machine):
    machine["package-0"].write_text("many\n")
    found = energy.EnergyMeter(machine["root"])
    assert found.joules is None and found.how.startswith("not measured: the zone ") and "intel-rapl:0" in found.how


# --- The commands ----------------------------------------------------------------------------------------------------


def test_commands_tell_it(tmp_path, capsys, machine, monkeypatch):
    from bitlearn.cli import main

    out = tmp_path / "found.json"
    monkeypatch.setattr(meter, "POWERCAP", tmp_path / "absent")
    arguments = ["train", "--precision", "low-memory", "--epochs", "1", "--max-steps", "2", "--json", str(out)]
    assert main(arguments) == 0
    found, told = json.loads(out.read_text()), capsys.readouterr().out
    model = bl.models.mlp((8, 8, 1), 10, precision="low-memory")
    assert found["energy_joules_predicted"] == energy.predict(model, bl.optim.adam(), 100).joules
    assert found["energy_joules_measured"] is None and "exposes no energy counters" in found["energy_joules_how"]
    assert "mJ modelled: 45 nm, arrays in DRAM" in told and "not measured: this machine exposes no" in told
    monkeypatch.setattr(meter, "POWERCAP", machine["root"])
    assert main([*arguments, "--memory-budget", "8 MiB"]) == 0
    found, told = json.loads(out.read_text()), capsys.readouterr().out
    assert found["energy_joules_measured"] == 0 and found["energy_joules_predicted"] > 0
    assert "in all epochs and validations, RAPL through powercap" in told
    assert main(["memory", "--batch-size", "10", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["energy"]
    assert found["standard"]["joules"] == pytest.approx(found["standard"]["arithmetic"] + found["standard"]["moves"])
    assert found["standard"]["joules"] > found["low-memory"]["joules"]
    assert "Energy of the same steps" in capsys.readouterr().out
    assert main(["memory", "--accounting", "paper-final", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["energy"] is None
