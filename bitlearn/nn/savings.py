"""What a recorded step does to need fewer bytes: nothing of it changes a bit of the result but ghost statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Savings:
    """How a step is recorded.

    Parameters
    ----------
    sums : int
        How many exact sums are formed at a time if they are quantized row by row: 8 bytes each. A thread has those of a
        row at least.
    keep : int, optional
        Gradients between layers of more bytes than this are not kept: they are formed again, a few examples at a time,
        at each use. A batch norm's statistics of a gradient, which are those of the whole batch, take a separate pass.
        By default all are kept.
    partly : bool
        Whether of such gradients the first examples are kept, as many as four fifths of `keep` have room for (forming
        the others takes room too), and only the others are formed again.
    ghost : int, optional
        How many examples a micro-batch has at least: a batch norm then normalises each by its own statistics (ghost
        batch norm, arXiv 1705.08741), and its sums are formed once, a micro-batch at a time. **This is another
        method**; by default the statistics are those of the whole batch.
    block : int
        How many values are formed again at a time; by default as many as suit the second-level cache. Larger blocks
        need fewer calls, whose records take memory too.
    summed : bool
        Whether a weight's gradient is added up from a few images at a time if its sums take less than the gradient of a
        convolution's result, which is then never held in full.
    repack : bool
        Whether the packed signs of weights are dropped after the forward pass, and made again.
    recompute : bool
        Whether the sums before a batch norm that its gradient needs whole (after a standard deviation, under integer
        policies) are dropped after the forward pass, and the product that gives them runs again in the backward pass
        (recomputation, arXiv 1604.06174): once, or where they are large a few examples at a time, three times or more.
        Their packed weights are kept until then.

    Notes
    -----
    Forming a gradient again repeats the product that gives it: with ``keep`` below its size, a product after a batch
    norm runs four or five times instead of once. Gradients in float32 are always kept.

    Examples
    --------
    >>> Savings().keeps(10**9), Savings(keep=1000).keeps(2000)
    (True, False)
    """

    sums: int = 2**17
    keep: int | None = None
    summed: bool = False
    repack: bool = False
    block: int = 2**18
    partly: bool = False
    ghost: int | None = None
    recompute: bool = False

    def __post_init__(self) -> None:
        for name, least in (("sums", 1), ("keep", 0), ("block", 1), ("ghost", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    def keeps(self, nbytes: int) -> bool:
        """Whether a gradient of this many bytes is kept."""
        return self.keep is None or nbytes <= self.keep

    def held(self, examples: int, nbytes: int) -> int:
        """Return how many examples of a gradient are kept that has so many of them, and bytes."""
        if self.keep is None or nbytes <= self.keep:
            return examples
        return self.part * examples // nbytes

    @property
    def part(self) -> int:
        """The bytes that are kept of a gradient of more than `keep`."""
        return 4 * self.keep // 5 if self.partly and self.keep is not None else 0

    def __str__(self) -> str:
        found = [f"{8 * self.sums // 2**10} KiB of sums at a time"]
        if self.keep is not None:
            part = f", but for {self.part / 2**20:.2f} MiB of each" if self.partly else ""
            found.append(f"gradients of more than {self.keep / 2**20:.2f} MiB formed anew{part}")
        if self.summed:
            found.append("weight gradients added up from a few images")
        if self.repack:
            found.append("packed weights made twice")
        if self.recompute:
            found.append("sums before batch norms formed again")
        if self.ghost is not None:
            found.append(f"batch norms with statistics of {self.ghost} examples or more (ghost statistics)")
        return ", ".join(found)
