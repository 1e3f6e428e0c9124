"""The customer's own list, by how often and how recently: what a model of repeats must beat.

    score(u, i) = n_ui 2^(−age_ui / half_life) + popularity_i        n_ui: how often u bought i
    popularity_i = 2^−61 n_i / max n                                  n_i: users of item i

age_ui are the days from the last purchase of i to the newest purchase of u.

Popularity is so small that it only orders what a customer never bought, behind everything they have.
"""

import math
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_number
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, ModelFileError
from ancf.models.ancf.temporal import PurchaseTimes, recency_weights
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.past import Past
from ancf.scoring.scorer import Encoder, Scorer
from ancf.search_space import Real, SearchSpace

# Below every n 2^(−age / half_life), whose exponent ends at −60, and far above what float32 can still hold.
_POPULARITY = 2.0**-61


class LastBought(Recommender):
    """What the customer bought before, often and lately, first.

    Ask it with ``filter_already_liked_items=False``. The default of ``recommend`` leaves out what a customer has, which
    is all that this model knows of them; what remains are the items they never had, by popularity.

    Parameters
    ----------
    half_life : float or None
        Days after which a purchase counts half, counted from the user's newest. None, the default: only how often, and
        of what was bought equally often the more popular first; on the last 30 days of two shops' training tables that
        was as good as any half-life or better. Without times, the weight of a pair says how often.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 1, 2], item=["tea", "cup", "tea", "pot"], time=[0, 100, 200, 300])
    >>> model = ancf.LastBought().fit(data)
    >>> model.recommend(1, N=3, filter_already_liked_items=False).ids.tolist()
    ['tea', 'cup', 'pot']
    >>> model.recommend(1, N=3).ids.tolist()
    ['pot']
    """

    _update_is_fit = True

    def __init__(self, *, half_life: float | None = None, num_threads: int | None = None) -> None:
        self.half_life = half_life
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """The half-life, where there are times."""
        return {"half_life": Real(7.0, 730.0, log=True)} if timed else {}

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Count.

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
            If the table holds no interactions, or no times and ``half_life`` is a number of days.
        InvalidParameterError
            If an option makes no sense.
        """
        if self.half_life is not None:
            check_number("half_life", self.half_life, 0.0, math.inf, above=True, words="None or ")
        data = self._training_data(interactions, validation)
        if data.times is None and self.half_life is not None:
            raise InvalidDataError(
                f"half_life={self.half_life:g} needs times, and this table has none. Name its column (time=), or leave "
                "half_life out."
            )
        encoder = _OwnPurchases(None if self.half_life is None else float(self.half_life))
        purchases, bought = data.to_csr(), PurchaseTimes.from_interactions(data)
        counts = purchases.data if bought.counts is None else bought.counts
        n = data.n_items
        self._scorer = self._build_scorer(
            data,
            seen=purchases.sets,
            item_vectors=_popularity(np.bincount(purchases.indices, minlength=data.n_items)),
            user_vectors=np.ones((data.n_users, 1), np.float32),
            # What an item adds, it adds to itself.
            neighbors=Csr(np.arange(n + 1), np.arange(n, dtype=np.int32), np.ones(n, np.float32)),
            history=encoder.weigh(purchases.with_data(counts), bought.times),
            encoder=encoder,
        )
        return self

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        half_life = meta["half_life"]
        if half_life is not None and not (isinstance(half_life, float) and 0 < half_life < math.inf):
            raise ModelFileError(f"model file: half_life is {half_life!r}. The file is damaged; load another copy.")
        return _OwnPurchases(half_life)


def _popularity(buyers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of the items (n_items, 1)."""
    return np.asarray(_POPULARITY * buyers / buyers.max(), np.float32)[:, None]


class _OwnPurchases(Encoder):
    """A purchase adds to its own item: how often it was made, halved by its age."""

    vectors_are_comparable = False
    counts_purchases = True
    similar_items = None

    def __init__(self, half_life: float | None) -> None:
        self.half_life = half_life

    def weigh(self, purchases: Csr, times: NDArray[np.int64] | None) -> Csr:
        """What each purchase adds; the values of ``purchases`` are how often it was made."""
        return purchases.with_data(purchases.data * recency_weights(purchases.indptr, times, self.half_life))

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        purchases = Csr(histories.indptr, histories.items, histories.weights)
        return EncodedUsers(np.ones((histories.n_rows, 1), np.float32), self.weigh(purchases, histories.times))

    def at(self, scorer: Scorer, past: Past) -> Scorer:
        return replace(scorer, item_vectors=_popularity(past.buyers(len(scorer.item_ids))))

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        return {"popularity": float(scorer.item_vectors[item, 0])}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, {"half_life": self.half_life}
