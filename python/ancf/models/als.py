"""Alternating least squares for implicit feedback: what was bought scores 1, everything else a little towards 0.

    L = Σ_{(u,i) bought} c_ui (1 − ⟨p_u, q_i⟩)² + α₀ Σ_{all (u,i)} ⟨p_u, q_i⟩²
        + λ Σ_u (n_u + α₀ n_items)^ν ‖p_u‖² + λ Σ_i (n_i + α₀ n_users)^ν ‖q_i‖²

Hu, Koren, Volinsky, *Collaborative Filtering for Implicit Feedback Datasets* (ICDM 2008), with the weight α₀ of all
pairs and the regularization by frequency of Rendle, Krichene, Zhang, Koren, *Revisiting the Performance of iALS on Item
Recommendation Benchmarks* (RecSys 2022). Given one side, each row of the other has an exact solution;
``rust/core/src/model/als.rs`` says how it is found with a system no larger than the row. A few steps of conjugate
gradients towards it, from where the row stood, take a fraction of the time (Takács, Pilászy, Tikk, RecSys 2011).

The user is the history: somebody unknown gets the one exact solution that training would have given, and each purchase
adds its own part to a score, p_u = W_u Σ_j c_uj q_j with W_u = (α₀ QᵀQ + λ_u I + Σ_j c_uj q_j q_jᵀ)⁻¹.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import Checkpoint
from ancf.checks import check_choice, check_flag, check_number
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError
from ancf.models.factor_training import (
    FactorModel,
    NativeTrainer,
    ValidationPairs,
    known_scores,
    read_floats,
    thread_count,
)
from ancf.scoring.histories import Histories, ones
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Side
from ancf.search_space import Integer, Real, SearchSpace

Floats = NDArray[np.float32]
Auto = Literal["auto"]
Solver = Literal["auto", "exact", "cg"]

# "auto": as much weight on what is not observed as so many purchases of each user; validation parts of four tables with
# 1,522 to 40,981 items agree on some 200 to 800 (docs/quality.md).
_UNOBSERVED_PER_USER = 400.0
# Of conjugate gradients for each row and sweep: two reach the loss of exact sweeps to four digits, one does not
# (docs/quality.md).
_STEPS = 2


class ALS(FactorModel):
    """Alternating least squares for implicit feedback (Hu, Koren, Volinsky 2008; Rendle et al. 2022).

    Every sweep solves all items given the users and then all users given the items. The reference is the protocol of
    Rendle et al.: HR@10 .732 and NDCG@10 .453 with 128 factors on MovieLens 1M, each user's last item among 99 sampled
    ones.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in a vector.
    epochs : int, at least 1
        Sweeps over both sides.
    unobserved_weight : float, at least 0, or "auto"
        α₀, the weight of every pair towards a score of 0, where a purchase weighs 1 towards a score of 1. "auto": 400
        over the number of items, at most 1.
    regularization : float, above 0
        λ.
    regularization_exponent : float, 0 to 2
        ν: how much more what occurs often is regularized; 0 for all alike.
    solver : "auto", "exact" or "cg"
        How a sweep solves: exactly, or by two steps of conjugate gradients from where the sweep before ended, in a
        fraction of the time. "auto": "cg", which comes as far in as many sweeps, but with ``use_weights`` "exact",
        since with weights of all sizes steps do not (docs/quality.md). In the end users are solved exactly, so that an
        unknown history has the bits of training either way.
    use_weights : bool
        Take the table's weights (above 0) as c_ui, instead of 1 for each pair. Quantities with a long tail are better
        read with ``normalize="log"``.
    patience : int or None
        With a validation table: stop after this many epochs without a better one. The best epoch is kept in any case.
    validation_metric : str
        "ndcg@10" or another of ``ancf.evaluate``, or "loss", the mean of (1 − score)² over new pairs.
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
        ``training_loss``: L divided by the number of pairs, for each epoch; it never rises. With a validation table
        ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.ALS(factors=4, epochs=5, unobserved_weight=0.1).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    >>> model.explain(4, "cup").reasons[0].item_id
    'tea'
    """

    _learns: ClassVar[Mapping[str, Side]] = {"users": "users", "items": "items"}

    def __init__(
        self,
        *,
        factors: int = 64,
        epochs: int = 15,
        unobserved_weight: float | Auto = "auto",
        regularization: float = 0.007,
        regularization_exponent: float = 1.0,
        solver: Solver = "auto",
        use_weights: bool = False,
        patience: int | None = 3,
        validation_metric: str = "ndcg@10",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.epochs = epochs
        self.unobserved_weight = unobserved_weight
        self.regularization = regularization
        self.regularization_exponent = regularization_exponent
        self.solver = solver
        self.use_weights = use_weights
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Factors, what is not observed, and regularization, as Rendle et al. (2022) search them."""
        return {
            "factors": Integer(16, 256, log=True),
            "unobserved_weight": Real(0.001, 1.0, log=True),
            "regularization": Real(0.0005, 0.1, log=True),
            "regularization_exponent": Real(0.0, 1.0),
        }

    def _check_options(self) -> None:
        if not (isinstance(self.unobserved_weight, str) and self.unobserved_weight == "auto"):
            check_number("unobserved_weight", self.unobserved_weight, 0.0, 1e6, words="'auto' or ")
        check_number("regularization", self.regularization, 0.0, 1e6, above=True)
        check_number("regularization_exponent", self.regularization_exponent, 0.0, 2.0)
        check_choice("solver", self.solver, get_args(Solver))
        check_flag("use_weights", self.use_weights)

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        self._check_memory(data, 4, 12 * int(self.factors) ** 2 * thread_count(self.num_threads))
        history = data.to_csr()
        if self.use_weights:
            _check_weights(data, history)
        else:
            history = history.with_data(np.ones_like(history.data))
        seed = self._seed(kept)
        penalty = self._penalty(data.n_items)
        solver = ("exact" if self.use_weights else "cg") if self.solver == "auto" else self.solver
        trainer = _Trainer(self, history, data.n_items, seed, penalty, solver)

        def build_scorer(state: _State, training: dict[str, Any] | None = None) -> Scorer:
            confidence = history.data if self.use_weights else None
            return self._build_scorer(
                data,
                seen=history.sets,
                item_vectors=state.items,
                user_vectors=state.users,
                encoder=_ExactEncoder(penalty, state.gramian, confidence),
                training=training,
            )

        settings = {"random_state": seed, **penalty, "solver": solver}
        return self._train(trainer, build_scorer, data, validation, settings, kept)

    def _penalty(self, n_items: int) -> dict[str, float]:
        weight = self.unobserved_weight
        if weight == "auto":
            weight = min(1.0, _UNOBSERVED_PER_USER / n_items)
        return {
            "unobserved_weight": float(weight),
            "regularization": float(self.regularization),
            "regularization_exponent": float(self.regularization_exponent),
        }

    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        return float(np.mean((1.0 - known_scores(scorer, pairs.users, pairs.items)) ** 2))

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        gramian = read_floats(arrays, "gramian", arrays["item_vectors"].shape[1:])
        confidence = read_floats(arrays, "confidence", arrays["seen.items"].shape) if self.use_weights else None
        return _ExactEncoder(self._penalty(len(arrays["item_vectors"])), gramian, confidence)


