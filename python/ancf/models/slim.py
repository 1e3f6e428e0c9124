"""SLIM: sparse item-item weights, each item explained by a few others.

    w_i = argmin ½ ‖a_i − A w‖² + ½ l2 ‖w‖² + l1 ‖w‖₁        with w_ii = 0, and w ≥ 0 unless signed weights are wanted
    score(u, i) = Σ_{j ∈ N(u)} w_ji

Ning and Karypis, SLIM: Sparse Linear Methods for Top-N Recommender Systems, ICDM 2011; A is users × items of 0 and 1.
One elastic net for each item, by coordinate descent (Friedman, Hastie and Tibshirani 2010), in Rust and in parallel. It
is the exact minimum, up to ``tolerance``: no source is left out beforehand that could have a weight.

Reference: Gowalla, Recall@20 .1699 and NDCG@20 .1382, on the split of LightGCN (He et al. 2020) by Anelli et al.
(RecSys 2023): all items ranked that a user does not have in training, mean over users, options tuned.
"""

import math
from typing import Self

from ancf import _native
from ancf.checks import check_flag, check_integer, check_number
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.models.item_weights import ItemWeightsModel, binary_history
from ancf.search_space import Real, SearchSpace


class SLIM(ItemWeightsModel):
    """Sparse item-item weights by an elastic net for each item.

    Quantities are ignored: a customer has an item or not.

    Parameters
    ----------
    l1 : float, at least 0
        Penalty of Σ |w|, in co-purchases: items that share no more customers than this have no weight. The larger, the
        sparser and the faster; 1 by default.
    l2 : float, at least 0
        Penalty of ½ Σ w², in purchases: what is added to the count of each item; 20 by default.
    positive : bool
        Whether weights must be at least 0, as in the paper. False: a purchase can speak against an item, as in EASE.
    max_iterations : int, at least 1
        Sweeps over the sources of an item after which it is left as it is.
    tolerance : float, at least 0
        An item is done when no weight moves by more in a sweep.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "cup", "tea"])
    >>> ancf.SLIM(l1=0.1, l2=1).fit(data).recommend(3, N=1).ids.tolist()
    ['cup']
    """

    _update_is_fit = True

    def __init__(
        self,
        *,
        l1: float = 1.0,
        l2: float = 20.0,
        positive: bool = True,
        max_iterations: int = 50,
        tolerance: float = 1e-3,
        num_threads: int | None = None,
    ) -> None:
        self.l1 = l1
        self.l2 = l2
        self.positive = positive
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Both penalties."""
        return {"l1": Real(0.05, 20.0, log=True), "l2": Real(0.5, 500.0, log=True)}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Solve one regression for each item.

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
        check_number("l1", self.l1, 0.0, math.inf)
        check_number("l2", self.l2, 0.0, math.inf)
        check_number("tolerance", self.tolerance, 0.0, math.inf)
        check_flag("positive", self.positive)
        check_integer("max_iterations", self.max_iterations, 1, 2**31 - 1)
        data = self._training_data(interactions, validation)
        history = binary_history(data)
        weights = _native.slim_weights(
            history,
            data.n_items,
            l1=float(self.l1),
            l2=float(self.l2),
            positive=bool(self.positive),
            max_iterations=int(self.max_iterations),
            tolerance=float(self.tolerance),
            num_threads=self.num_threads,
        )
        self._scorer = self._scorer_of(data, history, Csr(*weights))
        return self
