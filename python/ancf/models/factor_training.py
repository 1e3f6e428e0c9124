"""What models with a vector for each user and each item have in common: epochs, a validation part, memory, the seed.

``ALS`` (``als.py``), ``BPR`` and ``SVD`` (``mf.py``), ``GMF``, ``MLP`` and ``NeuMF`` (``neural.py``) and ``LightGCN``
(``lightgcn.py``) say what is learned and what is served of it.
"""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import Checkpoint, CheckpointPath, open_checkpoint
from ancf.checks import check_flag, check_integer
from ancf.data.csr import ItemSets
from ancf.data.interactions import Interactions
from ancf.epochs import Trainer, Validation, print_settings, run_epochs
from ancf.errors import InvalidCallError, InvalidParameterError, ModelFileError
from ancf.evaluation import check_metric, evaluate_scorer, parse_metrics
from ancf.models.base import Recommender
from ancf.models.resuming import fit_of
from ancf.scoring.limits import check_training_memory
from ancf.scoring.parts import Arrays
from ancf.scoring.scorer import Scorer
from ancf.scoring.start import Side, Start
from ancf.scoring.updates import Update

MAX_FACTORS = 4096

# Of the epochs that an update takes.
_SHARE_OF_EPOCHS = 0.1

State = TypeVar("State")


class _Native(Protocol):
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, NDArray[np.float32]], int]: ...
    def resume(self, numbers: dict[str, NDArray[np.float32]], steps: int, num_threads: int | None = None) -> None: ...


NativeT = TypeVar("NativeT", bound=_Native)


