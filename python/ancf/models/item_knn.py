"""Item-based nearest neighbours: customers who bought this also bought that.

    c_ji = P_ji / (D_j^½ · D_i^½ + shrinkage),   P_ji = Σ_u w_uj w_ui,   D_j = Σ_u w_uj²
    score(u, i) = Σ_{j ∈ N(u)} w_uj · c_ji        over the k strongest targets i of each j

Cosine similarity (Sarwar et al. 2001; Deshpande and Karypis 2004) with shrinkage (Bell and Koren 2007): pairs that few
users share are pulled towards zero. Each source item keeps its k strongest targets, computed row by row in Rust.
"""

import math
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_flag, check_integer, check_number
from ancf.models._asking import Histories, ones
from ancf.models.base import Recommender, Rows, ShortList

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions


class ItemKNN(Recommender):
    """Cosine similarity of items, shrunk, cut to the nearest neighbours.

    Parameters
    ----------
    neighbours : int, at least 1
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
        neighbours: int = 100,
        shrinkage: float = 0.0,
        use_weights: bool = False,
        num_threads: int | None = None,
    ) -> None:
        self.neighbours = neighbours
        self.shrinkage = shrinkage
        self.use_weights = use_weights
        self.num_threads = num_threads

    def fit(self, interactions: "Interactions", *, validation: "Interactions | None" = None) -> Self:
        """Find each item's neighbours.

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        InvalidParameterError
            If an option makes no sense.
        """
        check_integer("neighbours", self.neighbours, 1, 2**31 - 1)
        check_number("shrinkage", self.shrinkage, 0.0, math.inf)
        check_flag("use_weights", self.use_weights)
        data = self._training_data(interactions)
        indptr, items, weights = data.to_csr()
        if not self.use_weights:
            weights = np.ones_like(weights)
        neighbours = _native.item_neighbours(
            indptr,
            items,
            weights,
            data.n_items,
            int(self.neighbours),
            source_power=0.5,
            target_power=0.5,
            shrinkage=float(self.shrinkage),
            num_threads=self.num_threads,
        )
        self._install(
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            item_names=data.item_names,
            seen=(indptr, items),
            item_vectors=np.zeros((data.n_items, 0), np.float32),
            user_vectors=np.zeros((data.n_users, 0), np.float32),
            neighbours=neighbours,
            history=(indptr, items, weights),
        )
        return self

    def _fold_in(self, histories: Histories) -> tuple[NDArray[np.float32], Rows | None]:
        weights = histories.weights if self.use_weights else ones(len(histories.items))
        return np.empty((histories.n, 0), np.float32), (histories.indptr, histories.items, weights)

    def _short_list(self, positions: list[int], N: int, filter_seen: bool) -> ShortList:
        return self._fitted().top_n_folded(positions, N, filter_seen)
