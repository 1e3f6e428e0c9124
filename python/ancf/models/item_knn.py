"""Item-based nearest neighbors: customers who bought this also bought that.

    c_ji = P_ji / (D_j^½ · D_i^½ + shrinkage),   P_ji = Σ_u w_uj w_ui,   D_j = Σ_u w_uj²
    score(u, i) = Σ_{j ∈ N(u)} w_uj · c_ji        over the k strongest targets i of each j

Cosine similarity (Sarwar et al. 2001; Deshpande and Karypis 2004) with shrinkage (Bell and Koren 2007): pairs that few
users share are pulled towards zero. Each source item keeps its k strongest targets, computed row by row in Rust.
"""

import math
from typing import Any, Self

import numpy as np

from ancf import _native
from ancf.checks import check_flag, check_integer, check_number
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories, ones
from ancf.scoring.results import TopNOne
from ancf.scoring.scorer import Arrays, EncodedUsers, Encoder, Scorer


class ItemKNN(Recommender):
    """Cosine similarity of items, shrunk, cut to the nearest neighbors.

    Parameters
    ----------
    neighbors : int, at least 1
        How many targets each item keeps; 100 by default.
    shrinkage : float, at least 0
        Added to the denominator; the larger, the more shared users a pair needs.
    use_weights : bool
        Take the interactions' weights as they are, instead of 1 for each pair.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "cup", "tea"])
    >>> model = ancf.ItemKNN(shrinkage=0).fit(data)
    >>> model.recommend(3, N=1)
    user_id  item_id  score   rank  source
          3  cup      0.8165     1  model
    """

    def __init__(
        self,
        *,
        neighbors: int = 100,
        shrinkage: float = 0.0,
        use_weights: bool = False,
        num_threads: int | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.shrinkage = shrinkage
        self.use_weights = use_weights
        self.num_threads = num_threads

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Find each item's neighbors.

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        InvalidParameterError
            If an option makes no sense.
        """
        check_integer("neighbors", self.neighbors, 1, 2**31 - 1)
        check_number("shrinkage", self.shrinkage, 0.0, math.inf)
        check_flag("use_weights", self.use_weights)
        data = self._training_data(interactions, validation)
        history = data.to_csr()
        if not self.use_weights:
            history = history.with_data(np.ones_like(history.data))
        neighbors = _native.item_neighbors(
            *history,
            data.n_items,
            int(self.neighbors),
            source_power=0.5,
            target_power=0.5,
            shrinkage=float(self.shrinkage),
            num_threads=self.num_threads,
        )
        self._scorer = self._build_scorer(
            data,
            seen=history.sets,
            item_vectors=np.zeros((data.n_items, 0), np.float32),
            user_vectors=np.zeros((data.n_users, 0), np.float32),
            neighbors=Csr(*neighbors),
            history=history,
            encoder=_WeightedHistoryEncoder(bool(self.use_weights)),
        )
        return self

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _WeightedHistoryEncoder(bool(self.use_weights))


class _WeightedHistoryEncoder(Encoder):
    """The user is the history; there are no vectors."""

    def __init__(self, use_weights: bool) -> None:
        self.use_weights = use_weights

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        weights = histories.weights if self.use_weights else ones(len(histories.items))
        return EncodedUsers(
            np.empty((histories.n_rows, 0), np.float32), Csr(histories.indptr, histories.items, weights)
        )

    def top_n_for_items(
        self, scorer: Scorer, positions: list[int], N: int, filter_seen: bool, num_threads: int | None
    ) -> TopNOne:
        return TopNOne(*scorer.ranker.top_n_for_items(positions, N, filter_seen))