class NativeTrainer(Generic[NativeT]):
    """A trainer of the core that a checkpoint may keep."""

    def __init__(self, native: NativeT, num_threads: int | None) -> None:
        self._native, self._threads = native, num_threads

    def progress(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        """Every number that an epoch changes, by name, and the steps taken."""
        return self._native.progress(self._threads)

    def resume(self, numbers: dict[str, NDArray[np.float32]], steps: int) -> None:
        """Go on from what ``progress`` gave."""
        self._native.resume(numbers, steps, self._threads)


class ValidationPairs(NamedTuple):
    """Pairs of a validation table by the positions of training."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    weights: NDArray[np.float32]


class FactorModel(Recommender):
    """A model that learns vectors of users and items by epochs.

    Attributes
    ----------
    history_ : dict, the losses and metrics of each epoch, the best epoch (from 1), and what open options became
    """

    factors: int
    epochs: int
    patience: int | None
    validation_metric: str
    random_state: int | None
    warm_start: bool
    verbose: int
    show_progress: bool | None

    #: The numbers of the trainer that another training goes on from, and whose they are.
    _learns: ClassVar[Mapping[str, Side]]

    @property
    def history_(self) -> dict[str, Any]:
        """``training_loss`` and, with a validation table, ``validation_loss`` and the metric: one number an epoch.

        ``best_epoch`` counts from 1. ``settings`` has what ``None`` and ``auto`` became.
        """
        training = self._fitted().training
        return {} if training is None else training

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
            A pair that occurs twice counts once, with the sum of its weights. ``SVD`` predicts the weights, ``ALS`` may
            use them, and to the others they do not matter.
        validation : Interactions, optional
            Held-out purchases or ratings of the same users: they choose the epoch, and are never learned from.
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
            If the table holds no interactions or weights that make no sense, or the checkpoint is of another fit; says
            in what they differ.
        InvalidParameterError
            If an option makes no sense, or the model would not fit into memory; names the option and its value.
        DivergedError
            If the numbers leave the finite ones; the object is as it was before.
        """
        self._check_training_options()
        self._check_options()
        data = self._training_data(interactions, validation)
        with open_checkpoint(checkpoint, every, resume, lambda: fit_of(self, data, validation)) as kept:
            self._scorer = self._learn(data, validation, kept)
        return self

    # ---- what a model says

    @abstractmethod
    def _check_options(self) -> None:
        """Refuse options of its own that make no sense."""

    @abstractmethod
    def _learn(self, data: Interactions, validation: Interactions | None, kept: Checkpoint | None) -> Scorer:
        """Learn from the table of training; by ``_train``."""

    @abstractmethod
    def _validation_loss(self, scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
        """The mean loss of held-out pairs."""

    # ---- what a model calls

    def _check_training_options(self) -> None:
        """The options that all have in common."""
        check_integer("factors", self.factors, 1, MAX_FACTORS)
        check_integer("epochs", self.epochs, 1, 2**31 - 1)
        if self.patience is not None:
            check_integer("patience", self.patience, 1, 2**31 - 1, words="None or ")
        if not isinstance(self.validation_metric, str):
            raise InvalidParameterError(f'validation_metric is {self.validation_metric!r}; give a name: "ndcg@10".')
        if self.validation_metric != "loss":
            check_metric("validation_metric", self.validation_metric)
        if self.random_state is not None:
            check_integer("random_state", self.random_state, 0, 2**64 - 1, words="None or ")
        check_flag("warm_start", self.warm_start)
        check_integer("verbose", self.verbose, 0, 2**31 - 1)
        if self.show_progress is not None:
            check_flag("show_progress", self.show_progress)

    def _seed(self, kept: Checkpoint | None) -> int:
        """The seed: that of the fit that goes on, the given one, or a new one."""
        seed = int.from_bytes(os.urandom(8), "little") if self.random_state is None else int(self.random_state)
        return seed if kept is None else kept.seed(seed)

    def _check_memory(self, data: Interactions, copies: int, extra_bytes: int = 0) -> None:
        """Refuse vectors that would not fit; ``copies`` of all of them are there at once."""
        needed = 4 * copies * (data.n_users + data.n_items) * self.factors + 48 * len(data) + extra_bytes
        what = f"{self.factors} factors of {data.n_users:,} users and {data.n_items:,} items"
        check_training_memory(needed, what, "Take fewer factors, or leave out users and items with few interactions.")

    def _train(
        self,
        trainer: Trainer[State],
        build_scorer: Callable[..., Scorer],
        data: Interactions,
        validation: Interactions | None,
        settings: dict[str, Any],
        kept: Checkpoint | None,
        *,
        new_pairs_only: bool = True,
    ) -> Scorer:
        """All epochs; the scorer of the best one. ``build_scorer(state, training=None)`` makes it of a state.

        ``settings``: what open options became, ``random_state`` among them.
        """
        metric = self.validation_metric
        if metric != "loss":
            metric = next(iter(parse_metrics(metric, 10)))
        validate = None
        if validation is not None:
            part = validation
            pairs = validation_pairs(data, validation, data.to_csr().sets if new_pairs_only else None)

            def validate(state: State) -> Validation:
                scorer = build_scorer(state)
                loss = self._validation_loss(scorer, pairs, settings["random_state"]) if len(pairs.users) else 0.0
                if metric == "loss":
                    return Validation(loss, -loss)
                return Validation(loss, evaluate_scorer(scorer, part, [metric], num_threads=self.num_threads)[metric])

        print_settings("Settings", settings, self.verbose)
        before = self._scorer
        if self.warm_start and before is not None and before.start is not None:
            for name in ("factors", "layers"):
                had, have = before.options.get(name), getattr(self, name, None)
                if had != have:
                    raise InvalidParameterError(
                        f"warm_start: {name} was {had!r} in what was learned and is {have!r}. Set it to {had!r}, or "
                        "fit a new model (clone)."
                    )
            trainer.resume(before.start.put_into(trainer.progress()[0], data.user_ids, data.item_ids), 0)
        result = run_epochs(
            trainer,
            int(self.epochs),
            validate=validate,
            metric=metric,
            patience=self.patience,
            verbose=self.verbose,
            show_progress=self.show_progress,
            keeper=kept,
        )
        record = {**result.history, "best_epoch": result.best_epoch, "settings": settings}
        scorer = build_scorer(result.state, training=record)
        if not self.warm_start:
            return scorer
        return replace(scorer, start=Start.of(data.user_ids, data.item_ids, trainer.progress()[0], self._learns))

    # ---- updating

    def _check_update(self, scorer: Scorer) -> None:
        if scorer.start is None or scorer.training is None:
            raise InvalidCallError(
                f"this {scorer.model} keeps nothing that its training could go on from. Train it anew with "
                "warm_start=True (ancf train --warm-start), and it takes in purchases from then on; or call fit with "
                "all of them (ancf.concat joins tables)."
            )

    def _updated(self, scorer: Scorer, update: Update) -> Scorer:
        """A tenth of the epochs over all purchases, from what was trained; later updates go on from there, too."""
        assert scorer.start is not None
        assert scorer.training is not None
        assert scorer.purchases is not None
        data = update.data.compact()
        self.epochs = max(1, round(int(self.epochs) * _SHARE_OF_EPOCHS))
        self.random_state = int(scorer.training["settings"]["random_state"])
        self.show_progress = False
        self._scorer = scorer
        found = self.fit(data)._fitted()
        n_trained = scorer.purchases.n_trained
        untrained = int((scorer.start.item_ids.positions(data.item_ids.values) < 0).sum())
        return replace(
            found,
            options=scorer.options,
            start=scorer.start,
            training=scorer.training,
            **update.about(data, scorer.purchases.n_events if n_trained is None else n_trained, untrained),
        )


def validation_pairs(data: Interactions, validation: Interactions, seen: ItemSets | None) -> ValidationPairs:
    """The pairs whose user and item are known; without those ``seen`` in training where only new ones count."""
    indptr, columns, weights = validation.to_csr()
    users = np.repeat(data.user_ids.positions(validation.user_ids.values), np.diff(indptr))
    items = data.item_ids.positions(validation.item_ids.values)[columns]
    keep = (users >= 0) & (items >= 0)
    if seen is not None:
        had = np.repeat(np.arange(data.n_users), np.diff(seen.indptr)) * data.n_items + seen.items
        keep &= ~np.isin(users * data.n_items + items, had)
    return ValidationPairs(users[keep], items[keep], weights[keep])


def known_scores(scorer: Scorer, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
    """The scores of pairs by position."""
    return scorer.ranker.scores(users, items).astype(np.float64)


def ranking_loss(scorer: Scorer, pairs: ValidationPairs, seed: int) -> float:
    """−ln σ of what held-out items score above items drawn against them, in the mean."""
    others = np.random.default_rng(seed).integers(0, len(scorer.item_ids), len(pairs.items))
    margin = known_scores(scorer, pairs.users, pairs.items) - known_scores(scorer, pairs.users, others)
    return float(np.mean(np.logaddexp(0.0, -margin)))


def read_floats(arrays: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array of a model file, its type, shape and numbers checked.

    Raises
    ------
    ModelFileError
    """
    found = arrays.get(name)
    if found is None or found.dtype != np.float32 or found.shape != shape:
        raise ModelFileError(f"model file: {name} is missing or of another shape. Load another copy.")
    if not np.isfinite(found).all():
        raise ModelFileError(f"model file: {name} holds numbers that are not finite. Load another copy.")
    return found


def read_number(meta: Mapping[str, Any], name: str) -> int:
    """A whole number of a model file that fits 64 bits.

    Raises
    ------
    ModelFileError
    """
    found = meta.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**64:
        raise ModelFileError(f"model file: {name} is {found!r}, not a whole number. Load another copy.")
    return found


def thread_count(num_threads: int | None) -> int:
    """The threads that training will use."""
    return _native.resolve_num_threads(num_threads)
