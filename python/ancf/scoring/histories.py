"""Bare histories: somebody's purchases as raw ids become positions with weights and times."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf._pandas import pd
from ancf.data.arrays import FLOAT32_MAX, fits_float32, group_starts, offsets_from_lengths, sum_groups
from ancf.data.columns import KNOWN_HEADINGS, normalize_heading
from ancf.data.ids import IdMap
from ancf.data.timestamps import SECONDS, as_column, read_moments
from ancf.errors import InvalidDataError, UnknownItemError
from ancf.scoring.requests import as_objects, as_sequence, is_one, materialize, unknown_items
from ancf.scoring.unknown_ids import refuse_twin

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


class OneHistory(NamedTuple):
    """One history in plain numbers, which for a few purchases take a tenth of the time of arrays."""

    items: list[int]
    """Positions, ascending and distinct."""
    weights: list[float] | None = None
    """None: 1."""
    times: list[int] | None = None
    """Seconds since 1970; None: all just now, or not known."""
    had: list[int] | None = None
    """What of it was bought; None: all."""
    rejected: list[int] | None = None
    """What no list has."""

    def left_out(self, filter_seen: bool) -> list[int] | None:
        """What lists leave out: what was rejected and, with ``filter_seen``, had; None: the history."""
        if self.rejected is None:
            return self.had if filter_seen else []
        if not filter_seen:
            return self.rejected
        return sorted({*(self.items if self.had is None else self.had), *self.rejected})

    def to_arrays(self) -> Histories:
        """The same in arrays."""
        items, weights, times = self.items, self.weights, self.times
        n = len(items)
        return Histories(
            _INDPTRS[n] if n <= _MAX_SHORT else np.array([0, n], np.int64),
            np.array(items, np.int32),
            ones(n) if weights is None else np.array(weights, np.float32),
            None if times is None else np.array(times, np.int64),
        )


def ones(n: int) -> NDArray[np.float32]:
    """Weights of 1, not to be written to."""
    return _ONES[n] if n <= _MAX_SHORT else np.ones(n, np.float32)


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


def _plain_numbers(times: Any) -> NDArray[Any] | None:
    """A list or an array of numbers as one; None for others, which take longer to look at."""
    if not isinstance(times, (list, np.ndarray)):
        return None
    try:
        array = np.asarray(times)
    except ValueError:
        return None
    return array if array.ndim == 1 and (array.dtype.kind in "iuf" or not len(array)) else None


def _read_times(given: list[Any], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Seconds of the entries of all histories, which are read as one column."""
    arrays: list[Any] = [_plain_numbers(each) for each in given]
    columns: list[Any]
    if all(array is not None for array in arrays):
        columns = arrays
    elif all(isinstance(each, np.ndarray) and each.dtype == SECONDS for each in given):
        columns = given
    else:
        columns = [as_column(each, f"times of history {row}") for row, each in enumerate(given)]
    for row, (column, length) in enumerate(zip(columns, lengths.tolist(), strict=True)):
        if len(column) != length:
            raise InvalidDataError(f"times of history {row}: {len(column)} for {length} items; give one time for each.")
    filled: list[Any] = [column for column in columns if len(column)]
    if not filled:
        return np.empty(0, np.int64)
    if isinstance(filled[0], np.ndarray):
        one: Any = np.concatenate(filled)
    else:
        one = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    ends = np.cumsum(lengths)

    def place(position: int) -> str:
        row = int(np.searchsorted(ends, position, side="right"))
        return f"at position {position - int(ends[row] - lengths[row])} of history {row}"

    return read_moments(one, "times", place=place)


class Request(NamedTuple):
    """Histories as they were given, taken apart: one list of items for each, whatever they came in."""

    lists: list[Any]
    weights: list[Any] | None
    times: list[Any] | None
    single: bool
    """Whether one history was given rather than a list of them."""


def take_apart(history: Any, weights: Any, times: Any) -> Request:
    """One history or several, with the weights and times that belong to each.

    Raises
    ------
    InvalidDataError
        If it is no history, or there are not as many rows of weights and times as histories.
    """
    if is_one(history):
        raise InvalidDataError(f"history is {history!r}; give a list of item ids, or a list of such lists.")
    lists: list[Any]
    if isinstance(history, Mapping):
        lists, single = [history], True
    else:
        given = as_sequence(materialize(history), "history")
        first = next(iter(given), None)
        single = first is None or is_one(first)
        lists = [history if isinstance(history, (set, frozenset)) else given] if single else list(given)

    def rows(values: Any, name: str) -> list[Any] | None:
        if values is None:
            return None
        if is_one(values):
            raise InvalidDataError(f"{name} is {values!r}; give one for each item, in the shape of history.")
        parts = [values] if single else list(as_sequence(materialize(values), name))
        if len(parts) != len(lists):
            raise InvalidDataError(f"{name}: {len(parts)} lists for {len(lists)} histories; give one for each history.")
        return parts

    return Request(lists, rows(weights, "weights"), rows(times, "times"), single)


