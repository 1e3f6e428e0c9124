"""What was read, what was left out and why: the account of a purchase table, down to the last row.

Every row that was read is either *used* or stands under exactly one *reason*, with the numbers of the first rows:
``rows_read == rows_used + sum(reason.rows)``. *Notes* are decisions that lose no row (duplicates that were summed,
a guessed encoding); they do not take part in the sum.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_FIRST_ROWS = 5
"""Row numbers kept for each reason."""
_SINGULAR_VERBS = {
    "have": "has",
    "are": "is",
    "lie": "lies",
    "repeat": "repeats",
    "belong": "belongs",
    "stand": "stands",
    "begin": "begins",
}
_PRINT_WIDTH = 80
N_FILES_SHOWN = 40


@dataclass(frozen=True)
class RowSample:
    """How many rows are meant, and the first of them, where nobody needs them all."""

    n: int
    first: NDArray[np.int64]
    """At most ``N_FIRST_ROWS``, ascending."""

    @classmethod
    def of(cls, rows: "NDArray[Any] | RowSample") -> "RowSample":
        """Of row numbers in any order."""
        return rows if isinstance(rows, RowSample) else cls(len(rows), np.sort(rows)[:N_FIRST_ROWS].astype(np.int64))

    def __len__(self) -> int:
        return self.n

    def __add__(self, offset: Any) -> "RowSample":
        return RowSample(self.n, self.first + offset)

    def joined(self, other: "RowSample") -> "RowSample":
        """With other rows."""
        return RowSample(self.n + other.n, np.sort(np.concatenate([self.first, other.first]))[:N_FIRST_ROWS])


Noted = NDArray[Any] | RowSample
"""The rows of a note."""


@dataclass(frozen=True)
class Reason:
    """Why some rows were left out (or, as a note, what was decided about them)."""

    name: str
    """Short and fixed, for programs: ``"anonymous"``, ``"zero_quantity"``, …"""
    rows: int
    text: str
    """For people, without the number: ``"have no user id (anonymous)"``."""
    first_rows: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    """The texts of the first rows that could not be parsed; empty for other reasons."""
    first_files: tuple[str, ...] = ()
    """The file of each of the first rows, where the table came from several."""

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary of text, numbers and lists."""
        return {
            "name": self.name,
            "rows": self.rows,
            "text": self.text,
            "first_rows": list(self.first_rows),
            "values": list(self.values),
            **({"first_files": list(self.first_files)} if self.first_files else {}),
        }

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' if self.rows != 1 else ''} " if self.rows else ""
        where = self._where()
        what = ", ".join(f'"{value}"' for value in self.values)
        shown = ": ".join(part for part in (where, what) if part)
        text = self.text
        if self.rows == 1:
            verb, _, rest = text.partition(" ")
            text = f"{_SINGULAR_VERBS.get(verb, verb)} {rest}"
        return f"{rows}{text}" + (f" ({shown})" if shown else "")

    def _where(self) -> str:
        """The first rows in words, by file where there are several."""
        groups: list[tuple[str, list[int]]] = []
        for file, row in zip(self.first_files or ("",) * len(self.first_rows), self.first_rows, strict=True):
            if not groups or groups[-1][0] != file:
                groups.append((file, []))
            groups[-1][1].append(row)
        more = self.rows > len(self.first_rows)
        parts = []
        for at, (file, rows) in enumerate(groups, 1):
            is_one = len(rows) == 1 and not (more and at == len(groups))
            parts.append(f"{file} row{'' if is_one else 's'} {', '.join(map(str, rows))}".lstrip())
        return ", ".join(parts) + (", …" if more and parts else "")


@dataclass
class FileAccount:
    """One of several files that were read as one table."""

    name: str
    rows_read: int
    rows_used: int
    row_base: int = 0
    """The number of its first data row."""


