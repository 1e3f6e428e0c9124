"""Interactions have one canonical form whatever the order of the rows."""

import numpy as np
import pytest
import scipy.sparse

import ancf
from ancf.errors import InvalidDataError


def random_rows(seed, n=3000, n_users=50, n_items=40, timed=True):
    rng = np.random.default_rng(seed)
    rows = {"user": rng.integers(0, n_users, n) * 3, "item": rng.integers(0, n_items, n).astype(str)}
    rows["weight"] = rng.integers(1, 9, n).astype(float)
    if timed:
        rows["time"] = rng.integers(0, 20, n)
    return rows


def test_the_matrix_is_that_of_scipy():
    rows = random_rows(0)
    data = ancf.Interactions.from_ids(**rows)
    users = np.unique(rows["user"], return_inverse=True)[1]
    items = np.unique(rows["item"], return_inverse=True)[1]
    expected = scipy.sparse.csr_matrix((rows["weight"], (users, items)))
    expected.sum_duplicates()
    indptr, indices, values = data.to_csr()
    assert (indptr.dtype, indices.dtype, values.dtype) == (np.int64, np.int32, np.float32)
    assert indptr.tolist() == expected.indptr.tolist()
    assert indices.tolist() == expected.indices.tolist()
    assert values.tolist() == expected.data.tolist()
    assert data.pair_counts().sum() == len(data)
    last = {}
    for user, item, time in zip(users, items, rows["time"], strict=True):
        last[user, item] = max(last.get((user, item), 0), time)
    assert data.pair_times().tolist() == [last[key] for key in sorted(last)]


@pytest.mark.parametrize("timed", [True, False])
def test_the_order_of_the_rows_does_not_matter(timed):
    rows = random_rows(1, timed=timed)
    shuffled = np.random.default_rng(5).permutation(len(rows["user"]))
    one = ancf.Interactions.from_ids(**rows)
    two = ancf.Interactions.from_ids(**{name: column[shuffled] for name, column in rows.items()})
    assert one.fingerprint() == two.fingerprint()
    rows["weight"][0] += 1
    assert ancf.Interactions.from_ids(**rows).fingerprint() != one.fingerprint()


def test_weights_of_equal_events_are_summed_in_their_given_order():
    weights = np.array([1e16, 1.0, -1e16, 1.0])
    data = ancf.Interactions.from_ids(user=[1] * 4, item=[1] * 4, weight=weights)
    assert data.weights.tolist() == [((1e16 + 1.0) - 1e16) + 1.0]


def test_compact_keeps_only_the_ids_that_occur():
    data = ancf.Interactions.from_ids(
        user=["a", "b", "c"],
        item=["x", "y", "z"],
        item_names={"x": "Lamp", "z": "Mug"},
        item_categories=["p", "q", "r"],
    )
    part = data.subset(data.users != 1)
    assert (part.n_users, part.n_items) == (3, 3)
    small = part.compact()
    assert small.user_ids.values.tolist() == ["a", "c"]
    assert small.item_ids.values.tolist() == ["x", "z"]
    assert small.item_names.tolist() == ["Lamp", "Mug"]
    assert small.item_categories.tolist() == ["p", "r"]
    assert small.items.tolist() == [0, 1]
    assert data.compact() is data
    assert small.fingerprint() == ancf.Interactions.from_ids(user=["a", "c"], item=["x", "z"]).fingerprint()


def test_the_table_has_raw_ids():
    days = ["2020-01-01", "2020-01-02"]
    table = ancf.Interactions.from_ids(user=["b", "a"], item=[7, 8], weight=[2, 3], time=days).to_pandas()
    assert table["user_id"].tolist() == ["a", "b"]
    assert table["item_id"].tolist() == [8, 7]
    assert table["time"].dt.day.tolist() == [2, 1]


def test_the_arrays_cannot_be_written():
    data = ancf.Interactions.from_ids(user=[1], item=[2])
    with pytest.raises(ValueError, match="read-only"):
        data.users[0] = 5


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user": [1, None], "item": [1, 2]}, "user.*missing"),
        ({"user": [1, -1], "item": [1, 2]}, "user: 1 of 2 ids are -1"),
        ({"user": [1, 2], "item": [1]}, "item has 1 values"),
        ({"user": [1, 2], "item": [1, 2], "weight": [1, 0]}, "weight: 1 of 2 are zero"),
        ({"user": [1, 2], "item": [1, 2], "weight": [1, np.nan]}, "not finite"),
        ({"user": [1, 2], "item": [1, 2], "weight": ["a", "b"]}, "give a number for each event"),
        ({"user": [1, 2], "item": [1, 2], "weight": [1]}, "shape"),
        ({"user": [1, 2], "item": [1, 2], "time": ["a", "b"]}, "Give dates"),
        ({"user": [1, 2], "item": [1, 2], "time": [1.0, np.inf]}, "not finite"),
        ({"user": [1, 2], "item": [1, 2], "item_names": ["a"]}, "item_names has 1 values"),
    ],
)
def test_wrong_arrays_are_refused_with_the_place(columns, words):
    with pytest.raises(InvalidDataError, match=words):
        ancf.Interactions.from_ids(**columns)


def test_nothing_at_all_is_an_empty_matrix():
    data = ancf.Interactions.from_ids(user=[], item=[])
    assert (data.n_users, data.n_items, len(data)) == (0, 0, 0)
    assert [part.tolist() for part in data.to_csr()] == [[0], [], []]
