"""Ids as somebody asks for them: one or several, of whatever type, and the errors that name the unknown ones."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.data.arrays import object_array
from ancf.data.ids import IdMap
from ancf.errors import UnknownItemError, UnknownUserError

Id: TypeAlias = int | str | bytes | uuid.UUID | np.integer[Any]


class SeveralIds(Protocol):
    """More than one id, in an array, a Series, a list, a set; text and bytes, which hold no object, are one id."""

    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, value: object, /) -> bool: ...


Ids: TypeAlias = Id | SeveralIds | Iterator[Any]
"""One id or several."""


def is_one(value: Any) -> bool:
    """Whether this is one id rather than several."""
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    return not hasattr(value, "__iter__")


def as_sequence(values: Any) -> Any:
    """Sets, generators and the like as lists; arrays, lists, and Series as they are."""
    return values if hasattr(values, "__len__") and hasattr(values, "__getitem__") else list(values)


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


def unknown_users(unknown: NDArray[Any], ids: IdMap, n_requested: int, scoring: bool = False) -> UnknownUserError:
    """The error that names these ids."""
    hint = ids.hint(unknown[0])
    what = (
        f"user {_text.format_list(unknown)} was"
        if len(unknown) == 1
        else f"{len(unknown)} of {n_requested} users ({_text.format_list(unknown)}) were"
    )
    way = "" if scoring else ' or choose on_unknown="popular" or "skip"'
    return UnknownUserError(
        f"{what} not in training{f' ({hint})' if hint else ''}. Use recommend_for_history with their purchases{way}."
    )
