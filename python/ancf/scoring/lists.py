"""Lists and scores from a scorer: what ``recommend``, ``recommend_for_history``, ``recommend_all`` and ``predict`` do.

The public methods of ``Recommender`` hold the documentation; the parameters here are theirs.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ancf._text import format_list
from ancf.checks import check_choice, check_flag
from ancf.data.csr import ItemSets
from ancf.errors import InvalidDataError, UnknownUserError
from ancf.scoring.filters import Requested
from ancf.scoring.histories import read_histories, take_apart
from ancf.scoring.limits import check_memory, check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.requests import as_ids, as_objects, as_sequence, is_one, materialize, unknown_items, unknown_users
from ancf.scoring.results import Recommendations, TopN, merge_lists
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import refuse_twin

OnUnknown = Literal["raise", "popular", "skip"]
ON_UNKNOWN: tuple[str, ...] = get_args(OnUnknown)


def recommend(
    scorer: Scorer,
    users: Any,
    N: int,
    *,
    filter_already_liked_items: bool,
    items: Any,
    filter_items: Any,
    on_unknown: str,
    num_threads: int | None,
    rules: Rules | None = None,
    shown: Any = None,
) -> Recommendations:
    """See ``Recommender.recommend``."""
    N = check_n(N)
    check_rules(rules)
    check_choice("on_unknown", on_unknown, ON_UNKNOWN)
    check_flag("filter_already_liked_items", filter_already_liked_items)
    single = is_one(users)
    requested, positions = find_users(scorer, users, single)
    unknown = positions < 0
    if unknown.any() and on_unknown == "raise":
        raise strangers(scorer, requested[unknown], len(requested))
    refuse_twin(requested[unknown], scorer.user_ids, UnknownUserError)
    whose = Requested(requested, scorer.user_ids)
    request = ListRequest.of(scorer, N, items, filter_items, rules, shown, whose, num_threads)
    check_memory(len(requested), min(N, len(scorer.item_ids)))
    known = np.flatnonzero(~unknown)
    top = request.rows(known).known(positions[known], bool(filter_already_liked_items))
    sources: Any = "model"
    if len(known) < len(requested):
        top = _fill_unknown(request, top, unknown, on_unknown)
        sources = np.where(unknown, "popular", "model").astype(object)
    return scorer.recommendations(requested, top, sources, single)


def recommend_for_history(
    scorer: Scorer,
    history: Any,
    N: int,
    *,
    weights: Any,
    times: Any,
    filter_already_liked_items: bool,
    items: Any,
    filter_items: Any,
    on_unknown: str,
    num_threads: int | None,
    rules: Rules | None = None,
    shown: Any = None,
) -> Recommendations:
    """See ``Recommender.recommend_for_history``."""
    N = check_n(N)
    check_rules(rules)
    check_choice("on_unknown", on_unknown, ON_UNKNOWN)
    check_flag("filter_already_liked_items", filter_already_liked_items)
    given = take_apart(history, weights, times)
    until = None if scorer.past is None else scorer.past.now
    histories = read_histories(given, scorer.item_ids, on_unknown, until)
    requested = np.arange(histories.n_rows)
    whose = Requested(requested, what="history", whats="histories")
    request = ListRequest.of(scorer, N, items, filter_items, rules, shown, whose, num_threads)
    check_memory(len(requested), min(N, len(scorer.item_ids)))
    empty = np.diff(histories.indptr) == 0
    if empty.any() and on_unknown == "raise":
        raise InvalidDataError(
            f"history {int(np.flatnonzero(empty)[0])} is empty{'' if until is None else f' at {scorer.past} (now=)'}. "
            "Give at least one item, or choose "
            'on_unknown="popular" or "skip".'
        )
    user = scorer.encoder.fold_in(scorer, histories, num_threads)
    top = request.encoded(user, ItemSets(histories.indptr, histories.items) if filter_already_liked_items else None)
    sources: Any = "history"
    if empty.any():
        top = _fill_unknown(request, top.rows(np.flatnonzero(~empty)), empty, on_unknown)
        sources = np.where(empty, "popular", "history").astype(object)
    return scorer.recommendations(requested, top, sources, given.single)


def recommend_all(
    scorer: Scorer,
    N: int,
    *,
    filter_already_liked_items: bool,
    users: Any,
    items: Any,
    filter_items: Any,
    num_threads: int | None,
    rules: Rules | None = None,
    shown: Any = None,
) -> Recommendations:
    """See ``Recommender.recommend_all``, in memory; ``ancf.scoring.bulk`` writes them into a file."""
    N = check_n(N)
    check_rules(rules)
    check_flag("filter_already_liked_items", filter_already_liked_items)
    rows = everybody(scorer) if users is None else find_known_users(scorer, users)
    requested = scorer.user_ids.values if rows is None else scorer.user_ids.take(rows)
    check_memory(len(requested), min(N, len(scorer.item_ids)))
    whose = Requested(requested, scorer.user_ids)
    request = ListRequest.of(scorer, N, items, filter_items, rules, shown, whose, num_threads)
    top = request.known(rows, bool(filter_already_liked_items))
    return scorer.recommendations(requested, top, "model", False)


def everybody(scorer: Scorer) -> NDArray[np.int64] | None:
    """The positions of all who are known at the scorer's moment; None: all."""
    return None if scorer.past is None else np.flatnonzero(~scorer.past.is_unknown)


