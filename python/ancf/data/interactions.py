"""Interactions: who took what, how much of it and when, in one canonical form.

One entry per event (user, item, time), sorted by user, item and time; events that agree in all three are one entry with
their weights summed in the order they came in (float64, stored as float32). Because the form is canonical, tables that
say the same thing have the same bytes whatever the order of their rows, and the matrix is ready without another sort.

Entries refer to ids by position in two ``IdMap``s. Parts of a split share the maps of the whole; ``compact`` keeps
only the ids that occur, which is what ``fit`` does first, so that a model knows exactly the ids of its training data.
"""

import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf._native import canonical_events
from ancf._pandas import is_series, pd
from ancf._text import format_value
from ancf.checks import check_path
from ancf.data.arrays import positions_among
from ancf.data.event_tables import EventTables
from ancf.data.events import ItemTexts, canonical_flags
from ancf.data.feature_account import account_of_features, filled_texts
from ancf.data.feature_reading import Side, read_features
from ancf.data.features import Features
from ancf.data.given_arrays import check_weights, chosen_events, flags, read_times, texts_by_item
from ancf.data.ids import IdMap
from ancf.data.normalize import Normalizer
from ancf.data.prepared import load_table, save_table
from ancf.data.rejections import Rejections
from ancf.data.report import Report
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call

SplitBy = Literal["time", "random", "last", "user"]
Mark = int | str
"""What a caller calls the last event of a table."""


