"""What a recorded step does to need fewer bytes, for more time; none of it changes a bit of what the step computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Savings:
    """How a step is recorded.

    Parameters
    ----------
    sums : int
        How many exact sums are formed at a time if they are quantized row by row: 8 bytes each.
    keep : int, optional
        Gradients between layers of more bytes than this are not kept: they are formed again, a few examples at a time,
        at each use. A batch norm's statistics of a gradient, which are those of the whole batch, take a separate pass.
        By default all are kept.
    block : int
        How many values are formed again at a time; by default as many as suit the second-level cache. Larger blocks
        need fewer calls, whose records take memory too.
    summed : bool
        Whether a weight's gradient is added up from a few images at a time if its sums take less than the gradient of a
        convolution's result, which is then never held in full.
    repack : bool
        Whether the packed signs of weights are dropped after the forward pass, and made again.

    Notes
    -----
    Forming a gradient again repeats the product that gives it: with ``keep`` below its size, a product after a batch
    norm runs four or five times instead of once. Gradients in float32 are always kept.

    Examples
    --------
    >>> Savings().keeps(10**9), Savings(keep=1000).keeps(2000)
    (True, False)
    """

    sums: int = 2**19
    keep: int | None = None
    summed: bool = False
    repack: bool = False
    block: int = 2**18

    def keeps(self, nbytes: int) -> bool:
        """Whether a gradient of this many bytes is kept."""
        return self.keep is None or nbytes <= self.keep

    def __str__(self) -> str:
        found = [f"{8 * self.sums // 2**10} KiB of sums at a time"]
        if self.keep is not None:
            found.append(f"gradients of more than {self.keep / 2**20:.2f} MiB formed anew")
        if self.summed:
            found.append("weight gradients added up from a few images")
        if self.repack:
            found.append("packed weights made twice")
        return ", ".join(found)
