"""A purchase table after its columns were read and before any row was judged.

Every source (text file, data frame, Arrow, matrix, arrays) ends here: ids and names as codes into distinct values,
quantities and timestamps as numbers, and beside them the rows that could not be parsed. What follows never loops over
rows.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data import timestamps
from ancf.data.arrays import fits_float32, largest_exact, object_array, positions_among
from ancf.data.id_texts import IdRules, has_unseen, normalize_text
from ancf.data.id_values import is_whole
from ancf.data.report import FileAccount, Noted, Reason
from ancf.data.restrictions import describe_counts
from ancf.data.timestamps import TimeOptions
from ancf.errors import InvalidDataError

_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WITH_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_WITH_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

# Rows that are counted at a time.
_COUNTED_ROWS = 1 << 18
MAX_UNPARSED_TEXTS = 20
"""Texts kept of a column's unparsed rows: more than a report shows, since rows left out for other reasons fall away."""


@dataclass
class EncodedColumn:
    """A column of few distinct values: ``values[codes[row]]``, where code -1 is a missing value."""

    codes: NDArray[np.int32]
    values: NDArray[Any]
    ascending: bool = False
    """Whether the values are known to be in ascending order, each of them in some row."""

    def count(self) -> NDArray[np.int64]:
        """How many rows have no value, and each of the values."""
        counts = np.zeros(len(self.values) + 1, np.int64)
        for start in range(0, len(self.codes), _COUNTED_ROWS):
            counts += np.bincount(self.codes[start : start + _COUNTED_ROWS] + 1, minlength=len(counts))
        return counts


