"""A user's history, continued: what the model learned of them, and what the journal has beside that.

An event that the model has learned is not counted again (``counting.py``); any other is new. Events of one item add up,
and a return takes back what was bought before it, latest purchase first, as in a training table
(``data/returns.py``): what comes back leaves the history when nothing of it is left.

Everything is in plain numbers: a history has a few purchases, for which steps over arrays take ten times as long.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Self

import numpy as np

from ancf.data.csr import ItemSets
from ancf.scoring.histories import Histories, OneHistory
from ancf.scoring.scorer import Scorer
from ancf.serving.counting import Counting, Weighed
from ancf.serving.journal import FORGET, Entry

_LONG_AGO = -(2**62)
"""The time of what has none."""
_ROUNDING = 1e-9
"""A part of a purchase that is nothing but rounding (``data/returns.py``)."""


def row_of(scorer: Scorer, user_id: str, entries: Sequence[Entry]) -> int:
    """The user's position in the training table; -1 for somebody unknown, or who is to be forgotten."""
    if entries and entries[0].event == FORGET:
        return -1
    row = scorer.user_ids.position(scorer.user_ids.parse(user_id))
    return -1 if row >= 0 and scorer.past is not None and scorer.past.is_unknown[row] else row


def by_then(entries: Sequence[Entry], now: int) -> list[Entry]:
    """What had happened by a moment; that somebody is to be forgotten holds for every moment."""
    return [each for each in entries if each.at <= now or each.event == FORGET]


class _Known:
    """What the model has of a user, up to its moment; nothing for ``row`` -1."""

    def __init__(self, scorer: Scorer, row: int, of_purchase: float) -> None:
        self._scorer, self._row, self._of_purchase = scorer, row, of_purchase
        past = scorer.past
        self._pairs = scorer.seen if past is None else past.pairs
        self.items: list[int] = self._pairs.row(row).tolist() if row >= 0 else []
        """Positions, ascending."""
        self.is_timed = scorer.purchases is not None and scorer.purchases.times is not None
        self.heeds_interest = scorer.encoder.heeds_interest
        """Whether an event is a purchase, or a part of one by its weight."""
        self.counted = self.heeds_interest or (self.is_timed and scorer.encoder.counts_purchases)
        """Whether it weighs how often a thing was bought, rather than how much."""
        had = scorer.had if past is None else past.had
        self.had: set[int] | None = None if row < 0 or had is self._pairs else set(had.row(row).tolist())
        """What of it they have had; None: all."""
        self._numbers: tuple[list[float], list[int]] | None = None

    def place(self, item: int) -> int:
        """Where an item stands; -1 if it is not there."""
        at = bisect_left(self.items, item)
        return at if at < len(self.items) and self.items[at] == item else -1

    def numbers(self) -> tuple[list[float], list[int]]:
        """Weights and last moments; read when they are first asked for."""
        if self._numbers is None:
            self._numbers = self._read()
        return self._numbers

    def _read(self) -> tuple[list[float], list[int]]:
        if self._row < 0:
            return [], []
        scorer, n = self._scorer, len(self.items)
        weights, times = [1.0] * n, None
        if scorer.past is not None:
            _, _, found, last = scorer.past.histories(np.array([self._row]), self.counted, scorer.shares)
            weights, times = found.tolist(), None if last is None else last.tolist()
        elif scorer.purchases is not None:
            first = int(scorer.seen.indptr[self._row])
            weights, times = scorer.purchases.numbers_of(first, first + n, counted=self.counted)
            if scorer.shares is not None:
                weights = scorer.purchases.sums_of_pairs(scorer.shares, first, first + n).tolist()
        return weights, [_LONG_AGO] * n if times is None else times

    def weight(self, item: int, place: int) -> float:
        """What one of the items weighs; in parts of purchases before it is rounded, for others to be added."""
        if self.heeds_interest:
            return sum(1.0 if had else self.part(weight) for weight, _, had in self.events(item))
        return self.numbers()[0][place]

    def share(self, weighed: Weighed, quantity: float) -> float:
        """What a new event is in purchases."""
        if not self.heeds_interest:
            return weighed.share
        return 1.0 if weighed.had > 0 else self.part(weighed.weight * quantity)

    def part(self, weight: float) -> float:
        """What interest of a weight is in purchases, rounded as that of a table (``event_shares``)."""
        return float(np.float32(weight) / np.float32(self._of_purchase)) if self._of_purchase else 0.0

    def is_had(self, item: int) -> bool:
        """Whether they have had one of the items."""
        return self.had is None or item in self.had

    def events(self, item: int) -> list[tuple[float, int, bool]]:
        """The events of one of the items: how much, when, and whether they say that the user has it."""
        scorer, past = self._scorer, self._scorer.past
        if scorer.purchases is None:
            return [(1.0, _LONG_AGO, True)]
        pair = int(scorer.seen.indptr[self._row]) + bisect_left(scorer.seen.row(self._row).tolist(), item)
        found = [(weight, _LONG_AGO if at is None else at, had) for weight, at, had in scorer.purchases.events_of(pair)]
        return found if past is None else [each for each in found if each[1] <= past.now]


