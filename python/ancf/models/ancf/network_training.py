"""What goes beyond one softmax row per user: other losses, users' own vectors, learned and target attention, factor
attention, output layers, biases.

The model is that of ``ancf.reference``, trained by ``rust/core/src/train/network`` over batches of pairs.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.evaluation import evaluate_scorer
from ancf.models.ancf.network_encoder import (
    NetworkEncoder,
    NetworkState,
    ServingTables,
    attend,
    logit_offsets,
    normalized,
    to_serving_tables,
)
from ancf.models.ancf.options import Settings
from ancf.models.ancf.selection import (
    CUT_OFF,
    EVERYBODY,
    NEIGHBOR_WEIGHTS,
    SERVING_EXPONENTS,
    Choice,
    HeldOut,
    Measure,
    hold_out,
    ndcg,
)
from ancf.models.ancf.softmax import scale_item_weights
from ancf.models.ancf.temporal import sparse_history
from ancf.models.ancf.training_table import TrainingTable
from ancf.scoring.purchases import Purchases
from ancf.scoring.results import TopN
from ancf.scoring.scorer import Scorer


class NetworkTrainer:
    """The core's trainer on a table, or on what was not held out of it."""

    mixes_at_once = False

    def __init__(self, table: TrainingTable, settings: Settings, held_out: HeldOut | None = None) -> None:
        self._table, self._settings = table, settings
        self.pairs = table.pairs(held_out)
        weights = table.matrix.data if settings.use_weights else np.ones(len(table.matrix.indices), np.float32)
        ages = table.ages
        if held_out is not None:
            weights = weights[held_out.places]
            ages = None if ages is None else ages[held_out.places]
        cosine = settings.similarity == "cosine"
        self.batch_size = _batch_size(table, settings)
        self._native = _native.NetworkTrainer(
            self.pairs,
            table.n_items,
            {
                "embedding_dim": settings.factors,
                "attention": settings.attention,
                "attention_exponent": settings.attention_exponent,
                "item_attention": settings.item_attention,
                "user_factors": settings.user_factors,
                "use_weights": settings.use_weights,
                "half_life": settings.half_life,
                "factor_attention": settings.factor_attention,
                "similarity": settings.similarity,
                "output": settings.output,
                "layer": settings.layer,
                "biases": settings.biases,
                "loss": settings.loss,
                "temperature": settings.temperature,
                "optimizer": settings.optimizer,
                "learning_rate": settings.learning_rate,
                "regularization": settings.regularization,
                "init_scale": 1.0 / float(settings.factors) ** 0.5 if cosine else 0.1,
                "seed": settings.random_state,
            },
            weights=weights,
            ages=ages,
            decay_epochs=settings.epochs,
            batch_size=self.batch_size,
            negatives=settings.negatives,
            negative_exponent=settings.negative_exponent,
            user_dropout=settings.user_dropout,
            spectral_start=settings.spectral_start,
            num_threads=settings.num_threads,
        )

    @staticmethod
    def hold_out(table: TrainingTable, settings: Settings) -> HeldOut | None:
        """The purchases on which the open choices are made."""
        times = None if settings.choose_for == "random" else table.purchase_times.times
        had, threads = table.data.pair_had(), settings.num_threads
        return hold_out(table.matrix.sets, times, settings.random_state, had, num_threads=threads)

    @staticmethod
    def first_training(held_out: HeldOut, settings: Settings) -> Settings:
        """What a training goes by after which the mixture can be chosen: with half of the epochs it is as good as with
        all (docs/measurements/choices.md)."""
        return replace(settings, epochs=-(-settings.epochs // 2))

    # ---- learning

    def epoch(self, epoch: int) -> float:
        """One round over the pairs; the mean loss."""
        return self._native.epoch(epoch, self._settings.num_threads)

    def progress(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        """Every number that an epoch changes, by name, and the steps taken."""
        return self._native.progress(self._settings.num_threads)

    def resume(self, numbers: dict[str, NDArray[np.float32]], steps: int) -> None:
        """Go on from what ``progress`` gave."""
        self._native.resume(numbers, steps, self._settings.num_threads)

    def validation_loss(self, targets: Csr) -> float:
        """The mean loss on other pairs of the same users and items."""
        return self._native.validation_loss(targets, self._settings.num_threads)

    def state(self) -> NetworkState:
        """Everything as it stands; arrays are copies."""
        settings, parameters = self._settings, self._native.parameters()
        none = np.empty(0, np.float32)
        if settings.attention == "target":
            items = self._native.item_vectors(settings.num_threads)
            no_own = np.zeros((self.pairs.n_rows, settings.factors), np.float32)
            users, weights = parameters.get("user_factors", no_own), none
        else:
            items, users, weights = self._native.vectors(settings.num_threads)
        logits = none
        if settings.attention != "none":
            logits = _native.item_logits(self.pairs, self._table.n_items, settings.attention)
            logits = logits + parameters.get("salience", np.float32(0))
        decay = float(np.exp(np.float64(parameters["log_decay"][0]))) if "log_decay" in parameters else 0.0
        return NetworkState(items, users, weights, logits, decay, parameters)

    # ---- choosing

    def grids(self, held_out: HeldOut, settings: Settings) -> dict[str, tuple[Any, ...]]:
        """What is tried of each part of the mixture; where it is not open, what it is."""
        grids: dict[str, tuple[Any, ...]] = {
            name: grid if name in settings.open_choices else (getattr(settings, name),)
            for name, grid in (("neighbor_weight", NEIGHBOR_WEIGHTS), ("serving_exponent", SERVING_EXPONENTS))
        }
        return grids if settings.neighbors else {**grids, "neighbor_weight": (0.0,)}

    def ndcg_by_mixture(
        self, state: NetworkState, neighbors: Csr | None, held_out: HeldOut, settings: Settings
    ) -> Measure:
        """For choices of the mixture, NDCG@20 of what was held out of each user who is asked."""

        def measure(choice: Choice, asked: HeldOut) -> NDArray[np.float64]:
            users = asked.users
            chosen = replace(settings, **choice)
            tables = to_serving_tables(state, chosen)
            mixed, history = _mix(tables, self.pairs, neighbors, chosen)
            ranker = _native.Ranker(tables.item_vectors, neighbors=mixed)
            of_asked = None if history is None else history.take(users)
            ranker.set_users(tables.user_vectors[users], of_asked, self.pairs.sets.take(users))
            top = TopN(*ranker.top_n(None, CUT_OFF, num_threads=settings.num_threads))
            return ndcg(top, asked, len(tables.item_vectors), settings.num_threads)

        def of_some(choices: list[Choice], asked: slice = EVERYBODY) -> list[NDArray[np.float64]]:
            return [measure(choice, held_out.take(asked)) for choice in choices]

        return of_some

    def measure(
        self, state: NetworkState, settings: Settings, validation: Interactions, metric: str, **about: Any
    ) -> float:
        """A metric of the state on a validation table, without item-item weights."""
        scorer = self.build_scorer(state, None, settings, **about)
        return evaluate_scorer(scorer, validation, [metric], num_threads=settings.num_threads)[metric]

    # ---- serving

    def build_scorer(self, state: NetworkState, neighbors: Csr | None, settings: Settings, **about: Any) -> Scorer:
        """What answers, over the whole histories of the table."""
        table = self._table
        state = self._over_whole_histories(state)
        tables = to_serving_tables(state, settings)
        mixed, history = _mix(tables, table.pairs(), neighbors, settings)
        head = "inner"
        if tables.target is not None:
            head = "target_attention"
            history = table.matrix.with_data(logit_offsets(settings, state.decay, table.matrix.data, table.ages))
        elif tables.sharpness is not None:
            head = "factor_attention"
        return Scorer(
            user_ids=table.data.user_ids,
            item_ids=table.data.item_ids,
            item_names=table.data.item_names,
            item_categories=table.data.item_categories,
            item_features=table.data.item_features,
            user_features=table.data.user_features,
            event_weights=table.data.event_weights,
            purchases=Purchases.from_interactions(table.data),
            seen=table.matrix.sets,
            item_vectors=tables.item_vectors,
            user_vectors=tables.user_vectors,
            encoder=NetworkEncoder(settings, state, table.normalizer),
            neighbors=mixed,
            history=history,
            head=head,
            sharpness=tables.sharpness,
            item_bias=tables.item_bias,
            target=tables.target,
            user_shift=tables.user_shift,
            link="sigmoid" if settings.output == "sigmoid" else "identity",
            **about,
        )

    def _over_whole_histories(self, state: NetworkState) -> NetworkState:
        """Where a few purchases were held out for choosing: users and attention weights over all of their purchases."""
        table, settings = self._table, self._settings
        if len(self.pairs.indices) == len(table.matrix.indices) or settings.attention in ("none", "target"):
            return state
        histories = table.matrix.with_data(logit_offsets(settings, state.decay, table.matrix.data, table.ages))
        weights, sums = attend(settings, histories, state, settings.num_threads)
        own = state.parameters.get("user_factors")
        if own is None:
            return state._replace(user_vectors=normalized(settings, sums), weights=weights)
        if "query" in state.parameters:
            # The queries of these users are their own: the trainer alone knows their attention, and only over what it
            # learned from. They keep their vectors; what each purchase adds to these is not known.
            return state._replace(weights=np.empty(0, np.float32))
        return state._replace(user_vectors=normalized(settings, sums + own), weights=weights)


def _mix(tables: ServingTables, pairs: Csr, neighbors: Csr | None, settings: Settings) -> tuple[Csr | None, Csr | None]:
    """The item-item weights on the vectors' scale, and what they weigh in each history."""
    if neighbors is None or not settings.neighbor_weight:
        return None, None
    ones = np.ones(len(pairs.indices), np.float32)
    of_vectors, of_neighbors = _native.score_scales(
        tables.user_vectors, tables.item_vectors, pairs.with_data(ones), neighbors, settings.num_threads
    )
    ratio = of_vectors / of_neighbors if of_neighbors > 0 and of_vectors > 0 else 1.0
    mixed = scale_item_weights(neighbors, settings.neighbor_weight * ratio)
    return mixed, sparse_history(*pairs.sets, ones, None, len(tables.item_vectors))


def _batch_size(table: TrainingTable, settings: Settings) -> int:
    """Without a number: a step propagates over the whole graph with item attention, so few, large steps."""
    if settings.batch_size is not None:
        return settings.batch_size
    if settings.loss == "softmax":
        return max(256, -(-table.data.n_users // 30))
    return max(1024, -(-len(table.matrix.indices) // 100)) if settings.item_attention else 1024
