"""Which items a list may hold: what alone may be recommended (``items``) and what may not (``filter_items``).

Both take the same forms, with the same meaning. For everybody: ids in any container; a boolean mask in the order of
``item_ids_``; a boolean pandas Series, whose index says which item each flag belongs to. For each user their own: a
mapping user → any of these, a Series of lists by user, a table with the columns ``user_id`` and ``item_id``, or one
list for each user in the order requested.

One policy for unknown items: an id that the model does not know is ignored, since it cannot be listed anyway, and
stock lists hold more than was ever sold. But a filter of which no id is known is an error, and so is any id that is
known in another kind or spelling (``ancf.scoring.unknown_ids``): what such a filter meant would not happen.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from numbers import Number
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native, _text
from ancf._pandas import is_missing, is_series, pd
from ancf.data.arrays import group_starts, object_array
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap, as_id_array
from ancf.errors import InvalidDataError
from ancf.scoring.requests import as_sequence, is_one, materialize, table_columns
from ancf.scoring.unknown_ids import describe_twin, first_twin, hint_for

# What is never missing.
_KINDS: set[type] = {int, str, bytes, uuid.UUID}


class Requested(NamedTuple):
    """Whose lists are filtered."""

    users: NDArray[Any]
    """The ids requested, in order; the numbers of histories where there are no ids."""
    known: IdMap | None = None
    """All that a mapping may name beside them."""
    what: str = "user"
    whats: str = "users"


class Filters:
    """What may and may not be recommended, resolved to positions once.

    Built by ``Filters.resolve(items, filter_items, ids, requested)``.
    """

    __slots__ = ("allow", "allow_each", "deny", "deny_each")

    def __init__(
        self,
        allow: NDArray[np.uint8] | None = None,
        allow_each: ItemSets | None = None,
        deny: NDArray[np.int64] | None = None,
        deny_each: ItemSets | None = None,
    ) -> None:
        self.allow, self.allow_each, self.deny, self.deny_each = allow, allow_each, deny, deny_each

    @classmethod
    def resolve(cls, items: Any, filter_items: Any, ids: IdMap, requested: Requested) -> Self:
        """Resolve ``items`` (what alone may be recommended) and ``filter_items`` (what may not).

        Parameters
        ----------
        items, filter_items : None, or one of the forms in the head of this module
        ids : the items the model knows
        requested : whose lists these are

        Raises
        ------
        InvalidDataError
            If an id is missing (None, NaN), is known in another kind or spelling, or none of a filter is known; if a
            mask or the number of lists does not fit; if a mapping leaves a user without a list of allowed items.
        """
        allow, allow_each = _Reader("items", ids, requested).read(items)
        deny, deny_each = _Reader("filter_items", ids, requested).read(filter_items)
        mask = None
        if allow is not None:
            mask = np.zeros(len(ids), np.uint8)
            mask[allow] = 1
        return cls(mask, allow_each, deny, deny_each)

    def rows(self, which: NDArray[np.intp]) -> "Filters":
        """The same filters for some of the users requested."""
        if self.allow_each is None and self.deny_each is None:
            return self
        allow_each, deny_each = (
            None if each is None else each.take(which) for each in (self.allow_each, self.deny_each)
        )
        return Filters(self.allow, allow_each, self.deny, deny_each)

    def within(self, mask: NDArray[np.uint8] | None) -> "Filters":
        """The same filters where for everybody only what ``mask`` flags (n_items,) may be recommended; None: all."""
        if mask is None:
            return self
        return Filters(mask if self.allow is None else self.allow & mask, self.allow_each, self.deny, self.deny_each)

    def keywords(self) -> dict[str, Any]:
        """As the ranker takes them; ``deny_each`` belongs to what each user has seen (``excluded``)."""
        return {"allow": self.allow, "allow_each": self.allow_each, "deny": self.deny}

    def permits(self, row: int, items: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of these items the list of one user may hold."""
        kept = np.ones(len(items), bool) if self.allow is None else self.allow[items] != 0
        if self.allow_each is not None:
            kept &= np.isin(items, self.allow_each.row(row))
        for denied in (self.deny, None if self.deny_each is None else self.deny_each.row(row)):
            if denied is not None:
                kept &= ~np.isin(items, denied)
        return kept

    def excluded(self, seen: ItemSets | None) -> ItemSets | None:
        """What each list leaves out: what was ``seen``, and what is denied to each."""
        if seen is None or self.deny_each is None:
            return self.deny_each if seen is None else seen
        return seen.union(self.deny_each)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that these filters are, by name."""
        found: dict[str, NDArray[Any] | None] = {"allow": self.allow, "deny": self.deny}
        for name, each in (("allow_each", self.allow_each), ("deny_each", self.deny_each)):
            if each is not None:
                found |= {f"{name}.indptr": each.indptr, f"{name}.items": each.items}
        return {name: array for name, array in found.items() if array is not None}


def positions_of(name: str, given: Any, ids: IdMap) -> NDArray[np.int64]:
    """The rising positions of items for everybody, in any form; ``name`` is what messages call them."""
    found, each = _Reader(name, ids, Requested(np.empty(0, object))).read(given)
    if found is None or each is not None:
        raise InvalidDataError(f"{name}: one list is needed, the same for everybody; one for each user was given.")
    return found


def count_each(name: str, given: Any, ids: IdMap, requested: Requested) -> tuple[ItemSets, NDArray[np.int64]]:
    """The items of each user in any form, and how often each stands there; ids that are unknown are ignored."""
    reader = _Reader(name, ids, requested, counted=True)
    found, each = reader.read(given)
    if each is not None:
        assert reader.counts is not None
        return each, reader.counts
    assert found is not None
    n = len(requested.users)
    indptr = np.arange(n + 1, dtype=np.int64) * len(found)
    return ItemSets(indptr, np.tile(found.astype(np.int32), n)), np.ones(n * len(found), np.int64)


class _Reader:
    """One of the two filters."""

    def __init__(self, name: str, ids: IdMap, requested: Requested, *, counted: bool = False) -> None:
        self.name, self.ids, self.requested, self.counted = name, ids, requested, counted
        self.counts: NDArray[np.int64] | None = None

    def read(self, given: Any) -> tuple[NDArray[np.int64] | None, ItemSets | None]:
        """The rising positions that hold for everybody, or one set for each user."""
        if given is None:
            return None, None
        if is_one(given):
            return self._positions(given), None
        given = materialize(given)
        if isinstance(given, Mapping):
            return None, self._by_user(given)
        columns = table_columns(given)
        if columns is not None and {"user_id", "item_id"} <= set(columns):
            return None, self._by_user(self._lists_of_table(columns["user_id"], columns["item_id"]))
        sequence = as_sequence(given, self.name)
        if is_nested(sequence):
            if is_series(sequence):
                return None, self._by_user(sequence.to_dict())
            if isinstance(given, (set, frozenset)):
                raise InvalidDataError(f"{self.name}: a set has no order that says whose list is whose. Give a list.")
            return None, self._in_order(list(sequence))
        return self._positions(sequence), None

    # ---- lists for each user

    def _lists_of_table(self, users: Any, items: Any) -> dict[Any, Any]:
        whose, what = as_id_array(as_sequence(users)), as_id_array(as_sequence(items))
        missing = np.flatnonzero(_is_missing(whose))
        if len(missing):
            raise InvalidDataError(f"{self.name}: user_id is missing in row {missing[0]}. Leave such rows out.")
        if not len(whose):
            return {}
        codes, distinct = pd.factorize(whose)
        order = np.argsort(codes, kind="stable")
        parts = np.split(what[order], group_starts(codes[order])[1:])
        return dict(zip(distinct.tolist(), parts, strict=True))

    def _by_user(self, lists: Mapping[Any, Any]) -> ItemSets:
        what, whats, users = self.requested.what, self.requested.whats, self.requested.users.tolist()
        without = [user for user in users if user not in lists]
        rows = [lists.get(user, ()) for user in users]
        if not without:
            return self._sets(rows)
        twin = next(((user, key) for user in without for key in _spellings(user) if key in lists), None)
        if twin is not None:
            raise InvalidDataError(
                f"{self.name}: the list of {what} {twin[0]!r} stands under {twin[1]!r}, an id of another kind. Give "
                f"the {whats} as the training table has them."
            )
        if self.name == "items":
            raise InvalidDataError(
                f"items: {len(without)} of {len(users)} {whats} have no list of allowed items "
                f"({_text.format_list(without)}). Give each {what} one, or ask for fewer {whats}."
            )
        known = self.requested.known
        strangers = known is None or not any(known.position(key) >= 0 for key in lists)
        if len(without) == len(users) and len(lists) and len(users) and strangers:
            hint = f"the {whats} are like {_text.format_list(users if known is None else known.values, 3)}"
            raise InvalidDataError(
                f"{self.name}: none of its keys is a {what} ({_text.format_list(list(lists))}); {hint}."
            )
        return self._sets(rows)

    def _in_order(self, rows: list[Any]) -> ItemSets:
        what, whats, users = self.requested.what, self.requested.whats, self.requested.users
        if len(rows) != len(users):
            noun = "lists of allowed items" if self.name == "items" else "lists of items to leave out"
            raise InvalidDataError(
                f"{self.name}: {len(rows)} {noun} for {len(users)} {whats}; give one list for each {what}, "
                "or one flat list for all."
            )
        return self._sets(rows)

    def _sets(self, rows: list[Any]) -> ItemSets:
        """One set of positions for each row, all looked up at once."""
        joined, lengths = _joined(rows) or self._joined_one_by_one(rows)
        found = self._look_up(joined)
        sets, self.counts = _native.sets_of_rows(lengths, found, len(self.ids), self.counted)
        return ItemSets(*sets)

    def _joined_one_by_one(self, rows: list[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The ids of rows in any form, one after the other, and how many each has."""
        parts = []
        for at, row in enumerate(rows):
            if row is None:
                raise InvalidDataError(f"{self.name}: list {at} is None. Give [] where there is nothing to name.")
            plain = row if is_one(row) else as_sequence(materialize(row), self.name)
            parts.append(as_id_array(self._one_list(plain)))
        lengths = np.array([len(part) for part in parts], np.int64)
        kinds = {part.dtype for part in parts if len(part)}
        if len(kinds) > 1:
            parts = [object_array(part.tolist()) for part in parts]
        return np.concatenate([part for part in parts if len(part)]) if kinds else np.empty(0, object), lengths

    # ---- one list

    def _one_list(self, given: Any) -> Any:
        """The ids that a list, a mask or a Series of flags stands for."""
        if is_one(given):
            given = [given]
        if not _is_flags(given):
            return given
        flagged = self._flags(given)
        return self._flagged_labels(given.index, flagged) if is_series(given) else self.ids.values[flagged]

    def _flags(self, given: Any) -> NDArray[np.bool_]:
        """Flags as a boolean array; those that no index names are one for each item."""
        values = pd.array(given, dtype="boolean").to_numpy(object)
        missing = np.flatnonzero(pd.isna(values))
        if len(missing):
            raise InvalidDataError(f"{self.name}: the flag at position {missing[0]} is missing. Give True or False.")
        flagged = values.astype(bool)
        if not is_series(given) and flagged.shape != (len(self.ids),):
            raise InvalidDataError(
                f"{self.name}: the mask has the shape {flagged.shape}; the model knows {len(self.ids)} items "
                "(item_ids_.values). Give one flag for each in that order, or a pandas Series of flags whose index "
                "holds the ids."
            )
        return np.asarray(flagged)

    def _flagged_labels(self, index: "pd.Index[Any]", flagged: NDArray[np.bool_]) -> Any:
        """The labels of a Series that are flagged; items that it does not name are not."""
        remedy = (
            "A Series of flags is read by its index. Set the ids as its index, or give series.to_numpy() if its flags "
            "stand in the order of item_ids_."
        )
        labels = as_id_array(index) if not isinstance(index, pd.MultiIndex) else object_array(list(index))
        unknown = self.ids.positions(labels) < 0
        if unknown.any() and (unknown.all() or isinstance(index, pd.RangeIndex)):
            raise InvalidDataError(
                f"{self.name}: {int(unknown.sum())} of the {len(labels)} labels of its index are no items of the model "
                f"({_text.format_list(labels[unknown], 3)}; {hint_for(labels[unknown].tolist(), self.ids)}). {remedy}"
            )
        chosen = labels[flagged]
        both = pd.Index(chosen).intersection(pd.Index(labels[~flagged]))
        if len(both):
            raise InvalidDataError(f"{self.name}: {both[0]!r} is flagged True and False. Give each item one flag.")
        return chosen

    def _positions(self, given: Any) -> NDArray[np.int64]:
        """The known positions of one list for everybody, ascending and distinct."""
        if not is_one(given) and not is_series(given) and _is_flags(given):
            return np.flatnonzero(self._flags(given))
        found = self._look_up(as_id_array(self._one_list(given)))
        return np.unique(found[found >= 0])

    def _look_up(self, array: NDArray[Any]) -> NDArray[np.int64]:
        """The position of each id, -1 for one that may be ignored."""
        missing = np.flatnonzero(_is_missing(array))
        if len(missing):
            raise InvalidDataError(
                f"{self.name}: an id is missing (None or NaN) at position {missing[0]}. Leave it out."
            )
        found = self.ids.positions(array)
        unknown = array[found < 0].tolist()
        if not unknown:
            return found
        for each in unknown:
            if isinstance(each, bool) or not is_one(each):
                raise InvalidDataError(
                    f"{self.name}: {each!r} is no id. Give ids, or flags alone, or one list for each "
                    f"{self.requested.what}."
                )
        if len(unknown) == len(array):
            raise InvalidDataError(
                f"{self.name}: none of the {len(array)} ids is known to the model ({_text.format_list(unknown)}); "
                f"{hint_for(unknown, self.ids)}."
            )
        twin = first_twin(unknown, self.ids)
        if twin is not None:
            raise InvalidDataError(
                f"{self.name}: {twin[0]!r} is unknown, but {describe_twin(*twin, self.ids)}. Give the ids as the "
                "training table has them."
            )
        return found


