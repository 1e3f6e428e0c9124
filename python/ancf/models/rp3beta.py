"""RP3beta: random walks from customer to item to customer to item, with popular items held back.

    c_ji = (Σ_{u has j and i} 1 / n_u^α) / (n_j^α · n_i^β)        n: number of items of u, of users of j and i
    score(u, i) = Σ_{j ∈ N(u)} c_ji        over the k strongest sources j of each target i

Paudel, Christoffel, Newell and Bernstein, Updatable, Accurate, Diverse, and Scalable Recommendations for Interactive
Applications, TiiS 2016. Probabilities of the walk's steps are raised to α, after P3alpha (Cooper et al., WWW 2014). The
first step, 1 / n_u^α, is the same for all of a customer's items and left out: it changes no list.

Reference: Gowalla, Recall@20 .1829 and NDCG@20 .1520, on the split of LightGCN (He et al. 2020) by Anelli et al.
(RecSys 2023): all items ranked that a user does not have in training, mean over users, options tuned.
"""

from typing import Self

from ancf import _native
from ancf.checks import check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.models.item_weights import ItemWeightsModel, binary_history
from ancf.search_space import Integer, Real, SearchSpace


class RP3beta(ItemWeightsModel):
    """Item-item weights by random walks of three steps.

    Quantities are ignored: a customer has an item or not.

    Parameters
    ----------
    alpha : float, at least 0
        α, the power of the walk's probabilities: how much customers with many items, and popular items of the history,
        count less; 0.5 by default.
    beta : float, at least 0
        β, how much popular targets count less; 0.2 by default, 0 is P3alpha.
    neighbors : int, at least 1
        Sources that each item keeps; 100 by default.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "cup", "tea"])
    >>> ancf.RP3beta().fit(data).recommend(3, N=1).ids.tolist()
    ['cup']
    """

    _update_is_fit = True

    def __init__(
        self, *, alpha: float = 0.5, beta: float = 0.2, neighbors: int = 100, num_threads: int | None = None
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.neighbors = neighbors
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Both powers and the neighbors."""
        return {"alpha": Real(0.0, 1.5), "beta": Real(0.0, 1.0), "neighbors": Integer(10, 1000, log=True)}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Walk.

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
            If the table holds no interactions.
        InvalidParameterError
            If an option makes no sense.
        """
        check_number("alpha", self.alpha, 0.0, FLOAT32_MAX)
        check_number("beta", self.beta, 0.0, FLOAT32_MAX)
        check_integer("neighbors", self.neighbors, 1, 2**31 - 1)
        data = self._training_data(interactions, validation)
        history = binary_history(data)
        weights = _native.item_neighbors(
            *history,
            data.n_items,
            int(self.neighbors),
            user_power=float(self.alpha),
            source_power=float(self.alpha),
            target_power=float(self.beta),
            cut_by_target=True,
            num_threads=self.num_threads,
        )
        self._scorer = self._scorer_of(data, history, Csr(*weights), "columns")
        return self
