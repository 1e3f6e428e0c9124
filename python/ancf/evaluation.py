"""How good a model is: ranking metrics and errors on held-out interactions, one value for every user.

Ranking: each test user is given a list over the whole catalogue (all-ranking, no sampled candidates), and the list is
compared with the items T of that user in the test table. With k the cut-off and l₁, l₂, … the list:

    recall@k     |T ∩ l₁..ₖ| / |T|
    precision@k  |T ∩ l₁..ₖ| / k
    hit@k        1 if any of T is in l₁..ₖ, else 0
    ndcg@k       Σ_{r ≤ k, l_r ∈ T} 1 / log₂(r + 1), over the same sum with all min(k, |T|) hits in front
    map@k        Σ_{r ≤ k, l_r ∈ T} precision@r / |T|
    mrr@k        1 / the rank of the first of T within k, else 0
    coverage@k   the part of the catalogue that stands in anybody's l₁..ₖ (one number, not a mean)

These equal trec_eval's ``recall, P, success, ndcg_cut, map_cut, recip_rank`` (the last over a list of k). The mean is
over users.

Errors: mse, rmse and mae between ``predict`` and the weights of the test table, over its pairs; per user the same over
the user's pairs, where rmse is the root of the user's own mean, and NaN for a user none of whose items is known.
"""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf import _native, _text
from ancf.checks import as_numbers, check_choice, check_flag
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownUserError
from ancf.params import checks_call
from ancf.scoring.requests import is_one
from ancf.scoring.results import TopN
from ancf.scoring.scorer import HasScorer, Scorer
from ancf.scoring.unknown_ids import refuse_other_table, used_ids

if TYPE_CHECKING:
    import pandas as pd

RANKING_METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit", "coverage")
ERROR_METRICS = ("mse", "rmse", "mae")
OnUnknownUser = Literal["skip", "raise"]
DEFAULT_METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit", "coverage")

# Users ranked at a time: the lists of one chunk are all that is held, whatever the number of test users.
_CHUNK_USERS = 16_384


