"""The most popular items for everybody: the list that every model must beat.

    score(i) = n_i' + n_i / (max n + 1)         n_i' users of item i within the window, n_i of all times

Popularity of lately is the rival that counts where there are times: on Online Retail by time, the popularity of the
last 14 days has an NDCG@10 of .093 on new products, that of all time .038. What was not bought within the window comes
behind, by its popularity of all time.
"""

import math
from dataclasses import replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_choice, check_number
from ancf.data.interactions import Interactions
from ancf.data.time_range import SECONDS_PER_DAY, TimeRange
from ancf.errors import InvalidDataError
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.past import Past
from ancf.scoring.scorer import Encoder, Scorer
from ancf.search_space import Categorical, SearchSpace

Count = Literal["users", "events", "weight"]
Auto = Literal["auto"]

_AUTO_WINDOW_DAYS = 14.0


class Popular(Recommender):
    """Items in the order of their popularity, without what the user has already.

    Parameters
    ----------
    count : "users", "events" or "weight"
        What makes an item popular: the number of people who have it (default), of its events, or its summed weights.
        Who only looked at it counts with the latter two alone (docs/reading.md).
    window : float, "auto" or None
        Days before the end of the table that count; older events only break ties. None: all time. auto: 14 days where
        the table has times, else all time. The end is that of the last day with events that are not far from all
        others, so that a wrong date does not move it.
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3], item=["tea", "tea", "cup", "tea"])
    >>> Popular().fit(data).recommend(3, N=5).ids.tolist()
    ['cup']
    >>> timed = ancf.Interactions.from_ids(
    ...     user=[1, 2, 3, 4], item=["tea", "tea", "pot", "cup"], time=[0, 0, 8640000, 8640000]
    ... )
    >>> Popular(window=None).fit(timed).recommend(3, N=1).ids.tolist()
    ['tea']
    >>> Popular(window=30).fit(timed).recommend(3, N=1).ids.tolist()
    ['cup']
    """

    _update_is_fit = True

    def __init__(
        self, *, count: Count = "users", window: float | Auto | None = "auto", num_threads: int | None = None
    ) -> None:
        self.count = count
        self.window = window
        self.num_threads = num_threads

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """What makes an item popular, and for how long."""
        space = {"count": Categorical(get_args(Count))}
        return {**space, "window": Categorical([7, 14, 30, 90, None])} if timed else space

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Count.

        Parameters
        ----------
        interactions : Interactions
        validation : Interactions, optional
            Not needed; there is nothing to choose by it.

        Returns
        -------
        the model itself, fitted

        Raises
        ------
        InvalidDataError
            If the table holds no interactions, or no times and ``window`` is a number of days.
        InvalidParameterError
            If an option makes no sense.
        """
        check_choice("count", self.count, get_args(Count))
        automatic = isinstance(self.window, str) and self.window == "auto"
        if self.window is not None and not automatic:
            check_number("window", self.window, 0.0, math.inf, above=True, words='None, "auto" or ')
        data = self._training_data(interactions, validation)
        if data.times is None and self.window is not None and not automatic:
            raise InvalidDataError(
                f"window={self.window:g} needs times, and this table has none. Name its column (time=), or leave "
                "window out."
            )
        self._scorer = self._build_scorer(
            data,
            seen=data.to_csr().sets,
            item_vectors=_popularity(data, self.count, self.window, None),
            user_vectors=np.ones((data.n_users, 1), np.float32),
            encoder=_PopularityEncoder(),
        )
        return self

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _PopularityEncoder()


def _popularity(data: Interactions, count: str, window: float | Auto | None, now: int | None) -> NDArray[np.float32]:
    """The score of each item (n_items, 1); ``now``: the end of the window, by default that of the table."""

    def counted(events: Interactions) -> NDArray[np.float64]:
        if count == "users":
            is_had, items = events.pair_had(), events.to_csr().indices
            return np.bincount(items if is_had is None else items[is_had], minlength=events.n_items).astype(np.float64)
        weights = events.weights if count == "weight" else None
        return np.bincount(events.items, weights=weights, minlength=events.n_items).astype(np.float64)

    popularity = counted(data)
    if window is not None and data.times is not None:
        days = _AUTO_WINDOW_DAYS if isinstance(window, str) else float(window)
        recent = counted(data.subset(_is_recent(data.times, days, now)))
        # Of two items that are equal lately; less than the smallest step of what is counted.
        step = 1.0 if count != "weight" else float(np.abs(data.weights).min())
        popularity = recent + step * popularity / (np.abs(popularity).max() + step)
    return popularity.astype(np.float32)[:, None]


def _is_recent(times: NDArray[np.int64], days: float, now: int | None) -> NDArray[np.bool_]:
    """The events of the last days; those far from all others in time, such as a date typed wrong, are none."""
    if now is not None:
        return np.asarray((times > now - days * SECONDS_PER_DAY) & (times <= now))
    usual = TimeRange.from_times(times)
    last = int(times[~usual.strays(times)].max())
    end = (last // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
    return (times > end - days * SECONDS_PER_DAY) & (times < end)


class _PopularityEncoder(Encoder):
    """Whoever it is, the items count by their popularity alone, which is their vector."""

    vectors_are_comparable = False

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        return EncodedUsers(np.ones((histories.n_rows, 1), np.float32))

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        return {"popularity": float(scorer.item_vectors[item, 0])}

    def popularity(self, scorer: Scorer) -> NDArray[np.float32]:
        return scorer.item_vectors[:, 0]

    def at(self, scorer: Scorer, past: Past) -> Scorer:
        events = past.interactions(scorer.user_ids, scorer.item_ids)
        count, window = scorer.options["count"], scorer.options["window"]
        return replace(scorer, item_vectors=_popularity(events, count, window, past.now))
