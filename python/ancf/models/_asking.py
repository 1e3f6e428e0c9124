"""What every question to a model goes through: checks, histories by positions, memory, and lists put together."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownItemError, UnknownUserError
from ancf.infer import as_sequence, is_one

Top = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]

# Histories up to this length are looked up id by id, which takes less time than setting up a vectorised look-up.
_SHORT = 100
_SCALARS = (str, int)


def _shared(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


# What all short histories of a length have in common: their ends, and weights of 1.
_ENDS = [_shared(np.array([0, n], np.int64)) for n in range(_SHORT + 1)]
_ONES = [_shared(np.ones(n, np.float32)) for n in range(_SHORT + 1)]

# Of the memory that the machine can still give, the part that one call may plan to use.
_SHARE_OF_MEMORY = 0.8

# Weights are float32 once they count.
_LARGEST = float(np.finfo(np.float32).max)


class Histories(NamedTuple):
    """Bare histories by positions, the items of each ascending and distinct."""

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """The number of histories."""
        return len(self.indptr) - 1


def ones(n: int) -> NDArray[np.float32]:
    """Weights of 1, not to be written to."""
    return _ONES[n] if n <= _SHORT else np.ones(n, np.float32)


def check_n(N: Any) -> int:
    """N as a whole number of at least 1."""
    if isinstance(N, (int, np.integer)) and not isinstance(N, bool) and 1 <= N < 2**31:
        return int(N)
    raise InvalidParameterError(f"N is {N!r}; it must be a whole number of at least 1.")


def available_bytes() -> int | None:
    """The memory this process can still get (machine and control group), or None where nobody tells."""
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError):
        try:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    try:
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(found)) if found else None


def check_memory(n_users: int, n: int) -> None:
    """Refuse lists that would not fit into memory before anything is allocated for them.

    A row takes 8 bytes as position and score, and some 16 more once its raw ids are looked up.
    """
    needed = n_users * n * 24
    if needed < 1 << 28:
        return
    available = available_bytes()
    if available is not None and needed > _SHARE_OF_MEMORY * available:
        raise InvalidParameterError(
            f"{n_users:,} lists of {n:,} items need about {needed / 2**30:.1f} GiB; "
            f"{available / 2**30:.1f} GiB are free. "
            'Use recommend_all(N, out="recs.parquet") to stream them into a file, a smaller N, or fewer users.'
        )


def merged(m: int, known: NDArray[np.intp], top: Top, others: NDArray[np.intp], rest: Top | None) -> Top:
    """The lists of the known and of the others in the order asked; ``rest`` None leaves the others empty."""
    width = max(top[0].shape[1], 0 if rest is None else rest[0].shape[1])
    items = np.zeros((m, width), np.int32)
    scores = np.zeros((m, width), np.float32)
    counts = np.zeros(m, np.int32)
    for rows, part in ((known, top), (others, rest)):
        if part is not None and len(rows):
            items[rows, : part[0].shape[1]] = part[0]
            scores[rows, : part[1].shape[1]] = part[1]
            counts[rows] = part[2]
    return items, scores, counts


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
    key = key[order]
    new = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    summed = np.bincount(group, weights=weights[order], minlength=len(starts))
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.bincount(rows[order][starts], minlength=n_rows), out=indptr[1:])
    last = None
    if times is not None:
        last = np.maximum.reduceat(times[order], starts) if len(starts) else np.empty(0, np.int64)
    if len(summed) and np.abs(summed).max() > _LARGEST:
        raise InvalidDataError("the weights of one item of a history add up to more than a float32 holds. Divide them.")
    return Histories(indptr, positions[order][starts].astype(np.int32), summed.astype(np.float32), last)


def short_history(history: list[Any], ids: IdMap) -> list[int] | None:
    """The rising positions of a list of distinct known ids; None where the general way must look at it."""
    if len(history) > _SHORT:
        return None
    found = [ids.position(each) if type(each) in _SCALARS else -1 for each in history]
    distinct = sorted(set(found))
    n = len(found)
    if len(distinct) != n or not n or distinct[0] < 0:
        return None
    return distinct


def one_history(positions: list[int]) -> Histories:
    """One short history of rising positions, all with a weight of 1."""
    n = len(positions)
    return Histories(_ENDS[n], np.array(positions, np.int32), _ONES[n])


def row_of(rows: Any, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """One row of (indptr, items, weights)."""
    if rows is None:
        return None
    indptr, items, weights = rows
    part = slice(int(indptr[row]), int(indptr[row + 1]))
    return items[part], weights[part]


def objects(values: Any) -> NDArray[Any]:
    """Any ids as a 1-D object array, however they look (tuples and strings stay whole)."""
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def unknown_items(unknown: NDArray[Any], ids: IdMap) -> UnknownItemError:
    """The error that names these ids."""
    hint = ids.hint(unknown[0])
    what = (
        f"item {_text.listed(unknown)} was"
        if len(unknown) == 1
        else f"{len(unknown)} items ({_text.listed(unknown)}) were"
    )
    return UnknownItemError(f"{what} not in training{f' ({hint})' if hint else ''}. Leave such items out.")


def unknown_users(unknown: NDArray[Any], ids: IdMap, asked: int, scoring: bool) -> UnknownUserError:
    """The error that names these ids."""
    hint = ids.hint(unknown[0])
    what = (
        f"user {_text.listed(unknown)} was"
        if len(unknown) == 1
        else f"{len(unknown)} of {asked} users ({_text.listed(unknown)}) were"
    )
    way = "" if scoring else ' or choose on_unknown="popular" or "skip"'
    return UnknownUserError(
        f"{what} not in training{f' ({hint})' if hint else ''}. Use recommend_for_history with their purchases{way}."
    )


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
    bad = np.flatnonzero(~(np.abs(values) <= _LARGEST))
    if len(bad):
        raise InvalidDataError(
            f"history {rows[bad[0]]}: the weight of {joined[bad[0]]!r} is {values[bad[0]]}; "
            "it must be a finite float32."
        )
    unknown = positions < 0
    if unknown.any():
        if on_unknown == "raise":
            raise unknown_items(objects(joined)[unknown], ids)
        rows, positions, values = rows[~unknown], positions[~unknown], values[~unknown]
    stamps = None
    if times is not None:
        from ancf.data.interactions import _seconds

        parts = [_seconds(each, len(part)) for each, part in zip(times, raw, strict=True)]
        stamps = (np.concatenate(parts) if parts else np.empty(0, np.int64))[~unknown]
    return pack_histories(rows, positions, values, stamps, len(lists), len(ids))


def as_ids(values: Any) -> NDArray[Any]:
    """Any ids as a 1-D array: int64 where all are whole numbers that fit, else objects."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    if listed and set(map(type, listed)) <= {int, np.int64, np.int32}:
        with contextlib.suppress(OverflowError):
            return np.array(listed, np.int64)
    return objects(listed)
