"""With ``max_memory=`` rows wait on the disk, and nothing else is different: the same bits, the same account."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ancf
from ancf.data import spill, spilled_text

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """A budget that holds three rows at a time, so that every table is read in parts."""
    monkeypatch.setattr(spill.Budget, "rows", property(lambda self: 3))
    monkeypatch.setattr(spill, "BYTES_PER_ROW", 1)

    def pieces(blocks):
        text = b"".join(blocks)
        return (text[at : at + 50] for at in range(0, len(text), 50))

    monkeypatch.setattr(spilled_text, "prefetch", pieces)


def outcome(source, **options):
    """What is read, or the error, as something that can be compared."""
    try:
        data = ancf.read_interactions(source(), **options)
    except ancf.AncfError as error:
        return type(error).__name__, str(error)
    arrays = [data.users, data.items, data.weights, data.times]
    return (
        data.fingerprint(),
        [None if each is None else (each.dtype.str, each.tobytes()) for each in arrays],
        [None if each is None else each.tolist() for each in (data.item_names, data.item_categories)],
        data.report.to_dict(),
        str(data.report),
        data.event_weights,
        data.normalize,
    )


def assert_same(source, **options):
    assert outcome(source, **options, max_memory="64MB") == outcome(source, **options)


ROWS = st.tuples(
    st.sampled_from(["ann", "bob", " cleo", "", "NA", "dora", "x1", "7"]),
    st.sampled_from(["tea", "cup", "POST", "", "pot", "Zé"]),
    st.sampled_from(["Tea", "Cup", "?", "", "Tea (new)"]),
    st.sampled_from(["Food", "Home", ""]),
    st.sampled_from(["1", "2", "-1", "3.5", "0", "-2", "", "many", "2"]),
    st.sampled_from(["2020-01-02", "2020-01-03 10:00:00", "2020-01-02", "2019-05-06 07:08:09", "2051-01-01", "n/a"]),
    st.sampled_from(["b1", "b2", "b3", ""]),
    st.sampled_from(["view", "buy", "cart", "remove", "odd"]),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "anonymous": st.sampled_from(["exclude", "group", "baskets"]),
        "returns": st.sampled_from(["net", "drop", "keep"]),
        "strict": st.booleans(),
        "exclude_items": st.sampled_from(["POST", ("tea", "none*"), re.compile("^c")]),
        "min_weight": st.sampled_from([1.5, 2]),
        "min_user_events": st.integers(1, 3),
        "min_item_events": st.integers(1, 3),
        "event": st.just(False),
        "weight": st.just(False),
        "time": st.just(False),
        "normalize": st.just("log"),
    },
)
# What stands among rows, and rows that are none.
ODD_LINES = st.sampled_from(
    [
        "",
        "# remark, and more",
        "customer,sku,product_name,category,qty,date,invoice,event_type",
        "ann,tea,Tea,Food,1,2020-01-02,b1,view,too,many",
        '"ann\nsmith","te""a",Tea,Food,1,2020-01-02,b1,view',
        "ann",
        "b\0b,tea,Tea,Food,1,2020-01-02,b1,view",
        "café,tea,Tea,Food,1,2020-01-02T10:00:00Z,b1,view",
        "cafe\u0301,tea,Tea,Food,1e39,2020-01-02T10:00:00+01:00,b1,view",
        "12.0,tea,Tea,Food,1,20200102,b1,buy",
        "13.0,tea,Tea,Food,1,1577960000,b1,buy",
    ]
)
HEAD = "customer,sku,product_name,category,qty,date,invoice,event_type"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROWS, max_size=24), options=OPTIONS, on_bad_rows=st.sampled_from(["drop", "drop", "raise"]))
def test_any_text_table_is_read_to_the_same_bits(rows, options, on_bad_rows):
    text = "\n".join([HEAD, *map(",".join, rows)]).encode()
    assert_same(lambda: io.BytesIO(text), **options, on_bad_rows=on_bad_rows)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.one_of(ROWS.map(",".join), ODD_LINES), max_size=24),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
    options=OPTIONS,
    more=st.sampled_from([{}, {"comment": "#"}, {"day_first": True}, {"time_format": "%Y-%m-%d"}, {"missing": ()}]),
    on_bad_rows=st.sampled_from(["drop", "drop", "raise"]),
)
def test_any_lines_among_the_rows_are_accounted_for_alike(rows, encoding, options, more, on_bad_rows):
    text = "\n".join([HEAD, *rows]).encode(encoding, "replace")
    assert_same(lambda: io.BytesIO(text), **{**options, **more}, on_bad_rows=on_bad_rows)


TIMES = {
    "ISO": ["2020-01-02", "2020-01-03 04:05:06", "2021-05-06"],
    "zones": ["2020-01-02T10:00:00Z", "2020-01-02T10:00:00+02:00", "2020-01-02"],
    "slashes": ["13/02/2020", "01/02/2020", "02/01/2020"],
    "seconds": ["1577960000", "1577960001", "0"],
    "digits": ["20200102", "20200103", "nothing"],
    "years": ["2019", "2020", "2021"],
    "far": ["1850-01-01", "2150-02-03", "2020-01-01"],
}


@pytest.mark.parametrize("kind", TIMES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_times_of_every_kind_are_read_alike(kind, data):
    times = data.draw(st.lists(st.sampled_from(TIMES[kind]), min_size=1, max_size=20))
    text = "\n".join(["user,item,time", *(f"u{at % 3},i{at % 4},{time}" for at, time in enumerate(times))]).encode()
    assert_same(lambda: io.BytesIO(text), on_bad_rows="drop")
    lines = "\n".join(json.dumps({"user": "u", "item": at % 3, "time": time}) for at, time in enumerate(times)).encode()
    assert_same(lambda: io.BytesIO(lines), on_bad_rows="drop")


def frame_of(rows):
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "name", "category", "qty", "time", "basket", "event"])
    frame["qty"] = pd.to_numeric(frame["qty"], errors="coerce")
    frame["time"] = pd.to_datetime(frame["time"], errors="coerce", format="mixed")
    return frame


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(ROWS, min_size=1, max_size=24),
    options=OPTIONS,
    change=st.sampled_from(
        ["", "number ids", "float ids", "text times", "text weights", "numbers as times", "decimals"]
    ),
)
def test_any_arrow_table_and_parquet_file_is_read_to_the_same_bits(tmp_path, rows, options, change):
    pa = pytest.importorskip("pyarrow")
    frame = frame_of(rows)
    if change == "number ids":
        frame["user_id"] = (frame["user_id"].str.len() - 1).astype("Int64").where(frame["user_id"] != "NA")
    elif change == "float ids":
        frame["item_id"] = frame["item_id"].str.len().astype(float).where(frame["item_id"] != "")
    elif change == "text times":
        frame["time"] = frame["time"].astype(str)
    elif change == "text weights":
        frame["qty"] = frame["qty"].astype(str)
    elif change == "numbers as times":
        frame["time"] = [20200101 + at % 20 for at in range(len(frame))]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if change == "decimals":
        table = table.set_column(4, "qty", table["qty"].cast(pa.decimal128(30, 2)))
    batches = table.to_batches(max_chunksize=4)
    assert_same(lambda: pa.RecordBatchReader.from_batches(table.schema, batches), **options, on_bad_rows="drop")
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    pa.parquet.write_table(table.slice(0, 9), folder / "a.parquet", row_group_size=5)
    pa.parquet.write_table(table.slice(9), folder / "b.parquet", row_group_size=5)
    assert_same(lambda: folder / "a.parquet", **options, on_bad_rows="drop")
    if len(table) > 9:
        assert_same(lambda: folder, **options, on_bad_rows="drop")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.lists(ROWS, max_size=9), min_size=2, max_size=3), options=OPTIONS)
def test_several_files_are_read_to_the_same_bits(tmp_path, rows, options):
    for at, part in enumerate(rows):
        (tmp_path / f"{at}.csv").write_text("\n".join([HEAD, *map(",".join, part)]), encoding="utf-8")
    assert_same(lambda: sorted(tmp_path.glob("*.csv"))[: len(rows)], **options, on_bad_rows="drop")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, -1, 10**12]),
            st.integers(1, 6),
            st.sampled_from([1.0, 2.5, -1.0, 0.0, np.nan]),
            st.integers(-3, 3).map(lambda day: pd.Timestamp("2020-01-05") + pd.Timedelta(days=day)),
        ),
        min_size=1,
        max_size=30,
    ),
    options=OPTIONS,
)
def test_any_data_frame_is_read_to_the_same_bits(rows, options):
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "time"])
    assert_same(lambda: frame, **options, on_bad_rows="drop")
