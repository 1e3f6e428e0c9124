"""What is like what: the nearest items to an item, the nearest users to a user, on the kernels that rank.

Models with vectors compare these, by the cosine of the angle or by the inner product. Models without (item-kNN) compare
through what they have: an item's neighbors are its row of the similarity matrix, and two users are compared by the
cosine of their purchases.
"""

from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice
from ancf.data.arrays import unit_rows
from ancf.data.csr import Csr, ItemSets
from ancf.data.ids import IdMap
from ancf.errors import InvalidParameterError
from ancf.scoring.arranging import Ask
from ancf.scoring.filters import Filters, Requested
from ancf.scoring.limits import check_memory, check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.lists import find_known_items, find_known_users
from ancf.scoring.requests import is_one, materialize
from ancf.scoring.results import Recommendations, TopN
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer

Metric = Literal["cosine", "inner"]
_COLUMNS = {"items": ("query_item_id", "item_id"), "users": ("query_user_id", "user_id")}


def similar_items(
    scorer: Scorer,
    query: Any,
    N: int,
    metric: str,
    *,
    items: Any,
    filter_items: Any,
    num_threads: int | None,
    rules: Rules | None = None,
) -> Recommendations:
    """See ``Recommender.similar_items``."""
    N = check_n(N)
    check_rules(rules)
    check_choice("metric", metric, get_args(Metric))
    query = query if is_one(query) else materialize(query)
    positions = find_known_items(scorer, query)
    ids = scorer.item_ids
    whose = Requested(ids.values[positions], ids, "item", "items")
    request = ListRequest.of(scorer, N, items, filter_items, rules, None, whose, num_threads)
    check_memory(len(positions), min(N, len(scorer.item_ids)))
    if not has_item_similarity(scorer):
        raise InvalidParameterError(
            f"{scorer.model} knows no likeness between items. Use one that learns it: ItemKNN, ANCF."
        )
    if _compares_vectors(scorer) or not scorer.has_neighbors:
        by_vectors = _vectors_query(scorer, "items", positions, metric, num_threads)
        top = request.ranked(by_vectors)
    else:
        top = request.ranked(partial(_by_neighbors, scorer, positions))
    return _answer(scorer.item_ids, positions, top, is_one(query), "items", scorer.item_names)


def similar_users(scorer: Scorer, users: Any, N: int, metric: str, num_threads: int | None) -> Recommendations:
    """See ``Recommender.similar_users``."""
    N = check_n(N)
    check_choice("metric", metric, get_args(Metric))
    positions = find_known_users(scorer, users)
    check_memory(len(positions), min(N, len(scorer.user_ids)))
    if _compares_vectors(scorer):
        top = _vectors_query(scorer, "users", positions, metric, num_threads)(None, N, Filters())
    elif len(scorer.seen.items) and scorer.has_neighbors:
        top = _by_purchases(scorer, positions, N, metric)
    else:
        raise InvalidParameterError(
            f"{scorer.model} knows no likeness between users. Use one that learns it: ItemKNN, ANCF."
        )
    return _answer(scorer.user_ids, positions, top, is_one(users), "users", None)


def has_item_similarity(scorer: Scorer) -> bool:
    """Whether there is anything to compare items by."""
    return _compares_vectors(scorer) or (scorer.has_neighbors and scorer.encoder.similar_items is not None)


def _compares_vectors(scorer: Scorer) -> bool:
    return scorer.encoder.vectors_are_comparable and scorer.item_vectors.shape[1] > 0


def _answer(
    ids: IdMap, positions: NDArray[np.int64], top: TopN, single: bool, side: str, names: NDArray[Any] | None
) -> Recommendations:
    requested = ids.values[positions]
    if single:
        n = int(top.counts[0])
        items, scores = top.items[0, :n], top.scores[0, :n]
        return Recommendations(requested[0], ids, items, scores, None, "similar", names, True, columns=_COLUMNS[side])
    return Recommendations(requested, ids, top.items, top.scores, top.counts, "similar", names, columns=_COLUMNS[side])


def _vectors_query(
    scorer: Scorer, side: str, positions: NDArray[np.int64], metric: str, num_threads: int | None
) -> Ask:
    vectors = scorer.item_vectors if side == "items" else scorer.user_vectors
    ranker, table = scorer.lazy_ranker(
        f"{side} {metric}", lambda: unit_rows(vectors) if metric == "cosine" else vectors
    )

    def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
        at = positions if rows is None else positions[rows]
        itself = ItemSets(np.arange(len(at) + 1, dtype=np.int64), at.astype(np.int32))
        return TopN(
            *ranker.top_n_for(
                np.ascontiguousarray(table[at]),
                None,
                filters.excluded(itself),
                n,
                num_threads=num_threads,
                **filters.keywords(),
            )
        )

    return ask


def _by_neighbors(
    scorer: Scorer, queries: NDArray[np.int64], asked: NDArray[np.intp] | None, N: int, filters: Filters
) -> TopN:
    """Rows or columns of the similarity matrix, strongest first; an item has as many as it has neighbors."""
    positions = queries if asked is None else queries[asked]
    if scorer.neighbors is not None and scorer.encoder.similar_items == "columns":
        found = _columns(scorer.neighbors, positions)
    else:
        found = [scorer.neighbor_row(at) for at in positions.tolist()]
    rows = []
    for at, (items, values) in enumerate(found):
        kept = filters.permits(at, items)
        rows.append((items[kept], values[kept]))
    return _top_n_of_rows(rows, positions, N)


def _columns(matrix: Csr, positions: NDArray[np.int64]) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """The rows and values of some columns."""
    rows = np.repeat(np.arange(matrix.n_rows, dtype=np.int32), np.diff(matrix.indptr))
    wanted = np.flatnonzero(np.isin(matrix.indices, positions.astype(np.int32)))
    order = wanted[np.argsort(matrix.indices[wanted], kind="stable")]
    columns = matrix.indices[order]
    bounds = zip(np.searchsorted(columns, positions), np.searchsorted(columns, positions, "right"), strict=True)
    return [(rows[order[start:end]], matrix.data[order[start:end]]) for start, end in bounds]


def _by_purchases(scorer: Scorer, positions: NDArray[np.int64], N: int, metric: str) -> TopN:
    """Users by the purchases they share: their number (inner product of 0/1 rows), or its cosine."""
    seen, n_users, n_items = scorer.seen, len(scorer.user_ids), len(scorer.item_ids)
    lengths = np.diff(seen.indptr)
    by_item = np.argsort(seen.items, kind="stable")
    owner = np.repeat(np.arange(n_users), lengths)[by_item]
    starts = np.append(0, np.cumsum(np.bincount(seen.items, minlength=n_items)))
    size = np.maximum(lengths, 1).astype(np.float64)
    rows = []
    for user in positions.tolist():
        others = [owner[starts[item] : starts[item + 1]] for item in seen.row(user).tolist()]
        shared = np.bincount(np.concatenate(others), minlength=n_users) if others else np.zeros(n_users)
        who = np.flatnonzero(shared)
        values = shared[who] if metric == "inner" else shared[who] / np.sqrt(size[user] * size[who])
        rows.append((who.astype(np.int32), values.astype(np.float32)))
    return _top_n_of_rows(rows, positions, N)


def _top_n_of_rows(
    rows: list[tuple[NDArray[np.int32], NDArray[np.float32]]], itself: NDArray[np.int64], N: int
) -> TopN:
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
    return TopN(items, scores, np.array([len(who) for who, _ in best], np.int32))
