"""How ``ANCF`` learns: the epochs, watched on a validation part, and the choice of what the options leave open."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from ancf.checkpoints import Checkpoint
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.epochs import Progress, Trainer, TrainingResult, Validation, progress_bar, run_epochs
from ancf.errors import InvalidParameterError
from ancf.evaluation import parse_metrics
from ancf.models.ancf.machines import is_elsewhere
from ancf.models.ancf.network_training import NetworkTrainer
from ancf.models.ancf.options import Settings
from ancf.models.ancf.selection import START_HALF_LIFE, HeldOut, Measure, Measured, select_mixture
from ancf.models.ancf.shrinkage import choose_shrinkage
from ancf.models.ancf.softmax import SoftmaxTrainer
from ancf.models.ancf.temporal import pair_shares
from ancf.models.ancf.training_table import TrainingTable
from ancf.scoring.scorer import Scorer

State = TypeVar("State")
TrainerClass = type[SoftmaxTrainer] | type[NetworkTrainer]


class ScorerTrainer(Trainer[State], Protocol[State]):
    """What the two trainers have in common: they learn a state by epochs, and say what is served of it."""

    pairs: Csr
    """What is learned from."""
    mixes_at_once: bool
    """Whether many mixtures take little more than one."""

    @property
    def batch_size(self) -> int: ...
    def validation_loss(self, targets: Csr) -> float: ...
    def grids(self, held_out: HeldOut, settings: Settings) -> dict[str, tuple[Any, ...]]: ...
    def ndcg_by_mixture(
        self, state: State, neighbors: Csr | None, held_out: HeldOut, settings: Settings
    ) -> Measure: ...
    def measure(
        self, state: State, settings: Settings, validation: Interactions, metric: str, **about: Any
    ) -> float: ...
    def build_scorer(self, state: State, neighbors: Csr | None, settings: Settings, **about: Any) -> Scorer: ...


class Watching(NamedTuple):
    """How a training is watched, and of whom it is."""

    metric: str
    patience: int | None
    verbose: int
    show_progress: bool | None
    about: dict[str, Any]
    """What a scorer says of its model."""


def may_weigh_interest(data: Interactions, interest: str) -> bool:
    """Whether some pairs of a table are no purchases.

    Raises
    ------
    InvalidParameterError
        If they are to weigh something, and there are none.
    """
    has_interest = pair_shares(data) is not None
    if interest == "given" and not has_interest:
        raise InvalidParameterError(
            'interest="given" has no effect: every event of this table is a purchase. Leave it out, or read the '
            "column of event types (event=)."
        )
    if interest == "given" and is_elsewhere():
        raise InvalidParameterError('interest="given" is not learned on workers. Leave it out, or call fit here.')
    return has_interest and not is_elsewhere()


def choose_on_a_first_training(
    trainer_class: TrainerClass,
    table: TrainingTable,
    held_out: HeldOut,
    settings: Settings,
    kept: Checkpoint | None,
    watch: Watching,
) -> Settings:
    """The settings with their open choices made."""
    chosen = None if kept is None else kept.chosen("training")
    if chosen is not None:
        return replace(settings, **chosen)
    first = trainer_class.first_training(held_out, settings)
    trainer: ScorerTrainer[Any] = trainer_class(table, first, held_out)
    epochs = first.epochs
    if watch.verbose:
        print("Choosing what the options leave open, on purchases held out for that", flush=True)
    with progress_bar("Choosing", epochs, watch.verbose, watch.show_progress) as advance:
        at: Progress[Any] = Progress() if kept is None else kept.begin("choosing", trainer)
        while at.epochs < epochs:
            trainer.epoch(at.epochs)
            at.epochs += 1
            advance(at.epochs)
            if kept is not None:
                kept.keep("choosing", trainer, at, last=at.epochs == epochs)
    shrinkage, neighbors = choose_shrinkage(table, held_out, settings)
    settings = replace(settings, neighbor_shrinkage=shrinkage)
    found = choose(trainer, trainer.state(), neighbors, held_out, settings)
    chosen = {**found, "neighbor_shrinkage": shrinkage}
    if kept is not None:
        kept.choose(chosen)
    return replace(settings, **chosen)


def train(
    trainer: ScorerTrainer[State],
    table: TrainingTable,
    settings: Settings,
    validation: Interactions | None,
    kept: Checkpoint | None,
    watch: Watching,
) -> TrainingResult[State]:
    """All epochs, watched on the validation table where there is one."""
    metric = watch.metric
    if metric == "auto":
        metric = "loss" if settings.loss == "mse" else "ndcg@10"
    if metric != "loss":
        metric = next(iter(parse_metrics(metric, 10)))
    validate = None
    if validation is not None:
        validate = _validator(trainer, table, settings, validation, metric, watch.about)
    return run_epochs(
        trainer,
        settings.epochs,
        validate=validate,
        metric=metric,
        patience=watch.patience,
        verbose=watch.verbose,
        show_progress=watch.show_progress,
        keeper=kept,
    )


def _validator(
    trainer: ScorerTrainer[State],
    table: TrainingTable,
    settings: Settings,
    validation: Interactions,
    metric: str,
    about: dict[str, Any],
) -> Callable[[State], Validation]:
    """A function that measures a state on the validation part; the model itself is left alone."""
    targets = table.validation_targets(validation)

    def validate(state: State) -> Validation:
        loss = trainer.validation_loss(targets)
        if metric == "loss":
            return Validation(loss, -loss)
        # New items are what is measured, and the item-item part is not there yet.
        return Validation(loss, trainer.measure(state, settings, validation, metric, **about))

    return validate


def choose(
    trainer: ScorerTrainer[State],
    state: State,
    neighbors: Csr | None,
    held_out: HeldOut,
    settings: Settings,
) -> dict[str, Any]:
    """The mixture of the parts of the score that ranks the held-out purchases best."""
    measure = trainer.ndcg_by_mixture(state, neighbors, held_out, settings)
    start = {**settings.record(), "half_life": START_HALF_LIFE}
    measured = Measured(measure, step=held_out.step, at_once=trainer.mixes_at_once)
    return select_mixture(held_out, measured, trainer.grids(held_out, settings), start)
