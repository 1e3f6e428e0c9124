"""Text tables to columns: blocks go through the core's scanner, what it cannot parse is parsed here, once per text.

The next block is read (and unpacked) while the scanner works on the one before. Only what was scanned is kept: four
bytes per row for an id, eight for a number or a timestamp, and the distinct texts.
"""

import csv
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._native import TableScanner
from ancf.data import timestamps
from ancf.data.arrays import fits_float32, object_array, positions_among
from ancf.data.clocks import add_clock, clock_of_texts
from ancf.data.columns import ColumnChoice, ignored_columns, recognize_columns, repeated_columns
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
    parse_number,
    time_column,
)
from ancf.data.text_file import TextFile
from ancf.data.timestamps import NO_TIME_OPTIONS, TimeOptions
from ancf.errors import InvalidDataError, InvalidParameterError

_GUESS_BYTES = 1 << 16

# What is told of the bytes of a column, in the order in which it is found.
ZERO_BYTES = "have zero bytes in the {}, as damaged files do"
NOT_UTF8 = "are not UTF-8 ({}), read as Windows-1252"

# The kinds of columns, in the scanner's own words.
TEXT, NUMBER, TIMESTAMP = "text", "number", "timestamp"


@dataclass
class ScannedColumn:
    """What the scanner returns for a column: values, and the distinct texts of what it could not parse.

    Of a text column all rows are ``codes`` into the texts. Of the others ``unparsed_rows`` are, by ``unparsed_codes``.
    """

    kind: str
    values: NDArray[Any]
    """Codes (int32), numbers (float64) or seconds (int64), by kind."""
    unparsed_rows: NDArray[np.int64]
    unparsed_codes: NDArray[np.int32]
    texts: list[str]
    ascending: bool
    """Whether the texts are distinct and in ascending order."""

    @classmethod
    def of(
        cls, scanned: Mapping[str, NDArray[Any]], role: str, kind: str, n_rows: int, table: RawTable
    ) -> "ScannedColumn":
        """The first ``n_rows`` of what the scanner returned, with its texts decoded."""
        values = scanned[{TEXT: "codes", NUMBER: "numbers", TIMESTAMP: "seconds"}[kind]][:n_rows]
        rows, codes = scanned["unparsed_rows"], scanned["unparsed_codes"]
        within = rows < n_rows
        rows, codes = rows[within], codes[within]
        raw = scanned["texts"].tobytes()
        texts, not_utf8 = _decode_texts(raw, scanned["offsets"])
        if kind == TEXT and b"\0" in raw:
            affected = np.flatnonzero(np.isin(values, [code for code, text in enumerate(texts) if "\0" in text]))
            table.notes.append(("zero_bytes", ZERO_BYTES.format(role), affected))
        if not_utf8:
            text_rows, text_codes = (np.arange(n_rows), values) if kind == TEXT else (rows, codes)
            affected = text_rows[np.isin(text_codes, not_utf8)]
            table.notes.append(("encoding", NOT_UTF8.format(role), affected))
        return cls(kind, values, rows, codes, texts, ascending=not not_utf8)

    def rows_of(self, spellings: set[str]) -> NDArray[np.int64]:
        """The rows in which one of these texts stands, where it was not parsed."""
        if self.ascending:
            places = ((text, bisect_left(self.texts, text)) for text in spellings)
            codes = [at for text, at in places if self.texts[at : at + 1] == [text]]
        else:
            codes = [at for at, text in enumerate(self.texts) if text in spellings]
        if not codes:
            return np.empty(0, np.int64)
        if self.kind == TEXT:
            return np.flatnonzero(np.isin(self.values, codes))
        return self.unparsed_rows[np.isin(self.unparsed_codes, codes)]

    def forget(self, rows: NDArray[np.int64]) -> None:
        """Take rows for missing, and drop the texts that stand in no other."""
        if not len(rows):
            return
        if self.kind == TEXT:
            self.values[rows] = -1
            codes = self.values
        else:
            kept = ~np.isin(self.unparsed_rows, rows)
            self.unparsed_rows, codes = self.unparsed_rows[kept], self.unparsed_codes[kept]
        used = np.zeros(len(self.texts), bool)
        used[codes[codes >= 0]] = True
        recoded = np.append(positions_among(used), np.int32(-1))[codes]
        self.texts = [text for text, is_used in zip(self.texts, used.tolist(), strict=True) if is_used]
        if self.kind == TEXT:
            self.values = recoded
        else:
            self.unparsed_codes = recoded


