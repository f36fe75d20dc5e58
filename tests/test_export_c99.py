"""What is written as C99 gives the bits of Python: inference and updates, compiled for this machine and for others."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import exported
import numpy as np
import pytest

import bitlearn as bl
from bitlearn.backends.reference import losses
from bitlearn.backends.table import TABLE
from bitlearn.classifier import Classifier
from bitlearn.datasets.preparation import prepare
from bitlearn.export.learner import checksum
from bitlearn.export.parts import parts

NETWORKS = {
    "mlp": lambda: bl.models.mlp((28, 28, 1), 10),
    "odd": lambda: bl.models.mlp((13,), 3, hidden=(70, 33), precision="low-memory"),
    "real": lambda: bl.models.mlp((65,), 7, hidden=(64, 129), head="real", precision="int8"),
    "cnv": lambda: bl.models.cnv(precision="low-memory"),
}
LEARNERS = {
    "head": {"cut": "sign2"},
    "adam": {},
    "sgd": {"optimizer": bl.optim.sgd(), "precision": "int8"},
    "plain": {"optimizer": bl.optim.sgd(momentum=0.0)},
    "bop": {"optimizer": bl.optim.bop()},
    "exact": {"precision": "low-memory-exact"},
    "int4": {"precision": "int4"},  # rounds at random
    "dual": {"precision": "dual-8"},
    "wide": {"shape": (10,), "hidden": (129, 65)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


def written(folder, name):
    """Write a network or a learner once; return its C file."""
    source = folder / f"{name}.c"
    if not source.exists():
        made = exported.filled(NETWORKS[name]()) if name in NETWORKS else exported.learner(**LEARNERS[name])
        bl.export.c99(made, folder, name=name)
    return source


@pytest.mark.parametrize("name", [*NETWORKS, *LEARNERS])
def test_self_tests_pass_under_sanitizers(name, folder):
    assert exported.self_test(written(folder, name), "gcc", *exported.SANITIZED) == 0


@pytest.mark.parametrize("name", ["mlp", "real", "cnv", "head", "adam"])
def test_self_tests_pass_on_other_machines(name, folder):
    source = written(folder, name)
    assert exported.self_test(source, "clang") == 0
    # In GNU's dialect GCC contracts a multiply-add, and AArch64 has one.
    arm = ("-std=gnu99", "-static", *exported.TRAPPED), ("qemu-aarch64",)
    assert exported.self_test(source, "aarch64-linux-gnu-gcc", *arm[0], emulator=arm[1]) == 0


@pytest.mark.parametrize(("name", "ram"), [("mlp", 16384), ("head", 65536), ("adam", 131072), ("cnv", 65536)])
def test_self_tests_pass_without_an_operating_system(name, ram, folder):
    result, stack = exported.in_cortex_m(written(folder, name), ram)
    assert result == 0
    assert 0 < stack < 2048
    assert exported.in_cortex_m(written(folder, name), ram, *exported.TRAPPED)[0] == 0


@pytest.mark.parametrize(("rows", "words"), [(1, 1), (3, 2), (100, 5)])
@pytest.mark.parametrize("name", ["odd", "cnv", "adam"])
def test_blocks_change_no_result(name, rows, words, folder):
    sizes = {"rows": rows, "words": words}
    blocks = [f"-D{name.upper()}_BLOCK_{what.upper()}={size}" for what, size in sizes.items()]
    assert exported.self_test(written(folder, name), "gcc", *exported.SANITIZED, *blocks) == 0


def test_a_block_takes_stack(folder):
    exported.needed("arm-none-eabi-gcc")
    network, stacks = bl.models.mlp((9,), 4, hidden=(20,)), []
    for words in (1, 3):
        compiler = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-Os", f"-DBLOCKS_BLOCK_WORDS={words}"]
        stacks.append(bl.export.c99(network, folder, name="blocks", compiler=compiler)["stack_bytes"])
    assert stacks[1] - stacks[0] == pytest.approx(2 * 256, abs=32)
    assert "-DBLOCKS_BLOCK_WORDS=N, 1 to 64, 1 by default: words" in (folder / "blocks.h").read_text()
    with pytest.raises(ValueError, match="BLOCKS_BLOCK_WORDS must be from 1 to 64"):
        bl.export.c99(network, folder, name="blocks", compiler=[*compiler[:-1], "-DBLOCKS_BLOCK_WORDS=65"])


def test_a_learner_of_mnist_fits_64_kib(folder):
    made = exported.learner(cut="sign2", shape=(28, 28, 1), hidden=(128, 128), size=64)
    found = bl.export.c99(made, folder, name="small", memory_budget=2**16)
    assert found["ram_bytes"] < 2**16
    within = f"RAM besides the stack: {found['ram_bytes']} bytes, within the 65536 of its memory budget."
    assert within in (folder / "small.h").read_text()
    # The self-test's own examples are in it too.
    result, stack = exported.in_cortex_m(folder / "small.c", 2**16)
    assert result == 0
    assert stack + found["ram_bytes"] < 2**16


def test_a_device_goes_on_as_python_does(folder):
    learner = exported.learner(cut="sign1")
    found = bl.export.c99(learner, folder, name="device")
    library = exported.library(folder / "device.c", folder)
    new = learner.method.at_once(learner.options)
    assert f"#define DEVICE_NEW {new} " in (folder / "device.h").read_text()
    assert found["files"] == ["device.c", "device.h"]
    for update in range(10):
        x, y = exported.examples((8, 8, 1), new, 100 + update)
        learner.partial_fit(x, y)
        assert library.device_learn(x.tobytes(), y.astype(np.int32).tobytes()) == 0
    x, _ = exported.examples((8, 8, 1), 60, 99)
    scores = (ctypes.c_float * 10)()
    for one, wanted in zip(x, learner.scores(x), strict=True):
        assert library.device_predict(one.tobytes(), scores) == wanted.argmax()
        assert np.array_equal(np.array(scores), wanted)


def test_a_small_memory_replays_examples_more_than_once(folder):
    made = exported.learner(cut="sign2", size=3)
    bl.export.c99(made, folder, name="few", update=4)
    assert exported.self_test(folder / "few.c", "gcc", *exported.SANITIZED) == 0


def test_a_memory_that_is_not_full_yet(folder):
    bl.export.c99(exported.learner(cut="sign2", size=300), folder, name="filling")
    assert exported.self_test(folder / "filling.c", "gcc", *exported.SANITIZED) == 0


def test_a_label_that_is_no_class_changes_nothing(folder):
    learner = exported.learner(cut="sign2")
    bl.export.c99(learner, folder, name="label")
    library = exported.library(folder / "label.c", folder)
    x, _ = exported.examples((8, 8, 1), 4, 1)
    scores = (ctypes.c_float * 10)()
    for wrong in (10, -1):
        labels = np.array([0, 1, 2, wrong], dtype=np.int32)
        assert library.label_learn(x.tobytes(), labels.tobytes()) == -1
    library.label_predict(x[0].tobytes(), scores)
    assert np.array_equal(np.array(scores), learner.scores(x[:1])[0])


def test_given_examples_are_the_vectors(folder, rng):
    network = exported.filled(bl.models.mlp((9,), 4, hidden=(20,)))
    x = rng.integers(-128, 128, (4, 9)).astype(np.int8)
    bl.export.c99(network.freeze(), folder, name="given", examples=x)
    text = (folder / "given.c").read_text()
    assert ", ".join(str(value) for value in x.reshape(-1)) in " ".join(text.split())
    assert all(float(score).hex() in text for score in network.scores(x).reshape(-1))


@pytest.mark.parametrize("name", ["odd", "adam"])
def test_the_self_test_notices_a_wrong_weight(name, folder):
    text = written(folder, name).read_text()
    start = text.index("static const f32 c" if name == "odd" else "static f16 s_linear2_weight[")
    at = text.index("0x", start)
    digit = text[at + 5]
    wrong = folder / f"wrong_{name}.c"
    wrong.write_text(text[: at + 5] + ("1" if digit != "1" else "2") + text[at + 6 :])
    macro = f"-D{name.upper()}_SELF_TEST"
    target = folder / f"wrong_{name}"
    exported.needed("gcc")
    exported.run("gcc", *exported.FLAGS, macro, "-o", target, wrong, "-lm")
    assert exported.run(target).returncode != 0


@pytest.mark.parametrize(
    ("flags", "said"), [(("-ffast-math",), "fast-math"), (("-DODD_RAM_LIMIT=8",), "takes more RAM than ODD_RAM_LIMIT")]
)
def test_what_would_break_results_does_not_compile(flags, said, folder):
    exported.needed("gcc")
    import subprocess

    command = ["gcc", "-std=c99", *flags, "-fsyntax-only", str(written(folder, "odd"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr


def test_headers_are_for_cpp_too(folder):
    exported.needed("g++")
    source = folder / "uses.cpp"
    written(folder, "odd")
    source.write_text(
        '#include "odd.h"\nint main() { signed char x[ODD_INPUTS] = {0}; return odd_predict(x, 0) < 0; }\n'
    )
    exported.run("gcc", *exported.FLAGS, "-c", "-o", folder / "odd.o", folder / "odd.c")
    exported.run("g++", "-Wall", "-Werror", "-o", folder / "uses", source, folder / "odd.o", "-lm")
    assert exported.run(folder / "uses").returncode == 0


def test_files_and_classifiers_are_taken(folder):
    images = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    classifier = Classifier(bl.models.mlp((8, 8, 1), 3, hidden=(8,)), prepare(images))
    bl.save(classifier, folder / "classifier")
    found = bl.export.c99(folder / "classifier", folder / "new" / "deeper", name="loaded")
    assert found["code_bytes"] is None and found["stack_bytes"] is None
    assert (folder / "new" / "deeper" / "loaded.c").exists()


def test_code_and_stack_are_measured(folder):
    exported.needed("gcc")
    network = bl.models.mlp((9,), 4, hidden=(20,))
    found = bl.export.c99(network, folder, name="sized", compiler=["gcc", "-Os"])
    assert 200 < found["code_bytes"] < 10_000
    assert 64 <= found["stack_bytes"] < 2000
    for compiler, said in ((["no-such-gcc"], "no-such-gcc"), (["gcc", "-include", "nothing.h"], "must compile")):
        with pytest.raises(ValueError, match=said):
            bl.export.c99(network, folder, name="sized", compiler=compiler)


def test_what_cannot_be_written_is_an_error(folder):
    with pytest.raises(TypeError, match="model must be a Model"):
        bl.export.c99(np.zeros(3), folder)
    with pytest.raises(ValueError, match="name must be"):
        bl.export.c99(NETWORKS["odd"](), folder, name="Odd name")
    with pytest.raises(ValueError, match=r"'head1' must have an integer policy.*with_precision"):
        bl.export.c99(bl.models.mlp((9,), 4, hidden=(20,), head="real"), folder)
    with pytest.raises(ValueError, match="memory_budget must be at least the"):
        bl.export.c99(NETWORKS["odd"](), folder, memory_budget=10)
    with pytest.raises(ValueError, match="examples must be 4, got 3"):
        bl.export.c99(NETWORKS["odd"](), folder, examples=np.zeros((3, 13), dtype=np.int8))
    with pytest.raises(ValueError, match="update must be left out"):
        bl.export.c99(NETWORKS["odd"](), folder, update=4)
    lower, _ = NETWORKS["odd"]().split("sign1")
    with pytest.raises(ValueError, match="must end in a row of real values"):
        bl.export.c99(lower, folder)
    assert not (folder / "model.c").exists()


def test_learners_that_cannot_be_written_are_an_error(folder):
    make = bl.continual.ContinualLearner
    with pytest.raises(ValueError, match="must be of the method 'latent-replay'"):
        bl.export.c99(make("analytic"), folder)
    with pytest.raises(ValueError, match="must have learned examples"):
        bl.export.c99(make("latent-replay"), folder)
    with pytest.raises(ValueError, match="precision must be an integer policy"):
        bl.export.c99(exported.learner(precision="standard"), folder)
    with pytest.raises(ValueError, match="consolidate"):
        bl.export.c99(exported.learner(consolidate=True), folder)
    with pytest.raises(ValueError, match="must store packed bits"):
        bl.export.c99(exported.learner(latents="8-bit"), folder)
    with pytest.raises(ValueError, match="examples must be left out"):
        bl.export.c99(exported.learner(), folder, examples=np.zeros((4, 8, 8, 1), dtype=np.int8))
    with pytest.raises(ValueError, match="update must be one of 1, 4 new examples, got 3"):
        bl.export.c99(exported.learner(), folder, update=3)


def test_an_export_leaves_the_learner_as_it_is(folder):
    learner = exported.learner()
    before = {
        name: array.copy() for name, array in learner.steps.trainer(learner.method.networks.model).lasting().items()
    }
    bl.export.c99(learner, folder, name="same")
    after = learner.steps.trainer(learner.method.networks.model).lasting()
    assert all(np.array_equal(array, after[name]) for name, array in before.items())


def test_parts_have_the_parameters_of_the_table():
    for name, part in parts().items():
        if name not in TABLE:
            continue
        known = {*TABLE[name].parameters, *part.sizes}
        assert set(part.parameters()) <= known, name
        assert {argument for argument, _ in part.sizes.values()} <= set(TABLE[name].parameters), name
        left = set(TABLE[name].parameters) - set(part.parameters()) - {argument for argument, _ in part.sizes.values()}
        assert not left, name


def test_the_exponential_is_that_of_the_kernels():
    text = parts()["exponential"].text
    assert all(repr(number) in text for number in (*losses.TAYLOR, losses.LOG2_E, *losses.LN2))


def test_checksum_is_fnv():
    assert checksum(0xCBF29CE484222325, b"foobar") == 0x85944171F73967E8


def test_the_command(folder, monkeypatch):
    from bitlearn import cli

    monkeypatch.chdir(folder)
    bl.save(bl.models.mlp((9,), 4, hidden=(20,)), "saved")
    arguments = ["export", "--model", "saved", "--to", "c99", "--out", "made", "--name", "tiny", "--json", "found.json"]
    assert cli.main(arguments) == 0
    found = json.loads((folder / "found.json").read_text())
    assert found["files"] == ["tiny.c", "tiny.h"]
    assert {"arena_bytes", "ram_bytes", "constant_bytes", "code_bytes", "stack_bytes"} < found.keys()
    assert (folder / "made" / "tiny.c").exists()


def test_the_example_of_a_device():
    exported.needed("cc")
    example = Path(__file__).parents[1] / "examples" / "device.py"
    if not example.exists():
        pytest.skip("the examples are not here")
    pytest.importorskip("sklearn")
    assert "the same ones as in Python" in exported.run(sys.executable, example).stdout
