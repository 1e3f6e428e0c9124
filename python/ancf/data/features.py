"""``Features``: attributes of items or users, one row for each id, in columns of four kinds (``feature_columns.py``).

A model file holds all columns of a kind as one array, so that a table with many columns needs few tensors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import object_array, offsets_from_lengths
from ancf.data.columns import KNOWN_HEADINGS, normalize_heading
from ancf.data.csr import ItemSets
from ancf.data.feature_columns import (
    KINDS,
    CategoryColumn,
    FeatureColumn,
    NumericColumn,
    TagsColumn,
    TextColumn,
    column_from_cells,
)
from ancf.data.ids import IdMap
from ancf.data.packed_text import pack_optional_texts, pack_texts, unpack_optional_texts, unpack_texts
from ancf.data.report import Reason
from ancf.errors import InvalidDataError, InvalidParameterError


@dataclass
class FeatureReport:
    """What became of the rows of a table of attributes.

    Attributes
    ----------
    source : str
    id_column : str
    rows_read, rows_used : int
    reasons : list of Reason
        What was left out; the rows add up to ``rows_read - rows_used``.
    notes : list of Reason
        Decisions that lost no row.
    ignored : tuple of str
        Columns that hold nothing.
    """

    source: str = "arrays"
    id_column: str = ""
    rows_read: int = 0
    rows_used: int = 0
    reasons: list[Reason] = field(default_factory=list)
    notes: list[Reason] = field(default_factory=list)
    ignored: tuple[str, ...] = ()


class Features(Mapping[str, FeatureColumn]):
    """Attributes by id; a mapping from the name of a column to the column.

    Made by ``ancf.read_features``. A column is a ``CategoryColumn`` (``codes``, ``values``), ``NumericColumn``
    (``numbers``), ``TextColumn`` (``texts``) or ``TagsColumn`` (``indptr``, ``codes``, ``values``), told by ``kind``.

    Attributes
    ----------
    ids : IdMap
        Whose attributes the rows are.
    report : FeatureReport

    Examples
    --------
    >>> import ancf
    >>> features = ancf.read_features({"item_id": ["tea", "cup"], "price": [3.5, None], "color": ["green", "white"]})
    >>> features
    Features(2 rows: price (number, 1 missing), color (category, 2 values))
    >>> features["color"].values.tolist(), features["price"].numbers.tolist()
    (['green', 'white'], [nan, 3.5])
    >>> features.ids.values.tolist()
    ['cup', 'tea']
    """

    def __init__(self, ids: IdMap, columns: Mapping[str, FeatureColumn], report: FeatureReport | None = None) -> None:
        self.ids, self._columns = ids, dict(columns)
        self.report = FeatureReport(rows_read=len(ids), rows_used=len(ids)) if report is None else report

    def __getitem__(self, name: str) -> FeatureColumn:
        found = self._columns.get(name)
        if found is None:
            found = self._columns.get(self.name_of(name))
        assert found is not None
        return found

    def name_of(self, name: Any) -> str:
        """A column's name as it stands in the table; case, spaces and punctuation do not count.

        Raises
        ------
        InvalidParameterError
            If there is no such column; also a ``KeyError``. Lists those that there are, and the nearest.
        """
        if name in self._columns:
            return str(name)
        same = [each for each in self._columns if normalize_heading(each) == normalize_heading(name)]
        if len(same) == 1:
            return same[0]
        near = get_close_matches(str(name), list(self._columns), 1, 0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise _NoSuchColumnError(
            f"there is no attribute {name!r}; there are {', '.join(map(repr, self._columns)) or 'none'}.{hint}"
        )

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def n_rows(self) -> int:
        """The number of ids."""
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Features({self.n_rows:,} row{'' if self.n_rows == 1 else 's'}: {self.describe()})"

    def describe(self) -> str:
        """The columns in words: kinds, numbers of values, and how many rows have none."""
        parts = []
        for name, column in self._columns.items():
            about = [str(column.kind)]
            if isinstance(column, (CategoryColumn, TagsColumn)):
                about.append(f"{len(column.values):,} value{'' if len(column.values) == 1 else 's'}")
            n_missing = int(column.missing.sum())
            about += [f"{n_missing:,} missing"] if n_missing else []
            parts.append(f"{name} ({', '.join(about)})")
        return ", ".join(parts) or "no columns"

    def of(self, ids: IdMap) -> "Features":
        """The rows of these ids, in their order; an id without a row has nothing but missing values.

        Parameters
        ----------
        ids : IdMap

        Returns
        -------
        Features

        Examples
        --------
        >>> import ancf
        >>> features = ancf.read_features({"item_id": ["tea", "cup"], "price": [3.5, 2]})
        >>> features.of(ancf.IdMap(["pot", "tea"]))["price"].numbers.tolist()
        [nan, 3.5]
        """
        if ids is self.ids:
            return self
        rows = self.ids.positions(ids.values)
        return Features(ids, {name: column.take(rows) for name, column in self._columns.items()}, self.report)

    def column_of(self, role: Literal["name", "category"]) -> str | None:
        """The column that holds names or categories, recognized by its heading; None where there is none."""
        kinds = ("text", "category") if role == "name" else ("category", "text", "tags")
        by_heading = {normalize_heading(name): name for name in reversed(self._columns)}
        found = next((by_heading[each] for each in KNOWN_HEADINGS[role] if each in by_heading), None)
        return found if found is not None and self._columns[found].kind in kinds else None

    def with_texts(self, role: Literal["name", "category"], texts: NDArray[Any] | None) -> "Features":
        """With names or categories of a purchase table (one text or None for each row) as a column, or as what is
        missing in the column that holds them."""
        if texts is None or all(text is None for text in texts):
            return self
        heading = self.column_of(role)
        given = texts.tolist()
        made: FeatureColumn
        if heading is None:
            heading = role if role not in self._columns else f"{role} (purchases)"
            made = TextColumn(object_array(given)) if role == "name" else CategoryColumn.from_texts(given)
        else:
            column = self._columns[heading]
            if column.kind == "tags" or not column.missing.any():
                return self
            filled = [other if own is None else own for own, other in zip(column.cells(), given, strict=True)]
            made = TextColumn(object_array(filled)) if column.kind == "text" else CategoryColumn.from_texts(filled)
        return Features(self.ids, {**self._columns, heading: made}, self.report)

    def texts_of(self, role: Literal["name", "category"]) -> NDArray[Any] | None:
        """Names or categories, one text or None for each row; None where no column holds them."""
        heading = self.column_of(role)
        if heading is None:
            return None
        cells = self._columns[heading].cells()
        return object_array([", ".join(cell) if isinstance(cell, list) else cell for cell in cells])

    def updated(self, newer: "Features") -> "Features":
        """With the rows of another table, which take the place of those of the same ids in the columns that it has.

        Raises
        ------
        InvalidDataError
            If ids or a column are of another kind.
        """
        if newer is self:
            return self
        if self.ids.kind != newer.ids.kind and len(self.ids) and len(newer.ids):
            raise InvalidDataError(
                f"attributes: the ids of {newer.report.source} are of kind {newer.ids.kind!r} where those that are "
                f"known are of kind {self.ids.kind!r}. Give both as the same kind."
            )
        ids, _ = IdMap.factorize(np.concatenate([self.ids.values, newer.ids.values]))
        own, other = self.of(ids), newer.of(ids)
        is_newer = newer.ids.positions(ids.values) >= 0
        columns: dict[str, FeatureColumn] = dict(own._columns)
        for name, column in other._columns.items():
            known = columns.get(name)
            if known is None:
                columns[name] = column
                continue
            kinds = {known.kind, column.kind}
            if len(kinds) > 1 and kinds != {"category", "text"}:
                raise InvalidDataError(
                    f"attributes: {name!r} is of kind {column.kind!r} in {newer.report.source} and {known.kind!r} in "
                    f"{self.report.source}. Say which it is: ancf.read_features(table, kinds={{{name!r}: "
                    f"{known.kind!r}}})."
                )
            cells = [
                new if is_new else old
                for is_new, new, old in zip(is_newer.tolist(), column.cells(), known.cells(), strict=True)
            ]
            columns[name] = column_from_cells(known.kind, cells)
        return Features(ids, columns, newer.report)

    # ---- the model file

    def state(self, prefix: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and a small dictionary from which ``from_state`` makes the same; names of arrays begin with
        ``prefix``."""
        arrays, about = self.ids.state()
        found = {f"{prefix}.ids.{name}": part for name, part in arrays.items()}
        by_kind: dict[str, list[Any]] = {kind: [] for kind in KINDS}
        for column in self._columns.values():
            by_kind[column.kind].append(column)
        n = self.n_rows
        if by_kind["category"]:
            found[f"{prefix}.categories"] = np.stack([column.codes for column in by_kind["category"]])
        if by_kind["number"]:
            found[f"{prefix}.numbers"] = np.stack([column.numbers for column in by_kind["number"]])
        if by_kind["text"]:
            packed = pack_optional_texts(text for column in by_kind["text"] for text in column.texts)
            found[f"{prefix}.texts.offsets"], found[f"{prefix}.texts.bytes"] = packed
        if by_kind["tags"]:
            lengths = np.concatenate([np.diff(column.indptr) for column in by_kind["tags"]])
            found[f"{prefix}.tags.indptr"] = offsets_from_lengths(lengths)
            found[f"{prefix}.tags.codes"] = np.concatenate([column.codes for column in by_kind["tags"]])
        coded = [column for column in self._columns.values() if isinstance(column, (CategoryColumn, TagsColumn))]
        if coded:
            packed = pack_texts(text for column in coded for text in column.values)
            found[f"{prefix}.values.offsets"], found[f"{prefix}.values.bytes"] = packed
        columns = [
            {"name": name, "kind": column.kind}
            | ({"values": len(column.values)} if isinstance(column, (CategoryColumn, TagsColumn)) else {})
            for name, column in self._columns.items()
        ]
        return found, {"ids": about, "rows": n, "columns": columns, "source": self.report.source}

    @classmethod
    def from_state(cls, prefix: str, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> "Features":
        """What ``state`` described, every number checked.

        Raises
        ------
        KeyError, ValueError, TypeError, ModelFileError
            If a part is missing or does not fit.
        """
        start = f"{prefix}.ids."
        ids = IdMap.from_state(
            {name.removeprefix(start): part for name, part in arrays.items() if name.startswith(start)}, about["ids"]
        )
        n, listed = len(ids), list(about["columns"])
        kinds = [each["kind"] for each in listed]
        if set(kinds) - set(KINDS) or len({each["name"] for each in listed}) != len(listed):
            raise ValueError("its attributes are of kinds that are unknown, or two have one name")
        n_of = {kind: kinds.count(kind) for kind in KINDS}

        def part(name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
            array = arrays[f"{prefix}.{name}"]
            if array.dtype != dtype or (shape is not None and array.shape != shape):
                raise ValueError(f"the array {prefix}.{name} is of another type or shape")
            return array

        values: list[str] = []
        if n_of["category"] or n_of["tags"]:
            values = unpack_texts(
                part("values.offsets", np.int64), part("values.bytes", np.uint8), "values of attributes"
            )
        codes = part("categories", np.int32, (n_of["category"], n)) if n_of["category"] else None
        numbers = part("numbers", np.float64, (n_of["number"], n)) if n_of["number"] else None
        texts = tag_sets = None
        if n_of["text"]:
            texts = unpack_optional_texts(
                part("texts.offsets", np.int64), part("texts.bytes", np.uint8), "texts of attributes"
            )
            if len(texts) != n_of["text"] * n:
                raise ValueError("there are more or fewer texts than rows of attributes")
        if n_of["tags"]:
            tag_sets = ItemSets(part("tags.indptr", np.int64, (n_of["tags"] * n + 1,)), part("tags.codes", np.int32))
            _check_offsets(tag_sets)
        at = dict.fromkeys(KINDS, 0)
        value_at, columns = 0, {}
        for each in listed:
            kind, place = each["kind"], at[each["kind"]]
            at[kind] += 1
            own: NDArray[Any] = np.empty(0, object)
            if kind in ("category", "tags"):
                own = object_array(values[value_at : value_at + int(each["values"])])
                value_at += int(each["values"])
            column: FeatureColumn
            if codes is not None and kind == "category":
                column = CategoryColumn(_within(codes[place], -1, len(own)), own)
            elif numbers is not None and kind == "number":
                if np.isinf(numbers[place]).any():
                    raise ValueError("an attribute is infinite")
                column = NumericColumn(numbers[place].copy())
            elif texts is not None and kind == "text":
                column = TextColumn(texts[place * n : (place + 1) * n].copy())
            else:
                assert tag_sets is not None
                rows = tag_sets.take(np.arange(place * n, (place + 1) * n))
                column = TagsColumn(rows.indptr, _within(rows.items, 0, len(own)), own)
            columns[str(each["name"])] = column
        if value_at != len(values):
            raise ValueError("there are more or fewer values of attributes than its columns say")
        return cls(ids, columns, FeatureReport(str(about.get("source", "model")), "", n, n))


class _NoSuchColumnError(InvalidParameterError, KeyError):
    """An attribute that is not there."""

    __str__ = InvalidParameterError.__str__


def _within(codes: NDArray[np.int32], least: int, n: int) -> NDArray[np.int32]:
    if len(codes) and (codes.min() < least or codes.max() >= n):
        raise ValueError("an attribute has a value that is not there")
    return codes.copy()


def _check_offsets(sets: ItemSets) -> None:
    if sets.indptr[0] != 0 or sets.indptr[-1] != len(sets.items) or (np.diff(sets.indptr) < 0).any():
        raise ValueError("the offsets of tags do not fit")
    rising = np.diff(sets.items) > 0
    rising[sets.indptr[1:-1][(sets.indptr[1:-1] > 0) & (sets.indptr[1:-1] < len(sets.items))] - 1] = True
    if not rising.all():
        raise ValueError("the tags of a row do not rise")
