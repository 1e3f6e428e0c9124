"""Leakage reports: what a training and a test part share."""

import numpy as np
import pytest

import ancf

HOUR = 3600


def table(rows, timed=True):
    users, items, times = zip(*rows, strict=True)
    return ancf.Interactions.from_ids(user=list(users), item=list(items), time=list(times) if timed else None)


TRAIN = table([("ann", "tea", 1), ("ann", "cup", 9), ("bob", "tea", 5), ("bob", "pot", 6)])


def test_events_in_both_parts_and_before_the_cut_are_counted():
    test = table([("ann", "tea", 1), ("ann", "tea", 20), ("bob", "cup", 7), ("eve", "jug", 30)])
    report = ancf.leakage_report(TRAIN, test)
    assert (report.same_events, report.repeated_pairs, report.test_pairs) == (1, 1, 3)
    assert (report.before_cut, report.before_own_past, report.cut) == (2, 1, 9)
    assert (report.unknown_item_events, report.unknown_user_events) == (1, 1)
    assert report.leaks == [
        "1 of 4 test events are in the training part as well",
        "1 test events lie before what their users did in training",
    ]
    assert report.to_pandas()["events"].tolist() == [1, 2, 1, 1, 1, 1]
    assert "test events before the last of training (1970-01-01 00:00:09)" in repr(report)


def test_the_future_of_others_is_told_where_nobody_s_own_is_known():
    report = ancf.leakage_report(TRAIN, table([("bob", "cup", 8)]))
    assert report.leaks == ["1 test events lie before the last of training: others' future is known"]


def test_a_split_by_time_leaks_nothing_and_a_random_one_does():
    rng = np.random.default_rng(0)
    data = ancf.Interactions.from_ids(
        user=rng.integers(0, 20, 400), item=rng.integers(0, 30, 400), time=rng.integers(0, 10_000, 400) * HOUR
    )
    by_time = ancf.leakage_report(*ancf.time_split(data, (0.7, 0.3)))
    assert by_time.leaks == []
    assert by_time.before_cut == 0
    random = ancf.leakage_report(*ancf.random_split(data, (0.7, 0.3), on_leak="ignore"))
    assert random.before_own_past > 10


def test_without_times_repeated_purchases_are_no_leak_and_times_are_not_spoken_of():
    report = ancf.leakage_report(table([("ann", "tea", 1)], timed=False), table([("ann", "tea", 1), ("ann", "cup", 1)]))
    assert (report.same_events, report.repeated_pairs, report.before_cut) == (0, 1, None)
    assert report.leaks == []
    assert "before" not in repr(report)


def test_the_whole_table_as_its_own_test_leaks_all_of_it():
    assert ancf.leakage_report(TRAIN, TRAIN).same_events == len(TRAIN)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (TRAIN, 3, "as test, not int"),
        (TRAIN[:0], TRAIN, "train has no events"),
        (
            ancf.Interactions.from_ids(user=[1], item=[2]),
            ancf.Interactions.from_ids(user=["1"], item=["2"]),
            "none of the",
        ),
    ],
)
def test_what_is_no_pair_of_parts_is_refused(train, test, message):
    with pytest.raises(ancf.InvalidDataError, match=message):
        ancf.leakage_report(train, test)