@dataclass
class Report:
    """How many rows of a table were used, and what happened to the others.

    Attributes
    ----------
    source : str
        Where the table came from.
    columns : dict
        Role (``user``, ``item``, ``weight``, ``time``, …) → name of the column.
    ignored : tuple of str
        The columns, levels of the index and levels of the headings that are in no role.
    rows_read, rows_used : int
    reasons : list of Reason
        What was left out; the rows add up to ``rows_read - rows_used``.
    notes : list of Reason
        Decisions that lost no row.
    row_base : int
        Number of the first data row: 2 for a file with a header (as a spreadsheet counts), 0 for tables in memory.
    summary : dict
        What came out: the numbers of users, items and events, and the first and last time.
    files : list of FileAccount
        Where several files were read as one table, the rows of each.
    """

    source: str = "arrays"
    columns: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    rows_read: int = 0
    rows_used: int = 0
    reasons: list[Reason] = field(default_factory=list)
    notes: list[Reason] = field(default_factory=list)
    row_base: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[FileAccount] = field(default_factory=list)

    @property
    def rows_left_out(self) -> int:
        return sum(reason.rows for reason in self.reasons)

    def leave_out(self, name: str, text: str, rows: NDArray[Any], values: Iterable[str] = ()) -> None:
        """Count rows (their indices from 0) under a reason, more of them where it is there already; nothing happens
        when there are none."""
        if len(rows):
            self._add(self.reasons, self._reason(name, text, rows, values))

    def note(self, name: str, text: str, rows: Noted | None = None, values: Iterable[str] = ()) -> None:
        """Keep a decision that loses no row; one about rows counts more of them where it is there already."""
        if rows is None:
            self.notes.append(Reason(name, 0, text, (), tuple(values)))
        elif len(rows):
            self._add(self.notes, self._reason(name, text, rows, values))

    def _add(self, listed: list[Reason], new: Reason) -> None:
        """Add a reason to a list, or its rows to the same one there. Parts that have values come in their order."""
        at = next((at for at, old in enumerate(listed) if (old.name, old.text) == (new.name, new.text)), None)
        if at is None:
            listed.append(new)
            return
        old, order = listed[at], {file.name: place for place, file in enumerate(self.files)}
        if self.files:
            files, rows = old.first_files + new.first_files, old.first_rows + new.first_rows
            first = sorted(zip(files, rows, strict=True), key=lambda each: (order[each[0]], each[1]))[:N_FIRST_ROWS]
            first_files, first_rows = tuple(file for file, _ in first), tuple(row for _, row in first)
        else:
            first_files, first_rows = (), tuple(sorted(old.first_rows + new.first_rows)[:N_FIRST_ROWS])
        values = old.values + new.values[: N_FIRST_ROWS - len(old.first_rows)]
        listed[at] = Reason(new.name, old.rows + new.rows, new.text, first_rows, values, first_files)

    def _reason(self, name: str, text: str, rows: Noted, values: Iterable[str]) -> Reason:
        if isinstance(rows, RowSample):
            return self._of_first(name, text, rows.n, rows.first, values)
        smallest = (
            np.sort(rows)[:N_FIRST_ROWS]
            if len(rows) < 100_000
            else np.sort(np.partition(rows, N_FIRST_ROWS)[:N_FIRST_ROWS])
        )
        return self._of_first(name, text, len(rows), smallest, values)

    def _of_first(self, name: str, text: str, n: int, smallest: NDArray[Any], values: Iterable[str]) -> Reason:
        """A reason for ``n`` rows, of which these are the first (their indices from 0, ascending)."""
        if not self.files:
            return Reason(name, n, text, tuple(int(row) + self.row_base for row in smallest), tuple(values))
        at = self._file_of(smallest)
        first = tuple(
            int(row - start) + self.files[file].row_base
            for row, start, file in zip(smallest, self.file_starts()[at], at, strict=True)
        )
        return Reason(name, n, text, first, tuple(values), tuple(self.files[file].name for file in at))

    def file_starts(self) -> NDArray[np.int64]:
        """The first row (from 0, of all) of each file, and the number of all rows."""
        return np.concatenate([[0], np.cumsum([file.rows_read for file in self.files])]).astype(np.int64)

    def _file_of(self, rows: NDArray[Any]) -> NDArray[np.intp]:
        return np.searchsorted(self.file_starts(), rows, side="right") - 1

    def count_used(self, rows: NDArray[Any] | None) -> None:
        """Count rows as used, and in their files: these (indices from 0, ascending), or all."""
        self.rows_used += self.rows_read if rows is None else len(rows)
        used = [file.rows_read for file in self.files]
        if rows is not None and self.files:
            used = np.diff(np.searchsorted(rows, self.file_starts())).tolist()
        for file, number in zip(self.files, used, strict=True):
            file.rows_used += number

    def notes_of(self, name: str) -> list[Reason]:
        """The notes of a name."""
        return [each for each in self.notes if each.name == name]

    def count(self, name: str) -> int:
        """Rows under a reason or a note, 0 where it did not occur."""
        return sum(each.rows for each in (*self.reasons, *self.notes) if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Everything in this report as dictionaries, lists, text and numbers: what ``ancf describe`` writes as JSON.

        Examples
        --------
        >>> Report("shop.csv", {"user": "customer"}, ("price",), 3, 3).to_dict()["ignored"]
        ['price']
        """
        return {
            "source": self.source,
            "columns": dict(self.columns),
            "ignored": list(self.ignored),
            "rows_read": self.rows_read,
            "rows_used": self.rows_used,
            "files": [{"name": e.name, "rows_read": e.rows_read, "rows_used": e.rows_used} for e in self.files],
            "reasons": [each.to_dict() for each in self.reasons],
            "notes": [each.to_dict() for each in self.notes],
            "summary": dict(self.summary),
        }

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.rows_read:,} rows read, {self.rows_used:,} used"]
        for file in self.files[:N_FILES_SHOWN]:
            lines.append(f"  {file.name}: {file.rows_read:,} rows read, {file.rows_used:,} used")
        if len(self.files) > N_FILES_SHOWN:
            lines.append(f"  … and {len(self.files) - N_FILES_SHOWN:,} more files")
        if self.columns:
            lines.append("  columns: " + ", ".join(f"{role} = {name}" for role, name in self.columns.items()))
        if self.ignored:
            lines.append("  ignored: " + ", ".join(self.ignored))
        if self.summary:
            lines.append(
                "  "
                + ", ".join(
                    _pluralize(value, name) if isinstance(value, int) else f"{name} {value}"
                    for name, value in self.summary.items()
                )
            )
        if self.reasons:
            lines.append(f"  left out: {self.rows_left_out:,}")
            lines += [f"    {reason}" for reason in self.reasons]
        if self.notes:
            lines.append("  noted:")
            lines += [f"    {note}" for note in self.notes]
        return "\n".join([lines[0], *map(_wrapped, lines[1:])])


def _wrapped(line: str) -> str:
    """A line with what goes beyond the width indented below it; words (and paths) stay whole."""
    margin = " " * (len(line) - len(line.lstrip()) + 4)
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    return "\n".join(textwrap.wrap(line, _PRINT_WIDTH, subsequent_indent=margin, **options)) or line


def _pluralize(number: int, things: str) -> str:
    """The number and what is counted, without its plural s for one."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"
