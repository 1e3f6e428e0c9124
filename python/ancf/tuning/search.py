"""``tune``: settings are tried one after the other, the best one is trained on everything, and measured once on a test.

Each trial learns from the training part and is measured on the validation part; the best setting is then refitted on
both, with as many epochs as were best. The validation figure of the best of many flatters, as luck is chosen too; the
test part is looked at once, after everything is chosen.
"""

import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ancf._native import __version__
from ancf.checks import check_choice, check_flag, check_integer, check_number, check_path
from ancf.data.interactions import Interactions
from ancf.epochs import watch_epochs
from ancf.errors import (
    AncfError,
    InternalError,
    InvalidDataError,
    InvalidParameterError,
    TrainingWarning,
)
from ancf.evaluation import Evaluation, evaluate, parse_metrics
from ancf.models import class_of, find_class_name
from ancf.models.base import Recommender
from ancf.models.popular import Popular
from ancf.params import checks_call, refuse_unknown
from ancf.search_space import SearchSpace, as_dimension
from ancf.tuning.parts import Parts, make_parts
from ancf.tuning.proposals import (
    GridProposals,
    Method,
    OptunaProposals,
    Proposals,
    RandomProposals,
    chosen_method,
)
from ancf.tuning.result import TuningResult, trial_line
from ancf.tuning.storage import TrialStorage
from ancf.tuning.trial import Trial, best_of, params_text

DEFAULT_TRIALS = 20
# What is searched without a sampler that learns: the rate, the size of the embedding, the batch.
_FOUNDING = ("learning_rate", "factors", "batch_size")
# More of these is neither better nor worse by itself.
_NO_GOALS = ("gini", "popularity_bias")
# The setting itself has no effect on a trial's figures, or the search decides it.
_OF_THE_SEARCH = {"verbose": 0, "show_progress": False}
_MAX_SEED = 2**32 - 1


class _PrunedError(Exception):
    """Ends the training of a trial that is not worth going on with."""


class _OutOfTimeError(Exception):
    """Ends the training of a trial that the timeout cuts off."""


@checks_call
def tune(
    model: Recommender | type[Recommender] | str,
    train: Interactions,
    *,
    validation: Interactions | float | None = None,
    test: Interactions | None = None,
    trials: int | None = None,
    timeout: float | None = None,
    metric: str = "ndcg@10",
    method: Method = "auto",
    space: Mapping[str, object] | None = None,
    filter_already_liked_items: bool = True,
    storage: str | Path | None = None,
    random_state: int = 0,
    verbose: int = 0,
    on_trial: Callable[[Trial], None] | None = None,
) -> TuningResult:
    """Find good settings of a model in a given time, and measure the best one honestly.

    The first trial is the model as it is given, so the best is never below it on the validation part. Trials run one
    after the other, and each uses all of the model's threads: several at a time would share the same processors and
    memory, and the next proposal could not learn from them.

    Parameters
    ----------
    model : Recommender, its class, or its name
        An object, a class or a name of the registry ("ALS", or "als" as on the command line). An option that has
        another value than its default keeps it. The object itself stays as it is.
    train : Interactions
    validation : Interactions or float, optional
        What settings are measured on: a table, or this part of ``train``; 0.2 by default. It is cut off as ``train``
        itself was split (``split_by``): by time, each user's last event after ``leave_last_out`` and ``user_split``, at
        random after ``random_split`` and ``kfold`` or where there are no times.
    test : Interactions, optional
        What the refitted model is measured on, once, at the end.
    trials : int, optional
        Settings to try, the given ones among them. 20 by default, or without end until the ``timeout``; a grid is
        tried as a whole.
    timeout : float, optional
        Seconds after which no trial begins; one that learns in epochs ends with its epoch and does not count. The first
        trial is always finished, and the best model is refitted after that.
    metric : str
        What is to be good: "ndcg@10" or another of ``ancf.evaluate``; errors such as "rmse" are to be low. It also
        chooses the epoch.
    method : "auto", "optuna", "random" or "grid"
        "optuna": TPE, with trials pruned by the median of the others' epochs (``pip install 'ancf[tune]'``). "random",
        "grid": learning rate, factors and batch size where the model has them in its space, else the whole space; a
        grid has three values of each number. auto: Optuna where it is installed, else random.
    space : mapping option → dimension, optional
        Instead of the model's own ``search_space()``: several values, or ``Real``, ``Integer`` or ``Categorical`` of
        ``ancf.search_space``.
    filter_already_liked_items : bool
        As in ``ancf.evaluate``; False also measures repeat purchases. Epochs are chosen and pruned by new items.
    storage : path, optional
        A SQLite file in which finished trials are kept. The same call again goes on where the last one ended, also
        with more ``trials``; trials of another table, model, space or metric are refused.
    random_state : int, 0 to 2**32 - 1
        Seed of the proposals and of a random validation part. The same seed, data, version and number of trials give
        the same trials and the same model, if the model has a seed and no timeout cuts off.
    verbose : int
        1 prints a line for each trial.
    on_trial : callable, optional
        Is called with each ``Trial`` as it ends, and first with those from ``storage``.

    Returns
    -------
    TuningResult
        Prints as a report; ``best_params``, ``best_model``, ``to_pandas()``, ``to_toml()``.

    Raises
    ------
    InvalidParameterError
        If an option makes no sense, the model has nothing to search, or no trial was complete; says why.
    InvalidDataError
        If a part cannot be measured, or ``storage`` holds something else.
    MissingExtraError
        If ``method="optuna"`` and Optuna is not installed.
    KeyboardInterrupt
        After Ctrl-C; its notes say the best setting so far, and how to go on.

    Examples
    --------
    >>> import ancf
    >>> rows = [(user, item) for user in range(8) for item in range(8) if (user + item) % 3]
    >>> data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
    >>> train, test = ancf.random_split(data, (0.8, 0.2))
    >>> result = ancf.tune("ItemKNN", train, test=test, trials=4, method="random")
    >>> len(result.trials), result.best_trial.params == result.best_params
    (4, True)
    """
    subject = _unfitted(model)
    metric = _one_metric(metric)
    _check_options(trials, timeout, random_state, filter_already_liked_items, verbose)
    check_choice("method", method, get_args(Method))
    searched = (
        _check_space(subject, space) if space is not None else default_space(subject, method, timed=_has_times(train))
    )
    proposals = _proposals(method, searched, subject, metric, random_state)
    limit = _trial_limit(trials, timeout, proposals)
    parts = make_parts(train, validation, test, random_state)
    repeats = not filter_already_liked_items
    _check_measurable(parts, metric, repeats)
    search = _Search(subject, parts, metric, proposals, repeats, None if timeout is None else float(timeout))
    search.tell = _teller(metric, limit, verbose, on_trial)
    if storage is not None:
        search.storage = TrialStorage(check_path("storage", storage), search.identity())
    try:
        search.run(limit)
        return search.result()
    except KeyboardInterrupt as error:
        error.add_note(search.so_far())
        raise
    finally:
        if search.storage is not None:
            search.storage.close()


