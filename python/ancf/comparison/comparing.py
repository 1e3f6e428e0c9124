"""``compare``: several models on the same split, the same users and the same candidates."""

import contextlib
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from ancf._native import __version__
from ancf.checks import check_choice, check_flag, check_integer, check_number, check_threads
from ancf.comparison.budget import Budget
from ancf.comparison.contestants import PIECES, Contestant, Contestants, find_contestants, row_name
from ancf.comparison.process import Processes
from ancf.comparison.progress import Progress, watch
from ancf.comparison.result import Comparison
from ancf.comparison.running import Outcome, Task, predicts_quantity, run_contestant
from ancf.comparison.slices import slice_users
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation import DEFAULT_METRICS, ERROR_METRICS, Evaluation, leakage_report, parse_metrics
from ancf.evaluation.candidates import N_NEGATIVES, Candidates
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.params import checks_call
from ancf.scoring.requests import materialize
from ancf.scoring.unknown_ids import refuse_other_table, used_ids


@checks_call
def compare(
    models: Contestants,
    train: Interactions,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    on_unknown: Literal["skip", "popular"] = "skip",
    candidates: Candidates = "all",
    n_negatives: int = N_NEGATIVES,
    baseline: str | None = None,
    refit: bool = False,
    tune: int | None = None,
    validation: Interactions | None = None,
    timeout_per_model: float | None = None,
    own_process: bool | None = None,
    num_threads: int | None = None,
    random_state: int = 0,
    keep_models: bool = True,
    show_progress: bool | None = None,
) -> Comparison:
    """Fit each model on ``train``, measure it on ``test``, and say whether the differences are more than luck.

    Parameters
    ----------
    models : models, names, classes or lists made elsewhere; one, several in any container, or a mapping label → one
        A model that is fitted already is measured as it is; others are cloned, so that yours stay unfitted. A name of
        the registry ("ItemKNN", or "item-knn" as on the command line) or a class is that model with its defaults.
        "all", "quick", "classical" and "neural" are groups of the registry; "attention", alone, is ``ANCF`` with its
        attention switched piece by piece, each piece held against the one it is added to. Lists are a table with
        ``user_id``, ``item_id`` and ``rank`` or ``score``, the ``Path`` of a file of one, or an object with
        ``recommend(user, N)``, as ``ancf.evaluate`` takes them.
    train, test : Interactions
    metrics, k, filter_already_liked_items, on_unknown
        As in ``ancf.evaluate``. The first metric decides the sentence. "mse", "rmse" and "mae" are empty for what
        predicts no quantity. With ``on_unknown="popular"``, users who were not in training are a group of their own.
    candidates, n_negatives
        As in ``ancf.evaluate``, with ``random_state`` as the seed: the same candidates for every model.
    baseline : str, optional
        The name of a row that all others are held against, beside the best.
    refit : bool
        Fit clones of the fitted ones too.
    tune : int, at least 1, optional
        Settings to try for each model that came by its name or class, with ``ancf.tune`` on a validation part of
        ``train``; the best is fitted on all of it. Models of yours keep their options.
    validation : Interactions, optional
        For ``tune``: the table that settings are measured on, instead of a part of ``train``.
    timeout_per_model : seconds, above 0, optional
        A model that takes longer, its tuning included, is ended; its row says so, and the others go on.
    own_process : bool, optional
        Each model has a process of its own, which tells how much memory it takes, and survives a model that takes too
        much. By default where there is a ``timeout_per_model``, which needs it.
    num_threads : int, optional
        For the models that are fitted here. Models of yours keep their own where this is left out.
    random_state : int
        Seed of the intervals, of ``tune`` and of sampled candidates.
    keep_models : bool
        Keep the fitted models, for ``models`` of the result. False saves the memory.
    show_progress : bool, optional
        A table on stderr of what is done and what is left; where that is no terminal, a line for each model. By default
        the table in a terminal alone.

    Returns
    -------
    Comparison
        A model that fails or runs out of time or memory has a row that says so. After Ctrl-C, the models that had
        finished, with ``interrupted``; where none had, ``KeyboardInterrupt`` goes on.

    Raises
    ------
    InvalidDataError
        If there is no model, or the fitted models know other users, so that they would be measured on other people.
        If none of the test users (items) is known, but some are in another kind, such as ``7`` for ``"7"``.
    InvalidParameterError
        If the registry has no model of a name; names the nearest. If no model predicts the quantity whose error alone
        is asked for.
    Exception
        If no model has a result: what the first one raised.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
    >>> result = ancf.compare(["popular", ancf.ItemKNN()], data, test, metrics="recall@1")
    >>> list(result), result["ItemKNN"]["recall@1"]
    (['Popular', 'ItemKNN'], 1.0)
    >>> print(result.sentence)
    Nobody won: Popular and ItemKNN have the same recall@1, 1.0000.
    """
    for name, flag in (("refit", refit), ("keep_models", keep_models)):
        check_flag(name, flag)
    check_flag("filter_already_liked_items", filter_already_liked_items)
    check_choice("on_unknown", on_unknown, ("skip", "popular"))
    check_threads(num_threads)
    check_integer("random_state", random_state, 0, 2**32 - 1)
    if timeout_per_model is not None:
        check_number("timeout_per_model", timeout_per_model, 0, 1e9, above=True)
    for name, choice in (("show_progress", show_progress), ("own_process", own_process)):
        if choice is not None:
            check_flag(name, choice)
    if own_process is None:
        own_process = timeout_per_model is not None
    if timeout_per_model is not None and not own_process:
        raise InvalidParameterError("timeout_per_model ends a process, so that own_process=False does not go with it.")
    for name, table in (("train", train), ("test", test)):
        if not isinstance(table, Interactions):
            raise InvalidDataError(f"compare takes ancf.Interactions as {name}, not {type(table).__name__}.")
    # Each model is measured anew: what is read once would be gone for the second.
    metrics = metrics if isinstance(metrics, str) else materialize(metrics)
    labels = tuple(parse_metrics(metrics, materialize(k)))
    entered = _enter(models, refit=refit, num_threads=num_threads)
    contestants = entered.contestants
    names = [each.label for each in contestants]
    if baseline is not None:
        row = row_name(baseline, names) if isinstance(baseline, str) else None
        if row is None:
            raise InvalidParameterError(f"baseline is {baseline!r}; it must be one of the rows: {', '.join(names)}.")
        baseline = row
    _check_quantities(labels, contestants)
    known = train.compact()
    for side in ("user", "item"):
        refuse_other_table(used_ids(test, side), getattr(known, f"{side}_ids"), f"the {side}s of the test table")
    _check_fitted(contestants, train, test, bool(filter_already_liked_items) and not set(labels) <= set(ERROR_METRICS))
    task = Task(
        train,
        test,
        labels,
        bool(filter_already_liked_items),
        budget=_budget(tune, validation, contestants, labels, bool(filter_already_liked_items), random_state),
        keep_models=keep_models,
        ranking=_ranking(candidates, n_negatives, random_state) | {"on_unknown": on_unknown},
    )
    outcomes, interrupted = _run_all(contestants, task, own_process, timeout_per_model, show_progress)
    if not any(each.evaluation for each in outcomes.values()):
        raise _no_result(outcomes)
    return Comparison(
        outcomes,
        labels,
        ours=[each.label for each in contestants if each.is_ours],
        baseline=baseline,
        over=entered.over,
        slices=slice_users(_first(outcomes), test),
        about=_about(task, _first(outcomes).candidates, timeout_per_model, random_state),
        notes=_notes(outcomes, contestants, task),
        interrupted=interrupted,
        random_state=random_state,
        tables=(train, test),
    )


