"""Why an item stands where it stands: the score taken apart into what each purchase adds.

Exact for every part that is a sum over the history: the sparse part is Σ_j w_uj c_ji by definition, and a model whose
user vector is Σ_j a_uj v_j says so in its encoder's ``history_contributions`` (a_uj ⟨v_j, q_i⟩). What does not come
from the history stands by itself under ``base``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.scoring.histories import read_histories
from ancf.scoring.lists import find_known_items, find_known_users
from ancf.scoring.requests import is_one
from ancf.scoring.results import Explanation, Reason
from ancf.scoring.scorer import Scorer, TargetAttention


def explain(scorer: Scorer, user: Any, item: Any, history: Any, num_threads: int | None) -> Explanation:
    """See ``Recommender.explain``."""
    if (user is None) == (history is None):
        raise InvalidParameterError("explain takes a user and an item, or history= and item=.")
    for name, requested in (("item", item), ("user", user)):
        if not (is_one(requested) or (name == "user" and history is not None)):
            raise InvalidDataError(f"explain: {name} is {requested!r}; give one id.")
    n_items = len(scorer.item_ids)
    target = int(find_known_items(scorer, item)[0])
    row: int | None = None
    if history is None:
        positions = find_known_users(scorer, user)
        row = int(positions[0])
        score = float(scorer.ranker.scores(positions, np.array([target]))[0])
        shift = None if scorer.user_shift is None else float(scorer.user_shift[row])
        vector, weighted = scorer.user_vectors[row], None if scorer.history is None else scorer.history.row(row)
        histories = scorer.history_of(row)
    else:
        histories = read_histories([history], None, None, scorer.item_ids, "raise")
        encoded = scorer.encoder.fold_in(scorer, histories, num_threads)
        shift = None if encoded.shift is None else float(encoded.shift[0])
        score = float(
            scorer.ranker.scores_for(encoded.vectors, encoded.history, np.array([target]), shift=encoded.shift)[0]
        )
        vector, weighted = encoded.vectors[0], None if encoded.history is None else encoded.history.row(0)
    contributions = scorer.encoder.history_contributions(scorer, histories, row, target)
    explained = None if contributions is None else float(contributions.sum())
    base = scorer.encoder.base_terms(scorer, vector, target, explained)
    if shift is not None:
        base = {**base, "the user's shift": shift}
    added = np.zeros(n_items)
    involved = np.zeros(0, np.int32)
    if weighted is not None and scorer.target is not None:
        items, offsets = weighted
        added[items] += _target_contributions(scorer.target, scorer.item_vectors, items, offsets, target)
    if contributions is not None:
        added[histories.items] += contributions
        involved = histories.items
    if weighted is not None:
        items, weights = weighted
        if scorer.neighbors is not None:
            # Sources beyond the items contribute to the items too: a purchase and its repetition.
            values = weights.astype(np.float64) * _neighbor_values(scorer.neighbors, items, target)
            items = items % np.int32(n_items)
            np.add.at(added, items, values)
        involved = np.union1d(involved, items)
    involved = involved[added[involved] != 0]
    names = scorer.item_names
    reasons = [
        Reason(raw, None if names is None else names[at], float(added[at]))
        for raw, at in zip(scorer.item_ids.values[involved].tolist(), involved.tolist(), strict=True)
    ]
    return Explanation(user, item, score, reasons, base, None if names is None else names[target], scorer.link)


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


def _neighbor_values(neighbors: Csr, sources: NDArray[np.int32], target: int) -> NDArray[np.float64]:
    """What each of these history items adds to the target through the sparse part, before its weight."""
    out = np.zeros(len(sources))
    for at, source in enumerate(sources.tolist()):
        start, end = neighbors.indptr[source], neighbors.indptr[source + 1]
        found = np.flatnonzero(neighbors.indices[start:end] == target)
        if len(found):
            out[at] = neighbors.data[start + found[0]]
    return out
