"""A user's history, continued: what the model learned of them, and what the journal has beside that.

An event that the model has learned is not counted again (``counting.py``); any other is new. Events of one item add up,
and what comes back leaves the history when nothing of it is left.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import ItemSets
from ancf.scoring.histories import Histories
from ancf.scoring.scorer import Scorer
from ancf.serving.counting import Counting, Weighed
from ancf.serving.journal import FORGET, Entry

_NO_ITEMS, _NO_WEIGHTS = np.empty(0, np.int32), np.empty(0, np.float32)
_LONG_AGO = -(2**62)
"""The time of what has none."""


class Continued(NamedTuple):
    """A history as the model folds it in, and what lists leave out because it was bought or rejected."""

    histories: Histories
    bought: ItemSets
    rejected: ItemSets | None = None

    def left_out(self, exclude_seen: bool) -> ItemSets | None:
        """What a list leaves out by itself."""
        if not exclude_seen or self.rejected is None:
            return self.bought if exclude_seen else self.rejected
        return self.bought.union(self.rejected)


def row_of(scorer: Scorer, user_id: str, entries: Sequence[Entry]) -> int:
    """The user's position in the training table; -1 for somebody unknown, or who is to be forgotten."""
    if entries and entries[0].event == FORGET:
        return -1
    return scorer.user_ids.position(scorer.user_ids.parse(user_id))


def continue_history(scorer: Scorer, row: int, entries: Sequence[Entry], counting: Counting) -> Continued | None:
    """The history of a user of the training table, or from nothing (``row`` -1), with these events, oldest first.

    None where the events change nothing.
    """
    timed = scorer.purchases is not None and scorer.purchases.times is not None
    counted = timed and scorer.encoder.counts_purchases
    before = _Before.of(scorer, row)
    parse, position = scorer.item_ids.parse, scorer.item_ids.position
    weights, last, until = counting
    after: dict[int, _Had] = {}
    rejected: dict[int, bool] = {}
    """What was rejected since, and whether it was a dislike."""
    cleared: set[int] = set()
    for item_id, event, quantity, at, seq in entries:
        weighed = weights.get(event)
        item = position(parse(item_id)) if weighed is not None and (weighed.weight or weighed.rejects) else -1
        if item < 0 or weighed is None:
            continue
        if weighed.rejects and not (row >= 0 and weighed.trained and _is_learned(seq, at, last, until)):
            rejected[item] = rejected.get(item, False) or weighed.rejects == "dislike"
        if not weighed.weight:
            continue
        had = after.get(item)
        if row >= 0 and weighed.trained:
            if last is not None and seq <= last:
                continue
            if until is not None and at <= until and (before.place(item) >= 0 if had is None else had.learned):
                continue
        if had is None:
            had = after[item] = before.had(item)
        had.add(weighed, weighed.share if counted else weighed.weight * quantity, quantity, at)
        if weighed.had > 0:
            rejected.pop(item, None)
            cleared.add(item)
    if not after and not rejected:
        return None
    merged = _merged(before, after, timed=row < 0 or timed)
    bought = set(merged.bought.items.tolist())
    standing = {item for item, is_dislike in rejected.items() if is_dislike or item not in bought}
    if row >= 0 and scorer.rejected is not None:
        standing |= set(scorer.rejected.row(row).tolist()) - cleared
    if not standing:
        return merged
    items = np.array(sorted(standing), np.int32)
    return merged._replace(rejected=ItemSets(_indptr(items), items))


def _is_learned(seq: int, at: int, last: int | None, until: int | None) -> bool:
    """Whether an event of a type that the training table has is among those that the model learned."""
    return seq <= last if last is not None else until is not None and at <= until


