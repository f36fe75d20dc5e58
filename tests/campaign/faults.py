"""Memory, disk or patience at an end, at any point of a call: the right exception, nothing lost, and no deadlock.

What the system refuses comes from shim.c, which the process is started with (LD_PRELOAD).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import small

import bitlearn as bl
from bitlearn import threads
from bitlearn.training import Options, Trainer, fit
from campaign.calls import bits, cut_finely
from campaign.sizes import signs
from campaign.tracing import at_place
from campaign.worker import Skipped, scratch

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "build" / "campaign" / "shim.so"
#: Seconds after which a call has stopped for ever.
_PATIENCE = 60
_MEMORY, _WRITES = 1, 2
#: The smallest allocations that are refused: below are those of Python's own small objects.
_LEAST = 1024


def built() -> bool:
    """Compile the shim where that is wanted and there is a compiler; return whether it is there."""
    source = Path(__file__).with_name("shim.c")
    if shutil.which("gcc") and (not SHIM.exists() or SHIM.stat().st_mtime < source.stat().st_mtime):
        SHIM.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(SHIM), "-ldl"], check=True)
    return SHIM.exists()


class Subject:
    """A call that may fail on the way, in one of some ways."""

    #: The ways, and the one of the next call.
    ways, way = 1, 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fresh(self) -> None:
        """Prepare a call."""

    def run(self) -> Any:
        """Make it, and return something that is equal where the results are."""
        raise NotImplementedError

    def after_failure(self) -> None:
        """Assert that a call that failed lost nothing."""


class Product(Subject):
    """A product of bits into an array that is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(1)
        self.a, self.b = bits(signs(rng, 70, 300)), bits(signs(rng, 90, 300))
        self.before = self.a.tobytes(), self.b.tobytes()

    def run(self) -> bytes:
        """Multiply with words, and with prepared ones."""
        out = np.empty((70, 90), np.int32)
        bl.xnor_matmul(self.a, self.b, 300, out=out, threads=2)
        return out.tobytes() + bl.xnor_matmul(self.a, bl.pack_weights(self.b, 300), 300, threads=2).tobytes()

    def after_failure(self) -> None:
        """The operands are as before."""
        assert (self.a.tobytes(), self.b.tobytes()) == self.before, "a product changed its operands"


class Convolution(Subject):
    """The gradient of a convolution, which is cut by Python's threads too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(2)
        self.x, self.g = bits(signs(rng, 3, 9, 8, 70)), rng.integers(-8, 8, (3, 9, 8, 40)).astype(np.int8)

    def run(self) -> bytes:
        """Sum values of few bits, and of eight, and take the signs."""
        how: dict[str, Any] = {"padding": 1, "pad_value": -1, "threads": 3}
        few = bl.conv2d_grad_weight(self.g, self.x, 70, (3, 3), bits=4, **how)
        most = bl.conv2d_grad_weight(self.g, self.x, 70, (3, 3), **how)
        return few.tobytes() + most.tobytes() + bl.quantize(self.g, 4, axis=3, scheme="affine").values.tobytes()


class TrainingStep(Subject):
    """A step of training: all of it, or nothing."""

    ways = 6

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = small.examples("mlp", 8)

    def fresh(self) -> None:
        """Begin a training under a policy; in half of the ways the step has been recorded before."""
        policy = ("int8", "low-memory", "standard")[self.way // 2]
        self.trainer = Trainer(small.model("mlp", policy), bl.optim.adam(), seed=3)
        self.codes = self.data.codes()
        if self.way % 2:
            self.trainer.recorded(8)
        self.before = self._everything()

    def _everything(self) -> Any:
        return small.everything(self.trainer.model, self.trainer.state), self.trainer.steps

    def run(self) -> Any:
        """Make a step."""
        loss = self.trainer.step(self.codes, self.data.y, 0.01)
        return self._everything(), loss

    def after_failure(self) -> None:
        """All is as before the step or as behind it, and the next steps are those of a training without a failure."""
        now, whole = self._everything(), Trainer(small.model("mlp", self.trainer.model.precision), bl.optim.adam(), 3)
        done = [self.before]
        for _ in range(2):
            whole.step(self.codes, self.data.y, 0.01)
            done.append((small.everything(whole.model, whole.state), whole.steps))
        assert now in done[:2], "a step that failed left half of itself"
        self.trainer.step(self.codes, self.data.y, 0.01)
        assert self._everything() == done[done.index(now) + 1], "another step after one that failed"


class Saving(Subject):
    """A network saved over an earlier one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path, self.old, self.new = folder / "saved", small.model("mlp", "int8"), small.model("mlp", "int8", seed=9)
        contents = []
        for model in (self.old, self.new):
            bl.save(model, self.path)
            contents.append(self.path.read_bytes())
        self.contents = contents

    def fresh(self) -> None:
        """Save the earlier one."""
        bl.save(self.old, self.path)

    def run(self) -> bytes:
        """Save the later one."""
        bl.save(self.new, self.path)
        bl.load(self.path)
        return self.path.read_bytes()

    def after_failure(self) -> None:
        """The file is whole, and after another attempt the only one."""
        assert self.path.read_bytes() in self.contents, "a file that is neither the old one nor the new one"
        self.run()
        only(self.folder, "saved")


