"""Intervals, paired tests and Holm's correction: equal to SciPy's and to values worked out by hand."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf.comparison.statistics import holm, paired_t, percentile_interval, resampled_means, wilcoxon


def draws(n, shift=0.3, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, n)


@pytest.mark.parametrize("n", [2, 3, 10, 51, 1000, 30_000])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.5, -3.0])
def test_the_paired_t_test_equals_scipy_s(n, shift):
    from scipy import stats

    gap = draws(n, shift)
    expected = stats.ttest_1samp(gap, 0)
    found = paired_t(gap)
    # SciPy takes the differences as they are, here they are rounded to twelve decimals.
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-8)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-8)


@pytest.mark.parametrize("n", [2, 3, 10, 50, 51, 1000])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.5, -3.0])
def test_wilcoxon_s_test_equals_scipy_s_exactly_counted_up_to_fifty_and_by_the_normal_beyond(n, shift):
    from scipy import stats

    gap = draws(n, shift)
    expected = stats.wilcoxon(gap, method="exact" if n <= 50 else "approx", correction=False)
    assert wilcoxon(gap).p == pytest.approx(expected.pvalue, rel=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9).filter(any))
@settings(max_examples=60, deadline=None)
def test_with_ties_and_zeros_wilcoxon_s_test_counts_every_way_to_give_the_ranks_their_signs(values):
    from scipy import stats

    gap = np.array(values, float)
    kept = gap[gap != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = np.array([sum(rank for at, rank in enumerate(ranks) if signs >> at & 1) for signs in range(2 ** len(ranks))])
    above = ranks[kept > 0].sum()
    tail = min((sums <= above).mean(), (sums >= above).mean())
    assert wilcoxon(gap) == (above, min(1.0, 2 * tail))


def test_many_ties_and_zeros_correct_the_variance_as_scipy_does():
    from scipy import stats

    gap = np.random.default_rng(3).choice([-0.5, 0.0, 0.0, 0.0, 0.5, 1.0], 400)
    expected = stats.wilcoxon(gap, zero_method="wilcox", method="approx", correction=False)
    assert wilcoxon(gap).p == pytest.approx(expected.pvalue, rel=1e-10)


def test_equal_differences_are_ties_whatever_sums_they_come_from():
    gap = np.array([0.1 + 0.2, 0.3, -0.3, 0.3, 0.3])
    assert gap[0] != gap[1]
    assert wilcoxon(gap) == wilcoxon(np.full(5, 0.3) * [1, 1, -1, 1, 1])


def test_nothing_speaks_against_luck_where_nobody_differs_and_nothing_is_undefined_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paired_t(np.zeros(5)) == (0.0, 1.0)
        assert wilcoxon(np.zeros(5)) == (0.0, 1.0)
        # The same difference for all has no spread to hold it against; signed ranks still can: 2 of 2⁶ ways.
        assert paired_t(np.full(6, 0.25)) == (None, None)
        assert wilcoxon(np.full(6, 0.25)).p == 2 / 2**6
        for few in ([], [0.5]):
            assert paired_t(np.array(few)) == wilcoxon(np.array(few)) == (None, None)


def test_holm_by_hand():
    # Sorted: .005 · 4, .01 · 3, .03 · 2, .04 · 1, each at least the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([None, 0.2, None]) == [None, 0.2, None]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
@settings(deadline=None)
def test_holm_is_never_below_the_plain_value_nor_above_bonferroni_s(values):
    for plain, corrected in zip(values, holm(values), strict=True):
        assert plain <= corrected <= min(1.0, plain * len(values)) or math.isclose(corrected, plain * len(values))


def test_the_same_seed_draws_the_same_users_for_all_columns_and_another_seed_others():
    columns = np.random.default_rng(0).random((40, 3))
    means = resampled_means(columns, seed=7)
    assert means.shape == (1000, 3)
    assert np.array_equal(means, resampled_means(columns, seed=7))
    assert not np.array_equal(means, resampled_means(columns, seed=8))
    assert np.array_equal(means[:, 1:], resampled_means(columns[:, 1:], seed=7))
    users = np.random.default_rng(7).integers(0, 40, (1000, 40))
    assert means[:, 0] == pytest.approx(columns[users, 0].mean(axis=1))


def test_draws_in_parts_are_the_draws_in_one(monkeypatch):
    from ancf.comparison import statistics

    columns = np.random.default_rng(0).random((40, 2))
    whole = resampled_means(columns, seed=7)
    monkeypatch.setattr(statistics, "_CHUNK_VALUES", 41)
    assert np.array_equal(whole, resampled_means(columns, seed=7))


def test_the_interval_is_the_middle_of_the_resampled_means_as_scipy_s_bootstrap_has_it():
    from scipy import stats

    values = draws(200)
    low, high = percentile_interval(resampled_means(values[:, None], seed=0)[:, 0])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    # Both are drawn: a twentieth of the width apart, at most.
    assert low == pytest.approx(theirs.low, abs=0.05 * (high - low))
    assert high == pytest.approx(theirs.high, abs=0.05 * (high - low))


def test_a_user_without_a_value_is_left_out_of_the_means():
    columns = np.array([[1.0, 1.0], [np.nan, 3.0], [2.0, 2.0]])
    means = resampled_means(columns, seed=0, n_resamples=200)
    users = np.random.default_rng(0).integers(0, 3, (200, 3))
    drawn = np.where(users == 1, np.nan, columns[users, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert means[:, 0] == pytest.approx(np.nanmean(drawn, axis=1), nan_ok=True)
