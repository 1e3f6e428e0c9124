"""Neural collaborative filtering (He, Liao, Zhang, Nie, Hu, Chua, WWW 2017): ``GMF``, ``MLP`` and ``NeuMF``.

    GMF     ŷ = σ(b + Σ_k h_k p_k q_k)                        a product whose factors have weights
    MLP     ŷ = σ(b + ⟨o, h_L⟩),  h_l = max(h_{l−1} W_l + b_l, 0),  h_0 = [p'; q']      layers over embeddings
    NeuMF   ŷ = σ(b + Σ_k h_k p_k q_k + ⟨o, h_L⟩)             both, each with embeddings of its own

All are learned by cross-entropy: a purchase is 1, and items drawn against it are 0. ``ancf.reference_neural`` has the
formulas in NumPy, ``rust/core/src/train/neural`` learns them, and ``rust/core/src/model/layers.rs`` ranks with them:
all items, every pair through the layers.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import Checkpoint
from ancf.checks import check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError
from ancf.models.factor_training import (
    FactorModel,
    NativeTrainer,
    ValidationPairs,
    known_scores,
    read_floats,
    read_number,
)
from ancf.models.neural_encoder import NeuralEncoder
from ancf.scoring.parts import Arrays, Layers
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Side
from ancf.search_space import Integer, Real, SearchSpace

Floats = NDArray[np.float32]

_MAX_LAYERS = 64
_MAX_WIDTH = 4096


class _State(NamedTuple):
    """What an epoch leaves."""

    users: Floats
    items: Floats
    layers: Floats


class _Trainer(NativeTrainer["_native.NeuralTrainer"]):
    """The core's trainer, an epoch at a time."""

    def epoch(self, epoch: int) -> float:
        """One round over the purchases; the mean cross-entropy."""
        return self._native.epoch(epoch, self._threads)

    def state(self) -> _State:
        """What is served of the network as it stands."""
        return _State(*self._native.state(self._threads))


class _Network(FactorModel):
    """What the three have in common: they differ in whether there is a product, and whether there are layers."""

    _learns: ClassVar[Mapping[str, Side]] = {"users": "users", "items": "items", "weights": "all"}

    batch_size: int
    n_negatives: int
    learning_rate: float
    regularization: float

    @abstractmethod
    def _has_product(self) -> bool:
        """Whether there is a product of embeddings."""

    def _widths(self) -> list[int]:
        """The widths of the layers."""
        return []

    def _dropout(self) -> float:
        return 0.0

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """Factors, rate, regularization and negatives; with layers dropout, too."""
        space: dict[str, Any] = {
            "factors": Integer(8, 128, log=True),
            "learning_rate": Real(0.001, 0.02, log=True),
            "regularization": Real(0.001, 0.1, log=True),
            "n_negatives": Integer(2, 16, log=True),
        }
        return {**space, "dropout": Real(0.0, 0.5)} if self._widths() else space

    def _check_options(self) -> None:
        check_integer("batch_size", self.batch_size, 1, 2**31 - 1)
        check_integer("n_negatives", self.n_negatives, 1, 1000)
        check_number("learning_rate", self.learning_rate, 0.0, FLOAT32_MAX, above=True)
        check_number("regularization", self.regularization, 0.0, 1e6)
        self._widths()
        check_number("dropout", self._dropout(), 0.0, 0.99)

    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        factors, widths = int(self.factors), self._widths()
        product, embedding = factors if self._has_product() else 0, factors if widths else 0
        copies = 6 if product and embedding else 4
        self._check_memory(data, copies, 4 * data.n_items * sum(widths))
        history, seed = data.to_csr(), self._seed(kept)
        native = _native.NeuralTrainer(
            history,
            data.n_items,
            product=product,
            embedding=embedding,
            widths=widths,
            epochs=int(self.epochs),
            batch_size=min(int(self.batch_size), len(history.indices)),
            negatives=int(self.n_negatives),
            learning_rate=float(self.learning_rate),
            regularization=float(self.regularization),
            dropout=float(self._dropout()),
            seed=seed,
            num_threads=self.num_threads,
        )

        def build_scorer(state: _State, training: dict[str, Any] | None = None) -> Scorer:
            return self._build_scorer(
                data,
                seen=history.sets,
                item_vectors=state.items,
                user_vectors=state.users,
                encoder=NeuralEncoder.of_users(state.users, seed, int(self.n_negatives)),
                head="layers" if widths else "inner",
                layers=Layers(product, widths, state.layers) if widths else None,
                link="sigmoid",
                training=training,
            )

        trainer = _Trainer(native, self.num_threads)
        return self._train(trainer, build_scorer, data, validation, {"random_state": seed}, kept)

    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        others = np.random.default_rng(seed).integers(0, len(scorer.item_ids), len(pairs.items))
        bought = known_scores(scorer, pairs.users, pairs.items)
        drawn = 1.0 - known_scores(scorer, pairs.users, others)
        return float(-np.log(np.maximum(np.concatenate([bought, drawn]), 1e-30)).mean())

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        width = arrays["item_vectors"].shape[1:]
        return NeuralEncoder(
            read_floats(arrays, "fold_in.mean", width),
            read_floats(arrays, "fold_in.deviation", width),
            read_number(meta, "seed"),
            int(self.n_negatives),
        )