def read_histories(request: Request, ids: IdMap, on_unknown: str, until: int | None = None) -> Histories:
    """Raw histories as positions: the items of each ascending, weights of repeated items summed, last time kept.

    What was bought after ``until`` (seconds since 1970) is left out, as far as there are times.

    Raises
    ------
    UnknownItemError
        If an item is unknown and ``on_unknown="raise"``, or it is known in another kind or spelling.
    InvalidDataError
        If weights or times are no numbers and dates, or there is not one for each item.
    """
    raw: list[list[Any]] = []
    given: list[NDArray[np.float64]] = []
    for row, each in enumerate(request.lists):
        items = _items_of(each, row, ids)
        raw.append(items)
        if isinstance(each, (set, frozenset)) and (request.weights is not None or request.times is not None):
            raise InvalidDataError(
                f"history {row} is a set, which has no order to give weights or times in. Give a list."
            )
        given.append(_weights_of(each, row, len(items), request))
    lengths = np.array([len(part) for part in raw], np.int64)
    joined = [item for part in raw for item in part]
    positions = ids.positions(joined)
    rows = np.repeat(np.arange(len(raw)), lengths)
    values = np.concatenate(given) if given else np.empty(0)
    bad = np.flatnonzero(~fits_float32(values))
    if len(bad):
        raise InvalidDataError(
            f"history {rows[bad[0]]}: the weight of {joined[bad[0]]!r} is {values[bad[0]]}; "
            "it must be a finite float32."
        )
    times = None
    if request.times is not None:
        times = _read_times([_row_of_values(each, "times", row) for row, each in enumerate(request.times)], lengths)
    unknown = positions < 0
    if unknown.any():
        if on_unknown == "raise":
            raise unknown_items(as_objects(joined)[unknown], ids)
        refuse_twin(as_objects(joined)[unknown], ids, UnknownItemError)
        rows, positions, values = rows[~unknown], positions[~unknown], values[~unknown]
        times = None if times is None else times[~unknown]
    if until is not None and times is not None:
        happened = times <= until
        rows, positions, values, times = rows[happened], positions[happened], values[happened], times[happened]
    return pack_histories(rows, positions, values, times, len(raw), len(ids))


def _items_of(history: Any, row: int, ids: IdMap) -> list[Any]:
    """The raw ids of one history."""
    if is_one(history):
        raise InvalidDataError(
            f"history {row} is {history!r}; give item ids alone, or one list of them for each history."
        )
    if isinstance(history, Mapping):
        items = list(history)
        for key in items:
            if isinstance(key, str) and normalize_heading(key) in KNOWN_HEADINGS["item"] and ids.position(key) < 0:
                raise InvalidDataError(
                    f"history {row} is a line of a cart ({_text.format_list(items)}), where a mapping gives each item "
                    f"its weight. Give the ids, [line[{key!r}] for line in cart], and the quantities as weights=."
                )
        return items
    sequence = as_sequence(materialize(history), f"history {row}")
    items = sequence.tolist() if hasattr(sequence, "tolist") else list(sequence)
    nested = next((each for each in items if not is_one(each)), None)
    if nested is not None:
        raise InvalidDataError(f"history {row} holds {nested!r}, which is no item id. Give ids, or one list for each.")
    return items


def _weights_of(history: Any, row: int, n: int, request: Request) -> NDArray[np.float64]:
    values: Any
    if isinstance(history, Mapping):
        if request.weights is not None:
            raise InvalidDataError(f"history {row} is a mapping that has weights already. Leave weights= out.")
        values = list(history.values())
    elif request.weights is None:
        return np.ones(n)
    else:
        values = _row_of_values(request.weights[row], "weights", row)
    try:
        weights = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"weights of history {row}: {error}. Give one number for each item.") from None
    if weights.shape != (n,):
        raise InvalidDataError(f"history {row}: {weights.size} weights for {n} items; give one for each.")
    return weights


def _row_of_values(values: Any, name: str, row: int) -> Any:
    if values is None or is_one(values):
        raise InvalidDataError(f"{name} of history {row}: {values!r}; give one for each item.")
    return as_sequence(materialize(values), f"{name} of history {row}")
