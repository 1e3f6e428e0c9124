"""The two sides of a plain model's score: items with all that their part of it is made of, and users as histories."""

from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr, ItemSets, places_of_rows
from ancf.models.ancf.options import Settings
from ancf.models.ancf.temporal import PurchaseTimes, entry_weights, popularity_factors, sparse_history, trend_factors
from ancf.scoring.results import TopN

Floats = NDArray[np.float32]


class ItemParts(NamedTuple):
    """What the scores are mixed of, item by item, before trend, popularity and recency."""

    vectors: Floats
    """q: the trained vectors by the power of their lengths that is served."""
    scaling: Floats
    """‖v‖^(1 − p), which turns q back into v."""
    priors: Floats
    """r: what an item weighs in a history, by the number of its users."""
    neighbors: Csr | None
    """c, the item-item weights."""


class ItemSide(NamedTuple):
    """What the scores are mixed of, item by item, with trend and popularity."""

    vectors: Floats
    priors: Floats
    """What an item weighs in a history; they also hold lengths that the served vectors lost."""
    neighbors: Csr | None
    has_factors: bool
    """Whether trend or popularity changed anything."""

    @classmethod
    def of(cls, parts: ItemParts, pairs: Csr, purchases: PurchaseTimes, settings: Settings) -> Self:
        """The parts with the trend and the popularity that the settings give them; ``pairs`` says who has what."""
        vectors, priors, neighbors = parts.vectors, parts.priors * parts.scaling, parts.neighbors
        factors = item_factors(pairs.indices, purchases, len(vectors), settings)
        if factors is None:
            return cls(vectors, priors, neighbors, False)
        if neighbors is not None:
            neighbors = neighbors.with_data(neighbors.data * factors[neighbors.indices])
        return cls(vectors * factors[:, None], priors / factors, neighbors, True)


class ItemFactors(NamedTuple):
    """What a mixture multiplies the two parts of an item's scores with."""

    vectors: Floats
    neighbors: Floats


class Factors(Protocol):
    """The settings of trend and popularity."""

    @property
    def trend(self) -> float: ...
    @property
    def trend_half_life(self) -> float: ...
    @property
    def popularity_exponent(self) -> float: ...


def item_factors(items: NDArray[np.int32], purchases: PurchaseTimes, n_items: int, settings: Factors) -> Floats | None:
    """What trend and popularity multiply an item's scores with, (n_items,); None where neither is asked for.
    ``items``: those of all pairs."""
    trend = trend_factors(purchases, n_items, settings.trend, settings.trend_half_life)
    popularity = None
    if settings.popularity_exponent:
        popularity = popularity_factors(np.bincount(items, minlength=n_items), settings.popularity_exponent)
    if trend is None or popularity is None:
        return popularity if trend is None else trend
    return trend * popularity


class UserSide:
    """Users who are their histories, or a range of them on one of several machines (``ancf.distributed``).

    ``times`` has one time for each pair, or there are none; ``shares`` what each is in purchases, None: one.
    """

    def __init__(
        self, pairs: Csr, times: NDArray[np.int64] | None, num_threads: int | None, shares: Floats | None = None
    ) -> None:
        self._pairs, self._times, self._threads, self._shares = pairs, times, num_threads, shares
        # Calls for the same items share a ranker.
        self._ranker: tuple[ItemSide, _native.Ranker] | None = None
        # What all entries weigh by the last half-life.
        self._weights: tuple[float | None, Floats] | None = None

    def vectors(self, items: ItemSide, half_life: float | None) -> Floats:
        """User vectors (n_users, d)."""
        return self._vectors(self._pairs, self.entry_weights(half_life), items)

    def entry_weights(self, half_life: float | None) -> Floats:
        """What all entries of the histories weigh."""
        if self._weights is None or self._weights[0] != half_life:
            self._weights = None
            self._weights = half_life, entry_weights(self._pairs.indptr, self._times, half_life, self._shares)
        return self._weights[1]

    def gram_parts(self, items: ItemSide, half_life: float | None) -> Floats:
        """Products of the user vectors by themselves, chunk after chunk of users."""
        return _native.gram_parts(self.vectors(items, half_life), self._threads)

    def top_n(self, items: ItemSide, half_life: float | None, rows: NDArray[np.int64], n: int) -> TopN:
        """The n best items that each of these users has not had, by the vectors alone."""
        if self._ranker is None or self._ranker[0] is not items:
            self._ranker = None
            self._ranker = items, _native.Ranker(items.vectors)
        ranker = self._ranker[1]
        pairs, recency = self._pairs.take(rows), self._weights_of(rows, half_life)
        ranker.set_users(self._vectors(pairs, recency, items), None, pairs.sets)
        return TopN(*ranker.top_n(None, n, num_threads=self._threads))

    def mixed_ndcg(
        self,
        items: ItemSide,
        half_life: float | None,
        mixtures: list[ItemFactors],
        rows: NDArray[np.int64],
        wanted: ItemSets,
        n: int,
    ) -> list[NDArray[np.float64]]:
        """NDCG@n of what each of these users wants, by each of some mixtures of both parts."""
        pairs, recency = self._pairs.take(rows), self._weights_of(rows, half_life)
        weights = None
        if items.neighbors is not None and any(each.neighbors.any() for each in mixtures):
            weights = sparse_history(*pairs.sets, recency, None, len(items.vectors)), items.neighbors
        users = self._vectors(pairs, recency, items)
        return _native.mixed_ndcg(users, items.vectors, weights, pairs.sets, wanted, mixtures, n, self._threads)

    def _weights_of(self, rows: NDArray[np.int64], half_life: float | None) -> Floats:
        """What the entries of these users weigh, one user after the other."""
        places = places_of_rows(self._pairs.indptr, rows)
        if self._weights is not None and self._weights[0] == half_life:
            return self._weights[1][places]
        times = None if self._times is None else self._times[places]
        shares = None if self._shares is None else self._shares[places]
        lengths = np.diff(self._pairs.indptr)[rows]
        return entry_weights(offsets_from_lengths(lengths), times, half_life, shares)

    def _vectors(self, pairs: Csr, recency: Floats, items: ItemSide) -> Floats:
        return _native.user_vectors(pairs.with_data(recency), items.vectors, items.priors, self._threads)
