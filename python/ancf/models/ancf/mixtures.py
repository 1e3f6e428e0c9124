"""What many mixtures of the same two parts of a score are worth to those who are asked.

    score(u, i) = a_i ⟨p_u, v_i⟩ + b_i n_u^-½ Σ_{j∈N(u)} τ_uj c_ji
    a_i = ‖v_i‖^(p − 1) f_i,   b_i = κ s f_i

f is the trend times the popularity of an item, and s the ratio of the root mean squares of both parts, as in what is
served (``softmax.py``). A user is a unit vector, which neither p nor f changes. So mixtures that differ in no half-life
are factors of the same sums, which are made once for all of them, and each costs little beside the first.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.models.ancf.machines import Users
from ancf.models.ancf.options import Settings
from ancf.models.ancf.selection import CUT_OFF, EVERYBODY, Choice, HeldOut
from ancf.models.ancf.sides import Factors, Floats, ItemFactors, ItemSide, item_factors
from ancf.models.ancf.temporal import powers


class MixtureNdcg:
    """For some choices of the mixture, NDCG@20 of what was held out of each user who is asked.

    ``items``: bare vectors, priors and item-item weights. ``users_of``: the users, with what each entry of a history is
    in purchases, or each as much as a purchase.
    """

    def __init__(
        self,
        items: ItemSide,
        pairs: Csr,
        held_out: HeldOut,
        settings: Settings,
        users_of: Callable[[Floats | None], Users],
        shares: Floats | None,
    ) -> None:
        self._items, self._pairs, self._held_out, self._settings = items, pairs, held_out, settings
        self._users = {"equal": users_of(None)}
        if shares is not None:
            self._users["given"] = users_of(shares)
        _, self._lengths = _native.serving_vectors(items.vectors, 0.0, settings.num_threads)
        self._powers: dict[float, Floats] = {}
        self._of_vectors: dict[tuple[Any, ...], NDArray[np.float64]] = {}
        self._of_neighbors: NDArray[np.float64] | None = None
        self._of_items: dict[tuple[float, ...], Floats] = {}
        self._parts: dict[tuple[Any, ...], HeldOut] = {}
        self._found: dict[tuple[Any, ...], NDArray[np.float64]] = {}

    def __call__(self, choices: list[Choice], asked: slice = EVERYBODY) -> list[NDArray[np.float64]]:
        """That by each choice."""
        all_chosen = [replace(self._settings, **choice) for choice in choices]
        part = asked.start, asked.step
        new = {key: chosen for chosen in all_chosen if (key := (part, *_mixture(chosen))) not in self._found}
        if part not in self._parts:
            self._parts[part] = self._held_out.take(asked)
        held_out = self._parts[part]
        for half_life, interest in dict.fromkeys(map(_of_users, new.values())):
            own = {key: chosen for key, chosen in new.items() if _of_users(chosen) == (half_life, interest)}
            factors = [self._factors(chosen) for chosen in own.values()]
            of_items, rows, wanted = self._items, held_out.users, held_out.truth
            found = self._users[interest].mixed_ndcg(of_items, half_life, factors, rows, wanted, CUT_OFF)
            self._found.update(zip(own, found, strict=True))
        return [self._found[part, *_mixture(chosen)] for chosen in all_chosen]

    def _factors(self, chosen: Settings) -> ItemFactors:
        both = self._trend_and_popularity(chosen)
        of_vectors = self._lengths_to(chosen.serving_exponent - 1) * both
        scale = 0.0
        if self._items.neighbors is not None and chosen.neighbor_weight:
            scale = chosen.neighbor_weight * self._ratio(chosen, of_vectors, both, self._items.neighbors)
        return ItemFactors(of_vectors, both * np.float32(scale))

    def _lengths_to(self, exponent: float) -> Floats:
        if exponent not in self._powers:
            self._powers[exponent] = powers(self._lengths, exponent)
        return self._powers[exponent]

    def _trend_and_popularity(self, factors: Factors) -> Floats:
        key = factors.trend, factors.trend_half_life, factors.popularity_exponent
        if key not in self._of_items:
            n_items = len(self._items.vectors)
            found = item_factors(self._pairs.indices, self._held_out.purchases, n_items, factors)
            self._of_items[key] = np.ones(n_items, np.float32) if found is None else found
        return self._of_items[key]

    def _ratio(self, chosen: Settings, of_vectors: Floats, both: Floats, neighbors: Csr) -> float:
        """The scale at which the item-item weights contribute as much as the vectors."""
        threads, key = chosen.num_threads, _of_users(chosen)
        if key not in self._of_vectors:
            parts = self._users[chosen.interest].gram_parts(self._items, chosen.half_life)
            self._of_vectors[key] = _native.vector_mean_squares(parts, self._pairs.n_rows, self._items.vectors, threads)
        if self._of_neighbors is None:
            n_items = len(self._items.vectors)
            self._of_neighbors = _native.neighbor_mean_squares(self._pairs, neighbors, n_items, threads)
        upper = _root_mean_square(of_vectors, self._of_vectors[key])
        lower = _root_mean_square(both, self._of_neighbors)
        return (upper if upper > 0 else 1.0) / lower if lower > 0 else 1.0


def _mixture(chosen: Settings) -> tuple[Any, ...]:
    """What tells one mixture from another; without a trend its half-life does not."""
    trend = (chosen.trend, chosen.trend_half_life) if chosen.trend else ()
    return chosen.neighbor_weight, chosen.serving_exponent, chosen.popularity_exponent, *trend, *_of_users(chosen)


def _of_users(chosen: Settings) -> tuple[float | None, str]:
    """What of a choice changes the sums over histories."""
    return chosen.half_life, chosen.interest


def _root_mean_square(factors: Floats, mean_squares: NDArray[np.float64]) -> float:
    """That of scores whose mean squares without the factors have these parts in each item."""
    wide = factors.astype(np.float64)
    return float(np.sqrt(inner_products((wide * wide)[None], mean_squares[None])[0, 0]))
