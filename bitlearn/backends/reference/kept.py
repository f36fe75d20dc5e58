"""Values of some rows and columns, taken out of an array and put back."""

from __future__ import annotations

from bitlearn.backends.reference.bits import from_bool, to_bool
from bitlearn.backends.table import kernel


@kernel(
    split="k",
    x="int8|int16|int32|int64|float32[m, n]",
    kept_rows="int64[k]",
    kept_columns="int64[c]",
    out="x[k, c]",
)
def take(x, kept_rows, kept_columns, out):
    """out[i, j] = x[kept_rows[i], kept_columns[j]]."""
    out[...] = x[kept_rows[:, None], kept_columns]


@kernel(x="int32|int64|float32[k, c]", kept_rows="int64[k]", kept_columns="int64[c]", out="x[m, n]")
def spread(x, kept_rows, kept_columns, out):
    """out[kept_rows[i], kept_columns[j]] = x[i, j]; other values stay."""
    out[kept_rows[:, None], kept_columns] = x


@kernel(split="k", x="bits[m, n]", kept_rows="int64[k]", kept_columns="int64[c]", out="bits[k, c]")
def take_bits(x, n, kept_rows, kept_columns, out):
    """Bit out[i, j] = bit x[kept_rows[i], kept_columns[j]]."""
    from_bool(to_bool(x, n)[kept_rows[:, None], kept_columns], out)
