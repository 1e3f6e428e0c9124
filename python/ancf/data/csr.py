"""Compressed sparse rows: the two shapes in which a matrix of users and items is handed on.

``indptr[row]:indptr[row + 1]`` are the entries of a row, ascending by position and distinct. Both are tuples, which is
how the Rust core takes them.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths


def places_of_rows(indptr: NDArray[np.int64], rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where the entries of these rows are."""
    return _lengths_and_places(indptr, rows)[1]


def _lengths_and_places(
    indptr: NDArray[np.int64], rows: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many entries each of these rows has, and where the entries are."""
    lengths = np.diff(indptr)[rows]
    starts = offsets_from_lengths(lengths)
    return lengths, np.repeat(indptr[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])


class ItemSets(NamedTuple):
    """A set of items for each row, without numbers: what each user has had, or may be shown."""

    indptr: NDArray[np.int64]
    """(n_rows + 1,)"""
    items: NDArray[np.int32]

    @property
    def n_rows(self) -> int:
        """The number of sets."""
        return len(self.indptr) - 1

    def row(self, row: int) -> NDArray[np.int32]:
        """One set."""
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    def take(self, rows: NDArray[np.integer[Any]]) -> Self:
        """The sets of some rows, in their order.

        Examples
        --------
        >>> sets = ItemSets(np.array([0, 2, 3]), np.array([1, 4, 0], np.int32))
        >>> sets.take(np.array([1, 0])).items.tolist()
        [0, 1, 4]
        """
        lengths, places = _lengths_and_places(self.indptr, rows)
        return type(self)(offsets_from_lengths(lengths), self.items[places])

    def keep(self, kept: NDArray[np.bool_]) -> "ItemSets":
        """The entries chosen by a mask.

        Examples
        --------
        >>> sets = ItemSets(np.array([0, 2, 3]), np.array([1, 4, 0], np.int32))
        >>> sets.keep(np.array([False, True, True]))
        ItemSets(indptr=array([0, 1, 2]), items=array([4, 0], dtype=int32))
        """
        row = np.repeat(np.arange(self.n_rows), np.diff(self.indptr))
        return ItemSets(offsets_from_lengths(np.bincount(row[kept], minlength=self.n_rows)), self.items[kept])

    def union(self, other: "ItemSets") -> "ItemSets":
        """Row by row what either set holds.

        Examples
        --------
        >>> one = ItemSets(np.array([0, 2, 2]), np.array([1, 4], np.int32))
        >>> other = ItemSets(np.array([0, 1, 2]), np.array([4, 0], np.int32))
        >>> one.union(other)
        ItemSets(indptr=array([0, 2, 3]), items=array([1, 4, 0], dtype=int32))
        """
        return ItemSets(*_native.union_of_sets(self, other))

    @classmethod
    def from_rows(cls, rows: list[NDArray[np.int32]]) -> Self:
        """One set for each array of rising positions."""
        items = np.concatenate(rows).astype(np.int32, copy=False) if rows else np.empty(0, np.int32)
        return cls(offsets_from_lengths([len(row) for row in rows]), items)


class Csr(NamedTuple):
    """A sparse matrix: interactions of users with items, histories with weights, item-item weights."""

    indptr: NDArray[np.int64]
    """(n_rows + 1,)"""
    indices: NDArray[np.int32]
    data: NDArray[np.float32]

    @property
    def n_rows(self) -> int:
        """The number of rows, empty ones included."""
        return len(self.indptr) - 1

    @property
    def sets(self) -> ItemSets:
        """The pattern without the data."""
        return ItemSets(self.indptr, self.indices)

    def row(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The indices and the data of one row."""
        part = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        return self.indices[part], self.data[part]

    def take(self, rows: NDArray[np.integer[Any]]) -> "Csr":
        """Some rows, in their order."""
        lengths, places = _lengths_and_places(self.indptr, rows)
        return Csr(offsets_from_lengths(lengths), self.indices[places], self.data[places])

    def with_data(self, data: NDArray[np.float32]) -> "Csr":
        """Other numbers at the same places."""
        return Csr(self.indptr, self.indices, data)

    @classmethod
    def empty(cls, n_rows: int) -> Self:
        """A matrix without an entry."""
        return cls(np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
