"""Tables without headings: rows of (user, item[, weight[, time]]), and matrices of users × items.

Both look the same, a two-dimensional array, and nothing in the numbers tells one from the other. An array is therefore
taken as rows, unless the caller says ``layout="matrix"``; with more than four columns that is not assumed either.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf._text import format_value
from ancf.data.columns import KNOWN_HEADINGS, is_position
from ancf.errors import InvalidDataError, InvalidParameterError

ROW_ROLES = ("user", "item", "weight", "time")
"""What the columns of rows without headings are, in this order."""


class EntryTable(NamedTuple):
    """A matrix as a table with a row for each entry."""

    frame: "pd.DataFrame"
    """``user``, ``item`` (raw ids) and, if wanted, ``weight``, row after row of the matrix."""
    source: str
    notes: list[str]
    ignored: list[str]


def is_sparse(source: Any) -> bool:
    """Whether this is a SciPy sparse matrix or array."""
    return hasattr(source, "tocoo")


def is_sequence(source: Any) -> bool:
    """Whether this is a sequence of rows, or an array of any make."""
    is_rows = isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray, memoryview))
    return is_rows or hasattr(source, "__array__")


def frame_of_rows(source: Any) -> "pd.DataFrame":
    """Rows as a data frame; its headings are 0, 1, … where the rows have no names.

    Raises
    ------
    InvalidDataError
        If there are no rows, or they are no rows at all.
    """
    try:
        rows = source if isinstance(source, (np.ndarray, list)) else _as_rows(source)
        if isinstance(rows, np.ndarray) and not rows.ndim:
            raise InvalidDataError(f"{rows!r} is no purchase table. Give rows of (user, item[, weight[, time]]).")
        if not len(rows):
            raise InvalidDataError(
                f"array: there are no rows in {format_value(source)}. Give rows of (user, item), (…, weight) or "
                "(…, time)."
            )
        _check_lengths(rows)
        frame = pd.DataFrame(rows)
    except (ValueError, TypeError) as error:
        if isinstance(error, InvalidDataError):
            raise
        raise InvalidDataError(
            f"{type(source).__name__}: {error}. Give rows of (user, item[, weight[, time]]), one for each purchase."
        ) from None
    if frame.shape[1] < 2 and isinstance(frame.columns, pd.RangeIndex):
        shape = f"of shape {source.shape}" if isinstance(source, np.ndarray) else format_value(source)
        raise InvalidDataError(f"array {shape}: give rows of (user, item[, weight[, time]]), one for each purchase.")
    return frame


def _check_lengths(rows: Any) -> None:
    """Refuse rows of different lengths, which pandas would fill up."""
    if isinstance(rows, list) and all(isinstance(row, (list, tuple)) for row in rows):
        lengths = list(map(len, rows))
        if min(lengths) < max(lengths):
            at = next(at for at, length in enumerate(lengths) if length != lengths[0])
            raise InvalidDataError(
                f"array: row {at} has {lengths[at]} values where row 0 has {lengths[0]}. Give rows of the same length."
            )


def _as_rows(source: Any) -> Any:
    return np.asarray(source) if hasattr(source, "__array__") else list(source)


def place_row_columns(frame: "pd.DataFrame", chosen: Mapping[str, Any]) -> dict[str, int]:
    """The position of the column of each role in rows without headings.

    What the caller names by position is there. The other roles that are not False take the remaining columns in their
    order: user, item, weight, time.

    Raises
    ------
    InvalidParameterError
        If a column is named by a heading, or one that is not there.
    InvalidDataError
        If there are more than four columns and user and item are not named.
    """
    n_columns = frame.shape[1]
    places: dict[str, int] = {}
    for role, choice in chosen.items():
        if choice is None or (isinstance(choice, (bool, np.bool_)) and not choice):
            continue
        if not is_position(choice) or not 0 <= int(choice) < n_columns:
            shown = repr(choice) if isinstance(choice, (str, int, float)) else f"a {type(choice).__name__}"
            raise InvalidParameterError(
                f"{role}={shown}: rows without headings have columns by position, from 0 to {n_columns - 1}. Give one "
                'of these, or False; ids for the rows and columns of users × items go with layout="matrix".'
            )
        if int(choice) in places.values():
            other = next(name for name, at in places.items() if at == choice)
            raise InvalidParameterError(f"{role}={choice!r}: this column is named for {other} already. Name another.")
        places[role] = int(choice)
    for role in ("user", "item"):
        if chosen.get(role) is False:
            raise InvalidParameterError(f"{role}=False: a purchase has a user and an item. Name the column.")
    if n_columns > len(ROW_ROLES):
        if not {"user", "item"} <= set(places):
            raise InvalidDataError(
                f"array of shape ({len(frame)}, {n_columns}): rows are (user, item[, weight[, time]]). Is it a matrix "
                'of users × items, say layout="matrix"; are they rows with more columns, name those that count, such '
                "as user=0, item=1."
            )
        return _in_order(places)
    rest = [at for at in range(n_columns) if at not in places.values()]
    open_roles = [role for role in ROW_ROLES if role not in places and chosen.get(role) is not False]
    places |= dict(zip(open_roles, rest, strict=False))
    if not {"user", "item"} <= set(places):
        raise InvalidParameterError(
            f"there are {n_columns} columns, and none is left for the item. Name those of user and item by position."
        )
    return _in_order(places)


def _in_order(places: Mapping[str, int]) -> dict[str, int]:
    return {role: places[role] for role in KNOWN_HEADINGS if role in places}


def check_guessed_weight(column: "pd.Series[Any]", at: int, source: str) -> None:
    """Refuse a third column that was taken for the weight only because of its place, and holds no number at all."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return
    present = column.dropna()
    is_date = pd.api.types.is_datetime64_any_dtype(column.dtype)
    if is_date or (len(present) and pd.to_numeric(present.astype(str), errors="coerce").isna().all()):
        value = present.iloc[0] if len(present) else column.iloc[0]
        raise InvalidDataError(
            f'{source}: column {at} is taken for the weight, and no value of it is a number (row 0: "{value}"). '
            f"If it is the time, give time={at}; if it is neither, weight=False."
        )


