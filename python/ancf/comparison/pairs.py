"""Every pair of models on one metric, user by user: the difference, its interval, two tests, who won and who lost."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.comparison.statistics import ALPHA, PairedTest, holm, paired_t, percentile_interval, resampled_means, wilcoxon
from ancf.evaluation.metrics import ERROR_METRICS, HIT_METRICS
from ancf.evaluation.pair_errors import PairErrors

DECIDING = (*HIT_METRICS, "auc", *ERROR_METRICS)
"""Metrics that say how good lists or predictions are; others describe them, and more is not better."""


def lower_is_better(metric: str) -> bool:
    """Whether it is an error."""
    return metric in ERROR_METRICS


def decides(metric: str) -> bool:
    """Whether a model can win by it."""
    return metric.partition("@")[0] in DECIDING


class Difference(NamedTuple):
    """``first`` minus ``second`` on one metric, over the users that both have a value for."""

    first: str
    second: str
    metric: str
    value: float
    """The difference of the two figures in the table."""
    interval: tuple[float, float] | None
    """95 %, over resampled users; None for fewer than two users."""
    won: int
    """Users for whom ``first`` is better."""
    lost: int
    tied: int
    t_test: PairedTest
    wilcoxon: PairedTest
    p_t: float | None
    """Of the paired t-test, corrected by Holm for all pairs of models; None where it is undefined."""
    p_wilcoxon: float | None
    """Of Wilcoxon's signed-rank test, corrected likewise."""
    n_pairs: int
    """For how many pairs of models the p-values are corrected."""

    @property
    def is_better(self) -> bool:
        """Whether ``first`` has the better figure."""
        return self.value < 0 if lower_is_better(self.metric) else self.value > 0

    @property
    def p(self) -> float | None:
        """The larger of the corrected p-values; None where no test says anything."""
        return max((each for each in (self.p_t, self.p_wilcoxon) if each is not None), default=None)

    @property
    def more_than_luck(self) -> bool | None:
        """Whether both tests say so, and in the direction of ``value``; None where there are too few users to tell."""
        n = self.won + self.lost
        votes = []
        for test, p, middle in ((self.t_test, self.p_t, 0.0), (self.wilcoxon, self.p_wilcoxon, n * (n + 1) / 4)):
            if p is not None and test.statistic is not None:
                votes.append(p < ALPHA and (test.statistic > middle) is (self.value > 0))
        return all(votes) if votes else None

    def reversed(self) -> "Difference":
        """The same with ``second`` first."""
        n = self.won + self.lost
        rank_sum = self.wilcoxon.statistic
        return self._replace(
            first=self.second,
            second=self.first,
            value=-self.value,
            interval=None if self.interval is None else (-self.interval[1], -self.interval[0]),
            won=self.lost,
            lost=self.won,
            t_test=self.t_test._replace(statistic=None if self.t_test.statistic is None else -self.t_test.statistic),
            wilcoxon=self.wilcoxon._replace(statistic=None if rank_sum is None else n * (n + 1) / 2 - rank_sum),
        )


class Figures(NamedTuple):
    """One metric of all models that have it."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    differences: dict[tuple[str, str], Difference]
    """By the pair of names, each pair once, in the order of the models."""


def compare_figures(
    values: Mapping[str, Mapping[str, float]],
    per_user: Mapping[str, Mapping[str, NDArray[np.float64]]],
    seed: int,
    pair_errors: Mapping[str, PairErrors] | None = None,
) -> dict[str, Figures]:
    """All metrics: metric → model → value, and the same with an array of one value for each user where there is one.

    Errors are over pairs, not over users: their intervals are of the ratio of what the users drawn add up
    (``pair_errors``, model → sums).
    """
    columns = [(metric, name) for metric, models in per_user.items() if not lower_is_better(metric) for name in models]
    n_users = len(next(iter(per_user[columns[0][0]].values()))) if columns else 0
    resampled = {}
    if n_users > 1:
        means = resampled_means(np.stack([per_user[metric][name] for metric, name in columns], axis=1), seed)
        resampled = dict(zip(columns, means.T, strict=True))
    found = {}
    for metric, models in values.items():
        users = per_user.get(metric, {})
        of_metric: Mapping[str, NDArray[np.float64] | None] = (
            _resampled_errors(metric, {name: sums for name, sums in (pair_errors or {}).items() if name in users}, seed)
            if lower_is_better(metric)
            else {name: resampled.get((metric, name)) for name in users}
        )
        found[metric] = Figures(
            dict(models),
            {name: None if (each := of_metric.get(name)) is None else percentile_interval(each) for name in models},
            _differences(metric, models, users, of_metric),
        )
    return found


def _resampled_errors(metric: str, models: Mapping[str, PairErrors], seed: int) -> dict[str, NDArray[np.float64]]:
    """The figures of users drawn with replacement, the same draws for all models."""
    if not models or len(next(iter(models.values())).counts) < 2:
        return {}
    sums = np.stack([each.sums(metric) for each in models.values()], axis=1)
    counts = np.stack([each.counts for each in models.values()], axis=1)
    both = resampled_means(np.hstack([sums, counts]), seed)
    figures = both[:, : len(models)] / both[:, len(models) :]
    return dict(zip(models, (np.sqrt(figures) if metric == "rmse" else figures).T, strict=True))


def _differences(
    metric: str,
    values: Mapping[str, float],
    users: Mapping[str, NDArray[np.float64]],
    resampled: Mapping[str, NDArray[np.float64] | None],
) -> dict[tuple[str, str], Difference]:
    pairs: Sequence[tuple[str, str]] = list(combinations(users, 2))
    tests = []
    for first, second in pairs:
        gap = users[first] - users[second]
        gap = gap[np.isfinite(gap)]
        tests.append((np.round(gap, 12), paired_t(gap), wilcoxon(gap)))
    p_t = holm([t.p for _, t, _ in tests])
    p_wilcoxon = holm([w.p for _, _, w in tests])
    found = {}
    for at, ((first, second), (gap, t, w)) in enumerate(zip(pairs, tests, strict=True)):
        above, below = int((gap > 0).sum()), int((gap < 0).sum())
        won, lost = (below, above) if lower_is_better(metric) else (above, below)
        one, other = resampled.get(first), resampled.get(second)
        found[first, second] = Difference(
            first=first,
            second=second,
            metric=metric,
            value=values[first] - values[second],
            interval=None if one is None or other is None else percentile_interval(one - other),
            won=won,
            lost=lost,
            tied=len(gap) - won - lost,
            t_test=t,
            wilcoxon=w,
            p_t=p_t[at],
            p_wilcoxon=p_wilcoxon[at],
            n_pairs=len(pairs),
        )
    return found