@dataclass
class Unparsed:
    """The rows of a column that could not be parsed, and the texts of the first ``MAX_UNPARSED_TEXTS`` of them."""

    rows: NDArray[np.int64]
    texts: list[str]

    def texts_of(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts of some of these rows, as far as they were kept."""
        kept = dict(zip(self.rows[: len(self.texts)].tolist(), self.texts, strict=True))
        return [kept[row] for row in rows.tolist() if row in kept]

    def part(self, start: int, stop: int) -> "Unparsed":
        """Those among some rows, counted from the first of these."""
        first, last = np.searchsorted(self.rows, (start, stop)).tolist()
        return Unparsed(self.rows[first:last] - start, self.texts[first:last])


@dataclass
class NumberColumn:
    """Quantities; an unparsed one is no finite number, or none that float32 holds."""

    values: NDArray[np.float64]
    unparsed: Unparsed


@dataclass
class TimeColumn:
    """Timestamps in seconds since 1970-01-01 UTC; an unparsed one is ``timestamps.UNKNOWN``."""

    seconds: NDArray[np.int64]
    unparsed: Unparsed
    options: TimeOptions
    """What the caller said of them."""


@dataclass
class LeftOut:
    """Rows that are left out whatever they hold, such as comments."""

    name: str
    text: str
    """Both as ``Report.leave_out`` takes them."""
    rows: NDArray[np.int64]
    values: list[str] = field(default_factory=list)
    """The texts of the first of these rows, where they help."""
    is_bad: bool = False
    """Whether they are refused unless the caller drops bad rows."""


@dataclass
class RawTable:
    """The columns of a purchase table by role, all of ``n_rows``."""

    source: str
    n_rows: int
    columns: dict[str, str]
    """Role → heading."""
    row_base: int = 0
    """The number of the first row, as people count rows in this kind of source."""
    id_rules: IdRules = field(default_factory=IdRules)
    ignored: list[str] = field(default_factory=list)
    """Columns, index levels and levels of the headings that are not read."""
    ids: dict[str, EncodedColumn] = field(default_factory=dict)
    """By role: user, item, basket, name, category, event."""
    weight: NumberColumn | None = None
    time: TimeColumn | None = None
    blank_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    long_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows with more fields than the header."""
    left_out: list[LeftOut] = field(default_factory=list)
    skipped: list[Reason] = field(default_factory=list)
    """Lines that are no rows: those above the header."""
    notes: list[tuple[str, str, Noted | None]] = field(default_factory=list)
    """What was decided while reading, as ``Report.note`` takes it: name, text, rows."""
    time_texts: EncodedColumn | None = None
    """The times as they were written, where they are text."""
    files: list[FileAccount] = field(default_factory=list)
    """The tables that this one was combined of."""
    row_counts: NDArray[np.int64] | None = None
    """Where each row stands for several that are equal: how many."""
    first_row: int = 0
    """The number of the first row among those of the table of which this is a part."""

    def part(self, start: int, stop: int) -> "RawTable":
        """Some consecutive rows, with the notes of none."""

        def within(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            return rows[(rows >= start) & (rows < stop)] - start

        part = replace(self, n_rows=stop - start, first_row=start, ids={}, notes=[], skipped=[], time_texts=None)
        for role, column in self.ids.items():
            part.ids[role] = EncodedColumn(column.codes[start:stop], column.values)
        if self.weight is not None:
            part.weight = NumberColumn(self.weight.values[start:stop], self.weight.unparsed.part(start, stop))
        if self.time is not None:
            unparsed = self.time.unparsed.part(start, stop)
            part.time = TimeColumn(self.time.seconds[start:stop], unparsed, self.time.options)
        part.blank_rows, part.long_rows = within(self.blank_rows), within(self.long_rows)
        part.left_out = []
        for each in self.left_out:
            values = Unparsed(each.rows, each.values).part(start, stop).texts
            part.left_out.append(LeftOut(each.name, each.text, within(each.rows), values, each.is_bad))
        return part

    @property
    def time_heading(self) -> str:
        """The time column for messages."""
        return f"the time column {self.columns['time']!r} of {self.source}"

    def note_repeated(self, role: str, heading: str, positions: Sequence[int], same: Sequence[bool]) -> None:
        """Note the columns with one heading, of which the first is that of a role.

        Raises
        ------
        InvalidDataError
            If one holds other values, so that it is not clear which is meant.
        """
        shown = ", ".join(map(str, sorted(positions)))
        if not all(same):
            raise InvalidDataError(
                f"{self.source}: the heading {heading!r} stands {len(positions)} times (columns {shown}, counted "
                f"from 0), with different values, so it is not clear which is the {role}. Name one by its position, "
                f"such as {role}={positions[0]}."
            )
        text = f"the heading {heading!r} stands {len(positions)} times, with the same values (columns {shown})"
        self.notes.append(("repeated_heading", text, None))


def merge_codes(codes: NDArray[Any], values: list[str], absent: Collection[str] = ("",)) -> EncodedColumn:
    """A column whose values are no longer distinct: equal ones become one, those in ``absent`` missing."""
    position = {value: at for at, value in enumerate(dict.fromkeys(each for each in values if each not in absent))}
    if len(position) == len(values):
        return EncodedColumn(codes.astype(np.int32, copy=False), object_array(position))
    new_code = np.fromiter((position.get(value, -1) for value in values), np.int32, len(values))
    return EncodedColumn(_recode(codes, new_code), object_array(position))


def _recode(codes: NDArray[Any], new_code: NDArray[np.int32]) -> NDArray[np.int32]:
    """The new code of each code; missing values stay missing."""
    recoded: NDArray[np.int32] = np.append(new_code, np.int32(-1))[codes]
    return recoded


def _drop_missing(codes: NDArray[Any], ascending: list[str], absent: set[str]) -> EncodedColumn:
    """A column of distinct ascending texts, those in ``absent`` as missing values."""
    values = object_array(ascending)
    if not absent:
        return EncodedColumn(codes.astype(np.int32, copy=False), values, ascending=True)
    kept = np.ones(len(ascending), bool)
    kept[[bisect_left(ascending, text) for text in absent]] = False
    return EncodedColumn(_recode(codes, positions_among(kept)), values[kept], ascending=True)


def encode_text_ids(
    codes: NDArray[Any], texts: list[str], role: str, table: RawTable, ascending: bool = False
) -> EncodedColumn:
    """Text ids without surrounding spaces; the signs of a missing id become missing values.

    Ids that went through a column of floats (``17850.0``, because some were missing) lose the ``.0`` when all have it.
    """
    rules, joined = table.id_rules, "".join(texts)
    if joined.split(None, 1) == [joined]:
        stripped = texts  # no space anywhere, as in nearly all tables
    else:
        stripped = [text.strip() for text in texts]
        ascending = ascending and stripped == texts
    if stripped is not texts and stripped != texts:
        spaced = [code for code, (text, bare) in enumerate(zip(texts, stripped, strict=True)) if text != bare and bare]
        rows = np.flatnonzero(np.isin(codes, spaced))
        table.notes.append(("spaces", f"have spaces around the {role} id, taken off", rows))
    if not joined.isascii():
        seen = _settle_unseen(codes, stripped, role, table)
        ascending, stripped = ascending and seen is stripped, seen
    absent = rules.missing_texts(stripped, role, ascending)
    if role != "basket":
        _note_missing(codes, stripped, absent - {""}, role, table)
    present = (text for text in stripped if text not in absent)
    are_floats = len(absent) < len(stripped) and all(
        text[-2:] == ".0" and text[:-2].lstrip("-").isdigit() for text in present
    )
    if are_floats:
        table.notes.append(("float_ids", f'{role} ids all end in ".0", which is taken off', None))
    if not are_floats and not (role == "user" and rules.keep_minus_one and "-1.0" in stripped):
        return _drop_missing(codes, stripped, absent) if ascending else merge_codes(codes, stripped, absent)
    bare = [text.removesuffix(".0") if are_floats or text == "-1.0" else text for text in stripped]
    return merge_codes(codes, bare, absent | {text.removesuffix(".0") for text in absent})


def _note_missing(
    codes: NDArray[Any], values: Sequence[Any], absent: Collection[Any], role: str, table: RawTable
) -> None:
    """Note which words were taken for a missing id, and how often."""
    if not absent:
        return
    which = np.array([code for code, value in enumerate(values) if value in absent])
    rows = np.flatnonzero(np.isin(codes, which))
    times = None if table.row_counts is None else table.row_counts[rows]
    words = describe_counts(np.bincount(codes[rows], times, len(values)), object_array(list(values)))
    table.notes.append(
        ("missing_words", f"have a word for a missing {role} id ({words}); missing=() takes it as an id", rows)
    )


def _settle_unseen(codes: NDArray[Any], texts: list[str], role: str, table: RawTable) -> list[str]:
    """The texts, normalized where the caller asks for it; a note about those with characters that people do not see."""
    odd = [code for code, text in enumerate(texts) if not text.isascii() and has_unseen(text)]
    if not odd:
        return texts
    seen = {code: normalize_text(texts[code]) for code in odd}
    looks, others = Counter(seen.values()), {text for code, text in enumerate(texts) if code not in seen}
    n_alike = sum(look in others or looks[look] > 1 for look in seen.values())
    rows = np.flatnonzero(np.isin(codes, odd))
    what = f"have invisible or decomposed characters in the {role} id"
    shown = ", ".join(ascii(texts[code]) for code in odd[:3]) + (", …" if len(odd) > 3 else "")
    if table.id_rules.normalize:
        table.notes.append(("unseen_characters", f"{what} ({shown}), which is normalized", rows))
        return [seen.get(code, text) for code, text in enumerate(texts)]
    alike = f"; {n_alike} of these ids look{'s' if n_alike == 1 else ''} like another" if n_alike else ""
    table.notes.append(("unseen_characters", f"{what} ({shown}){alike}; normalize_ids=True makes them one", rows))
    return texts


def encode_ids(column: "pd.Series[Any]", role: str, table: RawTable) -> EncodedColumn:
    """Ids of a pandas column, of whatever type."""
    dtype = column.dtype
    values_dtype = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    _refuse_other_types(values_dtype, role, table)
    if isinstance(dtype, pd.CategoricalDtype):
        codes, values = np.asarray(column.cat.codes), dtype.categories
        used = _used(codes, len(values))
        if not used.all():
            codes, values = _recode(codes, positions_among(used)), values[used]
        return _encode_distinct(codes, values, role, table)
    is_number = pd.api.types.is_numeric_dtype(dtype)
    try:
        codes, distinct = pd.factorize(column if is_number else _as_objects(column))
    except TypeError as error:
        raise InvalidDataError(f"{table.source}: the {role} column holds no ids ({error}). Name another.") from None
    return _encode_distinct(codes, distinct, role, table)


def _used(codes: NDArray[Any], n_values: int) -> NDArray[np.bool_]:
    """Which of the values some row has; the flag behind them is that of the missing ones."""
    used = np.zeros(n_values + 1, bool)
    used[codes] = True
    return used[:-1]


def _factorize(column: "pd.Series[Any]") -> tuple[NDArray[Any], Sequence[Any]]:
    """The code of each row, -1 for a missing value, and the distinct values in the order of their first rows."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        coded, distinct = pd.factorize(_as_objects(column))
        return coded, list(distinct)
    codes = np.asarray(column.cat.codes)
    in_order = pd.unique(codes)
    in_order = in_order[in_order >= 0]
    values = column.cat.categories[in_order].tolist()
    if np.array_equal(in_order, np.arange(len(in_order))):
        return codes, values
    rank = np.full(len(column.cat.categories), -1, np.int32)
    rank[in_order] = np.arange(len(in_order))
    return _recode(codes, rank), values


def _refuse_other_types(dtype: Any, role: str, table: RawTable) -> None:
    types = pd.api.types
    what = next(
        (
            words
            for is_such, words in (
                (types.is_bool_dtype, "true and false"),
                (types.is_datetime64_any_dtype, "dates"),
                (types.is_timedelta64_dtype, "durations"),
                (types.is_complex_dtype, "complex numbers"),
                (lambda each: isinstance(each, (pd.PeriodDtype, pd.IntervalDtype)), "periods or intervals"),
            )
            if is_such(dtype)
        ),
        None,
    )
    if what:
        raise InvalidDataError(f"{table.source}: the {role} column holds {what}, which are no ids. Name another.")


def _encode_distinct(codes: NDArray[Any], distinct: Any, role: str, table: RawTable) -> EncodedColumn:
    """Ids from distinct values of whatever type and each row's code among them, -1 where none is there."""
    if pd.api.types.is_numeric_dtype(distinct.dtype):
        return _encode_numbers(codes, np.asarray(distinct), role, table)
    ids: list[Any] = _as_objects(pd.Series(distinct)).tolist()
    types = {type(value) for value in ids}
    if all(issubclass(each, str) for each in types):
        texts = ids if types <= {str} else [str(value) for value in ids]
        return encode_text_ids(codes, texts, role, table, bool(pd.Index(texts, dtype=object).is_monotonic_increasing))
    if all(issubclass(each, _NUMBERS) and each is not bool for each in types):
        return _encode_numbers(codes, object_array(ids), role, table)
    if len(types) == 1 and next(iter(types)).__name__ in ("UUID", "bytes"):
        return EncodedColumn(codes.astype(np.int32, copy=False), object_array(ids))
    type_names = ", ".join(sorted(each.__name__ for each in types))
    if not all(issubclass(each, (str, *_NUMBERS)) and each is not bool for each in types):
        raise InvalidDataError(
            f"{table.source}: the {role} column holds {type_names}. Give integers, text, UUIDs or bytes."
        )
    table.notes.append(("mixed_ids", f"{role} ids are of several kinds ({type_names}); all are taken as text", None))
    texts = [str(value) if isinstance(value, str) or not is_whole(value) else str(int(value)) for value in ids]
    return encode_text_ids(codes, texts, role, table)


_NUMBERS = (int, float, Decimal, np.integer, np.floating)


def _is_inexact(value: Any) -> bool:
    """Whether a float is so large that it may stand for its neighbors, too."""
    return isinstance(value, (float, np.floating)) and abs(float(value)) >= largest_exact(type(value))


def _encode_numbers(codes: NDArray[Any], distinct: NDArray[Any], role: str, table: RawTable) -> EncodedColumn:
    """Whole numbers as ids, exact: floats and decimals that are whole, too, where their type holds all that small."""
    listed = distinct.tolist() if distinct.dtype == object else None
    if listed is not None:
        not_whole = np.array([not is_whole(value) for value in listed], bool)
        inexact = np.array([_is_inexact(value) for value in listed], bool)
    elif distinct.dtype.kind == "f":
        not_whole = ~np.isfinite(distinct) | (distinct != np.floor(distinct))
        inexact = np.abs(distinct) >= largest_exact(distinct.dtype)
    else:
        not_whole = inexact = np.zeros(0, bool)
    for wrong, why in (
        (not_whole, "is no whole number. Give ids as integers or text"),
        (inexact, "is too large for a float, where neighboring ids become one number. Read ids as int64 or text"),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            row = int(np.flatnonzero(codes == at)[0]) + table.row_base
            value = distinct[at].item() if distinct.dtype != object else distinct[at]
            raise InvalidDataError(f"{table.source}: {role} id {value!r} (row {row}) {why}.")
    if distinct.dtype == np.uint64 or listed is not None:
        exact: list[int] = list(map(int, distinct.tolist()))
        largest = max([*exact, 0], key=lambda value: abs(value))
        if not -(2**63) <= largest < 2**63:
            raise InvalidDataError(f"{table.source}: {role} id {largest} does not fit 63 bits. Give ids as text.")
        distinct = np.array(exact, np.int64)
    whole = distinct.astype(np.int64)
    if listed is not None and len(whole):
        repeated, whole = pd.factorize(whole)  # 7 and Decimal("7.0") are one id
        codes = _recode(codes, repeated.astype(np.int32))
    missing = np.isin(whole, table.id_rules.missing_numbers(role))
    if not missing.any():
        return EncodedColumn(codes.astype(np.int32, copy=False), whole)
    if role != "basket":
        _note_missing(codes, whole.tolist(), whole[missing].tolist(), role, table)
    return EncodedColumn(_recode(codes, positions_among(~missing)), whole[~missing])


def _as_objects(column: "pd.Series[Any]") -> NDArray[Any]:
    """The values as Python objects, None where one is missing."""
    values: Any = column
    objects: NDArray[Any] = values.to_numpy(dtype=object, na_value=None)
    return objects


def encode_texts(column: "pd.Series[Any]") -> EncodedColumn:
    """Names or categories: text without surrounding spaces; none, or an empty one, is missing."""
    codes, distinct = _factorize(column)
    return merge_codes(codes, [str(value).strip() for value in distinct])


def parse_numbers(column: "pd.Series[Any]") -> NumberColumn:
    """Quantities of a pandas column."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        rows = np.flatnonzero(~fits_float32(values))
        return NumberColumn(values, Unparsed(rows, [str(value) for value in values[rows[:MAX_UNPARSED_TEXTS]]]))
    codes, distinct = _factorize(column)
    texts = [str(value) for value in distinct]
    values = np.append(np.array([parse_number(text) for text in texts], np.float64), np.nan)[codes]
    rows = np.flatnonzero(~fits_float32(values))
    return NumberColumn(values, unparsed_texts(rows, codes[rows], texts))


def parse_number(text: str, delimiter: str = ";") -> float:
    """A number as people write it; NaN for anything else.

    A comma is a decimal comma, except where commas stand between the fields: there, ``1,234`` in quotes is a thousand.

    Examples
    --------
    >>> parse_number("2,5"), parse_number("1,234", ","), parse_number("12 pcs")
    (2.5, 1234.0, nan)
    """
    bare = text.strip()
    if _PLAIN_NUMBER.fullmatch(bare):
        return float(bare)
    if delimiter == ",":
        return float(bare.replace(",", "")) if _WITH_THOUSANDS.fullmatch(bare) else float("nan")
    if _WITH_DECIMAL_COMMA.fullmatch(bare):
        return float(bare.replace(",", "."))
    return float("nan")


def parse_times(column: "pd.Series[Any]", table: RawTable, options: TimeOptions) -> TimeColumn:
    """Timestamps of a pandas column."""
    try:
        times = timestamps.read_column(column, options, table.time_heading)
    except InvalidDataError as error:
        raise InvalidDataError(f"{error} Or read without: time=False.") from None

    def text_of(row: int) -> str:
        value = column.iloc[row]
        return "" if pd.isna(value) else str(value)

    return time_column(times, text_of, table, options)


def time_column(
    times: timestamps.Times, text_of: Callable[[int], str], table: RawTable, options: TimeOptions
) -> TimeColumn:
    """Timestamps that were read, as a column of the table; ``text_of`` gives the text of a row."""
    table.notes += [(name, "; ".join(filter(None, (text, hint))), rows) for name, text, rows, hint in times.notes]
    rows = times.unknown()
    unparsed = Unparsed(rows, [text_of(row) for row in rows[:MAX_UNPARSED_TEXTS].tolist()])
    return TimeColumn(times.seconds, unparsed, options)


def unparsed_texts(rows: NDArray[np.int64], codes: NDArray[Any], texts: Sequence[str]) -> Unparsed:
    """The unparsed rows of a column of texts; ``codes`` are those of these rows alone."""
    return Unparsed(rows, ["" if code < 0 else texts[code] for code in codes[:MAX_UNPARSED_TEXTS].tolist()])
