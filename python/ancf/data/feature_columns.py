"""Columns of attributes, of four kinds.

A category is a code into few texts, a number is a float64 with NaN where it is missing, a text is what stands there,
and tags are a set of codes for each row, in compressed sparse form. All are read-only arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import object_array, offsets_from_lengths
from ancf.data.csr import ItemSets

Kind = Literal["category", "number", "text", "tags"]
KINDS: tuple[Kind, ...] = ("category", "number", "text", "tags")


def _frozen(*arrays: NDArray[Any]) -> None:
    for array in arrays:
        array.flags.writeable = False


@dataclass(frozen=True, eq=False)
class CategoryColumn:
    """One of few texts for each row."""

    kind: ClassVar[Kind] = "category"
    codes: NDArray[np.int32]
    """(n,), positions in ``values``; -1 where it is missing."""
    values: NDArray[Any]
    """The texts that occur, ascending."""

    def __post_init__(self) -> None:
        _frozen(self.codes, self.values)

    @classmethod
    def from_texts(cls, texts: Sequence[str | None]) -> Self:
        """Codes for texts; None is missing."""
        values = sorted({text for text in texts if text is not None})
        code: dict[str | None, int] = {None: -1, **{text: at for at, text in enumerate(values)}}
        return cls(np.fromiter((code[text] for text in texts), np.int32, len(texts)), object_array(values))

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have none (n,)."""
        return self.codes < 0

    def cells(self) -> list[Any]:
        """Text or None for each row."""
        cells: list[Any] = object_array([*self.values, None])[self.codes].tolist()
        return cells

    def take(self, rows: NDArray[np.int64]) -> "CategoryColumn":
        """Some rows, in their order; -1 is a row without a value."""
        return CategoryColumn(np.append(self.codes, np.int32(-1))[rows], self.values)


@dataclass(frozen=True, eq=False)
class NumericColumn:
    """A number for each row."""

    kind: ClassVar[Kind] = "number"
    numbers: NDArray[np.float64]
    """(n,), NaN where it is missing."""

    def __post_init__(self) -> None:
        _frozen(self.numbers)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have none (n,)."""
        return np.isnan(self.numbers)

    def cells(self) -> list[Any]:
        """Number or None for each row."""
        return [None if number != number else number for number in self.numbers.tolist()]

    def take(self, rows: NDArray[np.int64]) -> "NumericColumn":
        """Some rows, in their order; -1 is a row without a value."""
        return NumericColumn(np.append(self.numbers, np.nan)[rows])


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A text of its own for each row, such as a name or a description."""

    kind: ClassVar[Kind] = "text"
    texts: NDArray[Any]
    """(n,) of str, None where it is missing."""

    def __post_init__(self) -> None:
        _frozen(self.texts)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have none (n,)."""
        return np.array([text is None for text in self.texts], bool)

    def cells(self) -> list[Any]:
        """Text or None for each row."""
        return list(self.texts)

    def take(self, rows: NDArray[np.int64]) -> "TextColumn":
        """Some rows, in their order; -1 is a row without a value."""
        return TextColumn(np.append(self.texts, np.array([None], object))[rows])


@dataclass(frozen=True, eq=False)
class TagsColumn:
    """A set of texts for each row."""

    kind: ClassVar[Kind] = "tags"
    indptr: NDArray[np.int64]
    """(n + 1,)"""
    codes: NDArray[np.int32]
    """Positions in ``values``, rising within a row."""
    values: NDArray[Any]
    """The texts that occur, ascending."""

    def __post_init__(self) -> None:
        _frozen(self.indptr, self.codes, self.values)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[str] | None]) -> Self:
        """Codes for lists of texts; None and an empty list are missing."""
        values = sorted({text for each in lists for text in each or ()})
        code = {text: at for at, text in enumerate(values)}
        rows = [sorted({code[text] for text in each or ()}) for each in lists]
        codes = np.fromiter((at for row in rows for at in row), np.int32)
        return cls(offsets_from_lengths([len(row) for row in rows]), codes, object_array(values))

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have none (n,)."""
        return np.asarray(np.diff(self.indptr) == 0)

    def cells(self) -> list[Any]:
        """A list of texts, or None, for each row."""
        parts = np.split(self.values[self.codes], self.indptr[1:-1])
        return [part.tolist() or None for part in parts]

    def take(self, rows: NDArray[np.int64]) -> "TagsColumn":
        """Some rows, in their order; -1 is a row without a value."""
        padded = ItemSets(np.append(self.indptr, self.indptr[-1]), self.codes)
        some = padded.take(np.where(rows < 0, padded.n_rows - 1, rows))
        return TagsColumn(some.indptr, some.items, self.values)


FeatureColumn = CategoryColumn | NumericColumn | TextColumn | TagsColumn


def column_from_cells(kind: Kind, cells: Sequence[Any]) -> FeatureColumn:
    """A column of values as ``cells()`` gives them."""
    if kind == "category":
        return CategoryColumn.from_texts(cells)
    if kind == "number":
        return NumericColumn(np.array([np.nan if cell is None else cell for cell in cells], np.float64))
    return TextColumn(object_array(list(cells))) if kind == "text" else TagsColumn.from_lists(cells)
