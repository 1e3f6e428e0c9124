"""Why an item stands where it stands: the score taken apart into what each purchase adds.

Exact for every part that is a sum over the history: the sparse part is Σ_j w_uj c_ji by definition, and a model whose
user vector is Σ_j a_uj v_j says so in ``_dense_contributions`` (a_uj ⟨v_j, q_i⟩). What does not come from the history
stands by itself under ``base``.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf.errors import InvalidParameterError
from ancf.infer import Explanation, Reason
from ancf.models._asking import row_of

if TYPE_CHECKING:
    from ancf.models.base import Recommender, Rows


def explain(model: "Recommender", user: Any, item: Any, history: Any) -> Explanation:
    """See ``Recommender.explain``."""
    ranker = model._fitted()
    if (user is None) == (history is None):
        raise InvalidParameterError("explain takes a user and an item, or history= and item=.")
    target = int(model._items(item, True)[0])
    if history is None:
        asked, positions = model._users(user, True)
        if positions[0] < 0:
            raise model._unknown_users(asked, 1, scoring=True)
        row = int(positions[0])
        score = float(ranker.scores(positions, np.array([target]))[0])
        shift = None if model._user_shift is None else float(model._user_shift[row])
        vector, weighted = model._user_vectors[row], row_of(model._history, row)
        bare = model._history_of(row)
    else:
        row = -1
        bare = model._histories([history], None, None, "raise")
        vectors, weighted_rows = model._fold_in(bare)
        shifts = model._fold_in_shift(bare)
        shift = None if shifts is None else float(shifts[0])
        score = float(ranker.scores_for(vectors, weighted_rows, np.array([target]), shift=shifts)[0])
        vector, weighted = vectors[0], row_of(weighted_rows, 0)
    added = np.zeros(len(model.item_ids_)) if weighted is not None or bare is not None else np.empty(0)
    dense = model._dense_contributions(bare, None if row < 0 else row, target)
    if dense is None:
        base = model._base_contributions(vector, target)
    else:
        base = model._beside_contributions(vector, target, float(dense.sum()))
    if model._target is not None and weighted is not None:
        added[weighted[0]] += _target_contributions(model, *weighted, target)
    if shift is not None:
        base = {**base, "the user's shift": shift}
    spoken = np.zeros(0, np.int32)
    if dense is not None:
        added[bare.items] += dense
        spoken = bare.items
    if weighted is not None:
        items, weights = weighted
        if model._neighbours is not None:
            # Sources beyond the items speak for the items too: a purchase and its repetition.
            values = weights.astype(np.float64) * _neighbour_values(model._neighbours, items, target)
            items = items % np.int32(len(model.item_ids_))
            np.add.at(added, items, values)
        spoken = np.union1d(spoken, items)
    spoken = spoken[added[spoken] != 0]
    names = model.item_names_
    reasons = [
        Reason(raw, None if names is None else names[at], float(added[at]))
        for raw, at in zip(model.item_ids_.values[spoken].tolist(), spoken.tolist(), strict=True)
    ]
    name = None if names is None else names[target]
    return Explanation(user, item, score, reasons, base, name, model._link)


def _target_contributions(
    model: "Recommender", items: NDArray[np.int32], additions: NDArray[np.float32], target: int
) -> NDArray[np.float64]:
    """a_uj ⟨q_j, q_i⟩ of each history item, in float64."""
    assert model._target is not None
    keys, queries, item_logits, exponent = model._target
    logits = item_logits[items].astype(np.float64) + additions + keys[items].astype(np.float64) @ queries[target]
    weights = np.exp(logits)
    vectors = model._item_vectors.astype(np.float64)
    share: NDArray[np.float64] = weights / max(weights.sum(), np.finfo(float).tiny) ** exponent
    added: NDArray[np.float64] = share * (vectors[items] @ vectors[target])
    return added


def _neighbour_values(neighbours: "Rows", sources: NDArray[np.int32], target: int) -> NDArray[np.float64]:
    """What each of these history items adds to the target through the sparse part, before its weight."""
    indptr, items, values = neighbours
    out = np.zeros(len(sources))
    for at, source in enumerate(sources.tolist()):
        row = slice(indptr[source], indptr[source + 1])
        found = np.flatnonzero(items[row] == target)
        if len(found):
            out[at] = values[row][found[0]]
    return out
