"""``ancf.read_interactions`` on what engines hold: the same bits from every door, and the same account."""

import numpy as np
import pandas as pd
import pytest

import ancf


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    n = 5000
    return pd.DataFrame(
        {
            "customer": [None if u % 50 == 0 else f"c{u}" for u in rng.integers(0, 400, n)],
            "sku": [f"p{i:03d}" for i in rng.integers(0, 90, n)],
            "qty": rng.integers(-1, 6, n),
            "day": pd.Timestamp("2024-03-30 22:00") + pd.to_timedelta(rng.integers(0, 3 * 86_400, n), unit="s"),
            "note": "nobody needs this",
        }
    )


def account(data):
    return [(each.name, each.rows, list(each.first_rows)) for each in (*data.report.reasons, *data.report.notes)]


def test_a_duckdb_relation_gives_the_bits_of_the_frame(table, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    table.to_parquet(tmp_path / "sales.parquet", row_group_size=1000)
    expected = ancf.read_interactions(table)
    relation = duckdb.sql(f"select * from '{tmp_path}/sales.parquet'")
    for source in (relation, tmp_path / "sales.parquet"):
        data = ancf.read_interactions(source)
        assert data.fingerprint() == expected.fingerprint()
        assert account(data) == account(expected)
        assert data.report.ignored == ("note",)


def test_a_spark_frame_gives_the_bits_of_the_frame_whatever_its_zone(spark, table):
    # An hour of the last of March 2024 does not exist in Berlin, and moments are moments all the same.
    expected = ancf.read_interactions(table)
    rows = table.assign(seconds=table.day.astype("datetime64[s]").astype(np.int64)).drop(columns="day")
    frame = spark.createDataFrame(rows.astype(object).where(rows.notna(), None).values.tolist(), list(rows.columns))
    frame = frame.selectExpr("customer", "sku", "qty", "timestamp_seconds(seconds) as day", "note").coalesce(1)
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        data = ancf.read_interactions(frame)
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    assert data.fingerprint() == expected.fingerprint()
    assert account(data) == account(expected)
    with pytest.raises(ancf.InvalidDataError, match="there are no rows"):
        ancf.read_interactions(frame.limit(0))
