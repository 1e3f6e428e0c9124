"""User-based nearest neighbors: what those bought whose purchases are most like yours.

    score(u, i) = Σ_{v ∈ N(u)} s_uv w_vi         over the k users v most similar to u

    cosine   s_uv = ⟨x_u, x_v⟩ / (‖x_u‖ ‖x_v‖ + shrinkage)          x_uj = w_uj
    tfidf    the same of x_uj = w_uj^½ ln(1 + n_users / n_j)
    jaccard  s_uv = n_uv / (n_u + n_v − n_uv + shrinkage)            n_uv items of both
    bm25     s_uv = ⟨x_u, x_v⟩,  x_uj = 101 w_uj / (100 L_u + w_uj) ln(1 + n_users / n_j),  L_u = .2 + .8 S_u / mean S

Resnick et al., GroupLens (CSCW 1994), without the means that ratings need. Who is not in the training table is compared
with its users in the same way. Somebody with exactly the same items is no neighbor: there is nothing to take from them.

Every s_uv is a sum over the items that two users share, so a score is a sum over the purchases of u, and explanations
name these: what the neighbors bought who also bought j.
"""

import math
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_choice, check_flag, check_integer, check_number
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import ModelFileError
from ancf.models.base import Recommender
from ancf.models.item_knn import resolve_shrinkage
from ancf.models.item_weights import binary_history
from ancf.scoring.histories import Histories, ones
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer
from ancf.search_space import Categorical, Dimension, Integer, Real, SearchSpace

Weighting = Literal["cosine", "jaccard", "tfidf", "bm25"]


class UserKNN(Recommender):
    """Similarity of users, and what the nearest of them bought.

    Parameters
    ----------
    neighbors : int, at least 1
        How many users are asked; 100 by default.
    weighting : "cosine", "jaccard", "tfidf" or "bm25"
        How similarity is measured: the angle between two users' items; the items of both among those of either; the
        angle where rare items count more; the same without dividing by length, but with lengths in each weight.
    shrinkage : float, at least 0
        Added to the denominator, in items; the larger, the more shared items a pair needs. "bm25" has no denominator
        and takes none.
    use_weights : bool
        Take the interactions' weights as they are, instead of 1 for each pair.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "cup", "tea"])
    >>> model = ancf.UserKNN().fit(data)
    >>> model.recommend(3, N=1).ids.tolist()
    ['cup']
    >>> model.recommend_for_history(["cup"], N=1).ids.tolist()
    ['tea']
    """

    _update_is_fit = True

    def __init__(
        self,
        *,
        neighbors: int = 100,
        weighting: Weighting = "tfidf",
        shrinkage: float = 0.0,
        use_weights: bool = False,
        num_threads: int | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.weighting = weighting
        self.shrinkage = shrinkage
        self.use_weights = use_weights
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Neighbors, weighting and shrinkage; no "bm25" among them, as it takes no shrinkage."""
        space: dict[str, Dimension] = {"neighbors": Integer(10, 1000, log=True)}
        if self.weighting == "bm25":
            return space
        choices = ["cosine", "tfidf"] if self.use_weights else ["cosine", "jaccard", "tfidf"]
        return {**space, "weighting": Categorical(choices), "shrinkage": Real(0.0, 50.0)}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Find each user's neighbors.

        Parameters
        ----------
        interactions : Interactions
        validation : Interactions, optional
            Not needed; there is nothing to choose by it.

        Returns
        -------
        the model itself, fitted

        Raises
        ------
        InvalidDataError
            If the table holds no interactions, or negative weights that a weighting cannot take.
        InvalidParameterError
            If an option makes no sense, or has no effect beside another.
        """
        check_integer("neighbors", self.neighbors, 1, 2**31 - 1)
        check_choice("weighting", self.weighting, get_args(Weighting))
        check_flag("use_weights", self.use_weights)
        check_number("shrinkage", self.shrinkage, 0.0, math.inf)
        resolve_shrinkage(self.weighting, self.shrinkage or None, self.use_weights, 0.0)
        data = self._training_data(interactions, validation)
        purchases = data.to_csr() if self.use_weights else binary_history(data)
        encoder = self._encoder(purchases, data.n_items)
        self._scorer = self._build_scorer(
            data,
            seen=purchases.sets,
            item_vectors=np.zeros((data.n_items, 0), np.float32),
            user_vectors=np.zeros((data.n_users, 0), np.float32),
            neighbors=_below_items(purchases, data.n_items),
            history=encoder.weigh(purchases, data.n_items, self.num_threads),
            encoder=encoder,
        )
        return self

    def _encoder(self, purchases: Csr, n_items: int) -> "_NearestUsers":
        users = _native.UserNeighbors(
            purchases,
            n_items,
            int(self.neighbors),
            weighting=self.weighting,
            shrinkage=float(self.shrinkage),
        )
        return _NearestUsers(users, bool(self.use_weights))

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        n_items = int(meta["item_ids"]["n"])
        indptr = arrays["neighbours.indptr"]
        if len(indptr) != n_items + int(meta["user_ids"]["n"]) + 1 or indptr[n_items] != 0:
            raise ModelFileError(
                "model file: neighbours are not the purchases of each user. The file is damaged; load another copy."
            )
        purchases = Csr(np.ascontiguousarray(indptr[n_items:]), arrays["neighbours.items"], arrays["neighbours.values"])
        return self._encoder(purchases, n_items)


def _below_items(purchases: Csr, n_items: int) -> Csr:
    """Users as sources: row n_items + v holds what neighbor v adds, their purchases; the items add nothing."""
    return Csr(np.concatenate((np.zeros(n_items, np.int64), purchases.indptr)), purchases.indices, purchases.data)


class _NearestUsers(Encoder):
    """A user is the nearest users of the training table, each a source with its similarity."""

    similar_items = None

    def __init__(self, users: "_native.UserNeighbors", use_weights: bool) -> None:
        self.users = users
        self.use_weights = use_weights

    def weigh(self, histories: Csr, n_items: int, num_threads: int | None) -> Csr:
        """The nearest users of histories as the sparse part of the score takes them."""
        indptr, users, similarities = self.users.of(histories, num_threads)
        return Csr(indptr, users + np.int32(n_items), similarities)

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        weights = histories.weights if self.use_weights else ones(len(histories.items))
        weighed = self.weigh(Csr(histories.indptr, histories.items, weights), len(scorer.item_ids), num_threads)
        return EncodedUsers(np.empty((histories.n_rows, 0), np.float32), weighed)

    def neighbor_contributions(
        self,
        scorer: Scorer,
        histories: Histories,
        user: int | None,
        weighted: tuple[NDArray[np.int32], NDArray[np.float32]],
        items: NDArray[np.int64],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        neighbors, n_items = scorer.neighbors, len(scorer.item_ids)
        assert neighbors is not None
        had, weights = histories.items, histories.weights if self.use_weights else ones(len(histories.items))
        if user is not None:
            had, weights = neighbors.row(n_items + user)
        sources, similarities = weighted
        added = similarities.astype(np.float64)[:, None] * scorer.neighbor_values(sources, items)
        shares = [
            self.users.contributions(had, weights, sources - np.int32(n_items), np.ascontiguousarray(each))
            for each in added.T
        ]
        return had, np.column_stack(shares)
