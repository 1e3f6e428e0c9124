"""Choosing how the parts of a score are mixed, on purchases held out of the training table itself.

With times all of the last tenth is set aside, since a shop recommends for the days to come and only so can tell how
much recency and trend are worth. Without times a fifth of the purchases of up to 2,800 users: for half of them any
fifth, for the others one purchase and those that are most often bought with it. What is bought next comes in visits
too, and an item-item weight looks better than it is where the rest of a visit is left in the history: the second half
may make it quieter than the first half would have it, never louder. The model learns from what remains, and the
mixture that ranks the held-out purchases best (NDCG@20) is taken. The test part of anybody's split is never seen.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.models._history import Habits
from ancf.models.base import Rows

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions

T = TypeVar("T")

MAX_USERS = 2800
_SHARE = 0.2
_NEGLIGIBLE = 0.02
_TIE = 1e-6
_CUT = 20

WEIGHTS = (0.0, 0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0)
HALF_LIVES = (None, 240.0, 120.0, 60.0)
"""Days."""
TRENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
TREND_HALF_LIVES = (15.0, 60.0, 240.0)
"""Days."""
_LAST = 0.1
EXPONENTS = (0.0, 0.3, 0.5, 0.7, 1.0)


class HeldOut(NamedTuple):
    """A training table without the purchases that were set aside."""

    pairs: Rows
    habits: Habits
    """Times and counts of ``pairs``."""
    users: NDArray[np.int64]
    """Who has something set aside, by rising position."""
    truth: tuple[NDArray[np.int64], NDArray[np.int32]]
    """What, one row for each of ``users``."""
    share: float
    """The part of all purchases that ``pairs`` lack."""
    in_turn: bool
    """Whether every second of ``users`` is asked for what belongs together."""

    @property
    def negligible(self) -> bool:
        """Whether training can do without what was set aside: a larger part is learned from in a second run."""
        return self.share <= _NEGLIGIBLE


def hold_out(pairs: Rows, times: NDArray[np.int64] | None, seed: int) -> HeldOut | None:
    """Set purchases of some users aside; None where no user has three of them.

    Their latest where there are times, else by turns any of them and what belongs together.
    """
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
    buyers = _Buyers(pairs) if times is None else None
    for turn, user in enumerate(able.tolist()):
        row = slice(int(indptr[user]), int(indptr[user + 1]))
        n = max(1, round(_SHARE * (row.stop - row.start)))
        if buyers is not None and turn % 2:
            closeness = buyers.closeness(items[row], int(np.argmax(order[row])))
            order[row] = closeness + _TIE * order[row]
        aside[row.start + np.argsort(-order[row], kind="stable")[:n]] = True
    running = np.concatenate(([0], np.cumsum(aside)))
    taken = running[indptr[able + 1]] - running[indptr[able]]
    kept = indptr - running[indptr]
    truth = np.zeros(len(able) + 1, np.int64)
    np.cumsum(taken, out=truth[1:])
    rest: Rows = (kept, items[~aside], values[~aside])
    habits = Habits(None if times is None else times[~aside], None, None)
    share = len(items[aside]) / len(items)
    return HeldOut(rest, habits, able.astype(np.int64), (truth, items[aside]), share, times is None)


class _Buyers:
    """Who bought each item."""

    def __init__(self, pairs: Rows) -> None:
        indptr, items, _ = pairs
        self._n_users = len(indptr) - 1
        self._users = np.repeat(np.arange(self._n_users), np.diff(indptr))[np.argsort(items, kind="stable")]
        self._indptr = np.concatenate(([0], np.cumsum(np.bincount(items))))

    def closeness(self, items: NDArray[np.int32], first: int) -> NDArray[np.float64]:
        """Cosine of the buyers of each item of a history to those of ``items[first]``; 1 for that one.

        Whose history it is does not count: they bought all of it, and rare items would look close for nothing else.
        """
        marked = np.zeros(self._n_users, bool)
        marked[self._of(items[first])] = True
        common = np.array([np.count_nonzero(marked[self._of(item)]) for item in items.tolist()]) - 1
        found = common / np.sqrt(np.diff(self._indptr)[items] * float(common[first] + 1))
        found[first] = 1.0
        return np.asarray(found)

    def _of(self, item: int) -> NDArray[np.int64]:
        return self._users[self._indptr[item] : self._indptr[item + 1]]


def hold_out_last(data: "Interactions", seed: int) -> HeldOut | None:
    """Set the last tenth of all events aside; None where nothing is then left to be asked for.

    Asked for is what up to 2,800 users, who had something before, bought for the first time.
    """
    assert data.times is not None
    cut = np.sort(data.times)[int((1 - _LAST) * (len(data.times) - 1))]
    before = data.subset(data.times < cut)
    indptr, items, _ = before.to_csr()
    everything = data.to_csr()
    rows = np.repeat(np.arange(data.n_users), np.diff(everything[0]))
    known = np.repeat(np.arange(data.n_users), np.diff(indptr)) * data.n_items + items
    new = ~np.isin(rows * data.n_items + everything[1], known) & (np.diff(indptr)[rows] > 0)
    able = np.unique(rows[new])
    if not len(able):
        return None
    if len(able) > MAX_USERS:
        able = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(able)[:MAX_USERS])
    new &= np.isin(rows, able)
    truth = np.zeros(len(able) + 1, np.int64)
    np.cumsum(np.bincount(rows[new], minlength=data.n_users)[able], out=truth[1:])
    pairs: Rows = (indptr, items, np.ones(len(items), np.float32))
    share = 1 - len(items) / len(everything[1])
    return HeldOut(pairs, Habits.of(before), able.astype(np.int64), (truth, everything[1][new]), share, False)


def ndcg(ranker: "_native.Ranker", held: HeldOut, n_items: int, num_threads: int | None) -> NDArray[np.float64]:
    """NDCG@20 of the held-out purchases of each user."""
    items, _, counts = ranker.top_n(held.users, _CUT, num_threads=num_threads)
    found = _native.ranking_metrics(items, counts, held.truth, None, [_CUT], n_items, num_threads=num_threads)
    return np.asarray(found[f"ndcg@{_CUT}"])


def _once(measure: Callable[[dict[str, Any]], T]) -> Callable[[dict[str, Any]], T]:
    """The same, each choice measured once."""
    seen: dict[tuple[Any, ...], T] = {}

    def measured(choice: dict[str, Any]) -> T:
        key = tuple(choice.values())
        if key not in seen:
            seen[key] = measure(choice)
        return seen[key]

    return measured


def best_of(
    held: HeldOut,
    measure: Callable[[dict[str, Any]], NDArray[np.float64]],
    grids: dict[str, tuple[Any, ...]],
    start: dict[str, Any],
) -> dict[str, Any]:
    """The mixture that ranks what was held out best; ``measure`` gives the NDCG of each user."""
    measured = _once(measure)
    if not held.in_turn:
        return best(lambda choice: float(measured(choice).mean()), grids, start)
    choice = best(lambda choice: float(measured(choice)[::2].mean()), grids, start)
    no_louder = tuple(each for each in grids["neighbour_weight"] if each <= choice["neighbour_weight"])
    return best(lambda choice: float(measured(choice).mean()), {**grids, "neighbour_weight": no_louder}, choice)


def best(
    measure: Callable[[dict[str, Any]], float], grids: dict[str, tuple[Any, ...]], start: dict[str, Any]
) -> dict[str, Any]:
    """The choice with the highest measure: one option after the other in the order of ``grids``, the others where they
    stand (at first as in ``start``), then the first once more. Ties go to the first."""
    measured = _once(measure)
    choice = {name: start[name] if start[name] in grid else grid[0] for name, grid in grids.items()}

    def value(name: str, each: Any) -> float:
        return measured({**choice, name: each})

    for name in (*grids, next(iter(grids))):
        if len(grids[name]) > 1:
            choice[name] = max(grids[name], key=lambda each: value(name, each))
    return choice
