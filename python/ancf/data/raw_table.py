"""A purchase table after its columns were read and before any row was judged.

Every source (text file, data frame, Arrow, matrix, arrays) ends here: ids and names as codes into distinct values,
numbers and moments with the rows that could not be read set aside. What follows never loops over rows.
"""

import re
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf.data import timestamps
from ancf.errors import InvalidDataError

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

MISSING = frozenset({"", "-1", "-1.0", "nan", "none", "null", "<na>", "n/a", "#n/a", "na", "nat"})
"""Texts (without case and surrounding spaces) that stand for "no id" in one table or another."""
_MISSING_FORMS = sorted(
    {"".join(form) for text in MISSING for form in product(*({c.lower(), c.upper()} for c in text))}
)


@dataclass
class Coded:
    """A column of few distinct values: ``values[codes[row]]``, where code -1 is a missing value."""

    codes: NDArray[np.int32]
    values: NDArray[Any]
    ascending: bool = False
    """Whether the values are known to stand in ascending order, each beside some row."""


LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Odd:
    """The rows of a column that could not be read, and what stands there (for the first ones at least)."""

    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    texts: list[str] = field(default_factory=list)


@dataclass
class Numbers:
    values: NDArray[np.float64]
    odd: Odd


@dataclass
class Moments:
    seconds: NDArray[np.int64]
    odd: Odd


@dataclass
class RawTable:
    """The columns of a purchase table by role, all of ``n_rows``."""

    source: str
    n_rows: int
    columns: dict[str, str]
    row_base: int = 0
    keep_minus_one: bool = False
    """Whether the user id -1 is an id (a class of its own), not the sign of a missing one."""
    ids: dict[str, Coded] = field(default_factory=dict)
    """user, item, basket, name, category; user, item and basket with missing ids as -1."""
    weight: Numbers | None = None
    time: Moments | None = None
    blank_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    long_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    notes: list[tuple[str, str, NDArray[np.int64] | None]] = field(default_factory=list)


def merged(codes: NDArray[Any], values: list[str], absent: Collection[str] = ("",)) -> Coded:
    """Codes after the values were renamed: those in ``absent`` are missing, those that agree become one."""
    place = {value: at for at, value in enumerate(dict.fromkeys(value for value in values if value not in absent))}
    distinct = np.empty(len(place), object)
    distinct[:] = list(place)
    if len(place) == len(values):
        return Coded(codes.astype(np.int32, copy=False), distinct)
    table = np.fromiter((place.get(value, -1) for value in values), np.int32, len(values))
    return Coded(np.append(table, np.int32(-1))[codes], distinct)


def _among(ascending: list[str]) -> set[str]:
    """The signs of a missing id among distinct texts in ascending order."""
    found = set()
    for form in _MISSING_FORMS:
        at = bisect_left(ascending, form)
        if at < len(ascending) and ascending[at] == form:
            found.add(form)
    return found


def _without(codes: NDArray[Any], ascending: list[str], absent: set[str]) -> Coded:
    """Codes into distinct ascending texts after a few of them became missing."""
    values = np.empty(len(ascending), object)
    values[:] = ascending
    if not absent:
        return Coded(codes.astype(np.int32, copy=False), values, ascending=True)
    kept = np.ones(len(ascending), bool)
    kept[[bisect_left(ascending, text) for text in absent]] = False
    table = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    return Coded(np.append(table, np.int32(-1))[codes], values[kept], ascending=True)


def text_ids(codes: NDArray[Any], texts: list[str], role: str, table: RawTable, ascending: bool = False) -> Coded:
    """Text ids with their surrounding spaces taken off and the signs of a missing id recognised.

    Ids that went through a column of floats (``17850.0``, because some were missing) lose the ``.0`` when all have it.
    """
    own_class = role == "user" and table.keep_minus_one
    joined = "".join(texts)
    if joined.split(None, 1) == [joined]:
        stripped = texts  # no space anywhere, as in nearly all tables
    else:
        stripped = [text.strip() for text in texts]
        ascending = ascending and stripped == texts
    if stripped is not texts and stripped != texts:
        spaced = [at for at, (text, bare) in enumerate(zip(texts, stripped, strict=True)) if text != bare and bare]
        rows = np.flatnonzero(np.isin(codes, spaced))
        table.notes.append(("spaces", f"have spaces around the {role} id, taken off", rows))
    absent = _among(stripped) if ascending else set(_MISSING_FORMS).intersection(stripped)
    absent -= {"-1", "-1.0"} if own_class else set()
    present = (text for text in stripped if text not in absent)
    floats = len(absent) < len(stripped) and all(
        text[-2:] == ".0" and text[:-2].lstrip("-").isdigit() for text in present
    )
    if floats:
        table.notes.append(("float_ids", f'{role} ids all end in ".0", which is taken off', None))
    if not floats and not (own_class and "-1.0" in stripped):
        return _without(codes, stripped, absent) if ascending else merged(codes, stripped, absent)
    bare = [text.removesuffix(".0") if floats or text == "-1.0" else text for text in stripped]
    return merged(codes, bare, absent | {text.removesuffix(".0") for text in absent})


