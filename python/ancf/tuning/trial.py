"""One setting that was tried, and how it went."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ancf.epochs import LOWER_IS_BETTER

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One setting and its figures; two are equal if all but the seconds are.

    Attributes
    ----------
    number : int, from 1, which is the model as it was given
    params : dict, the options that were tried; none for the model as it was given
    state : "complete", "pruned" or "failed"
        Pruned: stopped early, as its epochs were worse than those of half the others.
    value : float or None, the metric on the validation part, for a complete one
    stderr : float or None, its standard error over users
    epochs : int or None, the best epoch, from 1, for a model that learns in epochs
    training_loss, validation_loss : float or None, of that epoch
    curve : tuple of float, the metric of each epoch
    seconds : float, of training and measuring
    error : str or None, why it failed
    """

    number: int
    params: dict[str, Any]
    state: State
    value: float | None = None
    stderr: float | None = None
    epochs: int | None = None
    training_loss: float | None = None
    validation_loss: float | None = None
    curve: tuple[float, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    error: str | None = None


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value of this metric is better than another."""
    return value < than if lower_is_better(metric) else value > than


def lower_is_better(metric: str) -> bool:
    """Whether a metric is an error."""
    return metric in LOWER_IS_BETTER


def best_of(metric: str, trials: list[Trial]) -> Trial | None:
    """The complete trial with the best value, the first of several; None where there is none."""
    best: Trial | None = None
    for trial in trials:
        if trial.value is not None and (best is None or is_better(metric, trial.value, best.value or 0.0)):
            best = trial
    return best


def params_text(params: dict[str, Any]) -> str:
    """Options as they would be typed, with four significant digits."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items()) or "as given"


def value_text(value: Any) -> str:
    """One option's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
