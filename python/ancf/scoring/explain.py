"""Why an item stands where it stands: the score taken apart into what each purchase adds.

Exact for every part that is a sum over the history: the sparse part is Σ_j w_uj c_ji by definition, and a model whose
user vector is Σ_j a_uj v_j says so in its encoder's ``history_contributions`` (a_uj ⟨v_j, q_i⟩). What does not come
from the history stands by itself under ``base``.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice
from ancf.data.arrays import inner_products
from ancf.data.feature_encoding import shared
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownUserError
from ancf.scoring.histories import Histories, read_histories, take_apart
from ancf.scoring.lists import ON_UNKNOWN, find_known_items, find_users, pair_scores, strangers
from ancf.scoring.parts import EncodedUsers, TargetAttention
from ancf.scoring.requests import is_one
from ancf.scoring.results import Companion, Explanation, Reason, TopN
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import refuse_twin


def explain(
    scorer: Scorer,
    user: Any,
    item: Any,
    history: Any,
    *,
    weights: Any,
    times: Any,
    on_unknown: str,
    num_threads: int | None,
) -> Explanation:
    """See ``Recommender.explain``."""
    check_choice("on_unknown", on_unknown, ON_UNKNOWN)
    if (user is None) == (history is None):
        raise InvalidParameterError("explain takes a user and an item, or history= and item=.")
    for name, requested in (("item", item), ("user", user)):
        if not (is_one(requested) or (name == "user" and history is not None)):
            raise InvalidDataError(f"explain: {name} is {requested!r}; give one id.")
    for name, given in (("weights", weights), ("times", times)):
        if given is not None and history is None:
            raise InvalidParameterError(f"explain: {name}= belongs to history=. Leave it out for a user of the table.")
    target = int(find_known_items(scorer, item)[0])
    if history is None:
        requested, positions = find_users(scorer, user, True)
        if positions[0] < 0:
            if on_unknown != "popular":
                raise strangers(scorer, requested, 1)
            refuse_twin(requested, scorer.user_ids, UnknownUserError)
            return _popularity(scorer, user, item, target)
        return _of_user(scorer, user, item, int(positions[0]), target)
    request = take_apart(history, weights, times)
    if not request.single:
        raise InvalidDataError(f"explain takes one history; {len(request.lists)} were given. Call it for each.")
    until = None if scorer.past is None else scorer.past.now
    histories = read_histories(request, scorer.item_ids, on_unknown, until)
    if not len(histories.items):
        if on_unknown != "popular":
            raise InvalidDataError(
                "history: no known item is in it, so there is no score to explain. Give at least one item, or choose "
                'on_unknown="popular".'
            )
        return _popularity(scorer, None, item, target)
    encoded = scorer.encoder.fold_in(scorer, histories, num_threads)
    score = scorer.ranker.scores_for(encoded.vectors, encoded.history, np.array([target]), shift=encoded.shift)[0]
    return _explanation(scorer, None, item, float(score), _Parts.make(scorer, None, histories, encoded, 0), target)


class _Parts(NamedTuple):
    """What the scores of one user are made of."""

    row: int | None
    """The position in the training table; None for a bare history."""
    histories: Histories
    vector: NDArray[np.float32]
    weighted: tuple[NDArray[np.int32], NDArray[np.float32]] | None
    """The history that the sparse part or target attention reads: items and numbers."""
    shift: float | None

    @classmethod
    def make(cls, scorer: Scorer, row: int | None, histories: Histories, users: EncodedUsers, at: int) -> Self:
        """Those of row ``at`` of ``users``."""
        weighted = None if users.history is None else users.history.row(at)
        shift = None if users.shift is None else float(users.shift[at])
        return cls(row, histories, users.vectors[at], weighted, shift)

    @classmethod
    def of_user(cls, scorer: Scorer, row: int) -> Self:
        """Those of a user of the training table; at a moment, who bought something later is a history."""
        past = scorer.past
        if past is not None and past.is_cut[row]:
            histories, folded = scorer.folded(past, np.array([row]), None)
            return cls.make(scorer, None, histories, folded, 0)
        users = EncodedUsers(scorer.user_vectors, scorer.history, scorer.user_shift)
        return cls.make(scorer, row, scorer.history_of(row), users, row)


def top_reasons(scorer: Scorer, rows: NDArray[np.int64], lists: TopN, n: int) -> list[list[tuple[int, float]]]:
    """For each item of the lists of known users the ``n`` purchases that add most, as positions and what they add;
    exactly the first reasons of ``explain``, list after list."""
    found = []
    for row, items, count in zip(rows.tolist(), lists.items.astype(np.int64), lists.counts.tolist(), strict=True):
        if count:
            found += _top_reasons(scorer, _Parts.of_user(scorer, row), items[:count], n)
    return found


def top_reasons_of_history(
    scorer: Scorer, histories: Histories, users: EncodedUsers, items: NDArray[np.int64], n: int
) -> list[list[tuple[int, float]]]:
    """The same for the list of one bare history, folded in as ``users``."""
    return _top_reasons(scorer, _Parts.make(scorer, None, histories, users, 0), items, n)


def _top_reasons(scorer: Scorer, part: _Parts, items: NDArray[np.int64], n: int) -> list[list[tuple[int, float]]]:
    found = []
    added = _added(scorer, part, items)
    involved = added.items.tolist()
    for values in added.values:
        # A purchase that adds nothing is no reason.
        best = [at for at in np.argsort(-values, kind="stable")[: n + np.count_nonzero(values == 0)] if values[at]]
        found.append([(involved[at], float(values[at])) for at in best[:n]])
    return found


def _of_user(scorer: Scorer, user: Any, item: Any, row: int, target: int) -> Explanation:
    score = float(pair_scores(scorer, np.array([row]), np.array([target]))[0])
    if scorer.placed_users is not None and row in scorer.placed_users:
        names = scorer.item_names
        name = None if names is None else names[target]
        return Explanation(user, item, score, [], {"customers alike by their attributes": score}, name)
    return _explanation(scorer, user, item, score, _Parts.of_user(scorer, row), target)


def _popularity(scorer: Scorer, user: Any, item: Any, target: int) -> Explanation:
    """Of the lists of ``on_unknown="popular"``."""
    score = float(scorer.popularity()[target])
    names = scorer.item_names
    return Explanation(user, item, score, [], {"popularity": score}, None if names is None else names[target])


def _explanation(scorer: Scorer, user: Any, item: Any, score: float, part: _Parts, target: int) -> Explanation:
    items, added, base = _contributions(scorer, part, target)
    names = scorer.item_names
    reasons = [
        Reason(raw, None if names is None else names[at], each)
        for raw, at, each in zip(scorer.item_ids.values[items].tolist(), items.tolist(), added.tolist(), strict=True)
    ]
    name, companions = None if names is None else names[target], _companions(scorer, target)
    return Explanation(user, item, score, reasons, base, name, scorer.link, companions)


def _companions(scorer: Scorer, target: int) -> list[Companion]:
    """Beside which items an item stands by its attributes, the closest first."""
    placed, features, names = scorer.placed, scorer.features_of_items, scorer.item_names
    if placed is None or features is None:
        return []
    row = int(np.searchsorted(placed.items, target))
    if row == len(placed.items) or placed.items[row] != target:
        return []
    items, shares = placed.companions.row(row)
    order = np.argsort(-shares, kind="stable")
    return [
        Companion(scorer.item_ids[at], None if names is None else names[at], share, shared(features, target, at))
        for at, share in zip(items[order].tolist(), shares[order].tolist(), strict=True)
    ]


class _Added(NamedTuple):
    """What the purchases of one user add to the scores of several items."""

    items: NDArray[np.int64]
    """Those that may add anything, ascending (n,)."""
    values: NDArray[np.float64]
    """What each adds to each score (items explained, n)."""
    dense: NDArray[np.float64] | None
    """What the dense part of each score has of it; None where that is not known."""


def _added(scorer: Scorer, part: _Parts, targets: NDArray[np.int64]) -> _Added:
    """What each purchase adds; a number has the same bits whatever other targets are asked for."""
    contributions = scorer.encoder.history_contributions(scorer, part.histories, part.row, targets)
    items: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float64]] = []
    if part.weighted is not None and scorer.target is not None:
        attended, offsets = part.weighted
        items.append(attended)
        values.append(_target_contributions(scorer.target, scorer.item_vectors, attended, offsets, targets))
    if contributions is not None:
        items.append(part.histories.items)
        values.append(contributions)
    if part.weighted is not None and scorer.has_neighbors:
        bought, each = scorer.encoder.neighbor_contributions(scorer, part.histories, part.row, part.weighted, targets)
        items.append(bought)
        values.append(each)
    dense = None if contributions is None else contributions.sum(axis=0)
    if not items:
        return _Added(np.empty(0, np.int64), np.empty((len(targets), 0)), dense)
    involved, at = np.unique(np.concatenate(items), return_inverse=True)
    joined = np.concatenate(values)
    added = np.empty((len(targets), len(involved)))
    for number in range(len(targets)):
        added[number] = np.bincount(at, weights=joined[:, number], minlength=len(involved))
    return _Added(involved.astype(np.int64), added, dense)


def _contributions(
    scorer: Scorer, part: _Parts, target: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, float]]:
    """The items that add anything to the score of one, ascending; what each adds; what the score has beside them."""
    added = _added(scorer, part, np.array([target]))
    base = scorer.encoder.base_terms(
        scorer, part.vector, target, None if added.dense is None else float(added.dense[0])
    )
    if part.shift is not None:
        base = {**base, "the user's shift": part.shift}
    nonzero = added.values[0] != 0
    return added.items[nonzero], added.values[0][nonzero], base


def _target_contributions(
    target_attention: TargetAttention,
    item_vectors: NDArray[np.float32],
    items: NDArray[np.int32],
    logit_offsets: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> NDArray[np.float64]:
    """a_uj ⟨q_j, q_i⟩ of each history item for each target (items, targets), in float64."""
    keys, queries, item_logits, exponent = target_attention
    own = item_logits[items].astype(np.float64) + logit_offsets
    weights = np.exp(own[:, None] + inner_products(keys[items], queries[targets]))
    products = inner_products(item_vectors[items], item_vectors[targets])
    added = np.empty_like(products)
    for at in range(len(targets)):
        weight = np.ascontiguousarray(weights[:, at])
        added[:, at] = weight / max(weight.sum(), np.finfo(float).tiny) ** exponent * products[:, at]
    return added
