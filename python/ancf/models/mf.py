"""Matrix factorization by stochastic gradient descent: ``BPR`` for rankings, ``SVD`` for ratings.

    BPR   score(u, i) = ⟨p_u, q_i⟩ + b_i,                 −ln σ(score(u, i) − score(u, j)) for i bought and j not
    SVD   score(u, i) = μ + b_u + b_i + ⟨p_u, q_i⟩,       (r_ui − score(u, i))² for the ratings r

Rendle, Freudenthaler, Gantner, Schmidt-Thieme, *BPR: Bayesian Personalized Ranking from Implicit Feedback* (UAI 2009);
Koren, Bell, Volinsky, *Matrix Factorization Techniques for Recommender Systems* (IEEE Computer 2009), as the library
Surprise has it. One sample follows the other as on one thread, yet all threads work
(``rust/core/src/train/factorization``).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import Checkpoint
from ancf.checks import check_number
from ancf.data.arrays import fits_float32
from ancf.data.interactions import Interactions
from ancf.errors import ModelFileError
from ancf.models.factor_training import (
    FactorModel,
    NativeTrainer,
    ValidationPairs,
    known_scores,
    ranking_loss,
    read_number,
)
from ancf.models.rating_scale import RatingScale
from ancf.scoring.histories import Histories, ones
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Side
from ancf.search_space import Integer, Real, SearchSpace

Floats = NDArray[np.float32]

_LEARNS: Mapping[str, Side] = {
    "users": "users",
    "the users' biases": "users",
    "items": "items",
    "the items' biases": "items",
}


class _State(NamedTuple):
    """What an epoch leaves."""

    users: Floats
    items: Floats
    user_biases: Floats
    item_biases: Floats


class _Trainer(NativeTrainer["_native.BprTrainer | _native.SvdTrainer"]):
    """A trainer of the core, an epoch at a time."""

    def __init__(
        self, native: "_native.BprTrainer | _native.SvdTrainer", num_threads: int | None, loss_unit: float = 1.0
    ) -> None:
        super().__init__(native, num_threads)
        self._loss_unit = loss_unit

    def epoch(self, epoch: int) -> float:
        """One round over the table; the mean loss."""
        return self._loss_unit * self._native.epoch(epoch, self._threads)

    def state(self) -> _State:
        """The factors as they stand."""
        return _State(*self._native.state())


def _with_column(vectors: Floats, column: Floats) -> Floats:
    """One more factor."""
    return np.ascontiguousarray(np.hstack([vectors, column[:, None]]))


class _BiasedEncoder(Encoder):
    """The items' bias is one more factor, which is 1 for every user."""

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        parts = vector.astype(np.float64) * scorer.item_vectors[item]
        return {"the user's factors": float(parts[:-1].sum()), "the item's bias": float(parts[-1])}


