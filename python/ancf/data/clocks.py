"""A date in one column and its clock time in another: one moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.number_times import SECONDS_PER_DAY, UNKNOWN
from ancf.data.raw_table import MAX_UNPARSED_TEXTS, RawTable, TimeColumn, Unparsed
from ancf.data.text_times import read_clocks
from ancf.data.timestamps import texts_of
from ancf.errors import InvalidParameterError


@dataclass
class Clock:
    """Seconds after midnight, ``UNKNOWN`` where there is no time of day, and how to show the text of a row."""

    seconds: NDArray[np.int64]
    text_of: Callable[[int], str]


def clock_of_column(column: "pd.Series[Any]") -> Clock:
    """A pandas column: text, times of day, durations since midnight, fractions of a day, or numbers such as 830."""

    def text_of(row: int) -> str:
        value = column.iloc[row]
        return "" if pd.isna(value) else str(value)

    dtype = column.dtype
    if pd.api.types.is_timedelta64_dtype(dtype):
        durations = column.dt.total_seconds().to_numpy()
        return Clock(_fractions(durations / SECONDS_PER_DAY), text_of)
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype) and dtype.kind != "c":
        return Clock(_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan)), text_of)
    values: Any = column
    codes, distinct = pd.factorize(values.to_numpy(dtype=object, na_value=None))
    return Clock(clock_of_texts(codes, texts_of(list(distinct))).seconds, text_of)


def clock_of_texts(codes: NDArray[Any], texts: Sequence[str]) -> Clock:
    """A column of texts, ``texts[code]`` in each row."""
    stripped = [text.strip() for text in texts]
    seconds = read_clocks(stripped)
    if len(seconds) and (seconds == UNKNOWN).all():
        numbers = pd.to_numeric(pd.Series(stripped, dtype=object), errors="coerce").to_numpy(np.float64)
        seconds = _numbers(numbers)
    return Clock(np.append(seconds, UNKNOWN)[codes], lambda row: "" if codes[row] < 0 else texts[codes[row]])


def _fractions(days: NDArray[np.float64]) -> NDArray[np.int64]:
    good = (days >= 0) & (days < 1)
    seconds = np.floor(np.where(good, days, 0) * SECONDS_PER_DAY + 0.5).astype(np.int64)
    return np.where(good, np.minimum(seconds, SECONDS_PER_DAY - 1), UNKNOWN)


def _numbers(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fractions of a day as spreadsheets have them, or HHMM, or HHMMSS where some need six digits."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite) or finite.min() < 0:
        return np.full(len(numbers), UNKNOWN)
    if finite.max() < 1:
        return _fractions(numbers)
    if finite.max() < 100 or (finite != np.floor(finite)).any():
        return np.full(len(numbers), UNKNOWN)
    digits = np.where(np.isfinite(numbers), numbers, -1).astype(np.int64)
    digits = digits * 100 if finite.max() < 2400 else digits
    hour, minute, second = digits // 10_000, digits // 100 % 100, digits % 100
    good = (digits >= 0) & (hour < 24) & (minute < 60) & (second < 60)
    return np.where(good, hour * 3600 + minute * 60 + second, UNKNOWN)


def add_clock(table: RawTable, clock: Clock, *, explicit: bool) -> None:
    """Add a clock to the dates of a table; a column that was only recognized must have nothing but clock times, beside
    dates that have none.

    Raises
    ------
    InvalidParameterError
        If the columns were named and one of them is something else.
    """
    heading = table.columns.pop("clock")
    if table.time is None:
        return
    dates, own = table.time, table.columns["time"]
    dated, clocked = dates.seconds != UNKNOWN, clock.seconds != UNKNOWN
    has_clock = bool((dates.seconds[dated] % SECONDS_PER_DAY).any())
    if explicit and (has_clock or not clocked.any()):
        row = 0 if has_clock or table.n_rows == 0 else int(np.argmin(clocked))
        what = (
            f"the column {own!r} has clock times already. Name it alone: time={own!r}"
            if has_clock
            else f'the column {heading!r} has no clock times ("{clock.text_of(row)}" in row {row + table.row_base}). '
            f"Leave it out: time={own!r}"
        )
        raise InvalidParameterError(f"time={[own, heading]!r}: {what}.")
    if not explicit and (has_clock or not dated.any() or not clocked[dated].any()):
        return
    both = dated & clocked
    seconds = np.where(both, dates.seconds + np.where(clocked, clock.seconds, 0), UNKNOWN)
    rows = np.flatnonzero(~both)
    kept = dict(zip(dates.unparsed.rows.tolist(), dates.unparsed.texts, strict=False))
    texts = []
    for row in rows[:MAX_UNPARSED_TEXTS].tolist():
        date = str(np.datetime64(int(dates.seconds[row]), "s"))[:10] if dated[row] else kept.get(row, "")
        texts.append(f"{date} {clock.text_of(row).strip() or 'without a clock time'}")
    table.time = TimeColumn(seconds, Unparsed(rows, texts), dates.options)
    table.columns["time"] = f"{own} + {heading}"
