"""A moment is the same in every spelling; what is no moment is told with value, row and remedy."""

import datetime as dt
import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.data import timestamps
from ancf.errors import InvalidDataError, InvalidParameterError

DAYS = ["2011-12-01", "2011-12-05", "2011-12-09"]
MOMENTS = pd.to_datetime(["2011-12-01 12:30", "2011-12-05 08:00", "2011-12-09 17:45"])


def frame(values, heading="date", **columns):
    ids = [f"id{at}" for at in range(len(values))]
    return pd.DataFrame({"user": ids, "item": ids, heading: values, **columns})


def as_csv(table, sep=";"):
    return io.BytesIO(table.to_csv(index=False, sep=sep).encode())


def texts(data):
    return [str(each).replace("T", " ") for each in np.array(data.times, "datetime64[s]")]


def both(values, **options):
    """The interactions of a frame and of a text table, whose times must be the same."""
    table = frame(values)
    one, other = ancf.read_interactions(table, **options), ancf.read_interactions(as_csv(table), **options)
    assert one.times.tolist() == other.times.tolist()
    assert [note.name for note in one.report.notes] == [note.name for note in other.report.notes]
    return one


def serial(moments):
    return (moments - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1)


def noted(data):
    return {note.name: str(note) for note in data.report.notes}


# ---- Numbers


@pytest.mark.parametrize("form", ["%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m", "%Y"])
@pytest.mark.parametrize("kind", [str, "int64", "float64", "Int64", object])
def test_digits_of_a_date_are_that_date_as_text_and_as_any_number(form, kind):
    digits = MOMENTS.strftime(form)
    column = pd.Series(digits) if kind is str else pd.Series(digits.astype("int64").astype(kind))
    expected = pd.to_datetime(digits, format=form)
    data = both(column)
    assert data.times.tolist() == (expected.as_unit("s").asi8).tolist()
    assert ("time_unit" in noted(data)) == (form in ("%Y%m", "%Y"))


def test_days_of_a_spreadsheet_are_moments_to_the_second_and_noted():
    data = both(serial(MOMENTS))
    assert data.times.tolist() == MOMENTS.as_unit("s").asi8.tolist()
    assert "days of a spreadsheet (Excel)" in noted(data)["time_unit"]
    commas = frame([str(each).replace(".", ",") for each in serial(MOMENTS)])
    assert ancf.read_interactions(as_csv(commas)).times.tolist() == data.times.tolist()
    rounded = ancf.read_interactions(frame([f"{each:.5f}" for each in serial(MOMENTS)]))
    assert np.abs(rounded.times - data.times).max() <= 1


def test_a_spreadsheet_of_the_1904_system_is_told_by_the_option():
    numbers = serial(MOMENTS) - 1462
    assert both(numbers, time_unit="excel1904").times.tolist() == MOMENTS.as_unit("s").asi8.tolist()


def test_excel_has_a_29th_of_february_1900():
    assert texts(both([1, 59, 61], time_unit="excel")) == [
        f"1900-{day} 00:00:00" for day in ("01-01", "02-28", "03-01")
    ]


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_units_of_seconds_are_told_by_their_size(unit, per_second):
    seconds = np.array([1_323_388_800, 1_323_388_801])
    assert both(seconds * per_second).times.tolist() == seconds.tolist()
    assert both(seconds * per_second, time_unit=unit).times.tolist() == seconds.tolist()


def test_whole_nanoseconds_are_exact_in_a_column_of_whole_numbers():
    data = ancf.read_interactions(frame([1_323_388_800_999_999_999, 1_323_388_801_000_000_000]))
    assert data.times.tolist() == [1_323_388_800, 1_323_388_801]


def test_seconds_beside_milliseconds_are_read_each_by_its_size_and_noted():
    data = both([1_323_388_800, 1_323_388_801_000, 1_323_388_805])
    assert data.times.tolist() == [1_323_388_800, 1_323_388_801, 1_323_388_805]
    assert "1 row has a time in milliseconds where most are in seconds" in noted(data)["mixed_units"]


