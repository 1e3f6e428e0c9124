"""A purchase table after its columns were read and before any row was judged.

Every source (text file, data frame, Arrow, matrix, arrays) ends here: ids and names as codes into distinct values,
numbers and moments with the rows that could not be read set aside. What follows never loops over rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf import moments
from ancf.errors import InvalidDataError

MISSING = frozenset({"", "-1", "-1.0", "nan", "none", "null", "<na>", "n/a", "#n/a", "na", "nat"})
"""Texts (without case and surrounding spaces) that stand for "no id" in one table or another."""


@dataclass
class Coded:
    """A column of few distinct values: ``values[codes[row]]``, where code -1 is a missing value."""

    codes: NDArray[np.int32]
    values: NDArray[Any]


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


def merged(codes: NDArray[Any], values: list[Any] | NDArray[Any], rename: Callable[[Any], Any]) -> Coded:
    """Codes after the distinct values were renamed; those that become None are missing, those that agree become one."""
    listed = [rename(value) for value in values]
    present = [value for value in dict.fromkeys(listed) if value is not None]
    place = {value: at for at, value in enumerate(present)}
    table = np.fromiter((-1 if value is None else place[value] for value in listed), np.int32, len(listed))
    distinct = np.empty(len(present), object)
    distinct[:] = present
    if len(present) == len(listed):
        return Coded(codes.astype(np.int32, copy=False), distinct)
    return Coded(np.append(table, np.int32(-1))[codes], distinct)


def text_ids(codes: NDArray[Any], texts: list[str], role: str, table: RawTable) -> Coded:
    """Text ids with their surrounding spaces taken off and the signs of a missing id recognised.

    Ids that went through a column of floats (``17850.0``, because some were missing) lose the ``.0`` when all have it.
    """
    stripped = [text.strip() for text in texts]
    present = [text for text in stripped if text.casefold() not in MISSING]
    spaced = [at for at, (text, bare) in enumerate(zip(texts, stripped, strict=True)) if text != bare and bare]
    if spaced:
        rows = np.flatnonzero(np.isin(codes, spaced))
        table.notes.append(("spaces", f"have spaces around the {role} id, taken off", rows))
    floats = bool(present) and all(text[-2:] == ".0" and text[:-2].isdigit() for text in present)
    if floats:
        table.notes.append(("float_ids", f'{role} ids all end in ".0", which is taken off', None))

    def rename(text: str) -> str | None:
        bare = text.strip()
        if bare in ("-1", "-1.0") and role == "user" and table.keep_minus_one:
            return "-1"
        if bare.casefold() in MISSING:
            return None
        return bare[:-2] if floats else bare

    return merged(codes, texts, rename)


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
                    f"{table.source}: {role} id {real[odd[0]]!r} (row {row + table.row_base}) is no whole number. "
                    "Give ids as integers or text."
                )
        if numbers.dtype == np.uint64 and len(numbers) and numbers.max() > 2**63 - 1:
            raise InvalidDataError(f"{table.source}: {role} id {numbers.max()} does not fit 63 bits. Give ids as text.")
        whole = numbers.astype(np.int64)
        absent = np.flatnonzero(whole == -1)
        coded = codes.astype(np.int32)
        if len(absent) and not (role == "user" and table.keep_minus_one):
            coded = np.where(coded == absent[0], -1, coded - (coded > absent[0])).astype(np.int32)
            whole = np.delete(whole, absent[0])
        return Coded(coded, whole)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        raise InvalidDataError(f"{table.source}: the {role} column holds dates, which are no ids. Name another.")
    codes, values = pd.factorize(column.to_numpy(dtype=object, na_value=None))
    kinds = {type(value) for value in values}
    if kinds <= {str}:
        return text_ids(codes, list(values), role, table)
    if kinds <= {int, float} or (kinds and all(issubclass(kind, np.number) for kind in kinds)):
        coded = id_column(pd.Series(list(values), dtype="float64" if float in kinds else None), role, table)
        return Coded(np.append(coded.codes, np.int32(-1))[codes], coded.values)
    if len(kinds) == 1 and next(iter(kinds)).__name__ in ("UUID", "bytes"):
        return Coded(codes.astype(np.int32), np.asarray(values, object))
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    if not kinds <= {str, int, float, *(kind for kind in kinds if issubclass(kind, np.number))}:
        raise InvalidDataError(f"{table.source}: the {role} column holds {named}. Give integers, text, UUIDs or bytes.")
    table.notes.append(("mixed_ids", f"{role} ids are of several kinds ({named}); all are taken as text", None))
    texts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]
    return text_ids(codes, texts, role, table)


def text_column(column: "pd.Series[Any]") -> Coded:
    """Names or categories: text without surrounding spaces, -1 where there is none."""
    codes, values = pd.factorize(column.to_numpy(dtype=object, na_value=None))
    return merged(codes, [str(value) for value in values], lambda text: text.strip() or None)


def number_column(column: "pd.Series[Any]") -> Numbers:
    """Quantities of a pandas column; what is no finite number is set aside."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        rows = np.flatnonzero(~np.isfinite(values))
        return Numbers(values, Odd(rows, [str(value) for value in values[rows[:20]]]))
    codes, distinct = pd.factorize(column.to_numpy(dtype=object, na_value=None))
    texts = [str(value) for value in distinct]
    values = np.append(np.array([number(text) for text in texts], np.float64), np.nan)[codes]
    rows = np.flatnonzero(~np.isfinite(values))
    return Numbers(values, Odd(rows, ["" if codes[row] < 0 else texts[codes[row]] for row in rows[:20]]))


def number(text: str) -> float:
    """A number as people write it, with a decimal point or comma; NaN for anything else."""
    bare = text.strip()
    try:
        return float(bare) if "_" not in bare else float("nan")
    except ValueError:
        pass
    whole, comma, rest = bare.partition(",")
    if comma and rest.isdigit() and whole.lstrip("+-").isdigit():
        return float(f"{whole}.{rest}")
    return float("nan")


def moment_column(column: "pd.Series[Any]", table: RawTable) -> Moments:
    """Times of a pandas column; what is no moment is set aside."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds = moments.from_pandas(column)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        seconds = moments.from_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        codes, distinct = pd.factorize(column.to_numpy(dtype=object, na_value=None))
        return coded_moments(codes, [str(value) for value in distinct], table)
    rows = np.flatnonzero(seconds == moments.UNKNOWN)
    return Moments(seconds, Odd(rows, [str(value) for value in column.iloc[rows[:20]]]))


def coded_moments(codes: NDArray[Any], texts: list[str], table: RawTable) -> Moments:
    """Times of a column of few distinct texts, each read once."""
    distinct = np.empty(len(texts), object)
    distinct[:] = texts
    known, note = moments.from_texts(distinct)
    if note:
        table.notes.append(("date_order", f'{note}; for day first give dates as "2010-12-25"', None))
    seconds = np.append(known, moments.UNKNOWN)[codes]
    rows = np.flatnonzero(seconds == moments.UNKNOWN)
    return Moments(seconds, Odd(rows, ["" if codes[row] < 0 else texts[codes[row]] for row in rows[:20]]))
