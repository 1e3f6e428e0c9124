"""What had happened by a moment: the purchases of everybody cut there, for lists as of a day (``now=``).

Events at the moment itself count, later ones do not. Somebody who bought something later is as their history up to then
makes them; who bought nothing later keeps their place in training; who had bought nothing by then is unknown. Items
that were first bought later are not listed.
"""

import contextlib
import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import is_column
from ancf._text import format_value
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.time_range import TimeRange
from ancf.data.timestamps import read_moments
from ancf.errors import InvalidDataError
from ancf.scoring.histories import Histories
from ancf.scoring.purchases import Purchases

# Moments that mean one thing to whoever reads them, for which nothing needs to be loaded.
_ISO = re.compile(r"(19|20)\d\d-\d\d-\d\d([T ]([01]\d|2[0-3]):\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


class Past:
    """The purchases of a model up to a moment, by the positions of its users and items."""

    def __init__(
        self,
        now: int,
        seen: ItemSets,
        purchases: Purchases,
        times: NDArray[np.int64],
        rejecting: NDArray[np.int64] | None = None,
        *,
        bought: bool = False,
    ) -> None:
        """``bought``: without events that are no purchases."""
        self.now = now
        n_pairs = len(seen.items)
        happened = times <= now
        if bought and purchases.had is not None:
            happened &= purchases.had
            times = np.where(purchases.had, times, times.max())
        if not happened.any():
            raise InvalidDataError(
                f"now is {self}, and the first purchase of this model was at {_text(int(times.min()))}. Give a later "
                "moment."
            )
        of_events = np.arange(n_pairs) if purchases.counts is None else np.repeat(np.arange(n_pairs), purchases.counts)
        self._of_events = of_events[happened]
        self._weights = None if purchases.weights is None else purchases.weights[happened]
        self._users = np.repeat(np.arange(seen.n_rows), np.diff(seen.indptr))
        self._seen, self._purchases, self._happened = seen, purchases, happened
        self.times = times[happened]
        """Of the events that count, by user, item and time."""
        self.counts = np.bincount(self._of_events, minlength=n_pairs)
        """How many events of each pair of ``seen`` count."""
        later = np.zeros(seen.n_rows, bool)
        later[self._users[of_events[~happened]]] = True
        if rejecting is not None:
            later[rejecting] = True
        self.is_cut = later
        """Who bought or, as ``rejecting`` says, rejected something later (n_users,)."""
        by_then = np.zeros(seen.n_rows, bool)
        by_then[self._users[self.counts > 0]] = True
        self.is_unknown = later & ~by_then
        """Who bought or rejected something later, and had bought nothing by then (n_users,)."""
        self.usual = TimeRange.from_times(self.times)
        """In which nearly all of it happened."""

    def __str__(self) -> str:
        return _text(self.now)

    @cached_property
    def pairs(self) -> ItemSets:
        """What each user had (n_users rows)."""
        kept = self.counts > 0
        return ItemSets(
            offsets_from_lengths(np.bincount(self._users[kept], minlength=self._seen.n_rows)), self._seen.items[kept]
        )

    @cached_property
    def had(self) -> ItemSets:
        """``pairs`` without what had only been looked at."""
        if self._purchases.had is None:
            return self.pairs
        by_then = self._purchases.had[self._happened]
        return self.pairs.keep(np.bincount(self._of_events, by_then, len(self.counts))[self.counts > 0] > 0)

    def buyers(self, n_items: int) -> NDArray[np.int64]:
        """How many people had each item, without those who had only looked at it."""
        return np.bincount(self.had.items, minlength=n_items)

    def interactions(self, user_ids: IdMap, item_ids: IdMap) -> Interactions:
        """The events that count as a table over all users and items."""
        events = self._purchases.interactions(user_ids, item_ids, self._seen).subset(self._happened)
        rejections = events.rejections
        if rejections is not None and rejections.times is not None:
            events.rejections = rejections.keep(rejections.times <= self.now)
        return events

    def not_yet(self, n_items: int) -> NDArray[np.bool_]:
        """The items that were first bought later."""
        ever = np.bincount(self._seen.items, minlength=n_items) > 0
        return np.asarray(ever & (np.bincount(self.pairs.items, minlength=n_items) == 0))

    def histories(
        self, rows: NDArray[np.integer[Any]], counts_purchases: bool, shares: NDArray[np.float32] | None = None
    ) -> Histories:
        """What some users had; weights are numbers of purchases (``shares``: of each event), or summed quantities."""
        kept = np.flatnonzero(self.counts)
        if shares is not None:
            by_then = shares[self._happened]
            weights = np.bincount(self._of_events, by_then, len(self.counts))[kept].astype(np.float32)
        elif counts_purchases or self._weights is None:
            weights = self.counts[kept].astype(np.float32)
        else:
            weights = np.bincount(self._of_events, self._weights, len(self.counts))[kept].astype(np.float32)
        last = self.times[np.cumsum(self.counts[kept]) - 1]
        of_rows = ItemSets(self.pairs.indptr, np.arange(len(kept), dtype=np.int32)).take(rows)
        places = of_rows.items
        return Histories(of_rows.indptr, self.pairs.items[places], weights[places], last[places])


def times_of(purchases: Purchases | None, what: str) -> tuple[Purchases, NDArray[np.int64]]:
    """The purchases of a model, and their times.

    Raises
    ------
    InvalidDataError
        If the model knows no times; ``what`` needs them.
    """
    if purchases is None or purchases.times is None or not len(purchases.times):
        why = "its file was written without them" if purchases is None else "it learned from a table without times"
        raise InvalidDataError(
            f"{what} needs the times of purchases, and this model has none ({why}). Train it on a table with a column "
            "of times (time=)."
        )
    return purchases, purchases.times


def read_now(now: Any, purchases: Purchases | None) -> int:
    """A moment in seconds since 1970, by the rules of a table.

    Raises
    ------
    InvalidDataError
        If it is no single moment, or the model knows no times.
    """
    _, times = times_of(purchases, "now=")
    if isinstance(now, (list, tuple, set, dict)) or is_column(now) or (isinstance(now, np.ndarray) and now.ndim):
        raise InvalidDataError(f"now is {format_value(now)}; give one moment, such as '2011-12-09'.")
    if isinstance(now, str) and _ISO.fullmatch(now):
        with contextlib.suppress(ValueError):  # no such day
            moment = datetime.fromisoformat(now)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    (found,) = read_moments([now], "now", (int(times.min()), int(times.max()))).tolist()
    return int(found)


def _text(seconds: int) -> str:
    moment = np.datetime64(seconds, "s")
    return str(moment.astype("datetime64[D]") if seconds % 86400 == 0 else moment).replace("T", " ")
