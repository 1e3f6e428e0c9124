"""``scan_text`` for more rows than memory holds: the scanner's rows go to the disk segment by segment.

A segment is scanned, relieved of what is no row (comments, repeated headers) and written, its texts by their codes
among the texts of all segments. What is decided of a column is decided when all are there (``spilled_columns.py``).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data import timestamps
from ancf.data.arrays import object_array
from ancf.data.arrow_batches import SpilledCodes
from ancf.data.columns import ColumnChoice, ignored_columns
from ancf.data.id_texts import IdRules
from ancf.data.raw_table import (
    MAX_UNPARSED_TEXTS,
    EncodedColumn,
    LeftOut,
    NumberColumn,
    RawTable,
    TimeColumn,
    Unparsed,
    encode_text_ids,
    merge_codes,
)
from ancf.data.report import RowSample
from ancf.data.spill import BYTES_AS_WHOLE, Budget, DiskArray, recode_rows
from ancf.data.spilled_columns import DistinctValues, add_notes, dates_of_texts, on_disk, parts_of
from ancf.data.text_file import TextFile
from ancf.data.text_scan import (
    NOT_UTF8,
    NUMBER,
    TEXT,
    TIMESTAMP,
    ZERO_BYTES,
    ScannedColumn,
    ScanPlan,
    leave_out_no_rows,
    number_column,
    plan_scan,
    prefetch,
    read_time_column,
    scan_text,
    unclosed_quote,
)
from ancf.data.timestamps import TimeOptions
from ancf.errors import InvalidDataError


def scan_within(
    text: TextFile,
    chosen: Mapping[str, ColumnChoice],
    times: TimeOptions,
    id_rules: IdRules,
    budget: Budget,
    num_threads: int | None = None,
    may_be_empty: bool = False,
) -> RawTable:
    """What ``scan_text`` returns, its rows on the disk; raises what that raises."""
    plan = plan_scan(text, chosen, times, in_segments=True)
    if plan.repeated or "clock" in plan.places:
        table = scan_text(text, chosen, times, id_rules, num_threads, may_be_empty, plan)
        budget.check(table.n_rows * BYTES_AS_WHOLE, f"columns of {table.source} are compared or joined row by row")
        return table
    segments = _Segments(plan, budget)
    rows_scanned = 0
    try:
        for block in prefetch(plan.text.blocks):
            plan.scanner.feed(block, num_threads)
            if plan.scanner.rows >= budget.rows:
                segments.add(plan.scanner.take_rows(num_threads))
        rows_scanned = segments.n_lines + plan.scanner.rows
        segments.add(plan.scanner.finish(num_threads))
    except InvalidDataError as error:
        raise unclosed_quote(error, plan.text, max(rows_scanned, segments.n_lines + plan.scanner.rows)) from None
    return segments.table(times, id_rules, may_be_empty)


class _Texts:
    """Distinct texts of all segments, with codes in the order of their first segment."""

    def __init__(self) -> None:
        self.code_of: dict[str, int] = {}

    def codes(self, texts: list[str]) -> NDArray[np.int32]:
        """The code of each of these, and -1 at the end."""
        code_of = self.code_of
        new = dict.fromkeys(text for text in texts if text not in code_of)
        code_of.update(zip(new, range(len(code_of), len(code_of) + len(new)), strict=True))
        found = np.full(len(texts) + 1, -1, np.int32)
        found[:-1] = np.fromiter(map(code_of.__getitem__, texts), np.int32, len(texts))
        return found

    def ascending(self) -> tuple[list[str], NDArray[np.int32]]:
        """All of them in ascending order, and the place of each code in it; -1 at the end."""
        texts = sorted(self.code_of)
        rank = np.full(len(texts) + 1, -1, np.int32)
        rank[[self.code_of[text] for text in texts]] = np.arange(len(texts), dtype=np.int32)
        return texts, rank


class _Column:
    """A column that grows by segments: rows on the disk, and beside them the rows that could not be parsed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows = DiskArray({TEXT: "i4", NUMBER: "f8", TIMESTAMP: "i8"}[kind])
        self.texts = _Texts()
        self.is_utf8 = True
        self.unparsed_rows, self.unparsed_codes = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        self.shown: list[str] = []

    def add_texts(self, column: ScannedColumn, start: int) -> None:
        """A segment of a column of texts, or of times some of which are texts."""
        new_code = self.texts.codes(column.texts)
        self.is_utf8 &= column.ascending
        self.rows.append(new_code[column.values] if self.kind == TEXT else column.values)
        if self.kind != TEXT:
            self.unparsed_rows.append(column.unparsed_rows + start)
            self.unparsed_codes.append(new_code[column.unparsed_codes])

    def add_numbers(self, column: NumberColumn, start: int) -> None:
        """A segment of a column of quantities."""
        self.rows.append(column.values)
        self.unparsed_rows.append(column.unparsed.rows + start)
        self.shown += column.unparsed.texts[: MAX_UNPARSED_TEXTS - len(self.shown)]


