"""Bare histories: somebody's purchases as raw ids become positions with weights and times."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf.data.arrays import FLOAT32_MAX, fits_float32, group_starts, offsets_from_lengths, sum_groups
from ancf.data.ids import IdMap
from ancf.data.timestamps import as_column, read_moments
from ancf.errors import InvalidDataError
from ancf.scoring.requests import as_objects, as_sequence, is_one, unknown_items

# Histories up to this length are looked up id by id, which takes less time than setting up a vectorized look-up.
_MAX_SHORT = 100
_PLAIN_ID_TYPES = (str, int)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


# What all short histories of a length have in common: their ends, and weights of 1.
_INDPTRS = [_read_only(np.array([0, n], np.int64)) for n in range(_MAX_SHORT + 1)]
_ONES = [_read_only(np.ones(n, np.float32)) for n in range(_MAX_SHORT + 1)]


class Histories(NamedTuple):
    """Bare histories by positions, the items of each ascending and distinct."""

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None = None

    @property
    def n_rows(self) -> int:
        """The number of histories."""
        return len(self.indptr) - 1


def ones(n: int) -> NDArray[np.float32]:
    """Weights of 1, not to be written to."""
    return _ONES[n] if n <= _MAX_SHORT else np.ones(n, np.float32)


def is_history(history: Any) -> bool:
    """Whether this is one history (ids, or a mapping item → weight) rather than several."""
    if isinstance(history, Mapping):
        return True
    if is_one(history):
        raise InvalidDataError(f"history is {history!r}; give a list of item ids, or a list of such lists.")
    if isinstance(history, np.ndarray) and history.dtype != object:
        return history.ndim == 1
    first = next(iter(history), None)
    return first is None or is_one(first)


def pack_histories(
    rows: NDArray[np.intp],
    positions: NDArray[np.int64],
    weights: NDArray[np.float64],
    times: NDArray[np.int64] | None,
    n_rows: int,
    n_items: int,
) -> Histories:
    """Entries in any order as histories: repeated items once, weights summed, the last time kept."""
    key = rows * max(n_items, 1) + positions
    order = np.argsort(key, kind="stable")
    starts = group_starts(key[order])
    summed = sum_groups(weights[order], starts)
    indptr = offsets_from_lengths(np.bincount(rows[order][starts], minlength=n_rows))
    last = None
    if times is not None:
        last = np.maximum.reduceat(times[order], starts) if len(starts) else np.empty(0, np.int64)
    if len(summed) and np.abs(summed).max() > FLOAT32_MAX:
        raise InvalidDataError("the weights of one item of a history add up to more than a float32 holds. Divide them.")
    return Histories(indptr, positions[order][starts].astype(np.int32), summed.astype(np.float32), last)


def short_history(history: list[Any], ids: IdMap) -> list[int] | None:
    """The rising positions of a list of distinct known ids; None where the general way must look at it."""
    if len(history) > _MAX_SHORT:
        return None
    found = [ids.position(each) if type(each) in _PLAIN_ID_TYPES else -1 for each in history]
    distinct = sorted(set(found))
    n = len(found)
    if len(distinct) != n or not n or distinct[0] < 0:
        return None
    return distinct


def one_history(positions: list[int]) -> Histories:
    """One short history of rising positions, all with a weight of 1."""
    n = len(positions)
    return Histories(_INDPTRS[n], np.array(positions, np.int32), _ONES[n])


def _plain_numbers(times: Any) -> NDArray[Any] | None:
    """A list or an array of numbers as one; None for others, which take longer to look at."""
    if not isinstance(times, (list, np.ndarray)):
        return None
    try:
        array = np.asarray(times)
    except ValueError:
        return None
    return array if array.ndim == 1 and (array.dtype.kind in "iuf" or not len(array)) else None


def _read_times(times: Any, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Seconds of the entries of all histories, which are read as one column."""
    if isinstance(times, (str, bytes)) or not hasattr(times, "__iter__"):
        raise InvalidDataError(f"times={times!r}: give a list of times for each history.")
    given = list(times)
    if len(given) != len(lengths):
        raise InvalidDataError(f"times: {len(given)} for {len(lengths)} histories; give a list of times for each.")
    arrays = [_plain_numbers(each) for each in given]
    if all(array is not None for array in arrays):
        columns: list[Any] = arrays
    else:
        columns = [as_column(each, f"times of history {row}") for row, each in enumerate(given)]
    for row, (column, length) in enumerate(zip(columns, lengths.tolist(), strict=True)):
        if len(column) != length:
            raise InvalidDataError(f"times of history {row}: {len(column)} for {length} items; give one time for each.")
    filled = [column for column in columns if len(column)]
    if not filled:
        return np.empty(0, np.int64)
    if isinstance(filled[0], np.ndarray):
        one = np.concatenate(filled)
    else:
        one = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    ends = np.cumsum(lengths)

    def place(position: int) -> str:
        row = int(np.searchsorted(ends, position, side="right"))
        return f"at position {position - int(ends[row] - lengths[row])} of history {row}"

    return read_moments(one, "times", place=place)


def read_histories(lists: list[Any], weights: Any, times: Any, ids: IdMap, on_unknown: str) -> Histories:
    """Raw histories as positions: the items of each ascending, weights of repeated items summed, last time kept."""
    lengths = np.zeros(len(lists), np.int64)
    raw: list[Any] = []
    given: list[NDArray[np.float64]] = []
    for row, each in enumerate(lists):
        sequence = list(each) if isinstance(each, (Mapping, set)) else as_sequence(each)
        lengths[row] = len(sequence)
        raw.append(sequence.tolist() if hasattr(sequence, "tolist") else list(sequence))
        if isinstance(each, Mapping):
            given.append(np.array(list(each.values()), np.float64))
        elif weights is not None:
            given.append(np.asarray(weights[row], np.float64))
        else:
            given.append(np.ones(len(sequence)))
        if given[-1].shape != (len(sequence),):
            raise InvalidDataError(
                f"history {row}: {given[-1].size} weights for {len(sequence)} items; give one for each."
            )
    joined = [item for part in raw for item in part]
    positions = ids.positions(joined)
    rows = np.repeat(np.arange(len(lists)), lengths)
    values = np.concatenate(given) if given else np.empty(0)
    bad = np.flatnonzero(~fits_float32(values))
    if len(bad):
        raise InvalidDataError(
            f"history {rows[bad[0]]}: the weight of {joined[bad[0]]!r} is {values[bad[0]]}; "
            "it must be a finite float32."
        )
    unknown = positions < 0
    if unknown.any():
        if on_unknown == "raise":
            raise unknown_items(as_objects(joined)[unknown], ids)
        rows, positions, values = rows[~unknown], positions[~unknown], values[~unknown]
    stamps = None
    if times is not None:
        stamps = _read_times(times, lengths)[~unknown]
    return pack_histories(rows, positions, values, stamps, len(lists), len(ids))
