"""A purchase table after its columns were read and before any row was judged.

Every source (text file, data frame, Arrow, matrix, arrays) ends here: ids and names as codes into distinct values,
quantities and timestamps as numbers, and beside them the rows that could not be parsed. What follows never loops over
rows.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf.data import timestamps
from ancf.data.arrays import fits_float32, object_array, positions_among
from ancf.data.timestamps import TimeOptions
from ancf.errors import InvalidDataError

_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WITH_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_WITH_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

MISSING_IDS = frozenset({"", "-1", "-1.0", "nan", "none", "null", "<na>", "n/a", "#n/a", "na", "nat"})
"""Texts (without case and surrounding spaces) that stand for "no id" in one table or another."""
_MISSING_ID_SPELLINGS = sorted(
    {"".join(spelling) for text in MISSING_IDS for spelling in product(*({c.lower(), c.upper()} for c in text))}
)

MAX_UNPARSED_TEXTS = 20
"""Texts kept of a column's unparsed rows: more than a report shows, since rows left out for other reasons fall away."""


@dataclass
class EncodedColumn:
    """A column of few distinct values: ``values[codes[row]]``, where code -1 is a missing value."""

    codes: NDArray[np.int32]
    values: NDArray[Any]
    ascending: bool = False
    """Whether the values are known to be in ascending order, each of them in some row."""