def default_space(
    model: Recommender, method: Method = "auto", fixed: Iterable[str] = (), *, timed: bool = True
) -> SearchSpace:
    """What ``tune`` searches where it is not told: the model's space without what was set, as the method takes it.

    Raises
    ------
    InvalidParameterError
        If nothing is left.
    """
    defaults = inspect.signature(type(model).__init__).parameters
    options = model.get_params()
    set_by_user = {*fixed, *(name for name, value in options.items() if value != defaults[name].default)}
    own = model.search_space(timed=timed)
    space = {name: dimension for name, dimension in own.items() if name not in set_by_user}
    if not space:
        name, times = type(model).__name__, "" if timed else " for a table without times"
        raise InvalidParameterError(
            f"{name} has no option to search: all of {', '.join(own)} was given. Leave one out."
            if own
            else f"{name} has no option to search{times}. Take another model, or name a space."
        )
    if chosen_method(method) != "optuna" and {"learning_rate", "factors"} <= space.keys():
        space = {name: space[name] for name in _FOUNDING if name in space}
    return space


class _Search:
    """One search: its trials so far, and what the next one needs."""

    def __init__(
        self,
        model: Recommender,
        parts: Parts,
        metric: str,
        proposals: Proposals,
        repeats: bool,
        timeout: float | None,
    ) -> None:
        self.model, self.parts, self.metric, self.proposals = model, parts, metric, proposals
        self.repeats, self.timeout = repeats, timeout
        self.storage: TrialStorage | None = None
        self.tell: Callable[[Trial], None] = lambda trial: None
        self.trials: list[Trial] = []
        self.ended = ""
        self._began = time.monotonic()

    # ---- trials

    def run(self, limit: int | None) -> None:
        """Try settings until there are enough, none is left, or the time is over."""
        for trial in [] if self.storage is None else self.storage.trials()[:limit]:
            self._add(trial)
        while limit is None or len(self.trials) < limit:
            number = len(self.trials) + 1
            if self.trials and self._out_of_time():
                self.ended = "the timeout ended the search"
                return
            params = {} if number == 1 else self.proposals.propose(number)
            if params is None:
                self.ended = "every setting of the space was tried"
                return
            try:
                trial = self._try(number, params)
            except _OutOfTimeError:
                self.ended = f"the timeout cut trial {number} off"
                return
            if self.storage is not None:
                self.storage.add(trial)
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.proposals.add(trial)
        self.tell(trial)

    def _out_of_time(self) -> bool:
        return self.timeout is not None and time.monotonic() - self._began >= self.timeout

    def _try(self, number: int, params: dict[str, Any]) -> Trial:
        model = self.model.clone().set_params(**params, **self._while_searching())
        curve: list[float] = []

        def watch(epoch: int, value: float) -> None:
            curve.append(float(value))
            if self.trials and self._out_of_time():
                raise _OutOfTimeError
            if number > 1 and self.proposals.prunes(params, curve):
                raise _PrunedError

        began = time.perf_counter()
        found: dict[str, Any] = {}
        try:
            with warnings.catch_warnings(), watch_epochs(watch):
                # Which epochs overfit is what the validation part finds out.
                warnings.simplefilter("ignore", TrainingWarning)
                model.fit(self.parts.train, validation=self.parts.validation)
            found = self._measure(model)
        except _OutOfTimeError:
            raise
        except _PrunedError:
            found = {"state": "pruned"}
        except InternalError:
            raise
        except Exception as error:
            # As it was given, the model has no setting to blame: something is wrong with the table or the request.
            if number == 1 and isinstance(error, (InvalidDataError, InvalidParameterError)):
                raise
            found = {"state": "failed", "error": _error_text(error)}
        return Trial(number, params, curve=tuple(curve), seconds=time.perf_counter() - began, **found)

    def _measure(self, model: Recommender) -> dict[str, Any]:
        """What a trained model's trial says."""
        measured = _evaluate(model, self.parts.validation, self.metric, self.repeats)
        value = float(measured[self.metric])
        if not np.isfinite(value):
            return {"state": "failed", "error": f"{self.metric} is {value}"}
        history = getattr(model, "history_", None) or {}
        best = history.get("best_epoch")
        return {
            "state": "complete",
            "value": value,
            "stderr": _stderr(measured, self.metric),
            "epochs": best,
            "training_loss": _at(history.get("training_loss"), best),
            "validation_loss": _at(history.get("validation_loss"), best),
        }

    def _while_searching(self) -> dict[str, Any]:
        """Options of every trial: quiet, and the epoch chosen by what is tuned."""
        options: dict[str, Any] = {**_OF_THE_SEARCH, "validation_metric": self.metric}
        return {name: value for name, value in options.items() if name in self.model.get_params()}

    # ---- what it is

    def identity(self) -> dict[str, Any]:
        """What two searches must have in common for their trials to go together."""
        quiet = {"verbose", "show_progress", "num_threads", "validation_metric"}
        return {
            "version of ancf": __version__,
            "model": type(self.model).__name__,
            "options": {name: repr(value) for name, value in self.model.get_params().items() if name not in quiet},
            "training_table": self.parts.train.fingerprint(),
            "validation_table": self.parts.validation.fingerprint(),
            "split": str(self.parts.train.split_by),
            "space": {name: repr(dimension) for name, dimension in self.proposals.space.items()},
            "metric": self.metric,
            "repeats": self.repeats,
            "method": self.proposals.method,
            "random_state": self.proposals.random_state,
        }

    def so_far(self) -> str:
        """What is known when somebody stops the search."""
        best = best_of(self.metric, self.trials)
        finished = f"{len(self.trials)} {'trial is' if len(self.trials) == 1 else 'trials are'} finished"
        if best is not None:
            finished += f"; the best so far is {self.metric} {best.value:.4f} with {params_text(best.params)}"
        if self.storage is not None:
            return f"{finished}. The same call with storage={str(self.storage.path)!r} goes on from there."
        return f"{finished}. With storage='trials.db' they are kept, and the same call goes on from there."

    # ---- the end

    def result(self) -> TuningResult:
        """Refit the best setting on everything, and measure it on the test part."""
        best = best_of(self.metric, self.trials)
        if best is None:
            errors = [trial.error for trial in self.trials if trial.error]
            raise InvalidParameterError(
                f"no trial of {len(self.trials)} was complete; the first: {errors[0] if errors else 'pruned'}"
            )
        params = dict(best.params)
        if best.epochs is not None and "epochs" in self.model.get_params():
            params["epochs"] = best.epochs
        model = self.model.clone().set_params(**params)
        model.fit(self.parts.both)
        test = self.parts.test
        return TuningResult(
            metric=self.metric,
            method=self.proposals.method,
            space=dict(self.proposals.space),
            trials=tuple(self.trials),
            best_trial=best,
            best_params=params,
            best_model=model,
            test=None if test is None else _evaluate(model, test, self.metric, self.repeats),
            parts=self.parts.described(),
            given={name: self.model.get_params()[name] for name in self.proposals.space},
            ended=self.ended,
        )