class _Item:
    """What somebody has had of one item."""

    __slots__ = ("at", "bought", "bought_again", "came", "had", "place", "returned", "weight")

    def __init__(self, place: int) -> None:
        self.place = place
        """Among what the model has of the user; -1 where it is not there."""
        self.came: list[tuple[Weighed, float, int]] = []
        """The events that are new: what they are, how much, and when."""
        self.returned = self.bought_again = False
        """Whether one of them is a return, and one a purchase."""
        self.weight, self.at, self.had = 0.0, _LONG_AGO, False
        self.bought: list[int] | None = None
        """When each purchase was that is left after returns; None without returns."""


Numbers = tuple[list[float] | None, list[int] | None]
"""Weights and times; None: as ``OneHistory`` has them."""


class Continued:
    """A history as the model folds it in, and what lists leave out because it was bought or rejected."""

    def __init__(
        self,
        items: list[int],
        had: list[int] | None,
        numbers: Callable[[], Numbers],
        rejected: list[int] | None = None,
    ) -> None:
        self.items, self.had, self.rejected = items, had, rejected
        """Positions, ascending; what of them was bought, None: all; what no list has, None: nothing."""
        self._numbers = numbers

    @classmethod
    def of_basket(cls, histories: Histories) -> Self:
        """The only row of these."""
        weights = histories.weights.tolist()
        return cls(histories.items.tolist(), None, lambda: (weights, None))

    def as_one(self, *, is_set: bool = False) -> OneHistory:
        """In plain numbers; a set has no weights and times."""
        return OneHistory(self.items, *((None, None) if is_set else self._numbers()), self.had, self.rejected)

    @cached_property
    def histories(self) -> Histories:
        """As one row of arrays."""
        return self.as_one().to_arrays()

    @cached_property
    def bought(self) -> ItemSets:
        """What was bought, as one row."""
        return _one_set(self.items if self.had is None else self.had)

    def left_out(self, exclude_seen: bool) -> ItemSets | None:
        """What a list leaves out by itself, as one row."""
        if exclude_seen:
            return self.bought if self.rejected is None else self.bought.union(_one_set(self.rejected))
        return None if self.rejected is None else _one_set(self.rejected)


def continue_history(scorer: Scorer, row: int, entries: Sequence[Entry], counting: Counting) -> Continued | None:
    """The history of a user of the training table, or from nothing (``row`` -1), with these events, oldest first.

    None where the events change nothing.
    """
    known = _Known(scorer, row, counting.weights.of_purchase)
    after, rejected = _new(scorer, known, row, entries, counting)
    if not after and not rejected:
        return None
    for item, each in after.items():
        _settle(known, item, each)
    continued = _joined(known, row, after)
    bought = {*(continued.items if continued.had is None else continued.had)} if rejected else set[int]()
    standing = {item for item, is_dislike in rejected.items() if is_dislike or item not in bought}
    if row >= 0 and scorer.rejected is not None:
        cleared = {item for item, each in after.items() if each.bought_again}
        standing |= {*scorer.rejected.row(row).tolist()} - cleared
    continued.rejected = sorted(standing) if standing else None
    return continued


def purchases_with(scorer: Scorer, row: int, entries: Sequence[Entry], counting: Counting) -> dict[int, list[int]]:
    """When a user bought each item, with these events; what came back aside."""
    known = _Known(scorer, row, counting.weights.of_purchase)
    after, _ = _new(scorer, known, row, entries, counting)
    found: dict[int, list[int]] = {}
    for item in known.items:
        found[item] = [at for weight, at, had in known.events(item) if had and weight > 0]
    for item, each in after.items():
        _settle(known, item, each)
        came = [at for weighed, _, at in each.came if weighed.had > 0]
        found[item] = found.get(item, []) + came if each.bought is None else each.bought
    return {item: moments for item, moments in found.items() if moments}


