"""``LightGCN``: embeddings of users and items, propagated over the graph of purchases.

    f = 1/(K + 1) Σ_{k = 0..K} Â^k e,   score(u, i) = ⟨f_u, f_i⟩     Â: 1/√(n_u n_i) between u and each i that u has

He, Deng, Wang, Li, Zhang, Wang, *LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation*
(SIGIR 2020). ``ancf.reference_neural`` has the formulas in NumPy, ``rust/core/src/train/lightgcn.rs`` learns them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import Checkpoint
from ancf.checks import check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX, inner_products
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.models.factor_training import (
    FactorModel,
    NativeTrainer,
    ValidationPairs,
    ranking_loss,
    read_floats,
)
from ancf.scoring.histories import Histories
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Side
from ancf.search_space import Integer, Real, SearchSpace

Floats = NDArray[np.float32]
Auto = Literal["auto"]


class _State(NamedTuple):
    """What an epoch leaves."""

    users: Floats
    items: Floats
    contributions: Floats


class _Trainer(NativeTrainer["_native.LightGcnTrainer"]):
    """The core's trainer, an epoch at a time."""

    def epoch(self, epoch: int) -> float:
        """One round over the purchases; the mean loss."""
        return self._native.epoch(epoch, self._threads)

    def state(self) -> _State:
        """The vectors as they stand."""
        return _State(*self._native.state(self._threads))


class LightGCN(FactorModel):
    """Embeddings propagated over the graph of purchases (He et al. 2020): a user is also what they bought.

    The reference is Recall@20 .1830 and NDCG@20 .1554 on the LightGCN split of Gowalla: 64 factors, 3 layers, 1,000
    epochs of batches of 2,048 purchases.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in an embedding.
    n_layers : int, 1 to 16
        K, how many steps of the graph an embedding is propagated.
    epochs : int, at least 1
        Rounds over the table.
    batch_size : int or "auto"
        Purchases of a step. Each step propagates over the whole graph, so few, large steps are much faster. auto: a
        fifth of all, at least 2,048.
    learning_rate : float, above 0
        The rate of Adam at the start; it falls to zero like half a cosine.
    regularization : float, at least 0
        L2 penalty of the embeddings of a purchase and the item drawn against it, before they are propagated.
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
        ``training_loss``: the mean of −ln σ(score of a purchase − score of an item drawn against it) over each epoch.
        With a validation table ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Notes
    -----
    A user's vector is 1/(K + 1) of their own embedding and what each purchase adds, which explanations show. Somebody
    unknown has no embedding and is what the purchases add: p = n^-½ Σ_j n_j^-½ Σ_{k < K} (Â^k e)_j / (K + 1).

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.LightGCN(factors=8, n_layers=2, epochs=30).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    >>> model.recommend_for_history(["pen"], N=1).ids.tolist()
    ['ink']
    """

    _learns: ClassVar[Mapping[str, Side]] = {"embeddings of users": "users", "embeddings of items": "items"}

    def __init__(
        self,
        *,
        factors: int = 64,
        n_layers: int = 3,
        epochs: int = 40,
        batch_size: int | Auto = "auto",
        learning_rate: float = 0.03,
        regularization: float = 1e-4,
        patience: int | None = 5,
        validation_metric: str = "ndcg@10",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.n_layers = n_layers
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Factors, layers, rate and regularization; no model takes more than half as long again as the default."""
        return {
            "factors": Integer(16, 96, log=True),
            "n_layers": Integer(1, 3),
            "learning_rate": Real(0.005, 0.05, log=True),
            "regularization": Real(1e-5, 1e-2, log=True),
        }

    def _check_options(self) -> None:
        check_integer("n_layers", self.n_layers, 1, 16)
        if not (isinstance(self.batch_size, str) and self.batch_size == "auto"):
            check_integer("batch_size", self.batch_size, 1, 2**31 - 1, words='"auto" or ')
        check_number("learning_rate", self.learning_rate, 0.0, FLOAT32_MAX, above=True)
        check_number("regularization", self.regularization, 0.0, 1e6)

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        self._check_memory(data, 10)
        history, seed = data.to_csr(), self._seed(kept)
        n = len(history.indices)
        batch_size = min(max(-(-n // 5), 2048) if self.batch_size == "auto" else int(self.batch_size), n)
        native = _native.LightGcnTrainer(
            history,
            data.n_items,
            factors=int(self.factors),
            n_layers=int(self.n_layers),
            epochs=int(self.epochs),
            batch_size=batch_size,
            learning_rate=float(self.learning_rate),
            regularization=float(self.regularization),
            seed=seed,
            num_threads=self.num_threads,
        )

        def build_scorer(state: _State, training: dict[str, Any] | None = None) -> Scorer:
            return self._build_scorer(
                data,
                seen=history.sets,
                item_vectors=state.items,
                user_vectors=state.users,
                encoder=_GraphEncoder(state.contributions),
                training=training,
            )

        settings = {"random_state": seed, "batch_size": batch_size}
        return self._train(_Trainer(native, self.num_threads), build_scorer, data, validation, settings, kept)

    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        return ranking_loss(scorer, pairs, seed)

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _GraphEncoder(read_floats(arrays, "contributions", arrays["item_vectors"].shape))


class _GraphEncoder(Encoder):
    """Somebody unknown is what their purchases add."""

    def __init__(self, contributions: Floats) -> None:
        self.contributions = contributions
        """What an item adds to a user of n items, times √n (n_items, d)."""

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        lengths = np.diff(histories.indptr)
        weights = np.repeat(1.0 / np.sqrt(np.maximum(lengths, 1)), lengths).astype(np.float32)
        weighted = Csr(histories.indptr, histories.items, weights)
        return EncodedUsers(_native.weighted_sums(weighted, self.contributions, num_threads))

    def history_contributions(
        self, scorer: Scorer, histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """n^-½ ⟨c_j, f_i⟩ for each item j of the history and each i of ``items``."""
        had = self.contributions[histories.items]
        return np.asarray(inner_products(had, scorer.item_vectors[items]) / np.sqrt(max(len(had), 1)))

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        rest = float(vector.astype(np.float64) @ scorer.item_vectors[item]) - (explained or 0.0)
        # Of somebody unknown nothing is left but rounding.
        return {"the user's own embedding": rest} if abs(rest) > 1e-6 * (1.0 + abs(explained or 0.0)) else {}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        return {"contributions": self.contributions}, {}
