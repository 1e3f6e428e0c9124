"""The range of time of a table: robust against a few wrong dates, which the report names."""

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.data.time_range import SECONDS_PER_DAY, TimeRange

START = int(pd.Timestamp("2024-01-01").timestamp())


def _year(n: int, seed: int = 0) -> np.ndarray:
    return START + np.random.default_rng(seed).integers(0, 365 * SECONDS_PER_DAY, n)


def _table(times: np.ndarray) -> pd.DataFrame:
    n = len(times)
    return pd.DataFrame(
        {"user_id": np.arange(n) % 50, "item_id": np.arange(n) % 31, "date": pd.to_datetime(times, unit="s")}
    )


@pytest.mark.parametrize("wrong", ["2034-01-10", "2111-11-05", "9999-12-31"])
@pytest.mark.parametrize("n", [60, 999, 1000, 5500, 20_000])
def test_the_end_does_not_move_for_one_row_in_a_thousand(n: int, wrong: str) -> None:
    times = _year(n)
    bad = times.copy()
    bad[: max(n // 1000, 1)] = int(np.datetime64(wrong, "s").astype(np.int64))
    moved = TimeRange.from_times(bad).end - TimeRange.from_times(times).end
    spacing = 365 * SECONDS_PER_DAY / n
    assert 0 <= moved < 40 * spacing
    assert TimeRange.from_times(bad).strays(bad).sum() == max(n // 1000, 1)


@pytest.mark.parametrize("n", [1, 2, 19, 60, 300, 5500, 20_000])
def test_a_clean_table_has_no_stray_events(n: int) -> None:
    for seed in range(20):
        times = _year(n, seed)
        assert not TimeRange.from_times(times).strays(times).any()


def test_the_last_days_before_a_deadline_are_no_strays() -> None:
    """A thousandth of a large table is its last hours: near the end, and no error of anybody."""
    times = np.concatenate([_year(100_000), START + 365 * SECONDS_PER_DAY + np.arange(50) * 3600])
    assert not TimeRange.from_times(times).strays(times).any()


def test_the_report_names_the_rows_that_lie_after_all_others() -> None:
    times = _year(2000)
    times[17] = START + (365 + 400) * SECONDS_PER_DAY
    report = ancf.read_interactions(_table(times)).report
    note = next(note for note in report.notes if note.name == "late_times")
    last = np.delete(times, 17).max()
    assert (note.rows, note.first_rows) == (1, (17,))
    assert str(note) == f'1 row lies {round((times[17] - last) / 86400)} days after all others (row 17: "2026-02-04")'
    assert str(note) in str(report)


def test_a_row_is_noted_for_its_date_once() -> None:
    """9999-12-31 is far from all others because it is no date of a purchase at all; the row has that note alone."""
    times = pd.Series(pd.to_datetime(_year(5000), unit="s").strftime("%Y-%m-%d"))
    times[[17, 3000]] = ["9999-12-31", "2026-02-04"]
    report = ancf.read_interactions(pd.DataFrame({"user": range(5000), "item": "tea", "day": times})).report
    rows = {note.name: note.first_rows for note in report.notes}
    assert rows == {"far_times": (17,), "late_times": (3000,)}


def test_the_report_names_the_rows_that_lie_before_all_others() -> None:
    times = _year(5000)
    times[[40, 9, 333]] = [0, 5, 86400]
    report = ancf.read_interactions(_table(times)).report
    note = next(note for note in report.notes if note.name == "early_times")
    assert note.first_rows == (9, 40, 333)
    assert note.values == ("1970-01-01", "1970-01-01", "1970-01-02")
    assert "3 rows lie at least 19,7" in str(note)


def test_a_table_without_strays_has_no_note_of_them() -> None:
    report = ancf.read_interactions(_table(_year(2000))).report
    assert not [note for note in report.notes if note.name in ("late_times", "early_times")]


def test_rows_that_are_left_out_do_not_shift_the_row_numbers_of_strays() -> None:
    times = _year(2000)
    times[1200] = START + 2000 * SECONDS_PER_DAY
    table = _table(times).assign(quantity=1)
    table.loc[:9, "quantity"] = 0
    report = ancf.read_interactions(table).report
    assert next(note for note in report.notes if note.name == "late_times").first_rows == (1200,)


def test_strict_reading_refuses_a_table_with_a_stray_date() -> None:
    times = _year(2000)
    times[3] = START + 2000 * SECONDS_PER_DAY
    table = _table(times).drop_duplicates(["user_id", "item_id", "date"])
    with pytest.raises(ancf.InvalidDataError, match=r"1 row lies 1,6\d\d days after all others"):
        ancf.read_interactions(table, strict=True)
