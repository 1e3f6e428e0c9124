"""Whether a difference between two models is more than luck: intervals, paired tests, and a correction for many looks.

All start from one value for each user and model, so that what makes a user easy or hard for every model cancels out.

    interval    percentiles of the means of resampled users (Efron 1979); the same resamples for all models
    paired t    t = d̄ / (s / √n) of the differences d (Student 1908), two-sided, n − 1 degrees of freedom
    Wilcoxon    the signed ranks of |d|, zeros left out (Wilcoxon 1945); exact up to 50 users, ties included, else by
                the normal distribution with the variance corrected for ties
    Holm        the i-th smallest of m p-values times m − i + 1, made monotone (Holm 1979)

The t-test asks about the mean, which is what the tables show, and is the one that keeps its promises on such data
(Smucker, Allan and Carterette 2007; Urbano, Lima and Hanjalic 2019). Wilcoxon's asks whether the typical user is better
off. The p-values are those of SciPy, which the tests hold them against; with math alone they are the same everywhere.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
ALPHA = 0.05
N_RESAMPLES = 1000
# Up to so many users that differ, the distribution of the signed ranks is counted out.
_MAX_EXACT = 50
# Differences below this are the rounding of sums in another order.
_DECIMALS = 12
# Values gathered at a time.
_CHUNK_VALUES = 1 << 22


class PairedTest(NamedTuple):
    """One paired test: its statistic, and how often chance alone gives one as large (two-sided)."""

    statistic: float | None
    p: float | None
    """None where the test says nothing: fewer than two users, or the same difference for all of them."""


def paired_t(differences: NDArray[np.float64]) -> PairedTest:
    """Student's t-test of the mean difference.

    Where no user differs, nothing speaks against luck: p is 1. Where all differ by the same, their spread is 0 and the
    test is undefined.

    >>> t, p = paired_t(np.array([1.0, 2.0, 3.0]))
    >>> round(t, 6), round(p, 6)
    (3.464102, 0.07418)
    """
    differences = np.round(differences, _DECIMALS)
    n = len(differences)
    if n < 2:
        return PairedTest(None, None)
    if not differences.any():
        return PairedTest(0.0, 1.0)
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= 1e-9 * abs(mean):
        return PairedTest(None, None)
    t = mean / (spread / math.sqrt(n))
    return PairedTest(t, _t_two_sided(t, n - 1))


def wilcoxon(differences: NDArray[np.float64]) -> PairedTest:
    """Wilcoxon's signed-rank test; the statistic is the sum of the ranks of positive differences.

    >>> wilcoxon(np.array([1.0, 2.0, -3.0, 4.0, 0.0]))
    PairedTest(statistic=7.0, p=0.625)
    """
    if len(differences) < 2:
        return PairedTest(None, None)
    differences = np.round(differences, _DECIMALS)
    differences = differences[differences != 0]
    n = len(differences)
    if not n:
        return PairedTest(0.0, 1.0)
    _, place, counts = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[place]  # twice the mean rank of a tie: whole numbers
    above = int(doubled[differences > 0].sum())
    if n <= _MAX_EXACT:
        return PairedTest(above / 2, _exact_two_sided(doubled, above))
    sizes = counts.astype(np.float64)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((sizes**3 - sizes).sum()) / 48
    z = (above / 2 - n * (n + 1) / 4) / math.sqrt(variance)
    return PairedTest(above / 2, math.erfc(abs(z) / math.sqrt(2)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p-value corrected for all of them; None stays None and counts for nothing.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, at) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[at] = highest
    return corrected


def resampled_means(columns: NDArray[np.float64], seed: int, n_resamples: int = N_RESAMPLES) -> NDArray[np.float64]:
    """The means of each column (n_users, n_columns) over users drawn with replacement: (n_resamples, n_columns).

    One draw of users serves all columns, so differences of columns are paired. NaN is left out of a mean.
    """
    n, width = columns.shape
    found = np.empty((n_resamples, width))
    draws = np.random.default_rng(seed)
    present = np.isfinite(columns)
    full = bool(present.all())
    filled = np.where(present, columns, 0.0)
    step = max(1, _CHUNK_VALUES // max(n, 1))
    for start in range(0, n_resamples, step):
        drawn = draws.integers(0, n, (min(step, n_resamples - start), n), dtype=np.int64)
        for at, users in enumerate(drawn, start):
            # Row after row into one sum for each column: the same bits whatever the machine.
            sums = filled[users].sum(axis=0)
            count = n if full else present[users].sum(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                found[at] = sums / count
    return found


def percentile_interval(means: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95 % of resampled means; None where a resample had nothing to average, or nobody to vary."""
    if not len(means) or not np.isfinite(means).all():
        return None
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


# ---- distributions


def _exact_two_sided(doubled_ranks: NDArray[np.int64], above: int) -> float:
    """By counting the 2ⁿ ways to give each rank a sign; all counts are whole numbers below 2⁵³."""
    total = int(doubled_ranks.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1
    for rank in doubled_ranks.tolist():
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    n_ways = 2.0 ** len(doubled_ranks)
    tail = min(ways[: above + 1].sum(), ways[above:].sum())
    return float(min(1.0, 2 * tail / n_ways))


def _t_two_sided(t: float, freedom: int) -> float:
    """P(|T| ≥ |t|) = I_x(ν/2, ½) at x = ν / (ν + t²)."""
    square = t * t
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square))


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularized incomplete beta function I_x(a, b), with ``rest`` = 1 − x (DLMF 8.17.22, 8.17.4)."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x > (a + 1) / (a + b + 2):
        return 1.0 - front / b * _beta_fraction(b, a, rest)
    return front / a * _beta_fraction(a, b, x)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), by the modified method of Lentz (Thompson and Barnett 1986)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1.0 + term * d, 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return fraction