def _read_widths(layers: Any) -> list[int]:
    """The widths that the option ``layers`` lists."""
    wrong = f'layers is {layers!r}; give the widths of the layers as text, from the first to the last: "32,16,8".'
    if not isinstance(layers, str):
        raise InvalidParameterError(wrong)
    try:
        widths = [int(width) for width in layers.split(",")]
    except ValueError:
        raise InvalidParameterError(wrong) from None
    if len(widths) > _MAX_LAYERS or not all(1 <= width <= _MAX_WIDTH for width in widths):
        raise InvalidParameterError(
            f"layers is {layers!r}; it takes up to {_MAX_LAYERS} widths, each from 1 to {_MAX_WIDTH:,}."
        )
    return widths


class _Layered(_Network):
    """With layers over embeddings."""

    layers: str
    dropout: float

    def _widths(self) -> list[int]:
        return _read_widths(self.layers)

    def _dropout(self) -> float:
        return self.dropout


class GMF(_Network):
    """Generalized matrix factorization (He et al. 2017): a product of embeddings whose factors have weights.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in an embedding.
    epochs : int, at least 1
        Rounds over the table.
    batch_size : int, at least 1
        Purchases of a step.
    n_negatives : int, 1 to 1000
        Items drawn against each purchase, new ones in every epoch; all items alike that the user does not have.
    learning_rate : float, above 0
        The rate of Adam at the start; it falls to zero like half a cosine.
    regularization : float, at least 0
        λ: each sample's loss has λ/2 times the squares of its two embeddings besides.
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
        ``training_loss``: the mean cross-entropy over the samples of each epoch, each before its step. With a
        validation table ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Notes
    -----
    Scores are probabilities, as the model has learned them among the items drawn.

    A bare history is folded in by 40 steps from the mean user, with the items held fixed: what explains the history
    best, weighed against how the users of training are spread. A user of the training table keeps the vector of
    training, so the two differ.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.GMF(factors=4, epochs=60, learning_rate=0.05).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        epochs: int = 20,
        batch_size: int = 1024,
        n_negatives: int = 4,
        learning_rate: float = 0.005,
        regularization: float = 0.03,
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
        self.batch_size = batch_size
        self.n_negatives = n_negatives
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def _has_product(self) -> bool:
        return True


class MLP(_Layered):
    """Fully connected layers over the embeddings of a user and an item (He et al. 2017).

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in an embedding.
    layers : str
        Widths of the layers, from the one that reads the two embeddings to the last.
    dropout : float, 0 to 0.99
        The part of the layers' outputs that a step leaves out.
    epochs : int, at least 1
        Rounds over the table.
    batch_size : int, at least 1
        Purchases of a step.
    n_negatives : int, 1 to 1000
        Items drawn against each purchase, new ones in every epoch; all items alike that the user does not have.
    learning_rate : float, above 0
        The rate of Adam at the start; it falls to zero like half a cosine.
    regularization : float, at least 0
        λ: each sample's loss has λ/2 times the squares of its two embeddings besides.
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
        ``training_loss``: the mean cross-entropy over the samples of each epoch, each before its step. With a
        validation table ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Notes
    -----
    Every list is exact: all items go through the layers. That takes some hundred times as long as an inner product.

    ``user_vectors_`` and ``item_vectors_`` are what the first layer has of each: it rectifies their sum. Items with
    similar vectors are alike to everybody.

    A bare history is folded in as for ``GMF``, with the layers held fixed, too.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.MLP(factors=8, layers="16,8", epochs=100, learning_rate=0.02).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    """

    def __init__(
        self,
        *,
        factors: int = 32,
        layers: str = "32,16,8",
        dropout: float = 0.0,
        epochs: int = 20,
        batch_size: int = 1024,
        n_negatives: int = 4,
        learning_rate: float = 0.005,
        regularization: float = 0.03,
        patience: int | None = 3,
        validation_metric: str = "ndcg@10",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.layers = layers
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_negatives = n_negatives
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def _has_product(self) -> bool:
        return False


class NeuMF(_Layered):
    """Neural matrix factorization (He et al. 2017): ``GMF`` and ``MLP`` with embeddings of their own, learned together.

    The paper trains the two first and starts from them; here all start from random numbers. The reference is Recall@20
    .1399 and NDCG@20 .1212 on the LightGCN split of Gowalla.

    Parameters
    ----------
    factors : int, 1 to 4096
        d, numbers in each of the two embeddings.
    layers : str
        Widths of the layers, from the one that reads the embeddings of a user and an item to the last.
    dropout : float, 0 to 0.99
        The part of the layers' outputs that a step leaves out.
    epochs : int, at least 1
        Rounds over the table.
    batch_size : int, at least 1
        Purchases of a step.
    n_negatives : int, 1 to 1000
        Items drawn against each purchase, new ones in every epoch; all items alike that the user does not have.
    learning_rate : float, above 0
        The rate of Adam at the start; it falls to zero like half a cosine.
    regularization : float, at least 0
        λ: each sample's loss has λ/2 times the squares of its two embeddings besides.
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
        ``training_loss``: the mean cross-entropy over the samples of each epoch, each before its step. With a
        validation table ``validation_loss`` and the metric. ``best_epoch`` (from 1), ``settings``.

    Notes
    -----
    Every list is exact: all items go through the layers. That takes some hundred times as long as an inner product.
    Vectors are those of the product and, behind them, those of ``MLP``. A bare history is folded in as for ``GMF``.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(
    ...     user=[1, 1, 2, 2, 3, 3, 4], item=["tea", "cup", "tea", "cup", "pen", "ink", "tea"]
    ... )
    >>> model = ancf.NeuMF(factors=8, layers="16,8", epochs=100, learning_rate=0.02).fit(data)
    >>> model.recommend(4, N=1).ids.tolist()
    ['cup']
    """

    def __init__(
        self,
        *,
        factors: int = 32,
        layers: str = "32,16,8",
        dropout: float = 0.0,
        epochs: int = 20,
        batch_size: int = 1024,
        n_negatives: int = 4,
        learning_rate: float = 0.005,
        regularization: float = 0.03,
        patience: int | None = 3,
        validation_metric: str = "ndcg@10",
        random_state: int | None = 0,
        warm_start: bool = False,
        num_threads: int | None = None,
        verbose: int = 0,
        show_progress: bool | None = None,
    ) -> None:
        self.factors = factors
        self.layers = layers
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_negatives = n_negatives
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.patience = patience
        self.validation_metric = validation_metric
        self.random_state = random_state
        self.warm_start = warm_start
        self.num_threads = num_threads
        self.verbose = verbose
        self.show_progress = show_progress

    def _has_product(self) -> bool:
        return True