@dataclass
class Unparsed:
    """The rows of a column that could not be parsed, and the texts of the first ``MAX_UNPARSED_TEXTS`` of them."""

    rows: NDArray[np.int64]
    texts: list[str]

    def texts_of(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts of some of these rows, as far as they were kept."""
        kept = dict(zip(self.rows[: len(self.texts)].tolist(), self.texts, strict=True))
        return [kept[row] for row in rows.tolist() if row in kept]


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
class RawTable:
    """The columns of a purchase table by role, all of ``n_rows``."""

    source: str
    n_rows: int
    columns: dict[str, str]
    """Role → heading."""
    row_base: int = 0
    """The number of the first row, as people count rows in this kind of source."""
    keep_minus_one: bool = False
    """Whether the user id -1 is an id (a class of its own), not the sign of a missing one."""
    ids: dict[str, EncodedColumn] = field(default_factory=dict)
    """By role: user, item, basket, name, category."""
    weight: NumberColumn | None = None
    time: TimeColumn | None = None
    blank_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    long_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows with more fields than the header."""
    notes: list[tuple[str, str, NDArray[np.int64] | None]] = field(default_factory=list)
    """What was decided while reading, as ``Report.note`` takes it: name, text, rows."""

    @property
    def time_heading(self) -> str:
        """The time column for messages."""
        return f"the time column {self.columns['time']!r} of {self.source}"


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


def _find_missing(ascending: list[str]) -> set[str]:
    """The signs of a missing id among distinct texts in ascending order."""
    found = set()
    for spelling in _MISSING_ID_SPELLINGS:
        at = bisect_left(ascending, spelling)
        if at < len(ascending) and ascending[at] == spelling:
            found.add(spelling)
    return found


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
    keep_minus_one = role == "user" and table.keep_minus_one
    joined = "".join(texts)
    if joined.split(None, 1) == [joined]:
        stripped = texts  # no space anywhere, as in nearly all tables
    else:
        stripped = [text.strip() for text in texts]
        ascending = ascending and stripped == texts
    if stripped is not texts and stripped != texts:
        spaced = [code for code, (text, bare) in enumerate(zip(texts, stripped, strict=True)) if text != bare and bare]
        rows = np.flatnonzero(np.isin(codes, spaced))
        table.notes.append(("spaces", f"have spaces around the {role} id, taken off", rows))
    absent = _find_missing(stripped) if ascending else set(_MISSING_ID_SPELLINGS).intersection(stripped)
    absent -= {"-1", "-1.0"} if keep_minus_one else set()
    present = (text for text in stripped if text not in absent)
    are_floats = len(absent) < len(stripped) and all(
        text[-2:] == ".0" and text[:-2].lstrip("-").isdigit() for text in present
    )
    if are_floats:
        table.notes.append(("float_ids", f'{role} ids all end in ".0", which is taken off', None))
    if not are_floats and not (keep_minus_one and "-1.0" in stripped):
        return _drop_missing(codes, stripped, absent) if ascending else merge_codes(codes, stripped, absent)
    bare = [text.removesuffix(".0") if are_floats or text == "-1.0" else text for text in stripped]
    return merge_codes(codes, bare, absent | {text.removesuffix(".0") for text in absent})


def encode_ids(column: "pd.Series[Any]", role: str, table: RawTable) -> EncodedColumn:
    """Ids of a pandas column, of whatever type."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = encode_ids(pd.Series(dtype.categories), role, table)
        return EncodedColumn(_recode(np.asarray(column.cat.codes), categories.codes), categories.values)
    if pd.api.types.is_bool_dtype(dtype):
        raise InvalidDataError(
            f"{table.source}: the {role} column holds true and false, which are no ids. Name another."
        )
    if pd.api.types.is_numeric_dtype(dtype):
        return _encode_numeric_ids(column, role, table)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        raise InvalidDataError(f"{table.source}: the {role} column holds dates, which are no ids. Name another.")
    try:
        codes, distinct = pd.factorize(_as_objects(column))
    except TypeError as error:
        raise InvalidDataError(f"{table.source}: the {role} column holds no ids ({error}). Name another.") from None
    ids: list[Any] = list(distinct)
    types = {type(value) for value in ids}
    if types <= {str}:
        return encode_text_ids(codes, ids, role, table)
    if types <= {int, float} or (types and all(issubclass(each, np.number) for each in types)):
        numbers = encode_ids(pd.Series(ids, dtype="float64" if float in types else None), role, table)
        return EncodedColumn(_recode(codes, numbers.codes), numbers.values)
    if len(types) == 1 and next(iter(types)).__name__ in ("UUID", "bytes"):
        return EncodedColumn(codes.astype(np.int32), np.asarray(distinct, object))
    type_names = ", ".join(sorted(each.__name__ for each in types))
    if not types <= {str, int, float, *(each for each in types if issubclass(each, np.number))}:
        raise InvalidDataError(
            f"{table.source}: the {role} column holds {type_names}. Give integers, text, UUIDs or bytes."
        )
    table.notes.append(("mixed_ids", f"{role} ids are of several kinds ({type_names}); all are taken as text", None))
    texts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in ids]
    return encode_text_ids(codes, texts, role, table)


def _encode_numeric_ids(column: "pd.Series[Any]", role: str, table: RawTable) -> EncodedColumn:
    codes, distinct = pd.factorize(column)
    numbers = np.asarray(distinct)
    if numbers.dtype.kind == "f" or numbers.dtype == object:
        real = numbers.astype(np.float64)
        not_whole = np.flatnonzero(~np.isfinite(real) | (real != np.floor(real)) | (np.abs(real) >= 2**53))
        if len(not_whole):
            row = int(np.flatnonzero(codes == not_whole[0])[0])
            raise InvalidDataError(
                f"{table.source}: {role} id {float(real[not_whole[0]])!r} (row {row + table.row_base}) is no whole "
                "number. Give ids as integers or text."
            )
    if numbers.dtype == np.uint64 and len(numbers) and numbers.max() > 2**63 - 1:
        raise InvalidDataError(f"{table.source}: {role} id {numbers.max()} does not fit 63 bits. Give ids as text.")
    whole = numbers.astype(np.int64)
    absent = np.flatnonzero(whole == -1)
    if not len(absent) or (role == "user" and table.keep_minus_one):
        return EncodedColumn(codes.astype(np.int32), whole)
    return EncodedColumn(_recode(codes, positions_among(whole != -1)), np.delete(whole, absent))


def _as_objects(column: "pd.Series[Any]") -> NDArray[Any]:
    """The values as Python objects, None where one is missing."""
    values: Any = column
    objects: NDArray[Any] = values.to_numpy(dtype=object, na_value=None)
    return objects


def encode_texts(column: "pd.Series[Any]") -> EncodedColumn:
    """Names or categories: text without surrounding spaces; none, or an empty one, is missing."""
    codes, distinct = pd.factorize(_as_objects(column))
    return merge_codes(codes, [str(value).strip() for value in distinct])


def parse_numbers(column: "pd.Series[Any]") -> NumberColumn:
    """Quantities of a pandas column."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        rows = np.flatnonzero(~fits_float32(values))
        return NumberColumn(values, Unparsed(rows, [str(value) for value in values[rows[:MAX_UNPARSED_TEXTS]]]))
    codes, distinct = pd.factorize(_as_objects(column))
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
