"""Purchases that are known and purchases that come: one table of both, whatever the cut between them.

R, the raw events, is a sum: for each user, item and moment the quantities that came, returns negative. What a model
learns from is net(R): R without its returns and what these took back (``returns.py``). Of R only those pairs are kept
beside net(R) of which some event is not above 0; all others are in net(R) as they came. So R after several tables does
not depend on where one ends and the next begins, and neither does anything that is a function of it.

A table that has quantities of 0 and below among its *known* events was read with returns kept, and goes on so: nothing
is netted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import group_starts
from ancf.data.event_types import had_among
from ancf.data.events import ItemTexts
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.rejections import join_rejections
from ancf.data.report import Report
from ancf.data.returns import had_after_returns, remaining_quantities
from ancf.errors import InvalidDataError


class Joined(NamedTuple):
    """Both tables as one, and what that changed."""

    data: Interactions
    """What is left after returns, over the ids of both."""
    returns: Interactions | None
    """The raw events of the pairs with a return; None where there is none."""
    touched: NDArray[np.bool_]
    """Which items of ``data.item_ids`` have a row in what came."""
    n_events: int
    """Events that came and were not in already."""
    n_repeated: int
    """Events that were in already, and are not counted again."""
    n_corrected: int
    """Those of them that came with another quantity."""
    n_returns: int
    """Events that came with a negative quantity."""
    n_cancelled: int
    """Purchases that are gone since, returned in full."""


class _Events(NamedTuple):
    """Raw events by positions in the ids of both."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    weights: NDArray[np.float64]
    times: NDArray[np.int64] | None
    had: NDArray[np.bool_] | None
    """Which say that somebody has the item; None where all do."""

    def keep(self, kept: NDArray[np.bool_]) -> "_Events":
        times = None if self.times is None else self.times[kept]
        had = None if self.had is None else self.had[kept]
        return _Events(self.users[kept], self.items[kept], self.weights[kept], times, had)


def join(known: Interactions, returns: Interactions | None, new: Interactions, *, deduplicate: bool = False) -> Joined:
    """Known events, the raw ones of pairs with returns, and what comes.

    Parameters
    ----------
    known : Interactions
        What a model has learned from.
    returns : Interactions or None
        ``Joined.returns`` of the last call.
    new : Interactions
        With returns as negative quantities.
    deduplicate : bool
        An event of the same user, item and moment as a known one takes its place instead of adding to it.

    Raises
    ------
    InvalidDataError
        If the ids are of another kind, or one table has times and the other has none.

    Examples
    --------
    >>> may = Interactions.from_ids(user=["ann", "bob"], item=["tea", "tea"], weight=[3, 1], time=[10, 20])
    >>> june = Interactions.from_ids(user=["ann", "cleo"], item=["tea", "cup"], weight=[-1, 2], time=[30, 30])
    >>> both = join(may, None, june)
    >>> both.data.to_pandas()[["user_id", "item_id", "weight"]].values.tolist()
    [['ann', 'tea', 2.0], ['bob', 'tea', 1.0], ['cleo', 'cup', 2.0]]
    """
    new = new.compact()
    _check_kinds(known, new)
    tables = [known, new] if returns is None else [known, new, returns]
    user_ids, user_places = _unite(known.user_ids, [table.user_ids for table in tables])
    item_ids, item_places = _unite(known.item_ids, [table.item_ids for table in tables])
    weights = [known.event_weights, new.event_weights, known.event_weights][: len(tables)]
    united = {**(known.event_weights or {}), **(new.event_weights or {})}
    flags = [had_among(table.had, table.weights, own, united) for table, own in zip(tables, weights, strict=True)]
    here, came, *rest = (
        _Events(users[table.users], items[table.items], table.weights.astype(np.float64), table.times, had)
        for table, users, items, had in zip(tables, user_places, item_places, flags, strict=True)
    )
    n_items = len(item_ids)
    nets = not len(here.weights) or here.weights.min() > 0
    raw_before = here
    if rest:
        raw_before = _concatenate(
            here.keep(~_among(_pairs(here, n_items), np.unique(_pairs(rest[0], n_items)))), rest[0]
        )
    n_repeated = n_corrected = 0
    if deduplicate and len(new):
        raw_before, came, n_repeated, n_corrected = _replace(raw_before, came, n_items)
    touched = np.zeros(n_items, bool)
    touched[came.items] = True
    raw = _concatenate(raw_before, came)
    net, of_returns = (raw, None) if not nets else _net(raw, user_ids, item_ids)
    data = Interactions(
        user_ids,
        item_ids,
        *net[:4],
        had=net.had,
        item_names=_texts(item_ids, tables, item_places, "item_names"),
        item_categories=_texts(item_ids, tables, item_places, "item_categories"),
        report=Report(source="model", rows_read=len(net.users), rows_used=len(net.users)),
        normalize=known.normalize,
    )
    data.mark = known.mark if new.mark is None else new.mark
    data.rejections = join_rejections([known, new], united)
    before = _n_cancelled(raw_before if rest else None, here, n_items)
    return Joined(
        data=data,
        returns=of_returns,
        touched=touched,
        n_events=len(came.users),
        n_repeated=n_repeated,
        n_corrected=n_corrected,
        n_returns=int((came.weights < 0).sum()),
        n_cancelled=max(0, _n_cancelled(None if of_returns is None else raw, net, n_items) - before),
    )