class Resuming(Subject):
    """A training that writes checkpoints and goes on from one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path, self.data = folder / "checkpoint", small.examples("mlp", 20)
        self.options = Options(epochs=2, batch_size=10, seed=5)
        self.whole = self.run()

    def fresh(self) -> None:
        """Begin a training."""
        self.path.unlink(missing_ok=True)

    def run(self) -> Any:
        """Train to the end."""
        model = small.model("mlp", "int8")
        fit(model, bl.optim.adam(), self.data, self.options, checkpoint=self.path, resume=True)
        return small.everything(model)

    def after_failure(self) -> None:
        """Going on gives the same bits, and leaves only the checkpoint."""
        assert self.run() == self.whole, "another result after a failure"
        only(self.folder, "checkpoint")


def only(folder: Path, name: str) -> None:
    """Assert that a folder holds one file."""
    found = sorted(each.name for each in folder.iterdir())
    assert found == [name], f"files are left lying about | {found}"


def _at_work() -> dict[str, int]:
    """Return what is counted of threads: of those at work there are as many after a call as before."""
    return {name: value for name, value in vars(threads).items() if type(value) is int}


class Shim:
    """The library that has calls of the system fail."""

    def __init__(self) -> None:
        library = ctypes.CDLL(str(SHIM))
        library.campaign_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_size_t, ctypes.c_int]
        library.campaign_seen.restype = ctypes.c_long
        self._arm, self.seen = library.campaign_arm, library.campaign_seen

    @contextlib.contextmanager
    def failing(self, kind: int, number: int, stays: bool) -> Iterator[None]:
        """Have call number so many, and perhaps all behind it, fail inside the block; none where it is -1."""
        self._arm(kind, number, _LEAST if kind == _MEMORY else 0, stays)
        try:
            yield
        finally:
            self._arm(0, -1, 0, 0)


def _interrupt() -> None:
    raise KeyboardInterrupt


def start() -> Callable[[np.random.Generator], int]:
    """Return what makes a call with one fault."""
    if not built():
        raise Skipped("there is no gcc to compile shim.c")
    shim, inside = Shim(), scratch()
    subjects: list[Subject] = []
    for kind in (Product, Convolution, TrainingStep, Saving, Resuming):
        folder = inside / kind.__name__
        folder.mkdir()
        subjects.append(kind(folder))
    counts: dict[tuple[int, str, int], int] = {}
    wanted: dict[tuple[int, str, int], Any] = {}

    @contextlib.contextmanager
    def fault(kind: str, number: int, stays: bool) -> Iterator[Callable[[], int]]:
        """Yield the number of points at which the fault could have come so far."""
        if kind == "signal":
            with at_place(number, _interrupt, of_signals=True) as counter:
                yield lambda: counter.seen
        else:
            with shim.failing(_MEMORY if kind == "memory" else _WRITES, number, stays):
                yield shim.seen

    # NumPy raises SystemError where one of its own small allocations fails.
    right = {"memory": (MemoryError, SystemError), "write": (OSError,), "signal": (KeyboardInterrupt,)}

    def case(rng: np.random.Generator) -> int:
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        which = int(rng.integers(len(subjects)))
        subject = subjects[which]
        kind = ("memory", "signal", "write")[rng.integers(3 if isinstance(subject, (Saving, Resuming)) else 2)]
        subject.way = int(rng.integers(subject.ways))
        key = which, kind, subject.way
        with cut_finely(2):
            if key not in counts:
                subject.fresh()
                subject.run()  # what is only done once is done
                subject.fresh()
                with fault(kind, -1, False) as seen:
                    wanted[key] = subject.run()
                    counts[key] = seen()
            number, stays = int(rng.integers(counts[key] + 1)), rng.random() < 0.3
            what = f"{type(subject).__name__}, way {subject.way}, {kind} {number} of {counts[key]}{' and on' * stays}"
            subject.fresh()
            at_work = _at_work()
            raised = None
            try:
                with fault(kind, number, stays):
                    found = subject.run()
                assert found == wanted[key], f"{kind} that nobody heard of changed the result"
            except right[kind]:
                raised = kind
            except BaseException as error:
                text = f"{type(subject).__name__}, {kind}: {type(error).__name__}: {error}"
                raise AssertionError(f"{text} | {what}") from error
            assert _at_work() == at_work, f"{type(subject).__name__}, {kind}: threads stay busy | {what}"
            try:
                if raised:
                    subject.after_failure()
                subject.fresh()
                assert subject.run() == wanted[key], "another result behind a failure"
            except BaseException as error:
                text = f"{type(subject).__name__}, after {kind}: {type(error).__name__}: {error}"
                raise AssertionError(f"{text} | {what}") from error
        faulthandler.cancel_dump_traceback_later()
        return 3

    return case
