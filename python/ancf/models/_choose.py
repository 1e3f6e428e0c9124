"""Choosing how the parts of a score are mixed, on purchases held out of the training table itself.

A tenth of the purchases of up to 2,000 users is set aside (their latest ones where there are times), the model learns
from the rest, and the mixture that ranks the held-out purchases best (NDCG@20) is taken. The test part of anybody's
split is never seen.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.models.base import Rows

MAX_USERS = 2000
_SHARE = 0.1
_CUT = 20

WEIGHTS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
EXPONENTS = (0.0, 0.3, 0.5, 0.7, 1.0)


class HeldOut(NamedTuple):
    """A training table without the purchases that were set aside."""

    pairs: Rows
    users: NDArray[np.int64]
    """Who has something set aside, by rising position."""
    truth: tuple[NDArray[np.int64], NDArray[np.int32]]
    """What, one row for each of ``users``."""

    @property
    def share(self) -> float:
        """The part of all purchases that was set aside."""
        return len(self.truth[1]) / max(len(self.truth[1]) + len(self.pairs[1]), 1)


def hold_out(pairs: Rows, times: NDArray[np.int64] | None, seed: int) -> HeldOut | None:
    """Set purchases aside; None where no user has three of them."""
    indptr, items, values = pairs
    counts = np.diff(indptr)
    draws = np.random.Generator(np.random.PCG64(seed))
    able = np.flatnonzero(counts >= 3)
    if len(able) > MAX_USERS:
        able = np.sort(draws.permutation(able)[:MAX_USERS])
    if not len(able):
        return None
    aside = np.zeros(len(items), bool)
    order = draws.random(len(items)) if times is None else times.astype(np.float64)
    for user in able.tolist():
        row = slice(int(indptr[user]), int(indptr[user + 1]))
        n = max(1, round(_SHARE * (row.stop - row.start)))
        aside[row.start + np.argsort(-order[row], kind="stable")[:n]] = True
    running = np.concatenate(([0], np.cumsum(aside)))
    taken = running[indptr[able + 1]] - running[indptr[able]]
    kept = indptr - running[indptr]
    truth = np.zeros(len(able) + 1, np.int64)
    np.cumsum(taken, out=truth[1:])
    return HeldOut((kept, items[~aside], values[~aside]), able.astype(np.int64), (truth, items[aside]))


def ndcg(ranker: "_native.Ranker", held: HeldOut, n_items: int, num_threads: int | None) -> float:
    """Mean NDCG@20 of the held-out purchases."""
    items, _, counts = ranker.top_n(held.users, _CUT, num_threads=num_threads)
    found = _native.ranking_metrics(items, counts, held.truth, None, [_CUT], n_items, num_threads=num_threads)
    return float(np.mean(found[f"ndcg@{_CUT}"]))


def best(
    measure: Callable[[float, float], float], weights: tuple[float, ...], exponents: tuple[float, ...]
) -> tuple[float, float]:
    """The weight and exponent with the highest measure: weights first at the middle exponent, then exponents, then
    weights once more. Ties go to the first."""
    seen: dict[tuple[float, float], float] = {}

    def value(weight: float, exponent: float) -> float:
        key = (weight, exponent)
        if key not in seen:
            seen[key] = measure(weight, exponent)
        return seen[key]

    exponent = exponents[len(exponents) // 2]
    weight = max(weights, key=lambda each: value(each, exponent))
    exponent = max(exponents, key=lambda each: value(weight, each))
    weight = max(weights, key=lambda each: value(each, exponent))
    return weight, exponent
