"""Ids as somebody asks for them: one or several, of whatever type and in whatever container.

``as_sequence`` is the one door: iterators are read once, tables and Arrow arrays become plain sequences, and what holds
no ids is refused in words.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf._pandas import is_column, is_frame
from ancf.data.arrays import object_array
from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError, UnknownItemError, UnknownUserError

Id: TypeAlias = int | str | bytes | uuid.UUID | np.integer[Any]


class SeveralIds(Protocol):
    """More than one id, in an array, a Series, a list, a set; text and bytes, which hold no object, are one id."""

    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, value: object, /) -> bool: ...


Ids: TypeAlias = Id | SeveralIds | Iterator[Any]
"""One id or several."""

ItemFilter: TypeAlias = Id | Iterable[Any]
"""Items for everybody or for each user: every form that ``ancf.scoring.filters`` names."""


def is_one(value: Any) -> bool:
    """Whether this is one id rather than several."""
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    # An Arrow table does not iterate.
    return not (hasattr(value, "__iter__") or hasattr(value, "column_names") or isinstance(value, IdMap))


def materialize(values: Any) -> Any:
    """An iterator or a view of a dictionary as a list, so that it can be read more than once; all else as it is."""
    once = isinstance(values, Iterable) and not hasattr(values, "__getitem__")
    return list(values) if once and not isinstance(values, (set, frozenset)) else values


def table_columns(values: Any) -> dict[Any, Any] | None:
    """The columns of a table (pandas, Polars, Arrow) by name; None for what is no table."""
    if is_frame(values):
        return {name: values[name] for name in values.columns}
    if hasattr(values, "column_names") and hasattr(values, "columns"):  # Arrow
        return dict(zip(values.column_names, values.columns, strict=True))
    if hasattr(values, "get_columns"):  # Polars
        return {column.name: column for column in values.get_columns()}
    return None


def as_sequence(values: Any, what: str = "ids") -> Any:
    """Several ids as a list, an array, a Series or an Index, whatever they came in.

    Sets, generators, mappings (their keys), ``IdMap``, Arrow arrays, Polars Series, and tables of one column.

    Raises
    ------
    InvalidDataError
        If it is a table of several columns or a sparse matrix; ``what`` names the argument.
    """
    if isinstance(values, (list, tuple, np.ndarray)) or is_column(values):
        return values
    if isinstance(values, IdMap):
        return values.values
    columns = table_columns(values)
    if columns is not None:
        if len(columns) != 1:
            names = _text.format_list(list(columns))
            raise InvalidDataError(f"{what}: a table with the columns {names} was given. Give the column of the ids.")
        return as_sequence(next(iter(columns.values())), what)
    if hasattr(values, "tocsr"):
        raise InvalidDataError(
            f"{what}: a sparse matrix was given. Give ids, such as model.item_ids_.values[row.indices] of a row whose "
            "columns stand in the order of item_ids_."
        )
    for plain in ("to_pylist", "to_list"):  # Arrow, Polars
        if hasattr(values, plain):
            return getattr(values, plain)()
    if isinstance(values, (Mapping, set, frozenset)) or not (
        hasattr(values, "__len__") and hasattr(values, "__getitem__")
    ):
        return list(values)
    return values


def as_objects(values: Any) -> NDArray[Any]:
    """Any ids as a 1-D object array, however they look (tuples and strings stay whole)."""
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    return object_array(listed)


def as_ids(values: Any) -> NDArray[Any]:
    """Any ids as a 1-D array: int64 where all are whole numbers that fit, else objects."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    if listed and set(map(type, listed)) <= {int, np.int64, np.int32}:
        with contextlib.suppress(OverflowError):
            return np.array(listed, np.int64)
    return as_objects(listed)


def unknown_items(unknown: NDArray[Any], ids: IdMap) -> UnknownItemError:
    """The error that names these ids."""
    hint = ids.hint(unknown[0])
    what = (
        f"item {_text.format_list(unknown)} was"
        if len(unknown) == 1
        else f"{len(unknown)} items ({_text.format_list(unknown)}) were"
    )
    return UnknownItemError(f"{what} not in training{f' ({hint})' if hint else ''}. Leave such items out.")


def unknown_users(
    unknown: NDArray[Any], ids: IdMap, n_requested: int, scoring: bool = False, remedy: str | None = None
) -> UnknownUserError:
    """The error that names these ids."""
    hint = ids.hint(unknown[0])
    what = (
        f"user {_text.format_list(unknown)} was"
        if len(unknown) == 1
        else f"{len(unknown)} of {n_requested} users ({_text.format_list(unknown)}) were"
    )
    way = "" if scoring else ' or choose on_unknown="popular" or "skip"'
    return UnknownUserError(
        f"{what} not in training{f' ({hint})' if hint else ''}. "
        + (remedy or f"Use recommend_for_history with their purchases{way}.")
    )