class _Segments:
    def __init__(self, plan: ScanPlan, budget: Budget) -> None:
        self.text, self.budget, self.plan = plan.text, budget, plan
        self.headings = {role: plan.text.headings[at] for role, at in plan.places.items()}
        self.columns = {role: _Column(plan.kinds[role]) for role in plan.places}
        self.n_lines = 0
        self.long, self.blank = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        self.left_out: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        self.notes: dict[tuple[str, str], RowSample] = {}

    def add(self, scanned: tuple[Any, ...]) -> None:
        """Write what the scanner has of the next rows."""
        n_lines, columns, long_rows, blank_rows, comment_rows = scanned
        text, start = self.text, self.n_lines
        segment = RawTable(text.source, n_lines, self.headings, row_base=text.row_base + start)
        found = {
            role: ScannedColumn.of(column, role, self.plan.kinds[role], n_lines, segment)
            for role, column in zip(self.plan.places, columns, strict=True)
        }
        if text.json_rows is None:
            leave_out_no_rows(segment, text, found, comment_rows)
        else:
            bad = np.array(text.json_rows.bad_rows, np.int64) - start
            for column in found.values():
                column.forget(bad[(bad >= 0) & (bad < n_lines)])
        for each in segment.left_out:
            self.left_out.setdefault((each.name, each.text), []).append(each.rows + start)
        for name, words, noted in segment.notes:
            assert noted is not None
            sample = RowSample.of(noted) + start
            before = self.notes.get((name, words))
            self.notes[name, words] = sample if before is None else before.joined(sample)
        for role, column in found.items():
            if role == "weight":
                self.columns[role].add_numbers(number_column(column, text.delimiter), start)
            else:
                self.columns[role].add_texts(column, start)
        self.long.append(long_rows + start)
        self.blank.append(blank_rows + start)
        self.n_lines += n_lines

    def table(self, times: TimeOptions, id_rules: IdRules, may_be_empty: bool) -> RawTable:
        """The table of all segments."""
        text, blank = self.text, np.concatenate(self.blank)
        # Blank lines at the end are no rows.
        at_end = blank == np.arange(self.n_lines - len(blank), self.n_lines)
        n_rows = self.n_lines - int(at_end[::-1].cumprod().sum())
        if not n_rows and not may_be_empty:
            raise InvalidDataError(
                f"{text.source}: there is a header line and no row below it. Give a table with rows."
            )
        table = RawTable(text.source, n_rows, self.headings, row_base=text.row_base, id_rules=id_rules)
        long = np.concatenate(self.long)
        table.long_rows, table.blank_rows = long[long < n_rows], blank[blank < n_rows]
        if text.note:
            table.notes.append(("encoding", text.note, None))
        table.ignored = list(ignored_columns(text.headings, self.plan.places.values()))
        table.skipped = text.skipped
        self._add_accounts(table)
        for role, column in self.columns.items():
            column.rows.length = n_rows
            if role == "weight":
                unparsed = Unparsed(np.concatenate(column.unparsed_rows), column.shown)
                table.weight = NumberColumn(column.rows, _within(unparsed, n_rows))  # type: ignore[arg-type]
            elif role == "time":
                table.time = self._times(column, table, times)
            else:
                self._add_texts(role, column, table)
        if table.time is None:
            times.refuse(text.source, "has no column of times")
        return table

    def _add_accounts(self, table: RawTable) -> None:
        # In the order of one whole table, whichever segment had the first.
        for (name, words), rows in sorted(self.left_out.items(), key=lambda each: each[0][0] == "comments"):
            table.left_out.append(LeftOut(name, words, np.concatenate(rows)))
        of_bytes = [words.format(role) for role in self.columns for words in (ZERO_BYTES, NOT_UTF8)]
        in_order = {words: at for at, words in enumerate(of_bytes)}
        for (name, words), sample in sorted(
            self.notes.items(), key=lambda each: in_order.get(each[0][1], len(in_order))
        ):
            table.notes.append((name, words, sample))
        rows_of_json = self.text.json_rows
        if rows_of_json is not None:
            if rows_of_json.bad_rows:
                bad = np.array(rows_of_json.bad_rows, np.int64)
                table.left_out.append(
                    LeftOut("bad_json", "are no JSON objects", bad, rows_of_json.bad_texts, is_bad=True)
                )
            for key, row in rows_of_json.late_keys.items():
                note = f"has a key that the first objects do not have, ignored: {key!r}"
                table.notes.append(("late_key", note, np.array([row])))

    def _distinct(self, column: _Column, table: RawTable) -> DistinctValues:
        texts, rank = column.texts.ascending()
        self.budget.check_values(f"texts of a column of {table.source}", object_array(texts))
        return DistinctValues(SpilledCodes(column.rows, pd.Index(texts, dtype=object), rank), table, self.budget)

    def _add_texts(self, role: str, column: _Column, table: RawTable) -> None:
        distinct = self._distinct(column, table)
        texts = list(distinct.values)
        codes = np.arange(len(texts), dtype=np.int32)
        if role in ("name", "category", "event"):
            encoded = merge_codes(codes, [each.strip() for each in texts])
        else:
            shadow = distinct.shadow()
            encoded = encode_text_ids(codes, texts, role, shadow, column.is_utf8)
            distinct.take_notes(shadow)
        table.ids[role] = EncodedColumn(
            recode_rows(distinct.codes, encoded.codes),
            encoded.values,
            encoded.ascending,
        )

    def _times(self, column: _Column, table: RawTable, options: TimeOptions) -> TimeColumn:
        texts = list(column.texts.code_of)
        if column.kind == NUMBER or not timestamps.are_dates(texts):
            return self._times_as_whole(column, texts, table, options)
        if column.kind == TIMESTAMP:
            return self._timestamps(column, texts, table, options)
        distinct = self._distinct(column, table)
        words = list(distinct.values)
        codes = np.arange(len(words), dtype=np.int32)
        none = np.empty(0, np.int64)
        only = ScannedColumn(TEXT, codes, none, none.astype(np.int32), words, ascending=True)
        table.time_texts = EncodedColumn(distinct.codes, object_array(words))
        return dates_of_texts(
            distinct, words, options, self.budget, lambda shadow: read_time_column(only, shadow, options)
        )

    def _times_as_whole(self, column: _Column, texts: list[str], table: RawTable, options: TimeOptions) -> TimeColumn:
        why = f"{table.time_heading} holds numbers, whose form all rows decide together"
        self.budget.check(table.n_rows * BYTES_AS_WHOLE, why)
        ordered, rank = column.texts.ascending()
        values = column.rows[0 : table.n_rows]
        if column.kind == TEXT:
            values = rank[values]
        rows, codes = np.concatenate(column.unparsed_rows), np.concatenate(column.unparsed_codes)
        within = rows < table.n_rows
        whole = ScannedColumn(column.kind, values, rows[within], rank[codes[within]], ordered, ascending=True)
        return on_disk(read_time_column(whole, table, options))

    def _timestamps(self, column: _Column, texts: list[str], table: RawTable, options: TimeOptions) -> TimeColumn:
        """Times that the scanner has read, and texts that it has not."""
        rows, codes = np.concatenate(column.unparsed_rows), np.concatenate(column.unparsed_codes)
        within = rows < table.n_rows
        rows, codes = rows[within], codes[within]
        self.budget.check(
            len(rows) * BYTES_AS_WHOLE, f"most of {table.time_heading} is written in other ways than ISO 8601"
        )
        ordered, rank = column.texts.ascending()
        codes = rank[codes]
        n_texts = len(ordered)
        # Each text once, and one row for those that were read, if there are any.
        seconds = np.full(n_texts + (len(rows) < table.n_rows), timestamps.UNKNOWN)
        seconds[n_texts:] = 0
        each = np.arange(n_texts)
        told = timestamps.read_rows(
            len(seconds), options, table.time_heading, seconds=seconds, texts=(each, each, ordered) if n_texts else None
        )
        for note in told.notes:
            if note.name != "far_times":
                noted = None if note.rows is None else rows[np.isin(codes, note.rows)]
                table.notes.append((note.name, "; ".join(filter(None, (note.text, note.hint))), noted))
        result = DiskArray("i8")
        notes: dict[str, tuple[str, RowSample]] = {}
        for start, stop in parts_of(table.n_rows, self.budget):
            part = column.rows[start:stop]
            first, last = np.searchsorted(rows, (start, stop)).tolist()
            part[rows[first:last] - start] = told.seconds[codes[first:last]]
            add_notes(notes, timestamps.about_all(part).notes, start)
            result.append(part)
        table.notes += [(name, words, sample) for name, (words, sample) in notes.items()]
        bad = rows[told.seconds[codes] == timestamps.UNKNOWN]
        shown = [ordered[code] for code in codes[np.isin(rows, bad[:MAX_UNPARSED_TEXTS])].tolist()]
        return TimeColumn(result, Unparsed(bad, shown), options)  # type: ignore[arg-type]


def _within(unparsed: Unparsed, n_rows: int) -> Unparsed:
    kept = unparsed.rows < n_rows
    return Unparsed(unparsed.rows[kept], unparsed.texts[: int(kept.sum())])
