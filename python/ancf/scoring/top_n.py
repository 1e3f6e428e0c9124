"""Lists by position, as a scorer's ranker makes them: of users of the training table, by rules, of what is popular."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.scoring.filters import Filters
from ancf.scoring.results import TopN
from ancf.scoring.scorer import Scorer


def top_n(
    scorer: Scorer,
    rows: NDArray[np.int64] | None,
    N: int,
    *,
    filter_seen: bool,
    filters: Filters,
    num_threads: int | None,
    finish: bool = True,
) -> TopN:
    """The lists of users of the training table by position; None: of all. ``finish``: see ``finished``."""
    filters = filters.within(scorer.stock)
    left_out = None if filter_seen and filters.deny_each is None else scorer.left_out(filter_seen=filter_seen)
    if filters.deny_each is None and left_out is None:
        return TopN(
            *scorer.ranker.top_n(
                rows, N, filter_seen=filter_seen, num_threads=num_threads, finish=finish, **filters.keywords()
            )
        )
    # What is denied to each joins what each has seen, which only a call with users of its own can bring along.
    vectors, history, shift = scorer.user_vectors, scorer.history, scorer.user_shift
    if rows is not None:
        vectors, history = vectors[rows], None if history is None else history.take(rows)
        left_out = None if left_out is None else left_out.take(rows)
        shift = None if shift is None else shift[rows]
    return TopN(
        *scorer.ranker.top_n_for(
            vectors,
            history,
            filters.excluded(left_out),
            N,
            shift=shift,
            num_threads=num_threads,
            finish=finish,
            **filters.keywords(),
        )
    )


def top_n_by_rules(
    scorer: Scorer,
    rows: NDArray[np.int64] | None,
    N: int,
    rules: dict[str, Any],
    *,
    filter_seen: bool,
    filters: Filters,
    num_threads: int | None,
) -> TopN | None:
    """The lists by rules of users of the training table, without the last step of the scores; None where the core
    does not make them by itself."""
    filters = filters.within(scorer.stock)
    if filters.allow_each is not None:
        return None
    masks: dict[str, Any] = {"allow": filters.allow, "deny": filters.deny, "num_threads": num_threads}
    left_out = None if filter_seen and filters.deny_each is None else scorer.left_out(filter_seen=filter_seen)
    if filters.deny_each is None and left_out is None:
        found = scorer.ranker.top_n_by_rules(rows, N, filter_seen=filter_seen, **rules, **masks)
    else:
        vectors, history = scorer.user_vectors, scorer.history
        if rows is not None:
            vectors, history = vectors[rows], None if history is None else history.take(rows)
            left_out = None if left_out is None else left_out.take(rows)
        found = scorer.ranker.top_n_by_rules_for(vectors, history, filters.excluded(left_out), N, **rules, **masks)
    return None if found is None else TopN(*found)


def finished(scorer: Scorer, top: TopN, shift: NDArray[np.float32] | None) -> TopN:
    """Lists with the last step of their scores, a shift for each user and the link, where that was left out."""
    if scorer.link == "identity" and shift is None:
        return top
    return TopN(top.items, scorer.ranker.finish(top.scores, top.counts, shift), top.counts)


def top_n_popular(scorer: Scorer, n_users: int, N: int, filters: Filters, num_threads: int | None) -> TopN:
    """The most popular items, for those of whom nothing is known."""
    one = np.ones((n_users, 1), np.float32)
    filters = filters.within(scorer.stock)
    ranker, _ = scorer.lazy_ranker("popularity", lambda: np.ascontiguousarray(scorer.popularity()[:, None]))
    return TopN(*ranker.top_n_for(one, None, filters.excluded(None), N, num_threads=num_threads, **filters.keywords()))
