"""What a caller leaves out: items that are no goods, low ratings, rare users and items; each row of it is counted."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.errors import InvalidDataError, InvalidParameterError

RATINGS = "userId,movieId,rating\n1,a,5\n1,b,2\n2,a,3.5\n2,b,4\n3,c,1\n"


def read(text, **options):
    return ancf.read_interactions(io.BytesIO(text.encode()), **options)


def reasons(data):
    assert data.report.rows_read == data.report.rows_used + data.report.rows_left_out
    return {reason.name: reason.rows for reason in data.report.reasons}


def test_a_rating_is_no_quantity_and_the_report_says_what_to_do():
    data = read(RATINGS)
    (note,) = data.report.notes
    assert "the weight 'rating' is a rating, from 1 to 5" in note.text
    assert "min_weight=4" in note.text
    assert data.report.to_dict()["notes"][0]["name"] == "ratings"
    for heading in ("Rating", "stars", "review_score"):
        assert read(RATINGS.replace("rating", heading), weight=heading).report.notes[0].name == "ratings"
    assert read(RATINGS.replace("rating", "quantity")).report.notes == []
    assert read(RATINGS, weight=False).report.notes == []


def test_a_star_below_four_is_no_purchase():
    data = read(RATINGS, min_weight=4)
    assert data.weights.tolist() == [5, 4]
    assert data.report.notes == []
    assert reasons(data) == {"low_weight": 3}
    assert "3 rows have a weight below 4 (min_weight) (rows 3, 4, 6)" in str(data.report)


def test_a_minimum_weight_counts_what_is_left_after_returns():
    text = "user,item,qty\na,x,5\na,x,-4\nb,x,2\n"
    data = read(text, min_weight=2)
    assert data.user_ids.values.tolist() == ["b"]
    assert reasons(data) == {"returns": 1, "low_weight": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_weight": "4"}, "min_weight is '4'"),
        ({"min_weight": float("nan")}, "min_weight is nan"),
        ({"min_weight": True}, "min_weight is True"),
        ({"min_user_events": 0}, "min_user_events is 0"),
        ({"min_item_events": 1.5}, "min_item_events is 1.5"),
        ({"exclude_items": [None]}, "exclude_items: None"),
        ({"exclude_items": {"a": 1}}, "exclude_items is .*, a mapping"),
        ({"exclude_items": [["a"]]}, "exclude_items: .'a'. is no id"),
        ({"weight": False, "min_weight": 4}, "min_weight=4: file object has no column.*weight='stars'"),
    ],
)
def test_restrictions_that_have_no_meaning_are_refused(options, words):
    with pytest.raises(InvalidParameterError, match=words):
        read(RATINGS, **options)


@pytest.mark.parametrize("options", [{"min_weight": 6}, {"min_user_events": 9}, {"exclude_items": "*"}])
def test_a_restriction_that_leaves_nothing_is_named_in_the_error(options):
    with pytest.raises(InvalidDataError, match=f"none of 5 rows.*{next(iter(options))}"):
        read(RATINGS, **options)


def naive_core(events, min_user, min_item):
    """Remove one user or item at a time until nothing changes."""
    while True:
        for side, least in ((0, min_user), (1, min_item)):
            counts = pd.Series([event[side] for event in events], dtype=object).value_counts()
            few = set(counts[counts < least].index)
            if few:
                events = [event for event in events if event[side] not in few]
                break
        else:
            return events


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), min_size=1, max_size=30),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_the_core_is_what_is_left_when_nothing_more_falls_out(rows, min_user, min_item):
    frame = pd.DataFrame(rows, columns=["user", "item"])
    core = naive_core(sorted(set(rows)), min_user, min_item)
    options = {"min_user_events": min_user, "min_item_events": min_item}
    if not core:
        with pytest.raises(InvalidDataError, match="none of"):
            ancf.read_interactions(frame, **options)
        return
    data = ancf.read_interactions(frame, **options)
    assert data.to_pandas()[["user_id", "item_id"]].to_numpy().tolist() == [list(event) for event in core]
    assert data.weights.sum() == sum(row in set(core) for row in rows)
    assert set(reasons(data)) <= {"few_user_events", "few_item_events"}


def test_users_and_items_that_fall_out_are_counted_by_reason():
    data = read("user,item\na,x\na,y\nb,x\nb,y\nc,x\nc,z\n", min_user_events=2, min_item_events=2)
    assert reasons(data) == {"few_item_events": 1, "few_user_events": 1}
    assert "(min_item_events) (row 7)" in str(data.report).replace("\n        ", " ")
    assert data.n_users == data.n_items == 2


SHOP = "user,item\na,POSTAGE\na,POST2\nb,COMPOST\nb,M\nc,x*y\nc,xzy\n"


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["POST*"], ["COMPOST", "M", "x*y", "xzy"]),
        ("POST*", ["COMPOST", "M", "x*y", "xzy"]),
        ("POST?", ["COMPOST", "M", "POSTAGE", "x*y", "xzy"]),
        (["M", "POSTAGE"], ["COMPOST", "POST2", "x*y", "xzy"]),
        (re.compile("^POST|^M$"), ["COMPOST", "x*y", "xzy"]),
        ([re.compile("POST"), "M"], ["x*y", "xzy"]),
        (pd.Series(["M"]), ["COMPOST", "POST2", "POSTAGE", "x*y", "xzy"]),
        ({"xzy"}, ["COMPOST", "M", "POST2", "POSTAGE", "x*y"]),
    ],
)
def test_items_that_are_no_goods_are_left_out(exclude, left):
    data = read(SHOP, exclude_items=exclude)
    assert data.item_ids.values.tolist() == left
    assert reasons(data) == {"excluded_item": 6 - len(left)}


def test_excluded_items_are_named_in_the_report_with_their_rows():
    data = read(SHOP + "a,M\n,M\n", exclude_items=["M", "DOT"])
    assert data.report.count("anonymous") == 0
    text = str(data.report)
    assert '3 rows are of items that are excluded: "M" 3 times (rows 5, 8, 9)' in text
    assert 'exclude_items: no item id is or matches "DOT"' in text
    # A row that is left out need not be clean.
    assert read("user,item,qty\na,M,free\na,x,1\n", exclude_items="M").weights.tolist() == [1]


@pytest.mark.parametrize("exclude", [5001, "5001", [np.int64(5001)], [5001.0], "50?1"])
def test_excluded_items_are_found_whatever_the_kind_of_the_ids(exclude):
    for items in ([5001, 6001], ["5001", "6001"]):
        data = ancf.read_interactions({"user": [1, 2], "item": items}, exclude_items=exclude)
        assert [str(each) for each in data.item_ids.values] == ["6001"]


def test_what_the_caller_leaves_out_is_no_dirt():
    options = {"exclude_items": "c", "min_weight": 2, "min_user_events": 1, "strict": True}
    assert read(RATINGS, **options).weights.tolist() == [5, 2, 3.5, 4]
    with pytest.raises(InvalidDataError, match=r"strict=True.*is a rating"):
        read(RATINGS, strict=True)


def test_a_long_report_fits_80_columns():
    data = read(
        "user,item,stars,a_long_heading,another_long_heading,a_third_long_heading\nNA,x,1,,,\na,x,2,,,\nb,y,5,,,\n"
    )
    assert max(map(len, str(data.report).splitlines())) <= 80