def _new(
    scorer: Scorer, known: _Known, row: int, entries: Sequence[Entry], counting: Counting
) -> tuple[dict[int, _Item], dict[int, bool]]:
    """The events that the model has not learned, by item; what was rejected since, and whether it was a dislike."""
    weights, last, until = counting
    parse, position = scorer.item_ids.parse, scorer.item_ids.position
    after: dict[int, _Item] = {}
    rejected: dict[int, bool] = {}
    for item_id, event, quantity, at, seq in entries:
        weighed = weights.get(event)
        item = position(parse(item_id)) if weighed is not None and (weighed.weight or weighed.rejects) else -1
        if item < 0 or weighed is None:
            continue
        is_trained = row >= 0 and weighed.trained
        if is_trained and last is not None and seq <= last:
            continue
        by_then = is_trained and until is not None and at <= until
        if weighed.rejects and not by_then:
            rejected[item] = rejected.get(item, False) or weighed.rejects == "dislike"
        if not weighed.weight:
            continue
        each = after.get(item)
        place = known.place(item) if each is None else each.place
        if by_then and place >= 0:
            continue
        if each is None:
            each = after[item] = _Item(place)
        each.came.append((weighed, quantity, at))
        if weighed.had > 0:
            each.bought_again = True
            rejected.pop(item, None)
        elif weighed.had < 0:
            each.returned = True
    return after, rejected


def _settle(known: _Known, item: int, each: _Item) -> None:
    """What becomes of an item by its events."""
    if each.returned:
        _take_back(known, item, each)
        return
    if each.place >= 0:
        _, times = known.numbers()
        each.weight, each.at, each.had = known.weight(item, each.place), times[each.place], known.is_had(item)
    for weighed, quantity, at in each.came:
        each.weight += known.share(weighed, quantity) if known.counted else weighed.weight * quantity
        if at > each.at:
            each.at = at
        if weighed.had > 0:
            each.had = True


Event = tuple[float, int, float, float, int]
"""What is left of an event, when it was, how much there was, and in purchases; its number."""


def _take_back(known: _Known, item: int, each: _Item) -> None:
    """The same where something came back: what is left of each event counts, and returns do not."""
    events = [] if each.place < 0 else [(at, weight < 0, weight, 1.0, had) for weight, at, had in known.events(item)]
    for weighed, quantity, at in each.came:
        events.append((at, weighed.had < 0, weighed.weight * quantity, weighed.share, weighed.had != 0))
    # At one moment, purchases go before returns.
    events.sort(key=lambda event: event[:2])
    left: list[Event] = []
    bought: list[Event] = []
    for number, (at, is_return, weight, share, is_traded) in enumerate(events):
        # From purchases alone a return takes back that they were made, whatever was looked at since.
        for kept in (left, bought) if is_traded else (left,):
            if is_return:
                _take_off(kept, -weight)
            else:
                kept.append((weight, at, weight, share, number))
    each.bought = [at for _, at, *_ in bought]
    each.had = bool(bought)
    if known.heeds_interest:
        still = {number for *_, number in bought}
        each.weight = sum(1.0 if number in still else known.part(rest) for rest, *_, number in left)
    else:
        each.weight = sum(share if known.counted else rest for rest, _, _, share, _ in left)
    each.at = max((at for _, at, *_ in left), default=_LONG_AGO)


def _take_off(kept: list[Event], quantity: float) -> None:
    """Take a return off what was before it, the latest first; what is more than that takes nothing back."""
    while kept and quantity > 0:
        left, at, whole, share, number = kept.pop()
        if left - quantity > _ROUNDING * whole:
            kept.append((left - quantity, at, whole, share, number))
        quantity -= left


def _joined(known: _Known, row: int, after: dict[int, _Item]) -> Continued:
    """What the model has, ascending, with what became of some items."""
    before = known.items
    items = before.copy()
    all_had = known.had is None
    for item, each in after.items():
        if each.weight > 0:
            all_had = all_had and each.had
            if each.place < 0:
                insort(items, item)
        elif each.place >= 0:
            items.remove(item)
    had = None if all_had else [item for item in items if (after[item].had if item in after else known.is_had(item))]

    def numbers() -> Numbers:
        weights, times = known.numbers()
        # What stays keeps its order.
        stay = iter([at for at, item in enumerate(before) if item not in after])
        places = [-1 if item in after else next(stay) for item in items]
        found = [after[item].weight if at < 0 else weights[at] for item, at in zip(items, places, strict=True)]
        if row >= 0 and not known.is_timed:
            return found, None
        return found, [after[item].at if at < 0 else times[at] for item, at in zip(items, places, strict=True)]

    return Continued(items, had, numbers)


def _one_set(items: list[int]) -> ItemSets:
    return ItemSets(np.array([0, len(items)], np.int64), np.array(items, np.int32))