def test_days_since_1970_are_days_and_noted():
    data = both([15309, 15317])
    assert texts(data) == ["2011-12-01 00:00:00", "2011-12-09 00:00:00"]
    assert "days since 1970: 15309 is 2011-12-01" in noted(data)["time_unit"]


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        ([1, 300, 711], "1970-01-02"),
        ([1122011, 9122011], "2011-12-01"),
        ([12012011, 12252011], "2011-12-01"),
        ([111201, 111209], "2011-12-01"),
        ([2011120108, 2011120909], "2011-12-01"),
    ],
)
def test_numbers_of_which_the_unit_cannot_be_told_are_noted_with_an_option_that_helps(numbers, first):
    data = both(numbers)
    name, value = re.search(r"give (\w+)='([^']+)'", noted(data)["time_unit"]).groups()
    told = both(numbers, **{name: value})
    assert texts(told)[0][:10] == first
    assert "time_unit" not in noted(told)


def test_stray_zeros_among_dates_are_noted():
    data = both([1_323_388_800, 0, -1, 1_323_388_801])
    assert "2 rows have a time before 1973-03-03, such as 0" in noted(data)["early_numbers"]


def test_digits_that_are_no_date_are_bad_rows_with_their_value():
    with pytest.raises(InvalidDataError, match='"25431209", "99999999"'):
        ancf.read_interactions(frame([20111209, 25431209, 99999999, 20111210]))
    data = both([20111209, 25431209, 99999999, 20111210, 20111301, 20111211], on_bad_rows="drop")
    assert texts(data)[-1] == "2011-12-11 00:00:00"
    assert data.report.count("bad_time") == 3


def test_numbers_beside_dates_are_dates_or_bad_rows():
    data = both(["2011-12-09", "20111208", "5"], on_bad_rows="drop")
    assert texts(data) == ["2011-12-09 00:00:00", "2011-12-08 00:00:00"]
    assert data.report.reasons[0].values == ("5",)


def test_float32_that_rounds_days_is_refused_and_seconds_are_noted():
    with pytest.raises(InvalidDataError, match="float32, which rounds a date"):
        ancf.read_interactions(frame(np.array([20111209, 20111201], np.float32)))
    data = ancf.read_interactions(frame(np.array([1_323_388_800, 1_323_389_800], np.float32)))
    assert "float32_times" in noted(data)


def test_numbers_after_2100_are_refused_until_somebody_says_what_they_count():
    for number in (5_000_000_000, 5 * 10**12, 5 * 10**15, 5 * 10**18):
        with pytest.raises(
            InvalidDataError, match=f'"{number}" in row 0 is no date of the years 1900 to 2100'
        ) as caught:
            ancf.read_interactions(frame([number]))
        unit = re.search(r"time_unit='(\w+)'", str(caught.value))[1]
        data = ancf.read_interactions(frame([number]), time_unit=unit)
        assert texts(data) == ["2128-06-11 08:53:20"]
        assert "before 1900 or after 2100" in noted(data)["far_times"]


FIRST_MISSING = {
    "empty in the second row": "u1,i1,1323388800\nu2,i2,\nu3,i3,1323388805\n",
    "empty in the first row": "u1,i1,\nu2,i2,1323388800\nu3,i3,1323388805\n",
    "n/a in the first row": "u1,i1,n/a\nu2,i2,1323388800\nu3,i3,1323388805\n",
    "n/a, milliseconds": "u1,i1,n/a\nu2,i2,1323388800000\nu3,i3,1323388805000\n",
    "soon, text": "u1,i1,soon\nu2,i2,2011-12-09 00:00:00\nu3,i3,2011-12-09 00:00:05\n",
    "all of the first rows": "u0,i0,n/a\n" * 5000 + "u2,i2,20111209000000\nu3,i3,20111209000005\n",
}


@pytest.mark.parametrize("kind", FIRST_MISSING)
def test_a_first_row_without_a_time_does_not_matter(kind):
    text = "user_id,item_id,timestamp\n" + FIRST_MISSING[kind]
    columns = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    numeric = columns.assign(timestamp=pd.to_numeric(columns.timestamp, errors="coerce"))
    as_objects = columns.assign(timestamp=[int(each) if each.isdigit() else each for each in columns.timestamp])
    tables = [io.BytesIO(text.encode()), columns, as_objects.astype({"timestamp": object})]
    for table in [*tables, numeric] if "text" not in kind else tables:
        data = ancf.read_interactions(table, on_bad_rows="drop")
        assert texts(data) == ["2011-12-09 00:00:00", "2011-12-09 00:00:05"]
        assert data.report.rows_used + data.report.count("bad_time") == data.report.rows_read
    with pytest.raises(InvalidDataError, match="date that cannot be read"):
        ancf.read_interactions(io.BytesIO(text.encode()))


