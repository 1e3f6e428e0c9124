"""Raw ids and their positions: the one place where "17850" becomes row 12 and row 12 becomes "17850".

Everything public takes and returns raw ids (int, text, UUID, bytes); everything inside works with positions 0..n-1. An
``IdMap`` holds the ids of one side (users or items) in a fixed order and translates both ways. An unknown id has the
position -1, which never leaves this module's callers. The way to a position is the core's (``id_index.rs``), over the
bytes of the ids: a million ids of a model file are there in a tenth of a second, and become Python objects only when
somebody asks for them.

An id is what it is: the text ``"7"`` and the number ``7`` are two ids, ``"007"`` keeps its zeros,
``True`` is no 1.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf import _native
from ancf._pandas import pd
from ancf._text import format_value
from ancf.data.arrays import object_array
from ancf.data.id_values import (
    array_of_state,
    first_ids,
    id_array,
    is_whole,
    parse_id,
    sort_order,
    typed_ids,
    uuid_bytes,
)
from ancf.data.packed_text import Packed, check_packed, pack_bytes, pack_texts, unpack_bytes, unpack_texts
from ancf.errors import InvalidDataError, InvalidParameterError, ModelFileError, _PositionError
from ancf.params import checks_call

_FEW = 1000  # So many ids are made by themselves; for more, all are.
_LOOKED_THROUGH = 20_000  # Ids among which a similar one is looked for.


class IdMap(Sequence[Any]):
    """Ids in a fixed order, and the way from each to its position.

    It is a sequence of ids: ``len(ids)``, ``ids[0]``, ``ids[-1]``, ``ids[2:5]`` (an ``IdMap``), iteration,
    ``reversed``, ``in``, ``ids.index(id)`` and ``np.asarray(ids)`` (``values``, read-only) do what they do for a tuple.
    Two of them are equal where they hold the same ids, of the same kind, in the same order; no list equals one.

    Parameters
    ----------
    values : array-like of ids, all of one kind
        Integers, text, ``uuid.UUID`` or bytes; kept in the order given. Integral floats become integers.

    Raises
    ------
    InvalidDataError
        If an id is missing, stands twice, or the kinds are mixed; names the ids and their positions.

    Examples
    --------
    >>> items = IdMap(["22423", "85123A"])
    >>> items.position("85123A"), items.position("nothing")
    (1, -1)
    >>> items.positions(["85123A", "22423", "?"])
    array([ 1,  0, -1])
    >>> list(items), items[-1], "22423" in items, items.index("85123A")
    (['22423', '85123A'], '85123A', True, 1)
    """

    __slots__ = ("__dict__", "_packed", "kind")

    kind: str
    _packed: Packed | None

    @checks_call
    def __init__(self, values: ArrayLike | Iterable[Any]) -> None:
        array, kind = typed_ids(as_id_array(values, "values"), "values")
        self._set(array, kind)
        if not self.native_index.is_distinct:
            twice = np.flatnonzero(pd.Index(array).duplicated())
            raise InvalidDataError(
                f"values: {len(twice)} ids stand more than once ({first_ids(array[twice])}, first at position "
                f"{twice[0]}). Give each id once."
            )

    def _set(self, array: NDArray[Any], kind: str, packed: Packed | None = None) -> None:
        array.flags.writeable = False
        self.__dict__["values"], self.kind, self._packed = array, kind, packed

    @cached_property
    def values(self) -> NDArray[Any]:
        """The ids in their order (n,), int64 or objects; read-only."""
        assert self._packed is not None
        unpack = unpack_texts if self.kind == "str" else unpack_bytes
        array = object_array(unpack(*self._packed, "text ids"))
        array.flags.writeable = False
        return array

    @classmethod
    def _unchecked(cls, array: NDArray[Any], kind: str) -> Self:
        """From distinct ids of one kind that the caller vouches for; the array is taken over, not copied."""
        new = cls.__new__(cls)
        new._set(array, kind)
        return new

    @classmethod
    @checks_call
    def factorize(cls, values: ArrayLike | Iterable[Any], what: str = "ids") -> "tuple[Self, NDArray[np.int32]]":
        """The distinct ids in ascending order, and the position of each given value (int32, as long as ``values``).

        Parameters
        ----------
        values : array-like of ids (n,)
        what : str
            What an error calls them.

        Returns
        -------
        (IdMap, int32 array (n,))

        Raises
        ------
        InvalidDataError
            If a value is missing or the kinds are mixed.

        Examples
        --------
        >>> ids, codes = IdMap.factorize(["b", "a", "b"])
        >>> ids.values.tolist(), codes.tolist()
        (['a', 'b'], [1, 0, 1])
        """
        array, kind = typed_ids(as_id_array(values, what), what)
        codes, uniques = pd.factorize(array)
        order, rank = sort_order(uniques)
        return cls._unchecked(uniques[order], kind), rank[codes]

    @classmethod
    def _of_packed(cls, packed: Packed, kind: str) -> Self:
        """From text or bytes as they stand in a file, which are checked.

        Raises
        ------
        ValueError, InvalidDataError
            If they are no such ids, or one stands twice.
        """
        check_packed(*packed, "text ids")
        new = cls.__new__(cls)
        new._packed, new.kind = packed, kind
        index = new.native_index
        if kind == "str" and not index.is_utf8:
            new.values  # noqa: B018  says what is no text
        if not index.is_distinct:
            cls(new.values)  # says which stand twice
        return new

    def __len__(self) -> int:
        return len(self.values) if self._packed is None else len(self._packed[0]) - 1

    def __repr__(self) -> str:
        return f"IdMap({len(self):,} ids of kind {self.kind}: {self._beginning()})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        return self is other or (self.kind == other.kind and np.array_equal(self.values, other.values))

    def __hash__(self) -> int:
        return hash((self.kind, len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._unchecked, (np.array(self.values), self.kind)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> Any:
        """The id at a position (negative: from the end), as a Python value; of a slice, those ids in an ``IdMap``."""
        if isinstance(at, slice):
            try:
                start, stop, step = at.indices(len(self))
            except (TypeError, ValueError) as error:
                raise InvalidParameterError(f"IdMap[{at!r}]: {error}. Give whole numbers.") from None
            if step == 1 and not self._has_values:
                return self._unchecked(object_array(self._decoded(start, max(start, stop))), self.kind)
            return self._unchecked(self.values[at], self.kind)
        if isinstance(at, (bool, np.bool_)) or not isinstance(at, (int, np.integer)):
            raise InvalidParameterError(
                f"IdMap[{at!r}]: give a position (a whole number) or a slice. "
                "index(id) has the position of an id, take(positions) the ids at several."
            )
        n = len(self)
        if not -n <= at < n:
            raise _PositionError(f"IdMap[{at}]: there are {n} ids; give a position from {-n} to {n - 1}.")
        if not self._has_values:
            return self._decoded(range(n)[at], range(n)[at] + 1)[0]
        found = self.values[at]
        return found.item() if isinstance(found, np.generic) else found

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.values[::-1].tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and self.values.dtype != dtype:
            return np.array(self.values, dtype)
        return np.array(self.values) if copy else self.values

    @checks_call
    def index(self, raw: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of an id.

        Parameters
        ----------
        raw : id
        start, stop : int, optional
            The part of the sequence to look in, as ``list.index`` has them.

        Returns
        -------
        int

        Raises
        ------
        InvalidDataError
            If the id is not there; also a ``ValueError``, as of a list. ``position`` gives -1 instead.

        Examples
        --------
        >>> ids = IdMap(["tea", "cup"])
        >>> ids.index("cup")
        1
        """
        for name, bound in (("start", start), ("stop", stop)):
            if type(bound) is not int and not isinstance(bound, np.integer) and (name == "start" or bound is not None):
                raise InvalidParameterError(f"index: {name} is {format_value(bound)}; give a whole number.")
        at = self.position(raw)
        if at < 0 or at not in range(*slice(start, stop).indices(len(self))):
            outside = f"it stands at position {at}, outside start={start} and stop={stop}"
            hint = self.hint(raw) if at < 0 else outside
            raise InvalidDataError(
                f"{raw!r} is none of these {len(self):,} ids ({hint or self._beginning()}). "
                "position(id) gives -1 for an unknown one."
            )
        return at

    def count(self, raw: Any) -> int:
        """1 for an id that is there, 0 for any other.

        Parameters
        ----------
        raw : id

        Returns
        -------
        int

        Examples
        --------
        >>> IdMap(["tea", "cup"]).count("tea")
        1
        """
        return int(raw in self)

    @cached_property
    def native_index(self) -> _native.IdIndex:
        """The way from an id to its position, as the core has it."""
        if self.kind == "int":
            return _native.IdIndex.of_numbers(self.values)
        if self.kind == "uuid":
            joined = uuid_bytes(self.values)
            return _native.IdIndex.of_texts(np.arange(0, len(joined) + 1, 16), joined, has_texts=False)
        return _native.IdIndex.of_texts(*self._pack(), has_texts=self.kind == "str")

    @property
    def _has_values(self) -> bool:
        return self._packed is None or "values" in self.__dict__

    def _decoded(self, start: int, stop: int) -> list[Any]:
        """Some neighboring ids, without making objects of all."""
        if self._has_values:
            listed: list[Any] = self.values[start:stop].tolist()
            return listed
        assert self._packed is not None
        offsets, joined = self._packed
        part = offsets[start : stop + 1]
        unpack = unpack_texts if self.kind == "str" else unpack_bytes
        return list(unpack(part - part[0], joined[part[0] : part[-1]], "text ids"))

    def _pack(self) -> Packed:
        if self._packed is not None:
            return self._packed
        return pack_texts(self.values) if self.kind == "str" else pack_bytes(self.values)

    @cached_property
    def _is_range(self) -> bool:
        """Whether the ids are 0..n-1 in order, so that an id is its own position."""
        n = len(self)
        return self.kind == "int" and bool(n and self.values[0] == 0 and np.array_equal(self.values, np.arange(n)))

    @cached_property
    def _find(self) -> Callable[[Any], int]:
        return self.native_index.position

    def _beginning(self) -> str:
        return first_ids(object_array(self._decoded(0, 4)))

    def prepare(self) -> None:
        """Make ready for ``position``, which does so when it is first asked.

        Examples
        --------
        >>> from ancf import IdMap
        >>> ids = IdMap(["tea", "cup"])
        >>> ids.prepare()
        >>> ids.position("cup")
        1
        """
        self._find  # noqa: B018

    def position(self, raw: Any) -> int:
        """The position of one id, or -1. NumPy scalars are taken as the Python values they hold.

        Parameters
        ----------
        raw : id

        Returns
        -------
        int

        Examples
        --------
        >>> IdMap(["tea", "cup"]).position("cup")
        1
        """
        kind = type(raw)
        if kind is str or kind is int:
            return self._find(raw)
        if isinstance(raw, np.generic):
            raw = raw.item()
        if isinstance(raw, bool):
            return -1
        if self.kind == "int":
            return self._find(int(raw)) if is_whole(raw) else -1
        if self.kind == "uuid":
            return self._find(raw.bytes) if isinstance(raw, uuid.UUID) else -1
        return self._find(raw)

    def parse(self, text: str) -> Any:
        """What is written in a text as an id of this kind.

        Parameters
        ----------
        text : str

        Returns
        -------
        int, str, ``uuid.UUID`` or bytes
            The text itself where it cannot be such an id.

        Examples
        --------
        >>> IdMap([7, 9]).parse("7"), IdMap(["7", "9"]).parse("7"), IdMap([7, 9]).parse("seven")
        (7, '7', 'seven')
        """
        return parse_id(text, self.kind)

    @checks_call
    def positions(self, ids: ArrayLike | Iterable[Any]) -> NDArray[np.int64]:
        """The positions of many ids (int64, as long as ``ids``), -1 for each unknown one.

        Parameters
        ----------
        ids : array-like of ids (n,)

        Returns
        -------
        int64 array (n,)

        Raises
        ------
        InvalidDataError
            If they are no sequence.

        Examples
        --------
        >>> IdMap(["tea", "cup"]).positions(["cup", "pot"]).tolist()
        [1, -1]
        """
        array = as_id_array(ids, "ids")
        if array.dtype.kind in "iu" and array.dtype != np.uint64 and self.kind == "int":
            array = array.astype(np.int64, copy=False)
            if self._is_range:
                return np.where((array >= 0) & (array < len(self)), array, -1)
            return self.native_index.positions_of_numbers(np.ascontiguousarray(array))
        if array.dtype.kind == "O" and self.kind in ("str", "bytes"):
            return self.native_index.positions(array.tolist())
        return np.fromiter((self.position(each) for each in array.tolist()), np.int64, len(array))

    @checks_call
    def take(self, positions: ArrayLike) -> NDArray[Any]:
        """The ids at these positions, in the shape of ``positions``.

        Parameters
        ----------
        positions : whole numbers, in any shape

        Returns
        -------
        array of ids, int64 or objects

        Raises
        ------
        InvalidParameterError
            If they are no positions of these ids.

        Examples
        --------
        >>> IdMap(["tea", "cup"]).take([1, 1]).tolist()
        ['cup', 'cup']
        """
        try:
            at = np.asarray(positions)
            at = at if at.size else at.astype(np.intp)
            if at.size <= _FEW and at.dtype.kind in "iu" and not self._has_values:
                few = object_array([self[each] for each in at.reshape(-1).tolist()])
                return few.reshape(at.shape)
            taken: NDArray[Any] = self.values[at]
        except (IndexError, TypeError, ValueError) as error:
            raise InvalidParameterError(
                f"take: positions is {format_value(positions)} ({error}); give whole numbers below {len(self)}."
            ) from None
        return taken

    def __contains__(self, raw: Any) -> bool:
        return self.position(raw) >= 0

    def hint(self, raw: Any) -> str:
        """What may have been meant by an unknown id: the same id of the other kind, or a similar one; else ``""``."""
        if self.kind == "str":
            if self.position(str(raw)) >= 0:
                return f'the ids are text; "{raw}" is known'
            near = get_close_matches(str(raw), self._decoded(0, _LOOKED_THROUGH), 1, 0.8)
            return f'did you mean "{near[0]}"?' if near else ""
        if self.kind == "int" and isinstance(raw, str) and raw.strip().lstrip("-").isascii():
            digits = raw.strip()
            if digits.lstrip("-").isdigit() and self.position(int(digits)) >= 0:
                return f"the ids are numbers; {int(digits)} is known"
        return ""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and a small dictionary from which ``from_state`` builds the same map; nothing in them is executed.

        Integers are stored as ``values`` (int64), UUIDs as ``values`` (n × 16 bytes), text and bytes as ``offsets``
        (int64, n + 1) into ``bytes`` (uint8, UTF-8 for text).
        """
        meta = {"kind": self.kind, "n": len(self)}
        if self.kind == "int":
            return {"values": np.array(self.values)}, meta
        if self.kind == "uuid":
            return {"values": uuid_bytes(self.values).reshape(-1, 16).copy()}, meta
        offsets, joined = self._pack()
        return {"offsets": offsets, "bytes": joined}, meta

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Self:
        """The map that ``state`` described; every number is checked before it is used.

        Raises
        ------
        ModelFileError
            If the arrays do not describe distinct ids of the kind named.
        """
        kind, n = meta.get("kind"), meta.get("n")
        try:
            if kind in ("str", "bytes"):
                # Copies, so that ids that outlive their model do not keep the whole file.
                packed = np.array(arrays["offsets"]), np.array(arrays["bytes"])
                if len(packed[0]) - 1 != n:
                    raise ValueError(f"{len(packed[0]) - 1} ids where {n} are announced")
                return cls._of_packed(packed, kind)
            array = array_of_state(arrays, kind)
            if len(array) != n:
                raise ValueError(f"{len(array)} ids where {n} are announced")
            return cls(array) if n else cls._unchecked(array, str(kind))
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"ids in the model file: {str(error).rstrip('.')}. The file is damaged; load another copy."
            ) from error


def as_id_array(values: ArrayLike | Iterable[Any], what: str = "ids") -> NDArray[Any]:
    """One-dimensional NumPy array of ids, of whatever holds them."""
    return values.values if isinstance(values, IdMap) else id_array(values, what)
