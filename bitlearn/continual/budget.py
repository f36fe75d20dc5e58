"""What a learner may keep and work with, in bytes: how it is said, and a table of where it goes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bitlearn.budgets import budget_bytes as budget_bytes


@dataclass(frozen=True)
class Memory:
    """The bytes of a learner of exact sums, by what they are for.

    Parameters
    ----------
    pairs : int
        Sums of products of features.
    class_sums : int
        Sums of features, and the number of examples, of each class.
    places : int
        Where features look.
    head : int
        What predictions are made with; while examples are learned there is none.
    learning, solving, predicting : int
        Arrays that are worked with while examples are learned, the head is made, or predictions are made.

    Notes
    -----
    The three kinds of work never meet, so ``total = kept + max(learning, head + max(solving, predicting))``, with
    ``kept = pairs + class_sums + places``. What the caller gives and gets, Python's own objects and a backbone are not
    in it.

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
        """The bytes that are kept of examples, and to make features."""
        return self.pairs + self.class_sums + self.places

    @property
    def total(self) -> int:
        """The most bytes at a time."""
        return self.kept + max(self.learning, self.head + max(self.solving, self.predicting))

    def rows(self) -> list[tuple[str, int]]:
        """Return a table: what for, and its bytes; the last row is the total."""
        return [(field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self)] + [
            ("total", self.total)
        ]