def _ranking(candidates: Candidates, n_negatives: int, random_state: int) -> dict[str, Any]:
    """What ``evaluate`` is told of the candidates."""
    if isinstance(candidates, str) and candidates == "sampled":
        return {"candidates": candidates, "n_negatives": n_negatives, "random_state": int(random_state)}
    check_integer("n_negatives", n_negatives, 1, 2**31 - 1)
    if n_negatives != N_NEGATIVES:
        raise InvalidParameterError(
            f'n_negatives={n_negatives!r} has no effect without candidates="sampled". Leave it out, or choose that.'
        )
    return {} if isinstance(candidates, str) and candidates == "all" else {"candidates": candidates}


class _Entered(NamedTuple):
    contestants: list[Contestant]
    over: dict[str, str | None] | None


def _enter(models: Contestants, *, refit: bool, num_threads: int | None) -> _Entered:
    """Who takes part, and what pieces are added to."""
    if isinstance(models, str) and models == PIECES:
        from ancf.models import ablation

        found = find_contestants(ablation.attention_pieces(), refit=refit, num_threads=num_threads)
        return _Entered(found, {name: piece.over for name, piece in ablation.PIECES.items()})
    return _Entered(find_contestants(models, refit=refit, num_threads=num_threads), None)


def _check_quantities(labels: Sequence[str], contestants: Sequence[Contestant]) -> None:
    """Refuse errors that nobody can have."""
    errors = [each for each in labels if each in ERROR_METRICS]
    if errors and not any(predicts_quantity(each) for each in contestants):
        raise InvalidParameterError(
            f"compare: none of these models predicts the quantity, so that {', '.join(errors)} would be empty. "
            "Leave it out, or add a model that does, such as SVD."
        )


