"""The one reader of times, whatever a table or an argument has them as: seconds since 1970-01-01 UTC.

Every door leads here: a column of a table, ``from_ids(time=)``, the ``times=`` of a history, ``time_split(at=)``.
Datetimes need no rule; numbers go by that of ``number_times``, text by that of ``text_times``, once per distinct text.
A column in which most values are dates may have some that are none: they are ``UNKNOWN``, and the caller says so.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import is_column, pd
from ancf._text import format_value
from ancf.data import number_times, text_times
from ancf.data.number_times import END_PLAUSIBLE, FIRST_PLAUSIBLE, TIME_UNITS, format_time
from ancf.data.number_times import UNKNOWN as UNKNOWN
from ancf.data.number_times import TimeUnit as TimeUnit
from ancf.errors import InvalidDataError, InvalidParameterError

OUT_OF_RANGE = "no date of the years 1900 to 2100"
"""What is wrong with a number that could not be read."""

_YEAR_DIRECTIVE = re.compile(r"(?<!%)(?:%%)*%[-#]?[YyGcxDF]")
_FIXED_WIDTHS = {"%Y": 4, **dict.fromkeys(("%y", "%m", "%d", "%H", "%M", "%S"), 2), "%j": 3}


@dataclass(frozen=True)
class TimeOptions:
    """What a caller says of times that do not tell it themselves; see ``read_interactions``."""

    unit: TimeUnit | None = None
    day_first: bool | None = None
    format: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by the names they have for callers."""
        named = {"time_unit": self.unit, "day_first": self.day_first, "time_format": self.format}
        return {name: value for name, value in named.items() if value is not None}

    def check(self) -> None:
        """Raise ``InvalidParameterError`` where an option has no meaning, or two are given that exclude each other."""
        if self.unit is not None and not (isinstance(self.unit, str) and self.unit in TIME_UNITS):
            units = ", ".join(map(repr, TIME_UNITS))
            raise InvalidParameterError(
                f"time_unit={self.unit!r}: give one of {units}; numbers such as 20111209 need none."
            )
        if self.day_first is not None and not isinstance(self.day_first, (bool, np.bool_)):
            raise InvalidParameterError(f"day_first={self.day_first!r}: give True, False or None.")
        if self.format is not None and not (isinstance(self.format, str) and "%" in self.format):
            raise InvalidParameterError(f"time_format={self.format!r}: give a format such as '%d.%m.%Y %H:%M'.")
        if self.format is not None and not _YEAR_DIRECTIVE.search(self.format):
            raise InvalidParameterError(
                f"time_format={self.format!r} has no year, and times need one. Give a format such as '%d.%m.%Y %H:%M'."
            )
        if len(self.given) > 1:
            shown = " and ".join(f"{name}={value!r}" for name, value in self.given.items())
            raise InvalidParameterError(f"{shown} exclude each other. Give one of them.")

    def refuse(self, what: str, why: str) -> None:
        """Raise ``InvalidParameterError`` if any option was given: it has no effect on ``what``."""
        for name, value in self.given.items():
            raise InvalidParameterError(f"{name}={value!r} has no effect: {what} {why}. Leave it out.")


NO_TIME_OPTIONS = TimeOptions()
SECONDS = np.dtype("datetime64[s]")
"""The type of moments that are seconds since 1970 already."""


class TimeNote(NamedTuple):
    """What was decided, as ``Report.note`` takes it, and what a caller who can give options may say instead."""

    name: str
    text: str
    rows: NDArray[np.int64] | None = None
    hint: str = ""


@dataclass
class Times:
    """Times that were read, one for each row."""

    seconds: NDArray[np.int64]
    notes: list[TimeNote] = field(default_factory=list)

    def unknown(self) -> NDArray[np.intp]:
        """The rows that have no time."""
        return np.flatnonzero(self.seconds == UNKNOWN)


