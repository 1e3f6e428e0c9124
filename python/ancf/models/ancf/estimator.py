"""Attention neural collaborative filtering: the estimator.

Two parts are added up, and both read nothing but the history:

    score(u, i) = ⟨p̂_u, q_i⟩ + κ · n_u^-½ · Σ_{j∈N(u)} τ_uj c_ji + ρ · n_ui τ_ui

*Vectors.* The user is the attention-weighted sum of the items of the history, p_u = Σ a_uj v_j; an item is itself plus
its users, attended the same way. The item vectors are trained by a softmax over all of a user's items at once
(``softmax.py``); options that go beyond it are trained as a network over pairs (``network_training.py``). *Item-item
weights.* c is a local regression, divided by a power of the popularity (``rust/core/src/model/ridge.rs``). κ puts
both on one scale. *Recency and repetition.* Where the table has times, older purchases weigh less (τ), in the attention
as in the weights; and an item that was bought before, n_ui times, contributes to its own score, which matters where
lists may hold it (``temporal.py``).

Vectors are better where tastes are broad (check-ins, music), item-item weights where purchases are narrow; a shop does
not know which kind it has, and together they are above both (``docs/quality.md``).
"""

from dataclasses import replace
from typing import Any, ClassVar, Self

from ancf.checkpoints import Checkpoint, CheckpointPath, open_checkpoint
from ancf.data.interactions import Interactions
from ancf.data.normalize import Normalizer
from ancf.epochs import print_settings
from ancf.errors import InvalidCallError, InvalidDataError, InvalidParameterError
from ancf.models.ancf import options
from ancf.models.ancf.attributes import extend, with_attributes
from ancf.models.ancf.learning import (
    ScorerTrainer,
    TrainerClass,
    Watching,
    choose,
    choose_on_a_first_training,
    may_weigh_interest,
    train,
)
from ancf.models.ancf.network_encoder import NetworkEncoder
from ancf.models.ancf.network_training import NetworkTrainer
from ancf.models.ancf.option_checks import check_options
from ancf.models.ancf.options import Auto, AutoChooseFor, AutoInterest, AutoNormalize, AutoSimilarity, Init, Settings
from ancf.models.ancf.softmax import HistoryEncoder, SoftmaxTrainer
from ancf.models.ancf.training_table import TrainingTable, ridge_neighbors
from ancf.models.ancf.updating import update_scorer
from ancf.models.base import Recommender
from ancf.models.network import Attention, Layer, Loss, Optimizer, Output
from ancf.models.resuming import fit_of
from ancf.scoring.parts import Arrays
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Side, Start
from ancf.scoring.updates import Update
from ancf.search_space import SearchSpace

