"""Memory budgets in bytes: how they are written, and a table of what a learner's memory is used for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bitlearn.budgets import budget_bytes as budget_bytes


@dataclass(frozen=True)
class Memory:
    """The bytes of a learner of exact sums, by purpose.

    Parameters
    ----------
    pairs : int
        Sums of products of features.
    class_sums : int
        Sums of features, and the number of examples, of each class.
    places : int
        The positions that features read.
    head : int
        The head that predicts; there is none while examples are learned.
    learning, solving, predicting : int
        Working memory for learning examples, solving for the head, and predicting.

    Notes
    -----
    The three kinds of working memory are never needed at the same time, so ``total = kept + max(learning, head +
    max(solving, predicting))``, with ``kept = pairs + class_sums + places``. The caller's arguments and results,
    Python's own objects and a backbone are not counted.

    Examples
    --------
    >>> memory = Memory(pairs=3000, class_sums=600, places=400, head=800, learning=2000, solving=1500, predicting=900)
    >>> memory.kept, memory.total
    (4000, 6300)
    """

    pairs: int
    class_sums: int
    places: int
    head: int
    learning: int
    solving: int
    predicting: int

    @property
    def kept(self) -> int:
        """The bytes that last: sums of examples, and what defines the features."""
        return self.pairs + self.class_sums + self.places

    @property
    def total(self) -> int:
        """The largest number of bytes in use at a time."""
        return self.kept + max(self.learning, self.head + max(self.solving, self.predicting))

    def rows(self) -> list[tuple[str, int]]:
        """Return a table of purposes and their bytes; the last row is the total."""
        return [(field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self)] + [
            ("total", self.total)
        ]