class Evaluation(Mapping[str, float]):
    """The metrics of one model on one test table: a mapping name → value that prints as a table.

    Attributes
    ----------
    per_user : dict, metric → float64 array with one value for each user of ``user_ids`` (not for coverage)
    user_ids : array, the users measured, ascending
    n_users : int
    n_unknown_users : int, test users that were not in training and were left out
    n_unknown_items : int, test items that were not in training: wanted, but in nobody's list
    n_known_pairs : int, test pairs that the user had in training already and that therefore could not be recommended
    seconds : float, the time of ranking and measuring

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
    >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
    >>> result = ancf.evaluate(ancf.ItemKNN().fit(data), test, metrics=["recall@1", "ndcg@1"])
    >>> result["recall@1"], result.per_user["ndcg@1"].tolist()
    (1.0, [1.0, 1.0])
    """

    def __init__(
        self,
        values: dict[str, float],
        per_user: dict[str, NDArray[np.float64]],
        user_ids: NDArray[Any],
        *,
        model: str = "",
        n_unknown_users: int = 0,
        n_unknown_items: int = 0,
        n_known_pairs: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self._values = values
        self.per_user = per_user
        self.user_ids = user_ids
        self.model = model
        self.n_unknown_users, self.n_unknown_items = n_unknown_users, n_unknown_items
        self.n_known_pairs, self.seconds = n_known_pairs, seconds

    @property
    def n_users(self) -> int:
        """The number of users measured."""
        return len(self.user_ids)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def stderr(self, name: str) -> float:
        """The standard error of the mean over users: their spread over √n.

        Parameters
        ----------
        name : a metric of ``per_user``

        Returns
        -------
        float, NaN for fewer than two users

        Raises
        ------
        KeyError
            If it was not measured for each user.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> ancf.evaluate(ancf.ItemKNN().fit(data), test, "ndcg@2").stderr("ndcg@2")
        0.0
        """
        values = self.per_user[name]
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else float("nan")

    def to_pandas(self, per_user: bool = False) -> "pd.DataFrame":
        """A table ``metric, value, stderr``; with ``per_user`` one row for each user and one column for each metric.

        Parameters
        ----------
        per_user : bool

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> result = ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@2")
        >>> result.to_pandas()["value"].tolist(), result.to_pandas(per_user=True)["user_id"].tolist()
        ([1.0], [1, 3])
        """
        import pandas as pd

        if per_user:
            return pd.DataFrame({"user_id": self.user_ids, **self.per_user})
        rows = [(name, value, self.stderr(name) if name in self.per_user else None) for name, value in self.items()]
        return pd.DataFrame(rows, columns=["metric", "value", "stderr"])

    def __repr__(self) -> str:
        rows = [[name, f"{value:.4f}", self._spread(name)] for name, value in self.items()]
        notes = [f"{self.n_users:,} users"]
        if self.n_unknown_users:
            notes.append(f"{self.n_unknown_users:,} more were not in training and are left out")
        if self.n_unknown_items:
            notes.append(f"{self.n_unknown_items:,} test items were not in training")
        if self.n_known_pairs:
            notes.append(f"{self.n_known_pairs:,} test pairs known from training do not count")
        head = f"{self.model}: " if self.model else ""
        return f"{head}{'; '.join(notes)}\n{_text.format_table(['metric', 'value', '±'], rows)}"

    def _spread(self, name: str) -> str:
        return f"{1.96 * self.stderr(name):.4f}" if name in self.per_user and self.n_users > 1 else ""


@checks_call
def evaluate(
    model: HasScorer,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    on_unknown: OnUnknownUser = "skip",
) -> Evaluation:
    """Measure a model on held-out interactions.

    Parameters
    ----------
    model : a fitted Recommender
    test : Interactions
        What the users did afterwards. Items the model does not know count as wanted and cannot be found;
        ``n_unknown_items`` of the result says how many.
    metrics : names, such as ``"ndcg@10"``, ``"recall"``, ``"mse"``
        A ranking metric without ``@`` is measured at every cut-off of ``k``. See the head of ``ancf.evaluation``.
    k : int or several, for the names without ``@``
    filter_already_liked_items : bool
        Leave out of the lists what the user had in training, and out of the test what can therefore not be found.
        False measures repeat purchases as well.
    on_unknown : "skip" or "raise"
        What becomes of test users that were not in training.

    Raises
    ------
    InvalidParameterError
        If a metric's name is unknown; names those that exist.
    InvalidDataError
        If nothing is left to measure; if none of the test users (items) is known, but some are in another kind, such
        as ``7`` for ``"7"``.
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
    """
    if not hasattr(model, "_fitted"):
        raise InvalidParameterError(f"evaluate: model is {model!r}; give a fitted model of ancf.")
    return evaluate_scorer(
        model._fitted(),
        test,
        metrics,
        k=k,
        filter_already_liked_items=filter_already_liked_items,
        on_unknown=on_unknown,
        num_threads=model.num_threads,
    )


def evaluate_scorer(
    scorer: Scorer,
    test: Interactions,
    metrics: str | Sequence[str],
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    on_unknown: OnUnknownUser = "skip",
    num_threads: int | None = None,
) -> Evaluation:
    """``evaluate`` for what a model answers with; the parameters are the same."""
    wanted = parse_metrics(metrics, k)
    check_choice("on_unknown", on_unknown, get_args(OnUnknownUser))
    check_flag("filter_already_liked_items", filter_already_liked_items)
    began = time.perf_counter()
    cut_offs = sorted({cut for _, cut in wanted.values() if cut})
    truth = _GroundTruth(scorer, test, bool(filter_already_liked_items) and bool(cut_offs))
    if truth.unknown_users and on_unknown == "raise":
        raise UnknownUserError(
            f"{truth.unknown_users} users of the test table were not in training. "
            'Choose on_unknown="skip" to leave them out.'
        )
    values: dict[str, float] = {}
    per_user: dict[str, NDArray[np.float64]] = {}
    if cut_offs:
        if not len(truth.users):
            raise InvalidDataError(
                "evaluate: no test pair is left to rank; its users are unknown, or had all of it in training. "
                "Split the table so that test users are in training, or choose filter_already_liked_items=False."
            )
        ranked, coverage = _ranking_metrics(scorer, truth, cut_offs, bool(filter_already_liked_items), num_threads)
        for label, (name, cut) in wanted.items():
            if name == "coverage":
                values[label] = coverage[cut]
            elif cut:
                per_user[label] = ranked[f"{name}@{cut}"]
                values[label] = float(per_user[label].mean())
    if any(not cut for _, cut in wanted.values()):
        errors, each = _error_metrics(scorer, test, truth.users)
        for label, (name, cut) in wanted.items():
            if not cut:
                values[label], per_user[label] = errors[name], each[name]
    return Evaluation(
        {label: values[label] for label in wanted},
        {label: per_user[label] for label in wanted if label in per_user},
        scorer.user_ids.values[truth.users],
        model=scorer.model,
        n_unknown_users=truth.unknown_users,
        n_unknown_items=truth.unknown_items,
        n_known_pairs=truth.known_pairs,
        seconds=time.perf_counter() - began,
    )


def parse_metrics(metrics: str | Sequence[str], k: int | Sequence[int]) -> dict[str, tuple[str, int]]:
    """Label → (metric, cut-off or 0), in the order requested."""
    cuts: list[Any] = [k] if is_one(k) else list(k)  # type: ignore[arg-type]
    for cut in cuts or [None]:
        if isinstance(cut, bool) or not isinstance(cut, (int, np.integer)) or cut < 1:
            raise InvalidParameterError(f"k is {k!r}; it must be a whole number of at least 1, or several.")
    if not isinstance(metrics, str) and is_one(metrics):
        raise InvalidParameterError(f"metrics is {metrics!r}; give names, such as ['ndcg@10', 'mse'].")
    wanted: dict[str, tuple[str, int]] = {}
    for label in [metrics] if isinstance(metrics, str) else metrics:
        match = re.fullmatch(r"([a-z]+)(?:@(\d+))?", str(label).lower())
        name = match[1] if match else ""
        if match is None or name not in RANKING_METRICS + ERROR_METRICS or (name in ERROR_METRICS and match[2]):
            raise InvalidParameterError(
                f"metric {label!r} is unknown. "
                f"There are {', '.join(f'{name}@k' for name in RANKING_METRICS)}, {', '.join(ERROR_METRICS)}."
            )
        for cut in [0] if name in ERROR_METRICS else [int(match[2])] if match[2] else cuts:
            if name in RANKING_METRICS and cut < 1:
                raise InvalidParameterError(
                    f"metric {label!r}: the cut-off is {cut!r}; it must be a whole number of at least 1."
                )
            wanted[f"{name}@{cut}" if cut else name] = (name, int(cut))
    if not wanted:
        raise InvalidParameterError("metrics is empty; name at least one, such as 'ndcg@10'.")
    return wanted


def check_metric(name: str, value: str) -> None:
    """The name of one metric, as an option of this name has it."""
    try:
        parse_metrics([value], 10)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{name}: {error}") from None


class _GroundTruth:
    """The test table in the model's positions: for each known user what is wanted, ascending, and how much in all."""

    def __init__(self, scorer: Scorer, test: Interactions, new_only: bool) -> None:
        if not isinstance(test, Interactions):
            raise InvalidDataError(f"evaluate takes ancf.Interactions as test, not {type(test).__name__}.")
        indptr, columns, _ = test.to_csr()
        held = np.flatnonzero(np.diff(indptr))
        user_of = scorer.user_ids.positions(test.user_ids.values)
        item_of = scorer.item_ids.positions(test.item_ids.values)
        refuse_other_table(used_ids(test, "user"), scorer.user_ids, "the users of the test table")
        refuse_other_table(used_ids(test, "item"), scorer.item_ids, "the items of the test table")
        self.unknown_items = int((item_of[np.unique(columns)] < 0).sum())
        self.unknown_users = int((user_of[held] < 0).sum())
        users = np.repeat(user_of, np.diff(indptr))
        items = item_of[columns]
        keep = users >= 0
        users, items = users[keep], items[keep]
        n_items = len(scorer.item_ids)
        self.known_pairs = 0
        if new_only and len(users):
            seen_indptr, seen_items = scorer.seen
            concerned = np.unique(users)
            lengths = np.diff(seen_indptr)[concerned]
            starts = seen_indptr[concerned]
            at = np.repeat(starts - np.append(0, np.cumsum(lengths)[:-1]), lengths) + np.arange(lengths.sum())
            seen = np.repeat(concerned, lengths) * n_items + seen_items[at]
            known = (items >= 0) & np.isin(users * n_items + items, seen)
            self.known_pairs = int(known.sum())
            users, items = users[~known], items[~known]
        self.users, row = np.unique(users, return_inverse=True)
        self.totals = np.bincount(row, minlength=len(self.users)).astype(np.int64)
        known = items >= 0
        order = np.argsort(row[known] * max(n_items, 1) + items[known], kind="stable")
        self.items = items[known][order].astype(np.int32)
        self.indptr = np.zeros(len(self.users) + 1, np.int64)
        np.cumsum(np.bincount(row[known], minlength=len(self.users)), out=self.indptr[1:])


def _ranking_metrics(
    scorer: Scorer, truth: _GroundTruth, cut_offs: list[int], filter_seen: bool, num_threads: int | None
) -> tuple[dict[str, NDArray[np.float64]], dict[int, float]]:
    n_items = len(scorer.item_ids)
    parts: list[dict[str, Any]] = []
    listed = {cut: np.zeros(n_items, bool) for cut in cut_offs}
    for start in range(0, len(truth.users), _CHUNK_USERS):
        end = min(start + _CHUNK_USERS, len(truth.users))
        top = TopN(
            *scorer.ranker.top_n(truth.users[start:end], cut_offs[-1], filter_seen=filter_seen, num_threads=num_threads)
        )
        low, high = truth.indptr[start], truth.indptr[end]
        parts.append(
            _native.ranking_metrics(
                top.items,
                top.counts,
                (truth.indptr[start : end + 1] - low, truth.items[low:high]),
                None,
                cut_offs,
                n_items,
                n_truth=truth.totals[start:end],
                num_threads=num_threads,
            )
        )
        if len(truth.users) > _CHUNK_USERS:
            for cut in cut_offs:
                held = np.arange(top.items.shape[1])[None, :] < np.minimum(top.counts, cut)[:, None]
                listed[cut][top.items[held]] = True
    if len(parts) == 1:
        coverage = {cut: float(parts[0][f"coverage@{cut}"]) for cut in cut_offs}
    else:
        coverage = {cut: float(mask.mean()) for cut, mask in listed.items()}
    names = [name for name in parts[0] if not name.startswith("coverage")]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, coverage


def _error_metrics(
    scorer: Scorer, test: Interactions, measured: NDArray[np.int64]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Errors over all test pairs that the model can score; per user for the users measured."""
    indptr, columns, weights = test.to_csr()
    users = np.repeat(scorer.user_ids.positions(test.user_ids.values), np.diff(indptr))
    items = scorer.item_ids.positions(test.item_ids.values)[columns]
    known = (users >= 0) & (items >= 0)
    if not known.any():
        raise InvalidDataError("evaluate: no test pair has both a user and an item that the model knows.")
    users, items = users[known], items[known]
    truth: NDArray[Any] = weights[known]
    normalizer = scorer.encoder.normalizer
    if normalizer is not None:  # the model predicts normalized quantities
        truth = normalizer.transform(truth)
    difference = scorer.ranker.scores(users, items).astype(np.float64) - truth
    n = len(scorer.user_ids)
    count = np.bincount(users, minlength=n).astype(np.float64)
    count[count == 0] = np.nan  # a user none of whose test items is known has no error
    square = np.bincount(users, weights=difference**2, minlength=n) / count
    absolute = np.bincount(users, weights=np.abs(difference), minlength=n) / count
    mse = float(np.mean(difference**2))
    errors = {"mse": mse, "rmse": math.sqrt(mse), "mae": float(np.mean(np.abs(difference)))}
    each = {"mse": square[measured], "rmse": np.sqrt(square)[measured], "mae": absolute[measured]}
    return errors, each


@checks_call
def dcg_score(y_true: ArrayLike, y_score: ArrayLike, k: int = 10) -> float:
    """Discounted cumulative gain of one list: Σ_r (2^rel_r − 1) / log₂(r + 1) over the k highest scores.

    Parameters
    ----------
    y_true : array (n,), relevances
    y_score : array (n,), by which the list is ordered, descending; equal scores keep their order
    k : int, at least 1

    Returns
    -------
    float

    Raises
    ------
    InvalidDataError
        If lengths differ or a number is not finite.
    InvalidParameterError
        If ``k`` is no whole number of at least 1.

    Examples
    --------
    >>> dcg_score([3, 0, 1], [0.9, 0.5, 0.1], k=3)
    7.5
    """
    gains, scores = _gains_and_scores(y_true, y_score, k)
    return _dcg(gains[np.argsort(-scores, kind="stable")[:k]])


@checks_call
def calculate_ndcg(y_true: ArrayLike, y_score: ArrayLike, k: int = 10) -> float:
    """``dcg_score`` over the best that any order could reach; 0 where nothing is relevant.

    Parameters
    ----------
    y_true, y_score, k
        As in ``dcg_score``.

    Returns
    -------
    float, 0 to 1 where no relevance is negative

    Raises
    ------
    InvalidDataError, InvalidParameterError
        As ``dcg_score``.

    Examples
    --------
    >>> calculate_ndcg([3, 2, 0], [1.0, 2.0, 3.0], k=3) < calculate_ndcg([3, 2, 0], [3.0, 2.0, 1.0], k=3) == 1.0
    True
    """
    gains, scores = _gains_and_scores(y_true, y_score, k)
    ideal = _dcg(np.sort(gains)[::-1][:k])
    return _dcg(gains[np.argsort(-scores, kind="stable")[:k]]) / ideal if ideal > 0 else 0.0


def _gains_and_scores(y_true: ArrayLike, y_score: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _check_cut_off(k)
    # The gains are computed once: NumPy's vectorized exp2 may differ in the last bit by a number's place in the array.
    relevance, scores = as_numbers("y_true", y_true).ravel(), as_numbers("y_score", y_score).ravel()
    if len(relevance) != len(scores):
        raise InvalidDataError(
            f"y_true has {len(relevance)} values ({_text.format_value(y_true)}) and y_score {len(scores)} "
            f"({_text.format_value(y_score)}); give one score for each relevance."
        )
    for name, values in (("y_true", relevance), ("y_score", scores)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InvalidDataError(f"{name}: value {bad[0]} is {values[bad[0]]}; all must be finite.")
    return np.exp2(relevance) - 1, scores


def _check_cut_off(k: Any) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InvalidParameterError(f"k is {k!r}; it must be a whole number of at least 1.")


def _dcg(gains: NDArray[np.float64]) -> float:
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))


class _Forward(Protocol):
    def forward(self, users: Any, items: Any, /) -> Any: ...


class _Predict(Protocol):
    def predict(self, users: Any, items: Any, /) -> Any: ...


@checks_call
def evaluate_metrics(
    model: _Forward | _Predict, batches: Iterable[tuple[Any, ArrayLike]], k: int = 10
) -> dict[str, float]:
    """Errors and NDCG of predictions over batches of (X, y), as ``batch_data`` gives them.

    Parameters
    ----------
    model : anything with ``forward(users, items)`` or ``predict(users, items)``
    batches : pairs of X, with the columns ``user_id`` and ``product_id`` (a table or an (n, 2) array), and y (n,)
    k : int, the cut-off of the NDCG

    Returns
    -------
    dict with ``mse``, ``rmse``, ``mae`` over all rows and ``ndcg@k``, the mean over users of ``calculate_ndcg`` of each
    user's rows

    Raises
    ------
    InvalidDataError
        If there is no row, or a batch is no such pair; names it by its number, from 0.
    InvalidParameterError
        If ``model`` has neither method, or ``k`` is no whole number of at least 1.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"])
    >>> model = ancf.Popular().fit(data)
    >>> evaluate_metrics(model, [([[1, "a"], [1, "b"]], [1.0, 3.0])], k=2)
    {'mse': 0.5, 'rmse': 0.7071067811865476, 'mae': 0.5, 'ndcg@2': 1.0}
    """
    score = getattr(model, "forward", getattr(model, "predict", None))
    if not callable(score) or isinstance(model, type):
        raise InvalidParameterError(
            f"evaluate_metrics: model is {_text.format_value(model)}; give a model with forward(users, items) or "
            "predict(users, items)."
        )
    _check_cut_off(k)
    if isinstance(batches, (str, bytes)) or is_one(batches):
        raise InvalidDataError(
            f"evaluate_metrics: batches is {_text.format_value(batches)}; give pairs of X and y, as "
            "ancf.batch_data does."
        )
    users: list[Any] = []
    truths: list[NDArray[np.float64]] = []
    predictions: list[NDArray[np.float64]] = []
    for at, batch in enumerate(batches):
        user, item, truth = _pairs_of_batch(batch, at)
        users.append(user)
        truths.append(truth)
        predictions.append(np.asarray(score(user, item), np.float64).ravel())
    if not users or not sum(map(len, users)):
        raise InvalidDataError(
            f"evaluate_metrics: batches is {_text.format_value(batches)}, without a row. Give at least one."
        )
    truth, predicted = np.concatenate(truths), np.concatenate(predictions)
    _, who = np.unique(np.concatenate(users), return_inverse=True)
    order = np.argsort(who, kind="stable")
    bounds = np.append(0, np.cumsum(np.bincount(who)))
    ndcg = [calculate_ndcg(truth[order[low:high]], predicted[order[low:high]], k) for low, high in pairwise(bounds)]
    difference = predicted - truth
    mse = float(np.mean(difference**2))
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": float(np.mean(np.abs(difference))),
        f"ndcg@{k}": float(np.mean(ndcg)),
    }


def _pairs_of_batch(batch: Any, at: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Users, items and targets of a batch (X, y)."""
    where = f"evaluate_metrics: batches[{at}]"
    if not isinstance(batch, Sequence) or isinstance(batch, (str, bytes)) or len(batch) != 2:
        raise InvalidDataError(f"{where} is {_text.format_value(batch)}; give a pair (X, y), as ancf.batch_data does.")
    X, y = batch
    if hasattr(X, "columns"):
        for name in ("user_id", "product_id"):
            if name not in X.columns:
                raise InvalidDataError(f"{where}: X has no column {name!r}, but {', '.join(map(str, X.columns))}.")
        users, items = np.asarray(X["user_id"]), np.asarray(X["product_id"])
    else:
        try:
            pairs = np.asarray(X if hasattr(X, "dtype") else [list(row) for row in X])
            if not hasattr(X, "dtype") and pairs.dtype.kind in "US":  # numbers beside text stay numbers
                pairs = np.array([list(row) for row in X], object)
        except (TypeError, ValueError) as error:
            raise InvalidDataError(f"{where} is {_text.format_value(batch)}; give (n, 2) ids as X ({error}).") from None
        if pairs.ndim != 2 or pairs.shape[1] < 2:
            raise InvalidDataError(
                f"{where} is {_text.format_value(batch)}; give (n, 2) ids as X (its shape is {pairs.shape})."
            )
        users, items = pairs[:, 0], pairs[:, 1]
    truth = as_numbers(f"{where}: y", y).ravel()
    if len(truth) != len(users):
        raise InvalidDataError(f"{where}: X has {len(users)} rows and y {len(truth)} values; give one for each row.")
    return users, items, truth