# The numbers of the softmax trainer that another training goes on from.
_LEARNS: dict[str, Side] = {"vectors": "items"}


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
        the normalized quantity. See ``ancf.reference.loss_and_slope``.
    optimizer : "adam", "adagrad" or "sgd"
        How the numbers follow their gradients.
    attention : "degree", "mean", "learned", "target" or "none"
        Which purchases of a history count how much: popular items less (``n_j^-½``); all the same; with a learned
        salience s_j and, with ``user_factors``, a query of the user, ⟨A z_u, B x_j⟩/√d; with a query of each
        candidate, ⟨C x_i, B x_j⟩/√d; or no history at all, which needs ``user_factors``.
    attention_exponent : float
        β in a_uj = exp ℓ_uj / (Σ exp ℓ_uk)^β.
    use_weights : bool
        log w_uj, the quantity, among the logits ("learned" and "target").
    half_life : float, "auto" or None
        Days after which a purchase counts half, counted from the user's newest. auto: where the table has
        times, chosen like ``serving_exponent``. "learned" and "target" learn it from a given number on, and leave it
        out by default.
    trend : float or "auto"
        γ: how much higher the weight of items is that sell better lately than they used to; 0 leaves it out. auto:
        where the table has times, chosen on its last tenth.
    trend_half_life : float or "auto"
        Days of age after which a purchase counts half in what sells lately. auto: chosen with ``trend``.
    repeat_weight : float
        The weight of a purchase for its own repetition, times how often it was made, how recently, and how many
        people came back for the item within the last 30 days; in units of the vectors' scores. It matters where
        ``filter_already_liked_items=False``; the default puts what was bought most and last first.
    repeat_half_life : float or None
        Days after which a purchase counts half for its own repetition, counted from the user's newest.
    item_attention : bool
        Whether an item's vector aggregates its users.
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
        them, and ``ancf.evaluate`` normalizes the test the same way. auto: as the table says.
    temperature : float or "auto"
        τ of the softmax; auto: 0.2 · (4000 / n_items)^0.3 for cosines, 1 for products.
    negatives : int or "auto"
        "softmax": items of a step, drawn anew for each; catalogues up to this size are taken whole. auto: 4096, or 2048
        for the plain softmax over more than 8192 items; 1024 with factor attention, 256 with target attention. "bpr"
        and "bce": for each purchase; auto: 1 and 4.
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
        out of the training table (``selection.py``). Only where the cosine is learned.
    popularity_exponent : float or "auto"
        η: items that more users have than others get a higher weight, by this power of how many; 0 leaves it out.
        auto: chosen in the same way where ``serving_exponent`` is, else 0.
    neighbors : int or "auto"
        Item-item weights of each item; 0 leaves the item-item part out. auto: 100, and 0 for "mse" and where the score
        is no plain inner product.
    neighbor_candidates : int or "auto"
        Companions that an item's regression sees. auto: more for smaller catalogues.
    neighbor_shrinkage : float or "auto"
        λ of the regression, in units of the mean self co-purchase. auto: 8, and without ``neighbor_l1`` more for
        smaller catalogues; up to 2,000 items a third or a tenth of that, where it does better on what is held out.
    neighbor_l1 : float or "auto"
        l1 of the regression, in the same units: the larger, the fewer weights, and no companion that shares less has
        one. The weights are those of an elastic net of at least 0 (SLIM); with 0 those of a ridge regression (EASE), of
        which the positive ones are kept. auto: 0.08, and 0 above 5,000 items.
    neighbor_weight : float or "auto"
        The weight of the item-item part against the vectors; 1 means both the same. auto: chosen in the same way.
    interest : "auto", "equal" or "given"
        What a pair without a purchase, such as one that was only viewed, weighs in a history: as much as a purchase, or
        by the weights of its events (``event_weights``) in those of a purchase, which is the most; then the weights of
        a bare history are in purchases. auto: chosen in the same way; "equal" where every event is a purchase.
    choose_for : "auto", "future", "next" or "random"
        Which purchases of the table are held out to choose what is "auto": its last tenth, each user's last, or any.
        They should lie as those do that will be asked for. auto: "future", or as the table was split
        (``Interactions.split_by``): "random" after ``random_split`` and ``kfold``, "next" after ``leave_last_out`` and
        ``user_split``. A trend is chosen for the future alone, and half-lives not for random purchases, which have no
        later ones.
    patience : int or None
        With a validation table: stop after this many epochs without a better one. The best epoch is kept in any case.
    validation_metric : str
        "ndcg@10" or another of ``ancf.evaluate``, or "loss". auto: "ndcg@10", and "loss" for "mse".
    random_state : int or None
        Seed; the same seed and data give the same bits for any number of threads. None takes a new one each time.
    warm_start : bool
        Let ``fit`` go on from the vectors that this model learned before, by ids, with the settings that were chosen
        then, and keep in the model what that takes; without it ``fit`` begins anew. Of the plain softmax.
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

    def __init__(
        self,
        *,
        factors: int = 64,
        epochs: int | Auto = "auto",
        loss: Loss = "softmax",
        optimizer: Optimizer = "adam",
        attention: Attention = "degree",
        attention_exponent: float = 0.5,
        use_weights: bool = False,
        half_life: float | Auto | None = "auto",
        trend: float | Auto = "auto",
        trend_half_life: float | Auto = "auto",
        repeat_weight: float = 20.0,
        repeat_half_life: float | None = 180.0,
        item_attention: bool = True,
        user_factors: bool = False,
        user_dropout: float = 0.0,
        factor_attention: bool = False,
        output: Output = "linear",
        layer: Layer = "product",
        biases: bool = False,
        similarity: AutoSimilarity = "auto",
        normalize: AutoNormalize = "auto",
        temperature: float | Auto = "auto",
        negatives: int | Auto = "auto",
        negative_exponent: float = 0.5,
        batch_size: int | Auto = "auto",
        learning_rate: float | Auto = "auto",
        regularization: float = 0.0,
        init: Init = "auto",
        serving_exponent: float | Auto = "auto",
        popularity_exponent: float | Auto = "auto",
        neighbors: int | Auto = "auto",
        neighbor_candidates: int | Auto = "auto",
        neighbor_shrinkage: float | Auto = "auto",
        neighbor_l1: float | Auto = "auto",
        neighbor_weight: float | Auto = "auto",
        interest: AutoInterest = "auto",
        choose_for: AutoChooseFor = "auto",
        patience: int | None = 3,
        validation_metric: str = "auto",
        random_state: int | None = 0,
        warm_start: bool = False,
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
        self.repeat_half_life = repeat_half_life
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
        self.popularity_exponent = popularity_exponent
        self.neighbors = neighbors
        self.neighbor_candidates = neighbor_candidates
        self.neighbor_shrinkage = neighbor_shrinkage
        self.neighbor_l1 = neighbor_l1
        self.neighbor_weight = neighbor_weight
        self.interest = interest
        self.choose_for = choose_for
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    # Any: the constructor's options once more would be a second list of them.
    @classmethod
    def classic(cls, **overrides: Any) -> Self:
        """The founding set-up, ``ANCF.CLASSIC``, with what you change of it.

        Vectors of users and items with 50 numbers, attention over the factors of their product, squared error of the
        normalized quantity, batches of 64, 10 epochs of Adam; no histories, no item-item part.

        Parameters
        ----------
        overrides
            Options of ``ANCF`` by name.

        Returns
        -------
        ANCF, not fitted

        Raises
        ------
        InvalidParameterError
            If there is no such option; names the nearest.

        Examples
        --------
        >>> import ancf
        >>> ancf.ANCF.classic(epochs=3).get_params()["loss"]
        'mse'
        """
        return cls(**{**cls.CLASSIC, **overrides})

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """What training goes by, where it has an effect beside the other options; what is left to ``fit`` stays so."""
        return options.search_space(self)

    # ---- learning

    def fit(
        self,
        interactions: Interactions,
        validation: Interactions | None = None,
        *,
        checkpoint: CheckpointPath | None = None,
        every: int = 1,
        resume: bool = False,
    ) -> Self:
        """Learn from a table of interactions.

        Parameters
        ----------
        interactions : Interactions
        validation : Interactions, optional
            Held-out purchases of the same users: they choose the epoch, and are never learned from.
        checkpoint : path, optional
            A file that keeps where training stands, and is removed when it has ended.
        every : int, at least 1
            Epochs between two writings of it.
        resume : bool
            Go on from the file where it is there; the model has the bits of one that was never interrupted.

        Returns
        -------
        the model itself, fitted

        Raises
        ------
        InvalidDataError
            If the table holds no interactions, or the checkpoint is of another fit; says in what they differ.
        InvalidParameterError
            If an option makes no sense; names the option and its value.
        DivergedError
            If the loss leaves the finite numbers; the object is as it was before.
        """
        # 1, 2. Options and tables, checked; only the ids that occur.
        check_options(self)
        data = self._training_data(interactions, validation)
        with open_checkpoint(checkpoint, every, resume, lambda: fit_of(self, data, validation)) as kept:
            # 8. One assignment makes this the model that answers.
            self._scorer = self._learn(data, validation, kept)
        return self

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        # 3. Every option gets its value.
        settings = options.resolve(
            self,
            data.n_items,
            timed=data.times is not None,
            split_by=data.split_by,
            has_interest=may_weigh_interest(data, self.interest),
        )
        if kept is not None:
            settings = replace(settings, random_state=kept.seed(settings.random_state))
        before = self._learned_before(settings)
        if before is not None:
            settings = options.as_chosen(settings, before[1])
        watch = Watching(self.validation_metric, self.patience, int(self.verbose), self.show_progress, self._about())
        # 4. The table as trainers want it, and which of the two learns.
        table = TrainingTable(data, settings)
        trainer_class: TrainerClass = NetworkTrainer if settings.needs_network else SoftmaxTrainer
        # 5. Purchases are held out where a part of the mixture is open. A small table learns without them first,
        #    chooses, and then learns from everything.
        held_out = trainer_class.hold_out(table, settings) if settings.open_choices else None
        if held_out is not None and not held_out.negligible:
            settings = choose_on_a_first_training(trainer_class, table, held_out, settings, kept, watch)
            held_out = None
        # 6. Vectors, by epochs.
        trainer: ScorerTrainer[Any] = trainer_class(table, settings, held_out)
        settings = replace(settings, batch_size=trainer.batch_size)
        if before is not None:
            trainer.resume(before[0].put_into(trainer.progress()[0], data.user_ids, data.item_ids), 0)
        print_settings("Settings", settings.record(), self.verbose)
        result = train(trainer, table, settings, validation, kept, watch)
        # 7. Item-item weights; a large table chooses now, on what it could do without.
        neighbors = ridge_neighbors(trainer.pairs, data.n_items, settings)
        if held_out is not None:
            chosen = choose(trainer, result.state, neighbors, held_out, settings)
            settings = replace(settings, **chosen)
            print_settings("Chosen", chosen, self.verbose)
        # 8. Items that nobody has bought, by their attributes.
        record = {**result.history, "best_epoch": result.best_epoch, "settings": settings.record()}
        scorer = trainer.build_scorer(result.state, neighbors, settings, **self._about(), training=record)
        if self.warm_start:
            scorer = replace(scorer, start=Start.of(data.user_ids, data.item_ids, trainer.progress()[0], _LEARNS))
        return with_attributes(scorer, settings.num_threads)

    def _learned_before(self, settings: Settings) -> tuple[Start, dict[str, Any]] | None:
        """What this fit goes on from: vectors, and the settings that were chosen with them."""
        before = self._scorer
        if not self.warm_start or before is None or before.start is None or before.training is None:
            return None
        had = before.options.get("factors")
        if had != settings.factors:
            raise InvalidParameterError(
                f"warm_start: factors was {had!r} in what was learned and is {self.factors!r}. Set it to {had!r}, or "
                "fit a new model (clone)."
            )
        return before.start, before.training["settings"]

    def _check_update(self, scorer: Scorer) -> None:
        encoder = scorer.encoder
        if not isinstance(encoder, HistoryEncoder):
            raise InvalidCallError(
                "an ANCF whose options go beyond the plain softmax cannot take in purchases without training anew. "
                "Call fit with all of them (ancf.concat joins tables), or leave loss, attention, output, user_factors, "
                "factor_attention and biases as they are."
            )
        if scorer.purchases is not None and (encoder.trained is None or scorer.training is None):
            raise InvalidDataError(
                "this ANCF was loaded from a file that does not keep what an update starts from. Train it again with "
                "fit (or ancf train), and save it."
            )

    def _updated(self, scorer: Scorer, update: Update) -> Scorer:
        """The same vectors and settings over all purchases (``updating.py``)."""
        encoder = scorer.encoder
        assert isinstance(encoder, HistoryEncoder)
        assert encoder.trained is not None
        assert scorer.training is not None
        settings = options.resolve(self, len(scorer.item_ids), timed=update.data.times is not None)
        chosen = {name: value for name, value in scorer.training["settings"].items() if hasattr(settings, name)}
        found = update_scorer(scorer, encoder.trained, update, replace(settings, **chosen))
        return extend(found, settings.num_threads)

    def _about(self) -> dict[str, Any]:
        return {"model": type(self).__name__, "options": self.get_params()}

    # ---- what was learned

    @property
    def history_(self) -> dict[str, Any]:
        """Losses and metrics by epoch, the best epoch, and what ``auto`` became."""
        training = self._fitted().training
        return {} if training is None else training

    @property
    def normalizer_(self) -> Normalizer | None:
        """What "mse" did with the quantities."""
        return self._fitted().encoder.normalizer

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        if "neighbor_l1" not in meta["options"]:
            # A file from before there was an l1: what it goes on from are ridge regressions.
            self.neighbor_l1 = 0.0
        if "pairs" not in meta:
            return HistoryEncoder.from_arrays(arrays, meta)
        settings = options.resolve(self, len(arrays["item_vectors"]), timed=False)
        return NetworkEncoder.from_arrays(settings, arrays, meta)
