"""One contestant fitted and measured: whatever happens to it becomes its outcome, and the others go on."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ancf.comparison.budget import Budget
from ancf.comparison.contestants import Contestant
from ancf.data.interactions import Interactions
from ancf.errors import AncfError
from ancf.evaluation import ERROR_METRICS, Evaluation, evaluate
from ancf.models.base import Recommender

Status = Literal["done", "failed", "out of time", "out of memory", "not run"]


@dataclass(frozen=True)
class Task:
    """What is the same for every contestant."""

    train: Interactions
    test: Interactions
    metrics: tuple[str, ...]
    """By label, such as ``ndcg@10``."""
    filter_already_liked_items: bool
    budget: Budget | None = None
    """How open options are chosen; None leaves them at their defaults."""
    keep_models: bool = True
    ranking: Mapping[str, Any] = field(default_factory=dict)
    """What ``evaluate`` is told of the candidates and of unknown users."""


@dataclass
class Outcome:
    """What became of one contestant."""

    status: Status
    message: str = ""
    """Why there is nothing to show; empty for one that is done."""
    evaluation: Evaluation | None = None
    model: Recommender | None = None
    model_class: str | None = None
    fit_seconds: float | None = None
    """None for what was fitted already."""
    tune_seconds: float | None = None
    model_bytes: int | None = None
    """The size of the model file."""
    peak_bytes: int | None = None
    """The most memory that its process held; None where it shared ours."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the model was made with, by name, where that is not the default."""
    history: dict[str, Any] = field(default_factory=dict)
    """What training recorded, such as the loss of each epoch."""
    warnings: tuple[str, ...] = ()
    error: Exception | None = None
    """What was raised, for a comparison of which nothing else is left."""


def run_contestant(contestant: Contestant, task: Task, *, own_process: bool = False) -> Outcome:
    """Tune, fit and measure; errors become an outcome. Ctrl-C goes through."""
    try:
        return _run(contestant, task, own_process)
    except MemoryError as error:
        return Outcome("out of memory", f"not enough memory{f' ({error})' if str(error) else ''}", error=error)
    except AncfError as error:
        return Outcome("failed", str(error), error=error)
    except Exception as error:  # whatever somebody else's model raises
        return Outcome("failed", f"{type(error).__name__}: {error}", error=error)


def predicts_quantity(contestant: Contestant) -> bool:
    """Whether its scores are quantities, so that their errors mean something."""
    return contestant.is_model and bool(contestant.what._predicts_quantity())


def _has(contestant: Contestant, metric: str) -> bool:
    """Whether a metric says anything of it: errors of what predicts, auc of what ranks every item."""
    if metric in ERROR_METRICS:
        return predicts_quantity(contestant)
    return contestant.is_model or metric != "auc"


def _run(contestant: Contestant, task: Task, own_process: bool) -> Outcome:
    found = Outcome("done")
    what: Any = contestant.what
    if contestant.tunable and task.budget is not None and what.search_space():
        began = time.perf_counter()
        what.set_params(**task.budget.options(what, task.train))
        found.tune_seconds = time.perf_counter() - began
    if contestant.fit:
        began = time.perf_counter()
        what.fit(task.train)
        found.fit_seconds = time.perf_counter() - began
    metrics = [each for each in task.metrics if _has(contestant, each)]
    if not metrics:
        lacks = (
            "it predicts no quantity" if contestant.is_model else "lists rank no whole catalogue and predict nothing"
        )
        return Outcome("failed", f"{lacks}, so that there is no {', '.join(task.metrics)}")
    tables: dict[str, Any] = {} if contestant.is_model else {"train": task.train}
    found.evaluation = evaluate(
        what, task.test, metrics, filter_already_liked_items=task.filter_already_liked_items, **tables, **task.ranking
    )
    if own_process:
        found.peak_bytes = peak_bytes()
    if contestant.is_model:
        found.model = what if task.keep_models or not own_process else None
        found.model_class = type(what).__name__
        found.options = changed_options(what)
        found.history = dict(what._fitted().training or {})
        found.model_bytes = len(what.to_bytes())
    return found


def changed_options(model: Recommender) -> dict[str, Any]:
    """The options of a model that are not its defaults."""
    defaults = type(model)().get_params()
    return {name: value for name, value in model.get_params().items() if value != defaults[name]}


def peak_bytes() -> int | None:
    """The most memory that this process held. On Linux ``ru_maxrss`` would begin with that of the parent."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