# ---- Text


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["09.12.2011", "01.12.2011"], "2011-12-09 00:00:00"),
        (["09.12.2011 08:26", "01.12.2011"], "2011-12-09 08:26:00"),
        (["12.25.2011", "12.01.2011"], "2011-12-25 00:00:00"),
        (["01/12/2011", "13/12/2011"], "2011-12-01 00:00:00"),
        (["01/12/2011", "12/13/2011"], "2011-01-12 00:00:00"),
        (["1-12-2011 8:26 PM", "25-12-2011 12:00 AM"], "2011-12-01 20:26:00"),
        (["12/25/2011 12:05 a.m.", "12/01/2011 12:05 p.m."], "2011-12-25 00:05:00"),
        (["09.12.11", "01.12.11"], "2011-12-09 00:00:00"),
        (["13/12/69", "13/12/68"], "1969-12-13 00:00:00"),
        (["2011-12-09T08:26:00Z"], "2011-12-09 08:26:00"),
        (["2011-12-09 08:26:00.999 UTC"], "2011-12-09 08:26:00"),
        (["2011-12-09 08:26:00.123456+00"], "2011-12-09 08:26:00"),
        (["2011-12-09T08:26:00+0530"], "2011-12-09 02:56:00"),
        (["09.12.2011 08:26:00 +01:00"], "2011-12-09 07:26:00"),
        (["2011/12/09 08:26 PM"], "2011-12-09 20:26:00"),
        (["20111209T082600"], "2011-12-09 08:26:00"),
        (["2011-12-09, 8:26"], "2011-12-09 08:26:00"),
        (["9 December 2011", "10 Dec 2011 8:30 pm"], "2011-12-09 00:00:00"),
        (["Fri, 09 Dec 2011 08:26:00 GMT"], "2011-12-09 08:26:00"),
        (["01-Dec-11", "Dec 5, 2011"], "2011-12-01 00:00:00"),
        (["Dec 2011"], "2011-12-01 00:00:00"),
    ],
)
def test_dates_as_people_write_them(values, first):
    data = both(values)
    assert texts(data)[0] == first
    assert not data.report.notes


@pytest.mark.parametrize("text", ["01/02/2011", "1-2-2011 10:00", "01/02/11"])
def test_where_nothing_decides_the_order_it_is_noted_and_can_be_told(text):
    data = both([text, text])
    assert texts(data)[0].startswith("2011-01-02")
    assert f"dates such as {text!r} are read month first (2011-01-02" in noted(data)["date_order"]
    assert "give day_first=True" in noted(data)["date_order"]
    told = both([text, text], day_first=True)
    assert texts(told)[0].startswith("2011-02-01")
    assert not told.report.notes


def test_the_order_is_one_for_the_whole_column_never_one_for_each_row():
    values = ["25/02/2011", "13/01/2011", "01/02/2011", "03/14/2011"]
    with pytest.raises(InvalidDataError, match=r'"03/14/2011"'):
        ancf.read_interactions(frame(values))
    data = both(values, on_bad_rows="drop")
    assert texts(data)[-1] == "2011-02-01 00:00:00"
    assert "though others are not; if the month is first, give day_first=False" in noted(data)["date_order"]
    assert texts(both(values, on_bad_rows="drop", day_first=False)) == ["2011-01-02 00:00:00", "2011-03-14 00:00:00"]


NO_DATES = ["08:30", "8:30 PM", "01 Dec", "09/12", "now", "today", "5 minutes ago", "2011-W49-5", "2011-12-09 25:00"]
NO_DATES += [
    "2011-02-30",
    "2011-12-09 08:26 EST",
    "31.11.2011",
    "13/13/2011",
    "2011-12-09 13:00 PM",
    "\0" * 10,
    "1.2.3",
]


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_a_bad_row_and_never_a_day_of_today(text):
    data = ancf.read_interactions(frame(["2011-12-09", text]), on_bad_rows="drop")
    assert texts(data) == ["2011-12-09 00:00:00"]
    assert data.report.count("bad_time") == 1


