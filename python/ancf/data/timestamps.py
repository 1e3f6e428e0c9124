"""Moments of time from whatever a table calls a date: seconds since 1970-01-01 UTC.

Text is read once per distinct value. ISO 8601 is tried first; then day-first or month-first by what the values allow
(``25/12/2010`` cannot be month-first), month-first where nothing decides, as in the United States, with a note.
Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
"""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a moment that could not be read."""

_SLASHED = re.compile(r"\s*(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{2,4})\b")


def from_texts(texts: NDArray[Any]) -> tuple[NDArray[np.int64], str]:
    """Seconds of each distinct text (``UNKNOWN`` where unreadable), and a note where day and month were guessed.

    Examples
    --------
    >>> from_texts(np.array(["2010-12-01 08:26:00", "soon"], object))[0].tolist() == [1291191960, UNKNOWN]
    True
    """
    # pandas takes zero bytes for the end of a date, and for one in the year 1 where nothing stands before them.
    listed = ["" if "\0" in text else text.strip() for text in texts.tolist()]
    numbers = pd.to_numeric(pd.Series(listed, dtype=object), errors="coerce").to_numpy(np.float64)
    if len(numbers) and np.isfinite(numbers).all() and not all(re.fullmatch(r"(19|20)\d{6}", text) for text in listed):
        return from_numbers(numbers), ""
    note = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stamps = _parse(listed, format="ISO8601")
        left = stamps.isna()
        parts = [_SLASHED.match(text) for text, unread in zip(listed, left, strict=True) if unread]
        fields = [(int(part[1]), int(part[2])) for part in parts if part]
        if left.any():
            day_first = any(first > 12 for first, _ in fields)
            month_first = any(second > 12 for _, second in fields)
            if fields and not day_first and not month_first:
                note = (
                    "dates such as " + repr(next(part[0].strip() for part in parts if part)) + " are read month first"
                )
            rest = np.array(listed, object)[left].tolist()
            again = _parse(rest, format="mixed", dayfirst=day_first and not month_first)
            merged = stamps.to_numpy().copy()
            merged[left] = again.to_numpy()
            stamps = pd.DatetimeIndex(merged)
    seconds = np.asarray(stamps.as_unit("s").asi8, np.int64).copy()
    seconds[np.asarray(stamps.isna())] = UNKNOWN
    return seconds, note


def _parse(texts: list[str], **options: Any) -> pd.DatetimeIndex:
    parsed = pd.to_datetime(pd.Series(texts, dtype=object), errors="coerce", utc=True, **options)
    # Nanoseconds would reach from 1677 to 2262 only.
    return pd.DatetimeIndex(parsed).tz_localize(None).as_unit("s")


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
    usable = finite & (np.abs(scaled) < 2**53)
    seconds = np.where(usable, scaled, 0.0).astype(np.int64)
    seconds[~usable] = UNKNOWN
    return seconds


def from_pandas(column: "pd.Series[Any]") -> NDArray[np.int64]:
    """Seconds of a datetime column of pandas, with or without time zone; without one it is taken as UTC."""
    stamps = pd.DatetimeIndex(column)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    missing = np.asarray(stamps.isna())
    seconds = np.asarray(stamps.as_unit("s").asi8, np.int64).copy()
    seconds[missing] = UNKNOWN
    return seconds