def _check_kinds(known: Interactions, new: Interactions) -> None:
    if not len(new):
        return
    for side in ("user", "item"):
        mine, theirs = getattr(known, f"{side}_ids"), getattr(new, f"{side}_ids")
        if mine.kind != theirs.kind:
            raise InvalidDataError(
                f"the {side}s of this table have ids of kind {theirs.kind!r} ({theirs[0]!r}) where the model's are of "
                f"kind {mine.kind!r} ({mine[0]!r}). Read it with ids as those of the training table: a text file's are "
                "text, a frame's what its columns hold."
            )
    if known.times is None and new.times is not None:
        raise InvalidDataError(
            "this table has times and the model learned from one without. Read it with time=False, or train on a table "
            "with times."
        )
    if known.times is not None and new.times is None:
        raise InvalidDataError(
            "this table has no times and the model learned from one with times. Give a column of times (time=)."
        )


def _unite(base: IdMap, sides: list[IdMap]) -> tuple[IdMap, list[NDArray[np.int32]]]:
    """The ids of all sides, and where those of each side stand; ascending once there is one beyond ``base``."""
    missing = [side.values[base.positions(side.values) < 0] for side in sides if side is not base and len(side)]
    united = base
    if any(len(each) for each in missing):
        united, _ = IdMap.factorize(np.concatenate([base.values, *missing]))

    def places(side: IdMap) -> NDArray[np.int32]:
        found = np.arange(len(side)) if side is united or not len(side) else united.positions(side.values)
        return found.astype(np.int32)

    return united, [places(side) for side in sides]


def _pairs(events: _Events, n_items: int) -> NDArray[np.int64]:
    return events.users.astype(np.int64) * n_items + events.items


def _concatenate(first: _Events, second: _Events) -> _Events:
    if not len(second.users):
        return first
    times = None
    if first.times is not None and second.times is not None:
        times = np.concatenate((first.times, second.times))
    had = None
    if first.had is not None or second.had is not None:
        parts = ((each.had, len(each.users)) for each in (first, second))
        had = np.concatenate([np.ones(n, bool) if flags is None else flags for flags, n in parts])
    return _Events(
        np.concatenate((first.users, second.users)),
        np.concatenate((first.items, second.items)),
        np.concatenate((first.weights, second.weights)),
        times,
        had,
    )