def test_dates_of_all_centuries_are_read_and_those_far_away_noted():
    data = both(["2011-12-09", "9999-12-31", "1899-12-30", "0001-01-01"])
    assert texts(data)[1:] == ["9999-12-31 00:00:00", "1899-12-30 00:00:00", "0001-01-01 00:00:00"]
    assert noted(data)["far_times"].startswith("3 rows have a date before 1900 or after 2100, such as 9999-12-31")


# ---- Time zones


def test_times_with_a_zone_become_utc_and_those_without_are_taken_as_utc():
    aware = both(["2011-12-09T08:26:00+02:00", "2011-12-09T08:26:00-05:00"])
    assert texts(aware) == ["2011-12-09 06:26:00", "2011-12-09 13:26:00"]
    assert not aware.report.notes
    mixed = both(["2011-12-09T08:26:00+02:00", "2011-12-09T08:26:00"])
    assert texts(mixed) == ["2011-12-09 06:26:00", "2011-12-09 08:26:00"]
    assert "1 row has a time zone (converted to UTC) and others none (taken as UTC)" in noted(mixed)["time_zones"]


def test_aware_and_naive_datetimes_beside_each_other_are_told_too():
    zone = dt.timezone(dt.timedelta(hours=2))
    column = pd.Series([dt.datetime(2011, 12, 9, 8, 26, tzinfo=zone), dt.datetime(2011, 12, 9, 8, 26)], dtype=object)
    data = ancf.read_interactions(frame(column))
    assert texts(data) == ["2011-12-09 06:26:00", "2011-12-09 08:26:00"]
    assert "time_zones" in noted(data)
    whole = ancf.read_interactions(frame(MOMENTS.tz_localize("Europe/Berlin")))
    assert whole.times.tolist() == [second - 3600 for second in MOMENTS.as_unit("s").asi8.tolist()]


# ---- A date and a clock


@pytest.mark.parametrize(
    "clocks",
    [
        ["12:30", "08:00:00", "5:45 PM"],
        [dt.time(12, 30), dt.time(8), dt.time(17, 45)],
        [1230, 800, 1745],
        [123000, 80000, 174500],
        pd.to_timedelta(["12:30:00", "08:00:00", "17:45:00"]),
        [12.5 / 24, 8 / 24, 17.75 / 24],
    ],
)
@pytest.mark.parametrize("dates", [DAYS, [int(day.replace("-", "")) for day in DAYS], pd.to_datetime(DAYS)])
def test_a_date_and_a_clock_in_two_columns_are_one_moment(dates, clocks):
    table = frame(dates, time=clocks)
    data = ancf.read_interactions(table)
    assert data.times.tolist() == MOMENTS.as_unit("s").asi8.tolist()
    assert "time = date + time" in str(data.report)
    if not isinstance(clocks, pd.TimedeltaIndex):
        assert ancf.read_interactions(as_csv(table)).times.tolist() == data.times.tolist()
    named = frame(dates, "x", y=clocks)
    assert ancf.read_interactions(named, time=["x", "y"]).times.tolist() == data.times.tolist()
    assert ancf.read_interactions(named, time=[2, 3]).times.tolist() == data.times.tolist()


@pytest.mark.parametrize("other", ["10:00", "soon", "2011-12-01 10:00:00", "1323388800", ""])
def test_another_column_beside_a_full_time_is_left_alone(other):
    data = ancf.read_interactions(frame(["2011-12-09 08:30", "2011-12-09 08:31"], time=[other, other]))
    assert texts(data) == ["2011-12-09 08:30:00", "2011-12-09 08:31:00"]
    assert data.report.columns["time"] == "date"


def test_a_date_without_its_clock_is_a_bad_row():
    for table in (frame(DAYS, time=["08:30", "", "25:00"]), as_csv(frame(DAYS, time=["08:30", "", "25:00"]))):
        data = ancf.read_interactions(table, on_bad_rows="drop")
        assert texts(data) == ["2011-12-01 08:30:00"]
        assert data.report.reasons[0].values == ("2011-12-05 without a clock time", "2011-12-09 25:00")