def entries_of_matrix(matrix: Any, chosen: Mapping[str, Any]) -> EntryTable:
    """A matrix of users × items as rows: SciPy sparse, an array or rows of numbers, or a pivot frame.

    Zero and NaN are no entry, except for zeros that a sparse matrix stores. The ids are the numbers of rows and
    columns, or what a pivot frame has as index and headings, or what the caller gives as ``user`` and ``item``.

    Raises
    ------
    InvalidDataError
        If there is no entry, a value is no number, or there are more or fewer ids than rows or columns.
    InvalidParameterError
        If an option names a column.
    """
    notes: list[str] = []
    ignored: list[str] = []
    index: Any = None
    columns: Any = None
    if isinstance(matrix, pd.DataFrame):
        matrix, ignored = _single_level(matrix)
        index, columns = matrix.index, matrix.columns
    if is_sparse(matrix):
        kind = "sparse matrix"
        shape = matrix.shape
        if len(shape) != 2:
            raise InvalidDataError(f"sparse array of shape {shape}: give one of users × items.")
        entries = matrix.tocoo()
        rows, places = (np.asarray(part) for part in (entries.row, entries.col))
        values = _as_numbers(entries.data, "sparse matrix")
        if np.isnan(values).any():
            absent = np.isnan(values)
            notes.append(f"{int(absent.sum()):,} stored values are NaN, which is no entry")
            rows, places, values = rows[~absent], places[~absent], values[~absent]
    else:
        kind = "matrix"
        numbers = _dense_numbers(matrix)
        shape = numbers.shape
        rows, places = np.nonzero(~np.isnan(numbers) & (numbers != 0))
        values = numbers[rows, places]
    source = f"{kind} of shape {tuple(int(n) for n in shape)}"
    if not len(rows):
        raise InvalidDataError(f"{source}: there are no entries. Give a matrix with a number for each purchase.")
    for role in ("weight", "time", "name", "category", "event", "basket"):
        if chosen.get(role) is not None and chosen.get(role) is not False:
            raise InvalidParameterError(
                f"{role}={chosen[role]!r}: a matrix has no columns to name. Leave it out, or give a table of rows."
            )
    table = {
        "user": _ids_of_entries("user", chosen.get("user"), index, int(shape[0]), rows, f"{source}: one for each row"),
        "item": _ids_of_entries(
            "item", chosen.get("item"), columns, int(shape[1]), places, f"{source}: one for each column"
        ),
    }
    if chosen.get("weight") is not False:
        table["weight"] = pd.Series(values)
    return EntryTable(pd.DataFrame(table), source, notes, ignored)