def predict(scorer: Scorer, users: Any, items: Any) -> float | NDArray[np.float32]:
    """See ``Recommender.predict``."""
    one_user, one_item = is_one(users), is_one(items)
    user_positions = find_known_users(scorer, users)
    item_positions = find_known_items(scorer, items)
    if one_user != one_item:
        user_positions, item_positions = np.broadcast_arrays(user_positions, item_positions)
    elif len(user_positions) != len(item_positions):
        raise InvalidDataError(
            f"predict: got {len(user_positions)} users and {len(item_positions)} items; give pairs of the same length."
        )
    scores = pair_scores(scorer, np.ascontiguousarray(user_positions), np.ascontiguousarray(item_positions))
    return float(scores[0]) if one_user and one_item else scores


def pair_scores(scorer: Scorer, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
    """The scores of pairs of positions, with the bits that lists give them."""
    scores = scorer.ranker.scores(users, items)
    past = scorer.past
    if past is None:
        return scores
    for user in np.unique(users[past.is_cut[users]]):
        _, encoded = scorer.folded(past, np.array([user]), None)
        of_user = np.flatnonzero(users == user)
        scores[of_user] = scorer.ranker.scores_for(
            encoded.vectors, encoded.history, items[of_user], shift=encoded.shift
        )
    return scores


def _fill_unknown(request: "ListRequest", top: TopN, unknown: NDArray[np.bool_], on_unknown: str) -> TopN:
    """The lists of the known, and popular or empty ones for those of whom nothing is known."""
    others, known = np.flatnonzero(unknown), np.flatnonzero(~unknown)
    rest = request.rows(others).popular() if on_unknown == "popular" else None
    return merge_lists(len(unknown), known, top, others, rest)


# ---- ids of a request


def find_users(scorer: Scorer, users: Any, single: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The users requested, as an array of their ids, and the position of each; -1 for an unknown one, and at a moment
    for who had bought nothing by then."""
    if single:
        requested = np.empty(1, object)
        requested[0] = users.item() if isinstance(users, (np.generic, np.ndarray)) else users
        positions = np.array([scorer.user_ids.position(requested[0])], np.int64)
    else:
        sequence = as_sequence(materialize(users), "users")
        requested = as_ids(sequence)
        positions = scorer.user_ids.positions(requested if requested.dtype == np.int64 else sequence)
    if scorer.past is not None:
        positions = np.where((positions >= 0) & scorer.past.is_unknown[positions], -1, positions)
    return requested, positions


def find_known_users(scorer: Scorer, users: Any) -> NDArray[np.int64]:
    """The positions of users.

    Raises
    ------
    UnknownUserError
        If one was not in training; names the ids.
    """
    requested, positions = find_users(scorer, users, is_one(users))
    if (positions < 0).any():
        raise strangers(scorer, requested[positions < 0], len(requested), scoring=True)
    return positions


def strangers(
    scorer: Scorer, unknown: NDArray[Any], n_requested: int, scoring: bool = False, remedy: str | None = None
) -> UnknownUserError:
    """The error that names users who are not known, or had bought nothing by the moment that is asked for."""
    later = scorer.user_ids.positions(unknown) >= 0
    if scorer.past is None or not later.any():
        return unknown_users(unknown[~later], scorer.user_ids, n_requested, scoring, remedy)
    way = "Leave them out." if scoring else 'Leave them out, or choose on_unknown="skip".'
    who = f"user {format_list(unknown[later])}"
    if later.sum() > 1:
        who = f"{later.sum()} of {n_requested} users ({format_list(unknown[later])})"
    return UnknownUserError(f"{who} had bought nothing by {scorer.past} (now=). {remedy or way}")


def find_known_items(scorer: Scorer, items: Any) -> NDArray[np.int64]:
    """The positions of items.

    Raises
    ------
    UnknownItemError
        If one was not in training; names the ids.
    """
    sequence = (
        [items.item() if isinstance(items, np.generic) else items]
        if is_one(items)
        else as_sequence(materialize(items), "items")
    )
    positions = scorer.item_ids.positions(sequence)
    if (positions < 0).any():
        raise unknown_items(as_objects(sequence)[positions < 0], scorer.item_ids)
    return positions