def read_column(column: "pd.Series[Any]", options: TimeOptions, what: str) -> Times:
    """The times of a pandas column of any type; ``what`` names it in errors.

    Raises
    ------
    InvalidDataError
        If the column holds what is no time at all: true and false, durations, complex numbers.
    InvalidParameterError
        If an option has no effect on the column.

    Examples
    --------
    >>> read_column(pd.Series(["09.12.2011", "n/a"]), TimeOptions(), "time").seconds.tolist() == [1323388800, UNKNOWN]
    True
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind not in "iufM":
        codes, distinct = np.asarray(column.cat.codes), list(dtype.categories)
        return read_rows(len(column), options, what, texts=(np.arange(len(column)), codes, texts_of(distinct)))
    if isinstance(dtype, pd.CategoricalDtype):
        column = column.astype(dtype.categories.dtype if column.notna().all() else _nullable(dtype.categories.dtype))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        options.refuse(what, "holds datetimes, which need no telling")
        return _finish(text_times.datetime_seconds(pd.DatetimeIndex(column)), [])
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype) or dtype.kind == "c":
        kind = {"b": "true and false", "m": "durations"}.get(dtype.kind, "complex numbers")
        raise InvalidDataError(f"{what} holds {kind}, which are no times. Give seconds since 1970, or dates.")
    if pd.api.types.is_numeric_dtype(dtype):
        numbers, known = _numbers_of(column)
        times = read_rows(len(column), options, what, numbers=numbers, known=known)
        if str(dtype).lower() in ("float16", "float32", "float[pyarrow]"):
            _check_precision(numbers if known is None else numbers[known], times, what)
        return times
    values: Any = column
    codes, distinct = pd.factorize(values.to_numpy(dtype=object, na_value=None))
    return read_rows(len(column), options, what, texts=(np.arange(len(column)), codes, texts_of(list(distinct))))


def _check_precision(numbers: NDArray[np.float64], times: Times, what: str) -> None:
    """Times of less than double precision: an error where days were rounded, a note where seconds may have been."""
    if not len(numbers) or np.abs(numbers).max() <= 2**24:
        return
    if number_times.is_calendar_range(float(np.median(numbers))):
        raise InvalidDataError(
            f"{what} holds float32, which rounds a date such as {numbers[0]:.14g} to another. Give float64, or text."
        )
    times.notes.append(TimeNote("float32_times", "the times are float32, which rounds them to a minute or two"))


def _nullable(dtype: Any) -> Any:
    return "Int64" if dtype.kind in "iu" else dtype


def texts_of(values: Sequence[Any]) -> list[str]:
    """Values of any kind as text."""
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def _numbers_of(column: "pd.Series[Any]") -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """A numeric column as int64 or float64, and which are there (None: all)."""
    dtype: Any = column.dtype
    known = None if not column.hasnans else np.asarray(column.notna())
    kind = dtype.kind
    if kind in "iu" and not (kind == "u" and dtype.itemsize == 8):
        whole = column if known is None else column.fillna(0)
        return whole.to_numpy(dtype=np.int64), known
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    finite = np.isfinite(numbers)
    return numbers, None if finite.all() else finite


TextRows = tuple[NDArray[Any], NDArray[Any], Sequence[str]]
"""Rows that have text, the codes of their texts (-1: none), and the distinct texts."""


def read_rows(
    n: int,
    options: TimeOptions,
    what: str,
    *,
    numbers: NDArray[Any] | None = None,
    known: NDArray[np.bool_] | None = None,
    seconds: NDArray[np.int64] | None = None,
    texts: TextRows | None = None,
) -> Times:
    """The times of ``n`` rows, of which some are numbers, some seconds already and some text.

    Parameters
    ----------
    numbers : int64 or float64 (n,), optional
    known : bool (n,), optional
        Which of the numbers are there; all, or those that are finite, if left out.
    seconds : int64 (n,), optional
        Times that were read as ISO 8601; ``UNKNOWN`` where not.
    texts : rows, codes, distinct texts, optional
        Numbers among them count as numbers.
    """
    result = np.full(n, UNKNOWN) if seconds is None else seconds
    has_dates = seconds is not None and bool((seconds != UNKNOWN).any())
    notes: list[TimeNote] = []
    if numbers is not None and known is None and numbers.dtype.kind == "f":
        known = np.isfinite(numbers)
        known = None if known.all() else known
    numeric_rows = None if numbers is None or known is None else np.flatnonzero(known)
    ordered = False
    if options.format is not None:
        if has_dates:
            options.refuse(what, "holds datetimes, which need no telling")
        return _read_format(n, options.format, what, numbers, numeric_rows, texts)
    if texts is not None:
        rows, codes, distinct = texts
        stripped = ["" if "\0" in text else text.strip() for text in distinct]
        values = _numbers_in(stripped)
        is_number = np.append(np.isfinite(values), False)[codes]
        if is_number.any():
            number_rows = rows[is_number]
            number_values = np.append(values, np.nan)[codes[is_number]]
            if numbers is None:
                numbers, numeric_rows = np.full(n, np.nan), number_rows
            else:
                numbers = numbers.astype(np.float64)
                numeric_rows = np.sort(np.append(np.arange(n) if numeric_rows is None else numeric_rows, number_rows))
            numbers[number_rows] = number_values
        of_text, text_notes, ordered = _read_distinct(stripped, values, options)
        result[rows[~is_number]] = np.append(of_text, UNKNOWN)[codes[~is_number]]
        has_dates |= bool((of_text != UNKNOWN).any())
        for note in text_notes:
            noted = None if note.which is None else np.sort(rows[np.append(note.which, False)[codes]])
            notes.append(TimeNote(note.name, note.text, noted, note.hint))
    n_numbers = 0 if numbers is None else n if numeric_rows is None else len(numeric_rows)
    if options.unit is not None and not n_numbers:
        options.refuse(what, "holds no numbers")
    if options.day_first is not None and not ordered:
        options.refuse(what, "holds no dates whose order could be asked, such as 01/12/2011")
    if numbers is not None and n_numbers:
        present = numbers if numeric_rows is None else numbers[numeric_rows]
        if options.unit is not None:
            of_numbers = number_times.from_unit(present, options.unit)
            number_notes: list[number_times.Note] = []
        else:
            of_numbers, number_notes = number_times.from_numbers(present, beside_dates=has_dates)
        if numeric_rows is None:
            result = of_numbers
        else:
            result[numeric_rows] = of_numbers
        for note in number_notes:
            noted = None if note.which is None else np.flatnonzero(note.which)
            noted = noted if noted is None or numeric_rows is None else numeric_rows[noted]
            notes.append(TimeNote(note.name, note.text, noted, note.hint))
    return _finish(result, notes)


def are_dates(texts: Sequence[str]) -> bool:
    """Whether none of these texts is a number, so that what each says does not depend on how often it stands there."""
    return not np.isfinite(_numbers_in(["" if "\0" in text else text.strip() for text in texts])).any()


def _numbers_in(texts: list[str]) -> NDArray[np.float64]:
    """The number that each text is, with a decimal comma or point; NaN for others and for nan and inf."""
    # Few columns have both; looking at the first character is ten times as fast as parsing.
    maybe = [text.replace(",", ".") if _may_be_number(text) else "" for text in texts]
    return pd.to_numeric(pd.Series(maybe, dtype=object), errors="coerce").to_numpy(np.float64)


def _may_be_number(text: str) -> bool:
    return text.isdigit() or (
        text[:1] in "+-.0123456789" and text.count("-") < 2 and ":" not in text and "/" not in text
    )


def _read_distinct(
    texts: list[str], numbers: NDArray[np.float64], options: TimeOptions
) -> tuple[NDArray[np.int64], list[number_times.Note], bool]:
    """Seconds of each text that is no number."""
    others = np.flatnonzero(~np.isfinite(numbers))
    if len(others) == len(texts):
        return text_times.read_dates(texts, options.day_first)
    found, notes, ordered = text_times.read_dates([texts[at] for at in others], options.day_first)
    seconds = np.full(len(texts), UNKNOWN)
    seconds[others] = found
    notes = [note._replace(which=text_times.spread(note.which, others, len(texts))) for note in notes]
    return seconds, notes, ordered


def _read_format(
    n: int,
    form: str,
    what: str,
    numbers: NDArray[Any] | None,
    numeric_rows: NDArray[np.intp] | None,
    texts: TextRows | None,
) -> Times:
    seconds = np.full(n, UNKNOWN)
    first = ""
    if numbers is not None:
        present = np.arange(n) if numeric_rows is None else numeric_rows
        codes, distinct = pd.factorize(numbers[present])
        written = [_digits(int(each), form) if each == int(each) else repr(each) for each in distinct.tolist()]
        seconds[present] = text_times.read_format(written, form)[codes] if len(present) else UNKNOWN
        first = written[0] if written else ""
    if texts is not None:
        rows, codes, given = texts
        stripped = ["" if "\0" in text else text.strip() for text in given]
        padded = [_digits(int(text), form) if text.isdecimal() else text for text in stripped]
        seconds[rows] = np.append(text_times.read_format(padded, form), UNKNOWN)[codes]
        first = first or next(filter(None, stripped), "")
    if first and (seconds == UNKNOWN).all():
        raise InvalidParameterError(
            f"time_format={form!r}: no value of {what} fits it (the first is {first!r}). Leave it out, or give theirs."
        )
    return _finish(seconds, [])


def _digits(number: int, form: str) -> str:
    """A number as the text that it was, with the zeros in front that a format of digits alone asks for."""
    width = 0
    for directive in re.findall("%.|.", form):
        if directive not in _FIXED_WIDTHS:
            return str(number)
        width += _FIXED_WIDTHS[directive]
    return str(number).zfill(width)


def _finish(seconds: NDArray[np.int64], notes: list[TimeNote]) -> Times:
    """The times with what is told of them as a whole."""
    told = []
    for note in notes:
        if note.name != "time_zones":
            told.append(note)
        elif note.rows is not None and len(note.rows) < np.count_nonzero(seconds != UNKNOWN):
            told.append(note._replace(text="have a time zone (converted to UTC) and others none (taken as UTC)"))
    if len(seconds) and ((low := seconds.min()) < FIRST_PLAUSIBLE or seconds.max() >= END_PLAUSIBLE):
        far = (seconds >= END_PLAUSIBLE) | (seconds < FIRST_PLAUSIBLE)
        if low == UNKNOWN:
            far &= seconds != UNKNOWN
        if far.any():
            text = f"have a date before 1900 or after 2100, such as {format_time(seconds[np.argmax(far)])}"
            told.append(TimeNote("far_times", text, np.flatnonzero(far)))
    return Times(seconds, told)


def about_all(seconds: NDArray[np.int64]) -> Times:
    """Times that were read, with what is told of them as a whole."""
    return _finish(seconds, [])


def _at_position(position: int) -> str:
    return f"at position {position}"


def read_argument(values: Any, what: str, place: Callable[[int], str] = _at_position) -> Times:
    """The times of an argument: a sequence or an array of datetimes, text, or numbers as in a table.

    Parameters
    ----------
    place : callable, optional
        Says in an error where a value is, by its position.

    Raises
    ------
    InvalidDataError
        If one is missing or no date; names its value and position.

    Examples
    --------
    >>> read_argument([1323388800000, 1323388801000], "time").seconds.tolist()
    [1323388800, 1323388801]
    """
    column = as_column(values, what)
    times = read_column(column, NO_TIME_OPTIONS, what)
    unknown = times.unknown()
    if len(unknown):
        raise _unknown_error(column.iloc[int(unknown[0])], place(int(unknown[0])), len(unknown), what)
    return times


def as_column(values: Any, what: str) -> "pd.Series[Any]":
    """Values of an argument as a pandas column.

    Raises
    ------
    InvalidDataError
        If they are no sequence of single values.
    """
    if is_column(values):
        return pd.Series(values.array)
    if isinstance(values, (str, bytes)) or not (hasattr(values, "__iter__") or hasattr(values, "__array__")):
        raise InvalidDataError(f"{what}={values!r}: give a sequence of times, one for each.")
    if not hasattr(values, "__array__"):
        values = list(values)
        if any(isinstance(value, (list, tuple, dict, set, np.ndarray)) for value in values):
            raise InvalidDataError(f"{what}: a value is a {type(values[0]).__name__}; give one time for each.")
        if any(type(value) is not int and type(value) is not float for value in values):
            return pd.Series(values, dtype=object)
    array = np.asarray(values)
    if array.ndim != 1:
        raise InvalidDataError(
            f"{what} is {format_value(values)} (shape {array.shape}); give a sequence of times, one for each."
        )
    return pd.Series(array)


def _unknown_error(value: Any, place: str, count: int, what: str) -> InvalidDataError:
    """The error for a value of an argument that is no time."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return InvalidDataError(
            f"{what}: {count} of the values {'is' if count == 1 else 'are'} no time ({value} {place}, missing or not "
            "finite). Leave them out."
        )
    value = value.item() if isinstance(value, np.generic) else value
    return InvalidDataError(
        f"{what}: {value!r} {place} is {no_date(value)}. Give dates such as '2011-12-09', or seconds since 1970."
    )


