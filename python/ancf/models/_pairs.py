"""How ``ANCF`` learns and serves what goes beyond one softmax row per user: other losses, users' own vectors, learned
and target attention, factor attention, output layers, biases.

The model is that of ``ancf.reference``, trained by ``rust/core/src/train/network``. Afterwards everything is folded
into what the ranker knows, so that one scorer answers for all options:

    inner product     items [v_i, c_i], users [p_u, 1], shift c_u + c           (sigmoid output: h ⊙ v_i, and h₀ + c)
    factor attention  items h ⊙ v_i, sharpness g / h, item bias c_i, shift as above   (linear output: h = 1)
    concatenation     items [v_i, ⟨h_q, v_i⟩ + c_i], users [0, 1], shift ⟨h_p, p_u⟩ + c_u + h₀ + c
    target attention  items v_i, users z_u, keys B x_j / √d, queries C x_i, logits −½ log n_j + s_j, histories
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.errors import InvalidDataError, InvalidParameterError, ModelFileError
from ancf.models._asking import Histories
from ancf.models._checks import check_choice, check_flag, check_number
from ancf.models._choose import EXPONENTS, WEIGHTS, HeldOut, best, hold_out, ndcg
from ancf.models.base import Rows, Target
from ancf.models.network import pair_ages
from ancf.preprocess import NORMALIZERS, Normalizer
from ancf.train import Validation, run_epochs

if TYPE_CHECKING:
    from ancf.interactions import Interactions
    from ancf.models.ancf import ANCF

Floats = NDArray[np.float32]

LOSSES = ("softmax", "mse", "bce", "bpr")
ATTENTION = ("none", "mean", "degree", "learned", "target")

# Below this a layer's weight is taken for it: g / h has to stay finite, and the feature is nothing either way.
_LEAST_WEIGHT = 1e-12

# Purchases held out for choosing that training can do without: a larger part is learned from in a second run.
_NEGLIGIBLE = 0.01


class Parts(NamedTuple):
    """A trained state: all that serving is made of."""

    item_vectors: Floats
    """v (n_items, d)."""
    user_vectors: Floats
    """p (n_users, d), unit with the cosine; with target attention z."""
    weights: Floats
    """a of each entry of the histories; none with target attention."""
    item_logits: Floats
    """−½ log n_j + s_j, what a bare history's attention needs."""
    decay: float
    """ρ, by which a day lowers a logit."""
    parameters: dict[str, Floats]


# ---- options


def needed(model: "ANCF") -> bool:
    """Whether these options go beyond one softmax row per user."""
    return not (
        model.loss == "softmax"
        and model.optimizer == "adam"
        and model.attention in ("mean", "degree")
        and model.output == "linear"
        and model.similarity in ("auto", "cosine")
        and not (model.user_factors or model.factor_attention or model.biases)
    )


def check(model: "ANCF") -> None:
    """Refuse values and combinations that make no sense, by name and with the way out."""
    for name, choices in (
        ("loss", LOSSES),
        ("optimizer", ("adam", "adagrad", "sgd")),
        ("attention", ATTENTION),
        ("output", ("linear", "sigmoid")),
        ("layer", ("product", "concat")),
        ("similarity", ("auto", "product", "cosine")),
        ("normalize", ("auto", *NORMALIZERS)),
    ):
        if name == "attention" and model.attention == "batch":
            raise InvalidParameterError(
                'attention="batch" makes a prediction depend on which others are asked for with it, so nothing can be '
                'ranked by it. Take factor_attention=True, or ancf.ANCFModel(attention="batch").'
            )
        check_choice(name, getattr(model, name), choices)
    for name in ("factor_attention", "user_factors", "biases", "use_weights"):
        check_flag(name, getattr(model, name))
    check_number("user_dropout", model.user_dropout, 0.0, 0.99)
    if model.half_life is not None:
        check_number("half_life", model.half_life, 0.0, np.inf, above=True, words="None or ")
    _check_belonging(model)
    _check_combinations(model)


