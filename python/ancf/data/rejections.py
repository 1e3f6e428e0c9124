"""What users rejected: they disliked it, took it out of the cart or gave it back, and lists leave it out.

A dislike stands until a later purchase of the same item; at the same moment the purchase holds. A removal and a return
reject what the user does not have, so any purchase that is left clears them. Rejections are events of their own: they
have ids of their own, since somebody may reject what nobody has bought yet, and are kept whether they stand or not. So
what stands is a function of all rejections and all purchases, and does not depend on how these were cut into tables.
Without times, the order of the rows says what is later: only what stands at the end of a table is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf.data.arrays import group_starts, offsets_from_lengths, positions_among
from ancf.data.csr import ItemSets
from ancf.data.event_types import had_among
from ancf.data.events import Events
from ancf.data.ids import IdMap

Arrays = Mapping[str, NDArray[Any]]
_COLUMNS = {"users": np.int32, "items": np.int32, "times": np.int64, "dislikes": np.bool_}


class RejectingRows(NamedTuple):
    """Rows of a table that reject something, by its codes."""

    numbers: NDArray[np.int64]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None
    dislikes: NDArray[np.bool_]

    def keep(self, kept: NDArray[np.bool_]) -> Self:
        """Those of a mask."""
        return self._replace(
            **{name: part[kept] for name, part in self._asdict().items() if part is not None},
        )

    def cleared_by(
        self,
        rows: tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]],
        weights: NDArray[Any],
        had: NDArray[np.bool_] | None,
        n_items: int,
    ) -> NDArray[np.bool_]:
        """Which of them purchases among ``rows`` (users, items, numbers) clear, by the order of the rows."""
        users, items, numbers = rows
        bought = weights > 0 if had is None else had & (weights > 0)
        keys = users[bought].astype(np.int64) * n_items + items[bought]
        own = self.users.astype(np.int64) * n_items + self.items
        return _cleared(own, self.numbers, self.dislikes, keys, numbers[bought])


@dataclass(frozen=True, eq=False)
class Rejections:
    """Rejecting events by user, item and time, each once.

    Attributes
    ----------
    user_ids, item_ids : IdMap
        Of those that reject and are rejected alone.
    users, items : int32 (n,)
        Positions in these.
    times : int64 (n,) or None
        Seconds since 1970-01-01 UTC.
    dislikes : bool (n,)
        Which are dislikes; others are removals from a cart and returns.
    """

    user_ids: IdMap
    item_ids: IdMap
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None
    dislikes: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        user_ids: IdMap,
        item_ids: IdMap,
        users: NDArray[Any],
        items: NDArray[Any],
        times: NDArray[np.int64] | None,
        dislikes: NDArray[np.bool_],
    ) -> Self | None:
        """From events in any order over any ids; None where there is none."""
        if not len(users):
            return None
        user_ids, users = _used(user_ids, users)
        item_ids, items = _used(item_ids, items)
        of_users, of_items, sums, of_times, _ = canonical_events(
            np.ascontiguousarray(users, np.int32),
            np.ascontiguousarray(items, np.int32),
            np.ascontiguousarray(dislikes, np.float64),
            None if times is None else np.ascontiguousarray(times, np.int64),
            len(user_ids),
            len(item_ids),
        )
        return cls(user_ids, item_ids, of_users, of_items, of_times, sums > 0)

    def __len__(self) -> int:
        return len(self.users)

    def keep(self, kept: NDArray[np.bool_]) -> "Rejections | None":
        """Those of a mask; None where there is none."""
        times = None if self.times is None else self.times[kept]
        return Rejections.of(
            self.user_ids, self.item_ids, self.users[kept], self.items[kept], times, self.dislikes[kept]
        )

    def standing(self, data: Events) -> NDArray[np.bool_]:
        """Which of them the purchases of a table do not clear (n,)."""
        if self.times is None or data.times is None:
            # What a later row cleared is gone already.
            return np.asarray(self.dislikes | ~self.bought_in(data, data.had))
        own, pairs, bought = self._pairs(data, data.had)
        return ~_cleared(own, self.times, self.dislikes, pairs, data.times[bought])

    def bought_in(self, data: Events, had: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Which of them are of a pair that a table has a purchase of (n,); ``had``: which of its events are one."""
        own, pairs, _ = self._pairs(data, had)
        return np.isin(own, pairs)

    def _pairs(
        self, data: Events, had: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Users and items as numbers, -1 where a table does not know them; those of its purchases, and which these
        are."""
        users, items = self._places(data.user_ids, data.item_ids)
        bought = data.weights > 0 if had is None else had & (data.weights > 0)
        pairs = data.users[bought].astype(np.int64) * data.n_items + data.items[bought]
        return np.where((users < 0) | (items < 0), -1, users * data.n_items + items), pairs, bought

    def sets(self, data: Events) -> ItemSets:
        """What stands, by the positions of a table: the items of each user; without what is not in it."""
        users, items = self._places(data.user_ids, data.item_ids)
        kept = self.standing(data) & (users >= 0) & (items >= 0)
        keys = np.unique(users[kept] * data.n_items + items[kept])
        counts = np.bincount(keys // max(data.n_items, 1), minlength=data.n_users)
        return ItemSets(offsets_from_lengths(counts), (keys % max(data.n_items, 1)).astype(np.int32))

    def _places(self, user_ids: IdMap, item_ids: IdMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The positions of users and items among others, -1 where they are none of them."""

        def places(own: IdMap, among: IdMap, codes: NDArray[np.int32]) -> NDArray[np.int64]:
            if not len(among) or own.kind != among.kind:
                return np.full(len(codes), -1)
            return among.positions(own.values)[codes]

        return places(self.user_ids, user_ids, self.users), places(self.item_ids, item_ids, self.items)

    # ---- files

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """As plain arrays by name, and the kinds of the ids."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        arrays: dict[str, NDArray[Any]] = {
            f"rejections.{name}": part.astype(np.uint8) if part.dtype == bool else part
            for name, part in columns.items()
            if part is not None
        }
        kinds: dict[str, Any] = {}
        for side in ("user_ids", "item_ids"):
            parts, kinds[side] = getattr(self, side).state()
            arrays |= {f"rejections.{side}.{name}": part for name, part in parts.items()}
        return arrays, kinds

    @classmethod
    def from_state(cls, arrays: Arrays, kinds: Mapping[str, Any], timed: bool) -> Self:
        """What ``state`` gave, every number checked.

        Raises
        ------
        KeyError, ModelFileError, TypeError, ValueError
            If a part is missing or does not fit the others.
        """
        ids = []
        for side in ("user_ids", "item_ids"):
            begins = f"rejections.{side}."
            parts = {name.removeprefix(begins): part for name, part in arrays.items() if name.startswith(begins)}
            ids.append(IdMap.from_state(parts, kinds[side]))
        users, items, dislikes = (np.asarray(arrays[f"rejections.{name}"]) for name in ("users", "items", "dislikes"))
        times = np.asarray(arrays["rejections.times"]) if timed else None
        columns = [(users, np.int32), (items, np.int32), (dislikes, np.uint8), (times, np.int64)]
        if any(part is not None and (part.dtype != kind or part.shape != users.shape) for part, kind in columns):
            raise ValueError("rejections are of another type or length")
        for part, n in ((users, len(ids[0])), (items, len(ids[1])), (dislikes, 2)):
            if part.ndim != 1 or not len(part) or int(part.min()) < 0 or int(part.max()) >= n:
                raise ValueError("rejections have a number that is out of range")
        found = cls.of(ids[0], ids[1], users, items, times, dislikes.astype(bool))
        assert found is not None
        return found


def join_rejections(tables: Sequence[Any], event_weights: Mapping[str, float] | None) -> Rejections | None:
    """The rejections of several tables (``Interactions``), of which without times later ones are later; None where
    there are none. ``event_weights`` are those of all together, which say what a purchase is."""
    held: list[Rejections] = []
    for at, table in enumerate(tables):
        own: Rejections | None = table.rejections
        if own is not None and own.times is None:
            for later in tables[at + 1 :]:
                had = had_among(later.had, later.weights, later.event_weights, event_weights)
                own = None if own is None else own.keep(~own.bought_in(later, had))
        held += [] if own is None else [own]
    if not held:
        return None
    user_ids, users = IdMap.factorize(np.concatenate([each.user_ids.values[each.users] for each in held]))
    item_ids, items = IdMap.factorize(np.concatenate([each.item_ids.values[each.items] for each in held]))
    times = [each.times for each in held if each.times is not None]
    dislikes = np.concatenate([each.dislikes for each in held])
    return Rejections.of(user_ids, item_ids, users, items, np.concatenate(times) if times else None, dislikes)


def _cleared(
    own: NDArray[np.int64],
    own_at: NDArray[np.int64],
    dislikes: NDArray[np.bool_],
    bought: NDArray[np.int64],
    bought_at: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which rejections of pairs purchases clear; a pair of purchases may stand there several times."""
    if not len(bought):
        return np.zeros(len(own), bool)
    order = np.lexsort((bought_at, bought))
    pairs = bought[order]
    ends = np.append(group_starts(pairs)[1:], len(pairs)) - 1
    pairs, last = pairs[ends], bought_at[order][ends]
    place = np.minimum(np.searchsorted(pairs, own), len(pairs) - 1)
    return np.asarray((pairs[place] == own) & (~dislikes | (last[place] >= own_at)))


def _used(ids: IdMap, codes: NDArray[Any]) -> tuple[IdMap, NDArray[Any]]:
    """The ids that occur, and the positions among them."""
    used = np.zeros(len(ids), bool)
    used[codes] = True
    return IdMap._unchecked(ids.values[used], ids.kind), positions_among(used)[codes]
