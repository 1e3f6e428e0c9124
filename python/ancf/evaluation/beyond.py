"""Beyond hits: how novel, diverse, serendipitous and popular lists are, and how evenly they show the catalogue."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.errors import InvalidParameterError
from ancf.evaluation.ground_truth import GroundTruth, Known


class ItemFacts(NamedTuple):
    """What the training table says of the items, by position."""

    popularity: NDArray[np.float64]
    """The number of users that have an item."""
    information: NDArray[np.float64]
    """−log₂ of the part of the users that have it, at least one being counted."""
    expected: NDArray[np.float64]
    """(n + 1 − its place by popularity) / n of n items; equally popular ones share a place, and new ones have 0."""
    item_users: ItemSets
    """The users of each item."""
    n_users: int

    @classmethod
    def of(cls, known: Known, label: str) -> "ItemFacts":
        """Count what each user had in training.

        Raises
        ------
        InvalidParameterError
            If nothing is known of that; ``label`` is the metric that wants it.
        """
        if not len(known.seen.items):
            raise InvalidParameterError(
                f"metric {label!r} needs the purchases of training. Give train= with lists, interactions= with factors."
            )
        items, n_users = known.seen.items, known.seen.n_rows
        popularity = np.bincount(items, minlength=known.n_items)
        users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(known.seen.indptr))
        order = np.argsort(items, kind="stable")
        distinct = np.unique(popularity[popularity > 0])[::-1]
        place = 1 + np.searchsorted(-distinct, -popularity)
        n = len(known.item_ids)
        return cls(
            popularity.astype(np.float64),
            -np.log2(np.maximum(popularity, 1) / n_users),
            np.where(popularity > 0, (n + 1 - place) / n, 0.0),
            ItemSets(offsets_from_lengths(popularity), users[order]),
            n_users,
        )

    def properties(
        self,
        items: NDArray[np.int32],
        counts: NDArray[np.int32],
        wanted: ItemSets,
        cut_offs: list[int],
        n_catalogue: int,
        *,
        diversity: bool,
        num_threads: int | None,
    ) -> dict[str, NDArray[np.float64]]:
        """novelty, popularity, serendipity and, where wanted, diversity at every cut-off, one value for each list."""
        return _native.list_properties(
            items,
            counts,
            (wanted.indptr, wanted.items),
            cut_offs,
            self.information,
            self.popularity,
            self.expected,
            n_catalogue,
            item_users=(self.item_users.indptr, self.item_users.items) if diversity else None,
            n_users=self.n_users,
            num_threads=num_threads,
        )

    def popularity_of_wanted(self, truth: GroundTruth) -> NDArray[np.float64]:
        """The mean popularity of what each user wants; an item that was not in training has 0."""
        row = np.repeat(np.arange(len(truth.users)), np.diff(truth.wanted.indptr))
        sums = np.bincount(row, weights=self.popularity[truth.wanted.items], minlength=len(truth.users))
        means: NDArray[np.float64] = sums / truth.totals
        return means


def gini(exposures: NDArray[np.int64]) -> float:
    """The Gini coefficient of how often each item is shown: 0 where all are shown alike, near 1 where one is.

    Examples
    --------
    >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 20]))
    (0.0, 0.75)
    """
    n, total = len(exposures), int(exposures.sum())
    if not total:
        return float("nan")
    ranks = np.arange(1, n + 1)
    return float(((2 * ranks - n - 1) * np.sort(exposures)).sum() / (n * total))
