"""Figures of groups: of users by what they had or bought, of users and items by a label."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, Union, get_args

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.checks import check_choice, check_integer
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.errors import InvalidParameterError
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.evaluation.metrics import HIT_METRICS, Metric
from ancf.evaluation.ranking import Lists, hits_of
from ancf.evaluation.user_groups import POPULARITY_GROUPS, Mean, UserGroups, by_history, by_label, by_quantile

if TYPE_CHECKING:
    from pandas import Series

Named = Literal["history_length", "popularity"]
Of = Literal["user", "item"]
Groups: TypeAlias = Union[Named, Mapping[Any, Any], "Series[Any]"]  # Union: text among the types
Row: TypeAlias = tuple[Hashable, str, int, float, float, float]


class Detail(NamedTuple):
    """What groups are made of: who was measured, what they want and what they were shown."""

    known: Known
    truth: GroundTruth
    lists: Lists | None
    wanted: Mapping[str, Metric]

    def notes(self) -> list[str]:
        """What has to be told of the cut-offs."""
        n_items = len(self.known.item_ids)
        above = [cut for _, cut in self.wanted.values() if cut > n_items]
        return [f"k={max(above):,} is above the {n_items:,} items of the catalogue"] if above and n_items else []

    def slices(self, what: Groups, of: Of, bins: int | None, per_user: Mapping[str, NDArray[np.float64]]) -> list[Row]:
        """The rows of ``Evaluation.by``."""
        check_choice("of", of, get_args(Of))
        if isinstance(what, str):
            if of == "item":
                raise InvalidParameterError(f'of="item" has no effect with {what!r}, which groups users. Leave it out.')
            return _rows(self.groups(what, bins), per_user)
        if bins is not None:
            raise InvalidParameterError(f"bins={bins!r} has no effect with labels, which are the groups. Leave it out.")
        if not isinstance(what, (Mapping, pd.Series)):
            raise InvalidParameterError(
                f"what is a {type(what).__name__}; it must be 'history_length', 'popularity', or labels by id, in a "
                "mapping or Series."
            )
        labels_of: Mapping[Any, Any] = what.to_dict() if isinstance(what, pd.Series) else what
        if of == "user":
            return _rows(by_label(self.known.user_ids.values[self.truth.users], labels_of, of), per_user)
        return self._of_items(labels_of)

    def groups(self, what: Named, bins: int | None) -> UserGroups:
        """The users measured by a number of each: ``bins`` groups of about the same size, or those of all reports."""
        check_choice("what", what, get_args(Named))
        if bins is not None:
            check_integer("bins", bins, 2, 1_000_000, words="None or ")
        numbers = self._numbers(what)
        if what == "popularity":
            return by_quantile(numbers, bins or POPULARITY_GROUPS, " buyers")
        return by_history(numbers) if bins is None else by_quantile(numbers, bins)

    def listed_items(self, k: int) -> NDArray[Any] | None:
        """The ids in the first ``k`` places of all lists, one after the other; None where no list was measured."""
        check_integer("k", k, 1, 2**31 - 1)
        return None if self.lists is None else self._item_ids()[self.lists.shown(k)]

    def _item_ids(self) -> NDArray[Any]:
        """The ids of all positions."""
        own, others = self.known.item_ids, self.known.other_items
        if others is None or not len(others):
            return own.values
        return np.concatenate([own.values.astype(object), others.values.astype(object)])

    def _numbers(self, what: str) -> NDArray[np.float64]:
        """A number for each user measured."""
        known, truth = self.known, self.truth
        if not len(known.seen.items):
            raise InvalidParameterError(f"by({what!r}) needs the purchases of training. Give train= with lists.")
        if what == "history_length":
            return np.asarray(np.diff(known.seen.indptr)[truth.users], np.float64)
        popularity = np.bincount(known.seen.items, minlength=known.n_items)
        row = np.repeat(np.arange(len(truth.users)), np.diff(truth.wanted.indptr))
        sums = np.bincount(row, weights=popularity[truth.wanted.items], minlength=len(truth.users))
        return np.asarray(sums / truth.totals, np.float64)

    def _of_items(self, labels_of: Mapping[Any, Any]) -> list[Row]:
        """The metrics of hits, of the items of each group alone."""
        asked = {label: metric for label, metric in self.wanted.items() if metric.name in HIT_METRICS}
        if self.lists is None or not asked:
            raise InvalidParameterError(f'of="item" needs a metric of hits: {", ".join(HIT_METRICS)}. Measure one.')
        known, wanted = self.known, self.truth.wanted
        ids = self._item_ids()
        used = np.unique(wanted.items)
        labels, some = by_label(ids[used], labels_of, "item")
        codes = np.zeros(known.n_items, np.int64)
        codes[used] = some
        cut_offs = sorted({cut for _, cut in asked.values()})
        rows: list[Row] = []
        for code, name in enumerate(labels):
            kept = codes[wanted.items] == code
            user = np.repeat(np.arange(wanted.n_rows), np.diff(wanted.indptr))[kept]
            counts = np.bincount(user, minlength=wanted.n_rows)
            concerned = np.flatnonzero(counts)
            part = ItemSets(offsets_from_lengths(counts[concerned]), wanted.items[kept])
            lists = Lists(np.ascontiguousarray(self.lists.items[concerned]), self.lists.counts[concerned])
            found = hits_of(lists, part, counts[concerned].astype(np.int64), cut_offs, known, None)
            rows += [_row(name, label, found[f"{metric.name}@{metric.cut}"]) for label, metric in asked.items()]
        return rows


def _rows(found: UserGroups, per_user: Mapping[str, NDArray[np.float64]]) -> list[Row]:
    return [
        _row(group, label, values[found.groups == code])
        for code, group in enumerate(found.labels)
        for label, values in per_user.items()
    ]


def _row(group: Hashable, label: str, values: NDArray[np.float64]) -> Row:
    n, mean, stderr = Mean.of(values)
    return group, label, n, mean, mean - 1.96 * stderr, mean + 1.96 * stderr
