"""Item-based nearest neighbors: customers who bought this also bought that.

    cosine   c_ji = P_ji / (D_j^½ D_i^½ + shrinkage)         P_ji = Σ_u w_uj w_ui,  D_j = Σ_u w_uj²
    tfidf    the same of x_uj = w_uj^½ ln(1 + n_items / n_u)
    jaccard  c_ji = n_ji / (n_j + n_i − n_ji + shrinkage)    n_ji users of both
    pearson  c_ji = (P_ji − S_j S_i / U) / (V_j^½ V_i^½ + shrinkage)    S_j = Σ_u w_uj,  V_j = D_j − S_j² / U,  U users
    bm25     c_ji = Σ_u x_uj x_ui,  x_uj = 101 w_uj / (100 L_j + w_uj) · ln(1 + n_items / n_u),
             L_j = .2 + .8 S_j / mean S

    score(u, i) = Σ_{j ∈ N(u)} w_uj c_ji                     over the k strongest sources j of each target i

Cosine: Sarwar et al. (WWW 2001), Deshpande and Karypis (TOIS 2004); shrinkage: Bell and Koren (ICDM 2007), pairs that
few users share are pulled towards zero; TF-IDF and BM25 as ``implicit`` has them, with a logarithm that is never
negative. Rows are computed one by one in Rust.

Reference: Gowalla, Recall@20 .157 and NDCG@20 .121 with Pearson and 10 neighbors, on the split of LightGCN (He et al.
2020) by Anelli et al. (RecSys 2023): all items ranked that a user does not have in training, mean over users.
"""

from typing import Literal, Self, get_args

from ancf import _native
from ancf.checks import check_choice, check_flag, check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError
from ancf.models.item_weights import ItemWeightsModel, binary_history
from ancf.search_space import Categorical, Dimension, Integer, Real, SearchSpace

Weighting = Literal["cosine", "jaccard", "pearson", "tfidf", "bm25"]

# What a weighting shrinks by unless it is told otherwise.
_SHRINKAGE = 50.0


class ItemKNN(ItemWeightsModel):
    """Similarity of items, shrunk, cut to the nearest neighbors.

    Parameters
    ----------
    neighbors : int, at least 1
        How many sources each item keeps; 100 by default.
    weighting : "cosine", "jaccard", "pearson", "tfidf" or "bm25"
        How similarity is measured: the angle between two items' users; the users of both among those of either; the
        correlation over all users; the angle where users with few items count more; the same without dividing by
        length, but with lengths in each weight.
    shrinkage : float, at least 0, optional
        Added to the denominator, in users; the larger, the more shared users a pair needs. By default 50; "bm25" has no
        denominator and takes none.
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

    _update_is_fit = True

    def __init__(
        self,
        *,
        neighbors: int = 100,
        weighting: Weighting = "cosine",
        shrinkage: float | None = None,
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
        space: dict[str, Dimension] = {"neighbors": Integer(5, 500, log=True)}
        if self.weighting == "bm25":
            return space
        choices = ["cosine", "jaccard", "pearson", "tfidf"]
        if self.use_weights:
            choices.remove("jaccard")
        return {**space, "weighting": Categorical(choices), "shrinkage": Real(1.0, 500.0, log=True)}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Find each item's neighbors.

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
        shrinkage = resolve_shrinkage(self.weighting, self.shrinkage, self.use_weights, _SHRINKAGE)
        data = self._training_data(interactions, validation)
        history = data.to_csr() if self.use_weights else binary_history(data)
        power = 0.0 if self.weighting == "bm25" else 0.5
        neighbors = _native.item_neighbors(
            *history,
            data.n_items,
            int(self.neighbors),
            weighting=self.weighting,
            source_power=power,
            target_power=power,
            shrinkage=shrinkage,
            cut_by_target=True,
            num_threads=self.num_threads,
        )
        self._scorer = self._scorer_of(data, history, Csr(*neighbors), "columns")
        return self


def resolve_shrinkage(weighting: str, shrinkage: float | None, use_weights: bool, default: float) -> float:
    """The shrinkage of a nearest-neighbor model; refuses what has no effect beside its weighting."""
    if shrinkage is not None:
        check_number("shrinkage", shrinkage, 0.0, FLOAT32_MAX, words="None or ")
    if weighting == "bm25" and shrinkage is not None:
        raise InvalidParameterError(
            f'shrinkage={shrinkage:g} has no effect with weighting="bm25", which has no denominator. Leave it out.'
        )
    if weighting == "jaccard" and use_weights:
        raise InvalidParameterError(
            'use_weights=True has no effect with weighting="jaccard", which compares sets. '
            'Use weighting="cosine", or leave it out.'
        )
    return float(default if shrinkage is None and weighting != "bm25" else shrinkage or 0.0)
