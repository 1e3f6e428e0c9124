"""The plain model: users are their histories, item vectors are trained by a softmax over all of a user's items at once.

``rust/core/src/train/softmax`` learns the vectors; here they become what is served. Served item vectors are scaled by a
power of their length, a trend multiplies items that sell better lately, older purchases weigh less, and the item-item
weights come on the vectors' scale (``temporal.py`` has the formulas).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.errors import ModelFileError
from ancf.models.ancf.options import Settings
from ancf.models.ancf.selection import (
    HALF_LIVES,
    NEIGHBOR_WEIGHTS,
    SERVING_EXPONENTS,
    TREND_HALF_LIVES,
    TRENDS,
    HeldOut,
    hold_out,
    hold_out_last,
)
from ancf.models.ancf.temporal import (
    PurchaseTimes,
    add_repeat_sources,
    recency_weights,
    sparse_history,
    trend_factors,
)
from ancf.models.ancf.training_table import TrainingTable
from ancf.scoring.histories import Histories
from ancf.scoring.purchases import Purchases
from ancf.scoring.results import TopNOne
from ancf.scoring.scorer import Arrays, EncodedUsers, Encoder, Scorer

Floats = NDArray[np.float32]


class ServingVectors(NamedTuple):
    """What serving needs of the vectors: q, and what an item weighs in a history."""

    item_vectors: Floats
    item_priors: Floats


class _Mixture(NamedTuple):
    """The parts of the score on one scale."""

    vectors: ServingVectors
    user_vectors: Floats
    neighbors: Csr | None
    history: Csr | None
    recency: Floats


class SoftmaxTrainer:
    """The core's trainer on a table, or on what was not held out of it."""

    def __init__(self, table: TrainingTable, settings: Settings, held_out: HeldOut | None = None) -> None:
        self._table, self._settings = table, settings
        self.pairs = table.pairs(held_out)
        self._priors = _native.item_priors(self.pairs, table.n_items, settings.attention)
        self._native = _native.SoftmaxTrainer(
            self.pairs,
            table.n_items,
            factors=settings.factors,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            attention=settings.attention,
            attention_exponent=settings.attention_exponent,
            item_attention=settings.item_attention,
            temperature=settings.temperature,
            negatives=settings.negatives,
            negative_exponent=settings.negative_exponent,
            learning_rate=settings.learning_rate,
            regularization=settings.regularization,
            spectral_start=settings.spectral_start,
            seed=settings.random_state,
            num_threads=settings.num_threads,
        )

    @staticmethod
    def hold_out(table: TrainingTable, settings: Settings) -> HeldOut | None:
        """The purchases on which the open choices are made."""
        data, pairs = table.data, table.matrix.sets
        last = hold_out_last(data, pairs, settings.random_state) if settings.choose_for == "future" else None
        times = None if settings.choose_for == "random" else table.purchase_times.times
        return last or hold_out(pairs, times, settings.random_state)

    # ---- learning

    @property
    def batch_size(self) -> int:
        """Users of a step."""
        return self._native.batch_size

    def epoch(self, epoch: int) -> float:
        """One round over the table; the mean loss."""
        return self._native.epoch(epoch, self._settings.num_threads)

    def state(self) -> Floats:
        """The item vectors as they stand."""
        return self._native.item_vectors(self._settings.num_threads)

    def validation_loss(self, targets: Csr) -> float:
        """The mean loss on other pairs of the same users and items."""
        return self._native.validation_loss(targets, self._settings.num_threads)

    # ---- choosing

    def grids(self, held_out: HeldOut, settings: Settings) -> dict[str, tuple[Any, ...]]:
        """What is tried of each part of the mixture; where it is not open, what it is."""
        return {
            name: grid if there and name in settings.open_choices else (getattr(settings, name),)
            for name, grid, there in (
                ("neighbor_weight", NEIGHBOR_WEIGHTS, True),
                ("serving_exponent", SERVING_EXPONENTS, True),
                ("trend", TRENDS, held_out.purchases.events is not None),
                ("trend_half_life", TREND_HALF_LIVES, held_out.purchases.events is not None),
                ("half_life", HALF_LIVES, held_out.purchases.times is not None),
            )
        }

    def ranker_builder(
        self, state: Floats, neighbors: Csr | None, held_out: HeldOut, settings: Settings
    ) -> Callable[[dict[str, Any]], "_native.Ranker"]:
        """For a choice of the mixture, the ranker that it makes of what was not held out."""
        scales: dict[tuple[Any, ...], tuple[float, float]] = {}

        def build(choice: dict[str, Any]) -> "_native.Ranker":
            chosen = replace(settings, **choice, repeat_weight=0.0)
            mixture = self._mix(self.pairs, held_out.purchases, state, neighbors, chosen, scales)
            ranker = _native.Ranker(mixture.vectors.item_vectors, neighbors=mixture.neighbors)
            ranker.set_users(mixture.user_vectors, mixture.history, self.pairs.sets)
            return ranker

        return build

    # ---- serving

    def build_scorer(self, state: Floats, neighbors: Csr | None, settings: Settings, **about: Any) -> Scorer:
        """What answers, over the whole histories of the table."""
        table = self._table
        pairs = table.pairs()
        mixture = self._mix(pairs, table.purchase_times, state, neighbors, settings)
        return Scorer(
            user_ids=table.data.user_ids,
            item_ids=table.data.item_ids,
            item_names=table.data.item_names,
            item_categories=table.data.item_categories,
            purchases=Purchases.from_interactions(table.data),
            seen=pairs.sets,
            item_vectors=mixture.vectors.item_vectors,
            user_vectors=mixture.user_vectors,
            encoder=HistoryEncoder(mixture.vectors.item_priors, mixture.recency, settings.half_life),
            neighbors=mixture.neighbors,
            history=mixture.history,
            **about,
        )

    def _mix(
        self,
        pairs: Csr,
        purchases: PurchaseTimes,
        state: Floats,
        neighbors: Csr | None,
        settings: Settings,
        scales: dict[tuple[Any, ...], tuple[float, float]] | None = None,
    ) -> _Mixture:
        """The item vectors with their trend, user vectors, the item-item weights on the same scale, and what they weigh
        in each history. ``scales`` keeps what does not depend on the weight of the item-item part."""
        n_items, threads = self._table.n_items, settings.num_threads
        vectors, scaling = _native.serving_vectors(state, settings.serving_exponent)
        priors = self._priors * scaling
        trend = trend_factors(purchases, n_items, settings.trend, settings.trend_half_life)
        if trend is not None:
            vectors, priors = vectors * trend[:, None], priors / trend
        served = ServingVectors(vectors, priors)
        recency = recency_weights(pairs.indptr, purchases.times, settings.half_life)
        users = _native.user_vectors(pairs.with_data(recency), vectors, priors, threads)
        if not settings.neighbor_weight:
            neighbors = None
        if neighbors is None and not settings.repeat_weight:
            return _Mixture(served, users, None, None, recency)
        if neighbors is not None and trend is not None:
            neighbors = neighbors.with_data(neighbors.data * trend[neighbors.indices])
        scales = {} if scales is None else scales
        key = (settings.serving_exponent, settings.trend, settings.trend_half_life, settings.half_life)
        if key not in scales:
            scales[key] = _native.score_scales(users, vectors, pairs, neighbors or Csr.empty(n_items), threads)
        of_vectors, of_neighbors = scales[key]
        of_vectors = of_vectors if of_vectors > 0 else 1.0
        if neighbors is not None:
            ratio = of_vectors / of_neighbors if of_neighbors > 0 else 1.0
            neighbors = scale_item_weights(neighbors, settings.neighbor_weight * ratio)
        counts = None
        if settings.repeat_weight:
            repeat_weight = settings.repeat_weight * of_vectors
            neighbors = add_repeat_sources(neighbors or Csr.empty(n_items), n_items, repeat_weight)
            counts = purchases.counts
        history = sparse_history(*pairs.sets, recency, counts, n_items)
        return _Mixture(served, users, neighbors, history, recency)


