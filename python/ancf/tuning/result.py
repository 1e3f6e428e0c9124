"""What a search found: the best settings and model, every trial, what mattered, and figures that say what they are."""

import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ancf import _text
from ancf._native import __version__
from ancf.checks import check_path
from ancf.evaluation import Evaluation
from ancf.models import all_models
from ancf.models.base import Recommender
from ancf.search_space import SearchSpace
from ancf.tuning.importance import MIN_TRIALS, setting_importance
from ancf.tuning.parts import Part
from ancf.tuning.trial import Trial, lower_is_better, params_text, value_text

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 79
_MAX_ROWS = 15
_BAR = 30
# What changes no model that is trained without a validation part, or is the machine's own affair.
_NOT_SETTINGS = ("verbose", "show_progress", "num_threads", "validation_metric", "patience")
_METHODS = {"optuna": "TPE (Optuna)", "random": "random search", "grid": "grid search"}


class TuningResult:
    """What ``ancf.tune`` found; prints as a report.

    Attributes
    ----------
    best_params : dict, the options of the best trial, and ``epochs`` where they were chosen
        Empty if no setting was better than the model as it was given, and it has no epochs.
    best_model : Recommender, fitted on the training and the validation part with these options
    best_trial : Trial
    trials : tuple of Trial, in the order in which they ran
    metric : str, what was to be good
    method : "optuna", "random" or "grid"
    space : dict, what was searched
    validation_value : float, the metric of the best trial on the validation part; as it was chosen by it, it flatters
    test_value : float or None, the metric of ``best_model`` on the test part
    test : Evaluation or None, the same with one value for each user
    importance : dict, option → its part of the spread of the validation figure, from the most on
    parts : tuple, the tables with their sizes and days
    given : dict, what the options of the space were in the model as it was given, which is the first trial
    ended : str, why the search ended before all trials; empty if it did not

    Examples
    --------
    >>> import ancf
    >>> rows = [(user, item) for user in range(8) for item in range(8) if (user + item) % 3]
    >>> data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
    >>> result = ancf.tune("popular", data, method="grid")
    >>> print(result.to_toml().splitlines()[-1])
    model = "popular"
    >>> result.to_pandas()["count"].tolist()
    ['users', 'events', 'weight']
    """

    def __init__(
        self,
        *,
        metric: str,
        method: str,
        space: SearchSpace,
        trials: tuple[Trial, ...],
        best_trial: Trial,
        best_params: dict[str, Any],
        best_model: Recommender,
        test: Evaluation | None,
        parts: tuple[Part, ...],
        given: Mapping[str, Any],
        ended: str,
    ) -> None:
        self.metric, self.method, self.space = metric, method, dict(space)
        self.trials, self.best_trial = trials, best_trial
        self.best_params, self.best_model = best_params, best_model
        self.test, self.parts, self.given, self.ended = test, parts, dict(given), ended

    @property
    def validation_value(self) -> float:
        """The metric of the best trial on the validation part."""
        assert self.best_trial.value is not None
        return self.best_trial.value

    @property
    def test_value(self) -> float | None:
        """The metric of the best model on the test part."""
        return None if self.test is None else self.test[self.metric]

    @property
    def importance(self) -> dict[str, float]:
        """What mattered; empty where there are too few trials to say."""
        return setting_importance(self.space, self.trials, self.given)

    def to_pandas(self) -> "pd.DataFrame":
        """One row for each trial, in order.

        Returns
        -------
        DataFrame
            ``trial``, ``state``, the metric, ``stderr``, a column for each option (for the first row those that the
            model was given), ``best_epoch``, ``training_loss``, ``validation_loss``, ``seconds``, ``error``.

        Examples
        --------
        >>> import ancf
        >>> rows = [(user, item) for user in range(8) for item in range(8) if (user + item) % 3]
        >>> data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
        >>> result = ancf.tune("popular", data, method="grid")
        >>> result.to_pandas()["trial"].tolist()
        [1, 2, 3]
        """
        import pandas as pd

        rows = [
            {
                "trial": trial.number,
                "state": trial.state,
                self.metric: trial.value,
                "stderr": trial.stderr,
                **{name: trial.params.get(name, self.given[name]) for name in self.space},
                "best_epoch": trial.epochs,
                "training_loss": trial.training_loss,
                "validation_loss": trial.validation_loss,
                "seconds": trial.seconds,
                "error": trial.error,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)

    def to_toml(self) -> str:
        """The best model's options as a file that ``ancf train --config`` takes.

        Returns
        -------
        str
            Every option that is not the model's default; comments say where it comes from.

        Examples
        --------
        >>> import ancf
        >>> rows = [(user, item) for user in range(8) for item in range(8) if (user + item) % 3]
        >>> data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
        >>> result = ancf.tune("popular", data, method="grid")
        >>> result.to_toml().splitlines()[-1]
        'model = "popular"'
        """
        model = self.best_model
        entry = all_models()[type(model).__name__]
        lines = [
            f"# {type(model).__name__}, the best of {len(self.trials)} settings; ancf {__version__}",
            *(f"# {line}" for line in self._figures()),
            f"model = {_toml(entry.cli_name)}",
        ]
        defaults = inspect.signature(type(model).__init__).parameters
        for name, value in model.get_params().items():
            if name not in _NOT_SETTINGS and not _same(value, defaults[name].default):
                lines.append(f"{entry.option_names.get(name, name).replace('_', '-')} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    def plot(self, out: str | Path) -> Path:
        """Write a picture of what mattered, as SVG.

        Parameters
        ----------
        out : path

        Returns
        -------
        Path, where it was written

        Raises
        ------
        MissingExtraError
            If Matplotlib is not installed (``pip install 'ancf[tune]'``).
        OSError
            If the file cannot be written; it is the old one or the new one.

        Examples
        --------
        >>> ancf.tune("item-knn", data, trials=20).plot("mattered.svg")  # doctest: +SKIP
        PosixPath('mattered.svg')
        """
        from ancf.tuning.picture import draw

        path = check_path("out", out)
        draw(
            path,
            model=type(self.best_model).__name__,
            metric=self.metric,
            trials=self.trials,
            best=self.best_trial,
            space=self.space,
            given=self.given,
            importance=self.importance,
        )
        return path

    # ---- as text

    def _figures(self) -> list[str]:
        """The figures beside each other, and what each is."""
        rows = [["validation", self._figure(self.validation_value, self.best_trial.stderr), self._how_chosen()]]
        if self.test is not None and self.test_value is not None:
            error = self.test.stderr(self.metric) if self.metric in self.test.per_user else None
            rows.append(["test", self._figure(self.test_value, error), "refitted on both, looked at once"])
        width = max(len(row[1]) for row in rows)
        return [f"{name:<10}  {self.metric} {figure:<{width}}  ({words})" for name, figure, words in rows]

    @property
    def _n_complete(self) -> int:
        return sum(trial.state == "complete" for trial in self.trials)

    def _how_chosen(self) -> str:
        return f"the best of {self._n_complete}, so it flatters" if self._n_complete > 1 else "the only one"

    @staticmethod
    def _figure(value: float, error: float | None) -> str:
        return f"{value:.4f}" + (f" ± {1.96 * error:.4f}" if error is not None and np.isfinite(error) else "")

    def __repr__(self) -> str:
        return "\n\n".join(block for block in self._blocks() if block)

    def _blocks(self) -> list[str]:
        """The parts of the report: what was done, the trials, what mattered, the figures, the settings."""
        counts = {state: sum(each.state == state for each in self.trials) for state in ("pruned", "failed")}
        others = "".join(f", {number} {state}" for state, number in counts.items() if number)
        head = f"{type(self.best_model).__name__}: {len(self.trials)} settings by {_METHODS[self.method]}{others}"
        head += f"; {self.ended}" if self.ended else ""
        names = max(len(part.name) for part in self.parts)
        account = "\n".join(_fill(f"{part.name:<{names}}  {part}", names + 2) for part in self.parts)
        return [
            f"{_fill(head)}\n{account}",
            trial_table(self.trials, self.metric, self.space, self.given),
            self._importance_text(),
            "\n".join(self._figures()),
            self._verdict(),
        ]

    def _importance_text(self) -> str:
        importance = self.importance
        if not importance:
            few = self._n_complete < MIN_TRIALS
            return f"Too few complete trials to say what mattered; it takes {MIN_TRIALS}." if few else ""
        width = max(map(len, importance))
        lines = [
            f"{name:<{width}}  {share:>4.0%}  {'█' * round(_BAR * share)}".rstrip()
            for name, share in importance.items()
        ]
        return "\n".join([f"What mattered: parts of the spread of {self.metric}, each option alone", *lines])

    def _verdict(self) -> str:
        given, best = self.trials[0], self.best_trial
        n = self.best_params.get("epochs")
        epochs = f" ({n} epoch{'' if n == 1 else 's'})" if n else ""
        if not best.params:
            return f"Nothing was better than the model as given{epochs}."
        text = f"Best: {params_text(best.params)}{epochs}."
        if given.value is not None:
            text += f" As given (trial 1): {self.metric} {given.value:.4f} on the validation part."
        return _fill(text)

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(repr(self))}</pre>"


def trial_line(trial: Trial, metric: str, limit: int | None) -> str:
    """One trial in one line."""
    of = "" if limit is None else f"/{limit}"
    seconds = f"{trial.seconds:.1f} s"
    return f"trial {trial.number}{of}: {_outcome(trial, metric)}, {params_text(trial.params)} ({seconds})"


def _outcome(trial: Trial, metric: str) -> str:
    if trial.value is not None:
        return f"{metric} {trial.value:.4f}"
    return f"pruned after epoch {len(trial.curve)}" if trial.state == "pruned" else f"failed: {trial.error}"


def trial_table(
    trials: Sequence[Trial],
    metric: str,
    space: SearchSpace,
    given: Mapping[str, Any],
    *,
    max_rows: int = _MAX_ROWS,
    width: int = _WIDTH,
) -> str:
    """Trials as a table, the best first, no wider than a terminal; of failed ones also why."""
    ordered = sorted(
        trials,
        key=lambda trial: (
            trial.value is None,
            trial.state == "failed",
            0.0 if trial.value is None else trial.value if lower_is_better(metric) else -trial.value,
            trial.number,
        ),
    )
    shown = ordered[:max_rows]
    columns: dict[str, list[str]] = {
        "trial": [str(trial.number) for trial in shown],
        metric: [trial.state if trial.value is None else f"{trial.value:.4f}" for trial in shown],
    }
    for name in space:
        columns[name] = [value_text(trial.params.get(name, given.get(name))) for trial in shown]
    columns["epochs"] = ["" if trial.epochs is None else str(trial.epochs) for trial in shown]
    columns["training_loss"] = [_loss(trial.training_loss) for trial in shown]
    columns["validation_loss"] = [_loss(trial.validation_loss) for trial in shown]
    columns["seconds"] = [f"{trial.seconds:.1f}" for trial in shown]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    for name in ("seconds", "epochs", "training_loss", "validation_loss", *reversed(list(space))):
        if _table_width(columns) <= width:
            break
        columns.pop(name, None)
    lines = _table_lines(columns)
    hidden = [name for name in space if name not in columns]
    lines += [_fill(f"(no room for {', '.join(hidden)})")] if hidden else []
    lines += [f"... {len(ordered) - len(shown)} more"] if len(ordered) > len(shown) else []
    lines += [_fill(f"trial {trial.number} failed: {trial.error}") for trial in trials if trial.error]
    return "\n".join(lines)


def _loss(value: float | None) -> str:
    return "" if value is None else _text.format_number(value)


def _table_width(columns: dict[str, list[str]]) -> int:
    return sum(_column_width(name, cells) for name, cells in columns.items()) + 2 * (len(columns) - 1)


def _column_width(name: str, cells: list[str]) -> int:
    return max(map(len, [*name.split("_"), *cells]))


def _table_lines(columns: dict[str, list[str]]) -> list[str]:
    """Columns to the right; a heading stands word below word."""
    words = {name: name.split("_") for name in columns}
    height = max(map(len, words.values()))
    rows = [
        [words[name][at - height + len(words[name])] if at >= height - len(words[name]) else "" for name in columns]
        for at in range(height)
    ]
    rows += [list(row) for row in zip(*columns.values(), strict=True)]
    widths = [_column_width(name, cells) for name, cells in columns.items()]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _fill(text: str, indent: int = 2) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _toml(value: Any) -> str:
    """A value of an option as TOML that the command line reads as the same value."""
    if value is None:
        return '"none"'
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    return json.dumps(str(value), ensure_ascii=False)
