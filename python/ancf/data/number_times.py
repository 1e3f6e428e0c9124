"""Times that are written as numbers: which unit they have, and their seconds since 1970-01-01 UTC.

What most numbers of a column are decides between the forms of a date, whose numbers do not meet: half of them for 8 or
more digits, which hardly mean anything else, and four fifths for shorter ones.

| numbers | read as |
|---|---|
| 1900 to 2100 | years |
| 190001 to 210012 | months, yyyymm |
| 19000101 to 21001231 | days, yyyymmdd; 12 digits yyyymmddHHMM, 14 digits yyyymmddHHMMSS |
| 7,305 to 29,220 | days since 1970, from 1990 on |
| 29,221 to 73,415 | days of a spreadsheet (Excel's 1900 system), from 1980 on |
| others | seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, nanoseconds: each by its own size |

What is no moment of the years 1900 to 2100 by that rule is ``UNKNOWN``. A unit that somebody names is taken at its word
for the years 1 to 9999.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

TimeUnit = Literal["s", "ms", "us", "ns", "days", "excel", "excel1904"]
TIME_UNITS: tuple[str, ...] = get_args(TimeUnit)

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a time that is missing or could not be read."""

SECONDS_PER_DAY = 86_400
FIRST_PLAUSIBLE = -2_208_988_800
"""1900-01-01."""
END_PLAUSIBLE = 4_133_980_800
"""2101-01-01."""
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800

EARLY = 100_000_000
"""1973-03-03: as seconds, smaller numbers are counters rather than times."""

_COMMON = (
    ("s", EARLY, END_PLAUSIBLE),
    ("ms", 210_012_312_360, END_PLAUSIBLE * 10**3),
    ("us", 10**14, END_PLAUSIBLE * 10**6),
    ("ns", 10**17, END_PLAUSIBLE * 10**9),
)
"""Ranges in which a column lies as a whole in nearly all tables, and which hold no other form of a date."""

_HALF, _MOST = 0.5, 0.8
_LIMITS: dict[TimeUnit, float] = {"s": 1e11, "ms": 1e14, "us": 1e17, "ns": np.inf}
"""Up to which size numbers have a unit, exclusively."""
_LOWEST = {"s": 0.0, "ms": 1e11, "us": 1e14, "ns": 1e17}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_EPOCHS = {"days": 0, "excel": 25_569, "excel1904": 24_107}
"""The number of 1970-01-01 in each count of days. Excel's 1900 system has a 29th of February 1900."""


class Note(NamedTuple):
    """What was decided about times, which of them it concerns (None: all), and what to say if it is wrong."""

    name: str
    text: str
    which: NDArray[np.bool_] | None = None
    hint: str = ""


class _Form(NamedTuple):
    """Numbers of dates that are not counted in a unit of seconds."""

    lowest: int
    highest: int
    to_seconds: Callable[[NDArray[Any]], NDArray[np.int64]]
    what: str
    is_certain: bool
    """Whether hardly anything else looks like that; else it is noted."""


