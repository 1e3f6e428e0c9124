"""Columns of a raw table whose rows are on the disk: what is decided about a column is decided of its distinct values.

Ids, names and dates as text are judged by the functions for columns in memory, given each distinct value once. What
they note about values is turned into rows afterwards. Numbers and moments are converted a part at a time. The one thing
that rows decide together are times as numbers (their form is that of most rows): such a column is read as a whole.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data import timestamps
from ancf.data.arrow_batches import ArrowTable, SpilledCodes, SpilledNumbers
from ancf.data.columns import ignored_columns
from ancf.data.id_texts import IdRules
from ancf.data.raw_table import (
    MAX_UNPARSED_TEXTS,
    EncodedColumn,
    NumberColumn,
    RawTable,
    TimeColumn,
    Unparsed,
    encode_ids,
    encode_texts,
    parse_numbers,
    parse_times,
)
from ancf.data.report import Noted, RowSample
from ancf.data.spill import BYTES_AS_WHOLE, Budget, DiskArray, Rows, recode_rows
from ancf.data.timestamps import TimeOptions


def spilled_table(
    columns: dict[int, Any],
    source: ArrowTable,
    places: Mapping[str, int],
    n_rows: int,
    times: TimeOptions,
    id_rules: IdRules,
    budget: Budget,
) -> RawTable:
    """A raw table of columns by position, whose rows are on the disk but for pandas columns."""
    roles = {role: source.headings[at] for role, at in places.items()}
    table = RawTable(source.name, n_rows, roles, id_rules=id_rules)
    table.ignored = list(ignored_columns(source.headings, places.values()))
    for role, at in places.items():
        column: Any = columns.pop(at)
        if isinstance(column, SpilledNumbers) and role not in ("weight", "time"):
            budget.check(n_rows * BYTES_AS_WHOLE, f"the {role} column {roles[role]!r} of numbers is coded as a whole")
            column = column.part(0, n_rows)
        whole = isinstance(column, pd.Series)
        if role == "weight":
            table.weight = parse_numbers(column) if whole else spilled_numbers(column, table, budget)
        elif role == "time":
            parsed = parse_times(column, table, times) if whole else spilled_times(column, table, times, budget)
            table.time = on_disk(parsed) if whole else parsed
        elif role in ("name", "category", "event"):
            table.ids[role] = spill_codes(encode_texts(column)) if whole else spilled_texts(column, table, budget)
        else:
            table.ids[role] = (
                spill_codes(encode_ids(column, role, table)) if whole else spilled_ids(column, role, table, budget)
            )
    if table.time is None:
        times.refuse(source.name, "has no column of times")
    return table


def parts_of(n_rows: int, budget: Budget) -> Iterator[tuple[int, int]]:
    """Where parts of the rows begin and end."""
    for start in range(0, n_rows, budget.rows):
        yield start, min(start + budget.rows, n_rows)


class DistinctValues:
    """The distinct values of a column of codes that some row has, each as one row, and the way back to all rows."""

    def __init__(self, column: SpilledCodes, table: RawTable, budget: Budget) -> None:
        self.rows, self.budget, self.table = column.rows, budget, table
        n_values = len(column.values)
        counts = np.zeros(n_values + 1, np.int64)
        for start, stop in parts_of(table.n_rows, budget):
            codes = column.new_code[column.rows[start:stop]]
            counts += np.bincount(codes + 1, minlength=n_values + 1)
        used = counts[1:] > 0
        place = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
        self.values, self.counts = column.values[used], counts[1:][used]
        self.codes: Rows = recode_rows(column.rows, np.append(place, np.int32(-1))[column.new_code[:-1]])

    def series(self) -> "pd.Series[Any]":
        """The values as a column of one row each."""
        codes = np.arange(len(self.values), dtype=np.int32)
        return pd.Series(pd.Categorical.from_codes(codes, categories=self.values), copy=False)

    def in_order_of_rows(self) -> "pd.Series[Any]":
        """The same in the order in which they first occur."""
        first = np.full(len(self.values) + 1, self.table.n_rows, np.int64)
        for start, stop in parts_of(self.table.n_rows, self.budget):
            found, at = np.unique(self.codes[start:stop], return_index=True)
            first[found] = np.minimum(first[found], start + at)
        codes = np.argsort(first[:-1], kind="stable").astype(np.int32)
        return pd.Series(pd.Categorical.from_codes(codes, categories=self.values), copy=False)

    def shadow(self) -> RawTable:
        """A table in which each value is a row that stands for all that have it."""
        shadow = RawTable(self.table.source, len(self.values), self.table.columns, self.table.row_base)
        shadow.id_rules, shadow.row_counts = self.table.id_rules, self.counts
        return shadow

    def take_notes(self, shadow: RawTable) -> None:
        """The notes of the shadow as those of the table."""
        for name, text, noted in shadow.notes:
            self.table.notes.append((name, text, None if noted is None else self.rows_with(noted)))

    def rows_with(self, values: Noted) -> Noted:
        """The rows that have one of these values."""
        assert isinstance(values, np.ndarray)
        chosen = np.zeros(len(self.values) + 1, bool)
        chosen[values] = True
        return sample_rows(self.table.n_rows, self.budget, lambda start, stop: chosen[self.codes[start:stop]])


def sample_rows(n_rows: int, budget: Budget, which: Callable[[int, int], NDArray[np.bool_]]) -> RowSample:
    """How many rows are meant, and the first of them; ``which`` is the mask of a part."""
    found = RowSample(0, np.empty(0, np.int64))
    for start, stop in parts_of(n_rows, budget):
        found = found.joined(RowSample.of(np.flatnonzero(which(start, stop)) + start))
    return found


def spilled_ids(column: SpilledCodes, role: str, table: RawTable, budget: Budget) -> EncodedColumn:
    """``encode_ids`` of rows on the disk."""
    distinct = DistinctValues(column, table, budget)
    shadow = distinct.shadow()
    encoded = encode_ids(distinct.series(), role, shadow)
    distinct.take_notes(shadow)
    return EncodedColumn(recode_rows(distinct.codes, encoded.codes), encoded.values, encoded.ascending)


def spilled_texts(column: SpilledCodes, table: RawTable, budget: Budget) -> EncodedColumn:
    """``encode_texts`` of rows on the disk."""
    distinct = DistinctValues(column, table, budget)
    series = distinct.in_order_of_rows()
    encoded = encode_texts(series)
    new_code = np.full(len(distinct.values), -1, np.int32)
    new_code[np.asarray(series.cat.codes)] = encoded.codes
    return EncodedColumn(recode_rows(distinct.codes, new_code), encoded.values)


def spilled_numbers(column: "SpilledCodes | SpilledNumbers", table: RawTable, budget: Budget) -> NumberColumn:
    """``parse_numbers`` of rows on the disk."""
    values, rows, texts = DiskArray("f8"), [np.empty(0, np.int64)], list[str]()
    distinct = DistinctValues(column, table, budget) if isinstance(column, SpilledCodes) else None
    parsed = None if distinct is None else parse_numbers(distinct.series())
    words = [] if distinct is None else [*map(str, distinct.values), ""]
    for start, stop in parts_of(table.n_rows, budget):
        if distinct is None or parsed is None:
            part = parse_numbers(column.part(start, stop))  # type: ignore[union-attr]
            bad, shown = part.unparsed.rows, part.unparsed.texts
            values.append(part.values)
        else:
            codes = distinct.codes[start:stop]
            values.append(np.append(parsed.values, np.nan)[codes])
            is_bad = np.zeros(len(words), bool)
            is_bad[parsed.unparsed.rows] = True
            is_bad[-1] = True
            bad = np.flatnonzero(is_bad[codes])
            shown = [words[code] for code in codes[bad[:MAX_UNPARSED_TEXTS]].tolist()]
        rows.append(bad + start)
        texts += shown[: MAX_UNPARSED_TEXTS - len(texts)]
    return NumberColumn(values, Unparsed(np.concatenate(rows), texts))  # type: ignore[arg-type]


def spilled_times(
    column: "SpilledCodes | SpilledNumbers", table: RawTable, options: TimeOptions, budget: Budget
) -> TimeColumn:
    """``parse_times`` of rows on the disk."""
    if isinstance(column, SpilledNumbers):
        if column.rows.dtype.kind == "M":
            return _moments(column, table, options, budget)
        budget.check(table.n_rows * BYTES_AS_WHOLE, _whole(table))
        return on_disk(parse_times(column.part(0, table.n_rows), table, options))
    distinct = DistinctValues(column, table, budget)
    words = timestamps.texts_of(list(distinct.values))
    if not timestamps.are_dates(words):
        budget.check(table.n_rows * BYTES_AS_WHOLE, _whole(table))
        codes = distinct.codes[0 : table.n_rows]
        series = pd.Series(pd.Categorical.from_codes(codes, categories=distinct.values), copy=False)
        return on_disk(parse_times(series, table, options))
    return dates_of_texts(
        distinct, words, options, budget, parse=lambda shadow: parse_times(distinct.series(), shadow, options)
    )


def dates_of_texts(
    distinct: DistinctValues,
    words: list[str],
    options: TimeOptions,
    budget: Budget,
    parse: Callable[[RawTable], TimeColumn],
) -> TimeColumn:
    """Dates as text, of which each distinct one is read once."""
    table = distinct.table
    shadow = distinct.shadow()
    of_text = parse(shadow)
    distinct.take_notes(shadow)
    with_missing = np.append(of_text.seconds, timestamps.UNKNOWN)
    seconds, rows, texts = DiskArray("i8"), [np.empty(0, np.int64)], list[str]()
    for start, stop in parts_of(table.n_rows, budget):
        codes = distinct.codes[start:stop]
        part = with_missing[codes]
        seconds.append(part)
        bad = np.flatnonzero(part == timestamps.UNKNOWN)
        rows.append(bad + start)
        shown = [words[code] if code >= 0 else "" for code in codes[bad[: MAX_UNPARSED_TEXTS - len(texts)]].tolist()]
        texts += shown
    return TimeColumn(seconds, Unparsed(np.concatenate(rows), texts), options)  # type: ignore[arg-type]


def _moments(column: SpilledNumbers, table: RawTable, options: TimeOptions, budget: Budget) -> TimeColumn:
    seconds, rows = DiskArray("i8"), [np.empty(0, np.int64)]
    notes: dict[str, tuple[str, RowSample]] = {}
    for start, stop in parts_of(table.n_rows, budget):
        times = timestamps.read_column(column.part(start, stop), options, table.time_heading)
        seconds.append(times.seconds)
        rows.append(times.unknown() + start)
        add_notes(notes, times.notes, start)
    table.notes += [(name, text, noted) for name, (text, noted) in notes.items()]
    found = np.concatenate(rows)
    return TimeColumn(seconds, Unparsed(found, [""] * min(len(found), MAX_UNPARSED_TEXTS)), options)  # type: ignore[arg-type]


def add_notes(notes: dict[str, tuple[str, RowSample]], new: list[timestamps.TimeNote], start: int) -> None:
    """Add the notes about a part of the rows to those about the parts before it, whose words stay."""
    for note in new:
        assert note.rows is not None
        rows = RowSample.of(note.rows + start)
        text, before = notes.get(note.name, (note.text, RowSample(0, np.empty(0, np.int64))))
        notes[note.name] = (text, before.joined(rows))


def on_disk(column: TimeColumn) -> TimeColumn:
    """The same with its rows on the disk."""
    seconds = DiskArray("i8")
    seconds.append(column.seconds)
    return TimeColumn(seconds, column.unparsed, column.options)  # type: ignore[arg-type]


def spill_codes(column: EncodedColumn) -> EncodedColumn:
    """The same with its rows on the disk."""
    codes = DiskArray("i4")
    codes.append(column.codes)
    return EncodedColumn(codes, column.values, column.ascending)  # type: ignore[arg-type]


def _whole(table: RawTable) -> str:
    return f"{table.time_heading} holds numbers, whose form all rows decide together"
