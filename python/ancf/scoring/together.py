"""What is bought together: which items stand in the same baskets.

    c_ji = P_ji / (P_j^½ P_i^½ + 10)          P_ji baskets with both, P_j baskets with j
    score(basket, i) = Σ_{j ∈ basket} c_ji    over the 200 strongest sources j of each target i

A basket is what one person bought at one moment, as the table tells moments; without times it is all that a person has.
Items that look alike are rarely in one basket: ``similar_items`` finds those, this finds what goes with them. Cosine
with shrinkage: see ``models/item_knn.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_flag
from ancf.data.arrays import group_starts, offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.errors import InvalidDataError
from ancf.scoring.filters import Filters, Requested
from ancf.scoring.histories import read_histories, take_apart
from ancf.scoring.limits import check_memory, check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.results import Recommendations, TopN
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer

_NEIGHBORS = 200
_SHRINKAGE = 10.0


def bought_together(
    scorer: Scorer,
    basket: Any,
    N: int,
    *,
    items: Any,
    filter_items: Any,
    rules: Rules | None,
    filter_basket: bool,
    num_threads: int | None,
) -> Recommendations:
    """See ``Asking.bought_together``."""
    N = check_n(N)
    check_rules(rules)
    check_flag("filter_basket", filter_basket)
    given = take_apart(basket, None, None)
    baskets = read_histories(given, scorer.item_ids, "raise")
    requested = np.arange(baskets.n_rows)
    empty = np.flatnonzero(np.diff(baskets.indptr) == 0)
    if len(empty):
        raise InvalidDataError(f"basket {empty[0]} is empty. Give at least one item.")
    whose = Requested(requested, what="basket", whats="baskets")
    request = ListRequest.of(scorer, N, items, filter_items, rules, None, whose, num_threads)
    check_memory(len(requested), min(N, len(scorer.item_ids)))
    ranker = _ranker(scorer, num_threads)
    weighed = Csr(baskets.indptr, baskets.items, np.ones(len(baskets.items), np.float32))

    def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
        asked = weighed if rows is None else weighed.take(rows)
        top = TopN(
            *ranker.top_n_for(
                np.zeros((asked.n_rows, 0), np.float32),
                asked,
                filters.excluded(asked.sets if filter_basket else None),
                n,
                num_threads=num_threads,
                **filters.keywords(),
            )
        )
        # Items that were never in a basket with these do not belong to it.
        held = np.arange(top.items.shape[1])[None, :] < top.counts[:, None]
        return TopN(top.items, top.scores, ((top.scores > 0) & held).sum(axis=1).astype(np.int32))

    return scorer.recommendations(requested, request.ranked(ask), "together", given.single)


def _ranker(scorer: Scorer, num_threads: int | None) -> "_native.Ranker":
    """The ranker over these weights, made when it is first asked for."""
    key = "bought together"
    if key not in scorer.compiled:
        n_items = len(scorer.item_ids)
        sets = baskets_of(scorer)
        weights = _native.item_neighbors(
            sets.indptr,
            sets.items,
            np.ones(len(sets.items), np.float32),
            n_items,
            _NEIGHBORS,
            shrinkage=_SHRINKAGE,
            cut_by_target=True,
            num_threads=num_threads,
        )
        scorer.compiled[key] = _native.Ranker(np.zeros((n_items, 0), np.float32), neighbors=weights)
    ranker: _native.Ranker = scorer.compiled[key]
    return ranker


def baskets_of(scorer: Scorer) -> ItemSets:
    """The items of each basket of the training table, ascending.

    Raises
    ------
    InvalidDataError
        If the model holds no purchases.
    """
    seen, known = scorer.seen, scorer.purchases
    if not len(seen.items):
        raise InvalidDataError("this model holds no purchases, so that nothing is known of baskets.")
    if known is None or known.times is None:
        return seen
    counts = np.ones(len(seen.items), np.int64) if known.counts is None else known.counts
    users = np.repeat(np.repeat(np.arange(seen.n_rows), np.diff(seen.indptr)), counts)
    items = np.repeat(seen.items, counts)
    order = np.lexsort((items, known.times, users))
    users, times, items = users[order], known.times[order], items[order]
    of_basket = np.cumsum(np.append(True, (users[1:] != users[:-1]) | (times[1:] != times[:-1]))) - 1
    distinct = group_starts(of_basket * len(scorer.item_ids) + items)
    lengths = np.bincount(of_basket[distinct])
    return ItemSets(offsets_from_lengths(lengths), items[distinct].astype(np.int32))