def _check_fitted(contestants: Sequence[Contestant], train: Interactions, test: Interactions, new_only: bool) -> None:
    """Refuse figures of other people or other purchases: a fitted model brings its own training table."""
    expected: GroundTruth | None = None
    for each in contestants:
        if each.fit or not each.is_model:
            continue
        of_tables, own = Known.of_tables(train, test), Known.of_scorer(each.what._fitted())
        expected = expected or GroundTruth(of_tables, test, new_only)
        found = GroundTruth(own, test, new_only)
        if not (
            np.array_equal(own.user_ids.values[found.users], of_tables.user_ids.values[expected.users])
            and (found.known_pairs, found.unknown_items) == (expected.known_pairs, expected.unknown_items)
        ):
            raise InvalidDataError(
                f"compare: {each.label} was fitted on another table than train, so that it would be measured on "
                f"{len(found.users):,} users and {found.totals.sum():,} purchases, and the others on "
                f"{len(expected.users):,} and {expected.totals.sum():,}. Use refit=True, or give its lists as a table."
            )


def _budget(
    trials: int | None,
    validation: Interactions | None,
    contestants: Sequence[Contestant],
    labels: Sequence[str],
    new_only: bool,
    random_state: int,
) -> Budget | None:
    """How open options are chosen; None where they are not."""
    if validation is not None and not isinstance(validation, Interactions):
        raise InvalidDataError(f"compare takes ancf.Interactions as validation, not {type(validation).__name__}.")
    if trials is None:
        if validation is not None:
            raise InvalidParameterError("validation is what tune= measures settings on. Add tune=20, or leave it out.")
        return None
    check_integer("tune", trials, 1, 10**6)
    if not any(each.tunable and each.what.search_space() for each in contestants):
        raise InvalidParameterError(
            f"tune={trials!r} has nothing to choose: models of yours keep their options. Give names or classes, such "
            "as 'ItemKNN'."
        )
    return Budget(trials, tuple(labels), new_only, validation, random_state)


