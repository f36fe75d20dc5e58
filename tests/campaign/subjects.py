"""Calls that may fail on the way: a product, a convolution's gradient, a step of training, a save and a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import small

import bitlearn as bl
from bitlearn.training import Options, Trainer, fit
from campaign.calls import bits
from campaign.sizes import signs


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


KINDS = (Product, Convolution, TrainingStep, Saving, Resuming)