class _State(NamedTuple):
    """What an epoch leaves."""

    users: Floats
    items: Floats
    gramian: Floats  # the diagonal of QᵀQ, which has nothing beside it


class _Trainer(NativeTrainer["_native.AlsTrainer"]):
    """The core's trainer, an epoch at a time."""

    def __init__(
        self, model: ALS, history: Csr, n_items: int, seed: int, penalty: Mapping[str, float], solver: str
    ) -> None:
        native = _native.AlsTrainer(
            history,
            n_items,
            factors=int(model.factors),
            steps=_STEPS if solver == "cg" else None,
            seed=seed,
            num_threads=model.num_threads,
            **penalty,
        )
        super().__init__(native, model.num_threads)

    def epoch(self, epoch: int) -> float:
        """One sweep over both sides; the loss."""
        return self._native.epoch(self._threads)

    def state(self) -> _State:
        """The vectors as they stand."""
        return _State(*self._native.state(self._threads))


class _ExactEncoder(Encoder):
    """The user is the solution of the history's equations, as in training."""

    def __init__(self, penalty: Mapping[str, float], gramian: Floats, confidence: Floats | None) -> None:
        self.penalty, self.gramian, self.confidence = penalty, gramian, confidence

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        weights = self._weights(histories)
        return EncodedUsers(
            _native.als_user_vectors(
                (histories.indptr, histories.items, weights),
                scorer.item_vectors,
                self.gramian,
                num_threads=num_threads,
                **self.penalty,
            )
        )

    def _weights(self, histories: Histories) -> Floats:
        if self.confidence is None:
            return ones(len(histories.items))
        low = np.flatnonzero(histories.weights <= 0)
        if len(low):
            row = int(np.searchsorted(histories.indptr, low[0], side="right")) - 1
            raise InvalidDataError(
                f"history {row} has a weight of {histories.weights[low[0]]}; ALS(use_weights=True) needs weights "
                "above 0. Leave such items out."
            )
        return histories.weights

    def history_contributions(
        self, scorer: Scorer, histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """c_uj q_iᵀ W_u q_j for each item j of the history; their sum over j is ⟨p_u, q_i⟩."""
        if user is not None and self.confidence is not None:
            weights = self.confidence[scorer.seen.indptr[user] : scorer.seen.indptr[user + 1]]
        else:
            weights = self._weights(histories)
        had = scorer.item_vectors[histories.items].astype(np.float64)
        penalty, n_items = self.penalty, len(scorer.item_vectors)
        frequency = len(had) + penalty["unobserved_weight"] * n_items
        ridge = penalty["regularization"] * math.pow(frequency, penalty["regularization_exponent"])
        matrix = (had * weights[:, None]).T @ had
        matrix[np.diag_indices_from(matrix)] += penalty["unobserved_weight"] * self.gramian + ridge
        solved = np.linalg.solve(matrix, had.T).T
        return np.asarray(weights[:, None] * inner_products(solved, scorer.item_vectors[items]))

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        arrays = {"gramian": self.gramian}
        if self.confidence is not None:
            arrays["confidence"] = self.confidence
        return arrays, {}


def _check_weights(data: Interactions, history: Csr) -> None:
    low = np.flatnonzero(history.data <= 0)
    if len(low):
        at = int(low[0])
        user = data.user_ids.values.tolist()[int(np.searchsorted(history.indptr, at, side="right")) - 1]
        item = data.item_ids.values.tolist()[history.indices[at]]
        raise InvalidDataError(
            f"use_weights needs weights above 0; that of user {user!r} and item {item!r} is {history.data[at]}. "
            "Leave such pairs out, or use_weights=False."
        )
