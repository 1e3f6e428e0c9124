"""The most popular items for everybody: the list that every model must beat."""

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice
from ancf.models._asking import Histories
from ancf.models.base import Recommender, Rows

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions

_COUNTS = ("users", "events", "weight")


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

    _vectors_compare = False

    def __init__(self, *, count: str = "users", num_threads: int | None = None) -> None:
        self.count = count
        self.num_threads = num_threads

    def fit(self, interactions: "Interactions", *, validation: "Interactions | None" = None) -> Self:
        """Count.

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        """
        check_choice("count", self.count, _COUNTS)
        data = self._training_data(interactions)
        indptr, items, _ = data.to_csr()
        if self.count == "users":
            popularity = np.bincount(items, minlength=data.n_items)
        else:
            weights = data.weights if self.count == "weight" else None
            popularity = np.bincount(data.items, weights=weights, minlength=data.n_items)
        self._install(
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            item_names=data.item_names,
            seen=(indptr, items),
            item_vectors=popularity.astype(np.float32)[:, None],
            user_vectors=np.ones((data.n_users, 1), np.float32),
        )
        return self

    def _fold_in(self, histories: Histories) -> tuple[NDArray[np.float32], Rows | None]:
        return np.ones((histories.n, 1), np.float32), None

    def _base_contributions(self, vector: NDArray[np.float32], item: int) -> dict[str, float]:
        return {"popularity": float(self._item_vectors[item, 0])}

    def _item_popularity(self) -> NDArray[np.float32]:
        return self._item_vectors[:, 0]
