"""How ``ANCF`` learns what goes beyond one softmax row per user: other losses, users' own vectors, learned and target
attention, factor attention, output layers, biases.

The model is that of ``ancf.reference``, trained by ``rust/core/src/train/network`` over batches of pairs.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.normalize import Normalizer
from ancf.epochs import Validation, announce, run_epochs
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.models._choose import EXPONENTS, WEIGHTS, HeldOut, best_of, hold_out, ndcg
from ancf.models._pair_options import half_life, plain_cosine, settings_of
from ancf.models._pair_serving import Floats, Parts, additions, attend, fold, mix, scaled, serve
from ancf.models.base import Rows
from ancf.models.network import pair_ages

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.models.ancf import ANCF


class Trainer:
    """The core's trainer with the model's options, on some of the pairs."""

    def __init__(
        self, model: "ANCF", table: "Table", which: NDArray[np.int64] | None, settings: dict[str, Any]
    ) -> None:
        self._model = model
        self._num_threads = model.num_threads
        self.pairs = pairs = table.pairs(which)
        weights = np.ones(len(pairs[1]), np.float32) if not model.use_weights else table.weights
        ages = table.ages
        if which is not None:
            weights = weights[which] if model.use_weights else weights
            ages = None if ages is None else ages[which]
        self._n_users, self._n_items = len(pairs[0]) - 1, table.n_items
        cosine = settings["similarity"] == "cosine"
        self._native = _native.PairTrainer(
            pairs,
            table.n_items,
            {
                "embedding_dim": int(model.factors),
                "attention": model.attention,
                "attention_exponent": float(model.attention_exponent),
                "item_attention": bool(model.item_attention),
                "user_factors": bool(model.user_factors),
                "use_weights": bool(model.use_weights),
                "half_life": half_life(model),
                "factor_attention": bool(model.factor_attention),
                "similarity": settings["similarity"],
                "output": model.output,
                "layer": model.layer,
                "biases": bool(model.biases),
                "loss": model.loss,
                "temperature": settings["temperature"],
                "optimizer": model.optimizer,
                "learning_rate": settings["learning_rate"],
                "regularization": float(model.regularization),
                "start_scale": 1.0 / float(model.factors) ** 0.5 if cosine else 0.1,
                "seed": settings["random_state"],
            },
            weights=weights,
            ages=ages,
            fall_over=settings["epochs"],
            batch_size=settings["batch_size"],
            negatives=settings["negatives"],
            negative_exponent=float(model.negative_exponent),
            user_dropout=float(model.user_dropout),
            spectral_start=model.init == "svd" or (model.init == "auto" and model.loss != "mse"),
            num_threads=model.num_threads,
        )

    def epoch(self, epoch: int) -> float:
        return self._native.epoch(epoch, self._num_threads)

    def validation_loss(self, targets: Rows) -> float:
        return self._native.validation_loss(targets, self._num_threads)

    def state(self) -> Parts:
        """Everything as it stands; arrays are copies."""
        parameters = self._native.parameters()
        d = int(self._model.factors)
        none = np.empty(0, np.float32)
        if self._model.attention == "target":
            items = self._native.item_vectors(self._num_threads)
            users = parameters.get("user_factors", np.zeros((self._n_users, d), np.float32))
            weights = none
        else:
            items, users, weights = self._native.vectors(self._num_threads)
        logits = none
        if self._model.attention != "none":
            logits = _native.item_logits(self.pairs, self._n_items, self._model.attention)
            logits = logits + parameters.get("salience", np.float32(0))
        decay = float(np.exp(np.float64(parameters["log_decay"][0]))) if "log_decay" in parameters else 0.0
        return Parts(items, users, weights, logits, decay, parameters)


class Table:
    """The training table as the trainer wants it."""

    def __init__(self, model: "ANCF", data: "Interactions") -> None:
        self.indptr, self.items, self.weights = data.to_csr()
        self.n_items = data.n_items
        self.normalizer: Normalizer | None = None
        self.targets = np.ones(len(self.items), np.float32)
        if model.loss == "mse":
            kind = data.normalize if model.normalize == "auto" else model.normalize
            self.normalizer = Normalizer(kind).fit(self.weights)
            self.targets = self.normalizer.transform(self.weights).astype(np.float32)
            low, high = float(self.targets.min()), float(self.targets.max())
            if model.output == "sigmoid" and (low < 0 or high > 1):
                raise InvalidParameterError(
                    f'output="sigmoid" predicts numbers from 0 to 1; the normalised quantities run from {low:.4g} to '
                    f'{high:.4g} (normalize={kind!r}). Take normalize="minmax", or output="linear".'
                )
        if model.use_weights and (self.weights <= 0).any():
            at = int(np.flatnonzero(self.weights <= 0)[0])
            user = data.user_ids.values.tolist()[int(np.searchsorted(self.indptr, at, side="right")) - 1]
            item = data.item_ids.values.tolist()[self.items[at]]
            raise InvalidDataError(
                f"use_weights takes the logarithm of the quantities; that of user {user!r} and "
                f"item {item!r} is {self.weights[at]}. Leave such pairs out, or "
                "use_weights=False."
            )
        self.ages: Floats | None = None
        if half_life(model) is not None:
            times = data.pair_times()
            if times is None:
                raise InvalidParameterError(
                    "half_life needs times, which this table does not have. Leave it out, or give a column of times."
                )
            self.ages = pair_ages(self.indptr, times)

    def pairs(self, which: NDArray[np.int64] | None) -> Rows:
        """All pairs, or those at these places, with their targets."""
        if which is None:
            return self.indptr, self.items, self.targets
        running = np.zeros(len(self.items) + 1, np.int64)
        running[which + 1] = 1
        kept = np.cumsum(running)[self.indptr]
        return kept, self.items[which], self.targets[which]


def fit(model: "ANCF", data: "Interactions", validation: "Interactions | None", settings: dict[str, Any]) -> None:
    """Train on a compact table and make the model serve what came of it."""
    table = Table(model, data)
    settings |= settings_of(model, data.n_users, data.n_items, len(table.items))
    open_weight = settings["neighbours"] > 0 and model.neighbour_weight == "auto"
    open_exponent = plain_cosine(model) and model.serving_exponent == "auto"
    if not plain_cosine(model):
        settings["serving_exponent"] = 1.0
    held = None
    if open_weight or open_exponent:
        places = (table.indptr, table.items, np.arange(len(table.items)))
        held = hold_out(places, data.pair_times(), settings["random_state"])  # type: ignore[arg-type]
    if held is not None and not held.negligible:
        first = Trainer(model, table, held.pairs[2].astype(np.int64), settings)
        for epoch in range(settings["epochs"]):
            first.epoch(epoch)
        settings |= _choose(model, first.pairs, first.state(), held, settings)
        held = None
    trainer = Trainer(model, table, None if held is None else held.pairs[2].astype(np.int64), settings)
    announce("Settings", settings, model.verbose)
    metric = "loss" if model.loss == "mse" and model.validation_metric == "auto" else model._metric
    outcome = run_epochs(
        trainer,
        settings["epochs"],
        validate=None if validation is None else _validator(model, data, table, trainer, settings, validation, metric),
        metric=metric,
        patience=model.patience,
        verbose=model.verbose,
        show_progress=model.show_progress,
    )
    if held is not None:
        chosen = _choose(model, trainer.pairs, outcome.state, held, settings)
        settings |= chosen
        announce("Chosen", chosen, model.verbose)
    ridge = model._ridge(_ones(trainer.pairs), data.n_items, settings)
    serve(model, data, table, _complete(model, table, trainer, outcome.state), ridge, settings)
    model.normalizer_ = table.normalizer
    model.history_ = {**outcome.history, "best_epoch": outcome.best_epoch, "settings": settings}


def _ones(pairs: Rows) -> Rows:
    return pairs[0], pairs[1], np.ones(len(pairs[1]), np.float32)


def _complete(model: "ANCF", table: Table, trainer: Trainer, parts: Parts) -> Parts:
    """Where a few purchases were held out for choosing: users and weights over the whole histories."""
    if len(trainer.pairs[1]) == len(table.items) or model.attention in ("none", "target"):
        return parts
    histories = (table.indptr, table.items, additions(model, parts.decay, table.weights, table.ages))
    weights, sums = attend(model, histories, parts)
    own = parts.parameters.get("user_factors")
    if own is None:
        return parts._replace(user_vectors=scaled(model, sums), weights=weights)
    if "query" in parts.parameters:
        # Their questions are their own: the trainer alone knows their weights, so they keep what they learned with.
        return parts
    return parts._replace(user_vectors=scaled(model, sums + own), weights=weights)


def _choose(model: "ANCF", pairs: Rows, parts: Parts, held: HeldOut, settings: dict[str, Any]) -> dict[str, float]:
    """The weight of the item-item part and the serving exponent that rank the held-out purchases best."""
    n_items = len(parts.item_vectors)
    ridge = model._ridge(_ones(pairs), n_items, settings)

    def measure(choice: dict[str, Any]) -> NDArray[np.float64]:
        folded = fold(model, parts, choice["serving_exponent"])
        mixed, history = mix(model, folded, _ones(pairs), ridge, choice["neighbour_weight"])
        ranker = _native.Ranker(folded.item_vectors, neighbours=mixed)
        ranker.set_users(folded.user_vectors, history, (pairs[0], pairs[1]))
        return ndcg(ranker, held, n_items, model.num_threads)

    weights = WEIGHTS if model.neighbour_weight == "auto" else (float(model.neighbour_weight),)
    exponents: tuple[float, ...] = (settings["serving_exponent"],)
    if plain_cosine(model) and model.serving_exponent == "auto":
        exponents = EXPONENTS
    grids = {"neighbour_weight": weights if ridge is not None else (0.0,), "serving_exponent": exponents}
    return best_of(held, measure, grids, settings)


def _validator(
    model: "ANCF",
    data: "Interactions",
    table: Table,
    trainer: Trainer,
    settings: dict[str, Any],
    validation: "Interactions",
    metric: str,
) -> Any:
    from ancf.evaluation import evaluate

    targets = validation_pairs(data, validation, table.normalizer)
    probe = model.clone()

    def validate(parts: Parts) -> Validation:
        loss = trainer.validation_loss(targets)
        if metric == "loss":
            return Validation(loss, -loss)
        serve(probe, data, table, _complete(model, table, trainer, parts), None, settings)
        probe.normalizer_ = table.normalizer
        return Validation(loss, evaluate(probe, validation, [metric])[metric])

    return validate


def validation_pairs(data: "Interactions", validation: "Interactions", normalizer: Normalizer | None) -> Rows:
    """Validation pairs by the positions of training: all of them for quantities, the new ones for lists."""
    indptr, items, weights = validation.to_csr()
    users = data.user_ids.positions(validation.user_ids.values)[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))]
    wanted = data.item_ids.positions(validation.item_ids.values)[items]
    keep = (users >= 0) & (wanted >= 0)
    keys = users[keep] * data.n_items + wanted[keep]
    values = weights[keep] if normalizer is None else normalizer.transform(weights[keep])
    if normalizer is None:
        seen_indptr, seen_items, _ = data.to_csr()
        seen = np.repeat(np.arange(data.n_users), np.diff(seen_indptr)) * data.n_items + seen_items
        new = ~np.isin(keys, seen)
        keys, values = keys[new], values[new]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    rows = np.zeros(data.n_users + 1, np.int64)
    np.cumsum(np.bincount(keys // data.n_items, minlength=data.n_users), out=rows[1:])
    return rows, (keys % data.n_items).astype(np.int32), values[order].astype(np.float32)