def _replace(before: _Events, came: _Events, n_items: int) -> tuple[_Events, _Events, int, int]:
    """What was there without the events that come again with another quantity, what comes without those that come
    again with the same, and the numbers of both and of the corrected ones."""
    suspects = _among(_pairs(before, n_items), np.unique(_pairs(came, n_items)))
    at = np.flatnonzero(suspects)
    old = before.keep(suspects)
    key = np.concatenate((_pairs(old, n_items), _pairs(came, n_items)))
    times = np.zeros(len(key), np.int64)
    if old.times is not None and came.times is not None:
        times = np.concatenate((old.times, came.times))
    source = np.arange(len(key))
    order = np.lexsort((source, times, key))
    same = (key[order][1:] == key[order][:-1]) & (times[order][1:] == times[order][:-1])
    n_old = len(at)
    first, second = order[:-1][same], order[1:][same]
    known = (first < n_old) & (second >= n_old)
    mine, theirs = first[known], second[known] - n_old
    equal = old.weights[mine] == came.weights[theirs]
    keep_old, keep_new = np.ones(len(before.users), bool), np.ones(len(came.users), bool)
    keep_old[at[mine[~equal]]] = False
    keep_new[theirs[equal]] = False
    return before.keep(keep_old), came.keep(keep_new), len(mine), int((~equal).sum())


def _net(raw: _Events, user_ids: IdMap, item_ids: IdMap) -> tuple[_Events, Interactions | None]:
    """What is left, and the raw events of the pairs with an event that is not above 0."""
    n_items = len(item_ids)
    if not (raw.weights <= 0).any():
        return raw, None
    pairs = _pairs(raw, n_items)
    suspects = _among(pairs, np.unique(pairs[raw.weights <= 0]))
    # Events of the same moment are one here, so that it does not matter whether they came together.
    found = raw.keep(suspects)
    summed = Interactions(user_ids, item_ids, found.users, found.items, found.weights, found.times, had=found.had)
    events = _Events(
        summed.users,
        summed.items,
        summed.weights.astype(np.float64),
        summed.times,
        summed.had,
    )
    pairs, had = _pairs(events, n_items), events.had
    if events.times is None:
        involved, left = events.weights <= 0, np.maximum(events.weights, 0.0)
    else:
        involved = _among(pairs, np.unique(pairs[events.weights <= 0]))
        left = np.where(involved, 0.0, events.weights)
        left[involved] = remaining_quantities(pairs[involved], events.weights[involved])
        if had is not None:
            had = had.copy()
            had[involved] = had_after_returns(pairs[involved], events.weights[involved], had[involved])
    net = _concatenate(raw.keep(~suspects), events._replace(weights=left, had=had).keep(left > 0))
    return net, summed.subset(involved).compact() if involved.any() else None


def _n_cancelled(raw: _Events | None, net: _Events, n_items: int) -> int:
    """Purchases among raw events that are no longer among those that are left."""
    if raw is None:
        return 0
    # All other pairs have the same events in both.
    pairs = _pairs(raw, n_items)
    of_returns = np.unique(pairs[raw.weights <= 0])
    moments = []
    for events in (
        raw.keep((raw.weights > 0) & _among(pairs, of_returns)),
        net.keep(_among(_pairs(net, n_items), of_returns)),
    ):
        pairs, times = _pairs(events, n_items), events.times
        order = np.lexsort((pairs,) if times is None else (times, pairs))
        keys = (pairs[order],) if times is None else (pairs[order], times[order])
        moments.append(len(group_starts(*keys)))
    return moments[0] - moments[1]


def _among(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values stand in the other array, which has few beside them: only those are looked up whose last bits one of
    these has, about a sixteenth of the others. ``np.isin`` sorts both."""
    found = np.zeros(len(values), bool)
    if not len(ascending):
        return found
    last_bits = (1 << (16 * len(ascending)).bit_length()) - 1
    marked = np.zeros(last_bits + 1, bool)
    marked[ascending & last_bits] = True
    at = np.flatnonzero(marked[values & last_bits])
    places = np.minimum(np.searchsorted(ascending, values[at]), len(ascending) - 1)
    found[at] = ascending[places] == values[at]
    return found


def _texts(item_ids: IdMap, tables: list[Interactions], places: list[NDArray[np.int32]], name: str) -> ItemTexts | None:
    """The first text that a table has for each item; None where no table has any."""
    sides = [(getattr(table, name), place) for table, place in zip(tables, places, strict=True)]
    if all(texts is None for texts, _ in sides):
        return None
    result = np.full(len(item_ids), None, object)
    for texts, place in reversed(sides):
        if texts is not None:
            held = np.array([text is not None for text in texts], bool)
            result[place[held]] = texts[held]
    return result