# ---- what is asked for


def _has_times(train: Any) -> bool:
    return getattr(train, "times", None) is not None


def _unfitted(model: Any) -> Recommender:
    """A clone of the model, or one of the class or name with its defaults."""
    if isinstance(model, Recommender):
        found = model.clone()
    elif isinstance(model, type) and issubclass(model, Recommender):
        found = model()
    elif isinstance(model, str):
        found = class_of(find_class_name("tune", model))()
    else:
        raise InvalidParameterError(f"tune: {model!r} is no model; give one of ancf, its class, or its name.")
    return found


def _one_metric(metric: Any) -> str:
    if not isinstance(metric, str):
        raise InvalidParameterError(f"metric is {metric!r}; give the name of one, such as 'ndcg@10'.")
    label = next(iter(parse_metrics(metric, 10)))
    if label.partition("@")[0] in _NO_GOALS:
        raise InvalidParameterError(
            f"metric is {metric!r}, which says what lists are like and not how good they are. Tune by another, such as "
            "'ndcg@10', and look at it with ancf.evaluate."
        )
    return label


def _check_options(trials: Any, timeout: Any, random_state: Any, filter_seen: Any, verbose: Any) -> None:
    if trials is not None:
        check_integer("trials", trials, 1, 1_000_000, words="None or ")
    if timeout is not None:
        check_number("timeout", timeout, 0.0, 1e9, above=True, words="None or ")
    check_integer("random_state", random_state, 0, _MAX_SEED)
    check_flag("filter_already_liked_items", filter_seen)
    check_integer("verbose", verbose, 0, 100)