def _run_all(
    contestants: Sequence[Contestant],
    task: Task,
    own_process: bool,
    timeout_s: float | None,
    show_progress: bool | None,
) -> tuple[dict[str, Outcome], bool]:
    """Everybody, one after the other; and whether Ctrl-C ended it."""
    outcomes: dict[str, Outcome] = {}
    progress: Progress
    with contextlib.ExitStack() as stack:
        run: Callable[[Contestant], Outcome] = partial(run_contestant, task=task)
        if own_process:
            run = stack.enter_context(Processes(task, contestants, timeout_s)).run
        progress = stack.enter_context(
            watch([each.label for each in contestants], task.metrics, timeout_s, show_progress)
        )
        try:
            for each in contestants:
                progress.start(each.label)
                outcomes[each.label] = run(each)
                progress.finish(each.label, outcomes[each.label])
        except KeyboardInterrupt:
            if not any(each.evaluation for each in outcomes.values()):
                raise
            for each in contestants:
                outcomes.setdefault(each.label, Outcome("not run", "interrupted"))
            return outcomes, True
    return outcomes, False


def _no_result(outcomes: dict[str, Outcome]) -> Exception:
    """What the first model raised, or why none of them ended well."""
    for each in outcomes.values():
        if each.error is not None:
            return each.error
    why = "; ".join(f"{name}: {each.status}: {each.message}" for name, each in outcomes.items())
    return InvalidDataError(f"compare: no model has a result. {why}.")


def _first(outcomes: dict[str, Outcome]) -> Evaluation:
    """The figures of the first model that has any; all were measured on the same users and candidates."""
    return next(each.evaluation for each in outcomes.values() if each.evaluation is not None)


def _notes(outcomes: dict[str, Outcome], contestants: Sequence[Contestant], task: Task) -> list[str]:
    """What is worth knowing beside the figures."""
    done = {name: each.evaluation for name, each in outcomes.items() if each.evaluation is not None}
    # Where all models stand on one training table, they know the same users and items.
    first = next(iter(done.values()))
    left_out = [
        f"{n:,} test {what} were not in training"
        for what, n in (("users", first.n_unknown_users), ("items", first.n_unknown_items))
        if n
    ]
    notes = ["; ".join(left_out)] if left_out else []
    if first.candidates != "all":
        notes.append(
            f"lists of what was bought and {first.candidates} items: no estimate of figures over all items, and models "
            "may stand in another order"
            if first.candidates.endswith("sampled")
            else f"lists of {first.candidates} candidates"
        )
    if first.n_known_pairs:
        notes.append(
            f"{first.n_known_pairs:,} test pairs known from training do not count "
            "(filter_already_liked_items=False counts them)"
        )
    for name, each in done.items():
        if each.list_report is not None and (found := each.list_report.notes()):
            notes.append(f"{name}: {'; '.join(found)}")
    if task.budget is not None:
        as_given = [each.label for each in contestants if outcomes[each.label].tune_seconds is None and each.is_model]
        if as_given := [name for name in as_given if name in done]:
            notes.append(f"not tuned, with the options as given or nothing to choose: {', '.join(as_given)}")
    leaks = leakage_report(task.train, task.test).leaks
    return [*notes, *(f"leak: {each}" for each in leaks or task.test.leakage)]


def _about(task: Task, candidates: str, timeout_s: float | None, random_state: int) -> dict[str, Any]:
    """What repeats the comparison."""

    def table(part: Interactions) -> dict[str, Any]:
        times = None if part.times is None or not len(part) else [int(part.times.min()), int(part.times.max())]
        used = part.compact()
        return {
            "events": len(part),
            "users": used.n_users,
            "items": used.n_items,
            "times": times,
            "split_by": part.split_by,
            "leakage": list(part.leakage),
            "fingerprint": part.fingerprint(),
        }

    return {
        "train": table(task.train),
        "test": table(task.test),
        "filter_already_liked_items": task.filter_already_liked_items,
        "on_unknown": task.ranking["on_unknown"],
        "candidates": candidates,
        "tune": None if task.budget is None else task.budget.trials,
        "timeout_per_model": timeout_s,
        "random_state": int(random_state),
        "versions": {"ancf": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
