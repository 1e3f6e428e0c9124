"""What the entries of a history weigh when lists are made: how long ago a purchase was, and that it may be repeated.

    τ_uj = 2^(−age_uj / half_life)            age_uj: days before the newest purchase of the same user
    w_uj = n_u^-½ τ_uj                        what purchase j adds to its neighbors
    m_uj = n_uj 2^(−age_uj / repeat_half_life)   what it adds to itself; n_uj: how often it was bought
    ρ_j  = r_j^¾                              what m_uj counts at item j; r_j: how many of its earlier buyers came back
                                              for j within the last 30 days, against the shop's (data/repurchases.py)
    g_i  = ((n_i' + 5 s) / (s n_i + 5 s))^γ   the trend of item i: n_i' its purchases, halved every ``trend_half_life``
                                              days of age, n_i all of them, s the shop's n' / n; the ratio is held
                                              between 1/16 and 16
    h_i  = ((b_i + 5) / (b + 5))^η            the popularity of item i: b_i its users, b the mean of all items

"Today" is the end of the range in which nearly all events lie (``data/time_range.py``), and later ones happened today;
events far outside do not count for the trend, so that one wrong date changes one purchase and not the shop.

Trend and popularity multiply the served vector of an item and the weights that point to it, so that both parts of the
score feel them. Repetitions are rows of their own below the item-item weights, row n_items + j with the one entry j, so
that they have their exact place in the score and in explanations.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import group_starts, sum_groups
from ancf.data.csr import Csr
from ancf.data.event_types import event_shares
from ancf.data.interactions import Interactions
from ancf.data.repurchases import repurchase_rates
from ancf.data.time_range import SECONDS_PER_DAY, TimeRange
from ancf.scoring.histories import ones

# Purchases that an item is thought to have had beside its own, spread as those of the whole shop.
_SMOOTHING = 5.0
_MAX_RATIO = 16.0
_AT_ONCE = 16_384


class ItemAges:
    """Items and days of age of purchases. What each half-life makes of them is kept: choosing asks for it again."""

    def __init__(self, items: NDArray[np.int32], ages: NDArray[np.float64]) -> None:
        self._items, self._ages = items, ages
        self._ratios: dict[tuple[int, float], NDArray[np.float64]] = {}

    def ratios(self, n_items: int, half_life: float) -> NDArray[np.float64]:
        """How much better each item sells lately than ever, (n_items,)."""
        key = n_items, half_life
        if key not in self._ratios:
            recency = _halve(self._ages / half_life)
            share = recency.mean()
            lately = np.bincount(self._items, weights=recency, minlength=n_items)
            ever = np.bincount(self._items, minlength=n_items)
            ratios = (lately + _SMOOTHING * share) / (share * (ever + _SMOOTHING))
            self._ratios[key] = np.clip(ratios, 1 / _MAX_RATIO, _MAX_RATIO)
        return self._ratios[key]


class PurchaseTimes(NamedTuple):
    """When each pair was last bought (seconds since 1970, none after today), how often, the items and days of age of
    all purchases that are not stray, and ρ of the items; None where that is not known or not asked."""

    times: NDArray[np.int64] | None
    counts: NDArray[np.float32] | None
    events: ItemAges | None
    repeated: NDArray[np.float32] | None = None
    shares: NDArray[np.float32] | None = None
    """What each pair is in purchases; None where all events are purchases."""

    @classmethod
    def from_interactions(cls, data: Interactions) -> Self:
        """Those of a table. Without times it has one row for each pair, and only its weight says how often."""
        if data.times is None:
            return cls(None, data.weights, None, shares=pair_shares(data))
        usual = TimeRange.from_times(data.times)
        pair_times = data.pair_times()
        assert pair_times is not None
        counted = ~usual.strays(data.times)
        ages = (usual.end - usual.clip(data.times[counted])) / SECONDS_PER_DAY
        return cls(
            usual.clip(pair_times),
            data.pair_counts().astype(np.float32),
            ItemAges(data.items[counted], ages),
            repeat_factors(data, usual),
            pair_shares(data),
        )


def pair_shares(data: Interactions) -> NDArray[np.float32] | None:
    """What each distinct pair is in purchases; None where all events are purchases."""
    if data.had is None or data.had.all() or not data.event_weights:
        return None
    shares = event_shares(data.weights, data.had, data.event_weights)
    starts = np.cumsum(data.pair_counts()) - data.pair_counts()
    return sum_groups(shares, starts).astype(np.float32)


def entry_weights(
    indptr: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    half_life: float | None,
    shares: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """τ of each entry times how much of a purchase it is, all of one at most; ``shares`` None: each is all of one."""
    recency = recency_weights(indptr, times, half_life)
    return recency if shares is None else recency * np.minimum(shares, np.float32(1.0))


def recency_weights(
    indptr: NDArray[np.int64], times: NDArray[np.int64] | None, half_life: float | None
) -> NDArray[np.float32]:
    """τ of each entry, float32; 1 where there are no times or no half-life (days)."""
    if times is None or half_life is None:
        return ones(int(indptr[-1]))
    return _native.recency_weights(indptr, times, half_life)


def _halve(halvings: NDArray[np.float64]) -> NDArray[np.float64]:
    """2^−x for x ≥ 0, part by part: what is computed on the way stays in the cache (400,000 numbers .024 → .011 s)."""
    result = np.empty(len(halvings))
    for start in range(0, len(halvings), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        result[part] = _halve_part(halvings[part])
    return result


def _halve_part(halvings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole powers of two, and Horner's rule on the series for the rest, the same bits anywhere."""
    halvings = np.minimum(halvings, 60.0)
    whole = np.floor(halvings)
    x = (halvings - whole) * -0.6931471805599453  # −ln 2
    series = np.ones_like(x)
    for k in range(14, 0, -1):  # series = 1.0 + series * x / k
        series *= x
        series /= k
        series += 1.0
    return np.ldexp(series, -whole.astype(np.int64))


