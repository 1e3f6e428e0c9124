"""Which items a list may hold: allow lists, deny lists, masks and lists for each user, resolved to positions once."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap, as_id_array
from ancf.errors import InvalidDataError
from ancf.scoring.requests import as_sequence, is_one


class Filters:
    """What may and may not be recommended, resolved to positions once.

    Built by ``Filters.resolve(items, filter_items, ids, users)``; the attributes are the keywords of the ranker.
    """

    __slots__ = ("allow", "allow_each", "deny")

    def __init__(
        self,
        allow: NDArray[np.uint8] | None = None,
        allow_each: ItemSets | None = None,
        deny: NDArray[np.int64] | None = None,
    ) -> None:
        self.allow, self.allow_each, self.deny = allow, allow_each, deny

    @classmethod
    def resolve(cls, items: Any, filter_items: Any, ids: IdMap, users: NDArray[Any]) -> Self:
        """Resolve ``items`` (what alone may be recommended) and ``filter_items`` (what may not).

        Parameters
        ----------
        items : None, ids, boolean mask (n_items,), mapping user → ids, or one sequence of ids for each user
        filter_items : None, an id or ids
        ids : the items the model knows
        users : the users requested, in order

        Raises
        ------
        InvalidDataError
            If an id is missing (None, NaN), or none of the allowed items is known to the model.
        """
        allow: NDArray[np.uint8] | None = None
        allow_each = None
        if isinstance(items, Mapping):
            missing = [user for user in users.tolist() if user not in items]
            if missing:
                raise InvalidDataError(
                    f"items: {len(missing)} of {len(users)} users have no list of allowed items "
                    f"({_text.format_list(missing)}). Give each user one, or ask for fewer users."
                )
            allow_each = _item_sets([items[user] for user in users.tolist()], ids)
        elif items is not None and _is_mask(items):
            allow = np.ascontiguousarray(items, dtype=np.uint8)
            if allow.shape != (len(ids),):
                raise InvalidDataError(
                    f"items: the mask has the shape {allow.shape}; the model knows {len(ids)} items (item_ids_.values)."
                )
        elif items is not None and _is_nested(items):
            rows = list(items)
            if len(rows) != len(users):
                raise InvalidDataError(
                    f"items: {len(rows)} lists of allowed items for {len(users)} users; give one list for each user, "
                    "or one flat list for all."
                )
            allow_each = _item_sets(rows, ids)
        elif items is not None:
            allow = np.zeros(len(ids), np.uint8)
            allow[_known_positions(items, ids, "items")] = 1
        deny = (
            None
            if filter_items is None
            else _known_positions(filter_items, ids, "filter_items", all_may_be_unknown=True)
        )
        return cls(allow, allow_each, deny)

    def rows(self, which: NDArray[np.intp]) -> "Filters":
        """The same filters for some of the users requested."""
        if self.allow_each is None:
            return self
        return Filters(self.allow, ItemSets.from_rows([self.allow_each.row(row) for row in which]), self.deny)

    def keywords(self) -> dict[str, Any]:
        """As the ranker takes them."""
        return {"allow": self.allow, "allow_each": self.allow_each, "deny": self.deny}


def _is_mask(items: Any) -> bool:
    dtype = getattr(items, "dtype", None)
    if dtype is not None:
        return getattr(dtype, "kind", "") == "b"
    return isinstance(items, (list, tuple)) and bool(items) and all(isinstance(each, bool) for each in items)


def _is_nested(items: Any) -> bool:
    if isinstance(items, np.ndarray):
        return items.ndim == 2 or (items.dtype == object and len(items) > 0 and not is_one(items[0]))
    return isinstance(items, (list, tuple)) and len(items) > 0 and not is_one(items[0])


def _known_positions(values: Any, ids: IdMap, name: str, all_may_be_unknown: bool = False) -> NDArray[np.int64]:
    """The positions of the known among these ids, ascending; an item new to the model cannot be listed anyway."""
    sequence = [values] if is_one(values) else as_sequence(values)
    array = as_id_array(sequence)
    if array.dtype.kind not in "iu" and any(each is None or each != each for each in array.tolist()):
        raise InvalidDataError(f"{name}: an id is missing (None or NaN). Leave it out.")
    positions = ids.positions(array)
    known: NDArray[np.int64] = np.sort(positions[positions >= 0])
    first = np.ones(len(known), bool)
    np.not_equal(known[1:], known[:-1], out=first[1:])
    if len(positions) and not len(known) and not all_may_be_unknown:
        hint = ids.hint(sequence[0] if not hasattr(sequence, "iloc") else sequence.iloc[0])
        raise InvalidDataError(
            f"{name}: none of the {len(positions)} ids is known to the model ({_text.format_list(list(sequence))})"
            + (f"; {hint}." if hint else f"; its items are like {_text.format_list(ids.values, 3)}.")
        )
    return known[first]


def _item_sets(rows: list[Any], ids: IdMap) -> ItemSets:
    return ItemSets.from_rows(
        [_known_positions(row, ids, "items", all_may_be_unknown=True).astype(np.int32) for row in rows]
    )