def scan_text(
    text: TextFile,
    chosen: Mapping[str, ColumnChoice],
    times: TimeOptions = NO_TIME_OPTIONS,
    id_rules: IdRules | None = None,
    num_threads: int | None = None,
    may_be_empty: bool = False,
    plan: "ScanPlan | None" = None,
) -> RawTable:
    """The columns of an open text table by role; one without a row is refused unless it may be empty.

    Raises
    ------
    InvalidDataError
        If there is no row, a quote is never closed, or no column is recognized.
    """
    text, places, kinds, repeated, wanted, scanner = plan or plan_scan(text, chosen, times)
    rows_scanned = 0
    try:
        for block in prefetch(text.blocks):
            scanner.feed(block, num_threads)
        rows_scanned = scanner.rows
        n_lines, columns, long_rows, blank_rows, comment_rows = scanner.finish(num_threads)
    except InvalidDataError as error:
        raise unclosed_quote(error, text, max(rows_scanned, scanner.rows)) from None
    # Blank lines at the end are no rows.
    n_rows = n_lines - int((blank_rows == np.arange(n_lines - len(blank_rows), n_lines))[::-1].cumprod().sum())
    if not n_rows and not may_be_empty:
        raise InvalidDataError(f"{text.source}: there is a header line and no row below it. Give a table with rows.")
    headings = {role: text.headings[at] for role, at in places.items()}
    table = RawTable(text.source, n_rows, headings, row_base=text.row_base, id_rules=id_rules or IdRules())
    table.long_rows, table.blank_rows = long_rows[long_rows < n_rows], blank_rows[blank_rows < n_rows]
    if text.note:
        table.notes.append(("encoding", text.note, None))
    table.ignored = ignored_columns(text.headings, places.values())
    scanned_at = dict(zip((at for at, _ in wanted), columns, strict=True))
    for role, others in repeated.items():
        first = scanned_at[places[role]]
        same = [_same_columns(first, scanned_at[at]) for at in others]
        table.note_repeated(role, text.headings[places[role]], [places[role], *others], same)
    found = {
        role: ScannedColumn.of(scanned, role, kinds[role], n_rows, table)
        for role, scanned in zip(places, columns[: len(places)], strict=True)
    }
    table.skipped = text.skipped
    leave_out_no_rows(table, text, found, comment_rows)
    for role, column in found.items():
        if role == "time":
            table.time = read_time_column(column, table, times)
        elif role == "clock":
            clock = clock_of_texts(column.values, column.texts)
            add_clock(table, clock, explicit=chosen.get("clock") is not None)
            table.time_texts = None  # the clock is in the seconds
        else:
            _add_column(table, role, column, text.delimiter)
    if table.time is None:
        times.refuse(text.source, "has no column of times")
    return table


def unclosed_quote(error: InvalidDataError, text: TextFile, row: int) -> InvalidDataError:
    """The error of a quote that is never closed, with the row (from 0) in which it stands; any other as it is."""
    if "never closed" not in str(error):
        return error
    return InvalidDataError(
        f"{text.source}: in row {row + text.row_base}, {error} Close it, or double the quotes inside the field."
    )


class ScanPlan(NamedTuple):
    """What is scanned, as which kind, and by what."""

    text: TextFile
    places: dict[str, int]
    kinds: dict[str, str]
    repeated: dict[str, list[int]]
    wanted: list[tuple[int, str]]
    scanner: TableScanner


