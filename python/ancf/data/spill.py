"""Rows on the disk, and how much memory the work on them may take.

All files are temporary and have no name, so whatever ends the process (an error, Ctrl-C, a kill) ends them, too. They
lie where Python's ``tempfile`` puts them, which ``TMPDIR`` chooses; on a disk in memory they would save nothing.
"""

import mmap
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._text import format_value
from ancf.errors import InvalidDataError, InvalidParameterError

BYTES_PER_ROW = 352
"""Of the rows in memory: their columns, their copies in order, and what sorting them takes."""

BYTES_AS_WHOLE = 40
"""A row of a column that is converted as a whole."""

FIXED_BYTES = 48_000_000
"""Blocks of text, batches of Arrow and what its library takes, whatever the table."""

LEAST_BYTES = 64_000_000
"""The least that a budget may be."""

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*")


def check_memory(max_memory: Any) -> "Budget | None":
    """The budget that a caller gave as bytes or as text.

    Raises
    ------
    InvalidParameterError
        If it is no size, or too small for anything.

    Examples
    --------
    >>> check_memory("1.5GB").n_bytes, check_memory(None)
    (1500000000, None)
    """
    if max_memory is None:
        return None
    n_bytes = -1.0
    if isinstance(max_memory, str):
        match = _SIZE.fullmatch(max_memory)
        if match and match[2].upper() in _UNITS:
            n_bytes = float(match[1]) * _UNITS[match[2].upper()]
    elif isinstance(max_memory, (int, np.integer)) and not isinstance(max_memory, bool):
        n_bytes = float(max_memory)
    if n_bytes < 0:
        raise InvalidParameterError(
            f"max_memory={format_value(max_memory)}: give a size such as '2GB' or '500MB', or a number of bytes."
        )
    if n_bytes < LEAST_BYTES:
        raise InvalidParameterError(
            f"max_memory={max_memory!r} is less than reading takes at all. Give at least '{size_text(LEAST_BYTES)}'."
        )
    return Budget(int(n_bytes), str(max_memory))


def size_text(n_bytes: float) -> str:
    """A number of bytes as ``max_memory`` takes it, rounded up.

    Examples
    --------
    >>> size_text(64_000_000), size_text(1_234_567_890)
    ('64MB', '1.3GB')
    """
    if n_bytes < 10**9:
        return f"{-(-int(n_bytes) // 10**6)}MB"
    return f"{-(-int(n_bytes) // 10**8) / 10:g}GB"


@dataclass
class Budget:
    """How much memory may be used, and what of it is taken by what is held whole."""

    n_bytes: int
    given: str
    held: int = 0
    """Distinct ids, names and other texts"""

    def hold(self, what: str, *values: NDArray[Any]) -> None:
        """Count distinct values, which are in memory as long as the table is.

        Raises
        ------
        InvalidDataError
            If they alone do not fit.
        """
        self.check_values(what, *values)
        self.held += sum(map(_held_bytes, values))

    def check_values(self, what: str, *values: NDArray[Any]) -> None:
        """Refuse distinct values that do not fit beside what is held."""
        needed = sum(map(_held_bytes, values))
        self.check(needed + FIXED_BYTES // 8, f"the distinct {what} take {size_text(needed)}")

    def check(self, needed: float, why: str) -> None:
        """Refuse what does not fit beside what is held."""
        needed += self.held + FIXED_BYTES
        if needed > self.n_bytes:
            raise InvalidDataError(
                f"max_memory={self.given!r} cannot be kept: {why}. Give at least "
                f"max_memory='{size_text(needed)}', or leave it out."
            )

    @property
    def rows(self) -> int:
        """How many rows may be in memory at a time."""
        return max((self.n_bytes - self.held - FIXED_BYTES) // BYTES_PER_ROW, 1)


def _held_bytes(values: NDArray[Any]) -> int:
    """What distinct values take, with the look-up from a value to its position."""
    if values.dtype != object:
        return 3 * values.nbytes
    some = values[:: max(len(values) // 1000, 1)].tolist()
    each = sum(map(_object_bytes, some)) / max(len(some), 1)
    return int(len(values) * (each + 3 * 8))


def _object_bytes(value: Any) -> int:
    return int(value.__sizeof__())


class DiskArray:
    """A column of rows on the disk that grows at its end; a slice of it is an array in memory."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.length = np.dtype(dtype), 0
        # It stays open as long as anybody can read it; without a name it is gone with its last reader.
        self._file = tempfile.TemporaryFile(prefix="ancf-")  # noqa: SIM115

    def append(self, values: NDArray[Any]) -> None:
        """Write values at the end."""
        values = np.ascontiguousarray(values, self.dtype)
        self._file.write(values.view(np.uint8).data if len(values) else b"")
        self.length += len(values)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)  # there is none where the disk is full
        if file is not None:
            file.close()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, step = rows.indices(self.length)
        assert step == 1
        return self.read(start, max(stop - start, 0))

    def read(self, start: int, n: int) -> NDArray[Any]:
        """``n`` values from ``start`` on, wherever the array ends."""
        self._file.flush()
        found = np.empty(n, self.dtype)
        self._file.seek(start * self.dtype.itemsize)
        n_read = self._file.readinto(found.view(np.uint8).data) if n else 0
        self._file.seek(0, 2)
        assert n_read == found.nbytes
        return found

    def replace(self, start: int, values: NDArray[Any]) -> None:
        """Write values at ``start``, over those that are there or beyond the end."""
        self._file.flush()
        self._file.seek(start * self.dtype.itemsize)
        self._file.write(np.ascontiguousarray(values, self.dtype).view(np.uint8).data)
        self._file.seek(0, 2)

    def mapped(self) -> NDArray[Any]:
        """All values, read from the disk where they are used."""
        self._file.flush()
        if not self.length:
            return np.empty(0, self.dtype)
        return np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ), self.dtype)


Rows = Any
"""An array, or whatever else has a length and gives an array for a slice: ``DiskArray``, ``Converted``, ``Joined``."""


@dataclass
class Converted:
    """Another column, each part of it converted as it is read."""

    rows: Rows
    convert: Callable[[NDArray[Any]], NDArray[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self.convert(self.rows[rows])


class Joined:
    """Several columns, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(len(self))
        found = [
            part[max(start - first, 0) : stop - first]
            for part, first in zip(self.parts, self.starts.tolist(), strict=False)
            if first < stop and first + len(part) > start
        ]
        return np.concatenate(found) if found else self.parts[0][0:0]


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Columns one after the other: in memory if all of them are."""
    return np.concatenate(parts) if all(isinstance(part, np.ndarray) for part in parts) else Joined(parts)


def recode_rows(rows: Rows, new_code: NDArray[np.int32]) -> Rows:
    """The new code of each code; missing values (-1) stay missing."""
    with_missing = np.append(new_code, np.int32(-1))
    return with_missing[rows] if isinstance(rows, np.ndarray) else Converted(rows, with_missing.__getitem__)
