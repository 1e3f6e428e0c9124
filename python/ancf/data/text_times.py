"""Times that are written as text: seconds since 1970-01-01 UTC of each distinct one.

ISO 8601 goes first. Then dates of three numbers, with a clock (24 hours or am and pm) and a zone or without: the order
of day and month is decided once for all dates with the same sign between their numbers, by those that allow only one;
where none does, dotted ones are day first and others month first, as in the United States. What is left may name its
month in English. A date without a year is none, nor is a clock alone. Without a zone, times are UTC.
"""

import re
import warnings

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.number_times import UNKNOWN, Note, format_time

_CLOCK = r"""(?P<hour>\d{1,2})
    (?: :(?P<minute>\d{2}) (?: :(?P<second>\d{2}) (?:[.,](?P<fraction>\d+))? )? )?
    \s* (?: (?P<half>[AaPp])\.?[Mm]\.? )?"""
_ZONE = r"\s* (?P<zone> Z | z | UTC | GMT | (?:UTC|GMT)?[+-]\d{2}(?::?\d{2})? )?"
_NUMERIC = re.compile(
    rf"""(?: (?P<year>\d{{4}}) [-/.] (?P<month>\d{{1,2}}) [-/.] (?P<day>\d{{1,2}})
         | (?P<one>\d{{1,2}}) (?P<sign>[-/.]) (?P<two>\d{{1,2}}) (?P=sign) (?P<last>\d{{4}}|\d{{2}}) )
        (?: (?: ,\s* | \s+ | T ) {_CLOCK} {_ZONE} )?""",
    re.VERBOSE,
)
_CLOCK_ALONE = re.compile(rf"T?{_CLOCK}{_ZONE}", re.VERBOSE)
_OFFSET = re.compile(r"(?:[ T]\d{2}:?\d{2}.*|T\d{2})([+-]\d{2}:?(?:\d{2})?)$")
_MONTHS = r"jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|january|february|march|april|august|september"
_MONTHS += "|october|november|december"
_MONTH = re.compile(rf"(?<![a-z])(?:{_MONTHS})(?![a-z])", re.IGNORECASE)
_KNOWN_WORDS = re.compile(
    rf"(?:{_MONTHS}|(?:mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun)(?:day)?|tuesday|wednesday|thursday|saturday"
    "|st|nd|rd|th|of|at|t|z|utc|gmt|[ap]m?)",
    re.IGNORECASE,
)


def read_dates(texts: list[str], day_first: bool | None = None) -> tuple[NDArray[np.int64], list[Note], bool]:
    """Seconds of stripped texts that are no numbers (``UNKNOWN`` where unreadable), what is to be told, and whether the
    order of day and month was asked of any.

    Parameters
    ----------
    day_first : bool, optional
        Whether 1/2/2011 is the first of February; None to have it decided.

    Examples
    --------
    >>> read_dates(["2010-12-01 08:26:00", "soon"])[0].tolist() == [1291191960, UNKNOWN]
    True
    """
    # pandas takes zero bytes for the end of a date, and "now" for one.
    clean = [text if text[:1].isdigit() and "\0" not in text else "" for text in texts]
    seconds = _parse(clean, "ISO8601")
    notes: list[Note] = []
    unread = np.flatnonzero(seconds == UNKNOWN)
    ordered = False
    if len(unread):
        rest = [texts[at] for at in unread]
        seconds[unread], notes, ordered = _read_others(rest, day_first)
        notes = [note._replace(which=spread(note.which, unread, len(texts))) for note in notes]
    offsets = np.array([len(text) > 13 and _has_offset(text) for text in texts], bool) & (seconds != UNKNOWN)
    if offsets.any():
        notes.append(Note("time_zones", "have a time zone", offsets))
    return seconds, notes, ordered


def spread(which: NDArray[np.bool_] | None, places: NDArray[np.intp], n: int) -> NDArray[np.bool_] | None:
    """A mask over some places as one over all ``n``."""
    if which is None:
        return None
    wide = np.zeros(n, bool)
    wide[places[which]] = True
    return wide


def _has_offset(text: str) -> bool:
    """Whether a text ends in an offset that is not zero."""
    if "+" not in text[10:] and "-" not in text[10:]:
        return False
    match = _OFFSET.search(text)
    return match is not None and match[1].strip("+-0:") != ""


def _parse(texts: list[str], form: str) -> NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), errors="coerce", utc=True, format=form)
    # Nanoseconds would reach from 1677 to 2262 only.
    return datetime_seconds(pd.DatetimeIndex(parsed))


def datetime_seconds(stamps: "pd.DatetimeIndex") -> NDArray[np.int64]:
    """Seconds of datetimes, those with a zone as UTC and those without taken as UTC."""
    naive = stamps if stamps.tz is None else stamps.tz_convert("UTC").tz_localize(None)
    seconds = np.asarray(naive.as_unit("s").asi8, np.int64).copy()
    seconds[np.asarray(stamps.isna())] = UNKNOWN
    return seconds


