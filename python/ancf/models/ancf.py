"""Attention neural collaborative filtering: the estimator.

Two parts are added up, and both read nothing but the history:

    score(u, i) = ⟨p̂_u, q_i⟩ + κ · n_u^-½ · Σ_{j∈N(u)} τ_uj c_ji + ρ · n_ui τ_ui

*Vectors.* The user is the attention-weighted sum of the items of the history, p_u = Σ a_uj v_j; an item is itself plus
its users, attended the same way. The item vectors are trained by a softmax over all of a user's items at once
(``rust/core/src/train/ranking.rs``). *Item-item weights.* c is a local ridge regression, divided by a power of the
popularity (``rust/core/src/model/ridge.rs``). κ puts both on one scale. *Habits.* Where the table has times, older
purchases say less (τ), in the attention as in the weights; and an item that was bought before, n_ui times, speaks for
itself, which matters where lists may hold it (``models/_history.py``).

Vectors are better where tastes are broad (check-ins, music), item-item weights where purchases are narrow; a shop does
not know which kind it has, and together they are above both (``docs/quality.md``).
"""

import inspect
import math
import os
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_choice, check_flag, check_integer, check_number
from ancf.epochs import Validation, announce, progress_bar, run_epochs
from ancf.errors import InvalidDataError
from ancf.models import _pair_options, _pair_serving, _pairs
from ancf.models._asking import Histories
from ancf.models._choose import (
    EXPONENTS,
    HALF_LIVES,
    TREND_HALF_LIVES,
    TRENDS,
    WEIGHTS,
    HeldOut,
    best_of,
    hold_out,
    hold_out_last,
    ndcg,
)
from ancf.models._history import Habits, no_neighbours, recency, spoken, trend, with_repeats
from ancf.models.base import Recommender, Rows, ShortList

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.data.normalize import Normalizer

# τ = 0.2 suits some four thousand items (Last.fm); it falls with the cube root of the catalogue, as more items need a
# sharper softmax. Chosen on validation parts of Last.fm, Amazon Electronics and Gowalla (docs/quality.md).
_TEMPERATURE = 0.2
_TEMPERATURE_ITEMS = 4000
_TEMPERATURE_POWER = 0.3

# λ falls with the catalogue too: 30 for Electronics, 13 for Online Retail, 11 for Last.fm, 8 for Gowalla. Candidates
# cost their cube for each item, so that small catalogues get more of them for the same time (500 instead of 200 gave
# +2.5 % Recall@20 on Electronics). Chosen on validation parts of the training tables (docs/quality.md).
_SHRINKAGE = 12.0
_CANDIDATE_PAIRS = 750_000


class Served(NamedTuple):
    """What serving needs of the vectors: q, and what an item weighs in a history."""

    item_vectors: NDArray[np.float32]
    item_priors: NDArray[np.float32]


