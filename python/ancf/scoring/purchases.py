"""What a model keeps of the purchases themselves: how often, how much and when, beside who has what.

``Scorer.seen`` says which items each user has. An update takes in new purchases beside the old ones, and a shop wants
to see whose history a list was made of; both need each event. It stands in the order of ``seen``: by user, item, time.
What is the same for all events is not kept: ``counts`` is None where each pair has one event, ``weights`` where each
weighs 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.data.event_types import event_shares
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions, Mark
from ancf.data.rejections import Rejections
from ancf.data.report import Report
from ancf.data.time_range import TimeRange
from ancf.errors import InvalidDataError, ModelFileError

Arrays = dict[str, NDArray[Any]]


class History(NamedTuple):
    """What a model has of one user: one entry for each item, in the order of ``item_ids_``.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"], weight=[3, 1, 2])
    >>> had = ancf.Popular().fit(data).history(1)
    >>> had.item_ids.tolist(), had.weights.tolist(), had.times
    (['cup', 'tea'], [1.0, 3.0], None)
    """

    item_ids: NDArray[Any]
    """(n,)"""
    weights: NDArray[np.float32] | None
    """The summed quantities (n,); None where the model file was written without them."""
    counts: NDArray[np.int32] | None
    """The number of purchases (n,); None likewise."""
    times: NDArray[np.int64] | None
    """The last purchase of each, in seconds since 1970 (n,); None where the table had no times."""


@dataclass(frozen=True, eq=False)
class Purchases:
    """The events behind ``seen``, which is not held here."""

    n_events: int
    counts: NDArray[np.int32] | None
    """Events of each pair (n_pairs,)."""
    weights: NDArray[np.float32] | None
    """(n_events,)"""
    times: NDArray[np.int64] | None
    """Seconds since 1970 (n_events,); None for a table without times."""
    had: NDArray[np.bool_] | None = None
    """Which events say that the user has the item (n_events,); None where all do (``Interactions.had``)."""
    rejections: Rejections | None = None
    """What users rejected (``Interactions.rejections``)."""
    mark: Mark | None = None
    """What the caller called the last event (``Interactions.mark``)."""
    n_trained: int | None = None
    """Events of the training table, where updates brought others that a model did not train on."""
    returns: Interactions | None = None
    """The raw events of pairs with a return that an update brought (``data/ledger.py``)."""

    @classmethod
    def from_interactions(
        cls, data: Interactions, *, n_trained: int | None = None, returns: Interactions | None = None
    ) -> Self:
        """Those of a table whose pairs are ``seen``.

        Raises
        ------
        InvalidDataError
            If its mark is neither a whole number nor text.
        """
        mark = data.mark
        if not (mark is None or _is_mark(mark)):
            raise InvalidDataError(f"mark is {mark!r}; give a whole number or text.")
        counts = data.pair_counts()
        weights = np.ascontiguousarray(data.weights)
        return cls(
            len(data),
            None if len(counts) == len(data) else counts,
            None if (weights == 1).all() else weights,
            data.times,
            None if data.had is None or data.had.all() else data.had,
            data.rejections,
            mark,
            n_trained,
            returns,
        )

    @cached_property
    def _starts(self) -> NDArray[np.int64] | None:
        """Where the events of each pair begin; None where they are the pairs."""
        return None if self.counts is None else offsets_from_lengths(self.counts)

    @cached_property
    def pair_had(self) -> NDArray[np.bool_] | None:
        """Which pairs have such an event (n_pairs,); None where all have."""
        if self.had is None or self._starts is None:
            return self.had
        return np.logical_or.reduceat(self.had, self._starts[:-1]) if len(self.had) else self.had

    def shares(self, of_types: Mapping[str, float]) -> NDArray[np.float32] | None:
        """What each event is in purchases (n_events,); None where all are purchases."""
        if self.had is None:
            return None
        weights = np.ones(self.n_events, np.float32) if self.weights is None else self.weights
        return event_shares(weights, self.had, of_types)

    @cached_property
    def until(self) -> int | None:
        """A moment by which nearly all events had happened (``TimeRange``); None without times."""
        return None if self.times is None or not len(self.times) else TimeRange.from_times(self.times).end

    def history(self, seen: ItemSets, row: int, item_ids: IdMap) -> History:
        """One user's, by position."""
        first, last = int(seen.indptr[row]), int(seen.indptr[row + 1])
        starts = np.arange(first, last + 1) if self._starts is None else self._starts[first : last + 1]
        weights, counts, _ = self.of_pairs(first, last)
        times = None if self.times is None else self.times[starts[1:] - 1]
        return History(item_ids.take(seen.items[first:last]), weights, counts, times)

    def events_of(self, pair: int) -> list[tuple[float, int | None, bool]]:
        """The events of one pair, by time: how much, when, and whether they say that the user has the item."""
        starts = (pair, pair + 1) if self._starts is None else self._starts[pair : pair + 2].tolist()
        events = slice(*starts)
        n = starts[1] - starts[0]
        weights = [1.0] * n if self.weights is None else self.weights[events].tolist()
        times = [None] * n if self.times is None else self.times[events].tolist()
        return list(zip(weights, times, [True] * n if self.had is None else self.had[events].tolist(), strict=True))

    def of_pairs(
        self, first: int, last: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64] | None]:
        """Summed quantities, numbers of events and last times of some pairs; no time is after ``until``."""
        n = last - first
        if self.counts is None or self._starts is None:
            # Each pair is one event.
            counts, ends = np.ones(n, np.int32), np.arange(first, last)
            summed = np.ones(n, np.float32) if self.weights is None else self.weights[first:last].copy()
        else:
            counts, starts = self.counts[first:last].copy(), self._starts[first : last + 1]
            ends = starts[1:] - 1
            if self.weights is None:
                summed = counts.astype(np.float32)
            else:
                # In the order of sum_groups, which would have to find the groups first.
                events = self.weights[int(starts[0]) : int(starts[-1])]
                summed = np.bincount(np.repeat(np.arange(n), counts), events, n).astype(np.float32)
        if self.times is None or self.until is None:
            return summed, counts, None
        return summed, counts, np.minimum(self.times[ends], self.until)

    def numbers_of(self, first: int, last: int, *, counted: bool) -> tuple[list[float], list[int] | None]:
        """Of some pairs, numbers of events if ``counted``, else summed quantities, and last times as ``of_pairs`` gives
        them, in plain numbers: for the few pairs of one user that takes a tenth of the time."""
        counts, starts = self.counts, self._starts
        if self.weights is not None and not counted:
            weights = self.of_pairs(first, last)[0].tolist()
        else:
            weights = [1.0] * (last - first) if counts is None else counts[first:last].tolist()
        until = self.until
        if self.times is None or until is None:
            return weights, None
        if counts is None or starts is None:
            times = self.times[first:last].tolist()
        else:
            times = self.times[starts[first + 1 : last + 1] - 1].tolist()
        return weights, [until if at > until else at for at in times]

    def sums_of_pairs(self, of_events: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
        """Numbers of events summed for some pairs."""
        if self.counts is None or self._starts is None:
            return of_events[first:last]
        events = of_events[int(self._starts[first]) : int(self._starts[last])]
        return np.bincount(np.repeat(np.arange(last - first), self.counts[first:last]), events, last - first).astype(
            np.float32
        )

    def interactions(self, user_ids: IdMap, item_ids: IdMap, seen: ItemSets, **texts: Any) -> Interactions:
        """The table that these are the events of; ``texts``: names and categories."""
        users = np.repeat(np.arange(seen.n_rows, dtype=np.int32), np.diff(seen.indptr))
        items = seen.items
        if self.counts is not None:
            users, items = np.repeat(users, self.counts), np.repeat(items, self.counts)
        weights = np.ones(self.n_events, np.float32) if self.weights is None else self.weights
        report = Report(source="model", rows_read=self.n_events, rows_used=self.n_events)
        data = Interactions._from_canonical(
            user_ids, item_ids, users, items, weights, self.times, had=self.had, report=report, **texts
        )
        data.mark, data.rejections = self.mark, self.rejections
        return data

    # ---- the model file

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """As a model file keeps them."""
        found = {"events.counts": self.counts, "events.weights": self.weights, "events.times": self.times}
        arrays: Arrays = {name: part for name, part in found.items() if part is not None}
        if self.had is not None:
            arrays["events.had"] = self.had.astype(np.uint8)
        about: dict[str, Any] = {"n": self.n_events}
        if self.had is not None:
            # Written down, it cannot get lost unnoticed.
            about["had"] = True
        if self.mark is not None:
            about["mark"] = self.mark
        if self.n_trained is not None:
            about["trained"] = self.n_trained
        meta: dict[str, Any] = {"events": about}
        if self.rejections is not None:
            parts, meta["rejections"] = self.rejections.state()
            arrays |= parts
        if self.returns is None:
            return arrays, meta
        returns, kinds = self.returns, {}
        for side, ids in (("user_ids", returns.user_ids), ("item_ids", returns.item_ids)):
            parts, kinds[side] = ids.state()
            arrays |= {f"returns.{side}.{name}": part for name, part in parts.items()}
        columns = {"users": returns.users, "items": returns.items, "weights": returns.weights, "times": returns.times}
        arrays |= {f"returns.{name}": part for name, part in columns.items() if part is not None}
        if returns.had is not None:
            arrays["returns.had"] = returns.had.astype(np.uint8)
        return arrays, {**meta, "returns": kinds}

    @classmethod
    def from_arrays(cls, arrays: Arrays, meta: dict[str, Any], n_pairs: int) -> Self | None:
        """Those of a model file, every number checked; None for a file without them.

        Raises
        ------
        ModelFileError
        """
        about = meta.get("events")
        if about is None:
            return None
        counts, weights, times = (arrays.get(f"events.{name}") for name in ("counts", "weights", "times"))
        n = about.get("n") if isinstance(about, dict) else None
        well = isinstance(n, int) and (n == n_pairs if counts is None else counts.shape == (n_pairs,))
        if well and counts is not None:
            well = counts.dtype == np.int32 and bool((counts >= 1).all()) and int(counts.sum(dtype=np.int64)) == n
        well = well and (weights is None or (weights.dtype == np.float32 and weights.shape == (n,)))
        well = well and (weights is None or bool(np.isfinite(weights).all()))
        well = well and (times is None or (times.dtype == np.int64 and times.shape == (n,)))
        had = arrays.get("events.had")
        well = well and (had is not None) == about.get("had", False)
        well = well and (had is None or (had.dtype == np.uint8 and had.shape == (n,) and bool((had <= 1).all())))
        mark = about.get("mark") if well else None
        if not well or n is None or not (mark is None or _is_mark(mark)):
            raise ModelFileError("model file: its events do not fit its histories. Load another copy.")
        trained = about.get("trained")
        if not (trained is None or (isinstance(trained, int) and trained >= 0)):
            raise ModelFileError("model file: its events do not fit its histories. Load another copy.")
        flags = None if had is None else had.astype(bool)
        rejections = _read_rejections(arrays, meta, times is not None)
        returns = _read_returns(arrays, meta, times is not None)
        return cls(n, counts, weights, times, flags, rejections, mark, trained, returns)


def _read_rejections(arrays: Arrays, meta: dict[str, Any], timed: bool) -> Rejections | None:
    if "rejections" not in meta:
        return None
    try:
        return Rejections.from_state(arrays, meta["rejections"], timed)
    except (InvalidDataError, KeyError, ModelFileError, TypeError, ValueError) as error:
        raise ModelFileError(f"model file: its rejections do not fit ({error}). Load another copy.") from error


def _read_returns(arrays: Arrays, meta: dict[str, Any], timed: bool) -> Interactions | None:
    """The raw events of pairs with returns of a model file, every number checked; None for a file without them."""
    if "returns" not in meta:
        return None
    try:
        ids = []
        for side in ("user_ids", "item_ids"):
            begins = f"returns.{side}."
            parts = {name.removeprefix(begins): part for name, part in arrays.items() if name.startswith(begins)}
            ids.append(IdMap.from_state(parts, meta["returns"][side]))
        users, items, weights = (arrays[f"returns.{name}"] for name in ("users", "items", "weights"))
        times = arrays["returns.times"] if timed else None
        columns = [(users, np.int32), (items, np.int32), (weights, np.float32), (times, np.int64)]
        if any(array is not None and (array.dtype != kind or array.ndim != 1) for array, kind in columns):
            raise ModelFileError("an array is of another type")
        if not np.isfinite(weights).all():
            raise ModelFileError("a quantity is not finite")
        had = arrays.get("returns.had")
        if had is not None and (had.dtype != np.uint8 or had.ndim != 1 or (had > 1).any()):
            raise ModelFileError("a flag is neither 0 nor 1")
        had = None if had is None else had.astype(bool)
        return Interactions(ids[0], ids[1], users, items, weights, times, had=had)
    except (InvalidDataError, KeyError, ModelFileError, TypeError, ValueError) as error:
        raise ModelFileError(f"model file: its returns do not fit ({error}). Load another copy.") from error


def _is_mark(mark: Any) -> bool:
    return isinstance(mark, (int, str)) and not isinstance(mark, bool)