class Interactions(EventTables):
    """Events of users with items.

    Made by ``ancf.read_interactions`` or ``Interactions.from_ids``; the attributes are read-only arrays.

    Attributes
    ----------
    user_ids, item_ids : IdMap
    users, items : int32 (n,)
        Positions in the maps, sorted by user, item, time.
    weights : float32 (n,)
    times : int64 (n,) or None
        Seconds since 1970-01-01 UTC.
    item_names, item_categories : object array (n_items,) of text or None, or None
    item_features, user_features : Features or None
        Attributes by id, also of items and users without an event (docs/attributes.md).
    event_weights : dict or None
        What an event of each type weighs, where the table had types; ``weights`` are products with these.
    had : bool array (n,) or None
        Whether an event says that somebody has the item, as a purchase does and a view does not (docs/reading.md). A
        model leaves out of lists what somebody has. None: every event does.
    rejections : Rejections or None
        Events by which users reject an item, as a dislike does, which are no events of the table; ``rejected()`` has
        what stands of them. A model leaves that out of every list. None: there are none.
    report : Report
        What was read, what was left out and why.
    normalize : str
        How a model is to normalize the weights; it fits the normalizer on its own training part.
    leakage : tuple of str
        Why a measurement on these parts may flatter; filled by the splits.
    split_by : "time", "random", "last", "user" or None
        How this part was split off, set by the splits: it tells a model what it will be asked (``ANCF(choose_for=)``).
        None: it is no part. Set it yourself after a split of your own.
    mark : int, str or None
        What you call the last event in here: the number in a journal, the name of a file. A model that learns from the
        table keeps it (``model.mark_``), so that you know from where to go on. Set it yourself.

    Examples
    --------
    >>> data = Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9])
    >>> len(data), data.n_users, data.n_items
    (3, 2, 2)
    """

    item_features: Features | None = None
    user_features: Features | None = None
    event_weights: dict[str, float] | None = None
    rejections: Rejections | None = None
    report: Report
    normalize: str
    leakage: tuple[str, ...]
    split_by: SplitBy | None
    mark: Mark | None

    def __init__(
        self,
        user_ids: IdMap,
        item_ids: IdMap,
        users: NDArray[Any],
        items: NDArray[Any],
        weights: NDArray[Any],
        times: NDArray[Any] | None = None,
        *,
        had: NDArray[np.bool_] | None = None,
        item_names: ItemTexts | None = None,
        item_categories: ItemTexts | None = None,
        report: Report | None = None,
        normalize: str = "none",
    ) -> None:
        n = len(users)
        for name, array in (("items", items), ("weights", weights), ("times", times), ("had", had)):
            if array is not None and len(array) != n:
                raise InvalidDataError(f"{name} has {len(array)} values where users has {n}; give one per event.")
        for name, array, ids in (("users", users, user_ids), ("items", items, item_ids)):
            if n and (array.min() < 0 or array.max() >= len(ids)):
                raise InvalidDataError(f"{name}: a position outside 0..{len(ids) - 1}.")
        self.user_ids, self.item_ids = user_ids, item_ids
        self.item_names, self.item_categories = item_names, item_categories
        self.report = Report(rows_read=n, rows_used=n) if report is None else report
        self.normalize, self.leakage, self.split_by, self.mark = normalize, (), None, None
        events = (
            np.ascontiguousarray(users, np.int32),
            np.ascontiguousarray(items, np.int32),
            np.ascontiguousarray(weights, np.float64),
            None if times is None else np.ascontiguousarray(times, np.int64),
            len(user_ids),
            len(item_ids),
        )
        self.users, self.items, self.weights, self.times, _ = canonical_events(*events)
        self.had = canonical_flags(had, *events)
        self._freeze()

    @classmethod
    @checks_call
    def from_ids(
        cls,
        user: ArrayLike | Iterable[Any],
        item: ArrayLike | Iterable[Any],
        weight: ArrayLike | None = None,
        time: ArrayLike | None = None,
        *,
        item_names: Mapping[Any, str] | ArrayLike | None = None,
        item_categories: Mapping[Any, str] | ArrayLike | None = None,
        item_features: Any = None,
        user_features: Any = None,
        normalize: str = "none",
    ) -> Self:
        """Interactions from arrays that are clean already; ``ancf.read_interactions`` cleans.

        Parameters
        ----------
        user, item : array-like of ids (n,)
            Integers, text, UUIDs or bytes.
        weight : array-like of numbers (n,), optional
            Finite and not zero; 1 for each event if left out.
        time : array-like (n,), optional
            Seconds since 1970, or whatever else ``ancf.read_interactions`` takes for times (docs/reading.md); what was
            decided about them is in the report.
        item_names, item_categories : mapping id → text, or one text per event, optional
        item_features, user_features : Features, or what ``ancf.read_features`` takes, optional
            Attributes by id, as ``with_features`` takes them.
        normalize : "none", "log", "minmax" or "standard"
            What a model does to the weights; fitted when the model is, on its training part alone.

        Returns
        -------
        Interactions

        Raises
        ------
        InvalidDataError
            If an id is missing or -1, a weight is zero or not finite, a time is none, or the lengths differ; names the
            positions.

        Examples
        --------
        >>> data = Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data
        Interactions(2 users × 2 items, 3 events)
        >>> data.to_csr().data
        array([1., 3., 2.], dtype=float32)
        """
        Normalizer(normalize)  # refuses a kind that it does not know
        user_ids, users = IdMap.factorize(user, "user")
        item_ids, items = IdMap.factorize(item, "item")
        n = len(users)
        for name, ids, codes in (("user", user_ids, users), ("item", item_ids, items)):
            if len(codes) != n:
                raise InvalidDataError(f"{name} has {len(codes)} values where user has {n}; give one per event.")
            absent = ids.position(-1)
            if absent >= 0:
                at = np.flatnonzero(codes == absent)
                raise InvalidDataError(
                    f"{name}: {len(at)} of {n} ids are -1, the sign of a missing one (first at position {at[0]}). "
                    "Leave those rows out, or use ancf.read_interactions, which has a policy for them."
                )
        weights = np.ones(n) if weight is None else check_weights(weight, n)
        report = Report(rows_read=n, rows_used=n)
        times = None if time is None else read_times(time, n, report)
        return cls(
            user_ids,
            item_ids,
            users,
            items,
            weights,
            times,
            item_names=texts_by_item(item_names, item_ids, items, "item_names"),
            item_categories=texts_by_item(item_categories, item_ids, items, "item_categories"),
            report=report,
            normalize=normalize,
        ).with_features(item_features=item_features, user_features=user_features)

    @classmethod
    def _from_canonical(
        cls,
        user_ids: IdMap,
        item_ids: IdMap,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
        times: NDArray[np.int64] | None,
        *,
        had: NDArray[np.bool_] | None = None,
        item_names: ItemTexts | None = None,
        item_categories: ItemTexts | None = None,
        report: Report,
        normalize: str = "none",
    ) -> Self:
        """From entries that ``canonical_events`` returned, without sorting them again."""
        new = cls.__new__(cls)
        new.user_ids, new.item_ids = user_ids, item_ids
        new.users, new.items, new.weights, new.times, new.had = users, items, weights, times, had
        new.item_names, new.item_categories, new.report = item_names, item_categories, report
        new.normalize, new.leakage, new.split_by, new.mark = normalize, (), None, None
        new._freeze()
        return new

    def __setstate__(self, state: dict[str, Any]) -> None:
        # An array that was pickled or copied may be written to.
        self.__dict__.update(state)
        self._freeze()

    def __getitem__(self, which: "ArrayLike | slice") -> Self:
        """The events chosen by a mask or a slice, over the same ids.

        Parameters
        ----------
        which : mask (bool, n), or slice
            Over the events in their order (by user, item and time), which ``users``, ``items``, ``weights``, ``times``
            and ``to_pandas()`` share.

        Raises
        ------
        InvalidDataError
            If the mask is not as long as there are events, or a Series of flags has another index.
        InvalidParameterError
            If it is neither a mask nor a slice.

        Examples
        --------
        >>> data = Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data[data.weights > 1]
        Interactions(2 users × 2 items, 2 events)
        """
        if isinstance(which, slice):
            try:
                return self.subset(np.arange(len(self))[which])
            except (TypeError, ValueError) as error:
                raise InvalidParameterError(f"Interactions[{which!r}]: {error}. Give whole numbers.") from None
        if is_series(which) and not which.index.equals(pd.RangeIndex(len(which))):
            raise InvalidDataError(
                "the mask is a Series whose index is not 0, 1, 2, …, as that of data.to_pandas() is. "
                "Give mask.to_numpy() if it is in the order of the events."
            )
        mask = flags(which)
        if mask is None:
            raise InvalidParameterError(
                f"Interactions[which]: which is {format_value(which)}; give a mask of True and False over the events, "
                "such as data[data.weights > 1], or a slice. subset(indices) takes positions; "
                "np.isin(data.items, data.item_ids.positions(ids)) is the mask for some items."
            )
        return self.subset(mask)

    def __repr__(self) -> str:
        timed = ", timed" if self.times is not None and len(self) else ""
        out = self.report.rows_left_out
        left_out = f"; {out:,} of {self.report.rows_read:,} rows read were left out, see report" if out else ""
        return f"Interactions({self.n_users:,} users × {self.n_items:,} items, {len(self):,} events{timed}{left_out})"

    @checks_call
    def subset(self, which: ArrayLike) -> Self:
        """The events chosen by a mask or by positions, over the same ids and with the same report.

        Parameters
        ----------
        which : mask (bool, n) or positions (int)
            Positions may stand in any order and more than once; each event comes once, in the order of the table.

        Returns
        -------
        Interactions

        Raises
        ------
        InvalidDataError
            If the mask has another length, or a position is outside the table.
        InvalidParameterError
            If it is neither.

        Examples
        --------
        >>> data = Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data.subset([2]).to_pandas()["user_id"].tolist()
        ['bob']
        """
        chosen = chosen_events(which, len(self))
        new = copy.copy(self)
        new.users, new.items, new.weights = self.users[chosen], self.items[chosen], self.weights[chosen]
        new.times = None if self.times is None else self.times[chosen]
        new.had = None if self.had is None else self.had[chosen]
        new.mark = None
        new._freeze()
        return new

    @checks_call
    def with_features(self, *, item_features: Any = None, user_features: Any = None) -> Self:
        """The same events with attributes of their items, users or both, which take the place of those that they have.

        Parameters
        ----------
        item_features, user_features : Features, or what ``ancf.read_features`` takes
            By id. Items and users without an event stay in them: a model that learns from attributes recommends such
            items, too.

        Returns
        -------
        Interactions
            With a line about each table in ``report.notes``.

        Raises
        ------
        InvalidDataError
            If none of the ids has an event, or a table cannot be read.

        Examples
        --------
        >>> data = Interactions.from_ids(user=["ann", "bob"], item=["tea", "cup"])
        >>> data = data.with_features(item_features={"item_id": ["tea", "cup", "pot"], "price": [3, 5, 9]})
        >>> data.item_features
        Features(3 rows: price (number))
        >>> print(data.report.notes[0])
        item features of dict: 3 rows: price (number); 1 item without a purchase
        """
        new = copy.copy(self)
        new.report = copy.copy(self.report)
        sides: tuple[tuple[Side, Any, IdMap], ...] = (
            ("items", item_features, self.item_ids),
            ("users", user_features, self.user_ids),
        )
        for of, given, ids in sides:
            if given is None:
                continue
            name = f"{of[:-1]}_features"
            try:
                features = given if isinstance(given, Features) else read_features(given, of=of)
            except InvalidDataError as error:
                raise type(error)(f"{name}={format_value(given)}: {error}") from error
            new.report.notes = [each for each in new.report.notes if each.name != name]
            new.report.note(name, account_of_features(features, ids, of))
            setattr(new, name, features)
        if item_features is not None and new.item_features is not None:
            of_items = new.item_features.of(self.item_ids)
            new.item_names = filled_texts(self.item_names, of_items.texts_of("name"))
            new.item_categories = filled_texts(self.item_categories, of_items.texts_of("category"))
            new._freeze()
        return new

    def compact(self, *, keep_items: NDArray[np.bool_] | None = None) -> Self:
        """The same events over the ids that occur in them; itself where all ids do.

        Parameters
        ----------
        keep_items : bool array (n_items,), optional
            Items that stay without an event, too.

        Returns
        -------
        Interactions

        Raises
        ------
        InvalidDataError
            If the mask is not as long as there are items.

        Examples
        --------
        >>> data = Interactions.from_ids(user=["ann", "bob", "ann"], item=[7, 7, 9], weight=[1, 2, 3])
        >>> data[:1].compact()
        Interactions(1 users × 1 items, 1 events)
        """
        users = np.zeros(self.n_users, bool)
        users[self.users] = True
        items = np.zeros(self.n_items, bool) if keep_items is None else np.array(keep_items, bool)
        if items.shape != (self.n_items,):
            raise InvalidDataError(f"keep_items has the shape {items.shape} where there are {self.n_items} items.")
        items[self.items] = True
        if users.all() and items.all():
            return self
        new = copy.copy(self)
        new.user_ids, new.users = _restrict(self.user_ids, users, self.users)
        new.item_ids, new.items = _restrict(self.item_ids, items, self.items)
        new.item_names = None if self.item_names is None else self.item_names[items]
        new.item_categories = None if self.item_categories is None else self.item_categories[items]
        new._freeze()
        return new

    def normalizer(self) -> Normalizer:
        """The normalizer named by ``normalize``, fitted on the weights of these events.

        Returns
        -------
        Normalizer, fitted

        Examples
        --------
        >>> Interactions.from_ids(user=[1, 2], item=[7, 7], weight=[2, 4], normalize="minmax").normalizer()
        Normalizer('minmax', shift=2, scale=2)
        """
        return Normalizer(self.normalize).fit(self.weights)

    @checks_call
    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the table to a folder, from which ``ancf.read_interactions(path)`` has it at once, cleaned and coded.

        What comes back has the same bits and the same report. Its events are mapped from the files, so they need not
        fit into memory. Every byte is checked on opening. ``ancf prepare`` does this on the command line.

        Parameters
        ----------
        path : path of a folder
            Made if it is not there. A table that was saved in it before is replaced as a whole or not at all.

        Raises
        ------
        InvalidParameterError
            If the path is a file, or a folder that holds other files.
        OSError
            If it cannot be written to, or the disk is full.

        Examples
        --------
        >>> import ancf, tempfile
        >>> data = Interactions.from_ids(user=["ann", "bob"], item=["tea", "cup"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data.save(f"{folder}/prepared")
        ...     again = ancf.read_interactions(f"{folder}/prepared")
        >>> again.fingerprint() == data.fingerprint()
        True
        """
        save_table(self, check_path("path", path))

    @classmethod
    def _open(cls, folder: Path) -> Self:
        """What ``save`` wrote; raises ``InvalidDataError`` where it is damaged."""
        new = cls.__new__(cls)
        for name, value in load_table(folder).items():
            setattr(new, name, value)
        new._freeze()
        return new


def _restrict(ids: IdMap, kept: NDArray[np.bool_], codes: NDArray[np.int32]) -> tuple[IdMap, NDArray[np.int32]]:
    """The ids that are kept, and the codes (all of kept ids) as positions among them."""
    return IdMap._unchecked(ids.values[kept], ids.kind), positions_among(kept)[codes]