def _check_space(model: Recommender, space: Any) -> SearchSpace:
    try:
        given = dict(space)
    except (TypeError, ValueError):
        given = {}
    if not given:
        raise InvalidParameterError(f"space is {space!r}; give a mapping of options, such as {{'factors': [32, 64]}}.")
    refuse_unknown(type(model).__name__, given, model._option_names())
    for name in given:
        if name in (*_OF_THE_SEARCH, "validation_metric", "num_threads"):
            raise InvalidParameterError(f"space: {name} changes no model, or is decided by the search. Leave it out.")
    return {name: as_dimension(name, value) for name, value in given.items()}


def _proposals(method: Method, space: SearchSpace, model: Recommender, metric: str, random_state: int) -> Proposals:
    options, seed = model.get_params(), int(random_state)
    chosen = chosen_method(method)
    if chosen == "optuna":
        return OptunaProposals(space, seed, options, metric)
    return (GridProposals if chosen == "grid" else RandomProposals)(space, seed, options)


def _trial_limit(trials: int | None, timeout: float | None, proposals: Proposals) -> int | None:
    total = proposals.total
    if proposals.method == "grid":
        if trials is not None and total is not None and trials < total:
            raise InvalidParameterError(
                f"trials is {trials}, and the grid has {total} settings with the model as it is. Take trials={total}, "
                'method="random", or a space with fewer values.'
            )
        return total
    wanted = DEFAULT_TRIALS if trials is None and timeout is None else trials
    return wanted if total is None else min(total, wanted or total)


def _check_measurable(parts: Parts, metric: str, repeats: bool) -> None:
    """Refuse parts that no model could be measured on before any is trained for hours."""
    for what, table, learned in (("validation", parts.validation, parts.train), ("test", parts.test, parts.both)):
        if table is None:
            continue
        try:
            _evaluate(Popular().fit(learned), table, metric, repeats)
        except AncfError as error:
            error.add_note(f"That is the {what} part.")
            raise


def _evaluate(model: Recommender, table: Interactions, metric: str, repeats: bool) -> Evaluation:
    return evaluate(model, table, metric, filter_already_liked_items=not repeats)


def _stderr(measured: Evaluation, metric: str) -> float | None:
    if metric not in measured.per_user:
        return None
    error = measured.stderr(metric)
    return error if np.isfinite(error) else None


def _at(values: Any, epoch: int | None) -> float | None:
    return None if not values or not epoch else float(values[epoch - 1])


def _error_text(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no memory was left"
    return text if isinstance(error, AncfError) else f"{type(error).__name__}: {text}"


def _teller(
    metric: str, limit: int | None, verbose: int, on_trial: Callable[[Trial], None] | None
) -> Callable[[Trial], None]:
    def tell(trial: Trial) -> None:
        if verbose:
            print(trial_line(trial, metric, limit), flush=True)
        if on_trial is not None:
            on_trial(trial)

    return tell
