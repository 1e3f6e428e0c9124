"""Ranking metrics and errors, chunk after chunk of users, whoever made the lists."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import ItemSets
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError
from ancf.evaluation.beyond import ItemFacts, gini
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.evaluation.metrics import PROPERTY_METRICS, Metric
from ancf.evaluation.pair_errors import PairErrors
from ancf.scoring.filters import Filters
from ancf.scoring.results import TopN, merge_lists
from ancf.scoring.scorer import Scorer
from ancf.scoring.top_n import top_n, top_n_popular

# Users ranked at a time.
_CHUNK_USERS = 16_384
# Places of the whole rankings that are held at a time.
_CHUNK_PLACES = 8_000_000


class Lists(NamedTuple):
    """Lists by position, best first; -1 holds a place that can be no hit."""

    items: NDArray[np.int32]
    """(n_users, n)"""
    counts: NDArray[np.int32]
    """(n_users,)"""

    def shown(self, cut: int) -> NDArray[np.int32]:
        """The items in the first places of all lists, one after the other."""
        block = self.items[:, :cut]
        return block[(np.arange(block.shape[1])[None, :] < self.counts[:, None]) & (block >= 0)]


class ListMaker(Protocol):
    """Whatever has the lists of the users measured."""

    def lists(self, start: int, end: int, n: int) -> Lists:
        """The first n places of the lists of some of these users, in their order."""
        ...


class RankedLists(ABC):
    """The lists of users measured, each the first places of a ranking of all that may be listed."""

    n_users: int
    n_items: int
    most: int
    """Places of the longest ranking."""

    @abstractmethod
    def top_n(self, start: int, end: int, n: int) -> TopN:
        """The first n places of some of these users, in their order."""

    def lists(self, start: int, end: int, n: int) -> Lists:
        """The same without scores."""
        top = self.top_n(start, end, n)
        return Lists(top.items, top.counts)

    def auc(self, wanted: ItemSets) -> NDArray[np.float64]:
        """The area under the ROC curve of each user, over everything that may be listed; NaN where there is none."""
        n = max(self.most, 1)
        step = max(1, _CHUNK_PLACES // n)
        parts = [np.empty(0)]
        for start in range(0, self.n_users, step):
            end = min(start + step, self.n_users)
            top, part = self.top_n(start, end, n), wanted.take(np.arange(start, end))
            parts.append(_native.auc(top.items, top.scores, top.counts, (part.indptr, part.items), self.n_items))
        return np.concatenate(parts)


class ModelLists(RankedLists):
    """The lists of a fitted model, among the candidates of each user measured where there are such.

    ``users`` are positions of the model; those that it does not know, -1, get what is popular.
    """

    def __init__(
        self,
        scorer: Scorer,
        users: NDArray[np.int64],
        candidates: ItemSets | None,
        filter_seen: bool,
        num_threads: int | None,
    ) -> None:
        self.scorer, self.users, self.candidates = scorer, users, candidates
        self.filter_seen, self.num_threads = filter_seen, num_threads
        self.n_users, self.n_items = len(users), len(scorer.item_ids)
        self.most = self.n_items if candidates is None else int(np.diff(candidates.indptr).max(initial=1))

    def top_n(self, start: int, end: int, n: int) -> TopN:
        """What ``recommend`` gives these users."""
        users, each = self.users[start:end], Filters()
        if self.candidates is not None:
            each = Filters(allow_each=self.candidates.take(np.arange(start, end)))
        known, others = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        of_known = each.rows(known) if len(others) else each
        top = top_n(
            self.scorer, users[known], n, filter_seen=self.filter_seen, filters=of_known, num_threads=self.num_threads
        )
        if not len(others):
            return top
        popular = top_n_popular(self.scorer, len(others), n, each.rows(others), self.num_threads)
        return merge_lists(len(users), known, top, others, popular)


class Measured(NamedTuple):
    """What was measured of lists, by label."""

    values: dict[str, float]
    """Metrics that are no mean over users."""
    per_user: dict[str, NDArray[np.float64]]
    lists: Lists
    """As deep as the deepest cut-off."""


def measure_lists(
    maker: ListMaker, known: Known, truth: GroundTruth, wanted: Mapping[str, Metric], num_threads: int | None
) -> Measured:
    """All metrics with a cut-off, chunk after chunk of users."""
    asked = {label: metric for label, metric in wanted.items() if metric.cut}
    cut_offs = sorted({cut for _, cut in asked.values()})
    n_catalogue = len(known.item_ids)
    of_lists = next((label for label, (name, _) in asked.items() if name in PROPERTY_METRICS), None)
    facts = None if of_lists is None else ItemFacts.of(known, of_lists)
    exposures = {cut: np.zeros(known.n_items, np.int64) for name, cut in asked.values() if name == "gini"}
    listed = {cut: np.zeros(known.n_items, bool) for name, cut in asked.values() if name == "coverage"}
    lists: list[Lists] = []
    parts: list[dict[str, Any]] = []
    for start in range(0, len(truth.users), _CHUNK_USERS):
        end = min(start + _CHUNK_USERS, len(truth.users))
        part, chunk = maker.lists(start, end, cut_offs[-1]), truth.wanted.take(np.arange(start, end))
        found = hits_of(part, chunk, truth.totals[start:end], cut_offs, known, num_threads)
        if facts is not None:
            found |= facts.properties(
                part.items,
                part.counts,
                chunk,
                cut_offs,
                n_catalogue,
                diversity=any(name == "diversity" for name, _ in asked.values()),
                num_threads=num_threads,
            )
        parts.append(found)
        lists.append(part)
        for cut, count in exposures.items():
            count += np.bincount(part.shown(cut), minlength=known.n_items)
        if len(truth.users) > _CHUNK_USERS:  # else the core has counted them
            for cut, mask in listed.items():
                mask[part.shown(cut)] = True
    values, per_user = {}, {}
    for label, (name, cut) in asked.items():
        if name == "coverage":
            shown = int(listed[cut][:n_catalogue].sum()) / max(n_catalogue, 1)
            values[label] = float(parts[0][label]) if len(parts) == 1 else shown
        elif name == "gini":
            values[label] = gini(exposures[cut][:n_catalogue])
        elif name == "popularity_bias":
            assert facts is not None
            bought = float(facts.popularity_of_wanted(truth).mean())
            popularity = np.concatenate([part[f"popularity@{cut}"] for part in parts])
            per_user[label] = popularity / bought if bought else np.full(len(popularity), np.nan)
        else:
            per_user[label] = np.concatenate([part[f"{name}@{cut}"] for part in parts])
    return Measured(values, per_user, _joined(lists))


def hits_of(
    lists: Lists,
    wanted: ItemSets,
    totals: NDArray[np.int64],
    cut_offs: list[int],
    known: Known,
    num_threads: int | None,
) -> dict[str, Any]:
    """The metrics of hits at every cut-off: ``name@k`` → one value for each list."""
    return _native.ranking_metrics(
        lists.items,
        lists.counts,
        (wanted.indptr, wanted.items),
        None,
        cut_offs,
        known.n_items,
        n_truth=totals,
        n_catalogue=len(known.item_ids),
        num_threads=num_threads,
    )


def _joined(lists: list[Lists]) -> Lists:
    """Chunks of lists as one, as wide as the widest."""
    if len(lists) == 1:
        return lists[0]
    counts = np.concatenate([part.counts for part in lists])
    items = np.full((len(counts), max(part.items.shape[1] for part in lists)), -1, np.int32)
    start = 0
    for part in lists:
        items[start : start + len(part.counts), : part.items.shape[1]] = part.items
        start += len(part.counts)
    return Lists(items, counts)


class Errors(NamedTuple):
    """Errors of predictions: the figures, one value for each user measured, and what both are made of."""

    values: dict[str, float]
    per_user: dict[str, NDArray[np.float64]]
    pairs: PairErrors


def error_metrics(scorer: Scorer, test: Interactions, measured: NDArray[np.int64]) -> Errors:
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
    for values in each.values():
        values[measured < 0] = np.nan  # of strangers no quantity is predicted
    return Errors(errors, each, PairErrors.of(users, difference))
