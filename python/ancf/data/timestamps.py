"""Timestamps from whatever a table calls a date: seconds since 1970-01-01 UTC.

Text is read once per distinct value. ISO 8601 is tried first; then day-first or month-first by what the values allow
(``25/12/2010`` cannot be month-first), month-first where nothing decides, as in the United States, with a note.
Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ancf.errors import InvalidDataError

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a timestamp that is missing or could not be read."""

_COMPACT_DATE = re.compile(r"(19|20)\d{6}")
_NUMERIC_DATE = re.compile(r"\s*(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{2,4})\b")


def from_texts(texts: Sequence[str]) -> tuple[NDArray[np.int64], str]:
    """Seconds of each distinct text (``UNKNOWN`` where unreadable), and a note where day and month were guessed.

    Examples
    --------
    >>> from_texts(["2010-12-01 08:26:00", "soon"])[0].tolist() == [1291191960, UNKNOWN]
    True
    """
    # pandas takes zero bytes for the end of a date, and for one in the year 1 where nothing stands before them.
    stripped = ["" if "\0" in text else text.strip() for text in texts]
    numbers = pd.to_numeric(pd.Series(stripped, dtype=object), errors="coerce").to_numpy(np.float64)
    if len(numbers) and np.isfinite(numbers).all() and not all(_COMPACT_DATE.fullmatch(text) for text in stripped):
        return from_numbers(numbers), ""
    note = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stamps = _parse_dates(stripped, format="ISO8601")
        unread = stamps.isna()
        if unread.any():
            rest = [text for text, is_unread in zip(stripped, unread, strict=True) if is_unread]
            numeric = [match for match in map(_NUMERIC_DATE.match, rest) if match]
            day_first = any(int(match[1]) > 12 for match in numeric)
            month_first = any(int(match[2]) > 12 for match in numeric)
            if numeric and not day_first and not month_first:
                note = f"dates such as {numeric[0][0].strip()!r} are read month first"
            parsed = stamps.to_numpy().copy()
            parsed[unread] = _parse_dates(rest, format="mixed", dayfirst=day_first and not month_first).to_numpy()
            stamps = pd.DatetimeIndex(parsed)
    return _seconds_of(stamps), note


def _parse_dates(texts: list[str], **options: Any) -> pd.DatetimeIndex:
    parsed = pd.to_datetime(pd.Series(texts, dtype=object), errors="coerce", utc=True, **options)
    # Nanoseconds would reach from 1677 to 2262 only.
    return pd.DatetimeIndex(parsed).tz_localize(None).as_unit("s")


def _seconds_of(stamps: pd.DatetimeIndex) -> NDArray[np.int64]:
    seconds = np.asarray(stamps.as_unit("s").asi8, np.int64).copy()
    seconds[np.asarray(stamps.isna())] = UNKNOWN
    return seconds


def from_numbers(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Seconds from numbers whose size tells the unit; ``UNKNOWN`` where not finite.

    Seconds up to 1e11 (the year 5138), then milliseconds, microseconds, nanoseconds, by the median.
    """
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.full(len(numbers), UNKNOWN)
    size = float(np.median(np.abs(numbers[finite])))
    unit = next((unit for unit, limit in ((1.0, 1e11), (1e3, 1e14), (1e6, 1e17)) if size < limit), 1e9)
    scaled = np.floor(np.where(finite, numbers, 0.0) / unit)
    exact = finite & (np.abs(scaled) < 2**53)
    seconds = np.where(exact, scaled, 0.0).astype(np.int64)
    seconds[~exact] = UNKNOWN
    return seconds


def from_pandas(column: "pd.Series[Any]") -> NDArray[np.int64]:
    """Seconds of a datetime column of pandas, with or without time zone; without one it is taken as UTC."""
    stamps = pd.DatetimeIndex(column)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return _seconds_of(stamps)


def to_seconds(time: ArrayLike, n: int) -> NDArray[np.int64]:
    """Seconds of the ``n`` values of an argument ``time``: whole numbers as they are, others rounded down, dates.

    Raises
    ------
    InvalidDataError
        If there are not ``n`` values, or one of them is missing or no date.
    """
    try:
        array = np.asarray(time)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"time: {error}. Give one time per event.") from None
    if array.shape != (n,):
        raise InvalidDataError(f"time has the shape {array.shape} where user has {n} values; give one per event.")
    if array.dtype.kind in "iu":
        return np.asarray(array, np.int64)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InvalidDataError("time: some values are not finite. Leave those events out.")
        return np.asarray(np.floor(array), np.int64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            stamps = pd.DatetimeIndex(pd.to_datetime(pd.Series(array), utc=True))
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"time: {error}. Give seconds since 1970, or dates.") from None
    if stamps.hasnans:
        raise InvalidDataError("time: some dates are missing. Leave those events out.")
    return np.asarray(stamps.as_unit("s").asi8, np.int64)
