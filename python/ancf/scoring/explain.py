"""Why an item stands where it stands: the score taken apart into what each purchase adds.

Exact for every part that is a sum over the history: the sparse part is Σ_j w_uj c_ji by definition, and a model whose
user vector is Σ_j a_uj v_j says so in its encoder's ``history_contributions`` (a_uj ⟨v_j, q_i⟩). What does not come
from the history stands by itself under ``base``.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownUserError
from ancf.scoring.histories import Histories, read_histories, take_apart
from ancf.scoring.lists import ON_UNKNOWN, find_known_items, find_users
from ancf.scoring.requests import is_one, unknown_users
from ancf.scoring.results import Explanation, Reason
from ancf.scoring.scorer import EncodedUsers, Scorer, TargetAttention
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
                raise unknown_users(requested, scorer.user_ids, 1)
            refuse_twin(requested, scorer.user_ids, UnknownUserError)
            return _popularity(scorer, user, item, target)
        return _of_user(scorer, user, item, int(positions[0]), target)
    request = take_apart(history, weights, times)
    if not request.single:
        raise InvalidDataError(f"explain takes one history; {len(request.lists)} were given. Call it for each.")
    histories = read_histories(request, scorer.item_ids, on_unknown)
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
        """Those of a user of the training table."""
        users = EncodedUsers(scorer.user_vectors, scorer.history, scorer.user_shift)
        return cls.make(scorer, row, scorer.history_of(row), users, row)


def top_reasons(scorer: Scorer, row: int, targets: list[int], n: int) -> list[list[tuple[int, float]]]:
    """For each of a known user's items the ``n`` purchases that add most, as positions and what they add; exactly the
    first reasons of ``explain``."""
    part = _Parts.of_user(scorer, row)
    found = []
    for target in targets:
        items, added, _ = _contributions(scorer, part, target)
        best = np.argsort(-added, kind="stable")[:n]
        found.append(list(zip(items[best].tolist(), added[best].tolist(), strict=True)))
    return found


def _of_user(scorer: Scorer, user: Any, item: Any, row: int, target: int) -> Explanation:
    score = float(scorer.ranker.scores(np.array([row]), np.array([target]))[0])
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
    return Explanation(user, item, score, reasons, base, None if names is None else names[target], scorer.link)


def _contributions(
    scorer: Scorer, part: _Parts, target: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, float]]:
    """The items that add anything to the score of one, ascending; what each adds; what the score has beside them."""
    contributions = scorer.encoder.history_contributions(scorer, part.histories, part.row, target)
    explained = None if contributions is None else float(contributions.sum())
    base = scorer.encoder.base_terms(scorer, part.vector, target, explained)
    if part.shift is not None:
        base = {**base, "the user's shift": part.shift}
    items: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float64]] = []
    if part.weighted is not None and scorer.target is not None:
        attended, offsets = part.weighted
        items.append(attended)
        values.append(_target_contributions(scorer.target, scorer.item_vectors, attended, offsets, target))
    if contributions is not None:
        items.append(part.histories.items)
        values.append(contributions)
    if part.weighted is not None and scorer.has_neighbors:
        bought, each = scorer.encoder.neighbor_contributions(scorer, part.histories, part.row, part.weighted, target)
        items.append(bought)
        values.append(each)
    if not items:
        return np.empty(0, np.int64), np.empty(0), base
    involved, place = np.unique(np.concatenate(items), return_inverse=True)
    added = np.bincount(place, weights=np.concatenate(values), minlength=len(involved))
    nonzero = added != 0
    return involved[nonzero].astype(np.int64), added[nonzero], base


def _target_contributions(
    target_attention: TargetAttention,
    item_vectors: NDArray[np.float32],
    items: NDArray[np.int32],
    logit_offsets: NDArray[np.float32],
    target: int,
) -> NDArray[np.float64]:
    """a_uj ⟨q_j, q_i⟩ of each history item, in float64."""
    keys, queries, item_logits, exponent = target_attention
    logits = item_logits[items].astype(np.float64) + logit_offsets + keys[items].astype(np.float64) @ queries[target]
    weights = np.exp(logits)
    vectors = item_vectors.astype(np.float64)
    share: NDArray[np.float64] = weights / max(weights.sum(), np.finfo(float).tiny) ** exponent
    added: NDArray[np.float64] = share * (vectors[items] @ vectors[target])
    return added