def scale_item_weights(neighbors: Csr, scale: float) -> Csr:
    """Item-item weights times a number."""
    return neighbors.with_data(neighbors.data * np.float32(scale))


class HistoryEncoder(Encoder):
    """The user is the history: somebody unknown gets exactly the vector that training would have made."""

    def __init__(self, item_priors: Floats, recency: Floats, half_life: float | None) -> None:
        self.item_priors, self.recency, self.half_life = item_priors, recency, half_life

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        indptr, items = histories.indptr, histories.items
        recency = recency_weights(indptr, histories.times, self.half_life)
        vectors = _native.user_vectors((indptr, items, recency), scorer.item_vectors, self.item_priors, num_threads)
        if scorer.neighbors is None:
            return EncodedUsers(vectors)
        n_items = len(scorer.item_vectors)
        counts = histories.weights if scorer.neighbors.n_rows > n_items else None
        return EncodedUsers(vectors, sparse_history(indptr, items, recency, counts, n_items))

    def top_n_for_items(
        self, scorer: Scorer, positions: list[int], N: int, filter_seen: bool, num_threads: int | None
    ) -> TopNOne:
        return TopNOne(*scorer.ranker.top_n_for_items(positions, N, filter_seen, self.item_priors))

    def history_contributions(
        self, scorer: Scorer, histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """a_uj ⟨v_j, q_i⟩ / ‖p_u‖ for each item j of the history; their sum over j is ⟨p̂_u, q_i⟩."""
        if user is None:
            recency = recency_weights(histories.indptr, histories.times, self.half_life)
        else:
            recency = self.recency[scorer.seen.indptr[user] : scorer.seen.indptr[user + 1]]
        weights = self.item_priors[histories.items] * recency
        parts = scorer.item_vectors[histories.items].astype(np.float64) * weights[:, None]
        length = float(np.linalg.norm(parts.sum(axis=0)))
        return inner_products(parts, scorer.item_vectors[items]) / (length if length > 0 else 1.0)

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        arrays = {"item_priors": self.item_priors}
        if self.half_life is not None:
            arrays["recent"] = self.recency
        return arrays, {"half_life": self.half_life}

    @classmethod
    def from_arrays(cls, arrays: Arrays, meta: dict[str, Any]) -> Self:
        """The encoder of a model file, every shape and number checked.

        Raises
        ------
        ModelFileError
        """
        priors = arrays.get("item_priors")
        if priors is None or priors.dtype != np.float32 or priors.shape != (len(arrays["item_vectors"]),):
            raise ModelFileError("model file: item_priors are missing or of another shape. Load another copy.")
        if not np.isfinite(priors).all():
            raise ModelFileError("model file: item_priors hold numbers that are not finite. Load another copy.")
        half_life, entries = meta.get("half_life"), len(arrays["seen.items"])
        recency = arrays.get("recent", np.ones(entries, np.float32) if half_life is None else np.empty(0, np.float32))
        well = recency.dtype == np.float32 and recency.shape == (entries,) and np.isfinite(recency).all()
        if not well or not (half_life is None or 0 < float(half_life) < math.inf):
            raise ModelFileError("model file: what is recent is of another shape or not finite. Load another copy.")
        return cls(priors, recency, half_life)
