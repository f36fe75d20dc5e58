"""Tiles and the rest of a machine: what refuses them, and products beside forks, signals and other users of tiles.

All but the refusals run on the best variant there is. Emulated tiles are tested by `test_cross` and ``make emulate``.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from machines import CROSS, CSRC

import bitlearn as bl

REFUSED = "the system refuses the permission to use tiles"
OTHER_SIZE = "this processor's tiles are not of 16 rows of 64 bytes"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="permissions and signals are as on Linux")


@pytest.fixture(scope="module")
def permission(tmp_path_factory):
    """The program that asks for the permission on a processor and a system as they are told."""
    if not CSRC.exists() or sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the permission is that of Linux on x86-64")
    program = tmp_path_factory.mktemp("permission") / "permission"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I", CSRC]
    subprocess.run(["gcc", *flags, CROSS / "permission.c", "-o", program], check=True)
    return lambda *told: subprocess.run([program, *map(str, told)], capture_output=True, text=True).stdout.split("\n")


@pytest.mark.parametrize(
    ("palette", "rows", "row_bytes", "tiles", "granted", "answer", "requests"),
    [
        (1, 16, 64, 8, 1, "granted", 1),
        (1, 16, 64, 16, 1, "granted", 1),
        (1, 16, 64, 8, 0, REFUSED, 2),
        (1, 16, 64, 8, -1, REFUSED, 0),  # a system that does not know the question
        (0, 16, 64, 8, 1, OTHER_SIZE, 0),
        (1, 8, 64, 8, 1, OTHER_SIZE, 0),
        (1, 32, 64, 8, 1, OTHER_SIZE, 0),
        (1, 16, 128, 8, 1, OTHER_SIZE, 0),
        (1, 16, 64, 4, 1, OTHER_SIZE, 0),
    ],
)
def test_tiles_are_granted_or_refused_with_a_reason(
    permission, palette, rows, row_bytes, tiles, granted, answer, requests
):
    # Asked twice: what is granted once is not asked for again.
    assert permission(palette, rows, row_bytes, tiles, granted)[:3] == [answer, answer, str(requests)]


def test_the_configuration_says_why_there_are_no_tiles():
    state = bl.show_config(mode="dict")["backends"].get("cext:amx")
    if state is None:
        pytest.skip("the extension is not built")
    assert state in ("available", REFUSED, OTHER_SIZE) or state.startswith(("this processor lacks", "tiles need"))


#: Products that every rule gives to tiles, and what they have to be.
PROGRAM = """
import os, signal, sys
import numpy as np
import bitlearn as bl
rng = np.random.default_rng(5)
g = rng.integers(-128, 128, (130, 257), dtype=np.int8)
x = rng.integers(0, 2**64, (130, 20), dtype=np.uint64)
w = rng.integers(0, 2**64, (257, 20), dtype=np.uint64)
packed = bl.pack_weights(w, 1280)
def products():
    return bl.grad_input(g, w, 1280), bl.grad_weight(g, x, 1280), bl.xnor_matmul(x, packed, 1280)
with bl.use_backend("cext:portable"):
    expected = products()
def right():
    return all(map(np.array_equal, products(), expected))
"""


def ends_well(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM + code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


@on_linux
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_forks_after_first_use(threads):
    ends_well(f"""
bl.set_num_threads({threads})
assert right()
child = os.fork()
if child == 0:
    os._exit(0 if right() and right() else 1)
assert right()
assert os.waitpid(child, 0)[1] == 0
print("well")
""")


@on_linux
def test_signals_interrupt_products():
    # The system's part of a handler comes in the middle of a kernel, Python's after it.
    ends_well("""
handled = []
def handler(number, frame):
    handled.append(right())
    if len(handled) < 20:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.002)
while len(handled) < 20:
    assert right()
assert all(handled)
print("well")
""")


def test_another_user_of_tiles(rng):
    torch = pytest.importorskip("torch")
    left, right = (torch.randint(-128, 128, size, dtype=torch.int8) for size in ((128, 256), (256, 192)))
    theirs = left.int() @ right.int()

    def others() -> bool:
        halves = (left.to(torch.bfloat16) @ right.to(torch.bfloat16)).shape == theirs.shape
        return halves and torch.equal(torch._int_mm(left, right), theirs)

    n = 1280
    g = rng.integers(-128, 128, (130, 257), dtype=np.int8)
    x, w = (rng.integers(0, 2**64, (rows, n // 64), dtype=np.uint64) for rows in (130, 257))

    def products() -> list[np.ndarray]:
        return [bl.grad_input(g, w, n), bl.grad_weight(g, x, n), bl.xnor_matmul(x, w, n)]

    with bl.use_backend("cext:portable"):
        expected = products()

    def ours() -> bool:
        return all(map(np.array_equal, products(), expected))

    # In the same thread, in turns; and in another one, all the time.
    answers: list[bool] = []
    done = threading.Event()

    def beside() -> None:
        while not done.is_set():
            answers.append(others())

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        for _ in range(10):
            assert others() and ours() and others()
    finally:
        done.set()
        thread.join()
    assert answers and all(answers)