# ---- Options


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (MOMENTS, {"time_unit": "s"}),
        (MOMENTS, {"day_first": True}),
        (MOMENTS, {"time_format": "%Y-%m-%d"}),
        (DAYS, {"time_unit": "ms"}),
        (DAYS, {"day_first": True}),
        (DAYS, {"time_format": "%d.%m.%Y"}),
        ([20111209], {"day_first": False}),
        (None, {"time_unit": "s"}),
        (None, {"day_first": False}),
        (None, {"time_format": "%Y"}),
        ([1, 2], {"time_unit": "hours"}),
        ([1, 2], {"day_first": "yes"}),
        ([1, 2], {"time_format": "ISO8601"}),
        ([1, 2], {"time_format": "%H:%M"}),
        ([1, 2], {"time_unit": "s", "day_first": True}),
    ],
)
def test_an_option_without_effect_or_meaning_is_refused_and_left_out_the_table_is_read(values, options):
    table = pd.DataFrame({"user": ["a"], "item": ["x"]}) if values is None else frame(values)
    for source in (table, as_csv(table)):
        with pytest.raises(InvalidParameterError, match=f"{next(iter(options))}="):
            ancf.read_interactions(source, **options)
    assert len(ancf.read_interactions(table)) == len(table)


@pytest.mark.parametrize(
    ("values", "form", "first"),
    [
        (["01122011", "09122011"], "%d%m%Y", "2011-12-01 00:00:00"),
        (["9/12 anno 2011", "10/12 anno 2011"], "%d/%m anno %Y", "2011-12-09 00:00:00"),
        (["2011-12-09 08h30", "n/a"], "%Y-%m-%d %Hh%M", "2011-12-09 08:30:00"),
        (["11.12.09"], "%y.%m.%d", "2011-12-09 00:00:00"),
    ],
)
def test_a_format_reads_what_has_it(values, form, first):
    for source in (frame(values), as_csv(frame(values))):
        assert texts(ancf.read_interactions(source, time_format=form, on_bad_rows="drop"))[0] == first


def test_a_format_of_digits_reads_numbers_that_lost_their_zeros():
    assert texts(both([1122011, 9122011], time_format="%d%m%Y"))[0] == "2011-12-01 00:00:00"


# ---- Remedies

UNREADABLE = {
    "clock": (["08:30", "09:30"], "a clock time without a date"),
    "no year": (["01 Dec", "05 Dec"], "a date without a year"),
    "no year, numbers": (["01/12", "05/12"], "a date without a year"),
    "words": (["never", "soon"], "is no date"),
    "booleans": ([True, False], "holds true and false"),
    "durations": (pd.to_timedelta([1, 2], unit="h"), "holds durations"),
    "complex": ([1j, 2j], "holds complex numbers"),
    "float32": (np.array([20111209, 20111201], np.float32), "float32"),
    "far": ([5_000_000_000, 6_000_000_000], "no date of the years 1900 to 2100"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_column_without_dates_can_be_left_out_as_its_error_says(kind):
    values, why = UNREADABLE[kind]
    with pytest.raises(InvalidDataError, match=why) as caught:
        ancf.read_interactions(frame(values))
    assert "'date'" in str(caught.value)
    assert "read without: time=False" in str(caught.value)
    assert ancf.read_interactions(frame(values), time=False).times is None


def test_a_clock_alone_is_read_with_the_column_of_its_date():
    table = pd.DataFrame({"user": ["a"], "item": ["x"], "time": ["08:30"], "on": ["2011-12-09"]})
    with pytest.raises(
        InvalidDataError, match=re.escape('Name the column of its date, too, as in time=["date", "time"]')
    ):
        ancf.read_interactions(table)
    assert texts(ancf.read_interactions(table, time=["on", "time"])) == ["2011-12-09 08:30:00"]


def test_a_unit_of_which_nothing_is_a_date_can_be_left_out_as_its_error_says():
    with pytest.raises(InvalidDataError, match=r"no date with time_unit='days'.* Leave time_unit= out"):
        ancf.read_interactions(frame([1_323_388_800]), time_unit="days")
    assert texts(ancf.read_interactions(frame([1_323_388_800]))) == ["2011-12-09 00:00:00"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"date": ["2011-12-09 10:00"], "x": ["08:30"]},
            "time=['date', 'x']: the column 'date' has clock times already",
        ),
        ({"date": ["2011-12-09"], "x": ["q"]}, "the column 'x' has no clock times (\"q\" in row 0)"),
    ],
)
def test_two_columns_that_are_no_date_and_clock_are_refused_and_one_alone_is_read(columns, said):
    table = pd.DataFrame({"user": ["a"], "item": ["x"], **columns})
    with pytest.raises(InvalidParameterError, match=re.escape(said)) as caught:
        ancf.read_interactions(table, time=["date", "x"])
    assert str(caught.value).endswith("time='date'.")
    assert ancf.read_interactions(table, time="date").times is not None
    with pytest.raises(InvalidParameterError, match=re.escape("give one column, or a date and a clock")):
        ancf.read_interactions(table, time=["date", "x", "y"])
    with pytest.raises(InvalidParameterError, match="time='y': DataFrame has no such column"):
        ancf.read_interactions(table, time=["date", "y"])


