"""Events by position: columns in one canonical order, and what they say of each pair of user and item.

Sorted by user, item and time, so the events of a pair stand together. Flags of one moment are joined as its weights
are: one that has it gives it to all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf.data.arrays import fits_float32, group_starts, offsets_from_lengths, sum_groups
from ancf.data.csr import Csr
from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError

ItemTexts = NDArray[Any]
"""One text or None per item, in the order of ``item_ids``: a name or a category."""


class Events:
    """The columns of ``Interactions``, which documents them, and their pairs."""

    user_ids: IdMap
    item_ids: IdMap
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None
    had: NDArray[np.bool_] | None = None
    item_names: ItemTexts | None
    item_categories: ItemTexts | None

    def _freeze(self) -> None:
        columns = (self.users, self.items, self.weights, self.times, self.had)
        for array in (*columns, self.item_names, self.item_categories):
            if array is not None:
                array.flags.writeable = False

    @property
    def n_users(self) -> int:
        """The number of users in the map, with events or without."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """The number of items in the map, with events or without."""
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.users)

    def _pair_starts(self) -> NDArray[np.intp]:
        """Where a new (user, item) pair begins among the sorted entries."""
        return group_starts(self.users, self.items)

    def to_csr(self) -> Csr:
        """The user × item matrix of distinct pairs, weights summed.

        Returns
        -------
        Csr
            ``indptr`` int64 (n_users + 1,), ``indices`` int32, ascending within a row, ``data`` float32.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data.to_csr().indptr.tolist()
        [0, 2, 3]
        """
        starts = self._pair_starts()
        indptr = offsets_from_lengths(np.bincount(self.users[starts], minlength=self.n_users))
        if len(starts) == len(self):
            return Csr(indptr, self.items.copy(), self.weights.copy())
        sums = sum_groups(self.weights, starts)
        too_large = np.flatnonzero(~fits_float32(sums))
        if len(too_large):
            at = starts[too_large[0]]
            user, item = self.user_ids.values[self.users[at]], self.item_ids.values[self.items[at]]
            raise InvalidDataError(
                f"the weights of {user!r} and {item!r} add up to {sums[too_large[0]]:g}, more than a float32 holds. "
                "Give smaller weights."
            )
        return Csr(indptr, self.items[starts], sums.astype(np.float32))

    def pair_times(self) -> NDArray[np.int64] | None:
        """The last time of each distinct pair, in the order of ``to_csr``; None where there are no times.

        Returns
        -------
        int64 array (n_pairs,), seconds since 1970, or None

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1], item=[7, 7], time=[10, 20])
        >>> data.pair_times().tolist()
        [20]
        """
        if self.times is None:
            return None
        starts = self._pair_starts()
        ends = np.append(starts[1:], len(self)) - 1 if len(starts) else starts
        return self.times[ends]

    def pair_counts(self) -> NDArray[np.int32]:
        """The number of events of each distinct pair, in the order of ``to_csr``.

        Returns
        -------
        int32 array (n_pairs,)

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1], item=[7, 7], time=[10, 20])
        >>> data.pair_counts().tolist()
        [2]
        """
        return np.diff(np.append(self._pair_starts(), len(self))).astype(np.int32)

    def pair_had(self) -> NDArray[np.bool_] | None:
        """Whether an event of each distinct pair says that the user has the item, in the order of ``to_csr``; None
        where every event does.

        Returns
        -------
        bool array (n_pairs,) or None

        Examples
        --------
        >>> import ancf
        >>> log = {"user": [1, 1, 1], "item": [7, 7, 8], "event": ["view", "purchase", "view"]}
        >>> ancf.read_interactions(log).pair_had().tolist()
        [True, False]
        """
        if self.had is None:
            return None
        starts = self._pair_starts()
        return np.logical_or.reduceat(self.had, starts) if len(starts) else np.empty(0, bool)


def canonical_flags(flags: NDArray[np.bool_] | None, users: Any, items: Any, _: Any, *rest: Any) -> Any:
    """Flags of events in the order of ``canonical_events``, which has the other arguments; those of one moment have it
    where one of them has."""
    if flags is None:
        return None
    return canonical_events(users, items, np.ascontiguousarray(flags, np.float64), *rest)[2] > 0
