"""Choosing how the parts of a score are mixed, on purchases held out of the training table itself.

What is held out lies as the purchases do that will be asked for. For the future all of the last tenth is set aside,
since only so a shop can tell what recency and trend are worth. Otherwise a fifth of the purchases of up to 2,800 users:
the latest for what each takes next; and where any purchase will be asked for, which is all that a table without times
can tell, for half of the users any fifth, for the others one purchase and those that are most often bought with it.
What is bought next comes in visits too, and an item-item weight looks better than it is where the rest of a visit is
left in the history: the second half may give it a lower weight than the first half would, never a higher one. The model
learns from what remains, and the mixture that ranks the held-out purchases best (NDCG@20) is taken, each option by the
rule of one standard error. The test part of anybody's split is never seen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr, ItemSets, places_of_rows
from ancf.data.interactions import Interactions
from ancf.data.time_range import TimeRange
from ancf.models.ancf.temporal import PurchaseTimes
from ancf.scoring.results import TopN

Choice = dict[str, Any]
"""Options and their values."""

MAX_USERS = 2800
_HELD_OUT_SHARE = 0.2
_NEGLIGIBLE_SHARE = 0.02
_TIE_BREAK = 1e-6
CUT_OFF = 20
"""Of the lists by which choices are made."""
_FINE_GRID = 6
"""So many points are near enough to one another to tell which way the best one lies."""

NEIGHBOR_WEIGHTS = (0.0, 0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0)
INTERESTS = ("equal", "given")
HALF_LIVES = (None, 240.0, 120.0, 60.0)
"""Days."""
TRENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
TREND_HALF_LIVES = (15.0, 60.0, 240.0)
"""Days."""
_LAST_SHARE = 0.1
SERVING_EXPONENTS = (0.0, 0.3, 0.5, 0.7, 1.0)
POPULARITY_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5)
_POPULARITY_GAIN = 0.2
_POPULARITY_ERRORS = 3.0
START_HALF_LIFE = 240.0
"""Where the search begins; None where nothing can be chosen."""


class HeldOut(NamedTuple):
    """What was set aside of a training table, and what is left of it."""

    kept: ItemSets
    """The pairs that are left, one row for each user."""
    places: NDArray[np.int64]
    """Where they stand among all pairs."""
    purchases: PurchaseTimes
    """Times and counts of what is left."""
    users: NDArray[np.int64]
    """Who has something set aside, by rising position."""
    truth: ItemSets
    """What, one row for each of ``users``."""
    share: float
    """The part of all pairs that was set aside."""
    alternates_strategies: bool
    """Whether every second of ``users`` is asked for what belongs together."""

    @property
    def step(self) -> int:
        """Every so many ``users`` are asked for any purchases."""
        return 2 if self.alternates_strategies else 1

    def take(self, asked: slice) -> Self:
        """Some of those who are asked."""
        return self._replace(users=self.users[asked], truth=self.truth.take(np.arange(len(self.users))[asked]))

    @property
    def negligible(self) -> bool:
        """Whether training can do without what was set aside: a larger part is learned from in a second run."""
        return self.share <= _NEGLIGIBLE_SHARE


def hold_out(
    pairs: ItemSets,
    times: NDArray[np.int64] | None,
    seed: int,
    had: NDArray[np.bool_] | None = None,
    *,
    alternates_strategies: bool = True,
    num_threads: int | None = None,
) -> HeldOut | None:
    """Set purchases of some users aside; None where no user has three pairs, one of them a purchase.

    Their latest where times are given, else by turns any of them and what belongs together, or always any. ``had``:
    which pairs are purchases (``Interactions.pair_had``), None for all; what was only looked at stays, since nobody
    will be asked for it.
    """
    indptr, items = pairs
    counts = np.diff(indptr)
    draws = np.random.Generator(np.random.PCG64(seed))
    n_had = counts if had is None else np.diff(np.concatenate(([0], np.cumsum(had)))[indptr])
    eligible_users = np.flatnonzero((counts >= 3) & (n_had > 0))
    if len(eligible_users) > MAX_USERS:
        eligible_users = np.sort(draws.permutation(eligible_users)[:MAX_USERS])
    if not len(eligible_users):
        return None
    order = draws.random(len(items)) if times is None else times.astype(np.float64)
    alternates_strategies = alternates_strategies and times is None
    if had is not None:
        order[~had] = -np.inf
    if alternates_strategies:
        _order_by_buyers(pairs, eligible_users[1::2].copy(), order, num_threads)
    places, lengths = places_of_rows(indptr, eligible_users), counts[eligible_users]
    # By user, and for each by falling order. So few users fit 16 bits, which NumPy sorts in a pass or two.
    falling = np.argsort(-order[places], kind="stable")
    owners = np.repeat(np.arange(len(lengths), dtype=np.uint16), lengths)
    ordered = places[falling[np.argsort(owners[falling], kind="stable")]]
    ranks = np.arange(len(places)) - np.repeat(offsets_from_lengths(lengths)[:-1], lengths)
    n_held_out = np.maximum(1, np.rint(_HELD_OUT_SHARE * n_had[eligible_users]))
    held_out_mask = np.zeros(len(items), bool)
    held_out_mask[ordered[ranks < np.repeat(n_held_out, lengths)]] = True
    running = np.concatenate(([0], np.cumsum(held_out_mask)))
    taken = running[indptr[eligible_users + 1]] - running[indptr[eligible_users]]
    truth = offsets_from_lengths(taken)
    return HeldOut(
        kept=ItemSets(indptr - running[indptr], items[~held_out_mask]),
        places=np.flatnonzero(~held_out_mask),
        purchases=PurchaseTimes(None if times is None else times[~held_out_mask], None, None),
        users=eligible_users.astype(np.int64),
        truth=ItemSets(truth, items[held_out_mask]),
        share=len(items[held_out_mask]) / len(items),
        alternates_strategies=alternates_strategies,
    )


def _order_by_buyers(
    pairs: ItemSets, users: NDArray[np.int64], order: NDArray[np.float64], num_threads: int | None
) -> None:
    """Order some users' pairs by the cosine of the buyers of each item to those of the user's first; 1 for that one.

    Whose history it is does not count: they bought all of it, and rare items would look close for that alone.
    """
    indptr, items = pairs
    places, lengths = places_of_rows(indptr, users), np.diff(indptr)[users]
    own, of_own, begins = items[places], order[places], offsets_from_lengths(lengths)[:-1]
    highest = np.flatnonzero(of_own == np.repeat(np.maximum.reduceat(of_own, begins), lengths))
    firsts = own[highest[np.searchsorted(highest, begins)]]
    n_buyers = np.bincount(items).astype(np.float64)
    matrix = Csr(indptr, items, np.ones(len(items), np.float32))
    common = _native.common_users(matrix, len(n_buyers), users, firsts, num_threads)
    cosines = (common - 1.0) / np.sqrt(n_buyers[own] * np.repeat(n_buyers[firsts], lengths))
    cosines[own == np.repeat(firsts, lengths)] = 1.0
    order[places] = cosines + _TIE_BREAK * order[places]


def hold_out_last(data: Interactions, pairs: ItemSets, seed: int) -> HeldOut | None:
    """Set the last tenth of all events aside; None where nothing is then left to be asked for.

    Asked for is what up to 2,800 users, who had something before, bought and had not met before. Events far from all
    others in time say nothing of the last days, and are asked for nowhere.
    """
    assert data.times is not None
    usual = TimeRange.from_times(data.times)
    ordered = np.sort(data.times[~usual.strays(data.times)])
    cut = ordered[int((1 - _LAST_SHARE) * (len(ordered) - 1))]
    before = data.subset(data.times < cut)
    kept = before.to_csr().sets
    lengths = np.diff(kept.indptr)
    rows = np.repeat(np.arange(data.n_users), np.diff(pairs.indptr))
    known = np.repeat(np.arange(data.n_users), lengths) * data.n_items + kept.items
    # Both ascend, and whoever is kept was there.
    is_kept = np.zeros(len(rows), bool)
    is_kept[np.searchsorted(rows * data.n_items + pairs.items, known)] = True
    pair_times = data.pair_times()
    assert pair_times is not None
    new = ~is_kept & (lengths[rows] > 0) & ~usual.strays(pair_times)
    had = data.pair_had()
    if had is not None:
        new &= had
    eligible_users = np.unique(rows[new])
    if not len(eligible_users):
        return None
    if len(eligible_users) > MAX_USERS:
        draws = np.random.Generator(np.random.PCG64(seed))
        eligible_users = np.sort(draws.permutation(eligible_users)[:MAX_USERS])
    is_asked = np.zeros(data.n_users, bool)
    is_asked[eligible_users] = True
    new &= is_asked[rows]
    truth = offsets_from_lengths(np.bincount(rows[new], minlength=data.n_users)[eligible_users])
    return HeldOut(
        kept=kept,
        places=np.flatnonzero(is_kept),
        purchases=PurchaseTimes.from_interactions(before),
        users=eligible_users.astype(np.int64),
        truth=ItemSets(truth, pairs.items[new]),
        share=1 - len(kept.items) / len(pairs.items),
        alternates_strategies=False,
    )


def ndcg(top: TopN, held_out: HeldOut, n_items: int, num_threads: int | None) -> NDArray[np.float64]:
    """NDCG@20 of the held-out purchases of each user; the lists are of those who are asked."""
    found = _native.ranking_metrics(
        top.items, top.counts, held_out.truth, None, [CUT_OFF], n_items, num_threads=num_threads
    )
    return np.asarray(found[f"ndcg@{CUT_OFF}"])


EVERYBODY = slice(None)


class Measure(Protocol):
    """NDCG@20 of some of those who are asked, by each of some choices of the mixture."""

    def __call__(self, choices: list[Choice], asked: slice = EVERYBODY) -> list[NDArray[np.float64]]: ...


class Measured:
    """The NDCG of each user by choices of the mixture, each measured once.

    ``at_once``: many take little more than one. ``step``: every so many users are most often asked for by themselves.
    """

    def __init__(self, measure: Measure, *, step: int = 1, at_once: bool = False) -> None:
        self._measure, self._step, self._at_once = measure, step, at_once
        self._found: list[dict[tuple[Any, ...], NDArray[np.float64]]] = [{} for _ in range(step)]

    @classmethod
    def one_by_one(cls, measure: Callable[[Choice], NDArray[np.float64]]) -> Self:
        """By what gives that of one choice and all users."""

        def of_some(choices: list[Choice], asked: slice = EVERYBODY) -> list[NDArray[np.float64]]:
            return [measure(choice)[asked] for choice in choices]

        return cls(of_some)

    def __call__(self, choice: Choice) -> NDArray[np.float64]:
        """That of all users by one choice."""
        parts = [self._of_part([choice], first)[0] for first in range(self._step)]
        found = np.empty(sum(map(len, parts)))
        for first, part in enumerate(parts):
            found[first :: self._step] = part
        return found

    def of_some(self, choice: Choice, step: int) -> NDArray[np.float64]:
        """That of every ``step``-th user."""
        return self._of_part([choice], 0)[0] if step == self._step else self(choice)[::step]

    def expect(self, choices: list[Choice], step: int) -> None:
        """Told which choices may be asked for next, of every ``step``-th user."""
        if self._at_once:
            for first in range(1 if step == self._step else self._step):
                self._of_part(choices, first)

    def _of_part(self, choices: list[Choice], first: int) -> list[NDArray[np.float64]]:
        found = self._found[first]
        new = {key: choice for choice in choices if (key := tuple(choice.items())) not in found}
        if new:
            of_new = self._measure(list(new.values()), slice(first, None, self._step))
            found.update(zip(new, of_new, strict=True))
        return [found[tuple(choice.items())] for choice in choices]


def select_mixture(held_out: HeldOut, measured: Measured, grids: dict[str, tuple[Any, ...]], start: Choice) -> Choice:
    """The mixture that ranks what was held out best."""
    others = {name: grid for name, grid in grids.items() if name != "popularity_exponent"}
    step = held_out.step
    choice = coordinate_search(measured, others, start, step)
    if len(others) < len(grids):
        choice["popularity_exponent"] = _popularity_exponent(measured, step, grids["popularity_exponent"], choice)
    if not held_out.alternates_strategies:
        return choice
    not_heavier = tuple(each for each in grids["neighbor_weight"] if each <= choice["neighbor_weight"])
    fixed = {name: (value,) for name, value in choice.items() if name not in others}
    return coordinate_search(measured, {**others, "neighbor_weight": not_heavier, **fixed}, choice)


def _popularity_exponent(measured: Measured, step: int, grid: tuple[float, ...], choice: Choice) -> float:
    """The one with the highest mean, or the first.

    The vectors of a first training are rougher than those that will be served, and purchases that belong together are
    of popular items: on all who are asked popularity gains up to 11 % on tables where it hurts in the end, and 26 %
    and more where it helps (docs/measurements/choices.md). So it has to be worth a fifth, and three standard errors.
    """

    def chosen(each: float) -> Choice:
        return {**choice, "popularity_exponent": each}

    def value(each: float) -> float:
        return float(measured.of_some(chosen(each), step).mean())

    # Most often the second is worse than the first, and no other is tried.
    measured.expect([chosen(each) for each in grid[:2]], step)
    if value(grid[:2][-1]) <= value(grid[0]):
        return grid[0]
    # All of the grid, for the second may be below the third by luck.
    measured.expect([chosen(each) for each in grid], step)
    best = max(grid, key=value)
    without = measured(chosen(grid[0]))
    gain = measured(chosen(best)) - without
    worth = max(_POPULARITY_GAIN * without.mean(), _POPULARITY_ERRORS * gain.std() / np.sqrt(len(gain)))
    return best if gain.mean() > worth else grid[0]


def is_beyond_error(gain: NDArray[np.float64], errors: float = 1.0) -> bool:
    """Whether the mean of what each user gains is above so many standard errors."""
    return bool(gain.mean() > errors * gain.std() / np.sqrt(len(gain)))


def coordinate_search(measured: Measured, grids: dict[str, tuple[Any, ...]], start: Choice, step: int = 1) -> Choice:
    """The choice with the highest mean over every ``step``-th user: one option after the other in the order of
    ``grids``, the others where they stand (at first as in ``start``), then the first once more.

    A fine grid is not tried in full: from where the option stands it is gone along as long as the mean rises. An option
    leaves where it stands only for a gain above the standard error of that gain, so that a few rows more or less do not
    decide.
    """
    choice = {name: start[name] if start[name] in grid else grid[0] for name, grid in grids.items()}

    def of_some(name: str, each: Any) -> NDArray[np.float64]:
        return measured.of_some({**choice, name: each}, step)

    def value(name: str, each: Any) -> float:
        return float(of_some(name, each).mean())

    for name in (*grids, next(iter(grids))):
        if len(grids[name]) < 2:
            continue
        measured.expect([{**choice, name: each} for each in grids[name]], step)
        best = _best(grids[name], choice[name], partial(value, name))
        gain = of_some(name, best) - of_some(name, choice[name])
        if is_beyond_error(gain):
            choice[name] = best
    return choice


def _best(grid: tuple[Any, ...], start: Any, value: Callable[[Any], float]) -> Any:
    """The point of a grid with the highest value; of a fine one the highest that is reached from ``start``."""
    if len(grid) < _FINE_GRID:
        return max(grid, key=value)
    best = grid.index(start)
    for step in (-1, 1):
        before = best
        while 0 <= best + step < len(grid) and value(grid[best + step]) > value(grid[best]):
            best += step
        if best != before:
            break
    return grid[best]