def _read_others(texts: list[str], day_first: bool | None) -> tuple[NDArray[np.int64], list[Note], bool]:
    """What is not ISO 8601."""
    matches = [_NUMERIC.fullmatch(text) for text in texts]
    orders, notes = _decide_orders(texts, matches, day_first)
    iso = ["" if match is None else _iso_of(match, orders) for match in matches]
    seconds = _parse(iso, "ISO8601")
    named = [
        at for at, (text, match) in enumerate(zip(texts, matches, strict=True)) if not match and _names_a_date(text)
    ]
    if named:
        seconds[named] = _parse([texts[at] for at in named], "mixed")
    told = []
    for note in notes:
        read = np.flatnonzero(note.which & (seconds != UNKNOWN))
        if len(read):
            example = note.text.format(text=texts[read[0]], time=format_time(seconds[read[0]]))
            told.append(Note(note.name, example, hint=note.hint))
    return seconds, told, bool(orders)


def _decide_orders(
    texts: list[str], matches: list["re.Match[str] | None"], day_first: bool | None
) -> tuple[dict[str, bool], list[Note]]:
    """Whether the day is first, for each sign between the numbers, and what is told about that."""
    orders: dict[str, bool] = {}
    notes: list[Note] = []
    signs = np.array(["" if match is None else match["sign"] or "" for match in matches])
    for sign in sorted({*signs.tolist()} - {""}):
        found = [match for match in matches if match is not None and match["sign"] == sign]
        if day_first is not None:
            orders[sign] = day_first
            continue
        n_day_first = sum(int(match["one"]) > 12 for match in found)
        n_month_first = sum(int(match["two"]) > 12 for match in found)
        orders[sign] = sign == "." if n_day_first == n_month_first else n_day_first > n_month_first
        if (n_day_first == n_month_first and sign != ".") or (n_day_first and n_month_first):
            first, other = ("day", "month") if orders[sign] else ("month", "day")
            text = f"dates such as {{text!r}} are read {first} first ({{time}})"
            text += ", though others are not" if n_day_first else ""
            hint = f"if the {other} is first, give day_first={not orders[sign]}"
            notes.append(Note("date_order", text, signs == sign, hint))
    return orders, notes


def _iso_of(match: "re.Match[str]", orders: dict[str, bool]) -> str:
    """A date of numbers in the spelling of ISO 8601; what is wrong with it stays wrong."""
    year, month, day = match["year"], match["month"], match["day"]
    if year is None:
        year = match["last"]
        day, month = (match["one"], match["two"]) if orders[match["sign"]] else (match["two"], match["one"])
        if len(year) == 2:
            # As POSIX has it.
            year = ("19" if int(year) >= 69 else "20") + year
    date = f"{year}-{month:0>2}-{day:0>2}"
    if match["hour"] is None:
        return date
    hour, half = int(match["hour"]), match["half"]
    if half is None and match["minute"] is None:
        return ""
    if half is not None:
        if not 1 <= hour <= 12:
            return ""
        hour = hour % 12 + (12 if half in "pP" else 0)
    zone = (match["zone"] or "").removeprefix("UTC").removeprefix("GMT").upper()
    return f"{date}T{hour:02}:{match['minute'] or '00'}:{match['second'] or '00'}{zone}"


def _names_a_date(text: str) -> bool:
    """Whether a text names a month and has a year, and no word that is not known."""
    if not _MONTH.search(text) or any(not _KNOWN_WORDS.fullmatch(word) for word in re.findall("[^\\W\\d_]+", text)):
        return False
    without_clock = re.sub(r"\d{1,2}:\d{2}\S*|[+-]\d{4}$|\d{1,2}\s*[ap]\.?m\b", " ", text, flags=re.IGNORECASE)
    numbers = re.findall(r"\d+", without_clock)
    return any(len(number) == 4 for number in numbers) or len(numbers) == 2


def what_is_wrong(text: str) -> str:
    """Why a text is no date, in a few words; empty where there is nothing more to say.

    Examples
    --------
    >>> what_is_wrong("08:30"), what_is_wrong("01 Dec")
    ('a clock time without a date', 'a date without a year')
    """
    bare = text.strip()
    if is_clock(bare):
        return "a clock time without a date"
    if _MONTH.search(bare) or re.fullmatch(r"\d{1,2}[-/.]\d{1,2}\.?", bare):
        return "a date without a year" if not re.search(r"\d{4}", bare) else ""
    return ""


def is_clock(text: str) -> bool:
    """Whether a text is a time of day, such as 08:30."""
    match = _CLOCK_ALONE.fullmatch(text)
    return match is not None and (match["minute"] is not None or match["half"] is not None)


def read_clocks(texts: list[str]) -> NDArray[np.int64]:
    """Seconds after midnight of stripped texts such as 08:30; ``UNKNOWN`` where one is no time of day."""
    dated = [f"1970-01-01 {text}" if is_clock(text) else "" for text in texts]
    return read_dates(dated)[0]


def read_format(texts: list[str], form: str) -> NDArray[np.int64]:
    """Seconds of texts in a format of ``strptime``; ``UNKNOWN`` where one does not fit."""
    return _parse(texts, form)