class ANCF(Recommender):
    """Attention neural collaborative filtering.

    Parameters
    ----------
    factors : int
        d, numbers in a vector.
    epochs : int or "auto"
        Rounds over the table; auto: 24 where the plain softmax draws ``negatives``, else 16.
    loss : "softmax", "mse", "bce" or "bpr"
        What is made small. "softmax": a purchase against all items, or a draw of them. "bpr": a purchase's score above
        that of items the user does not have. "bce": the score as the logit of having it. "mse": the squared error of
        the normalised quantity. See ``ancf.reference.loss_and_slope``.
    optimizer : "adam", "adagrad" or "sgd"
    attention : "degree", "mean", "learned", "target" or "none"
        Which purchases of a history count how much: popular items less (``n_j^-½``); all the same; with a learned
        salience s_j and, with ``user_factors``, a question of the user, ⟨A z_u, B x_j⟩/√d; with a question of each
        candidate, ⟨C x_i, B x_j⟩/√d; or no history at all, which needs ``user_factors``.
    attention_exponent : float
        β in a_uj = exp ℓ_uj / (Σ exp ℓ_uk)^β.
    use_weights : bool
        log w_uj, the quantity, among the logits ("learned" and "target").
    half_life : float, "auto" or None
        Days after which a purchase speaks half as loud, counted from the user's newest. auto: where the table has
        times, chosen like ``serving_exponent``. "learned" and "target" learn it from a given number on, and leave it
        out by default.
    trend, trend_half_life : float or "auto"
        γ and days: how much louder items are that sell better lately than they used to, in purchases halved every so
        many days of age; 0 leaves it out. auto: where the table has times, chosen on its last tenth.
    repeat_weight : float
        How loud a purchase speaks for its own repetition, times how often it was made and how recently; in units of the
        vectors' scores. It matters where ``filter_already_liked_items=False``; the default puts what was bought most
        and last first.
    item_attention : bool
        Whether an item's vector takes in its users.
    user_factors : bool
        Whether users have a vector of their own beside their history. A user unknown in training has none.
    user_dropout : float
        The part of the users whose own vector a step leaves out, so that the unknown are served well.
    factor_attention : bool
        Σ_k α_k p_k q_k with α = softmax(g ⊙ p ⊙ q) in place of the inner product: which factors matter for a pair.
    output : "linear" or "sigmoid"
        The sum, or a connected layer squashed to 0..1.
    layer : "product" or "concat"
        What the layer reads: p ⊙ q, or [p; q], which gives everybody the same order of items.
    biases : bool
        Biases of users, items and all; losses that compare items ("softmax", "bpr") have those of the items.
    similarity : "auto", "cosine" or "product"
        Whether p and q are divided by their lengths in training; auto: for the plain softmax.
    normalize : "auto", "none", "log", "minmax" or "standard"
        The quantities that "mse" learns, fitted on the training table and kept in ``normalizer_``; ``predict`` gives
        them, and ``ancf.evaluate`` normalises the test the same way. auto: as the table says.
    temperature : float or "auto"
        τ of the softmax; auto: 0.2 · (4000 / n_items)^0.3 for cosines, 1 for products.
    negatives : int or "auto"
        "softmax": items of a step, drawn anew for each; catalogues up to this size are taken whole. auto: 4096; 1024
        with factor attention, 256 with target attention. "bpr" and "bce": for each purchase; auto: 1 and 4.
    negative_exponent : float
        α, popularity's power in drawing them.
    batch_size : int or "auto"
        "softmax": users of a step; auto: a thirtieth of all, at least 256. Otherwise: purchases; auto: 1024, with item
        attention a hundredth of all if that is more.
    learning_rate : float or "auto"
        The rate at the start; it falls to zero like half a cosine. auto: 0.02 (adam), 0.1 (adagrad), 1 (sgd); 0.03
        where the plain softmax draws ``negatives``.
    regularization : float
        L2 penalty.
    init : "auto", "svd" or "random"
        Start from the leading singular vectors of the interactions, or from random numbers. auto: "svd", and "random"
        for "mse", whose quantities are not what these vectors are scaled for.
    serving_exponent : float or "auto"
        p: served item vectors are v · ‖v‖^(p−1); 0 is the cosine, 1 the inner product. auto: chosen on purchases held
        out of the training table (``models/_choose.py``). Only where the cosine is learned.
    neighbours : int or "auto"
        Item-item weights of each item; 0 leaves the item-item part out. auto: 100, and 0 for "mse" and where the score
        is no plain inner product.
    neighbour_candidates, neighbour_shrinkage : number or "auto"
        Companions that an item's ridge regression sees, and λ in units of the mean self co-purchase. auto: more of both
        for smaller catalogues.
    neighbour_weight : float or "auto"
        How loud the item-item part is against the vectors; 1 means both the same. auto: chosen in the same way.
    patience : int or None
        With a validation table: stop after this many epochs without a better one. The best epoch is kept in any case.
    validation_metric : str
        "ndcg@10" or another of ``ancf.evaluate``, or "loss". auto: "ndcg@10", and "loss" for "mse".
    random_state : int or None
        Seed; the same seed and data give the same bits for any number of threads. None takes a new one each time.
    num_threads : int, optional
    verbose : int
        1 prints the losses of each epoch.
    show_progress : bool, optional

    Attributes
    ----------
    history_ : dict
        ``training_loss``, and with a validation table ``validation_loss`` and the metric: one number for each epoch.
        ``settings``: what ``auto`` and ``None`` became. ``best_epoch``: from 1.
    normalizer_ : Normalizer or None
        What "mse" did with the quantities.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3], item=["tea", "cup", "tea", "cup", "tea", "pot"]
    ... )
    >>> model = ancf.ANCF(factors=8, epochs=2).fit(data)
    >>> ids, scores = model.recommend(1, N=1)
    >>> ids.tolist()
    ['pot']
    """

    #: The options of ``classic``.
    CLASSIC: ClassVar[dict[str, Any]] = {
        "factors": 50,
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 0.001,
        "loss": "mse",
        "normalize": "minmax",
        "attention": "none",
        "item_attention": False,
        "user_factors": True,
        "factor_attention": True,
        "init": "random",
    }

    history_: dict[str, Any]
    normalizer_: "Normalizer | None" = None
    _item_priors: NDArray[np.float32]
    _parts: "_pair_serving.Parts | None" = None

    def __init__(
        self,
        *,
        factors: int = 64,
        epochs: int | str = "auto",
        loss: str = "softmax",
        optimizer: str = "adam",
        attention: str = "degree",
        attention_exponent: float = 0.5,
        use_weights: bool = False,
        half_life: float | str | None = "auto",
        trend: float | str = "auto",
        trend_half_life: float | str = "auto",
        repeat_weight: float = 20.0,
        item_attention: bool = True,
        user_factors: bool = False,
        user_dropout: float = 0.0,
        factor_attention: bool = False,
        output: str = "linear",
        layer: str = "product",
        biases: bool = False,
        similarity: str = "auto",
        normalize: str = "auto",
        temperature: float | str = "auto",
        negatives: int | str = "auto",
        negative_exponent: float = 0.5,
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        regularization: float = 0.0,
        init: str = "auto",
        serving_exponent: float | str = "auto",
        neighbours: int | str = "auto",
        neighbour_candidates: int | str = "auto",
        neighbour_shrinkage: float | str = "auto",
        neighbour_weight: float | str = "auto",
        patience: int | None = 3,
        validation_metric: str = "auto",
        random_state: int | None = 0,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.epochs = epochs
        self.loss = loss
        self.optimizer = optimizer
        self.attention = attention
        self.attention_exponent = attention_exponent
        self.use_weights = use_weights
        self.half_life = half_life
        self.trend = trend
        self.trend_half_life = trend_half_life
        self.repeat_weight = repeat_weight
        self.item_attention = item_attention
        self.user_factors = user_factors
        self.user_dropout = user_dropout
        self.factor_attention = factor_attention
        self.output = output
        self.layer = layer
        self.biases = biases
        self.similarity = similarity
        self.normalize = normalize
        self.temperature = temperature
        self.negatives = negatives
        self.negative_exponent = negative_exponent
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.init = init
        self.serving_exponent = serving_exponent
        self.neighbours = neighbours
        self.neighbour_candidates = neighbour_candidates
        self.neighbour_shrinkage = neighbour_shrinkage
        self.neighbour_weight = neighbour_weight
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    @classmethod
    def classic(cls, **overrides: Any) -> Self:
        """The founding set-up, ``ANCF.CLASSIC``, with what you change of it.

        Vectors of users and items with 50 numbers, attention over the factors of their product, squared error of the
        normalised quantity, batches of 64, 10 epochs of Adam; no histories, no item-item part.

        Examples
        --------
        >>> import ancf
        >>> ancf.ANCF.classic(epochs=3).get_params()["loss"]
        'mse'
        """
        return cls(**{**cls.CLASSIC, **overrides})

    # ---- learning

    def fit(self, interactions: "Interactions", *, validation: "Interactions | None" = None) -> Self:
        """Learn from a table of interactions.

        Parameters
        ----------
        interactions : Interactions
        validation : Interactions, optional
            Held-out purchases of the same users: they choose the epoch, and are never learned from.

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        InvalidParameterError
            If an option makes no sense; names the option and its value.
        DivergedError
            If the loss leaves the finite numbers; the object is as it was before.
        """
        self._check_options()
        data = self._training_data(interactions, validation)
        settings = self._settings(data.n_items)
        if _pair_options.needed(self):
            _pairs.fit(self, data, validation, settings)
            return self
        indptr, items, _ = data.to_csr()
        pairs: Rows = (indptr, items, np.ones(len(items), np.float32))
        habits = Habits.of(data)
        for name in ("half_life", "trend"):
            if data.times is None and getattr(self, name) not in ("auto", None) and getattr(self, name):
                raise InvalidDataError(
                    f"{name}={getattr(self, name)!r} needs times, which this table does not have. Leave it out, or "
                    "give a column of times."
                )
        held = self._hold_out(pairs, data, settings["random_state"])
        if held is not None and not held.negligible:
            # A small table: learn without the held-out purchases first, choose, and then learn from everything.
            # Half the epochs are enough for that.
            epochs = -(-settings["epochs"] // 2)
            first = _Trainer(self, held.pairs, data.n_items, {**settings, "epochs": epochs})
            if self.verbose:
                print("Choosing what the options leave open, on purchases held out for that", flush=True)
            with progress_bar("Choosing", epochs, self.verbose, self.show_progress) as advance:
                for epoch in range(epochs):
                    first.epoch(epoch)
                    advance(epoch + 1)
            settings |= self._choose(
                first, held, self._ridge(held.pairs, data.n_items, settings), data.n_items, settings
            )
            held = None
        learned = pairs if held is None else held.pairs
        trainer = _Trainer(self, learned, data.n_items, settings)
        settings["batch_size"] = trainer.batch_size
        announce("Settings", settings, self.verbose)
        outcome = run_epochs(
            trainer,
            settings["epochs"],
            validate=None
            if validation is None
            else self._validator(data, pairs, habits, trainer, settings, validation),
            metric=self._metric,
            patience=self.patience,
            verbose=self.verbose,
            show_progress=self.show_progress,
        )
        neighbours = self._ridge(learned, data.n_items, settings)
        if held is not None:
            chosen = self._choose(trainer, held, neighbours, data.n_items, settings, outcome.state)
            settings |= chosen
            announce("Chosen", chosen, self.verbose)
        served = trainer.served(outcome.state, settings["serving_exponent"])
        self._serve(data, pairs, habits, served, neighbours, settings)
        self.normalizer_ = self._parts = None
        self.history_ = {**outcome.history, "best_epoch": outcome.best_epoch, "settings": settings}
        return self

    @classmethod
    def _default(cls, name: str) -> Any:
        return inspect.signature(cls.__init__).parameters[name].default

    @property
    def _metric(self) -> str:
        return "ndcg@10" if self.validation_metric == "auto" else self.validation_metric

    def _hold_out(self, pairs: Rows, data: "Interactions", seed: int) -> HeldOut | None:
        """What the open choices are made on; None where nothing is open."""
        mixed = _pair_options.neighbours(self) > 0 and self.neighbour_weight == "auto"
        timed = data.times is not None and "auto" in (self.half_life, self.trend, self.trend_half_life)
        if not mixed and not timed and self.serving_exponent != "auto":
            return None
        last = None if data.times is None else hold_out_last(data, seed)
        return last or hold_out(pairs, data.pair_times(), seed)

    def _choose(
        self,
        trainer: "_Trainer",
        held: HeldOut,
        neighbours: Rows | None,
        n_items: int,
        settings: dict[str, Any],
        vectors: NDArray[np.float32] | None = None,
    ) -> dict[str, Any]:
        """The weight, exponent and half-life that rank the held-out purchases best."""
        vectors = trainer.state() if vectors is None else vectors
        scales: dict[tuple[Any, ...], tuple[float, float]] = {}

        def measure(choice: dict[str, Any]) -> NDArray[np.float64]:
            served = trainer.served(vectors, choice["serving_exponent"])
            served, users, mixed, history = self._mixed(
                held.pairs, held.habits, served, neighbours, {**settings, **choice, "repeat_weight": 0.0}, scales
            )
            ranker = _native.Ranker(served.item_vectors, neighbours=mixed)
            ranker.set_users(users, history, held.pairs[:2])
            return ndcg(ranker, held, n_items, self.num_threads)

        grids: dict[str, tuple[Any, ...]] = {}
        for name, grid, open_ in (
            ("neighbour_weight", WEIGHTS, neighbours is not None),
            ("serving_exponent", EXPONENTS, True),
            ("trend", TRENDS, held.habits.events is not None),
            ("trend_half_life", TREND_HALF_LIVES, held.habits.events is not None),
            ("half_life", HALF_LIVES, held.habits.times is not None),
        ):
            grids[name] = grid if open_ and getattr(self, name) == "auto" else (settings[name],)
        return best_of(held, measure, grids, settings)

    def _check_options(self) -> None:
        check_choice("init", self.init, ("auto", "svd", "random"))
        check_integer("factors", self.factors, 1, 4096)
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("negatives", 1, 1 << 20),
            ("neighbours", 0, 10_000),
            ("batch_size", 1, 2**31),
        ):
            if getattr(self, name) != "auto":
                check_integer(name, getattr(self, name), low, high, words='"auto" or ')
        for name, least, most in (
            ("attention_exponent", 0.0, 2.0),
            ("negative_exponent", 0.0, 2.0),
            ("regularization", 0.0, math.inf),
        ):
            check_number(name, getattr(self, name), least, most)
        for name, most in (("serving_exponent", 2.0), ("neighbour_weight", 1e6)):
            if getattr(self, name) != "auto":
                check_number(name, getattr(self, name), 0.0, most, words='"auto" or ')
        if self.neighbour_candidates != "auto":
            check_integer("neighbour_candidates", self.neighbour_candidates, 1, 1024, words='"auto" or ')
        if self.neighbour_shrinkage != "auto":
            check_number("neighbour_shrinkage", self.neighbour_shrinkage, 0.0, math.inf, above=True, words='"auto" or ')
        for name in ("temperature", "learning_rate"):
            if getattr(self, name) != "auto":
                check_number(name, getattr(self, name), 0.0, math.inf, above=True, words='"auto" or ')
        if self.patience is not None:
            check_integer("patience", self.patience, 1, 100_000, words="None or ")
        if self.random_state is not None:
            check_integer("random_state", self.random_state, 0, 2**64 - 1, words="None or ")
        check_flag("item_attention", self.item_attention)
        _pair_options.check(self)
        if self.validation_metric not in ("auto", "loss"):
            from ancf.evaluation import parse_metrics

            parse_metrics([self.validation_metric], 10)

    def _settings(self, n_items: int) -> dict[str, Any]:
        """What the options leave open, resolved before training; the mixture keeps its middle until it is chosen."""
        temperature = self.temperature
        if temperature == "auto" and _pair_options.similarity(self) != "cosine":
            temperature = 1.0
        if temperature == "auto":
            rule = _TEMPERATURE * float(_TEMPERATURE_ITEMS / max(n_items, 1)) ** _TEMPERATURE_POWER
            temperature = round(min(max(rule, 0.05), 0.5), 3)
        size = max(n_items, 1)
        candidates: Any = self.neighbour_candidates
        if candidates == "auto":
            candidates = min(max(_CANDIDATE_PAIRS // size, 200), 500)
        shrinkage: Any = self.neighbour_shrinkage
        if shrinkage == "auto":
            shrinkage = round(min(max(_SHRINKAGE * _TEMPERATURE_ITEMS / size, 8.0), 30.0), 2)
        seed = self.random_state if self.random_state is not None else int.from_bytes(os.urandom(8), "little")
        return {
            "temperature": float(temperature),
            **_pair_options.schedule(self, n_items),
            "random_state": int(seed),
            "neighbour_weight": 1.0 if self.neighbour_weight == "auto" else float(self.neighbour_weight),
            "serving_exponent": 0.5 if self.serving_exponent == "auto" else float(self.serving_exponent),
            "half_life": None if self.half_life in ("auto", None) else float(self.half_life),
            "trend": 0.0 if self.trend == "auto" else float(self.trend),
            "trend_half_life": 15.0 if self.trend_half_life == "auto" else float(self.trend_half_life),
            "repeat_weight": float(self.repeat_weight),
            "neighbour_candidates": int(candidates),
            "neighbour_shrinkage": float(shrinkage),
        }

    def _ridge(self, pairs: Rows, n_items: int, settings: dict[str, Any]) -> Rows | None:
        neighbours = _pair_options.neighbours(self)
        if not neighbours or not self.neighbour_weight:
            return None
        return _native.ridge_neighbours(
            pairs,
            n_items,
            candidates=settings["neighbour_candidates"],
            neighbours=neighbours,
            shrinkage=settings["neighbour_shrinkage"],
            user_power=0.3,
            source_power=0.3,
            num_threads=self.num_threads,
        )

    def _mixed(
        self,
        pairs: Rows,
        habits: Habits,
        served: Served,
        neighbours: Rows | None,
        settings: dict[str, Any],
        scales: dict[tuple[Any, ...], tuple[float, float]] | None = None,
    ) -> tuple[Served, NDArray[np.float32], Rows | None, Rows | None]:
        """The item vectors with their trend, user vectors, the item-item weights on the same scale, and what they weigh
        in each history. ``scales`` keeps what does not depend on how loud these weights are."""
        n_items = len(served.item_vectors)
        trending = trend(habits, n_items, settings["trend"], settings["trend_half_life"])
        if trending is not None:
            served = Served(served.item_vectors * trending[:, None], served.item_priors / trending)
        recent = recency(pairs[0], habits.times, settings["half_life"])
        users = _native.user_vectors((*pairs[:2], recent), served.item_vectors, served.item_priors, self.num_threads)
        weight, repeats = settings["neighbour_weight"], settings["repeat_weight"]
        if neighbours is None or not weight:
            neighbours = None
        if neighbours is None and not repeats:
            return served, users, None, None
        if neighbours is not None and trending is not None:
            neighbours = (neighbours[0], neighbours[1], neighbours[2] * trending[neighbours[1]])
        scales = {} if scales is None else scales
        key = tuple(settings[name] for name in ("serving_exponent", "trend", "trend_half_life", "half_life"))
        if key not in scales:
            scales[key] = _native.score_scales(
                users, served.item_vectors, pairs, neighbours or no_neighbours(n_items), self.num_threads
            )
        vectors, weights = scales[key]
        vectors = vectors if vectors > 0 else 1.0
        if neighbours is not None:
            scale = np.float32(weight * (vectors / weights if weights > 0 else 1.0))
            neighbours = (neighbours[0], neighbours[1], neighbours[2] * scale)
        counts = None
        if repeats:
            neighbours = with_repeats(neighbours or no_neighbours(n_items), n_items, repeats * vectors)
            counts = habits.counts
        return served, users, neighbours, spoken(*pairs[:2], recent, counts, n_items)

    def _serve(
        self,
        data: "Interactions",
        pairs: Rows,
        habits: Habits,
        served: Served,
        neighbours: Rows | None,
        settings: dict[str, Any],
    ) -> None:
        """Put the parts together and make this the model that answers."""
        served, users, mixed, history = self._mixed(pairs, habits, served, neighbours, settings)
        self._install(
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            item_names=data.item_names,
            seen=pairs[:2],
            item_vectors=served.item_vectors,
            user_vectors=users,
            neighbours=mixed,
            history=history,
        )
        self._item_priors = served.item_priors
        self._recent = recency(pairs[0], habits.times, settings["half_life"])
        self._half_life = settings["half_life"]

    def _validator(
        self,
        data: "Interactions",
        pairs: Rows,
        habits: Habits,
        trainer: "_Trainer",
        settings: dict[str, Any],
        validation: "Interactions",
    ) -> Any:
        """A function that measures a state on the validation part; the model itself is left alone."""
        from ancf.evaluation import evaluate

        targets = _pairs.validation_pairs(data, validation, None)
        probe = self.clone()

        def validate(vectors: NDArray[np.float32]) -> Validation:
            loss = trainer.validation_loss(targets)
            if self._metric == "loss":
                return Validation(loss, -loss)
            served = trainer.served(vectors, settings["serving_exponent"])
            probe._serve(data, pairs, habits, served, None, {**settings, "repeat_weight": 0.0})
            return Validation(loss, evaluate(probe, validation, [self._metric])[self._metric])

        return validate

    # ---- answering

    def _served_parts(self) -> "_pair_serving.Parts":
        self._fitted()
        assert self._parts is not None
        return self._parts

    def _fold_in(self, histories: Histories) -> tuple[NDArray[np.float32], Rows | None]:
        if self._parts is not None:
            return _pair_serving.fold_in(self, histories)
        recent = recency(histories.indptr, histories.times, self._half_life)
        rows = (histories.indptr, histories.items, recent)
        vectors = _native.user_vectors(rows, self._item_vectors, self._item_priors, self.num_threads)
        if self._neighbours is None:
            return vectors, None
        n_items = len(self._item_vectors)
        counts = histories.weights if len(self._neighbours[0]) > n_items + 1 else None
        return vectors, spoken(histories.indptr, histories.items, recent, counts, n_items)

    def _short_list(self, positions: list[int], N: int, filter_seen: bool) -> ShortList:
        if self._parts is not None:
            return super()._short_list(positions, N, filter_seen)
        return self._fitted().top_n_folded(positions, N, filter_seen, self._item_priors)

    def _fold_in_shift(self, histories: Histories) -> NDArray[np.float32] | None:
        return None if self._parts is None else _pair_serving.fold_in_shift(self, histories)

    def _dense_contributions(self, histories: Histories, user: int | None, item: int) -> NDArray[np.float64] | None:
        """a_uj ⟨v_j, q_i⟩ / ‖p_u‖ for each item j of the history; their sum is ⟨p̂_u, q_i⟩."""
        if self._parts is not None:
            return _pair_serving.contributions(self, histories, user, item)
        recent = (
            recency(histories.indptr, histories.times, self._half_life)
            if user is None
            else self._recent[self._seen[0][user] : self._seen[0][user + 1]]
        )
        weights = self._item_priors[histories.items] * recent
        parts = self._item_vectors[histories.items].astype(np.float64) * weights[:, None]
        length = float(np.linalg.norm(parts.sum(axis=0)))
        target = self._item_vectors[item].astype(np.float64)
        return np.asarray(parts @ target / (length if length > 0 else 1.0))

    def _beside_contributions(self, vector: NDArray[np.float32], item: int, told: float) -> dict[str, float]:
        return {} if self._parts is None else _pair_serving.beside(self, vector, item, told)

    # ---- the model file

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays, meta = super()._state()
        if self._parts is not None:
            more, about = _pair_serving.state(self)
            return {**arrays, **more}, {**meta, **about, "history": self.history_}
        arrays["item_priors"] = self._item_priors
        if self._half_life is not None:
            arrays["recent"] = self._recent
        return arrays, {**meta, "history": self.history_, "half_life": self._half_life}

    @classmethod
    def _from_state(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Self:
        from ancf.errors import ModelFileError

        model = super()._from_state(arrays, meta)
        model.history_ = dict(meta.get("history", {}))
        if "pairs" in meta:
            _pair_serving.restore(model, arrays, meta)
            return model
        priors = arrays.get("item_priors")
        if priors is None or priors.dtype != np.float32 or priors.shape != (len(model.item_ids_),):
            raise ModelFileError("model file: item_priors are missing or of another shape. Load another copy.")
        if not np.isfinite(priors).all():
            raise ModelFileError("model file: item_priors hold numbers that are not finite. Load another copy.")
        model._item_priors = priors
        model._half_life = meta.get("half_life")
        recent = arrays.get("recent", np.ones(len(model._seen[1]), np.float32))
        well = recent.dtype == np.float32 and recent.shape == (len(model._seen[1]),) and np.isfinite(recent).all()
        if not well or not (model._half_life is None or float(model._half_life) > 0):
            raise ModelFileError("model file: what is recent is of another shape or not finite. Load another copy.")
        model._recent = recent
        return model


class _Trainer:
    """The core's trainer with the model's options."""

    def __init__(self, model: ANCF, pairs: Rows, n_items: int, settings: dict[str, Any]) -> None:
        self._num_threads = model.num_threads
        self._priors = _native.item_priors(pairs, n_items, model.attention)
        self._native = _native.RankingTrainer(
            pairs,
            n_items,
            factors=int(model.factors),
            epochs=settings["epochs"],
            batch_size=None if model.batch_size == "auto" else int(model.batch_size),
            attention=model.attention,
            attention_exponent=float(model.attention_exponent),
            item_attention=bool(model.item_attention),
            temperature=settings["temperature"],
            negatives=settings["negatives"],
            negative_exponent=float(model.negative_exponent),
            learning_rate=settings["learning_rate"],
            regularization=float(model.regularization),
            spectral_start=model.init != "random",
            seed=settings["random_state"],
            num_threads=model.num_threads,
        )

    @property
    def batch_size(self) -> int:
        return self._native.batch_size

    def epoch(self, epoch: int) -> float:
        return self._native.epoch(epoch, self._num_threads)

    def state(self) -> NDArray[np.float32]:
        return self._native.item_vectors(self._num_threads)

    def served(self, vectors: NDArray[np.float32], exponent: float) -> Served:
        """Item vectors scaled for serving."""
        scaled, factors = _native.serving_vectors(vectors, exponent)
        return Served(scaled, self._priors * factors)

    def validation_loss(self, targets: Rows) -> float:
        return self._native.validation_loss(targets, self._num_threads)
