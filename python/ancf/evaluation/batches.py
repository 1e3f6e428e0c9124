"""DCG of one list, and errors and NDCG over batches: for those who train a network of their own."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf import _text
from ancf.checks import as_numbers
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call
from ancf.scoring.requests import is_one


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
