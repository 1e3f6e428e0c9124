"""The plain model: users are their histories, item vectors are trained by a softmax over all of a user's items at once.

``rust/core/src/train/softmax`` learns the vectors; here they become what is served. Served item vectors are scaled by a
power of their length, trend and popularity multiply items that sell better lately and that many have, older purchases
weigh less, and the item-item weights come on the vectors' scale (``temporal.py`` has the formulas).
"""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import ModelFileError
from ancf.evaluation import evaluate_scorer, evaluate_top_n
from ancf.evaluation.ground_truth import Known
from ancf.evaluation.metrics import ERROR_METRICS
from ancf.models.ancf.machines import SoftmaxLearner, Users, machines
from ancf.models.ancf.mixtures import MixtureNdcg
from ancf.models.ancf.options import USUAL_RATES, Settings
from ancf.models.ancf.selection import (
    HALF_LIVES,
    INTERESTS,
    NEIGHBOR_WEIGHTS,
    POPULARITY_EXPONENTS,
    SERVING_EXPONENTS,
    TREND_HALF_LIVES,
    TRENDS,
    HeldOut,
    Measure,
    hold_out,
    hold_out_last,
)
from ancf.models.ancf.sides import ItemParts, ItemSide, UserSide, item_factors
from ancf.models.ancf.temporal import (
    PurchaseTimes,
    add_repeat_sources,
    entry_weights,
    recency_weights,
    sparse_history,
)
from ancf.models.ancf.trained import Scales, Trained
from ancf.models.ancf.training_table import TrainingTable
from ancf.scoring.histories import Histories, OneHistory, ones
from ancf.scoring.parts import Arrays, EncodedUsers, Folding
from ancf.scoring.past import Past
from ancf.scoring.purchases import Purchases
from ancf.scoring.results import TopN, TopNOne
from ancf.scoring.scorer import Encoder, Scorer

Floats = NDArray[np.float32]


class ItemVectors(NamedTuple):
    """What training has learned."""

    bare: Floats
    """x, the only numbers that it changes."""
    whole: Floats
    """v, with what comes from the graph of purchases."""


class Mixture(NamedTuple):
    """The parts of the score on one scale."""

    item_vectors: Floats
    item_priors: Floats
    user_vectors: Floats
    neighbors: Csr | None
    history: Csr | None
    recency: Floats
    scales: Scales
    has_factors: bool


def mix(
    parts: ItemParts,
    pairs: Csr,
    purchases: PurchaseTimes,
    settings: Settings,
    measure: Callable[[Floats, Floats, Csr | None], Scales],
) -> Mixture:
    """The item vectors with trend and popularity, user vectors, the item-item weights on the same scale, and what they
    weigh in each history. ``measure`` gives the scales for user vectors, item vectors and weights."""
    n_items = len(parts.vectors)
    if not settings.neighbor_weight:
        parts = parts._replace(neighbors=None)
    vectors, priors, neighbors, has_factors = side = ItemSide.of(parts, pairs, purchases, settings)
    shares = purchases.shares if settings.interest == "given" else None
    histories = _users(pairs, purchases.times, shares, settings.num_threads)
    users = histories.vectors(side, settings.half_life)
    if isinstance(histories, UserSide):
        recency = histories.entry_weights(settings.half_life)
    else:
        recency = entry_weights(pairs.indptr, purchases.times, settings.half_life, shares)
    if neighbors is None and not settings.repeat_weight:
        return Mixture(vectors, priors, users, None, None, recency, Scales(1.0, 0.0), has_factors)
    scales = measure(users, vectors, neighbors)
    if neighbors is not None:
        neighbors = scale_item_weights(neighbors, scales.neighbors)
    repeats = None
    if settings.repeat_weight:
        repeated = ones(n_items) if purchases.repeated is None else purchases.repeated
        neighbors = add_repeat_sources(neighbors or Csr.empty(n_items), n_items, repeated * np.float32(scales.repeats))
        repeats = recency_weights(pairs.indptr, purchases.times, settings.repeat_half_life)
        counts = purchases.counts if shares is None else shares
        if counts is not None:
            repeats = repeats * counts
    history = sparse_history(*pairs.sets, recency, repeats, n_items)
    return Mixture(vectors, priors, users, neighbors, history, recency, scales, has_factors)