def _calendar(digits: int) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """Reads whole numbers of 4, 6, 8, 12 or 14 digits: year, month, day, hour and minute, second."""

    def to_seconds(numbers: NDArray[Any]) -> NDArray[np.int64]:
        rest = np.where(np.isfinite(numbers) & (np.abs(numbers) < 10**14), numbers, 0).astype(np.int64)
        valid = (rest == numbers) & (rest > 0)
        parts: list[Any] = []
        for _ in range(4, digits, 2):
            rest, part = np.divmod(rest, 100)
            parts.append(part)
        parts = [*parts[::-1], *map(np.int64, (1, 1, 0, 0, 0)[len(parts) :])]
        month, day, hour, minute, second = parts
        valid &= (rest >= 1900) & (rest <= 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
        valid &= (hour < 24) & (minute < 60) & (second < 60)
        months = np.where(valid, (rest - 1970) * 12 + month - 1, 0)
        starts = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        days = starts + day - 1
        valid &= days < (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
        return np.where(valid, seconds, UNKNOWN)

    return to_seconds


def _days(unit: str) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """Reads days with fractions, to the nearest second: decimals are often cut."""

    def to_seconds(numbers: NDArray[Any]) -> NDArray[np.int64]:
        days = numbers.astype(np.float64) - _EPOCHS[unit]
        if unit == "excel":
            days += numbers < 60
        return _whole(np.floor(days * SECONDS_PER_DAY + 0.5))

    return to_seconds


def _plausible_days(unit: str) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    return lambda numbers: _within(_days(unit)(numbers), FIRST_PLAUSIBLE, END_PLAUSIBLE)


_FORMS = (
    _Form(1900, 2100, _calendar(4), "years, the first of January of each", False),
    _Form(190001, 210012, _calendar(6), "months (yyyymm), the first of each", False),
    _Form(19000101, 21001231, _calendar(8), "yyyymmdd", True),
    _Form(190001010000, 210012312359, _calendar(12), "yyyymmddHHMM", True),
    _Form(19000101000000, 21001231235959, _calendar(14), "yyyymmddHHMMSS", True),
    _Form(7_305, 29_220, _plausible_days("days"), "days since 1970", False),
    _Form(29_221, 73_415, _plausible_days("excel"), "days of a spreadsheet (Excel)", False),
)


def _whole(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole float seconds of the years 1 to 9999 as integers."""
    good = (seconds >= _YEAR_1) & (seconds < _YEAR_10000)
    return np.where(good, np.where(good, seconds, 0).astype(np.int64), UNKNOWN)


def _within(seconds: NDArray[np.int64], first: int, end: int) -> NDArray[np.int64]:
    good = (seconds >= first) & (seconds < end)
    return seconds if good.all() else np.where(good, seconds, UNKNOWN)


def from_unit(numbers: NDArray[Any], unit: TimeUnit) -> NDArray[np.int64]:
    """Seconds of finite numbers (int64 or float64) of a known unit; ``UNKNOWN`` outside the years 1 to 9999.

    Examples
    --------
    >>> from_unit(np.array([40886.5]), "excel").astype("datetime64[s]").astype(str).tolist()
    ['2011-12-09T12:00:00']
    """
    if unit in _EPOCHS:
        return _days(unit)(numbers)
    per_second = _PER_SECOND[unit]
    if numbers.dtype.kind == "i":
        return _within(numbers // per_second, _YEAR_1, _YEAR_10000)
    return _whole(np.floor(numbers / per_second))


def from_numbers(numbers: NDArray[Any], *, beside_dates: bool = False) -> tuple[NDArray[np.int64], list[Note]]:
    """Seconds of finite numbers (int64 or float64) by the rule of this module, and what is to be told.

    Parameters
    ----------
    beside_dates : bool
        Whether the column has dates as text, too; a number that would be a moment before 1973-03-03 is then none.

    Examples
    --------
    >>> seconds, notes = from_numbers(np.array([20111201, 20111209]))
    >>> seconds.astype("datetime64[s]").astype(str).tolist()
    ['2011-12-01T00:00:00', '2011-12-09T00:00:00']
    """
    if not len(numbers):
        return np.empty(0, np.int64), []
    low, high = numbers.min(), numbers.max()
    for unit, lowest, highest in _COMMON:
        if lowest <= low and high < highest:
            per_second = _PER_SECOND[unit]
            if numbers.dtype.kind == "i":
                seconds = numbers.copy() if per_second == 1 else numbers // per_second
            else:
                seconds = np.floor(numbers / per_second).astype(np.int64)
            return seconds, _hours_note(numbers, seconds)
    form = form_of(numbers)
    if form is not None:
        seconds = form.to_seconds(numbers)
        if form.is_certain:
            return seconds, []
        at = int(np.argmax(seconds != UNKNOWN))
        example = f"{numbers[at]:.14g} is {format_time(seconds[at])}"
        return seconds, [Note("time_unit", f"the times are numbers, read as {form.what}: {example}")]
    return _from_epoch(numbers, beside_dates)


def form_of(numbers: NDArray[Any]) -> "_Form | None":
    """The form that most numbers have, None where they count seconds or parts of a second."""
    low, high = numbers.min(), numbers.max()
    for form in _FORMS:
        if low <= form.highest and high >= form.lowest:
            enough = _HALF if form.is_certain else _MOST
            fits = (numbers >= form.lowest) & (numbers <= form.highest)
            if fits.mean() >= enough and (form.to_seconds(numbers[fits]) != UNKNOWN).sum() >= enough * len(numbers):
                return form
    return None


def _from_epoch(numbers: NDArray[Any], beside_dates: bool) -> tuple[NDArray[np.int64], list[Note]]:
    sizes = np.abs(numbers)
    most = unit_by_size(float(np.median(sizes)))
    notes: list[Note] = []
    seconds = from_unit(numbers, most)
    others = (sizes >= _LIMITS[most]) | (sizes < _LOWEST[most])
    lower = 0.0
    for unit, limit in _LIMITS.items():
        which = others & (sizes >= lower) & (sizes < limit)
        lower = limit
        if which.any():
            seconds[which] = from_unit(numbers[which], unit)
            text = f"have a time in {_WORDS[unit]} where most are in {_WORDS[most]}; each is read by its size"
            notes.append(Note("mixed_units", text, which & (sizes >= EARLY)))
    seconds = _within(seconds, FIRST_PLAUSIBLE, END_PLAUSIBLE)
    early = sizes < EARLY
    if beside_dates:
        seconds[early] = UNKNOWN
    elif early.all():
        low, high = numbers.min(), numbers.max()
        text = f"the times are numbers from {low:.14g} to {high:.14g}, read as seconds since 1970, before 1973-03-03"
        notes.append(Note("time_unit", text, hint=_other_reading(numbers)))
    elif early.any():
        text = f"have a time before 1973-03-03, such as {numbers[np.argmax(early)]:.14g}; 0 and -1 often mean none"
        notes.append(Note("early_numbers", text, early))
    return seconds, notes


def _other_reading(numbers: NDArray[Any]) -> str:
    """What small numbers may be other than seconds, as an option."""
    if (numbers == np.floor(numbers)).all() and numbers.min() > 0:
        whole = numbers.astype(np.int64)
        high, middle, low = whole // 10_000, whole // 100 % 100, whole % 100
        century = np.where(high < 69, 2000, 1900) + high
        year, first, second = whole % 10_000, whole // 1_000_000, whole // 10_000 % 100
        for form, parts in (
            ("%y%m%d", (century, middle, low)),
            ("%d%m%Y", (year, second, first)),
            ("%m%d%Y", (year, first, second)),
        ):
            if (_calendar(8)(parts[0] * 10_000 + parts[1] * 100 + parts[2]) != UNKNOWN).all():
                return f"if they are dates, give time_format={form!r}"
    return "if they count days, give time_unit='days'" if np.abs(numbers).max() < 719_162 else ""


def _hours_note(numbers: NDArray[Any], seconds: NDArray[np.int64]) -> list[Note]:
    """A note where all numbers may as well be yyyymmddHH, which as seconds are in the years 2030 to 2036."""
    if numbers.min() < 1900010100 or numbers.max() > 2100123123 or (_calendar(12)(numbers * 100) == UNKNOWN).any():
        return []
    text = f"the times are numbers read as seconds since 1970: {numbers[0]:.14g} is {format_time(seconds[0])}"
    return [Note("time_unit", text, hint="if they are yyyymmddHH, give time_format='%Y%m%d%H'")]


def unit_by_size(number: float) -> TimeUnit:
    """The unit of seconds that a number of this size has.

    Examples
    --------
    >>> unit_by_size(1323388800), unit_by_size(1323388800000)
    ('s', 'ms')
    """
    return next(unit for unit, limit in _LIMITS.items() if abs(number) < limit)


def is_calendar_range(number: float) -> bool:
    """Whether a number is in the range of those of 8, 12 or 14 digits that are dates."""
    return any(form.is_certain and form.lowest <= number <= form.highest for form in _FORMS)


def format_time(seconds: Any) -> str:
    """Seconds since 1970 as text, without the clock at midnight.

    Examples
    --------
    >>> format_time(1323388800), format_time(1323388801)
    ('2011-12-09', '2011-12-09 00:00:01')
    """
    text = str(np.datetime64(int(seconds), "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")


def other_meanings(number: float) -> list[str]:
    """What one small number may be besides seconds since 1970, each with its date.

    Examples
    --------
    >>> other_meanings(40886.5)
    ['days of a spreadsheet (Excel): 2011-12-09 12:00:00']
    """
    one = np.array([number])
    form = None if abs(number) >= 10**7 else form_of(one)
    return [] if form is None else [f"{form.what}: {format_time(form.to_seconds(one)[0])}"]
