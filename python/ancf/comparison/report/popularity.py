"""What is recommended against what is bought, by how well products sell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.interactions import Interactions

BOUGHT = "what was bought"
_CURVE_POINTS = 48


class Popularity(NamedTuple):
    """Shares by rank: the product with the most buyers in training is the first."""

    n_items: int
    cumulative: dict[str, NDArray[np.float64]]
    """Name → (n_items,): the part of all that the best sellers up to there have; ``BOUGHT`` is the first."""
    n_different: dict[str, int]
    """Name → how many products occur."""
    new_share: float
    """The part of what was bought that was not in training, which no rank has."""

    def at(self, name: str, n_items: int) -> float:
        """The part that the ``n_items`` best sellers have."""
        return float(self.cumulative[name][n_items - 1])

    def ranks(self) -> list[float]:
        """Where a curve is drawn: evenly on a logarithmic scale."""
        return [float(each) for each in self._ranks()]

    def curve(self, name: str) -> list[float | None]:
        """Its values at ``ranks()``."""
        return [float(each) for each in self.cumulative[name][self._ranks() - 1]]

    def _ranks(self) -> NDArray[np.int64]:
        return np.unique(np.geomspace(1, self.n_items, _CURVE_POINTS).round().astype(np.int64))


def popularity_of_lists(
    listed: Mapping[str, NDArray[Any]],
    train: Interactions,
    test: Interactions,
    user_ids: NDArray[Any],
    *,
    new_only: bool,
) -> Popularity:
    """Of what the users measured bought in the test part, and of what stands in the lists: name → ids of items."""
    train = train.compact()
    columns = train.to_csr().indices
    n_items = train.n_items
    buyers = np.bincount(columns, minlength=n_items)
    order = np.argsort(-buyers, kind="stable")
    bought, n_new = _bought(train, test, user_ids, new_only=new_only)
    counts = {BOUGHT: bought}
    whole = {BOUGHT: int(bought.sum()) + n_new}
    for name, items in listed.items():
        at = train.item_ids.positions(items)
        counts[name], whole[name] = np.bincount(at[at >= 0], minlength=n_items), len(items)
    return Popularity(
        n_items,
        {name: np.cumsum(each[order]) / max(whole[name], 1) for name, each in counts.items()},
        {name: int((each > 0).sum()) for name, each in counts.items()},
        n_new / max(whole[BOUGHT], 1),
    )


def _bought(
    train: Interactions, test: Interactions, user_ids: NDArray[Any], *, new_only: bool
) -> tuple[NDArray[np.int64], int]:
    """How many of the users measured bought each product of training afterwards; how many purchases were of others."""
    indptr, columns, _ = test.to_csr()
    measured = np.zeros(len(test.user_ids), bool)
    at = test.user_ids.positions(user_ids)
    measured[at[at >= 0]] = True
    pairs = np.repeat(measured, np.diff(indptr))
    users = train.user_ids.positions(test.user_ids.values)[np.repeat(np.arange(len(measured)), np.diff(indptr))[pairs]]
    items = train.item_ids.positions(test.item_ids.values)[columns[pairs]]
    if new_only:
        before, had, _ = train.to_csr()
        n = train.n_items
        known = np.repeat(np.arange(train.n_users), np.diff(before)) * n + had
        again = (users >= 0) & (items >= 0) & np.isin(users * n + items, known)
        items = items[~again]
    return np.bincount(items[items >= 0], minlength=train.n_items), int((items < 0).sum())
