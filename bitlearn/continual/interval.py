"""Confidence intervals of a mean over runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, tuple[float, float] | None]:
    """Return the mean over some runs, and a confidence interval for the expected result of a run.

    Parameters
    ----------
    values : sequence of float
        Results of independent runs, at least one.
    confidence : float
        The confidence level, in (0, 1).

    Returns
    -------
    mean : float
    interval : (float, float) or None
        None for a single run.

    Notes
    -----
    ``mean ± t * s / sqrt(n)``, with ``s`` the standard deviation (``n - 1`` in its denominator) and ``t`` the quantile
    ``(1 + confidence) / 2`` of Student's distribution of ``n - 1`` degrees of freedom ("The probable error of a mean",
    Biometrika 1908). It assumes that runs are normally distributed.

    Examples
    --------
    >>> mean, (low, high) = mean_and_interval([0.5, 0.75, 1.0])
    >>> mean, round(low, 4), round(high, 4)
    (0.75, 0.129, 1.371)
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    from scipy import stats  # takes a second

    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return mean, (mean - half, mean + half)
