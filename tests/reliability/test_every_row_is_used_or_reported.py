"""P17: no purchase is lost silently. Rows read = rows used + rows reported by reason, for any dirty table.

The tables are drawn with every kind of dirt at once; a plain Python reading of the same rows, one at a time, says what
must come out.
"""

import io
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.errors import InvalidDataError

USERS = st.sampled_from(["17850", "007", "7", "é", " 12 ", "", "-1", "-1.0", "NaN", "None", "x y"])
ITEMS = st.sampled_from(["85123A", "71053", "071053", "", "nan", "-1", "ü,1", 'q"1'])
WEIGHTS = st.sampled_from(["1", "2", "-1", "-2", "0", "3.5", "0.0", "", "n/a", "12 pcs", "inf", "nan", " 4 "])
TIMES = st.sampled_from(
    ["2020-01-01", "2020-01-02 10:00:00", "2020-01-03T11:00", "2020-01-04 10:00:00+00:00", "", "soon"]
)
ROWS = st.lists(st.tuples(USERS, ITEMS, WEIGHTS, TIMES), min_size=1, max_size=30)
MISSING = {"", "-1", "-1.0", "nan", "none"}


def expected(rows, anonymous, returns):
    """The events (user, item, time) → weight, and the number of rows used, by a loop over the rows."""
    good = []
    for at, (user, item, weight, time) in enumerate(rows):
        user, item = user.strip(), item.strip()
        if item.lower() in MISSING:
            continue
        if user.lower() in MISSING:
            if anonymous == "exclude":
                continue
            user = "anonymous"
        try:
            quantity = float(weight)
        except ValueError:
            continue
        stamp = pd.to_datetime(time, errors="coerce", utc=True)
        if not math.isfinite(quantity) or pd.isna(stamp) or quantity == 0:
            continue
        if quantity < 0 and returns == "drop":
            continue
        good.append([user, item, int(stamp.timestamp()), quantity, at])
    if returns == "net":
        left = []
        for event in sorted(good, key=lambda row: (row[0], row[1], row[2], row[3] < 0, row[4])):
            if event[3] > 0:
                left.append(event)
                continue
            back = -event[3]
            for earlier in reversed([each for each in left if each[:2] == event[:2]]):
                taken = min(back, earlier[3])
                earlier[3] -= taken
                back -= taken
        good = [event for event in left if event[3] > 0]
    events = {}
    for user, item, stamp, quantity, _ in good:
        events[user, item, stamp] = events.get((user, item, stamp), 0.0) + quantity
    return events, len(good)


def to_csv(rows, delimiter=","):
    out = io.StringIO()
    table = pd.DataFrame(rows, columns=["customer_id", "sku", "qty", "date"])
    table.to_csv(out, index=False, sep=delimiter)
    return out.getvalue().encode()


def events_of(data):
    ids = zip(data.user_ids.take(data.users), data.item_ids.take(data.items), data.times.tolist(), strict=True)
    return dict(zip(ids, data.weights.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    st.sampled_from(["exclude", "group"]),
    st.sampled_from(["net", "drop", "keep"]),
    st.sampled_from([",", ";", "\t"]),
)
def test_rows_of_a_file_are_used_or_reported(rows, anonymous, returns, delimiter):
    wanted, used = expected(rows, anonymous, returns)
    options = {"anonymous": anonymous, "returns": returns, "on_bad_rows": "drop"}
    if not wanted or all(pd.isna(pd.to_datetime(row[3], errors="coerce", utc=True)) for row in rows):
        with pytest.raises(InvalidDataError):
            ancf.read_interactions(io.BytesIO(to_csv(rows, delimiter)), **options)
        return
    data = ancf.read_interactions(io.BytesIO(to_csv(rows, delimiter)), **options)
    report = data.report
    assert report.rows_read == len(rows)
    assert report.rows_read == report.rows_used + sum(reason.rows for reason in report.reasons)
    assert report.rows_used == used
    assert events_of(data) == pytest.approx(wanted, rel=1e-6)
    for reason in report.reasons:
        assert list(reason.first_rows) == sorted(set(reason.first_rows))
        assert all(2 <= row < 2 + len(rows) for row in reason.first_rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from(["net", "keep"]))
def test_a_data_frame_says_the_same_as_its_file(rows, returns):
    frame = pd.DataFrame(rows, columns=["customer_id", "sku", "qty", "date"])
    outcomes = []
    for source in (io.BytesIO(to_csv(rows)), frame, frame.astype("category"), frame.astype(object).where(frame != "")):
        try:
            data = ancf.read_interactions(source, returns=returns, on_bad_rows="drop")
        except InvalidDataError:
            outcomes.append(None)
        else:
            counts = {reason.name: reason.rows for reason in data.report.reasons}
            outcomes.append((data.fingerprint(), data.report.rows_used, counts))
    assert outcomes[1:] == outcomes[:1] * 3


EVENTS = st.tuples(
    st.just("a"),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["1", "2", "5", "-1", "-2", "-7", "0.5"]),
    st.sampled_from(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_returns_take_back_the_latest_purchases_before_them(rows):
    wanted, used = expected(rows, "exclude", "net")
    if not wanted:
        with pytest.raises(InvalidDataError, match="none of"):
            ancf.read_interactions(io.BytesIO(to_csv(rows)))
        return
    data = ancf.read_interactions(io.BytesIO(to_csv(rows)))
    assert events_of(data) == pytest.approx(wanted)
    assert data.report.rows_used == used
    assert data.report.count("returns") == sum(row[2].startswith("-") for row in rows)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_change_the_interactions(rows, random):
    shuffled = rows[:]
    random.shuffle(shuffled)
    outcomes = []
    for table in (rows, shuffled):
        try:
            data = ancf.read_interactions(io.BytesIO(to_csv(table)), returns="drop", on_bad_rows="drop")
            outcomes.append(data.fingerprint())
        except InvalidDataError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_strict_reads_only_what_needs_no_decision(rows):
    lenient = None
    try:
        lenient = ancf.read_interactions(io.BytesIO(to_csv(rows)))
    except InvalidDataError:
        with pytest.raises(InvalidDataError):
            ancf.read_interactions(io.BytesIO(to_csv(rows)), strict=True)
        return
    if lenient.report.reasons or lenient.report.notes:
        with pytest.raises(InvalidDataError, match="strict=True"):
            ancf.read_interactions(io.BytesIO(to_csv(rows)), strict=True)
    else:
        assert ancf.read_interactions(io.BytesIO(to_csv(rows)), strict=True).fingerprint() == lenient.fingerprint()
