"""``from_ids`` and ``time_split`` take moments as tables do, in every spelling."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.errors import InvalidDataError, InvalidParameterError


@pytest.mark.parametrize(
    "time",
    [
        [1_323_388_800_000, 1_323_388_805_000],
        np.array([1_323_388_800, 1_323_388_805], np.float64),
        ["2011-12-09", "2011-12-09 00:00:05"],
        [dt.date(2011, 12, 9), dt.datetime(2011, 12, 9, 0, 0, 5)],
        [20111209000000, 20111209000005],
        pd.Series(pd.DatetimeIndex(["2011-12-09 00:00:00", "2011-12-09 00:00:05"]).tz_localize("UTC"), index=[7, 3]),
        np.array(["2011-12-09", "2011-12-09T00:00:05"], "datetime64[s]"),
        pd.Series(["09.12.2011", "09.12.2011 00:00:05"], dtype="category"),
        (each for each in (1_323_388_800, 1_323_388_805)),
    ],
)
def test_from_ids_reads_times_as_a_table_does(time):
    data = ancf.Interactions.from_ids(["a", "b"], ["x", "y"], time=time)
    assert data.times.tolist() == [1_323_388_800, 1_323_388_805]


def test_from_ids_notes_what_was_decided_and_never_names_an_option_that_it_has_not():
    data = ancf.Interactions.from_ids([1, 2], [1, 2], time=[1, 711])
    [said] = [str(note) for note in data.report.notes if note.name == "time_unit"]
    assert "give datetimes if that is wrong" in said
    assert "time_unit=" not in said
    dates = pd.to_datetime([1, 711], unit="D")
    assert not ancf.Interactions.from_ids([1, 2], [1, 2], time=dates).report.notes


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (
            [1_323_388_800, 5_000_000_000_000_000],
            r"5000000000000000 at position 1 is no date of the years 1900 to 2100",
        ),
        (["2011-12-09", "08:30"], "'08:30' at position 1 is a clock time without a date"),
        (["2011-12-09", None], "None at position 1"),
        ([1.0, np.nan], "nan at position 1"),
        ([True, False], "True at position 0 is no date"),
        (np.array([True, False]), "true and false"),
        ([[1, 2], [3, 4]], "time"),
        ("2011-12-09", "give a sequence of times"),
        (7, "give a sequence of times"),
        ([1], "time has 1 values where user has 2"),
        ([{}, {}], "one time for each"),
    ],
)
def test_from_ids_refuses_what_is_no_time_with_value_and_position(time, said):
    with pytest.raises(InvalidDataError, match=said):
        ancf.Interactions.from_ids(["a", "b"], ["x", "y"], time=time)


def test_from_ids_leaves_the_array_it_was_given_alone():
    time = np.array([1_323_388_800, 0, 7])
    ancf.Interactions.from_ids([1, 2, 3], [1, 2, 3], time=time)
    assert time.tolist() == [1_323_388_800, 0, 7]


@pytest.fixture
def timed():
    days = pd.date_range("2011-12-01", periods=10)
    return ancf.Interactions.from_ids(range(10), range(10), time=days)


@pytest.mark.parametrize(
    "at",
    [
        "2011-12-06",
        ["06.12.2011"],
        dt.date(2011, 12, 6),
        pd.Timestamp("2011-12-06 01:00", tz="Europe/Berlin"),
        np.datetime64("2011-12-06"),
        1_323_129_600,
        [1_323_129_600_000],
        np.int64(1_323_129_600),
        np.array(1_323_129_600),
        20111206,
        pd.DatetimeIndex(["2011-12-06"]),
        iter(["2011-12-06"]),
    ],
)
def test_a_time_split_takes_one_moment_in_any_spelling(timed, at):
    assert [len(part) for part in ancf.time_split(timed, at=at)] == [5, 5]


def test_a_time_split_takes_several_moments(timed):
    for at in (
        ["2011-12-03", "2011-12-08"],
        [1_322_870_400_000, 1_323_302_400_000],
        pd.to_datetime(["2011-12-08", "2011-12-03"]),
    ):
        assert [len(part) for part in ancf.time_split(timed, at=at)] == [2, 5, 3]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("soon", "'soon' at position 0 is no date. Give dates"),
        ("08:30", "a clock time without a date"),
        ([pd.NaT], "at: 1 of the values is no time"),
        ([], "has no time"),
        (True, "True at position 0 is no date"),
        (2011, "2011 at position 0 may be seconds since 1970 or years"),
        (40883.0, "may be seconds since 1970 or days of a spreadsheet"),
        (5_000_000_000, "no date of the years 1900 to 2100"),
    ],
)
def test_a_moment_that_cannot_be_read_is_refused_with_its_value(timed, at, said):
    with pytest.raises(InvalidParameterError, match=re.escape(said)) as caught:
        ancf.time_split(timed, at=at)
    date = re.search(r"Give a date, such as '([^']+)'", str(caught.value))
    if date and at != 2011:
        assert [len(part) for part in ancf.time_split(timed, at=date[1])] == [5, 5]


def test_a_small_number_within_the_times_themselves_counts_seconds():
    data = ancf.Interactions.from_ids(range(20), range(20), time=np.arange(20) * 1000)
    assert [len(part) for part in ancf.time_split(data, at=[10_000])] == [10, 10]
