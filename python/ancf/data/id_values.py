"""What an id may be: its kinds, arrays of ids, how they are sorted, and how one is written in a text or a file."""

import uuid
from collections.abc import Iterable
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf._pandas import is_categorical, is_column, is_missing, is_series, pd
from ancf.data.arrays import largest_exact, object_array
from ancf.errors import InvalidDataError

# A Python object per kind of id; NumPy holds all but the integers as objects.
ID_TYPES: dict[str, type] = {"int": int, "str": str, "uuid": uuid.UUID, "bytes": bytes}


def is_whole(number: Any) -> bool:
    """Whether this is a whole number, in whatever type Python has for numbers."""
    try:
        return isinstance(number, Number) and int(number) == number  # type: ignore[call-overload]
    except (OverflowError, TypeError, ValueError):
        return False


def sort_order(uniques: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The order that sorts distinct ids ascending, and for each its rank in that order (int32)."""
    if uniques.dtype.kind == "O":
        listed = uniques.tolist()
        order = np.array(sorted(range(len(listed)), key=listed.__getitem__), np.intp)
    else:
        order = np.argsort(uniques, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return order, rank


def id_array(values: ArrayLike | Iterable[Any], what: str = "ids") -> NDArray[Any]:
    """One-dimensional NumPy array: numbers as numbers, everything else as objects; categories by their values."""
    if is_column(values):
        if isinstance(values.dtype, pd.CategoricalDtype):
            categories = id_array(values.dtype.categories)
            codes = np.asarray(values.cat.codes if is_series(values) else values.codes)  # type: ignore[union-attr]
            if (codes < 0).any():
                categories = categories.astype(object)
                return np.asarray(np.where(codes < 0, np.array(None, object), categories[codes]), object)
            return np.asarray(categories[codes])
        if pd.api.types.is_integer_dtype(values.dtype) and not values.hasnans:
            return np.asarray(values.to_numpy(values.dtype.type if isinstance(values.dtype, np.dtype) else np.int64))
        array = values.to_numpy() if isinstance(values.dtype, np.dtype) else values.to_numpy(dtype=object)
    elif is_categorical(values):
        return id_array(pd.Index(values))
    elif isinstance(values, np.ndarray):
        array = values
    else:
        if isinstance(values, (str, bytes, type)) or not isinstance(values, Iterable):
            raise InvalidDataError(f"{what}: {values!r} is no sequence of ids. Give one, such as a list of one.")
        listed = values if isinstance(values, (list, tuple)) else list(values)
        kinds = {type(each) for each in listed}
        if kinds <= {int} or (kinds and all(issubclass(kind, (float, np.integer, np.floating)) for kind in kinds)):
            try:
                array = np.asarray(listed, dtype=np.int64 if kinds <= {int} else None)
            except OverflowError:
                array = object_array(list(listed))
        else:
            array = object_array([each.item() if isinstance(each, np.generic) else each for each in listed])
    if array.ndim != 1:
        raise InvalidDataError(
            f"{what}: an array of the shape {array.shape} has {array.ndim} dimensions; give a one-dimensional sequence."
        )
    if array.dtype.kind in "US":
        return array.astype(object)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def parse_id(text: str, kind: str) -> Any:
    """What is written in a text as an id of a kind; the text itself where it cannot be one."""
    if kind == "int":
        digits = text.strip().removeprefix("-")
        # Longer ones are no 64-bit number.
        return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
    if kind == "uuid":
        try:
            return uuid.UUID(text)
        except ValueError:
            return text
    return text.encode("utf-8", "surrogateescape") if kind == "bytes" else text


def uuid_bytes(uuids: NDArray[Any]) -> NDArray[np.uint8]:
    """The 16 bytes of each, one after the other; read-only."""
    return np.frombuffer(b"".join(each.bytes for each in uuids), np.uint8)


def array_of_state(arrays: dict[str, NDArray[Any]], kind: Any) -> NDArray[Any]:
    """Numbers or UUIDs as a file has them, in its array ``values``.

    Raises
    ------
    KeyError, ValueError
        If they are no such ids.
    """
    if kind == "int":
        array = np.asarray(arrays["values"])
        if array.dtype != np.int64 or array.ndim != 1:
            raise ValueError(f"integer ids have the type {array.dtype} in {array.ndim} dimensions")
        return array.copy()
    if kind == "uuid":
        raw = np.asarray(arrays["values"])
        if raw.dtype != np.uint8 or raw.ndim != 2 or raw.shape[1] != 16:
            raise ValueError(f"UUIDs have the type {raw.dtype} and the shape {raw.shape}")
        return object_array([uuid.UUID(bytes=row.tobytes()) for row in raw])
    raise ValueError(f"unknown kind of id {kind!r}")


def typed_ids(array: NDArray[Any], what: str) -> tuple[NDArray[Any], str]:
    """The ids as an int64 or object array, and their kind."""
    if not len(array):
        return (np.empty(0, np.int64), "int") if array.dtype.kind in "iuf" else (np.empty(0, object), "str")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        exact = np.abs(array) < largest_exact(array.dtype)
        whole = finite & exact & (array == np.where(finite, np.floor(array), 0))
        if not whole.all():
            at = np.flatnonzero(~whole)
            raise InvalidDataError(
                f"{what}: {len(at)} are missing, no whole numbers or too large for {array.dtype} "
                f"({first_ids(array[at])}, first at position {at[0]}). "
                "Leave those rows out, or give the ids as text."
            )
        return array.astype(np.int64), "int"
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and (array > np.uint64(2**63 - 1)).any():
            raise InvalidDataError(f"{what}: {array.max()} does not fit 63 bits. Give such ids as text.")
        return array.astype(np.int64), "int"
    if array.dtype.kind != "O":
        raise InvalidDataError(f"{what}: values have the type {array.dtype}; ids are integers, text, UUIDs or bytes.")
    inferred = pd.api.types.infer_dtype(array, skipna=False)
    if inferred == "string":
        return array.copy(), "str"
    listed = array.tolist()
    missing = [at for at, each in enumerate(listed) if each is None or is_missing(each) or each != each]
    if missing:
        raise InvalidDataError(
            f"{what}: {len(missing)} are missing (first at positions {', '.join(map(str, missing[:3]))}). "
            "Leave those rows out."
        )
    if inferred == "integer":
        try:
            return array.astype(np.int64), "int"
        except OverflowError:
            raise InvalidDataError(f"{what}: {max(listed)} does not fit 63 bits. Give such ids as text.") from None
    for kind, python_type in ID_TYPES.items():
        if kind != "int" and all(type(each) is python_type for each in listed):
            return array.copy(), kind
    found = sorted({type(each).__name__ for each in listed})
    raise InvalidDataError(
        f"{what}: values are of {'mixed' if len(found) > 1 else 'unusable'} kinds "
        f"({', '.join(found)}: {first_ids(array)}). Give ids of one kind: integers, text, UUIDs or bytes."
    )


def first_ids(values: NDArray[Any], n: int = 3) -> str:
    """The first few, for a message."""
    return ", ".join(repr(each) for each in values[:n].tolist()) + (", …" if len(values) > n else "")
