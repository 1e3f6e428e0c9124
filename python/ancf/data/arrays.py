"""Arrays that several modules build in the same way: offsets, groups of equal keys, objects, what fits a float32."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""The largest weight a model can hold: weights are read and summed as float64, then stored as float32."""

_ROWS_AT_ONCE = 4096


def fits_float32(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these numbers are finite, and stay so as float32; NaN is not."""
    return np.asarray(np.abs(values) <= FLOAT32_MAX)


def largest_exact(dtype: Any) -> int:
    """Below this, a float type holds every whole number; from it on, neighbors become one.

    Examples
    --------
    >>> largest_exact(np.float32) == 2**24, largest_exact(np.float64) == 2**53
    (True, True)
    """
    return int(2 ** (np.finfo(dtype).nmant + 1))


def object_array(values: Collection[Any]) -> NDArray[Any]:
    """A one-dimensional array of Python objects, also where the objects are sequences themselves."""
    array = np.empty(len(values), object)
    array[:] = values if isinstance(values, list) else list(values)
    return array


def offsets_from_lengths(lengths: ArrayLike) -> NDArray[np.int64]:
    """Where parts of these lengths begin when they are laid end to end, and where the last one ends.

    Examples
    --------
    >>> offsets_from_lengths([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    counts = np.asarray(lengths, np.int64)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def positions_among(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The position of each kept entry once the others are removed; -1 for those.

    Examples
    --------
    >>> positions_among(np.array([True, False, True])).tolist()
    [0, -1, 1]
    """
    return np.where(kept, np.cumsum(kept, dtype=np.int32) - np.int32(1), np.int32(-1))


def group_starts(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """Where each group of neighboring entries that agree in all keys begins.

    Examples
    --------
    >>> group_starts(np.array([1, 1, 1, 2]), np.array([5, 5, 6, 6])).tolist()
    [0, 2, 3]
    """
    n = len(keys[0])
    if not n:
        return np.empty(0, np.intp)
    begins = np.empty(n, bool)
    begins[0] = True
    np.not_equal(keys[0][1:], keys[0][:-1], out=begins[1:])
    for key in keys[1:]:
        begins[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(begins)


def sum_groups(values: NDArray[Any], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sum of each group of neighboring values in float64, one value after the other from the left.

    ``bincount`` adds in that order; ``add.reduceat`` does not say in which.
    """
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    return np.asarray(np.bincount(group, weights=values, minlength=len(starts)), np.float64)


def inner_products(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """⟨r, o⟩ of each row r (n, d) and each other o (m, d) in float64, as (n, m).

    Each is a sum by itself, so that it has the same bits whatever stands beside it; a matrix product promises no such
    thing.

    Examples
    --------
    >>> inner_products(np.eye(2), np.array([[3.0, 4.0]])).tolist()
    [[3.0], [4.0]]
    """
    found = np.empty((len(rows), len(others)))
    wide = np.ascontiguousarray(rows, np.float64)
    for at, other in enumerate(others.astype(np.float64)):
        np.sum(wide * other, axis=1, out=found[:, at])
    return found


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length; a row of zeros stays one."""
    unit = np.empty(vectors.shape, np.float32)
    # Part by part: in float64 a whole table would take six times its own memory for a moment.
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        wide = vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
        length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
        length[length == 0] = 1.0
        unit[start : start + _ROWS_AT_ONCE] = wide / length
    return unit
