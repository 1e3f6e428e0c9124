"""Groups of the users measured, over which a comparison is told apart: by history, by what they bought, by category."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.interactions import Interactions

_HISTORY_EDGES = (0, 1, 2, 5, 10, 20, 50)
_MAX_CATEGORIES = 8
_OTHERS = "others"


class Slice(NamedTuple):
    """A partition of users: each belongs to one group, or to none (-1)."""

    labels: tuple[str, ...]
    groups: NDArray[np.int64]
    """(n_users,)"""


def slice_users(train: Interactions, test: Interactions, user_ids: NDArray[np.generic]) -> dict[str, Slice]:
    """The partitions by name; those that put everybody into one group are left out.

    ``history``: distinct items in training, and "new" for those who were not there. ``popularity``: the mean number of
    buyers in training of what a user bought in the test part, in thirds of the users. ``category``: the one of most of
    what they bought in the test part.
    """
    rows = train.user_ids.positions(user_ids)
    wanted = _wanted(test, user_ids)
    found = {
        "history": _by_history(np.where(rows < 0, 0, np.diff(train.to_csr().indptr)[rows])),
        "popularity": _by_popularity(train, test, wanted, len(user_ids)),
        "category": _by_category(test, wanted, len(user_ids)),
    }
    return {name: each for name, each in found.items() if each is not None and len(each.labels) > 1}


def _wanted(test: Interactions, user_ids: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pairs of the test part: the place of the user in ``user_ids``, the position of the item in ``test``."""
    place = np.full(len(test.user_ids), -1, np.int64)
    place[test.user_ids.positions(user_ids)] = np.arange(len(user_ids))
    indptr, items, _ = test.to_csr()
    users = np.repeat(place, np.diff(indptr))
    return users[users >= 0], items[users >= 0]


def _by_history(lengths: NDArray[np.int64]) -> Slice:
    edges = np.array(_HISTORY_EDGES)
    labels = [
        "new" if not low else f"{low}+" if high is None else f"{low}" if high == low + 1 else f"{low}-{high - 1}"
        for low, high in zip(_HISTORY_EDGES, [*_HISTORY_EDGES[1:], None], strict=True)
    ]
    return _used(labels, np.searchsorted(edges, lengths, side="right") - 1)


def _by_popularity(
    train: Interactions, test: Interactions, wanted: tuple[NDArray[np.int64], NDArray[np.int32]], n_users: int
) -> Slice | None:
    buyers = np.bincount(train.to_csr().indices, minlength=train.n_items)
    at = train.item_ids.positions(test.item_ids.values)
    of_item = np.where(at < 0, 0, buyers[np.maximum(at, 0)])
    users, items = wanted
    count = np.bincount(users, minlength=n_users)
    if not count.all():
        return None
    mean = np.bincount(users, weights=of_item[items], minlength=n_users) / count
    low, high = np.quantile(mean, [1 / 3, 2 / 3])
    labels = [f"up to {low:.0f} buyers", f"{low:.0f} to {high:.0f} buyers", f"above {high:.0f} buyers"]
    return _used(labels, np.searchsorted([low, high], mean))


def _by_category(test: Interactions, wanted: tuple[NDArray[np.int64], NDArray[np.int32]], n_users: int) -> Slice | None:
    if test.item_categories is None:
        return None
    users, items = wanted
    texts = np.array([_OTHERS if each is None else str(each) for each in test.item_categories], object)
    names, of_item = np.unique(texts.astype(str), return_inverse=True)
    frequent = np.argsort(-np.bincount(of_item[items], minlength=len(names)), kind="stable")[:_MAX_CATEGORIES]
    kept = [str(names[each]) for each in frequent.tolist() if names[each] != _OTHERS]
    number = {name: at for at, name in enumerate(kept)}
    to_group = np.array([number.get(str(name), len(kept)) for name in names], np.int64)
    counts = np.bincount(users * (len(kept) + 1) + to_group[of_item[items]], minlength=n_users * (len(kept) + 1))
    return _used([*kept, _OTHERS], counts.reshape(n_users, -1).argmax(axis=1))


def _used(labels: list[str], groups: NDArray[np.int64]) -> Slice:
    """Without the groups that nobody is in."""
    used, compact = np.unique(groups, return_inverse=True)
    return Slice(tuple(labels[each] for each in used.tolist()), compact.astype(np.int64))