def trend_factors(purchases: PurchaseTimes, n_items: int, power: float, half_life: float) -> NDArray[np.float32] | None:
    """What an item's scores are multiplied with, float32 (n_items,); None where there are no times or no power."""
    if purchases.events is None or not power:
        return None
    return powers(purchases.events.ratios(n_items, half_life), power)


def popularity_factors(n_users: NDArray[np.int64], power: float) -> NDArray[np.float32] | None:
    """What an item's scores are multiplied with by the number of its users, float32 (n_items,); None without a
    power."""
    if not power:
        return None
    return powers((n_users + _SMOOTHING) / (n_users.mean() + _SMOOTHING), power)


def powers(ratios: NDArray[np.floating[Any]], power: float) -> NDArray[np.float32]:
    """Of positive numbers, the same bits anywhere."""
    # serving_vectors gives x · |x|^(p − 1), which is x^p for these.
    powers, _ = _native.serving_vectors(np.ascontiguousarray(ratios[:, None], np.float32), power, 1)
    return np.ascontiguousarray(powers[:, 0])


def repeat_factors(data: Interactions, usual: TimeRange) -> NDArray[np.float32]:
    """ρ of the items of a table with times, float32 (n_items,)."""
    assert data.times is not None
    had = slice(None) if data.had is None else data.had
    users, items, times = data.users[had], data.items[had], data.times[had]
    days = usual.clip(times) // SECONDS_PER_DAY
    # Events stand by user, item and time.
    first = group_starts(users, items)
    last = np.append(first, len(items))[1:] - 1
    rates = repurchase_rates(items[first], days[first], days[last], usual.end // SECONDS_PER_DAY, data.n_items)
    root = np.sqrt(rates)
    return np.asarray(root * np.sqrt(root), np.float32)


def sparse_history(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    recency: NDArray[np.float32],
    repeats: NDArray[np.float32] | None,
    n_items: int,
) -> Csr:
    """The weighted history that the sparse part reads: w on the items, and with ``repeats``, m, those on their own
    rows."""
    return Csr(*_native.sparse_history((indptr, items, recency), repeats, n_items))


def add_repeat_sources(neighbors: Csr, n_items: int, weights: NDArray[np.float32]) -> Csr:
    """The item-item weights with n_items more rows: what an item adds to itself, ``weights`` (n_items,)."""
    indptr, items, values = neighbors
    return Csr(
        np.concatenate((indptr, indptr[-1] + np.arange(1, n_items + 1))),
        np.concatenate((items, np.arange(n_items, dtype=np.int32))),
        np.concatenate((values, weights)),
    )