def id_column(column: "pd.Series[Any]", role: str, table: RawTable) -> Coded:
    """Ids of a pandas column, of whatever type."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        coded = id_column(pd.Series(dtype.categories), role, table)
        return Coded(np.append(coded.codes, np.int32(-1))[np.asarray(column.cat.codes)], coded.values)
    if pd.api.types.is_bool_dtype(dtype):
        raise InvalidDataError(
            f"{table.source}: the {role} column holds true and false, which are no ids. Name another."
        )
    if pd.api.types.is_numeric_dtype(dtype):
        codes, values = pd.factorize(column)
        numbers = np.asarray(values)
        if numbers.dtype.kind == "f" or numbers.dtype == object:
            real = numbers.astype(np.float64)
            odd = np.flatnonzero(~np.isfinite(real) | (real != np.floor(real)) | (np.abs(real) >= 2**53))
            if len(odd):
                row = int(np.flatnonzero(codes == odd[0])[0])
                raise InvalidDataError(
                    f"{table.source}: {role} id {float(real[odd[0]])!r} (row {row + table.row_base}) is no whole "
                    "number. Give ids as integers or text."
                )
        if numbers.dtype == np.uint64 and len(numbers) and numbers.max() > 2**63 - 1:
            raise InvalidDataError(f"{table.source}: {role} id {numbers.max()} does not fit 63 bits. Give ids as text.")
        whole = numbers.astype(np.int64)
        absent = np.flatnonzero(whole == -1)
        places = codes.astype(np.int32)
        if len(absent) and not (role == "user" and table.keep_minus_one):
            places = np.where(places == absent[0], -1, places - (places > absent[0])).astype(np.int32)
            whole = np.delete(whole, absent[0])
        return Coded(places, whole)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        raise InvalidDataError(f"{table.source}: the {role} column holds dates, which are no ids. Name another.")
    try:
        codes, distinct = pd.factorize(_objects(column))
    except TypeError as error:
        raise InvalidDataError(f"{table.source}: the {role} column holds no ids ({error}). Name another.") from None
    listed: list[Any] = list(distinct)
    kinds = {type(value) for value in listed}
    if kinds <= {str}:
        return text_ids(codes, listed, role, table)
    if kinds <= {int, float} or (kinds and all(issubclass(kind, np.number) for kind in kinds)):
        coded = id_column(pd.Series(listed, dtype="float64" if float in kinds else None), role, table)
        return Coded(np.append(coded.codes, np.int32(-1))[codes], coded.values)
    if len(kinds) == 1 and next(iter(kinds)).__name__ in ("UUID", "bytes"):
        return Coded(codes.astype(np.int32), np.asarray(distinct, object))
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    if not kinds <= {str, int, float, *(kind for kind in kinds if issubclass(kind, np.number))}:
        raise InvalidDataError(f"{table.source}: the {role} column holds {named}. Give integers, text, UUIDs or bytes.")
    table.notes.append(("mixed_ids", f"{role} ids are of several kinds ({named}); all are taken as text", None))
    texts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in listed]
    return text_ids(codes, texts, role, table)


def _objects(column: "pd.Series[Any]") -> NDArray[Any]:
    """The values as Python objects, None where one is missing."""
    values: Any = column
    objects: NDArray[Any] = values.to_numpy(dtype=object, na_value=None)
    return objects


def text_column(column: "pd.Series[Any]") -> Coded:
    """Names or categories: text without surrounding spaces, -1 where there is none."""
    codes, values = pd.factorize(_objects(column))
    return merged(codes, [str(value).strip() for value in values])


def usable(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these are finite numbers, also as float32, in which models calculate."""
    return np.asarray(np.abs(values) <= LARGEST)


def number_column(column: "pd.Series[Any]") -> Numbers:
    """Quantities of a pandas column; what is no finite number is set aside."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        rows = np.flatnonzero(~usable(values))
        return Numbers(values, Odd(rows, [str(value) for value in values[rows[:20]]]))
    codes, distinct = pd.factorize(_objects(column))
    texts = [str(value) for value in distinct]
    values = np.append(np.array([number(text) for text in texts], np.float64), np.nan)[codes]
    rows = np.flatnonzero(~usable(values))
    return Numbers(values, Odd(rows, ["" if codes[row] < 0 else texts[codes[row]] for row in rows[:20]]))


def number(text: str, delimiter: str = ";") -> float:
    """A number as people write it; NaN for anything else.

    A comma is a decimal comma, except where commas stand between the fields: there, ``1,234`` in quotes is a thousand.

    Examples
    --------
    >>> number("2,5"), number("1,234", ","), number("12 pcs")
    (2.5, 1234.0, nan)
    """
    bare = text.strip()
    if _PLAIN.fullmatch(bare):
        return float(bare)
    if delimiter == ",":
        return float(bare.replace(",", "")) if _THOUSANDS.fullmatch(bare) else float("nan")
    if _DECIMAL_COMMA.fullmatch(bare):
        return float(bare.replace(",", "."))
    return float("nan")


def moment_column(column: "pd.Series[Any]", table: RawTable) -> Moments:
    """Times of a pandas column; what is no moment is set aside."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds = timestamps.from_pandas(column)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        seconds = timestamps.from_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        codes, distinct = pd.factorize(_objects(column))
        return coded_moments(codes, [str(value) for value in distinct], table)
    rows = np.flatnonzero(seconds == timestamps.UNKNOWN)
    return Moments(seconds, Odd(rows, [str(value) for value in column.iloc[rows[:20]]]))


def coded_moments(codes: NDArray[Any], texts: list[str], table: RawTable) -> Moments:
    """Times of a column of few distinct texts, each read once."""
    distinct = np.empty(len(texts), object)
    distinct[:] = texts
    known, note = timestamps.from_texts(distinct)
    if note:
        table.notes.append(("date_order", f'{note}; for day first give dates as "2010-12-25"', None))
    seconds = np.append(known, timestamps.UNKNOWN)[codes]
    rows = np.flatnonzero(seconds == timestamps.UNKNOWN)
    return Moments(seconds, Odd(rows, ["" if codes[row] < 0 else texts[codes[row]] for row in rows[:20]]))
