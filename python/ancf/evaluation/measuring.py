"""``evaluate``: how good a model is, or lists made elsewhere, on held-out interactions."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice, check_flag
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownUserError
from ancf.evaluation.candidates import N_NEGATIVES, RANDOM_STATE, Candidates, CandidateSets, find_candidates
from ancf.evaluation.given_lists import GivenLists, place_lists
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.evaluation.metrics import (
    DEFAULT_METRICS,
    ERROR_METRICS,
    HIT_METRICS,
    Metric,
    OnUnknownUser,
    parse_metrics,
)
from ancf.evaluation.pair_errors import PairErrors
from ancf.evaluation.ranking import ListMaker, Lists, ModelLists, RankedLists, error_metrics, measure_lists
from ancf.evaluation.result import Evaluation
from ancf.evaluation.slices import Detail
from ancf.params import checks_call
from ancf.scoring.results import TopN
from ancf.scoring.scorer import HasScorer, Scorer


@checks_call
def evaluate(
    model: HasScorer | GivenLists,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    on_unknown: OnUnknownUser = "skip",
    candidates: Candidates = "all",
    n_negatives: int = N_NEGATIVES,
    random_state: int = RANDOM_STATE,
    train: Interactions | None = None,
) -> Evaluation:
    """Measure a model, or lists made elsewhere, on held-out interactions.

    Parameters
    ----------
    model : a fitted Recommender, or lists
        Lists are a table or file with the columns ``user_id``, ``item_id`` and ``rank`` (1 is the best) or ``score``
        (the largest is the best); a mapping from users to item ids, best first, or from users to items to scores;
        ``Recommendations``; or any object with ``recommend(user, N)``, which is asked for every user measured.

        They are measured as they stand. A user without a list counts with 0. An item that is unknown, stands twice in a
        list, or was had in training holds its place without being a hit. Equal scores are in the order of the item ids.
        ``list_report`` of the result counts all of these.
    test : Interactions
        What the users did afterwards. Items the model does not know count as wanted and cannot be found;
        ``n_unknown_items`` of the result says how many.
    metrics : names, such as ``"ndcg@10"``, ``"recall"``, ``"mse"``
        A ranking metric without ``@`` is measured at every cut-off of ``k``. Definitions: ``docs/metrics.md``. Of lists
        without ``train``, the coverage is not among the defaults.
    k : int or several, for the names without ``@``
        Above the number of items, the lists hold all that may be recommended.
    filter_already_liked_items : bool
        Leave out of the lists what the user had in training, and out of the test what can therefore not be found.
        False measures repeat purchases as well.
    on_unknown : "skip", "popular" or "raise"
        What becomes of test users that were not in training. "popular" measures them too: a model gives them what is
        popular, as ``recommend(on_unknown="popular")`` does; lists made elsewhere are theirs as they stand.
    candidates : "all", "sampled", or items for each user
        What the lists may hold: all items; what the user wants and ``n_negatives`` sampled items that the user neither
        had in training nor has in the test; or given items, in the forms that ``recommend(items=)`` takes. Figures over
        sampled candidates are far higher, no estimate of the others, and may put models in another order
        (``docs/metrics.md``), so the result is labelled with what it is of.
    n_negatives, random_state : int, for ``candidates="sampled"``
        How many items are drawn for each user, and the seed. Every model of one training table gets the same.
    train : Interactions, for lists
        What was known when they were made: the catalogue, what each user had, and who is unknown, so that the same
        users and purchases count as for a model fitted on it. Without, every user and purchase of ``test`` counts. A
        model of ancf knows its training table itself.

    Raises
    ------
    InvalidParameterError
        If a metric's name is unknown; names the nearest. If an option does not apply: ``train`` to a model of ancf,
        errors such as "mse" to lists, which predict nothing.
    InvalidDataError
        If nothing is left to measure; if none of the test users (items) is known, but some are in another kind, such
        as ``7`` for ``"7"``; if lists miss an id, a rank or a score, or no user measured has one.
    UnknownUserError
        If a test user was not in training and ``on_unknown="raise"``.
    NotFittedError

    Returns
    -------
    Evaluation

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
    >>> test = ancf.Interactions.from_ids(user=[1, 3, 9], item=["c", "new", "a"])
    >>> ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@1")
    ItemKNN: 2 users; 1 more were not in training and are left out; 1 test items were not in training
    metric  value   ±
    hit@1   0.5000  0.9800
    >>> ancf.evaluate({1: ["c", "d"], 3: ["a"]}, test, "hit@1", train=data)["hit@1"]
    0.5
    """
    if _is_model(model):
        if train is not None:
            raise InvalidParameterError(
                "evaluate: train= is for lists made elsewhere; a model of ancf knows its training table. Leave it out."
            )
        return evaluate_scorer(
            model._fitted(),
            test,
            metrics,
            k=k,
            filter_already_liked_items=filter_already_liked_items,
            on_unknown=on_unknown,
            candidates=candidates,
            n_negatives=n_negatives,
            random_state=random_state,
            num_threads=model.num_threads,
        )
    return _evaluate_lists(
        model,
        test,
        metrics,
        k=k,
        filter_already_liked_items=filter_already_liked_items,
        on_unknown=on_unknown,
        candidates=candidates,
        n_negatives=n_negatives,
        random_state=random_state,
        train=train,
    )


def _is_model(model: Any) -> TypeGuard[HasScorer]:
    return hasattr(model, "_fitted") and not isinstance(model, type)


def evaluate_scorer(
    scorer: Scorer,
    test: Interactions,
    metrics: str | Sequence[str],
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    on_unknown: OnUnknownUser = "skip",
    candidates: Candidates = "all",
    n_negatives: int = N_NEGATIVES,
    random_state: int = RANDOM_STATE,
    num_threads: int | None = None,
) -> Evaluation:
    """``evaluate`` for what a model answers with; the parameters are the same."""
    began = time.perf_counter()
    task = _Task(Known.of_scorer(scorer), test, metrics, k, filter_already_liked_items, on_unknown, num_threads)
    chosen = task.choose(candidates, n_negatives, random_state)
    users = task.truth.users
    if task.known.n_strangers:
        users = scorer.user_ids.positions(task.known.user_ids.values[users])
    task.rank_fully(ModelLists(scorer, users, chosen and chosen.sets, task.new_only, num_threads))
    if task.has_errors:
        errors = error_metrics(scorer, test, users)
        task.values |= errors.values
        task.per_user |= errors.per_user
        task.pair_errors = errors.pairs
    return task.result(scorer.model, began)


def evaluate_top_n(
    known: Known,
    top_n: Callable[[NDArray[np.int64], int], TopN],
    test: Interactions,
    metric: str,
    num_threads: int | None,
) -> float:
    """One metric of lists, as ``evaluate_scorer`` has it: ``top_n`` gives the first places for users by rising
    position, without what they had."""
    task = _Task(known, test, [metric], 10, True, "skip", num_threads)
    task.rank_fully(_TopN(task.truth.users, len(known.item_ids), top_n))
    return task.result("", time.perf_counter())[metric]


class _TopN(RankedLists):
    """Lists that somebody else makes."""

    def __init__(self, users: NDArray[np.int64], n_items: int, top_n: Callable[[NDArray[np.int64], int], TopN]) -> None:
        self._users, self._top_n = users, top_n
        self.n_users, self.n_items, self.most = len(users), n_items, n_items

    def top_n(self, start: int, end: int, n: int) -> TopN:
        return self._top_n(self._users[start:end], n)


def _evaluate_lists(
    given: Any,
    test: Interactions,
    metrics: str | Sequence[str],
    *,
    k: int | Sequence[int],
    filter_already_liked_items: bool,
    on_unknown: OnUnknownUser,
    candidates: Candidates,
    n_negatives: int,
    random_state: int,
    train: Interactions | None,
) -> Evaluation:
    """``evaluate`` for lists made elsewhere."""
    began = time.perf_counter()
    for name, table in (("test", test), ("train", train)):
        if not isinstance(table, Interactions) and (name == "test" or table is not None):
            raise InvalidDataError(f"evaluate takes ancf.Interactions as {name}, not {type(table).__name__}.")
    if train is None and metrics is DEFAULT_METRICS:
        metrics = [name for name in DEFAULT_METRICS if name != "coverage"]
    if train is None and on_unknown == "popular":
        raise InvalidParameterError(
            'on_unknown="popular" has no effect without train=: every user of the test counts. Leave it out.'
        )
    task = _Task(Known.of_tables(train, test), test, metrics, k, filter_already_liked_items, on_unknown, None)
    for label, (name, _) in task.wanted.items():
        if name in ERROR_METRICS:
            raise InvalidParameterError(f"metric {label!r}: lists predict no quantity. Leave it out.")
        if name == "auc":
            raise InvalidParameterError("metric 'auc': lists are no ranking of all items. Leave it out.")
        if train is None and name not in HIT_METRICS:
            raise InvalidParameterError(f"metric {label!r} needs the catalogue. Give train=, or leave it out.")
    task.require_users()
    chosen = task.choose(candidates, n_negatives, random_state)
    placed = place_lists(
        given, task.known, task.truth, task.cut_offs[-1], candidates=chosen and chosen.sets, new_only=task.new_only
    )
    task.rank(placed)
    result = task.result(type(given).__name__ if callable(getattr(given, "recommend", None)) else "lists", began)
    result.list_report = placed.report
    return result


class _Task:
    """One evaluation on its way: what is asked, who is measured, and the values so far."""

    def __init__(
        self,
        known: Known,
        test: Interactions,
        metrics: str | Sequence[str],
        k: int | Sequence[int],
        filter_already_liked_items: bool,
        on_unknown: OnUnknownUser,
        num_threads: int | None,
    ) -> None:
        self.wanted: dict[str, Metric] = parse_metrics(metrics, k)
        check_choice("on_unknown", on_unknown, get_args(OnUnknownUser))
        check_flag("filter_already_liked_items", filter_already_liked_items)
        self.includes_strangers = on_unknown == "popular"
        if self.includes_strangers and isinstance(test, Interactions):
            known = known.with_strangers(test)
        self.known, self.num_threads = known, num_threads
        self.cut_offs = sorted({cut for _, cut in self.wanted.values() if cut})
        self.has_errors = any(name in ERROR_METRICS for name, _ in self.wanted.values())
        ranks = bool(self.cut_offs) or "auc" in self.wanted
        self.new_only = bool(filter_already_liked_items) and ranks
        self.truth = GroundTruth(known, test, self.new_only)
        if self.truth.unknown_users and on_unknown == "raise":
            raise UnknownUserError(
                f"{self.truth.unknown_users} users of the test table were not in training. "
                'Choose on_unknown="skip" to leave them out, or "popular" to measure what they are shown.'
            )
        self.values: dict[str, float] = {}
        self.per_user: dict[str, NDArray[np.float64]] = {}
        self.candidates: CandidateSets | None = None
        self.lists: Lists | None = None
        self.pair_errors: PairErrors | None = None

    def require_users(self) -> None:
        """Refuse a table that leaves nobody to rank for."""
        if not len(self.truth.users):
            raise InvalidDataError(
                "evaluate: no test pair is left to rank; its users are unknown, or had all of it in training. "
                "Split the table so that test users are in training, or choose filter_already_liked_items=False."
            )

    def choose(self, candidates: Candidates, n_negatives: int, random_state: int) -> CandidateSets | None:
        """The candidates of the users measured."""
        ranks = bool(self.cut_offs) or "auc" in self.wanted
        is_all = isinstance(candidates, str) and candidates == "all"
        if not ranks and not is_all:
            raise InvalidParameterError("candidates: no metric of lists is asked for. Leave candidates out.")
        if ranks and not is_all:
            self.require_users()
        self.candidates = find_candidates(
            candidates, n_negatives, random_state, self.known, self.truth, self.new_only, self.num_threads
        )
        return self.candidates

    def rank(self, maker: ListMaker) -> None:
        """The metrics of lists."""
        if not self.cut_offs:
            return
        self.require_users()
        measured = measure_lists(maker, self.known, self.truth, self.wanted, self.num_threads)
        self.values |= measured.values
        self.per_user |= measured.per_user
        self.lists = measured.lists

    def rank_fully(self, maker: RankedLists) -> None:
        """The same, and what needs whole rankings."""
        self.rank(maker)
        if "auc" in self.wanted:
            self.require_users()
            self.per_user["auc"] = maker.auc(self.truth.wanted)

    def result(self, model: str, began: float) -> Evaluation:
        """What was measured, in the order requested."""
        for label, each in self.per_user.items():
            if label not in self.values:
                finite = each if np.isfinite(each).all() else each[np.isfinite(each)]
                self.values[label] = float(finite.mean()) if len(finite) else float("nan")
        return Evaluation(
            {label: self.values[label] for label in self.wanted},
            {label: self.per_user[label] for label in self.wanted if label in self.per_user},
            self.known.user_ids.values[self.truth.users],
            model=model,
            n_unknown_users=self.truth.unknown_users,
            includes_strangers=self.includes_strangers,
            n_unknown_items=self.truth.unknown_items,
            n_known_pairs=self.truth.known_pairs,
            candidates=self.candidates,
            detail=Detail(self.known, self.truth, self.lists, self.wanted),
            pair_errors=self.pair_errors,
            seconds=time.perf_counter() - began,
        )
