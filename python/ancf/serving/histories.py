"""A user's history, continued: what the model learned of them, and what the journal has beside that.

An event that the model has learned is not counted again. The model knows up to which moment its training table reached
(``Purchases.until``), so an event of a user and an item that it knows, at or before that moment, is one of those; any
other is new. Events of one item add up, and what comes back leaves the history when nothing of it is left.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import ItemSets
from ancf.scoring.histories import Histories
from ancf.scoring.scorer import Scorer
from ancf.serving.journal import FORGET, Entry
from ancf.serving.settings import PURCHASE, RETURN

_LONG_AGO = -(2**62)
"""The time of what has none."""


class Continued(NamedTuple):
    """A history as the model folds it in, and what lists leave out because it was bought."""

    histories: Histories
    bought: ItemSets


def row_of(scorer: Scorer, user_id: str, entries: Sequence[Entry]) -> int:
    """The user's position in the training table; -1 for somebody unknown, or who is to be forgotten."""
    if entries and entries[0].event == FORGET:
        return -1
    return scorer.user_ids.position(scorer.user_ids.parse(user_id))


def continue_history(
    scorer: Scorer, row: int, entries: Sequence[Entry], event_weights: Mapping[str, float]
) -> Continued | None:
    """The history of a user of the training table, or from nothing (``row`` -1), with these events, oldest first.

    None where the events change nothing.
    """
    known = scorer.purchases
    until = None if known is None else known.until
    counted = known is not None and known.times is not None and scorer.encoder.counts_purchases
    parse, position = scorer.item_ids.parse, scorer.item_ids.position
    before = _before(scorer, row)
    after: dict[int, _Had] = {}
    for item_id, event, quantity, at in entries:
        weight = event_weights.get(event, 0.0)
        item = position(parse(item_id)) if weight else -1
        if item < 0 or (until is not None and at <= until and item in before):
            continue
        had = after.get(item)
        if had is None:
            had = after[item] = _Had(*before.get(item, (0.0, _LONG_AGO)), item in before)
        had.add(event, weight if counted else weight * quantity, quantity, at)
    return _merged(before, after, timed=row < 0 or (known is not None and known.times is not None)) if after else None


class _Had:
    """What somebody has had of an item."""

    __slots__ = ("at", "bought", "learned", "weight")

    def __init__(self, weight: float, at: int, learned: bool) -> None:
        self.weight, self.at, self.learned = weight, at, learned
        self.bought = 0.0

    def add(self, event: str, weight: float, quantity: float, at: int) -> None:
        self.weight += weight
        if event == PURCHASE:
            self.bought += quantity
        elif event == RETURN:
            # It says nothing of when a thing was bought.
            self.bought -= quantity
            return
        self.at = max(self.at, at)


def _before(scorer: Scorer, row: int) -> dict[int, tuple[float, int]]:
    """The weights and times of a user of the training table, by item. Plain numbers: arrays of a few dozen entries take
    five times as long."""
    if row < 0:
        return {}
    items, weights, times = scorer.purchases_of(row)
    moments = itertools.repeat(_LONG_AGO) if times is None else times.tolist()
    return dict(zip(items.tolist(), zip(weights.tolist(), moments, strict=False), strict=True))


def _merged(before: dict[int, tuple[float, int]], after: dict[int, _Had], *, timed: bool) -> Continued:
    left = {item: had for item, had in after.items() if had.weight > 0}
    items = sorted({*(before.keys() - after.keys()), *left})
    weights = [left[item].weight if item in left else before[item][0] for item in items]
    times = None
    if timed:
        times = np.array([left[item].at if item in left else before[item][1] for item in items], np.int64)
    bought = [item for item in items if item not in left or left[item].learned or left[item].bought > 0]
    histories = Histories(_indptr(items), np.array(items, np.int32), np.array(weights, np.float32), times)
    return Continued(histories, ItemSets(_indptr(bought), np.array(bought, np.int32)))


def _indptr(items: list[int]) -> NDArray[np.int64]:
    return np.array([0, len(items)], np.int64)