def _joined(rows: list[Any]) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """The same at once, for rows of plain numbers or texts in lists, tuples, sets or arrays; None where any is not."""
    kinds = {type(row) for row in rows}
    if kinds == {np.ndarray} and len({(row.dtype, row.ndim) for row in rows}) == 1 and rows[0].dtype.kind in "iu":
        return (np.concatenate(rows), np.array([len(row) for row in rows], np.int64)) if rows[0].ndim == 1 else None
    if not kinds <= {list, tuple}:
        rows = [row.tolist() if type(row) is np.ndarray and row.dtype == object else row for row in rows]
        rows = [list(row) if isinstance(row, (set, frozenset)) else row for row in rows]
    found = _native.join_ids(rows)
    if found is None:
        return None
    ids, lengths = found
    return ids if isinstance(ids, np.ndarray) else object_array(ids), lengths


def _spellings(user: Any) -> Sequence[Any]:
    """A user's id in the other kind."""
    if isinstance(user, str):
        return [int(user)] if user.isascii() and user.isdigit() and len(user) < 40 else []
    return [str(user)]


def _is_missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array), bool)
    listed = array.tolist() if array.dtype.kind == "O" else []
    if set(map(type, listed)) <= _KINDS:
        return np.zeros(len(array), bool)
    return np.fromiter((_is_nothing(each) for each in listed), bool, len(listed))


def _is_nothing(value: Any) -> bool:
    """Whether this is None, or what is not itself: NaN and NaT of any library."""
    return value is None or is_missing(value) or (isinstance(value, (Number, np.generic, date)) and value != value)


def _is_flags(given: Any) -> bool:
    """Whether these are flags rather than ids."""
    kind = getattr(getattr(given, "dtype", None), "kind", "O")
    if kind != "O":
        return bool(kind == "b")
    listed = given.tolist() if hasattr(given, "tolist") else list(given)
    first = next((each for each in listed if each is not None and not is_missing(each)), None)
    return isinstance(first, (bool, np.bool_)) and all(
        isinstance(each, (bool, np.bool_)) or each is None or is_missing(each) for each in listed
    )


def is_nested(sequence: Any) -> bool:
    """Whether these are lists rather than ids."""
    if isinstance(sequence, np.ndarray) and sequence.dtype != object:
        return sequence.ndim == 2
    first = next(iter(sequence), None)
    return first is not None and not is_one(first)