class BPR(FactorModel):
    """Bayesian personalized ranking (Rendle et al. 2009): what was bought stands above what was not.

    An epoch takes each purchase once, in a random order, with one item that its user does not have. The reference is
    Recall@20 .1627 and NDCG@20 .1378 on the LightGCN split of Gowalla with 64 factors and tuned options.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in a vector.
    epochs : int, at least 1
        Rounds over the table.
    learning_rate : float, above 0
        The rate at the start; it falls to zero like half a cosine.
    regularization : float, at least 0
        L2 penalty of the vectors that a step touches.
    bias_regularization : float, at least 0
        The same for the items' biases.
    negative_exponent : float, 0 to 2
        Popularity's power in drawing the other item; 0 draws all alike.
    patience : int or None
        With a validation table: stop after this many epochs without a better one. The best epoch is kept in any case.
    validation_metric : str
        "ndcg@10" or another of ``ancf.evaluate``, or "loss", the mean over new pairs with one random item each.
    random_state : int or None
        Seed; the same seed and data give the same bits for any number of threads. None takes a new one each time.
    warm_start : bool
        Let ``fit`` go on from what this model learned before, by ids, and keep in the model what that takes; without it
        ``fit`` begins anew and ``partial_fit`` is refused.
    num_threads : int, optional
    verbose : int
        1 prints the losses of each epoch.
    show_progress : bool, optional

    Attributes
    ----------
    history_ : dict
        ``training_loss``: the mean of −ln σ over the samples of each epoch, each before its step. With a validation
        table ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Notes
    -----
    A bare history is folded in by the steps of training with the items held fixed: 40 rounds over the history from
    zero, with the same rate and penalty. A user of the training table keeps the vector of training, so the two differ a
    little.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.BPR(factors=4, epochs=50, learning_rate=0.2).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    """

    _learns = _LEARNS

    def __init__(
        self,
        *,
        factors: int = 64,
        epochs: int = 100,
        learning_rate: float = 0.2,
        regularization: float = 0.02,
        bias_regularization: float = 0.01,
        negative_exponent: float = 0.5,
        patience: int | None = 5,
        validation_metric: str = "ndcg@10",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.negative_exponent = negative_exponent
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Factors, rate, regularization, and how popular the items are that are compared with."""
        return {
            "factors": Integer(16, 256, log=True),
            "learning_rate": Real(0.02, 0.5, log=True),
            "regularization": Real(0.001, 0.1, log=True),
            "negative_exponent": Real(0.0, 1.0),
        }

    def _check_options(self) -> None:
        check_number("learning_rate", self.learning_rate, 0.0, 1e6, above=True)
        check_number("regularization", self.regularization, 0.0, 1e6)
        check_number("bias_regularization", self.bias_regularization, 0.0, 1e6)
        check_number("negative_exponent", self.negative_exponent, 0.0, 2.0)

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        self._check_memory(data, 5)
        history = data.to_csr()
        seed = self._seed(kept)
        native = _native.BprTrainer(
            history,
            data.n_items,
            factors=int(self.factors),
            epochs=int(self.epochs),
            learning_rate=float(self.learning_rate),
            regularization=float(self.regularization),
            bias_regularization=float(self.bias_regularization),
            negative_exponent=float(self.negative_exponent),
            seed=seed,
            num_threads=self.num_threads,
        )

        def build_scorer(state: _State, training: dict[str, Any] | None = None) -> Scorer:
            return self._build_scorer(
                data,
                seen=history.sets,
                item_vectors=_with_column(state.items, state.item_biases),
                user_vectors=_with_column(state.users, np.ones(data.n_users, np.float32)),
                encoder=_RankingEncoder(self, seed),
                training=training,
            )

        return self._train(
            _Trainer(native, self.num_threads), build_scorer, data, validation, {"random_state": seed}, kept
        )

    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        return ranking_loss(scorer, pairs, seed)

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _RankingEncoder(self, read_number(meta, "seed"))


class _RankingEncoder(_BiasedEncoder):
    """A history's vector by the steps of training, the items held fixed."""

    def __init__(self, model: BPR, seed: int) -> None:
        self.learning_rate, self.regularization = float(model.learning_rate), float(model.regularization)
        self.seed = seed

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        return EncodedUsers(
            _native.bpr_user_vectors(
                (histories.indptr, histories.items, ones(len(histories.items))),
                scorer.item_vectors,
                learning_rate=self.learning_rate,
                regularization=self.regularization,
                seed=self.seed,
                num_threads=num_threads,
            )
        )

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, {"seed": self.seed}


class SVD(FactorModel):
    """Biased matrix factorization for ratings (Koren, Bell, Volinsky 2009), as the library Surprise has it.

    The weights of the table are the ratings, and ``predict`` gives ratings. The defaults are those of Surprise; its
    figure is an RMSE of .934 on MovieLens 100K, the mean of five folds, predictions clipped to 1..5.
    ``benches/ratings.py`` repeats that protocol on a file of ratings.

    Ratings within ten of their median are taken as they are. Others, such as quantities, would make steps of these
    rates overflow, so they are learned in units of their spread, half the distance between the 16th and the 84th
    percentile, and count as lying at most ten units from the median. Predictions have the unit of the table.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in a vector.
    epochs : int, at least 1
        Rounds over the ratings, each in a new random order.
    learning_rate : float, above 0
        γ, the same in every epoch.
    regularization : float, at least 0
        λ, of vectors and biases.
    init_scale : float, at least 0
        Standard deviation of the vectors at the start.
    patience : int or None
        With a validation table: stop after this many epochs without a better one. The best epoch is kept in any case.
    validation_metric : str
        "loss", the mean squared error of the validation ratings, or a metric of ``ancf.evaluate``.
    random_state : int or None
        Seed; the same seed and data give the same bits for any number of threads. None takes a new one each time.
    warm_start : bool
        Let ``fit`` go on from what this model learned before, by ids, and keep in the model what that takes; without it
        ``fit`` begins anew and ``partial_fit`` is refused.
    num_threads : int, optional
    verbose : int
        1 prints the losses of each epoch.
    show_progress : bool, optional

    Attributes
    ----------
    history_ : dict
        ``training_loss``: the mean squared error of each epoch, of what counts of each rating, before its step. With a
        validation table ``validation_loss``, of whole ratings, and the metric. ``best_epoch`` (from 1), ``settings``,
        among them ``rating_unit`` and ``rating_limits`` where ratings are not taken as they are.

    Notes
    -----
    Somebody unknown is folded in from rated items, ``recommend_for_history({"tea": 5, "pot": 1})``: the vector and the
    bias that minimize the loss of these ratings for the items as they are, by one exact solution. Items without a
    rating count as rated alike, 1. Predictions are not clipped to the range of the ratings: that would make ties at its
    ends.

    Examples
    --------
    >>> import ancf
    >>> ratings = ancf.Interactions.from_ids(
    ...     user=["ann", "ann", "bob", "bob", "eve"],
    ...     item=["tea", "pot", "tea", "cup", "cup"],
    ...     weight=[5, 3, 4, 1, 2],
    ... )
    >>> model = ancf.SVD(factors=4, epochs=100).fit(ratings)
    >>> 3 < model.predict("ann", "tea") < 5
    True
    """

    _learns = _LEARNS

    def __init__(
        self,
        *,
        factors: int = 100,
        epochs: int = 20,
        learning_rate: float = 0.005,
        regularization: float = 0.02,
        init_scale: float = 0.1,
        patience: int | None = 3,
        validation_metric: str = "loss",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.init_scale = init_scale
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Factors, rate, regularization and the vectors at the start; no corner diverges on stars or quantities.

        With 200 factors quantities of a large shop diverged at a rate of 0.05 with vectors of 0.3, and at 0.07 with
        vectors of 0.1.
        """
        return {
            "factors": Integer(8, 200, log=True),
            "learning_rate": Real(0.001, 0.03, log=True),
            "regularization": Real(0.005, 0.2, log=True),
            "init_scale": Real(0.01, 0.2, log=True),
        }

    def _predicts_quantity(self) -> bool:
        return True

    def _check_options(self) -> None:
        check_number("learning_rate", self.learning_rate, 0.0, 1e6, above=True)
        check_number("regularization", self.regularization, 0.0, 1e6)
        check_number("init_scale", self.init_scale, 0.0, 1e6)

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        self._check_memory(data, 5)
        ratings = data.to_csr()
        scale = RatingScale.of(ratings.data)
        seed = self._seed(kept)
        native = _native.SvdTrainer(
            ratings.with_data(scale.in_units(ratings.data)),
            data.n_items,
            factors=int(self.factors),
            learning_rate=float(self.learning_rate),
            regularization=float(self.regularization),
            start_scale=float(self.init_scale),
            seed=seed,
            num_threads=self.num_threads,
        )
        unit = np.float32(scale.unit)
        mean = unit * np.float32(native.mean)

        def build_scorer(state: _State, training: dict[str, Any] | None = None) -> Scorer:
            return self._build_scorer(
                data,
                seen=ratings.sets,
                item_vectors=_with_column(state.items, unit * state.item_biases),
                user_vectors=_with_column(unit * state.users, np.ones(data.n_users, np.float32)),
                user_shift=mean + unit * state.user_biases,
                encoder=_RatingEncoder(self, mean, scale),
                training=training,
            )

        return self._train(
            _Trainer(native, self.num_threads, scale.unit**2),
            build_scorer,
            data,
            validation,
            {"random_state": seed, **scale.settings()},
            kept,
            new_pairs_only=False,
        )

    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        return float(np.mean((known_scores(scorer, pairs.users, pairs.items) - pairs.weights) ** 2))

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        mean = meta.get("mean")
        if not isinstance(mean, float) or not fits_float32(np.array(mean)):
            raise ModelFileError(f"model file: the mean rating is {mean!r}. Load another copy.")
        limits = meta.get("rating_limits")
        if limits is None:
            return _RatingEncoder(self, np.float32(mean), RatingScale())
        is_pair = isinstance(limits, list) and len(limits) == 2 and all(isinstance(each, float) for each in limits)
        if not is_pair or not np.isfinite(limits).all() or limits[0] > limits[1]:
            raise ModelFileError(f"model file: the rating limits are {limits!r}. Load another copy.")
        return _RatingEncoder(self, np.float32(mean), RatingScale(low=limits[0], high=limits[1]))


class _RatingEncoder(_BiasedEncoder):
    """The vector and the bias that fit the ratings of a history best."""

    def __init__(self, model: SVD, mean: np.float32, scale: RatingScale) -> None:
        self.regularization, self.mean, self.scale = float(model.regularization), mean, scale

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        expected = self.mean + scorer.item_vectors[histories.items, -1]
        vectors, shifts = _native.svd_user_vectors(
            (histories.indptr, histories.items, self.scale.clip(histories.weights) - expected),
            scorer.item_vectors,
            regularization=self.regularization,
            num_threads=num_threads,
        )
        return EncodedUsers(vectors, shift=self.mean + shifts)

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        limits = {"rating_limits": [self.scale.low, self.scale.high]} if self.scale.is_limited else {}
        return {}, {"mean": float(self.mean), **limits}
