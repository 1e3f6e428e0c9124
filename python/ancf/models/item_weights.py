"""Models that are item-item weights and nothing else: what each purchase of a history adds, summed.

    score(u, i) = Σ_{j ∈ history of u} w_uj c_ji

``ItemKNN``, ``EASE``, ``SLIM`` and ``RP3beta`` differ in the c alone. So the user is the history, whoever it is: a
visitor gets the list that training would have given them, and every score is a sum that explanations name.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import ModelFileError
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories, OneHistory, ones
from ancf.scoring.parts import Arrays, EncodedUsers, Folding
from ancf.scoring.results import TopNOne
from ancf.scoring.scorer import Encoder, Scorer

Side = Literal["rows", "columns"]


class ItemWeightsModel(Recommender):
    """What these models share: the scorer of their weights, and the encoder that comes back from a file."""

    #: Whether a purchase counts with its weight, or as 1.
    use_weights: bool = False

    def _scorer_of(
        self, data: Interactions, history: Csr, weights: Csr | NDArray[np.float32], similar: Side = "rows"
    ) -> Scorer:
        """The scorer over a table, its histories as they weigh, and the weights, a row for each source."""
        sparse = isinstance(weights, Csr)
        return self._build_scorer(
            data,
            seen=history.sets,
            item_vectors=np.zeros((data.n_items, 0), np.float32),
            user_vectors=np.zeros((data.n_users, 0), np.float32),
            neighbors=weights if sparse else None,
            dense_neighbors=None if sparse else weights,
            history=history,
            encoder=ItemWeightsEncoder(bool(self.use_weights), similar),
        )

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        similar = meta.get("similar_items", "rows")
        if similar not in ("rows", "columns"):
            raise ModelFileError(f"model file: similar_items is {similar!r}. The file is damaged; load another copy.")
        return ItemWeightsEncoder(bool(self.use_weights), similar)


class ItemWeightsEncoder(Encoder):
    """The user is the history; there are no vectors."""

    def __init__(self, use_weights: bool, similar: Side) -> None:
        self.use_weights = use_weights
        self.similar_items = similar

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        weights = histories.weights if self.use_weights else ones(len(histories.items))
        return EncodedUsers(
            np.empty((histories.n_rows, 0), np.float32), Csr(histories.indptr, histories.items, weights)
        )

    def sees_sets(self, scorer: Scorer, filter_seen: bool) -> bool:
        return not self.use_weights

    def folding(self, scorer: Scorer) -> Folding | None:
        return Folding(None, (None, None), self.use_weights, (not self.use_weights, not self.use_weights))

    def top_n_for_items(
        self, scorer: Scorer, history: OneHistory, N: int, filter_seen: bool, num_threads: int | None
    ) -> TopNOne:
        weights = history.weights if self.use_weights else None
        had = history.left_out(filter_seen)
        found = scorer.ranker.top_n_for_items(history.items, N, True, weights=weights, had=had)
        return TopNOne(*found)

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        # Files without it are those of the rows.
        return {}, {} if self.similar_items == "rows" else {"similar_items": self.similar_items}


def binary_history(data: Interactions) -> Csr:
    """Who has what, 1 for each pair."""
    history = data.to_csr()
    return history.with_data(np.ones_like(history.data))