def _single_level(frame: "pd.DataFrame") -> tuple[Any, list[str]]:
    """A pivot frame with headings of one level: of several, those that are the same for all columns are taken off."""
    ignored = []
    columns = frame.columns
    if isinstance(columns, pd.MultiIndex):
        constant = [level for level in range(columns.nlevels) if columns.get_level_values(level).nunique() <= 1]
        if columns.nlevels - len(constant) > 1:
            raise InvalidDataError(
                "matrix: its headings have several levels, such as "
                f"{columns[0]!r}. Give one table of users × items, for example pivot[{columns[0][0]!r}]."
            )
        constant = constant[: columns.nlevels - 1]
        dropped: list[Any] = list(constant)
        ignored = [f"{columns.get_level_values(level)[0]} (level {level} of the headings)" for level in constant]
        frame = frame.droplevel(dropped, axis=1)
    if isinstance(frame.index, pd.MultiIndex):
        raise InvalidDataError(
            f"matrix: its index has {frame.index.nlevels} levels. Give one id for each row, such as pivot.droplevel(0)."
        )
    return frame, ignored


def _dense_numbers(matrix: Any) -> NDArray[np.float64]:
    """The numbers of a dense matrix, NaN where there is none."""
    if isinstance(matrix, Mapping) or not (isinstance(matrix, pd.DataFrame) or is_sequence(matrix)):
        raise InvalidParameterError(
            f'layout="matrix": {type(matrix).__name__} is no matrix of users × items. Give an array, a data frame with '
            "users as index and items as headings, or a SciPy sparse matrix."
        )
    if isinstance(matrix, np.ma.MaskedArray):
        matrix = np.ma.filled(matrix.astype(np.float64), np.nan)
    if isinstance(matrix, np.ndarray):
        if matrix.dtype.names or matrix.ndim != 2:
            raise InvalidDataError(f"matrix of shape {matrix.shape}: give one of users × items, with two dimensions.")
        if matrix.dtype.kind in "biuf":
            return np.asarray(matrix, np.float64)
    if not isinstance(matrix, pd.DataFrame):
        matrix = frame_of_rows(np.asarray(matrix) if hasattr(matrix, "__array__") else matrix)
    if any(map(pd.api.types.is_complex_dtype, matrix.dtypes)):
        raise InvalidDataError("matrix: its values are complex numbers. Give real ones.")
    try:
        return np.asarray(matrix.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)
    except (ValueError, TypeError):
        for heading, column in matrix.items():
            present = column.dropna()
            wrong = present[pd.to_numeric(present.astype(str), errors="coerce").isna()]
            if len(wrong):
                raise InvalidDataError(
                    f"matrix: {wrong.iloc[0]!r} in row {wrong.index[0]}, column {heading} is no number. A matrix "
                    "has a number or NaN for each user and item; are these rows, leave layout out."
                ) from None
        raise InvalidDataError("matrix: its values are no real numbers. Give numbers.") from None


def _as_numbers(values: NDArray[Any], source: str) -> NDArray[np.float64]:
    if values.dtype.kind not in "biufO":
        raise InvalidDataError(f"{source}: its values are of type {values.dtype}. Give real numbers.")
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidDataError(f"{source}: {error}. Give numbers.") from None


def _ids_of_entries(role: str, given: Any, index: Any, n: int, at: NDArray[Any], where: str) -> "pd.Series[Any]":
    """The id of each entry: those given, those of the pivot frame's index, or the numbers of the rows."""
    if given is None:
        ids = pd.RangeIndex(n) if index is None else index
    else:
        is_list = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping, Set))
        if is_list and not hasattr(given, "dtype"):
            given = list(given)
        if not is_list or (hasattr(given, "ndim") and given.ndim != 1):
            raise InvalidParameterError(
                f"{role}={given!r}: a matrix has no headings. Give a list of ids ({where}), or leave it out."
            )
        ids = pd.Index(given, dtype=object if isinstance(given, list) else None)
        if len(ids) != n:
            raise InvalidParameterError(f"{role} has {len(ids):,} ids where {n:,} are needed ({where}).")
    if not ids.is_unique:
        twice = ids[ids.duplicated()]
        raise InvalidDataError(
            f"{where.partition(':')[0]}: the {role} id {twice[0]!r} stands more than once. Give each id once."
        )
    if isinstance(ids, pd.CategoricalIndex):
        ids = ids.astype(ids.categories.dtype)
    if pd.api.types.is_integer_dtype(ids.dtype) or ids.hasnans:
        return pd.Series(ids.take(at))
    return pd.Series(pd.Categorical.from_codes(at, categories=ids))
