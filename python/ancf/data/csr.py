"""Compressed sparse rows: the two shapes in which a matrix of users and items is handed on.

``indptr[row]:indptr[row + 1]`` are the entries of a row, ascending by position and distinct. Both are tuples, which is
how the Rust core takes them.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import offsets_from_lengths


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

    def with_data(self, data: NDArray[np.float32]) -> "Csr":
        """Other numbers at the same places."""
        return Csr(self.indptr, self.indices, data)

    @classmethod
    def empty(cls, n_rows: int) -> Self:
        """A matrix without an entry."""
        return cls(np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
