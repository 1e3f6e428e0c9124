"""What is like what: the nearest items to an item, the nearest users to a user, on the kernels that rank.

Models with vectors compare these, by the cosine of the angle or by the inner product. Models without (item-kNN) compare
through what they have: an item's neighbours are its row of the similarity matrix, and two users are compared by the
cosine of their purchases.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_choice
from ancf.data.ids import IdMap
from ancf.errors import InvalidParameterError
from ancf.infer import Recommendations, is_one
from ancf.models._asking import Top, check_memory, check_n

if TYPE_CHECKING:
    from ancf.models.base import Recommender

_METRICS = ("cosine", "inner")
_COLUMNS = {"items": ("query_item_id", "item_id"), "users": ("query_user_id", "user_id")}


def similar_items(model: "Recommender", items: Any, N: int = 10, metric: str = "cosine") -> Recommendations:
    """The N items most like each given item, itself left out.

    Parameters
    ----------
    items : id or sequence of ids; ``model.item_ids_.values`` for all
    N : int, at least 1
    metric : "cosine" or "inner"

    Returns
    -------
    Recommendations
        With the columns ``query_item_id, item_id, score, rank, source``.

    Raises
    ------
    UnknownItemError
        If an item was not in training; names the ids.
    InvalidParameterError
        If the model has nothing to compare items by.
    """
    model._fitted()
    N = check_n(N)
    check_choice("metric", metric, _METRICS)
    single = is_one(items)
    positions = model._items(items, single)
    check_memory(len(positions), min(N, len(model.item_ids_)))
    if _compares_vectors(model):
        top = _by_vectors(model, "items", positions, N, metric)
    elif model._neighbours is not None:
        top = _by_neighbours(model, positions, N)
    else:
        raise InvalidParameterError(
            f"{type(model).__name__} knows no likeness between items. Use one that learns it: ItemKNN, ANCF."
        )
    return _answer(model.item_ids_, positions, top, single, "items", model.item_names_)


def similar_users(model: "Recommender", users: Any, N: int = 10, metric: str = "cosine") -> Recommendations:
    """The N users most like each given user, themselves left out; see ``similar_items``.

    Raises
    ------
    UnknownUserError
        If a user was not in training; names the ids.
    InvalidParameterError
        If the model has nothing to compare users by.
    """
    model._fitted()
    N = check_n(N)
    check_choice("metric", metric, _METRICS)
    single = is_one(users)
    asked, positions = model._users(users, single)
    if (positions < 0).any():
        raise model._unknown_users(asked[positions < 0], len(asked), scoring=True)
    check_memory(len(positions), min(N, len(model.user_ids_)))
    if _compares_vectors(model):
        top = _by_vectors(model, "users", positions, N, metric)
    elif len(model._seen[1]) and model._neighbours is not None:
        top = _by_purchases(model, positions, N, metric)
    else:
        raise InvalidParameterError(
            f"{type(model).__name__} knows no likeness between users. Use one that learns it: ItemKNN, ANCF."
        )
    return _answer(model.user_ids_, positions, top, single, "users", None)


def _compares_vectors(model: "Recommender") -> bool:
    return model._vectors_compare and model._item_vectors.shape[1] > 0


def _answer(
    ids: IdMap, positions: NDArray[np.int64], top: Top, single: bool, side: str, names: NDArray[Any] | None
) -> Recommendations:
    items, scores, counts = top
    asked = ids.values[positions]
    if single:
        n = int(counts[0])
        return Recommendations(
            asked[0], ids, items[0, :n], scores[0, :n], None, "similar", names, True, columns=_COLUMNS[side]
        )
    return Recommendations(asked, ids, items, scores, counts, "similar", names, columns=_COLUMNS[side])


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length; a row of zeros stays one."""
    wide = vectors.astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    length[length == 0] = 1.0
    return np.ascontiguousarray((wide / length).astype(np.float32))


def _by_vectors(model: "Recommender", side: str, positions: NDArray[np.int64], N: int, metric: str) -> Top:
    vectors = model._item_vectors if side == "items" else model._user_vectors
    cache = model._similar_rankers
    key = f"{side} {metric}"
    if key not in cache:
        table = unit(vectors) if metric == "cosine" else vectors
        cache[key] = (_native.Ranker(table), table)
    ranker, table = cache[key]
    itself = (np.arange(len(positions) + 1, dtype=np.int64), positions.astype(np.int32))
    return ranker.top_n_for(np.ascontiguousarray(table[positions]), None, itself, N, num_threads=model.num_threads)


def _by_neighbours(model: "Recommender", positions: NDArray[np.int64], N: int) -> Top:
    """Rows of the similarity matrix, strongest first; an item has as many as it has neighbours."""
    assert model._neighbours is not None
    indptr, items, values = model._neighbours
    return _best_of_rows(
        [(items[indptr[at] : indptr[at + 1]], values[indptr[at] : indptr[at + 1]]) for at in positions.tolist()],
        positions,
        N,
    )


def _by_purchases(model: "Recommender", positions: NDArray[np.int64], N: int, metric: str) -> Top:
    """Users by the purchases they share: their number (inner product of 0/1 rows), or its cosine."""
    indptr, items = model._seen
    n_users, n_items = len(model.user_ids_), len(model.item_ids_)
    by_item = np.argsort(items, kind="stable")
    owner = np.repeat(np.arange(n_users), np.diff(indptr))[by_item]
    starts = np.append(0, np.cumsum(np.bincount(items, minlength=n_items)))
    size = np.maximum(np.diff(indptr), 1).astype(np.float64)
    rows = []
    for user in positions.tolist():
        mine = items[indptr[user] : indptr[user + 1]]
        others = [owner[starts[item] : starts[item + 1]] for item in mine.tolist()]
        shared = np.bincount(np.concatenate(others), minlength=n_users) if others else np.zeros(n_users)
        who = np.flatnonzero(shared)
        values = shared[who] if metric == "inner" else shared[who] / np.sqrt(size[user] * size[who])
        rows.append((who.astype(np.int32), values.astype(np.float32)))
    return _best_of_rows(rows, positions, N)


def _best_of_rows(rows: list[tuple[NDArray[np.int32], NDArray[np.float32]]], itself: NDArray[np.int64], N: int) -> Top:
    best = []
    for (who, values), me in zip(rows, itself.tolist(), strict=True):
        other = who != me
        who, values = who[other], values[other]
        order = np.lexsort((who, -values))[:N]
        best.append((who[order], values[order]))
    width = max((len(who) for who, _ in best), default=0)
    items = np.zeros((len(best), width), np.int32)
    scores = np.zeros((len(best), width), np.float32)
    for at, (who, values) in enumerate(best):
        items[at, : len(who)], scores[at, : len(who)] = who, values
    return items, scores, np.array([len(who) for who, _ in best], np.int32)