def continue_set(scorer: Scorer, row: int, entries: Sequence[Entry], counting: Counting) -> list[int] | None:
    """The items of the same history, ascending, for a model to which it is a set (``Encoder.sees_sets``).

    None where ``continue_history`` must look: where nothing is new, where something came back or is rejected, and where
    something is or was only looked at, which is in the history but may be listed.
    """
    weights, last, until = counting
    items: list[int] = []
    if row >= 0:
        indptr = scorer.seen.indptr
        if scorer.had is not scorer.seen and len(scorer.had.row(row)) < indptr[row + 1] - indptr[row]:
            return None
        if scorer.rejected is not None and len(scorer.rejected.row(row)):
            return None
        items = scorer.seen.items[indptr[row] : indptr[row + 1]].tolist()
    learned = items if until is None else items.copy()
    parse, position = scorer.item_ids.parse, scorer.item_ids.position
    counts = False
    for item_id, event, _, at, seq in entries:
        weighed = weights.get(event)
        if weighed is None or not (weighed.weight or weighed.rejects):
            continue
        is_trained = row >= 0 and weighed.trained
        if is_trained and last is not None and seq <= last:
            continue
        if weighed.had != 1:
            return None
        item = position(parse(item_id))
        if item < 0 or (is_trained and until is not None and at <= until and _stands_in(learned, item)):
            continue
        counts = True
        place = bisect_left(items, item)
        if place == len(items) or items[place] != item:
            items.insert(place, item)
    return items if counts else None


def _stands_in(items: list[int], item: int) -> bool:
    place = bisect_left(items, item)
    return place < len(items) and items[place] == item


class _Had:
    """What somebody has had of an item."""

    __slots__ = ("at", "bought", "learned", "weight")

    def __init__(self, weight: float, at: int, learned: bool) -> None:
        self.weight, self.at, self.learned = weight, at, learned
        self.bought = 0.0

    def add(self, weighed: Weighed, weight: float, quantity: float, at: int) -> None:
        self.weight += weight
        if weighed.had > 0:
            self.bought += quantity
        elif weighed.had < 0:
            # It says nothing of when a thing was bought.
            self.bought -= quantity
            return
        self.at = max(self.at, at)


class _Before(NamedTuple):
    """What the model learned of a user: items, ascending, with weights and times, and those that they have had."""

    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None
    bought: NDArray[np.int32]

    @classmethod
    def of(cls, scorer: Scorer, row: int) -> Self:
        """That of a user of the training table; nothing for ``row`` -1."""
        if row < 0:
            return cls(_NO_ITEMS, _NO_WEIGHTS, None, _NO_ITEMS)
        return cls(*scorer.purchases_of(row), scorer.had.row(row))

    def place(self, item: int) -> int:
        """Where an item stands; -1 if it is not there."""
        items = self.items
        at = int(items.searchsorted(items.dtype.type(item)))
        return at if at < len(items) and items[at] == item else -1

    def had(self, item: int) -> _Had:
        """What there was of an item."""
        at = self.place(item)
        if at < 0:
            return _Had(0.0, _LONG_AGO, False)
        return _Had(float(self.weights[at]), _LONG_AGO if self.times is None else int(self.times[at]), True)


def _merged(before: _Before, after: dict[int, _Had], *, timed: bool) -> Continued:
    """The history with what came; only what came is looked at item by item."""
    items, weights, times, bought_before = before
    known = [item for item, had in after.items() if had.learned]
    if known:
        # Those stand in the history already, and come back below with what became of them.
        kept = np.ones(len(items), bool)
        kept[items.searchsorted(np.array(known, items.dtype))] = False
        items, weights, times = items[kept], weights[kept], None if times is None else times[kept]
    left = [(item, had) for item, had in after.items() if had.weight > 0]
    all_items = np.concatenate([items, np.array([item for item, _ in left], np.int32)])
    order = all_items.argsort(kind="stable")
    new_weights = np.array([had.weight for _, had in left], np.float32)
    moments = None
    if timed:
        old = np.full(len(items), _LONG_AGO, np.int64) if times is None else times
        moments = np.concatenate([old, np.array([had.at for _, had in left], np.int64)])[order]
    ordered = all_items[order]
    histories = Histories(_indptr(ordered), ordered, np.concatenate([weights, new_weights])[order], moments)
    was_bought = set(bought_before.tolist())
    looked_at = [item for item, had in left if not (item in was_bought or had.bought > 0)]
    if len(bought_before) < len(before.items):
        looked_at += [item for item in items.tolist() if item not in was_bought]
    if not looked_at:
        return Continued(histories, ItemSets(histories.indptr, ordered))
    bought = ordered[~np.isin(ordered, looked_at)]
    return Continued(histories, ItemSets(_indptr(bought), bought))


def _indptr(items: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.array([0, len(items)], np.int64)
