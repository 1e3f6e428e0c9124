"""Splits give every event to exactly one part, draw as scikit-learn does, and say where they leak."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import ancf
from ancf.data.split import split_rows
from ancf.errors import InvalidDataError, InvalidParameterError

FRACTIONS = (0.6, 0.2, 0.2)


@pytest.fixture
def timed():
    rng = np.random.default_rng(1)
    n = 500
    return ancf.Interactions.from_ids(
        user=rng.integers(0, 40, n), item=rng.integers(0, 30, n), time=rng.permutation(n) // 2 + 1_300_000_000
    )


@pytest.fixture
def untimed():
    rng = np.random.default_rng(2)
    return ancf.Interactions.from_ids(user=rng.integers(0, 40, 400), item=rng.integers(0, 90, 400))


def rows(parts):
    return sorted(
        (int(u), int(i), 0 if part.times is None else int(t))
        for part in parts
        for u, i, t in zip(part.users, part.items, part.users if part.times is None else part.times, strict=True)
    )


@pytest.mark.parametrize("n", [5, 10, 11, 99, 100, 1001, 12_347])
@pytest.mark.parametrize("seed", [0, 42])
def test_random_parts_are_those_of_train_test_split(n, seed):
    train, valid, test = split_rows(n, FRACTIONS, seed)
    first, rest = train_test_split(np.arange(n), test_size=0.4, random_state=seed)
    second, third = train_test_split(rest, test_size=0.5, random_state=seed)
    assert train.tolist() == first.tolist()
    assert valid.tolist() == second.tolist()
    assert test.tolist() == third.tolist()


def test_every_event_is_in_exactly_one_part(timed, untimed):
    for data in (timed, untimed):
        splits = [ancf.random_split(data, on_leak="ignore"), ancf.user_split(data)]
        splits.append(ancf.leave_last_out(data, on_leak="ignore"))
        splits.append(ancf.leave_last_out(data, 2, validation=True, on_leak="ignore"))
        splits += list(ancf.kfold(data, 4, on_leak="ignore"))
        if data is timed:
            splits += [ancf.time_split(data), ancf.time_split(data, at=[1_300_000_100 * 10**9])]
        for parts in splits:
            assert rows(parts) == rows([data])
            assert all(part.user_ids is data.user_ids for part in parts)


def test_time_split_puts_the_past_before_the_future(timed):
    train, valid, test = ancf.time_split(timed)
    assert train.times.max() < valid.times.min()
    assert valid.times.max() < test.times.min()
    assert [len(part) for part in (train, valid, test)] == pytest.approx([300, 100, 100], abs=2)
    assert train.leakage == ()


def test_leave_last_out_takes_the_last_events_of_each_user(timed):
    train, test = ancf.leave_last_out(timed, 3, on_leak="ignore")
    for user in np.unique(test.users):
        assert (test.users == user).sum() == 3
        assert train.times[train.users == user].max() <= test.times[test.users == user].min()


def test_users_with_one_event_stay_in_training():
    data = ancf.Interactions.from_ids(user=[1, 2, 2], item=[1, 1, 2], time=[1, 2, 3])
    train, test = ancf.leave_last_out(data, on_leak="ignore")
    assert train.users.tolist() == [0, 1]
    assert test.users.tolist() == [1]


def test_user_split_shares_no_user(timed):
    parts = ancf.user_split(timed)
    assert not set(parts[0].users) & set(parts[1].users)
    assert not set(parts[0].users) & set(parts[2].users)


def test_a_random_split_of_timed_events_warns_and_remembers(timed):
    with pytest.warns(ancf.LeakageWarning, match="future"):
        parts = ancf.random_split(timed)
    assert all("future" in " ".join(part.leakage) for part in parts)
    with pytest.raises(InvalidDataError, match="leaks"):
        ancf.random_split(timed, on_leak="raise")


def test_a_random_split_without_times_and_repeats_is_silent(untimed):
    assert ancf.random_split(untimed)[0].leakage == ()


def test_repeated_pairs_in_test_are_counted():
    data = ancf.Interactions.from_ids(user=[1] * 20, item=[1] * 20, time=range(20))
    with pytest.warns(ancf.LeakageWarning, match="4 of 4 test events repeat"):
        ancf.random_split(data)


def test_the_same_seed_gives_the_same_parts(untimed):
    one, two = ancf.random_split(untimed, random_state=7), ancf.random_split(untimed, random_state=7)
    assert [part.fingerprint() for part in one] == [part.fingerprint() for part in two]
    assert one[0].fingerprint() != ancf.random_split(untimed, random_state=8)[0].fingerprint()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda data: ancf.random_split(data, (0.5, 0.2)), InvalidParameterError, "add up to 1"),
        (lambda data: ancf.random_split(data, (1.0,)), InvalidParameterError, "two or more"),
        (lambda data: ancf.random_split(data.subset([0])), InvalidDataError, "would be empty"),
        (lambda data: ancf.time_split(data), InvalidDataError, "needs times"),
        (lambda data: ancf.kfold(data, 1), InvalidParameterError, "n_splits is .* from 2 to"),
        (lambda data: ancf.leave_last_out(data, 0), InvalidParameterError, "n is .* from 1 to"),
        (lambda data: ancf.leave_last_out(data, 400, on_leak="ignore"), InvalidDataError, "no user has more"),
        (lambda data: ancf.user_split(data.subset([0])), InvalidDataError, "1 users cannot"),
        (lambda data: ancf.random_split(data, on_leak="no"), InvalidParameterError, "on_leak is 'no'"),
    ],
)
def test_impossible_splits_say_why(untimed, call, error, words):
    with pytest.raises(error, match=words):
        call(untimed)


def test_a_time_split_of_one_moment_says_why():
    data = ancf.Interactions.from_ids(user=[1, 2, 3], item=[1, 2, 3], time=[5, 5, 5])
    with pytest.raises(InvalidDataError, match="would be empty"):
        ancf.time_split(data)
    with pytest.raises(InvalidParameterError, match="Give dates"):
        ancf.time_split(data, at=["yesterday-ish"])
