"""The times of a history are read as those of a table: in any spelling the same list, or an error with its place."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.errors import InvalidDataError

DAY = 86_400
SECONDS = [1_700_000_000, 1_700_000_000 + 37 * DAY, 1_700_000_000 + 74 * DAY]
HISTORY = ["i0", "i1", "i4"]


@pytest.fixture(scope="module")
def model():
    numbers = np.arange(90)
    items = [f"i{number}" for number in (numbers**2 + numbers // 3) % 11]
    data = ancf.Interactions.from_ids(numbers // 3, items, time=1_700_000_000 + DAY * (numbers * 37 % 200))
    return ancf.ANCF(factors=8, epochs=4, half_life=30.0).fit(data)


def answer(model, times, history=HISTORY):
    ids, scores = model.recommend_for_history(history, N=3, times=times)
    return ids.tolist(), scores.tolist()


SPELLINGS = {
    "array": np.array(SECONDS),
    "floats": [float(each) for each in SECONDS],
    "milliseconds": [each * 1000 for each in SECONDS],
    "nanoseconds": np.array(SECONDS) * 10**9,
    "datetimes": pd.to_datetime(SECONDS, unit="s"),
    "aware": list(pd.to_datetime(SECONDS, unit="s", utc=True).tz_convert("Asia/Tokyo")),
    "plain datetimes": [dt.datetime(1970, 1, 1) + dt.timedelta(seconds=each) for each in SECONDS],
    "text": [str(pd.Timestamp(each, unit="s")) for each in SECONDS],
    "dotted text": pd.Series(pd.to_datetime(SECONDS, unit="s").strftime("%d.%m.%Y %H:%M:%S")),
    "digits": [int(pd.Timestamp(each, unit="s").strftime("%Y%m%d%H%M%S")) for each in SECONDS],
    "generator": (each for each in SECONDS),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_times_of_a_history_are_the_same_in_any_spelling(model, spelling):
    assert answer(model, SPELLINGS[spelling]) == answer(model, SECONDS)


def test_times_matter_at_all_here(model):
    assert answer(model, SECONDS) != answer(model, SECONDS[::-1])


def test_several_histories_have_each_their_times(model):
    histories, times = [HISTORY, [], HISTORY[:2]], [SECONDS, [], SECONDS[:2]]
    expected = answer(model, SECONDS), answer(model, SECONDS[:2], HISTORY[:2])
    mixed = [pd.to_datetime(SECONDS, unit="s"), [], [each * 1000 for each in SECONDS[:2]]]
    for each in (times, mixed):
        ids, scores = model.recommend_for_history(histories, N=3, times=each, on_unknown="popular")
        assert (ids[0].tolist(), scores[0].tolist()) == expected[0]
        assert (ids[2].tolist(), scores[2].tolist()) == expected[1]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1], "times of history 0: 1 for 3 items; give one time for each"),
        ([SECONDS[0], None, SECONDS[1]], "None at position 1 of history 0"),
        ([SECONDS[0], "08:30", SECONDS[1]], "'08:30' at position 1 of history 0 is a clock time without a date"),
        ([SECONDS[0], SECONDS[1], 5 * 10**15], "5000000000000000 at position 2 of history 0 is no date of the years"),
        ([2011, 2012, 2013], "2011 at position 0 of history 0 may be seconds since 1970 or years"),
        ([40883.5, 40884.0, 40885.0], "40883.5 at position 0 of history 0 may be seconds since 1970 or days of a"),
        (np.array([True, False, True]), "true and false"),
        ("2011-12-09", "times is '2011-12-09'; give one for each item"),
        (7, "times is 7; give one for each item"),
        ([[1, 2], [3, 4], [5, 6]], "give one time for each"),
    ],
)
def test_times_that_are_none_are_refused_with_value_and_place(model, times, said):
    with pytest.raises(InvalidDataError, match=re.escape(said)):
        model.recommend_for_history(HISTORY, N=3, times=times)


def test_the_date_that_an_error_offers_for_a_number_is_taken(model):
    days = [45245.0, 45282.0, 45319.0]
    with pytest.raises(InvalidDataError, match="may be seconds since 1970 or days of a spreadsheet") as caught:
        model.recommend_for_history(HISTORY, N=3, times=days)
    first = re.search(r"Give a date, such as '([^']+)'", str(caught.value))[1]
    assert first == "2023-11-15"
    told = answer(model, [str(pd.Timestamp(first) + pd.Timedelta(days=each - days[0])) for each in days])
    assert told == answer(model, [0, 37 * DAY, 74 * DAY])


def test_a_value_in_a_later_history_is_named_by_its_history(model):
    with pytest.raises(InvalidDataError, match="'soon' at position 1 of history 1 is no date"):
        model.recommend_for_history([HISTORY, HISTORY[:2]], N=3, times=[SECONDS, [SECONDS[0], "soon"]])
    with pytest.raises(InvalidDataError, match="times: 1 lists for 2 histories"):
        model.recommend_for_history([HISTORY, HISTORY[:2]], N=3, times=[SECONDS])
    for times in (7, "2011-12-09"):
        with pytest.raises(InvalidDataError, match=r"times is .*; give one for each item"):
            model.recommend_for_history([HISTORY, HISTORY[:2]], N=3, times=times)


def test_small_counters_are_seconds_as_in_a_table_that_says_no_more(model):
    assert answer(model, [0, 1, 2]) == answer(model, [1_700_000_000, 1_700_000_001, 1_700_000_002])
