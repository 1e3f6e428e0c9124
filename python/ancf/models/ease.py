"""EASE: item-item weights of everything with everything, in closed form.

    G = Xᵀ X + λ I        P = G⁻¹        B_ji = −P_ji / P_ii,  B_ii = 0
    score(u, i) = Σ_{j ∈ N(u)} B_ji

Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019: the linear autoencoder that reconstructs each row
of X without its diagonal, under a ridge penalty λ. Weights are signed: having j can speak against i.

Reference: Gowalla, Recall@20 .1765 and NDCG@20 .1467, on the split of LightGCN (He et al. 2020) by Anelli et al.
(RecSys 2023): all items ranked that a user does not have in training, mean over users, λ tuned.
"""

from typing import Self

from ancf import _native
from ancf.checks import check_number
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError
from ancf.models.item_weights import ItemWeightsModel, binary_history
from ancf.scoring.limits import available_bytes
from ancf.search_space import Real, SearchSpace

# A float32 here and one in the ranker; while the matrix is inverted, half of it is held beside the weights.
_BYTES_PER_WEIGHT = 8
_SHARE_OF_MEMORY = 0.8


class EASE(ItemWeightsModel):
    """Item-item weights by ridge regression of every item on all others, solved at once.

    Quantities are ignored: a customer has an item or not. The weights are n_items × n_items numbers, 8 bytes each
    while the model is in memory and 4 in its file; ``fit`` refuses a table for which that does not fit. Time grows
    with n_items³.

    Parameters
    ----------
    regularization : float, above 0
        λ, in purchases: what is added to the count of each item. The larger, the less rare items count; 200 by default.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "cup", "tea"])
    >>> ancf.EASE(regularization=1).fit(data).recommend(3, N=1).ids.tolist()
    ['cup']
    """

    _update_is_fit = True

    def __init__(self, *, regularization: float = 200.0, num_threads: int | None = None) -> None:
        self.regularization = regularization
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """The regularization."""
        return {"regularization": Real(1.0, 5000.0, log=True)}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Invert the matrix of co-purchases.

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
            If an option makes no sense, ``regularization`` is too small for float32, or the weights would not fit into
            memory; says how much they need.
        """
        check_number("regularization", self.regularization, 0.0, FLOAT32_MAX, above=True)
        data = self._training_data(interactions, validation)
        _check_memory(data.n_items)
        history = binary_history(data)
        weights = _native.ease_weights(
            history, data.n_items, regularization=float(self.regularization), num_threads=self.num_threads
        )
        self._scorer = self._scorer_of(data, history, weights)
        return self


def _check_memory(n_items: int) -> None:
    needed = n_items**2 * _BYTES_PER_WEIGHT
    available = available_bytes()
    if available is not None and needed > _SHARE_OF_MEMORY * available:
        raise InvalidParameterError(
            f"EASE: the weights of {n_items:,} × {n_items:,} items need about {needed / 2**30:.1f} GiB; "
            f"{available / 2**30:.1f} GiB are free. Use SLIM or ItemKNN, whose weights are sparse, or leave rare items "
            "out of the table."
        )
