"""What the users of a test table want, in positions: the same for a model and for lists made elsewhere."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import refuse_other_table, used_ids


@dataclass(frozen=True)
class Known:
    """Whom and what a list may be about: users, items, and the history of each user."""

    user_ids: IdMap
    item_ids: IdMap
    """The catalogue: the items of the training table."""
    seen: ItemSets
    had: ItemSets
    """``seen`` without what was only looked at: what is not new to each user."""
    other_items: IdMap | None = None
    """Items of the test table outside the catalogue, which a list made elsewhere may name; a model cannot."""
    n_strangers: int = 0
    """Users among ``user_ids`` of whom training knows nothing (``with_strangers``)."""

    @classmethod
    def of_scorer(cls, scorer: Scorer) -> "Known":
        """What a fitted model knows."""
        return cls(scorer.user_ids, scorer.item_ids, scorer.seen, scorer.had)

    @classmethod
    def of_tables(cls, train: Interactions | None, test: Interactions) -> "Known":
        """What lists made elsewhere are measured by: a training table or, without one, the test table alone."""
        used = test.compact()
        if train is None:
            nobody = ItemSets(np.zeros(len(used.user_ids) + 1, np.int64), np.empty(0, np.int32))
            return cls(used.user_ids, IdMap([]), nobody, nobody, used.item_ids)
        train = train.compact()
        new = train.item_ids.positions(used.item_ids.values) < 0
        others = IdMap._unchecked(used.item_ids.values[new], used.item_ids.kind)
        return cls.of_training(train, train.to_csr().sets, others)

    @classmethod
    def of_training(cls, train: Interactions, seen: ItemSets, others: IdMap | None = None) -> "Known":
        """What a training table tells whose pairs are ``seen``."""
        is_had = train.pair_had()
        return cls(train.user_ids, train.item_ids, seen, seen if is_had is None else seen.keep(is_had), others)

    def with_strangers(self, test: Interactions) -> "Known":
        """The same with the users of a test table who were not in training, and had nothing."""
        held = test.compact().user_ids
        refuse_other_table(held, self.user_ids, "the users of the test table")
        new = self.user_ids.positions(held.values) < 0
        if not new.any():
            return self
        united, _ = IdMap.factorize(np.concatenate([self.user_ids.values, held.values[new]]))
        at = self.user_ids.positions(united.values)

        def widened(sets: ItemSets) -> ItemSets:
            kept = sets.take(at[at >= 0])
            lengths = np.zeros(len(united), np.int64)
            lengths[at >= 0] = np.diff(kept.indptr)
            return ItemSets(offsets_from_lengths(lengths), kept.items)

        seen, had = widened(self.seen), widened(self.had)
        return replace(self, user_ids=united, seen=seen, had=had, n_strangers=int(new.sum()))

    @property
    def n_items(self) -> int:
        """The number of positions: those of the catalogue, and behind them those of the other items."""
        return len(self.item_ids) + (0 if self.other_items is None else len(self.other_items))

    def item_positions(self, ids: NDArray[np.generic]) -> NDArray[np.int64]:
        """The positions of items; -1 for those that nobody can want."""
        found = self.item_ids.positions(ids)
        if self.other_items is None or not len(self.other_items):
            return found
        others = self.other_items.positions(ids)
        return np.where((found < 0) & (others >= 0), others + len(self.item_ids), found)


class GroundTruth:
    """For each known user of the test table what is wanted, ascending, and how much in all."""

    def __init__(self, known: Known, test: Interactions, new_only: bool) -> None:
        if not isinstance(test, Interactions):
            raise InvalidDataError(f"evaluate takes ancf.Interactions as test, not {type(test).__name__}.")
        indptr, columns, _ = test.to_csr()
        held = np.flatnonzero(np.diff(indptr))
        user_of = known.user_ids.positions(test.user_ids.values)
        item_of = known.item_positions(test.item_ids.values)
        refuse_other_table(used_ids(test, "user"), known.user_ids, "the users of the test table")
        refuse_other_table(used_ids(test, "item"), known.item_ids, "the items of the test table")
        outside = item_of[np.unique(columns)]
        self.unknown_items = int(((outside < 0) | (outside >= len(known.item_ids))).sum()) if len(known.item_ids) else 0
        self.unknown_users = known.n_strangers + int((user_of[held] < 0).sum())
        users = np.repeat(user_of, np.diff(indptr))
        items = item_of[columns]
        keep = users >= 0
        users, items = users[keep], items[keep]
        n_items = known.n_items
        self.known_pairs = 0
        if new_only and len(users):
            concerned = np.unique(users)
            rows = known.had.take(concerned)
            seen = np.repeat(concerned, np.diff(rows.indptr)) * n_items + rows.items
            had = (items >= 0) & np.isin(users * n_items + items, seen)
            self.known_pairs = int(had.sum())
            users, items = users[~had], items[~had]
        self.users, row = np.unique(users, return_inverse=True)
        """Positions of the users measured, ascending."""
        self.totals = np.bincount(row, minlength=len(self.users)).astype(np.int64)
        """How much each wants, items included that nobody can list."""
        listed = items >= 0
        order = np.argsort(row[listed] * max(n_items, 1) + items[listed], kind="stable")
        self.wanted = ItemSets(
            offsets_from_lengths(np.bincount(row[listed], minlength=len(self.users))),
            items[listed][order].astype(np.int32),
        )