_CHOOSING_STEPS, _CHOOSING_RATE = 64, 2.25


def _users(pairs: Csr, times: NDArray[np.int64] | None, shares: Floats | None, num_threads: int | None) -> Users:
    """Users as their histories; those whose entries are parts of purchases are made here."""
    if shares is None:
        return machines().users(pairs, times, num_threads)
    return UserSide(pairs, times, num_threads, shares)


class SoftmaxTrainer:
    """The core's trainer on a table, or on what was not held out of it."""

    mixes_at_once = True

    def __init__(self, table: TrainingTable, settings: Settings, held_out: HeldOut | None = None) -> None:
        self._table, self._settings = table, settings
        self.pairs = table.pairs(held_out)
        self._native: SoftmaxLearner = machines().softmax_learner(
            self.pairs,
            table.n_items,
            {
                "factors": settings.factors,
                "epochs": settings.epochs,
                "batch_size": settings.batch_size,
                "attention": settings.attention,
                "attention_exponent": settings.attention_exponent,
                "item_attention": settings.item_attention,
                "temperature": settings.temperature,
                "negatives": settings.negatives,
                "negative_exponent": settings.negative_exponent,
                "learning_rate": settings.learning_rate,
                "regularization": settings.regularization,
                "spectral_start": settings.spectral_start,
                "seed": settings.random_state,
            },
            settings.num_threads,
        )

    @staticmethod
    def hold_out(table: TrainingTable, settings: Settings) -> HeldOut | None:
        """The purchases on which the open choices are made."""
        data, pairs = table.data, table.matrix.sets
        last = hold_out_last(data, pairs, settings.random_state) if settings.choose_for == "future" else None
        times = None if settings.choose_for == "random" else table.purchase_times.times
        had, threads = data.pair_had(), settings.num_threads
        return last or hold_out(pairs, times, settings.random_state, had, num_threads=threads)

    @staticmethod
    def first_training(held_out: HeldOut, settings: Settings) -> Settings:
        """What a training goes by whose vectors tell what the mixture should be: three sixteenths of the epochs, or
        fewer where these make 64 steps, at a higher rate (docs/measurements/choices.md)."""
        n_active = int(np.count_nonzero(np.diff(held_out.kept.indptr)))
        batch_size = settings.batch_size or max(-(-n_active // 30), 256)
        steps = -(-n_active // batch_size)
        epochs = min(-(-3 * settings.epochs // 16), -(-_CHOOSING_STEPS // steps))
        # Only a rate as "auto" takes it: a higher one may be all that these numbers bear.
        rate, usual = settings.learning_rate, 1.5 * USUAL_RATES[settings.optimizer]
        return replace(settings, epochs=epochs, learning_rate=_CHOOSING_RATE * rate if rate <= usual else rate)

    # ---- learning

    @property
    def batch_size(self) -> int:
        """Users of a step."""
        return self._native.batch_size

    def epoch(self, epoch: int) -> float:
        """One round over the table; the mean loss."""
        return self._native.epoch(epoch, self._settings.num_threads)

    def state(self) -> ItemVectors:
        """The item vectors as they stand."""
        whole = self._native.item_vectors(self._settings.num_threads)
        return ItemVectors(self.progress()[0]["vectors"].reshape(whole.shape), whole)

    def progress(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        """Every number that an epoch changes, by name, and the steps taken."""
        return self._native.progress(self._settings.num_threads)

    def resume(self, numbers: dict[str, NDArray[np.float32]], steps: int) -> None:
        """Go on from what ``progress`` gave."""
        self._native.resume(numbers, steps, self._settings.num_threads)

    def validation_loss(self, targets: Csr) -> float:
        """The mean loss on other pairs of the same users and items."""
        return self._native.validation_loss(targets, self._settings.num_threads)

    # ---- choosing

    def grids(self, held_out: HeldOut, settings: Settings) -> dict[str, tuple[Any, ...]]:
        """What is tried of each part of the mixture; where it is not open, what it is."""
        grids: dict[str, tuple[Any, ...]] = {
            name: grid if there and name in settings.open_choices else (getattr(settings, name),)
            for name, grid, there in (
                ("neighbor_weight", NEIGHBOR_WEIGHTS, True),
                ("serving_exponent", SERVING_EXPONENTS, True),
                ("popularity_exponent", POPULARITY_EXPONENTS, True),
                ("trend", TRENDS, held_out.purchases.events is not None),
                ("trend_half_life", TREND_HALF_LIVES, held_out.purchases.events is not None),
                ("half_life", HALF_LIVES, held_out.purchases.times is not None),
            )
        }
        return {**grids, "interest": INTERESTS} if "interest" in settings.open_choices else grids

    def ndcg_by_mixture(
        self, state: ItemVectors, neighbors: Csr | None, held_out: HeldOut, settings: Settings
    ) -> Measure:
        """For choices of the mixture, NDCG@20 of what was held out of each user who is asked."""
        priors = _native.item_priors(self.pairs, self._table.n_items, settings.attention)
        shares, of_all = held_out.purchases.shares, self._table.purchase_times.shares
        if shares is None and of_all is not None:
            shares = of_all[held_out.places]

        def users_of(shares: Floats | None) -> Users:
            return _users(self.pairs, held_out.purchases.times, shares, settings.num_threads)

        items = ItemSide(state.whole, priors, neighbors, False)
        return MixtureNdcg(items, self.pairs, held_out, settings, users_of, shares)

    def measure(
        self, state: ItemVectors, settings: Settings, validation: Interactions, metric: str, **about: Any
    ) -> float:
        """A metric of the state on a validation table, by its vectors alone."""
        if metric in ERROR_METRICS:
            scorer = self.build_scorer(state, None, replace(settings, repeat_weight=0.0), **about)
            return evaluate_scorer(scorer, validation, [metric], num_threads=settings.num_threads)[metric]
        table, users = self._table, self._all_users
        vectors, scaling = _native.serving_vectors(state.whole, settings.serving_exponent, settings.num_threads)
        priors = _native.item_priors(table.pairs(), table.n_items, settings.attention)
        items = ItemSide.of(ItemParts(vectors, scaling, priors, None), table.pairs(), table.purchase_times, settings)
        known = Known.of_training(table.data, table.matrix.sets)

        def lists(rows: NDArray[np.int64], n: int) -> TopN:
            return users.top_n(items, settings.half_life, rows, n)

        return evaluate_top_n(known, lists, validation, metric, settings.num_threads)

    @cached_property
    def _all_users(self) -> Users:
        return machines().users(self._table.matrix, self._table.purchase_times.times, self._settings.num_threads)

    # ---- serving

    def build_scorer(self, state: ItemVectors, neighbors: Csr | None, settings: Settings, **about: Any) -> Scorer:
        """What answers, over the whole histories of the table."""
        table = self._table
        pairs = table.pairs()
        vectors, scaling = _native.serving_vectors(state.whole, settings.serving_exponent, settings.num_threads)
        priors = _native.item_priors(pairs, table.n_items, settings.attention)
        parts = ItemParts(vectors, scaling, priors, neighbors)
        mixture = mix(parts, pairs, table.purchase_times, settings, self._measure(pairs, settings))
        values = None if parts.neighbors is None else parts.neighbors.data
        trained = Trained(
            mixture.scales,
            state.bare,
            values if mixture.has_factors and settings.neighbor_weight else None,
        )
        half_lives = settings.half_life, settings.repeat_half_life
        encoder = HistoryEncoder(
            mixture.item_priors, mixture.recency, *half_lives, trained, settings.interest == "given"
        )
        return Scorer(
            user_ids=table.data.user_ids,
            item_ids=table.data.item_ids,
            item_names=table.data.item_names,
            item_categories=table.data.item_categories,
            item_features=table.data.item_features,
            user_features=table.data.user_features,
            event_weights=table.data.event_weights,
            purchases=Purchases.from_interactions(table.data),
            seen=pairs.sets,
            item_vectors=mixture.item_vectors,
            user_vectors=mixture.user_vectors,
            encoder=encoder,
            neighbors=mixture.neighbors,
            history=mixture.history,
            **about,
        )

    def _measure(self, pairs: Csr, settings: Settings) -> Callable[[Floats, Floats, Csr | None], Scales]:
        """The scales that make both parts as large."""

        def measure(users: Floats, vectors: Floats, neighbors: Csr | None) -> Scales:
            of_vectors, of_neighbors = self._root_mean_squares(users, vectors, pairs, neighbors)
            ratio = of_vectors / of_neighbors if of_neighbors > 0 else 1.0
            return Scales(settings.neighbor_weight * ratio, settings.repeat_weight * of_vectors)

        return measure

    def _root_mean_squares(
        self, users: Floats, vectors: Floats, pairs: Csr, neighbors: Csr | None
    ) -> tuple[float, float]:
        """Those of the vectors' scores, 1 where all are 0, and of the item-item weights'."""
        weights = neighbors or Csr.empty(self._table.n_items)
        of_vectors, of_neighbors = _native.score_scales(users, vectors, pairs, weights, self._settings.num_threads)
        return (of_vectors if of_vectors > 0 else 1.0), of_neighbors


def scale_item_weights(neighbors: Csr, scale: float) -> Csr:
    """Item-item weights times a number."""
    return neighbors if scale == 1.0 else neighbors.with_data(neighbors.data * np.float32(scale))


class _ServedFactors(NamedTuple):
    """What a model was trained with."""

    trend: float
    trend_half_life: float
    popularity_exponent: float


class HistoryEncoder(Encoder):
    """The user is the history: somebody unknown gets exactly the vector that training would have made."""

    counts_purchases = True

    def __init__(
        self,
        item_priors: Floats,
        recency: Floats,
        half_life: float | None,
        repeat_half_life: float | None,
        trained: Trained | None = None,
        heeds_interest: bool = False,
    ) -> None:
        self.heeds_interest = heeds_interest
        self.item_priors, self.recency, self.trained = item_priors, recency, trained
        self.half_life, self.repeat_half_life = half_life, repeat_half_life

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        indptr, items = histories.indptr, histories.items
        shares = histories.weights if self.heeds_interest else None
        recency = entry_weights(indptr, histories.times, self.half_life, shares)
        vectors = _native.user_vectors((indptr, items, recency), scorer.item_vectors, self.item_priors, num_threads)
        if scorer.neighbors is None:
            return EncodedUsers(vectors)
        n_items = len(scorer.item_vectors)
        repeats = None
        if scorer.neighbors.n_rows > n_items:
            repeats = recency_weights(indptr, histories.times, self.repeat_half_life)
            if histories.weights is not None:
                repeats = repeats * histories.weights
        return EncodedUsers(vectors, sparse_history(indptr, items, recency, repeats, n_items))

    def sees_sets(self, scorer: Scorer, filter_seen: bool) -> bool:
        # What is bought often adds to its own score alone, which a list without it does not show.
        repeats = scorer.neighbors is not None and scorer.neighbors.n_rows > len(scorer.item_vectors)
        return self.half_life is None and not self.heeds_interest and (filter_seen or not repeats)

    def folding(self, scorer: Scorer) -> Folding | None:
        if self.heeds_interest:
            return None
        sets = self.sees_sets(scorer, False), self.sees_sets(scorer, True)
        return Folding(self.item_priors, (self.half_life, self.repeat_half_life), True, sets)

    def top_n_for_items(
        self, scorer: Scorer, history: OneHistory, N: int, filter_seen: bool, num_threads: int | None
    ) -> TopNOne:
        if self.heeds_interest and history.weights is not None:
            return super().top_n_for_items(scorer, history, N, filter_seen, num_threads)
        return TopNOne(
            *scorer.ranker.top_n_for_items(
                *(history.items, N, True, self.item_priors),
                weights=history.weights,
                times=history.times,
                half_lives=(self.half_life, self.repeat_half_life),
                had=history.left_out(filter_seen),
            )
        )

    def at(self, scorer: Scorer, past: Past) -> Scorer:
        """The items with the trend, the popularity and the repetition of that moment; all else of an item is what
        training learned."""
        known, n_items = scorer.purchases, len(scorer.item_ids)
        repeats = scorer.neighbors is not None and scorer.neighbors.n_rows > n_items
        settings = {} if scorer.training is None else scorer.training["settings"]
        served = _ServedFactors(
            settings.get("trend", 0.0), settings.get("trend_half_life", 15.0), settings.get("popularity_exponent", 0.0)
        )
        if known is None or not (served.trend or served.popularity_exponent or repeats):
            return scorer
        tables = (
            past.interactions(scorer.user_ids, scorer.item_ids),
            known.interactions(scorer.user_ids, scorer.item_ids, scorer.seen),
        )
        then, end = (PurchaseTimes.from_interactions(each) for each in tables)
        of_then, of_end = (
            item_factors(each.to_csr().indices, bought, n_items, served)
            for each, bought in zip(tables, (then, end), strict=True)
        )
        change = ones(n_items) if of_then is None or of_end is None else of_then / of_end
        neighbors = scorer.neighbors
        if neighbors is not None:
            by = change[neighbors.indices]
            # Rows beyond the items are repetitions, which have neither trend nor popularity.
            own = slice(neighbors.indptr[n_items], None)
            assert then.repeated is not None
            assert end.repeated is not None
            by[own] = (then.repeated / end.repeated)[neighbors.indices[own]]
            neighbors = neighbors.with_data(neighbors.data * by)
        encoder = self.with_parts(self.item_priors / change, self.trained)
        return replace(scorer, item_vectors=scorer.item_vectors * change[:, None], neighbors=neighbors, encoder=encoder)

    def with_parts(self, item_priors: Floats, trained: Trained | None) -> Self:
        """The same of other items."""
        encoder = copy(self)
        encoder.item_priors, encoder.trained = item_priors, trained
        return encoder

    def history_contributions(
        self, scorer: Scorer, histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """a_uj ⟨v_j, q_i⟩ / ‖p_u‖ for each item j of the history; their sum over j is ⟨p̂_u, q_i⟩."""
        weights = self.item_priors[histories.items] * self._recency_of(scorer, histories, user)
        parts = scorer.item_vectors[histories.items].astype(np.float64) * weights[:, None]
        length = float(np.linalg.norm(parts.sum(axis=0)))
        return inner_products(parts, scorer.item_vectors[items]) / (length if length > 0 else 1.0)

    def attention_weights(self, scorer: Scorer, histories: Histories, user: int | None) -> Floats:
        """The prior by how recent the purchase is. ``item_priors`` also hold lengths that the served vectors lost."""
        recency = self._recency_of(scorer, histories, user)
        if scorer.options.get("attention") == "mean":
            return recency
        n_users = np.bincount(scorer.seen.items, minlength=len(scorer.item_ids))[histories.items]
        return (recency / np.sqrt(np.maximum(n_users, 1))).astype(np.float32)

    def _recency_of(self, scorer: Scorer, histories: Histories, user: int | None) -> Floats:
        """Of each purchase of one history."""
        if user is None:
            shares = histories.weights if self.heeds_interest else None
            return entry_weights(histories.indptr, histories.times, self.half_life, shares)
        return self.recency[scorer.seen.indptr[user] : scorer.seen.indptr[user + 1]]

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        arrays = {"item_priors": self.item_priors}
        if self.half_life is not None or self.heeds_interest:
            arrays["recent"] = self.recency
        more, about = ({}, {}) if self.trained is None else self.trained.to_arrays()
        about = {"half_life": self.half_life, "repeat_half_life": self.repeat_half_life, **about}
        return {**arrays, **more}, {**about, "heeds_interest": True} if self.heeds_interest else about

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
        repeat_half_life = meta.get("repeat_half_life", half_life)
        recency = arrays.get("recent", np.ones(entries, np.float32) if half_life is None else np.empty(0, np.float32))
        well = recency.dtype == np.float32 and recency.shape == (entries,) and bool(np.isfinite(recency).all())
        if not well or not all(each is None or 0 < float(each) < math.inf for each in (half_life, repeat_half_life)):
            raise ModelFileError("model file: what is recent is of another shape or not finite. Load another copy.")
        heeds = meta.get("heeds_interest", False)
        if not isinstance(heeds, bool):
            raise ModelFileError(f"model file: heeds_interest is {heeds!r}. Load another copy.")
        return cls(priors, recency, half_life, repeat_half_life, Trained.from_arrays(arrays, meta), heeds)