def plan_scan(
    text: TextFile, chosen: Mapping[str, ColumnChoice], times: TimeOptions, in_segments: bool = False
) -> ScanPlan:
    """Recognize the columns of an open text table, and decide how each is scanned.

    ``in_segments``: the scanner need not make room for the whole table.
    """
    try:
        places = recognize_columns(text.headings, chosen, text.source)
    except (InvalidDataError, InvalidParameterError) as error:
        raise type(error)(f"{error} {text.hint}".rstrip()) from None
    if "time" in places:
        text = _with_telling_row(text, places["time"])
    kinds = {role: _kind_of(role, text, at) for role, at in places.items()}
    if times.format is not None and "time" in kinds:
        kinds["time"] = TEXT
    repeated = repeated_columns(text.headings, places, chosen)
    wanted = [(at, kinds[role]) for role, at in places.items()]
    wanted += [(at, kinds[role]) for role, others in repeated.items() for at in others]
    size, comment = 0 if in_segments else text.size, None if text.comment is None else ord(text.comment)
    scanner = TableScanner(ord(text.delimiter), len(text.headings), wanted, size, comment)
    return ScanPlan(text, places, kinds, repeated, wanted, scanner)


def _same_columns(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two scanned columns hold the same in every row."""
    return all(np.array_equal(one[part], other[part], equal_nan=one[part].dtype.kind == "f") for part in one)


def leave_out_no_rows(
    table: RawTable, text: TextFile, columns: Mapping[str, ScannedColumn], comments: NDArray[np.int64]
) -> None:
    """Leave out what stands among the rows and is none: comments, the header once more, broken JSON."""
    if text.has_header and text.json_rows is None:
        repeated = _repeated_headers(text, table, columns)
        _refuse_other_headers(text, table, columns, repeated)
        table.left_out.append(LeftOut("repeated_header", "are the header once more", repeated))
    table.left_out.append(LeftOut("comments", "are comments", comments[comments < table.n_rows]))
    if text.json_rows is not None:
        bad = np.array(text.json_rows.bad_rows, np.int64)
        table.left_out.append(LeftOut("bad_json", "are no JSON objects", bad, text.json_rows.bad_texts, is_bad=True))
        for key, row in text.json_rows.late_keys.items():
            note = f"has a key that the first objects do not have, ignored: {key!r}"
            table.notes.append(("late_key", note, np.array([row])))
    table.left_out = [each for each in table.left_out if len(each.rows)]
    for each in table.left_out:
        for column in columns.values():
            column.forget(each.rows)
    if text.hashes_above and text.comment is None:
        first = next((column for role, column in columns.items() if table.columns[role] == text.headings[0]), None)
        if first is not None and first.kind == TEXT:
            begun = first.rows_of({each for each in first.texts if each.startswith("#")})
            remedy = "begin with '#', as lines above the header do, and are taken as rows; comment='#' leaves them out"
            table.notes.append(("hashes", remedy, begun))


def _refuse_other_headers(
    text: TextFile, table: RawTable, columns: Mapping[str, ScannedColumn], repeated: NDArray[np.int64]
) -> None:
    """Refuse a table in which the columns change their order: every needed column holds the heading of some column."""
    headings = {heading for heading in text.headings if any(map(str.isalpha, heading))}
    rows = np.setdiff1d(columns["user"].rows_of(headings), repeated)
    for column in columns.values():
        rows = np.intersect1d(rows, column.rows_of(headings)) if len(rows) else rows
    if len(rows):
        raise InvalidDataError(
            f"{text.source}: row {rows[0] + table.row_base} is a header with the columns in another order. Cut the "
            "file there, and give both parts as a list of paths."
        )


def _repeated_headers(text: TextFile, table: RawTable, columns: Mapping[str, ScannedColumn]) -> NDArray[np.int64]:
    """The rows in which every needed column holds its own heading, as in files that were joined with their headers."""
    rows: NDArray[np.int64] | None = None
    for role, column in columns.items():
        heading = table.columns[role]
        spellings = {heading, f" {heading}", f"{heading} ", f"\ufeff{heading}", f'\ufeff"{heading}"'}
        here = column.rows_of(spellings)
        rows = here if rows is None else np.intersect1d(rows, here)
        if not len(rows):
            break
    return np.empty(0, np.int64) if rows is None else rows


def prefetch(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, each fetched while the one before is worked on."""
    with ThreadPoolExecutor(1, "ancf-read") as executor:
        coming = executor.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = executor.submit(next, blocks, None)
            yield block


def _with_telling_row(text: TextFile, at: int) -> TextFile:
    """The same file; where the first row has no time, one of the next that has some is there to guess from."""
    if at < len(text.first_row) and text.first_row[at].strip()[:1].isdigit():
        return text
    block = next(text.blocks, b"")
    lines = block[:_GUESS_BYTES].decode("utf-8", "replace").splitlines()
    rows = csv.reader(lines[:-1], delimiter=text.delimiter)
    with suppress(csv.Error):
        first_row = next((row for row in rows if at < len(row) and row[at].strip()[:1].isdigit()), text.first_row)
        text = replace(text, first_row=first_row)
    return replace(text, blocks=chain((block,) if block else (), text.blocks))


def _kind_of(role: str, text: TextFile, at: int) -> str:
    """How the scanner takes the column of a role; times by what the first row has."""
    if role != "time":
        return NUMBER if role == "weight" else TEXT
    first = text.first_row[at].strip() if at < len(text.first_row) else ""
    if len(first) >= 10 and first[4:5] == "-" and first[7:8] == "-":
        return TIMESTAMP
    return NUMBER if first.replace(".", "", 1).isdigit() and len(first) > 8 else TEXT


def _add_column(table: RawTable, role: str, column: ScannedColumn, delimiter: str) -> None:
    if role == "weight":
        table.weight = number_column(column, delimiter)
    elif role in ("name", "category", "event"):
        table.ids[role] = merge_codes(column.values, [text.strip() for text in column.texts])
    else:
        table.ids[role] = encode_text_ids(column.values, column.texts, role, table, column.ascending)


def number_column(column: ScannedColumn, delimiter: str) -> NumberColumn:
    numbers, rows = column.values, column.unparsed_rows
    if len(rows):
        numbers[rows] = np.array([parse_number(text, delimiter) for text in column.texts], np.float64)[
            column.unparsed_codes
        ]
    bad = np.flatnonzero(~fits_float32(numbers))  # the scanner's own numbers may be too large, too
    shown = []
    for row in bad[:MAX_UNPARSED_TEXTS].tolist():
        at = np.flatnonzero(rows == row)
        shown.append(column.texts[column.unparsed_codes[at[0]]] if len(at) else f"{numbers[row]:g}")
    return NumberColumn(numbers, Unparsed(bad, shown))


def read_time_column(column: ScannedColumn, table: RawTable, options: TimeOptions) -> TimeColumn:
    n, rows, codes = len(column.values), column.unparsed_rows, column.unparsed_codes
    if column.kind == TEXT:
        rows, codes = np.arange(n), column.values
        table.time_texts = EncodedColumn(codes, object_array(column.texts))
    kind = {NUMBER: "numbers", TIMESTAMP: "seconds"}.get(column.kind)
    values: dict[str, Any] = {kind: column.values} if kind else {}
    texts = (rows, codes, column.texts) if len(rows) else None
    times = timestamps.read_rows(n, options, table.time_heading, texts=texts, **values)

    def text_of(row: int) -> str:
        at = np.searchsorted(rows, row)
        if at < len(rows) and rows[at] == row:
            return column.texts[codes[at]] if codes[at] >= 0 else ""
        return f"{column.values[row]:.15g}"

    return time_column(times, text_of, table, options)


def _decode_texts(raw: bytes, offsets: NDArray[Any]) -> tuple[list[str], list[int]]:
    """The texts, which the scanner ends with a line end each, and the positions of those read as Windows-1252."""
    if raw.count(b"\n") == len(offsets) - 1:  # no text has a line end in it
        try:
            return raw.decode("utf-8").split("\n")[:-1], []
        except UnicodeDecodeError:
            pass
    texts: list[str] = []
    not_utf8: list[int] = []
    for start, end in pairwise(offsets.tolist()):
        part = raw[start : end - 1]
        try:
            texts.append(part.decode("utf-8"))
        except UnicodeDecodeError:
            not_utf8.append(len(texts))
            try:
                texts.append(part.decode("cp1252"))
            except UnicodeDecodeError:
                texts.append(part.decode("latin-1"))
    return texts, not_utf8
