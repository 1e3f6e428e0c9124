"""The groups of users by which a comparison is told apart: those of ``Evaluation.groups``, and by category."""

import numpy as np
from numpy.typing import NDArray

from ancf.data.interactions import Interactions
from ancf.evaluation import Evaluation, UserGroups

_MAX_CATEGORIES = 8
_OTHERS = "others"


def slice_users(measured: Evaluation, test: Interactions) -> dict[str, UserGroups]:
    """The partitions by name; those that put everybody into one group are left out.

    ``history_length`` and ``popularity`` are those of ``Evaluation.by``. ``category``: the one of most of what a user
    bought in the test part.
    """
    found = {
        "history_length": measured.groups("history_length"),
        "popularity": measured.groups("popularity"),
        "category": _by_category(test, _wanted(test, measured.user_ids), measured.n_users),
    }
    return {name: each for name, each in found.items() if each is not None and len(each.labels) > 1}


def _wanted(test: Interactions, user_ids: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pairs of the test part: the place of the user in ``user_ids``, the position of the item in ``test``."""
    place = np.full(len(test.user_ids), -1, np.int64)
    place[test.user_ids.positions(user_ids)] = np.arange(len(user_ids))
    indptr, items, _ = test.to_csr()
    users = np.repeat(place, np.diff(indptr))
    return users[users >= 0], items[users >= 0]


def _by_category(
    test: Interactions, wanted: tuple[NDArray[np.int64], NDArray[np.int32]], n_users: int
) -> UserGroups | None:
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
    used, groups = np.unique(counts.reshape(n_users, -1).argmax(axis=1), return_inverse=True)
    labels = [*kept, _OTHERS]
    return UserGroups(tuple(labels[each] for each in used.tolist()), groups.astype(np.int64))
