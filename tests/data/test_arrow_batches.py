"""Tables of Arrow, however their rows come in: the same interactions and the same account as the frame they hold."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.data import arrow_batches

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


def account(data):
    return [(each.name, each.rows, each.text, list(each.first_rows)) for each in data.report.reasons]


def notes(data):
    return [(each.name, each.rows, each.text) for each in data.report.notes]


@pytest.fixture
def small_batches(monkeypatch):
    """As many joins of dictionaries as a table of a thousand rows can have."""
    monkeypatch.setattr(arrow_batches, "_BATCH_ROWS", 7)
    monkeypatch.setattr(arrow_batches, "_MIN_PENDING", 3)


IDS = {
    "text": st.sampled_from(["ann", "bob", " ann", "-1", "", "öl", "zoë", "7", None]),
    "number": st.sampled_from([1, 2, 2**53 + 1, 2**53 + 3, -1, None]),
}
TYPES = {
    "text": [
        *(pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()),
        *(pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), pyarrow.dictionary(pyarrow.uint32(), pyarrow.string())),
    ],
    "number": [pyarrow.int64()],
}


@st.composite
def tables(draw):
    n = draw(st.integers(1, 60))

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    user, item = draw(st.sampled_from([*IDS])), draw(st.sampled_from([*IDS]))
    kinds = {"user": draw(st.sampled_from(TYPES[user])), "item": draw(st.sampled_from(TYPES[item]))}
    moments = st.sampled_from([1_700_000_000, 1_700_000_001, 1_400_000_000, None])
    seconds = pyarrow.array(column(moments), pyarrow.timestamp("s", draw(st.sampled_from([None, "Europe/Berlin"]))))
    quantities = st.sampled_from([1, 2, -1, 0, None])
    return pyarrow.table(
        {
            "user": pyarrow.array(column(IDS[user]), kinds["user"]),
            "item": pyarrow.array(column(IDS[item]), kinds["item"]),
            "qty": pyarrow.array(column(quantities), draw(st.sampled_from([pyarrow.int32(), pyarrow.float64()]))),
            "day": seconds,
            "description": pyarrow.array(column(st.sampled_from(["Tea", " Tea", "Cup", None])), pyarrow.string()),
        }
    )


def plain(table):
    """The same as a data frame that went another way: Python's objects."""
    columns = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        if name == "day":
            columns[name] = pd.Series(pd.to_datetime([v and v.timestamp() for v in naive(values)], unit="s"))
        elif name == "qty":
            columns[name] = pd.Series(values, dtype="Float64").astype("float64")
        else:
            columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


def naive(values):
    """Moments as such, of which those without a zone are in UTC."""
    from datetime import UTC

    return [v if v is None or v.tzinfo else v.replace(tzinfo=UTC) for v in values]


def outcome(source):
    try:
        data = ancf.read_interactions(source, on_bad_rows="drop", returns="net")
    except ancf.InvalidDataError as error:
        return type(error)
    names = None if data.item_names is None else data.item_names.tolist()
    return data.fingerprint(), names, account(data), notes(data)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(1, 40))
def test_every_cut_of_a_table_into_batches_gives_the_same_interactions_and_account(table, rows):
    sizes = (arrow_batches._BATCH_ROWS, arrow_batches._MIN_PENDING)
    arrow_batches._BATCH_ROWS, arrow_batches._MIN_PENDING = rows, 2
    try:
        cut = pyarrow.Table.from_batches(table.to_batches(max_chunksize=rows))
        found = outcome(cut)
    finally:
        arrow_batches._BATCH_ROWS, arrow_batches._MIN_PENDING = sizes
    assert found == outcome(plain(table))


def test_row_groups_of_a_parquet_file_are_one_table(tmp_path, small_batches):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "user": [f"u{each}" for each in rng.integers(0, 90, 1000)],
            "item": rng.integers(0, 70, 1000),
            "qty": rng.integers(1, 4, 1000),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 1000), unit="s"),
        }
    )
    expected = ancf.read_interactions(frame)
    frame.to_parquet(tmp_path / "p.parquet", row_group_size=50)
    for source in (
        tmp_path / "p.parquet",
        pyarrow.Table.from_pandas(frame),
        pyarrow.Table.from_pandas(frame).to_reader(),
    ):
        assert ancf.read_interactions(source).fingerprint() == expected.fingerprint()


def test_a_stream_is_read_once_and_only_where_it_is_needed():
    seen = []

    def batches():
        for at in range(3):
            seen.append(at)
            yield pyarrow.record_batch({"user": [at, at], "item": ["a", "b"], "more": [1, 2]})

    reader = pyarrow.RecordBatchReader.from_batches(next(batches()).schema, batches())
    seen.clear()
    data = ancf.read_interactions(reader)
    assert (len(data), seen, data.report.ignored) == (6, [0, 1, 2], ("more",))


def test_a_table_in_arrow_takes_at_most_80_bytes_a_row_while_it_is_read(tmp_path):
    import subprocess
    import sys

    n = 1_000_000
    rng = np.random.default_rng(2)
    pyarrow.parquet.write_table(
        pyarrow.table(
            {
                "user": pyarrow.array([f"u{each}" for each in rng.integers(0, 20_000, n)]),
                "item": rng.integers(0, 5_000, n),
                "qty": rng.integers(1, 4, n),
                "ts": pyarrow.array(rng.integers(1.6e9, 1.7e9, n)).cast(pyarrow.timestamp("s")),
            }
        ),
        tmp_path / "p.parquet",
        row_group_size=100_000,
    )
    # What imports and the first table of Arrow take is there before.
    script = (
        "import sys, resource, pyarrow as pa, pyarrow.parquet, ancf\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "ancf.read_interactions(pa.table({'user': ['a'], 'item': [1], 'qty': [1]}))\n"
        "before = peak()\n"
        "data = ancf.read_interactions(sys.argv[1])\n"
        "print((peak() - before) / data.report.rows_read)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "p.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 80


@pytest.mark.parametrize("packed", ["none", "snappy"])
def test_texts_of_a_large_dictionary_give_what_those_of_a_small_one_give(tmp_path, packed):
    users = [f"customer-{at % 5000}-{'x' * 60}" for at in range(7000)]
    users[::50] = [None] * len(users[::50])
    users[1:4] = ["two\nlines", "", "öl"]
    table = pyarrow.table({"user": users, "item": [f"i{at % 9}" for at in range(7000)]})
    pyarrow.parquet.write_table(table, tmp_path / "large.parquet", compression=packed, row_group_size=4000)
    pyarrow.parquet.write_table(table, tmp_path / "small.parquet", use_dictionary=["item"], row_group_size=50)
    metadata = pyarrow.parquet.read_metadata(tmp_path / "large.parquet")
    assert arrow_batches._large_dictionaries(metadata) == ({"user"} if packed == "none" else set())
    frames = (tmp_path / "large.parquet", tmp_path / "small.parquet", table, table.slice(0, 7000), table.to_pandas())
    found = [outcome(each) for each in frames]
    assert all(each == found[0] for each in found)
    assert "two\nlines" in ancf.read_interactions(frames[0]).user_ids
