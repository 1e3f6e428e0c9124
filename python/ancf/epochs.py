"""Epochs: training, validation, early stopping, the lines people read.

``run_epochs`` knows no model: it asks a trainer for one epoch after the other, a validation function for its numbers,
and keeps what the trainer's best epoch gave. A keeper (``checkpoints.py``) is told where training stands.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf.errors import TrainingWarning

Watcher = Callable[[int, float], None]
"""Takes the number of an epoch, from 1, and the metric that chooses among them."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)

State = TypeVar("State")
State_co = TypeVar("State_co", covariant=True)

# Epochs in a row with a rising validation loss and a falling training loss before a warning is worth it.
_RISES_BEFORE_WARNING = 2


class Trainer(Protocol[State_co]):
    """What learns: one epoch at a time, and a state worth keeping after each."""

    def epoch(self, epoch: int) -> float:
        """Learn for one epoch; the mean training loss."""

    def state(self) -> State_co:
        """What serving needs of the model as it stands."""

    def progress(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        """Every number that an epoch changes, by name, and the steps taken."""

    def resume(self, numbers: dict[str, NDArray[np.float32]], steps: int) -> None:
        """Go on from what ``progress`` gave."""


LOWER_IS_BETTER = ("loss", "mse", "rmse", "mae")
"""Of what a validation part can be measured by."""


class Validation(NamedTuple):
    """What one look at the validation part says."""

    loss: float
    metric: float


class Best(NamedTuple, Generic[State]):
    """The best epoch so far, from 0, what it measured (higher is better), and what it left."""

    value: float
    epoch: int
    state: State


@dataclass
class Progress(Generic[State]):
    """Where training stands between two epochs, beside the numbers of the trainer."""

    epochs: int = 0
    history: dict[str, list[float]] = field(default_factory=lambda: {"training_loss": []})
    best: Best[State] | None = None
    rises: int = 0
    """Epochs in a row with a rising validation loss."""
    warned: bool = False
    ended: bool = False
    """Whether patience has ended it."""


class Keeper(Protocol):
    """What keeps the progress of each stage of a training."""

    def begin(self, stage: str, trainer: Trainer[State]) -> Progress[State]:
        """Where the stage stands; the trainer stands there afterwards."""

    def keep(self, stage: str, trainer: Trainer[State], progress: Progress[State], *, last: bool) -> None:
        """An epoch has ended, the ``last`` one or not."""


class TrainingResult(NamedTuple, Generic[State]):
    """What training ends with."""

    state: State
    best_epoch: int
    history: dict[str, list[float]]


@contextmanager
def watch_epochs(watcher: Watcher) -> Iterator[None]:
    """Within the block, every epoch that is measured on a validation part is told to ``watcher``.

    What it raises ends the training; the model is left as it was.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def print_settings(label: str, settings: dict[str, Any], verbose: int) -> None:
    """One line with settings by name; nothing where ``verbose`` is 0 or there are none."""
    if verbose and settings:
        print(f"{label}: " + ", ".join(f"{name}={value}" for name, value in sorted(settings.items())), flush=True)


def run_epochs(
    trainer: Trainer[State],
    epochs: int,
    *,
    validate: Callable[[State], Validation] | None = None,
    metric: str = "ndcg@10",
    patience: int | None = None,
    verbose: int = 0,
    show_progress: bool | None = None,
    keeper: Keeper | None = None,
) -> TrainingResult[State]:
    """Train for up to ``epochs`` epochs.

    Parameters
    ----------
    trainer : Trainer
    epochs : int, at least 1
    validate : function of a state, optional
        Its numbers go into the history; ``metric`` chooses the best epoch, whose state is returned.
    metric : str
        The metric's name; "loss" for the validation loss (lower is better).
    patience : int, optional
        Stop after this many epochs without a better one; None never stops.
    verbose : int
        1 prints a line for each loss of each epoch, and one for the metric that chooses the best.
    show_progress : bool, optional
        A progress bar on stderr; by default where that is a terminal and ``verbose`` is set.
    keeper : Keeper, optional
        Says which epochs are done, and is told of each.

    Returns
    -------
    TrainingResult
        The state of the best epoch (the last one without validation), its number from 1, and the history: lists by
        name, one value for each epoch.

    Raises
    ------
    DivergedError
        From the trainer, when the loss is no longer finite.
    """
    at: Progress[State] = Progress() if keeper is None else keeper.begin("training", trainer)
    if at.epochs and verbose:
        print(f"Going on after epoch {at.epochs}/{epochs}", flush=True)
    with progress_bar("Training", epochs, verbose, show_progress) as advance:
        advance(at.epochs)
        while at.epochs < epochs and not at.ended:
            epoch = at.epochs
            loss = trainer.epoch(epoch)
            at.history["training_loss"].append(loss)
            if verbose:
                print(f"Epoch {epoch + 1}/{epochs}, Training Loss: {loss:.4f}", flush=True)
            if validate is not None:
                state = trainer.state()
                _take_in(at, validate(state), state, epochs, metric, patience, verbose)
            at.epochs += 1
            advance(epochs if at.ended else at.epochs)
            if keeper is not None:
                keeper.keep("training", trainer, at, last=at.ended or at.epochs == epochs)
    if at.best is None:
        return TrainingResult(trainer.state(), at.epochs, at.history)
    return TrainingResult(at.best.state, at.best.epoch + 1, at.history)


def _take_in(
    at: Progress[State], seen: Validation, state: State, epochs: int, metric: str, patience: int | None, verbose: int
) -> None:
    """What validation says of the epoch that has just ended, and of the state that it left."""
    epoch = at.epochs
    at.history.setdefault("validation_loss", []).append(seen.loss)
    if metric != "loss":
        at.history.setdefault(metric, []).append(seen.metric)
    if verbose:
        print(f"Epoch {epoch + 1}/{epochs}, Validation Loss: {seen.loss:.4f}", flush=True)
    if verbose and metric != "loss":
        print(f"Epoch {epoch + 1}/{epochs}, Validation {metric}: {seen.metric:.4f}", flush=True)
    at.rises = at.rises + 1 if _overfits(at.history) else 0
    if at.rises == _RISES_BEFORE_WARNING and not at.warned:
        at.warned = True
        warnings.warn(
            f"the validation loss has risen for {at.rises} epochs (to {seen.loss:.4f} in epoch {epoch + 1}) "
            "while the training loss fell: the model begins to overfit. Fewer epochs, a "
            "higher regularization or early stopping help.",
            TrainingWarning,
            stacklevel=5,
        )
    measured = seen.loss if metric == "loss" else seen.metric
    watcher = _watcher.get()
    if watcher is not None:
        watcher(epoch + 1, measured)
    value = -measured if metric in LOWER_IS_BETTER else measured
    if at.best is None or value > at.best.value:
        at.best = Best(value, epoch, state)
    elif patience is not None and epoch - at.best.epoch >= patience:
        at.ended = True


def _overfits(history: dict[str, list[float]]) -> bool:
    training, validation = history["training_loss"], history["validation_loss"]
    # A thousandth above the lowest is the trembling of a loss that has arrived.
    return (
        len(training) > 1
        and validation[-1] > max(validation[-2], min(validation) + 1e-3 * abs(min(validation)))
        and training[-1] < training[-2]
    )


@contextmanager
def progress_bar(title: str, epochs: int, verbose: int, show_progress: bool | None) -> Any:
    """A progress bar on stderr, or nothing; yields a function that takes how many epochs are done."""
    shown = bool(verbose) and sys.stderr.isatty() if show_progress is None else show_progress
    if not shown:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn())
    # Lines that go to the same terminal are printed above the bar; those that go into a file or a pipe stay untouched.
    together = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=together) as progress:
        task = progress.add_task("", total=epochs)
        yield lambda done: progress.update(task, completed=done)
