"""Events as tables of pandas, and what they say as a hash."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.arrays import group_starts
from ancf.data.events import Events
from ancf.data.rejections import Rejections


class EventTables(Events):
    """The part of ``Interactions`` that shows its events to others."""

    rejections: Rejections | None = None

    def fingerprint(self) -> str:
        """A hash of the content (ids, events, weights, times): 32 hex digits, the same for tables that say the same.

        Returns
        -------
        str

        Examples
        --------
        >>> import ancf
        >>> one = ancf.Interactions.from_ids(user=[1, 2], item=["tea", "cup"])
        >>> one.fingerprint() == ancf.Interactions.from_ids(user=[2, 1], item=["cup", "tea"]).fingerprint()
        True
        """
        digest = hashlib.blake2b(digest_size=16)
        for ids in (self.user_ids, self.item_ids):
            arrays, meta = ids.state()
            digest.update(repr(sorted(meta.items())).encode())
            for name in sorted(arrays):
                digest.update(_little_endian(arrays[name]))
        for part in (self.users, self.items, self.weights, self.times):
            digest.update(b"-" if part is None else _little_endian(part))
        if self.had is not None:
            digest.update(_little_endian(self.had))
        if self.rejections is not None:
            for name, array in sorted(self.rejections.state()[0].items()):
                digest.update(name.encode() + _little_endian(array))
        return digest.hexdigest()

    def to_pandas(self) -> "pd.DataFrame":
        """The events as a table: ``user_id, item_id, weight`` and, where there are times, ``time`` (UTC).

        Where the table has them, ``had`` says which events are purchases, and ``rejected`` of which items their user
        wants no more; ``rejected()`` has those without an event, too.

        Returns
        -------
        DataFrame with a row for each event, in the order of ``users``

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data.to_pandas()["item_id"].tolist()
        [7, 9, 7]
        """
        columns: dict[str, Any] = {
            "user_id": self.user_ids.take(self.users),
            "item_id": self.item_ids.take(self.items),
            "weight": np.array(self.weights),
        }
        if self.times is not None:
            columns["time"] = pd.to_datetime(self.times, unit="s", utc=True)
        if self.had is not None:
            columns["had"] = np.array(self.had)
        if self.rejections is not None:
            sets = self.rejections.sets(self)
            pairs = np.repeat(np.arange(self.n_users), np.diff(sets.indptr)) * self.n_items + sets.items
            columns["rejected"] = np.isin(self.users.astype(np.int64) * self.n_items + self.items, pairs)
        return pd.DataFrame(columns)

    def rejected(self) -> "pd.DataFrame":
        """What users reject, as far as no purchase clears it: ``user_id, item_id`` and, where there are times, ``time``
        (UTC), the last one.

        Returns
        -------
        DataFrame with a row for each pair, by user and item

        Examples
        --------
        >>> import ancf
        >>> log = {"user": [1, 1, 2], "item": [7, 8, 8], "event": ["purchase", "dislike", "purchase"]}
        >>> ancf.read_interactions(log).rejected().values.tolist()
        [[1, 8]]
        """
        found = self.rejections
        if found is None:
            empty: dict[str, Any] = {"user_id": self.user_ids.values[:0], "item_id": self.item_ids.values[:0]}
            return pd.DataFrame(empty if self.times is None else {**empty, "time": pd.to_datetime([], utc=True)})
        at = np.flatnonzero(found.standing(self))
        last = np.append(group_starts(found.users[at], found.items[at])[1:], len(at)) - 1
        at = at[last] if len(at) else at
        columns: dict[str, Any] = {
            "user_id": found.user_ids.take(found.users[at]),
            "item_id": found.item_ids.take(found.items[at]),
        }
        if found.times is not None:
            columns["time"] = pd.to_datetime(found.times[at], unit="s", utc=True)
        return pd.DataFrame(columns)


def _little_endian(array: NDArray[Any]) -> bytes:
    """The bytes of an array in little-endian order, so that a fingerprint does not depend on the machine."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