# ---- All spellings


SPELLINGS = {
    "ISO": lambda when: when.strftime("%Y-%m-%d %H:%M:%S"),
    "ISO with T and Z": lambda when: when.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO with a zone": lambda when: (when + pd.Timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    "dotted": lambda when: when.strftime("%d.%m.%Y %H:%M:%S"),
    "am and pm": lambda when: when.strftime("%d.%m.%Y %I:%M:%S %p"),
    "month names": lambda when: when.strftime("%d %b %Y %H:%M:%S"),
    "14 digits": lambda when: when.strftime("%Y%m%d%H%M%S"),
    "14 digits, whole": lambda when: when.strftime("%Y%m%d%H%M%S").astype("int64"),
    "14 digits, float": lambda when: when.strftime("%Y%m%d%H%M%S").astype("float64"),
    "seconds": lambda when: when.as_unit("s").asi8,
    "seconds, float": lambda when: when.as_unit("s").asi8.astype(float),
    "milliseconds": lambda when: when.as_unit("s").asi8 * 10**3,
    "microseconds": lambda when: when.as_unit("s").asi8 * 10**6,
    "nanoseconds": lambda when: when.as_unit("s").asi8 * 10**9,
    "seconds as text": lambda when: when.as_unit("s").asi8.astype(str),
    "datetime64": lambda when: when,
    "datetimes": lambda when: pd.Series(when.to_pydatetime(), dtype=object),
    "aware": lambda when: when.tz_localize("UTC").tz_convert("Asia/Tokyo"),
    "spreadsheet": serial,
    "two columns": lambda when: when.strftime("%Y-%m-%d"),
}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2035, 1, 1)), min_size=1, max_size=8), st.booleans())
def test_the_same_moments_in_any_spelling_are_the_same_times(moments, as_text):
    when = pd.DatetimeIndex(moments).floor("s")
    expected = when.as_unit("s").asi8.tolist()
    for name, spell in SPELLINGS.items():
        table = frame(spell(when))
        if name == "two columns":
            table["time"] = when.strftime("%H:%M:%S")
        assert ancf.read_interactions(as_csv(table) if as_text else table).times.tolist() == expected, name
        if name != "two columns":
            ids = table["user"]
            assert ancf.Interactions.from_ids(ids, ids, time=table["date"]).times.tolist() == expected, name


@settings(max_examples=12, deadline=None)
@given(st.lists(st.dates(dt.date(1990, 1, 1), dt.date(2035, 1, 1)), min_size=1, max_size=8), st.booleans())
def test_the_same_days_in_any_spelling_are_the_same_times(days, as_text):
    when = pd.DatetimeIndex(days)
    expected = when.as_unit("s").asi8.tolist()
    digits = when.strftime("%Y%m%d")
    spelled = [digits, digits.astype("int64"), digits.astype(float), days, when.strftime("%d.%m.%Y"), serial(when)]
    for values in [*spelled, when.strftime("%Y-%m-%d"), when.strftime("%Y/%m/%d")]:
        table = frame(values)
        assert ancf.read_interactions(as_csv(table) if as_text else table).times.tolist() == expected
    ordered = frame(when.strftime("%d/%m/%Y"))
    assert ancf.read_interactions(as_csv(ordered) if as_text else ordered, day_first=True).times.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.datetimes(), st.none()), max_size=6))
def test_any_column_is_read_or_refused_and_no_time_is_silently_a_limit(values):
    try:
        times = timestamps.read_column(pd.Series(values, dtype=object), timestamps.NO_TIME_OPTIONS, "time")
    except ancf.AncfError:
        return
    known = times.seconds[times.seconds != timestamps.UNKNOWN]
    assert ((known >= -62_135_683_200 - 86_400) & (known < 253_402_300_800 + 86_400)).all()
