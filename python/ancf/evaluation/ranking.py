"""Ranking metrics and errors, chunk after chunk of users, whoever made the lists."""

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.scoring.results import TopN
from ancf.scoring.scorer import Scorer

# Users ranked at a time: the lists of one chunk are all that is held, whatever the number of test users.
_CHUNK_USERS = 16_384


class Lists(NamedTuple):
    """Lists by position, best first; -1 holds a place that can be no hit."""

    items: NDArray[np.int32]
    """(n_users, n)"""
    counts: NDArray[np.int32]
    """(n_users,)"""


class ListMaker(Protocol):
    """Whatever has the lists of the users measured."""

    def lists(self, start: int, end: int, n: int) -> Lists:
        """The first n places of the lists of some of these users, in their order."""
        ...


class ModelLists:
    """The lists of a fitted model."""

    def __init__(self, scorer: Scorer, users: NDArray[np.int64], filter_seen: bool, num_threads: int | None) -> None:
        self.scorer, self.users, self.filter_seen, self.num_threads = scorer, users, filter_seen, num_threads

    def lists(self, start: int, end: int, n: int) -> Lists:
        """What ``recommend`` gives these users."""
        top = TopN(
            *self.scorer.ranker.top_n(
                self.users[start:end], n, filter_seen=self.filter_seen, num_threads=self.num_threads
            )
        )
        return Lists(top.items, top.counts)


def ranking_metrics(
    maker: ListMaker, known: Known, truth: GroundTruth, cut_offs: list[int], num_threads: int | None
) -> tuple[dict[str, NDArray[np.float64]], dict[int, float]]:
    """Label → one value for each user, and cut-off → coverage."""
    n_items, n_catalogue = known.n_items, len(known.item_ids)
    parts: list[dict[str, Any]] = []
    listed = {cut: np.zeros(n_items, bool) for cut in cut_offs}
    wanted = truth.wanted
    for start in range(0, len(truth.users), _CHUNK_USERS):
        end = min(start + _CHUNK_USERS, len(truth.users))
        items, counts = maker.lists(start, end, cut_offs[-1])
        low, high = wanted.indptr[start], wanted.indptr[end]
        parts.append(
            _native.ranking_metrics(
                items,
                counts,
                (wanted.indptr[start : end + 1] - low, wanted.items[low:high]),
                None,
                cut_offs,
                n_items,
                n_truth=truth.totals[start:end],
                n_catalogue=n_catalogue,
                num_threads=num_threads,
            )
        )
        if len(truth.users) > _CHUNK_USERS:
            for cut in cut_offs:
                held = np.arange(items.shape[1])[None, :] < np.minimum(counts, cut)[:, None]
                listed[cut][items[held & (items >= 0)]] = True
    if len(parts) == 1:
        coverage = {cut: float(parts[0][f"coverage@{cut}"]) for cut in cut_offs}
    else:
        coverage = {cut: float(mask[:n_catalogue].sum() / max(n_catalogue, 1)) for cut, mask in listed.items()}
    names = [name for name in parts[0] if not name.startswith("coverage")]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, coverage


def error_metrics(
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
