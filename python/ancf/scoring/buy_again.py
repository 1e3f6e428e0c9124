"""What a customer is due to buy again: the items of their own history, those that come back first.

    score(u, i) = n_ui · r_i^¾ · d_ui

    n_ui  the days on which u bought i
    r_i   how many of its earlier buyers came back for i within the last 30 days (``data/repurchases.py``)
    d_ui  = x^⅛ up to x = 1, x^−¼ beyond        x = (age_ui + 1) / (t_ui + 1), age_ui: days since u last bought i
    t_ui  = (l_ui + t_i) / n_ui                 days between two purchases, l_ui: from the first to the last of them
    t_i   = (Σ_u l_ui + 10 t) / (Σ_u (n_ui − 1) + 10)          t the same of all items; 30 where nobody bought one twice

So a purchase counts most when the time that usually passes between two of them has passed: personal intervals of few
purchases lean on those of the item, and an item's rate on that of the shop. Only roots and sums of whole numbers are
taken, so that the bits are the same anywhere. How it was chosen, and what it is worth: ``docs/rules.md``. The parts are
those of modified Poisson-Gamma models of repeat purchases (Bhagat, Muralidharan, Lobzhanidze, Vishwanath: Buy It Again,
KDD 2018): how often, how likely an item is bought again at all, and when.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_choice
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.data.repurchases import REPURCHASE_DAYS, repurchase_rates
from ancf.data.time_range import SECONDS_PER_DAY
from ancf.errors import UnknownUserError
from ancf.scoring.filters import Filters, Requested
from ancf.scoring.limits import check_memory, check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.lists import find_users, strangers
from ancf.scoring.past import Past, times_of
from ancf.scoring.requests import is_one
from ancf.scoring.results import Recommendations, TopN, merge_lists
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import refuse_twin

OnUnknownBuyer = Literal["raise", "skip"]

_INTERVAL_SMOOTHING = 10.0


def buy_again(
    scorer: Scorer,
    users: Any,
    N: int,
    *,
    items: Any,
    filter_items: Any,
    on_unknown: str,
    rules: Rules | None,
    shown: Any,
    num_threads: int | None,
) -> Recommendations:
    """See ``Asking.buy_again``."""
    N = check_n(N)
    check_rules(rules)
    check_choice("on_unknown", on_unknown, get_args(OnUnknownBuyer))
    due = _due(scorer)
    if users is None:
        positions = np.flatnonzero(np.diff(due.purchases.indptr))
        requested, single = scorer.user_ids.take(positions), False
    else:
        single = is_one(users)
        requested, positions = find_users(scorer, users, single)
    unknown = positions < 0
    if unknown.any() and on_unknown == "raise":
        remedy = 'Leave them out, or choose on_unknown="skip".'
        raise strangers(scorer, requested[unknown], len(requested), remedy=remedy)
    refuse_twin(requested[unknown], scorer.user_ids, UnknownUserError)
    whose = Requested(requested, scorer.user_ids)
    request = ListRequest.of(scorer, N, items, filter_items, rules, shown, whose, num_threads)
    check_memory(len(requested), min(N, len(scorer.item_ids)))
    known = np.flatnonzero(~unknown)
    top = buy_again_of_known(scorer, positions[known], request.rows(known))
    if len(known) < len(requested):
        top = merge_lists(len(requested), known, top, np.flatnonzero(unknown), None)
    return scorer.recommendations(requested, top, "again", single)


def buy_again_of_known(scorer: Scorer, rows: NDArray[np.int64], request: ListRequest) -> TopN:
    """The lists of users of the training table, by position."""
    due = _due(scorer)
    rejected = None if scorer.rejected is None else scorer.rejected.take(rows)
    return _ranked(request, due, due.purchases.take(rows), rejected)


def buy_again_of(
    scorer: Scorer, purchases: Mapping[int, Sequence[int]], rejected: ItemSets | None, request: ListRequest
) -> TopN:
    """The list of one person by when they bought each item (positions, seconds since 1970), without what they reject:
    as of the scorer's moment, or of their last purchase where that is later."""
    due = _due(scorer)
    items = np.array(sorted(purchases), np.int32)
    today = max([due.today, *(max(moments) // SECONDS_PER_DAY for moments in purchases.values())])
    days = [
        sorted({min(max(at // SECONDS_PER_DAY, due.habits.earliest), today) for at in purchases[item]})
        for item in items.tolist()
    ]
    bought = np.array([len(each) for each in days])
    first, last = np.array([each[0] for each in days]), np.array([each[-1] for each in days])
    scores = _scores(due.habits, items, bought, last - first, last, today)
    return _ranked(request, due, Csr(np.array([0, len(items)]), items, scores), rejected)


def _ranked(request: ListRequest, due: "_Due", mine: Csr, rejected: ItemSets | None) -> TopN:
    """The lists of these rows of scores."""

    def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
        asked = mine if rows is None else mine.take(rows)
        top = TopN(
            *due.ranker.top_n_for(
                np.zeros((asked.n_rows, 0), np.float32),
                asked,
                filters.excluded(rejected if rejected is None or rows is None else rejected.take(rows)),
                n,
                num_threads=request.num_threads,
                **filters.keywords(),
            )
        )
        # What somebody never bought cannot be bought again.
        held = np.arange(top.items.shape[1])[None, :] < top.counts[:, None]
        return TopN(top.items, top.scores, ((top.scores > 0) & held).sum(axis=1).astype(np.int32))

    return request.ranked(ask)


class _Habits(NamedTuple):
    """What is known of all items."""

    earliest: int
    """The day from which on dates are believed."""
    rate: NDArray[np.float64]
    """r (n_items,)"""
    interval: NDArray[np.float64]
    """t of the items (n_items,)"""


class _Due(NamedTuple):
    """The scores of what everybody had, as a history of items that add to themselves alone."""

    purchases: Csr
    ranker: "_native.Ranker"
    today: int
    habits: _Habits


def _due(scorer: Scorer) -> _Due:
    """Made when it is first asked for."""
    key = "buy again"
    if key not in scorer.compiled:
        cut, n = scorer.past, len(scorer.item_ids)
        known, times = times_of(scorer.purchases, "buy_again")
        past = Past(int(times.max()) if cut is None else cut.now, scorer.seen, known, times, bought=True)
        today = past.usual.end if cut is None else past.now
        themselves = Csr(np.arange(n + 1), np.arange(n, dtype=np.int32), np.ones(n, np.float32))
        scores, habits = due_scores(past, n, today // SECONDS_PER_DAY)
        ranker = _native.Ranker(np.zeros((n, 0), np.float32), neighbors=themselves)
        scorer.compiled[key] = _Due(Csr(*past.pairs, scores), ranker, today // SECONDS_PER_DAY, habits)
    found: _Due = scorer.compiled[key]
    return found


def due_scores(past: Past, n_items: int, today: int) -> tuple[NDArray[np.float32], _Habits]:
    """The score of each pair of ``past.pairs``, and what it is made of; ``today`` in days since 1970."""
    # A date far before all others says nothing of intervals.
    earliest = (past.usual.start - past.usual.margin) // SECONDS_PER_DAY
    days = np.clip(past.times // SECONDS_PER_DAY, earliest, today)
    items = past.pairs.items
    starts = offsets_from_lengths(past.counts[past.counts > 0])
    another = np.append(True, days[1:] != days[:-1])
    another[starts[:-1]] = True
    bought = np.add.reduceat(another, starts[:-1], dtype=np.int64)
    first, last = days[starts[:-1]], days[starts[1:] - 1]
    # 1. How likely an item is bought again these days.
    rate = repurchase_rates(items, first, last, today, n_items)
    # 2. How many days usually pass between two purchases.
    span, between = last - first, bought - 1
    usual_days = span.sum() / between.sum() if between.any() else float(REPURCHASE_DAYS)
    of_item = (np.bincount(items, span, n_items) + _INTERVAL_SMOOTHING * usual_days) / (
        np.bincount(items, between, n_items) + _INTERVAL_SMOOTHING
    )
    habits = _Habits(int(earliest), rate, of_item)
    return _scores(habits, items, bought, span, last, today), habits


def _scores(
    habits: _Habits,
    items: NDArray[np.int32],
    bought: NDArray[np.int64],
    span: NDArray[np.int64],
    last: NDArray[np.int64],
    today: int,
) -> NDArray[np.float32]:
    """Of pairs with so many days of purchase, from the first to the last of them."""
    # 3. How much of the usual time has passed.
    own = (span + habits.interval[items]) / bought
    x = (np.maximum(today - last, 0) + 1) / (own + 1)
    due = np.where(x < 1, np.sqrt(np.sqrt(np.sqrt(x))), 1 / np.sqrt(np.sqrt(x)))
    root = np.sqrt(habits.rate[items])
    return np.asarray(bought * (root * np.sqrt(root)) * due, np.float32)
