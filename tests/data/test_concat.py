"""Joined tables, masks and the sequence of ids."""

import numpy as np
import pandas as pd
import pytest

import ancf


def table(users, items, **options):
    return ancf.Interactions.from_ids(user=users, item=items, **options)


def test_joined_tables_are_the_table_of_all_their_rows():
    users, items = list("abcabd"), list("xyzxzz")
    weights, times = [1, 2, 3, 4, 5, 6], [10, 20, 30, 10, 50, 60]
    names = {"x": "ex", "y": "why", "z": "zed"}
    whole = table(users, items, weight=weights, time=times, item_names=names)
    parts = [
        table(users[part], items[part], weight=weights[part], time=times[part], item_names=names)
        for part in (slice(0, 2), slice(2, 5), slice(5, 6))
    ]
    for joined in (ancf.concat(parts), ancf.concat(iter(parts[::-1]))):
        assert joined.fingerprint() == whole.fingerprint()
        assert joined.item_names.tolist() == whole.item_names.tolist()
        assert joined.report.rows_read == joined.report.rows_used == 6


def test_the_first_name_of_an_item_stays_and_a_missing_one_is_filled():
    joined = ancf.concat(
        [
            table([1], ["x"]),
            table([1], ["x"], item_names={"x": "first"}),
            table([1, 1], ["x", "y"], item_names={"x": "second", "y": "other"}),
        ]
    )
    assert joined.item_names.tolist() == ["first", "other"]


def test_the_report_of_joined_tables_adds_up_and_names_the_table():
    dirty = ancf.read_interactions(pd.DataFrame({"user": [1, None, 2], "item": ["a", "b", "c"]}))
    joined = ancf.concat([table([1], ["a"]), dirty])
    report = joined.report
    assert report.rows_read == 4
    assert report.rows_read == report.rows_used + report.rows_left_out
    assert "in table 1" in str(report)
    assert "1 of 4 rows read were left out" in repr(joined)
    assert "stand in more than one table" in str(report)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([table([1], [1]), table(["1"], [1])], "user ids of kind 'int' and table 1 of kind 'str'"),
        ([table([1], [1]), table([1], ["1"])], "item ids"),
        ([table([1], [1]), table([1], [1], time=[5])], "times of kind 'no'"),
        ([table([1], [1]), table([1], [1], normalize="log")], "normalize"),
        ([], "there is no table"),
        ([table([1], [1]), None], r"tables\[1\] is None, not ancf.Interactions"),
        (table([1], [1]), "give several, as a list"),
        ("ab", "give several, as a list"),
        (None, "give several, as a list"),
    ],
)
def test_tables_of_different_kinds_are_not_joined(tables, words):
    with pytest.raises(ancf.InvalidDataError, match=words):
        ancf.concat(tables)


def test_an_empty_table_has_no_say_in_kinds():
    data = table(["a"], ["x"], time=[5])
    empty = table([1], [1])[:0]
    assert ancf.concat([empty, data]).fingerprint() == data.fingerprint()


def test_a_mask_and_a_slice_choose_events():
    data = table([1, 1, 2], [5, 6, 5], weight=[1, 2, 3])
    assert data[data.weights > 1].weights.tolist() == [2.0, 3.0]
    assert data[[True, False, True]].weights.tolist() == [1.0, 3.0]
    assert data[data.to_pandas()["weight"] < 3].weights.tolist() == [1.0, 2.0]
    assert data[-2:].weights.tolist() == [2.0, 3.0]
    assert data[data.weights > 9].report.rows_used == 3


@pytest.mark.parametrize("which", [0, None, "a", [0, 1], [0.5], [[True]], slice("a", None), [True], np.array(True)])
def test_what_chooses_no_events_is_refused(which):
    with pytest.raises(ancf.AncfError):
        table([1, 1, 2], [5, 6, 5])[which]


def test_a_series_of_flags_with_another_index_is_refused():
    data = table([1, 1, 2], [5, 6, 5])
    with pytest.raises(ancf.InvalidDataError, match="index"):
        data[pd.Series([True, False, True], index=[2, 1, 0])]


@pytest.mark.parametrize("ids", [["b", "a", "c"], [7, 3, 5]])
def test_ids_are_a_sequence(ids):
    found = ancf.IdMap(ids)
    assert (len(found), list(found), list(reversed(found))) == (3, ids, ids[::-1])
    assert (found[0], found[-1], found[np.int64(1)]) == (ids[0], ids[-1], ids[1])
    assert type(found[0]) is type(ids[0])
    assert found[1:] == ancf.IdMap(ids[1:])
    assert found[::-1] != found
    assert found != ids
    assert (found.index(ids[2]), found.count(ids[0]), found.count("?")) == (2, 1, 0)
    assert ids[1] in found
    assert np.asarray(found).tolist() == ids
    assert not np.asarray(found).flags.writeable
    assert np.array(found, copy=True).flags.writeable
    for at in (3, -4):
        with pytest.raises(IndexError, match=r"there are 3 ids") as raised:
            found[at]
        assert isinstance(raised.value, ancf.InvalidParameterError)
    for at in ("b", 1.0, None, True, [0], slice("a", None)):
        with pytest.raises(ancf.InvalidParameterError):
            found[at]
    with pytest.raises(ValueError, match="is none of these 3 ids") as raised:
        found.index("?")
    assert isinstance(raised.value, ancf.AncfError)
    with pytest.raises(ancf.InvalidDataError, match="outside start=1 and stop=None"):
        found.index(ids[0], 1)
