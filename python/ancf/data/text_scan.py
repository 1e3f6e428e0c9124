"""Text tables to columns: blocks go through the core's scanner, odd fields are judged once per distinct text.

The next block is read (and unpacked) while the scanner works on the one before. Only what was scanned is kept: four
bytes per row for an id, eight for a number or a moment, and the distinct texts.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._native import TableScanner
from ancf.data import timestamps
from ancf.data.columns import Choice, recognise
from ancf.data.raw_table import Moments, Numbers, Odd, RawTable, merged, number, text_ids, usable
from ancf.data.text_file import TextFile
from ancf.errors import InvalidDataError

_KINDS = {"weight": "number", "time": "moment"}


def scan_text(
    text: TextFile, chosen: Mapping[str, Choice], keep_minus_one: bool = False, num_threads: int | None = None
) -> RawTable:
    """The columns of an open text table by role.

    Raises
    ------
    InvalidDataError
        If there is no row, a quote is never closed, or no column is recognised.
    """
    places = recognise(text.headings, chosen, text.source)
    kinds = {role: _KINDS.get(role, "text") for role in places}
    if "time" in places:
        kinds["time"] = _time_kind(text, places["time"])
    wanted = [(at, kinds[role]) for role, at in places.items()]
    scanner = TableScanner(ord(text.delimiter), len(text.headings), wanted, text.size)
    done = 0
    try:
        for block in _ahead(text.blocks):
            scanner.feed(block, num_threads)
        done = scanner.rows
        n_rows, columns, long_rows, blank_rows = scanner.finish(num_threads)
    except InvalidDataError as error:
        if "never closed" not in str(error):
            raise
        raise InvalidDataError(
            f"{text.source}: in row {max(done, scanner.rows) + text.row_base}, {error} "
            "Close it, or double the quotes inside the field."
        ) from None
    # Blank lines at the end are no rows.
    end = n_rows - int((blank_rows == np.arange(n_rows - len(blank_rows), n_rows))[::-1].cumprod().sum())
    if not end:
        raise InvalidDataError(f"{text.source}: there is a header line and no row below it. Give a table with rows.")
    headings = {role: text.headings[at] for role, at in places.items()}
    table = RawTable(text.source, end, headings, row_base=text.row_base, keep_minus_one=keep_minus_one)
    table.long_rows, table.blank_rows = long_rows[long_rows < end], blank_rows[blank_rows < end]
    if text.note:
        table.notes.append(("encoding", text.note, None))
    for role, column in zip(places, columns, strict=True):
        _take(table, role, kinds[role], column, end, text.delimiter)
    return table


def _ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, each fetched while the one before is worked on."""
    with ThreadPoolExecutor(1, "ancf-read") as executor:
        coming = executor.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = executor.submit(next, blocks, None)
            yield block


def _time_kind(text: TextFile, at: int) -> str:
    """How a column of times is scanned: by what stands in its first row."""
    first = text.first_row[at].strip() if at < len(text.first_row) else ""
    if len(first) >= 10 and first[4:5] == "-" and first[7:8] == "-":
        return "moment"
    return "number" if first.replace(".", "", 1).isdigit() and len(first) > 8 else "text"


def _take(table: RawTable, role: str, kind: str, column: dict[str, NDArray[Any]], end: int, delimiter: str) -> None:
    rows = column["odd_rows"]
    within = rows < end
    odd_rows, odd_codes = rows[within], column["odd_codes"][within]
    texts, ascending = _decoded(table, role, column, odd_codes if kind != "text" else column["codes"][:end])
    if role == "weight":
        values = column["numbers"][:end]
        known = np.array([number(text, delimiter) for text in texts], np.float64)
        if len(odd_rows):
            values[odd_rows] = known[odd_codes]
            left = ~usable(known[odd_codes])
            odd_rows, odd_codes = odd_rows[left], odd_codes[left]
        table.weight = Numbers(values, Odd(odd_rows, [texts[code] for code in odd_codes[:20]]))
    elif role == "time":
        table.time = _moments(table, kind, column, texts, odd_rows, odd_codes, end)
    elif role in ("name", "category"):
        table.ids[role] = merged(column["codes"][:end], [text.strip() for text in texts])
    else:
        table.ids[role] = text_ids(column["codes"][:end], texts, role, table, ascending)


def _moments(
    table: RawTable,
    kind: str,
    column: dict[str, NDArray[Any]],
    texts: list[str],
    odd_rows: NDArray[np.int64],
    odd_codes: NDArray[np.int32],
    end: int,
) -> Moments:
    if kind == "text":
        odd_rows, odd_codes = np.arange(end), column["codes"][:end]
        seconds = np.full(end, timestamps.UNKNOWN)
    elif kind == "number":
        seconds = timestamps.from_numbers(column["numbers"][:end])
    else:
        seconds = column["seconds"][:end]
    if len(odd_rows):
        distinct = np.empty(len(texts), object)
        distinct[:] = texts
        known, note = timestamps.from_texts(distinct)
        if note:
            table.notes.append(("date_order", f'{note}; for day first give dates as "2010-12-25"', None))
        seconds[odd_rows] = known[odd_codes]
        left = seconds[odd_rows] == timestamps.UNKNOWN
        odd_rows, odd_codes = odd_rows[left], odd_codes[left]
    return Moments(seconds, Odd(odd_rows, [texts[code] for code in odd_codes[:20]]))


def _decoded(
    table: RawTable, role: str, column: dict[str, NDArray[Any]], codes: NDArray[np.int32]
) -> tuple[list[str], bool]:
    """The texts of a column, and whether they are distinct and ascending as they were in bytes.

    What is not UTF-8 is read as Windows-1252, with the rows in the report."""
    raw = column["texts"].tobytes()
    if raw.count(b"\n") == len(column["offsets"]) - 1:  # no text has a line end in it
        try:
            return raw.decode("utf-8").split("\n")[:-1], True
        except UnicodeDecodeError:
            pass
    ends = column["offsets"].tolist()
    texts, foreign = [], []
    for start, end in pairwise(ends):
        part = raw[start : end - 1]
        try:
            texts.append(part.decode("utf-8"))
        except UnicodeDecodeError:
            foreign.append(len(texts))
            try:
                texts.append(part.decode("cp1252"))
            except UnicodeDecodeError:
                texts.append(part.decode("latin-1"))
    if foreign:
        rows = column["odd_rows"] if role in _KINDS else np.flatnonzero(np.isin(codes, foreign))
        table.notes.append(("encoding", f"are not UTF-8 ({role}), read as Windows-1252", rows))
    return texts, not foreign
