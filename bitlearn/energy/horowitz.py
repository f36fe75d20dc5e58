"""The energy of operations and memory accesses in a 45 nm process at 0.9 V, from the table of Horowitz (ISSCC 2014).

M. Horowitz, "Computing's energy problem (and what we can do about it)", IEEE ISSCC 2014, pp. 10-14, doi
10.1109/ISSCC.2014.6757323, figure 1.1.9, "rough energy costs". Values that are not in the table are derived from it,
only by the rules stated here.
"""

from __future__ import annotations

#: The published energies of arithmetic, in picojoules.
PUBLISHED = {
    "add int8": 0.03,
    "add int32": 0.1,
    "multiply int8": 0.2,
    "multiply int32": 3.1,
    "add float16": 0.4,
    "add float32": 0.9,
    "multiply float16": 1.1,
    "multiply float32": 3.7,
}
#: The published energies of a 64-bit read, in picojoules, by the size of the memory in bytes, smallest first. The last
#: is DRAM: of the published 1.3 to 2.6 nanojoules the lower is used, as by the authors of arXiv 2102.04270.
READS = ((8 * 2**10, 10.0), (32 * 2**10, 20.0), (2**20, 100.0), (None, 1300.0))

#: An adder's energy is proportional to its width: this is one bit's part of a 32-bit adder.
_BIT_OF_AN_ADDER = PUBLISHED["add int32"] / 32

#: The energy of each kind of operation in picojoules, published or derived.
PICOJOULES = PUBLISHED | {
    "add int16": 16 * _BIT_OF_AN_ADDER,
    "add int64": 64 * _BIT_OF_AN_ADDER,
    # A multiplier's energy grows with the square of its width: from 8 to 32 bits by a factor of nearly 16.
    "multiply int16": PUBLISHED["multiply int32"] / 4,
    "multiply int64": PUBLISHED["multiply int32"] * 4,
    # Twice the width: twice an addition, four times a multiplication.
    "add float64": PUBLISHED["add float32"] * 2,
    "multiply float64": PUBLISHED["multiply float32"] * 4,
    # The product of two signs and its count: an XOR, at most one bit of an adder; a full adder, since counting n bits
    # takes at most n of them; and a 64th of adding a word's count to a 32-bit sum.
    "bit": 2 * _BIT_OF_AN_ADDER + PUBLISHED["add int32"] / 64,
}

#: Where arrays are assumed to be stored: all in DRAM, or each in the smallest of the four memories that holds it.
MEMORIES = ("dram", "smallest")


def of_operation(kind: str) -> float:
    """Return the energy of an operation in picojoules.

    Parameters
    ----------
    kind : str
        Its name in `bitlearn.program.Call.operations`.

    Returns
    -------
    float
        The picojoules of one such operation.

    Raises
    ------
    ValueError
        If there is no operation of that name.

    Examples
    --------
    >>> of_operation("add uint16") == of_operation("add int16") == 0.05
    True
    >>> round(64 * of_operation("bit"), 3)
    0.5
    """
    name, _, type_ = kind.partition(" ")
    type_ = {"bool": "int8"}.get(type_, type_.removeprefix("u"))
    found = PICOJOULES.get(f"{name} {type_}" if type_ else name)
    if found is None:
        raise ValueError(f"operation must be one of {', '.join(PICOJOULES)}, got {kind!r}")
    return found


def of_move(nbytes: int, memory: str = "dram") -> float:
    """Return the energy in picojoules of reading an array once, or writing it, which is assumed to cost the same.

    Parameters
    ----------
    nbytes : int
        The size of the array.
    memory : {"dram", "smallest"}
        Where it is stored: in DRAM, or in the smallest memory that holds it.

    Returns
    -------
    float
        The picojoules.

    Examples
    --------
    >>> of_move(8), of_move(8, "smallest")
    (1300.0, 10.0)
    """
    fitting = (cost for size, cost in READS if size is None or nbytes <= size)
    return nbytes / 8 * (READS[-1][1] if memory == "dram" else next(fitting))
