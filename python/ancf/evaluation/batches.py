"""DCG of one list, and errors and NDCG over batches: for those who train a network of their own."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf.checks import as_numbers
from ancf.errors import InvalidDataError, InvalidParameterError


def dcg_score(y_true: ArrayLike, y_score: ArrayLike, k: int = 10) -> float:
    """Discounted cumulative gain of one list: Σ_r (2^rel_r − 1) / log₂(r + 1) over the k highest scores.

    Parameters
    ----------
    y_true : array (n,), relevances
    y_score : array (n,), by which the list is ordered, descending; equal scores keep their order
    k : int, at least 1

    Examples
    --------
    >>> dcg_score([3, 0, 1], [0.9, 0.5, 0.1], k=3)
    7.5
    """
    gains, scores = _gains_and_scores(y_true, y_score, k)
    return _dcg(gains[np.argsort(-scores, kind="stable")[:k]])


def calculate_ndcg(y_true: ArrayLike, y_score: ArrayLike, k: int = 10) -> float:
    """``dcg_score`` over the best that any order could reach; 0 where nothing is relevant.

    Examples
    --------
    >>> calculate_ndcg([3, 2, 0], [1.0, 2.0, 3.0], k=3) < calculate_ndcg([3, 2, 0], [3.0, 2.0, 1.0], k=3) == 1.0
    True
    """
    gains, scores = _gains_and_scores(y_true, y_score, k)
    ideal = _dcg(np.sort(gains)[::-1][:k])
    return _dcg(gains[np.argsort(-scores, kind="stable")[:k]]) / ideal if ideal > 0 else 0.0


def _gains_and_scores(y_true: ArrayLike, y_score: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InvalidParameterError(f"k is {k!r}; it must be a whole number of at least 1.")
    # The gains are computed once: NumPy's vectorized exp2 may differ in the last bit by a number's place in the array.
    relevance, scores = as_numbers("y_true", y_true).ravel(), as_numbers("y_score", y_score).ravel()
    if len(relevance) != len(scores):
        raise InvalidDataError(f"got {len(relevance)} relevances and {len(scores)} scores; give one score for each.")
    for name, values in (("y_true", relevance), ("y_score", scores)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InvalidDataError(f"{name}: value {bad[0]} is {values[bad[0]]}; all must be finite.")
    return np.exp2(relevance) - 1, scores


def _dcg(gains: NDArray[np.float64]) -> float:
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))


class _Forward(Protocol):
    def forward(self, users: Any, items: Any, /) -> Any: ...


class _Predict(Protocol):
    def predict(self, users: Any, items: Any, /) -> Any: ...


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
        If there is no row.
    """
    score = model.forward if hasattr(model, "forward") else model.predict
    users: list[Any] = []
    truths: list[NDArray[np.float64]] = []
    predictions: list[NDArray[np.float64]] = []
    for X, y in batches:
        table = hasattr(X, "columns")
        user, item = (X["user_id"], X["product_id"]) if table else (np.asarray(X)[:, 0], np.asarray(X)[:, 1])
        users.append(np.asarray(user))
        truths.append(np.asarray(y, np.float64).ravel())
        predictions.append(np.asarray(score(np.asarray(user), np.asarray(item)), np.float64).ravel())
    if not users or not sum(map(len, users)):
        raise InvalidDataError("evaluate_metrics: the batches hold no rows.")
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
