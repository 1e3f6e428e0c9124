"""The most popular items for everybody: the list that every model must beat."""

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice
from ancf.data.interactions import Interactions
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories
from ancf.scoring.scorer import Arrays, EncodedUsers, Encoder, Scorer

Count = Literal["users", "events", "weight"]


class Popular(Recommender):
    """Items in the order of their popularity, without what the user has already.

    Parameters
    ----------
    count : "users", "events" or "weight"
        What makes an item popular: the number of its users (default), of its events, or its summed weights.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3], item=["tea", "tea", "cup", "tea"])
    >>> Popular().fit(data).recommend(3, N=5).ids.tolist()
    ['cup']
    """

    def __init__(self, *, count: Count = "users", num_threads: int | None = None) -> None:
        self.count = count
        self.num_threads = num_threads

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Count.

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        """
        check_choice("count", self.count, get_args(Count))
        data = self._training_data(interactions, validation)
        seen = data.to_csr().sets
        if self.count == "users":
            popularity = np.bincount(seen.items, minlength=data.n_items)
        else:
            weights = data.weights if self.count == "weight" else None
            popularity = np.bincount(data.items, weights=weights, minlength=data.n_items)
        self._scorer = self._build_scorer(
            data,
            seen=seen,
            item_vectors=popularity.astype(np.float32)[:, None],
            user_vectors=np.ones((data.n_users, 1), np.float32),
            encoder=_PopularityEncoder(),
        )
        return self

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _PopularityEncoder()


class _PopularityEncoder(Encoder):
    """Whoever it is, the items count by their popularity alone, which is their vector."""

    vectors_are_comparable = False

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        return EncodedUsers(np.ones((histories.n_rows, 1), np.float32))

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        return {"popularity": float(scorer.item_vectors[item, 0])}

    def popularity(self, scorer: Scorer) -> NDArray[np.float32]:
        return scorer.item_vectors[:, 0]