def _check_belonging(model: "ANCF") -> None:
    """An option that the others leave without effect is refused rather than passed over."""
    learns = model.attention in ("learned", "target")
    for name, applies, where in (
        ("temperature", model.loss == "softmax", 'loss="softmax"'),
        ("negatives", model.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("negative_exponent", model.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("normalize", model.loss == "mse", 'loss="mse", the only one that reads quantities'),
        ("use_weights", learns, 'attention="learned" or "target"'),
        ("half_life", learns, 'attention="learned" or "target"'),
        ("user_dropout", model.user_factors, "user_factors=True"),
        ("layer", model.output == "sigmoid", 'output="sigmoid"'),
        ("serving_exponent", plain_cosine(model), 'the plain cosine (similarity="cosine", output="linear")'),
        ("attention_exponent", model.attention != "none" or model.item_attention, "some attention over histories"),
    ):
        value, default = getattr(model, name), model._default(name)
        if not applies and value != default:
            raise InvalidParameterError(f"{name}={value!r} has no effect here: it belongs to {where}. Leave it out.")


def _check_combinations(model: "ANCF") -> None:
    concat = model.output == "sigmoid" and model.layer == "concat"
    plain = model.output == "linear" and not model.factor_attention
    asked = model.neighbours not in ("auto", 0)
    target = model.attention == "target"
    for wrong, message in (
        (
            model.attention == "none" and not model.user_factors,
            'attention="none" without user_factors leaves nothing of a user. Set user_factors=True, or take "degree".',
        ),
        (
            model.factor_attention and concat,
            'factor_attention weighs the product, which layer="concat" does not have. Take layer="product".',
        ),
        (
            concat and model.loss in ("bpr", "softmax"),
            f"layer=\"concat\" adds a user's part and an item's part, of which loss={model.loss!r} sees the item's "
            'alone. Take layer="product", or loss="mse" or "bce".',
        ),
        (
            target and not plain,
            'attention="target" is ranked exactly by inner products. Take output="linear" and factor_attention=False, '
            'or attention="learned"; ancf.ANCFModel scores single pairs with all of them.',
        ),
        (
            target and model.similarity == "cosine",
            'attention="target" gives each candidate a user of another length, so similarity="cosine" has no one user '
            'to divide. Take similarity="product".',
        ),
        (
            asked and (target or not plain),
            f"neighbours={model.neighbours} adds item-item weights to an inner product; with factor attention, target "
            "attention or a sigmoid output there is none. Take neighbours=0.",
        ),
    ):
        if wrong:
            raise InvalidParameterError(message)


def plain_cosine(model: "ANCF") -> bool:
    """Whether the score is learned as a cosine, and served with another power of the items' lengths."""
    return similarity(model) == "cosine" and model.output == "linear" and not model.factor_attention


def similarity(model: "ANCF") -> str:
    """auto: the cosine for the plain softmax, which needs bounded scores; the product otherwise."""
    if model.similarity != "auto":
        return model.similarity
    plain = model.output == "linear" and not (model.factor_attention or model.biases)
    return "cosine" if model.loss == "softmax" and plain and model.attention != "target" else "product"


def neighbours(model: "ANCF") -> int:
    """auto: item-item weights where lists are learned and the score is a plain inner product."""
    if model.neighbours != "auto":
        return int(model.neighbours)
    plain = model.output == "linear" and not model.factor_attention and model.attention != "target"
    return 100 if plain and model.loss != "mse" else 0


def settings_of(model: "ANCF", n_users: int, n_items: int, n_pairs: int) -> dict[str, Any]:
    """What ``auto`` becomes for this training; measured in ``docs/quality.md``."""
    negatives, batch_size, rate = model.negatives, model.batch_size, model.learning_rate
    if negatives == "auto":
        negatives = {"bpr": 1, "bce": 4, "mse": 1}.get(model.loss, 0)
        if not negatives:
            negatives = 256 if model.attention == "target" else 1024 if model.factor_attention else 4096
    if batch_size == "auto":
        # A step takes in the whole graph with item attention: few, large steps.
        if model.loss == "softmax":
            batch_size = max(256, -(-n_users // 30))
        else:
            batch_size = max(1024, -(-n_pairs // 100)) if model.item_attention else 1024
    if rate == "auto":
        rate = {"adam": 0.02, "adagrad": 0.1, "sgd": 1.0}[model.optimizer]
    return {
        "negatives": int(negatives),
        "batch_size": int(batch_size),
        "learning_rate": float(rate),
        "similarity": similarity(model),
        "neighbours": neighbours(model),
    }


# ---- learning


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
                "half_life": None if model.half_life is None else float(model.half_life),
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
            fall_over=int(model.epochs),
            batch_size=settings["batch_size"],
            negatives=settings["negatives"],
            negative_exponent=float(model.negative_exponent),
            user_dropout=float(model.user_dropout),
            spectral_start=model.init == "svd",
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
            user = int(np.searchsorted(self.indptr, at, side="right")) - 1
            raise InvalidDataError(
                f"use_weights takes the logarithm of the quantities; that of user {data.user_ids.values[user]!r} and "
                f"item {data.item_ids.values[self.items[at]]!r} is {self.weights[at]}. Leave such pairs out, or "
                "use_weights=False."
            )
        self.ages: Floats | None = None
        if model.half_life is not None:
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
    if held is not None and held.share > _NEGLIGIBLE:
        first = Trainer(model, table, held.pairs[2].astype(np.int64), settings)
        for epoch in range(model.epochs):
            first.epoch(epoch)
        settings |= _choose(model, first.pairs, first.state(), held, settings)
        held = None
    trainer = Trainer(model, table, None if held is None else held.pairs[2].astype(np.int64), settings)
    if model.verbose:
        print("Settings: " + ", ".join(f"{name}={value}" for name, value in sorted(settings.items())), flush=True)
    metric = "loss" if model.loss == "mse" and model.validation_metric == "auto" else model._metric
    outcome = run_epochs(
        trainer,
        model.epochs,
        validate=None if validation is None else _validator(model, data, table, trainer, settings, validation, metric),
        metric=metric,
        patience=model.patience,
        verbose=model.verbose,
        show_progress=model.show_progress,
    )
    if held is not None:
        chosen = _choose(model, trainer.pairs, outcome.state, held, settings)
        settings |= chosen
        if model.verbose and chosen:
            print("Chosen: " + ", ".join(f"{name}={value}" for name, value in sorted(chosen.items())), flush=True)
    ridge = model._ridge(_ones(trainer.pairs), data.n_items)
    serve(model, data, table, _complete(model, table, trainer, outcome.state), ridge, settings)
    model.normalizer_ = table.normalizer
    model.history_ = {**outcome.history, "best_epoch": outcome.best_epoch, "settings": settings}


def _ones(pairs: Rows) -> Rows:
    return pairs[0], pairs[1], np.ones(len(pairs[1]), np.float32)


def _complete(model: "ANCF", table: Table, trainer: Trainer, parts: Parts) -> Parts:
    """Where a few purchases were held out for choosing: users and weights over the whole histories."""
    if len(trainer.pairs[1]) == len(table.items) or model.attention in ("none", "target"):
        return parts
    histories = (table.indptr, table.items, _additions(model, parts.decay, table.weights, table.ages))
    weights, sums = _attend(model, histories, parts)
    own = parts.parameters.get("user_factors")
    if own is None:
        return parts._replace(user_vectors=_scaled(model, sums), weights=weights)
    if "query" in parts.parameters:
        # Their questions are their own: the trainer alone knows their weights, so they keep what they learned with.
        return parts
    return parts._replace(user_vectors=_scaled(model, sums + own), weights=weights)


def _choose(model: "ANCF", pairs: Rows, parts: Parts, held: HeldOut, settings: dict[str, Any]) -> dict[str, float]:
    """The weight of the item-item part and the serving exponent that rank the held-out purchases best."""
    n_items = len(parts.item_vectors)
    ridge = model._ridge(_ones(pairs), n_items)

    def measure(weight: float, exponent: float) -> float:
        folded = fold(model, parts, exponent)
        mixed, history = mix(model, folded, _ones(pairs), ridge, weight)
        ranker = _native.Ranker(folded.item_vectors, neighbours=mixed)
        ranker.set_users(folded.user_vectors, history, (pairs[0], pairs[1]))
        return ndcg(ranker, held, n_items, model.num_threads)

    weights = WEIGHTS if model.neighbour_weight == "auto" else (float(model.neighbour_weight),)
    exponents: tuple[float, ...] = (settings["serving_exponent"],)
    if plain_cosine(model) and model.serving_exponent == "auto":
        exponents = EXPONENTS
    weight, exponent = best(measure, weights if ridge is not None else (0.0,), exponents)
    return {"neighbour_weight": weight, "serving_exponent": exponent}


def _validator(
    model: "ANCF",
    data: "Interactions",
    table: Table,
    trainer: Trainer,
    settings: dict[str, Any],
    validation: "Interactions",
    metric: str,
) -> Any:
    from ancf.evaluate import evaluate

    targets = _targets(data, validation, table.normalizer)
    probe = model.clone()

    def validate(parts: Parts) -> Validation:
        loss = trainer.validation_loss(targets)
        if metric == "loss":
            return Validation(loss, -loss)
        serve(probe, data, table, _complete(model, table, trainer, parts), None, settings)
        probe.normalizer_ = table.normalizer
        return Validation(loss, evaluate(probe, validation, [metric])[metric])

    return validate


def _targets(data: "Interactions", validation: "Interactions", normalizer: Normalizer | None) -> Rows:
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


# ---- serving


class Folded(NamedTuple):
    """The parts as the ranker takes them."""

    item_vectors: Floats
    user_vectors: Floats
    user_shift: Floats | None
    item_bias: Floats | None
    sharpness: Floats | None
    target: Target | None


def fold(model: "ANCF", parts: Parts, exponent: float) -> Folded:
    """Layers, biases and lengths into vectors; see the head of this file."""
    P, v = parts.parameters, parts.item_vectors
    d = v.shape[1]
    cosine = similarity(model) == "cosine"
    if cosine:
        v = _native.serving_vectors(v, exponent if plain_cosine(model) else 0.0)[0]
    layer = P.get("layer")
    constant = sum(float(P[name][0]) for name in ("layer_bias", "bias") if name in P)
    shift = P["user_bias"] + np.float32(constant) if "user_bias" in P else None
    if shift is None and constant:
        shift = np.full(len(parts.user_vectors), constant, np.float32)
    bias = P.get("item_bias")
    if model.attention == "target":
        d_root = np.float32(np.sqrt(d))
        x = P["item_factors"]
        keys, queries = x @ (P["key"].T / d_root), x @ P["query"].T
        target = Target(_array(keys), _array(queries), _array(parts.item_logits), float(model.attention_exponent))
        return Folded(v, parts.user_vectors, shift, bias, None, target)
    if layer is not None and model.layer == "concat":
        own = (v.astype(np.float64) @ layer[d:] + (0.0 if bias is None else bias)).astype(np.float32)
        users = np.zeros((len(parts.user_vectors), d + 1), np.float32)
        users[:, d] = 1.0
        told = (parts.user_vectors.astype(np.float64) @ layer[:d] + (0.0 if shift is None else shift)).astype(
            np.float32
        )
        return Folded(_array(np.column_stack([v, own])), users, told, None, None, None)
    if layer is not None:
        layer = np.where(np.abs(layer) < _LEAST_WEIGHT, np.float32(_LEAST_WEIGHT), layer)
        v = v * layer
    if model.factor_attention:
        sharpness = P["sharpness"] if layer is None else P["sharpness"] / layer
        return Folded(_array(v), parts.user_vectors, shift, bias, _array(sharpness), None)
    users = parts.user_vectors
    if bias is not None:
        v = np.column_stack([v, bias])
        users = np.column_stack([users, np.ones(len(users), np.float32)])
    return Folded(_array(v), _array(users), shift, None, None, None)


def _array(values: Any) -> Floats:
    return np.ascontiguousarray(values, np.float32)


def mix(
    model: "ANCF", folded: Folded, pairs: Rows, ridge: Rows | None, weight: float
) -> tuple[Rows | None, Rows | None]:
    """The item-item weights on the vectors' scale, and what they weigh in each history."""
    from ancf.models.ancf import history_weights

    if ridge is None or not weight:
        return None, None
    vectors, weights = _native.score_scales(folded.user_vectors, folded.item_vectors, pairs, ridge, model.num_threads)
    scale = np.float32(weight * (vectors / weights if weights > 0 and vectors > 0 else 1.0))
    return (ridge[0], ridge[1], ridge[2] * scale), (pairs[0], pairs[1], history_weights(pairs[0]))


def serve(
    model: "ANCF", data: "Interactions", table: Table, parts: Parts, ridge: Rows | None, settings: dict[str, Any]
) -> None:
    """Make this the model that answers."""
    folded = fold(model, parts, settings["serving_exponent"])
    pairs = (table.indptr, table.items, np.ones(len(table.items), np.float32))
    mixed, history = mix(model, folded, pairs, ridge, settings["neighbour_weight"])
    head = "inner"
    if folded.target is not None:
        head = "target_attention"
        history = (table.indptr, table.items, _additions(model, parts.decay, table.weights, table.ages))
    elif folded.sharpness is not None:
        head = "factor_attention"
    model._install(
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        item_names=data.item_names,
        seen=pairs[:2],
        item_vectors=folded.item_vectors,
        user_vectors=folded.user_vectors,
        neighbours=mixed,
        history=history,
        head=head,
        sharpness=folded.sharpness,
        item_bias=folded.item_bias,
        target=folded.target,
        user_shift=folded.user_shift,
        link="sigmoid" if model.output == "sigmoid" else "identity",
    )
    model._parts = parts._replace(user_vectors=np.empty((0, 0), np.float32))


# ---- answering


def _additions(model: "ANCF", decay: float, weights: Floats, ages: Floats | None) -> Floats:
    """What entries of histories add to the logits of their items."""
    logits = np.zeros(len(weights))
    if model.use_weights:
        if (weights <= 0).any():
            raise InvalidDataError(
                f"a weight of the history is {weights[weights <= 0][0]}; this model takes their logarithm "
                "(use_weights=True). Give weights above 0."
            )
        logits += np.log(weights.astype(np.float64))
    if ages is not None:
        logits -= decay * ages.astype(np.float64)
    return _array(logits)


def _attend(model: "ANCF", histories: Rows, parts: Parts) -> tuple[Floats, Floats]:
    """Attention weights of bare histories with what they add to the logits, and Σ_j a_j v_j."""
    weights = _native.history_weights(histories, parts.item_logits, float(model.attention_exponent))
    return weights, _native.weighted_sums((*histories[:2], weights), parts.item_vectors)


def _scaled(model: "ANCF", sums: Floats) -> Floats:
    if similarity(model) != "cosine":
        return sums
    lengths = np.sqrt(np.square(sums.astype(np.float64)).sum(axis=1, keepdims=True))
    return _array(np.divide(sums, lengths, out=np.zeros_like(sums, np.float64), where=lengths > _LEAST_WEIGHT))


def _rows(model: "ANCF", histories: Histories, parts: Parts) -> Rows:
    """Histories with additions to their logits; without times every purchase is as fresh as the next."""
    ages = None
    if model.half_life is not None and histories.times is not None:
        ages = pair_ages(histories.indptr, histories.times)
    return histories.indptr, histories.items, _additions(model, parts.decay, histories.weights, ages)


def fold_in(model: "ANCF", histories: Histories) -> tuple[Floats, Rows | None]:
    """Served user vectors for bare histories: those of a user whose own vector is zero."""
    parts = model._served_parts()
    d, width = parts.item_vectors.shape[1], model._item_vectors.shape[1]
    vectors = np.zeros((histories.n, width), np.float32)
    if model.attention == "target":
        return vectors, _rows(model, histories, parts)
    if not _concat(model):
        vectors[:, :d] = _told(model, histories, parts)
    if width > d:
        vectors[:, d] = 1.0
    if model._neighbours is None:
        return vectors, None
    from ancf.models.ancf import history_weights

    return vectors, (histories.indptr, histories.items, history_weights(histories.indptr))


def _concat(model: "ANCF") -> bool:
    return model.output == "sigmoid" and model.layer == "concat"


def _told(model: "ANCF", histories: Histories, parts: Parts) -> Floats:
    """p of bare histories."""
    if model.attention == "none":
        return np.zeros((histories.n, parts.item_vectors.shape[1]), np.float32)
    return _scaled(model, _attend(model, _rows(model, histories, parts), parts)[1])


def fold_in_shift(model: "ANCF", histories: Histories) -> Floats | None:
    """Constants, and with the concatenation what the history says."""
    parts = model._served_parts()
    P = parts.parameters
    constant = sum(float(P[name][0]) for name in ("layer_bias", "bias") if name in P)
    if _concat(model):
        told = _told(model, histories, parts).astype(np.float64)
        return _array(told @ P["layer"][: told.shape[1]] + constant)
    return np.full(histories.n, constant, np.float32) if model._user_shift is not None else None


def contributions(model: "ANCF", histories: Histories, user: int | None, item: int) -> NDArray[np.float64] | None:
    """a_uj ⟨v_j, q_i⟩ of each item of the history, where the score (before a sigmoid) is their sum with others."""
    parts = model._served_parts()
    if model._head != "inner" or _concat(model) or model.attention == "none":
        return None
    if user is None:
        weights = _attend(model, _rows(model, histories, parts), parts)[0]
    else:
        weights = parts.weights[model._seen[0][user] : model._seen[0][user + 1]]
        if len(weights) != len(histories.items):
            return None
    d = parts.item_vectors.shape[1]
    each = parts.item_vectors[histories.items].astype(np.float64) * weights[:, None].astype(np.float64)
    total = each.sum(axis=0)
    if similarity(model) == "cosine":
        if user is not None and "user_factors" in parts.parameters:
            total = total + parts.parameters["user_factors"][user]
        length = float(np.linalg.norm(total))
        each = each / (length if length > _LEAST_WEIGHT else 1.0)
    return np.asarray(each @ model._item_vectors[item, :d].astype(np.float64))


def beside(model: "ANCF", vector: Floats, item: int, told: float) -> dict[str, float]:
    """What the dense part of a score has beside the history's contributions."""
    d = model._served_parts().item_vectors.shape[1]
    served = model._item_vectors[item].astype(np.float64)
    base: dict[str, float] = {}
    if model.user_factors:
        base["the user's own factors"] = float(vector[:d].astype(np.float64) @ served[:d]) - told
    if len(served) > d:
        base["the item's bias"] = float(served[d] * vector[d])
    return base


# ---- the model file


def state(model: "ANCF") -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The parts beside what the ranker holds."""
    parts = model._served_parts()
    arrays: dict[str, NDArray[Any]] = {
        "pairs.item_vectors": parts.item_vectors,
        "pairs.weights": parts.weights,
        "pairs.item_logits": parts.item_logits,
    }
    kept = {
        name: value
        for name, value in parts.parameters.items()
        if name in ("layer", "layer_bias", "bias") or (name == "user_factors" and similarity(model) == "cosine")
    }
    arrays |= {f"pairs.{name}": value for name, value in kept.items()}
    normalizer = None if model.normalizer_ is None else model.normalizer_.state()
    return arrays, {"pairs": {"decay": parts.decay, "parameters": sorted(kept), "normalizer": normalizer}}


def restore(model: "ANCF", arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Parts from a model file, every shape and number checked."""
    try:
        about = meta["pairs"]
        names = [str(name) for name in about["parameters"]]
        decay = float(about["decay"])
        normalizer = None if about["normalizer"] is None else Normalizer.from_state(about["normalizer"])
        found = {name: arrays[f"pairs.{name}"] for name in ("item_vectors", "weights", "item_logits", *names)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"model file: its trained parts are incomplete ({error}). Load another copy.") from error
    d, n_items = int(model.factors), len(model.item_ids_)
    entries = len(model._seen[1])
    shapes: dict[str, list[tuple[int, ...]]] = {
        "item_vectors": [(n_items, d)],
        "weights": [(0,), (entries,)],
        "item_logits": [(0,), (n_items,)] if model.attention == "none" else [(n_items,)],
        "layer": [(2 * d,) if model.layer == "concat" else (d,)],
        "layer_bias": [(1,)],
        "bias": [(1,)],
        "user_factors": [(len(model.user_ids_), d)],
    }
    for name, array in found.items():
        if array.dtype != np.float32 or array.shape not in shapes.get(name, []) or not np.isfinite(array).all():
            raise ModelFileError(
                f"model file: {name} has the shape {array.shape} or numbers that are not finite. Load another copy."
            )
    if not np.isfinite(decay) or (_concat(model) and "layer" not in found):
        raise ModelFileError("model file: its trained parts are incomplete. Load another copy.")
    none = np.empty((0, 0), np.float32)
    parameters = {name: found[name] for name in names}
    model._parts = Parts(found["item_vectors"], none, found["weights"], found["item_logits"], decay, parameters)
    model.normalizer_ = normalizer