def no_date(value: Any) -> str:
    """What a value is that could not be read."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return text_times.what_is_wrong(str(value)) or "no date"
    return OUT_OF_RANGE if np.isfinite(number) else "no date"


def read_moments(
    values: Any, what: str, within: tuple[int, int] | None = None, place: Callable[[int], str] = _at_position
) -> NDArray[np.int64]:
    """Seconds of single moments that belong to other times: numbers are read as in a table, but small ones need care.

    A number such as 2011 or 40886 is a date in a whole column of its kind. Alone it may as well count seconds, so it is
    refused, unless it lies ``within`` the times that it belongs to as seconds.

    Raises
    ------
    InvalidDataError
        If one is missing, no date, or a number of two meanings.
    """
    if isinstance(values, np.ndarray) and values.dtype == SECONDS and not np.isnat(values).any():
        return values.astype(np.int64)
    column = as_column(values, what)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        numbers, _ = _numbers_of(column)
        if within is not None and len(numbers) and within[0] <= numbers.min() and numbers.max() <= within[1]:
            return number_times.from_unit(numbers, "s")
        for position, number in enumerate(numbers.tolist()) if len(numbers) and np.abs(numbers).min() < 10**7 else ():
            if meanings := number_times.other_meanings(number):
                date = meanings[0].rpartition(": ")[2]
                raise InvalidDataError(
                    f"{what}: {number} {place(position)} may be seconds since 1970 or {meanings[0]}. "
                    f"Give a date, such as {date!r}."
                )
    return read_argument(column, what, place).seconds
