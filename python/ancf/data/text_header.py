"""Where a text table begins: its delimiter, the lines above its header, its headings and the first row.

The header is the first line under which columns are recognized. Lines above it (titles, remarks) are skipped and told,
as long as each of them has fewer filled fields than the header: a line as full as the header may be a row.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ancf.data.byte_source import HEAD_BYTES
from ancf.data.columns import ColumnChoice, recognize_columns
from ancf.data.report import N_FIRST_ROWS, Reason
from ancf.errors import InvalidDataError, InvalidParameterError

DELIMITERS = ",;\t|"
MAX_LINES_ABOVE = 50
"""The header is looked for in so many lines."""
MAX_HEADER_BYTES = 1 << 24
_MAX_VALUE_SHOWN = 60


@dataclass(frozen=True)
class TextOptions:
    """What the caller said about the form of a text table."""

    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_lines: int | None = None
    comment: str | None = None

    def checked(self) -> "TextOptions":
        """The same options, a tab written as ``\\t`` understood.

        Raises
        ------
        InvalidParameterError
            If an option has no meaning.
        """
        if self.header is not None and not isinstance(self.header, (bool, np.bool_)):
            raise InvalidParameterError(f"header={self.header!r}: give True, False or None.")
        delimiter = self.delimiter
        if delimiter is not None and not isinstance(delimiter, str):
            raise InvalidParameterError(f"delimiter={delimiter!r}: give one ASCII character, such as ',' or ';'.")
        if self.encoding is not None and not is_text_encoding(self.encoding):
            raise InvalidParameterError(f"encoding={self.encoding!r} is unknown. Give one such as 'utf-8' or 'cp1252'.")
        delimiter = "\t" if delimiter in ("\\t", "tab") else delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii()):
            raise InvalidParameterError(
                f"delimiter={self.delimiter!r}: give one ASCII character, such as ',' or ';'. Where several stand "
                "between the fields, replace them in the file by one."
            )
        skip = self.skip_lines
        if skip is not None and (isinstance(skip, bool) or not isinstance(skip, int) or skip < 0):
            raise InvalidParameterError(f"skip_lines={skip!r}: give the number of lines above the header, 0 or more.")
        comment = self.comment
        if comment is not None and (
            not isinstance(comment, str) or len(comment) != 1 or not comment.isascii() or comment in '"\r\n'
        ):
            raise InvalidParameterError(f"comment={comment!r}: give one ASCII character, such as '#'.")
        if comment is not None and comment == delimiter:
            raise InvalidParameterError(f"comment={comment!r} is the delimiter, too. Give another one.")
        header = None if self.header is None else bool(self.header)
        return TextOptions(header, delimiter, self.encoding, skip, comment)

    def given(self) -> list[str]:
        """The options that somebody set, as they are written."""
        return [f"{name}={value!r}" for name, value in vars(self).items() if value is not None]


def is_text_encoding(name: Any) -> bool:
    """Whether Python knows an encoding of text by this name."""
    try:
        return isinstance(name, str) and bool(codecs.lookup(name)._is_text_encoding)
    except (LookupError, ValueError):
        return False


@dataclass
class Header:
    """The beginning of a text table."""

    headings: list[str]
    delimiter: str
    first_row: list[str]
    """The fields of the first data row, to guess from; empty where there is none."""
    row_base: int
    """The number of the first data row, counting all lines before it."""
    rest: bytes
    """What was read already of the rows."""
    skipped: list[Reason] = field(default_factory=list)
    hint: str = ""
    """What may be wrong where no column is recognized."""
    hashes_above: bool = False
    """Whether a line above the header begins with ``#``."""


class _Beginning:
    """The first bytes of a text, of which more are read when they are needed."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self.data = blocks, next(blocks, b"")

    def grow(self) -> bool:
        block = next(self._blocks, b"") if len(self.data) < MAX_HEADER_BYTES else b""
        self.data += block
        return bool(block)

    def lines(self, start: int) -> list[bytes]:
        """Lines with their ends from a position on: those of ``HEAD_BYTES``, and at least two where there are two."""
        while True:
            end = self.data.rfind(b"\n", start, start + HEAD_BYTES) + 1
            if self.data.count(b"\n", start, end) < 2:
                first = self.data.find(b"\n", start)
                end = self.data.find(b"\n", first + 1) + 1 if first >= 0 else 0
            if end > start or not self.grow():
                break
        part = self.data[start : end if end > start else len(self.data)]
        return re.findall(rb"[^\n]*\n|[^\n]+$", part)


@dataclass
class _Candidate:
    """A line that may be the header, and what would follow from it."""

    headings: list[str]
    delimiter: str
    n_lines: int
    following: list[str]
    recognized: bool
    unclosed: bool

    @property
    def n_filled(self) -> int:
        return sum(bool(heading) for heading in self.headings)


def find_header(name: str, blocks: Iterator[bytes], options: TextOptions, chosen: Mapping[str, ColumnChoice]) -> Header:
    """The header of a text; blocks are taken from ``blocks`` as far as they are needed.

    Raises
    ------
    InvalidDataError
        If there is nothing below the lines that are skipped.
    """
    beginning = _Beginning(blocks)
    at, n_above = 0, 0
    above: list[tuple[int, bytes]] = []
    comments: list[tuple[int, bytes]] = []
    for _ in range(options.skip_lines or 0):
        line = _line_at(beginning, at)
        if not line:
            break
        above.append((n_above + 1, line))
        at, n_above = at + len(line), n_above + 1
    while line := _line_at(beginning, at):
        if options.comment is not None and line.startswith(options.comment.encode()):
            comments.append((n_above + 1, line))
        elif line.strip():
            break
        at, n_above = at + len(line), n_above + 1
    if not line:
        raise InvalidDataError(
            f"{name}: nothing is left below the {n_above} line{'' if n_above == 1 else 's'} skipped"
            + (f" (skip_lines={options.skip_lines}). Give a smaller number." if above else ". Give a table with rows.")
        )
    lines = beginning.lines(at)
    may_skip = options.skip_lines is None
    candidate, skipped, hint = _choose(name, lines, options, chosen, may_skip)
    if candidate.unclosed:
        raise InvalidDataError(
            f"{name}: line {n_above + skipped + 1} begins a quote that is never closed. Close it, or skip the line: "
            f"skip_lines={n_above + skipped + 1}."
        )
    above += [(n_above + number, line) for number, line in enumerate(lines[:skipped], 1) if line.strip()]
    n_lines = skipped + (0 if options.header is False else candidate.n_lines)
    at += sum(map(len, lines[:n_lines]))
    where = "first row" if options.header is False else "header"
    told = _told("skipped_lines", f"stand above the {where}, skipped", above)
    told += _told("comment_lines", f"are comments above the {where}", comments)
    headings = [heading.strip() for heading in candidate.headings]
    first_row = candidate.following
    if options.header is False:
        headings, first_row = [str(position) for position in range(len(headings))], candidate.headings
    return Header(
        headings,
        candidate.delimiter,
        first_row,
        n_above + n_lines + 1,
        beginning.data[at:],
        told,
        hint if not hint or not candidate.recognized else "",
        any(line.startswith(b"#") for _, line in above),
    )


def _line_at(beginning: _Beginning, at: int) -> bytes:
    """The line at a position, with its end; empty at the end of the text."""
    while (end := beginning.data.find(b"\n", at)) < 0 and beginning.grow():
        pass
    return beginning.data[at : end + 1] if end >= 0 else beginning.data[at:]


def _choose(
    name: str, lines: list[bytes], options: TextOptions, chosen: Mapping[str, ColumnChoice], may_skip: bool
) -> tuple[_Candidate, int, str]:
    """The header, the number of lines above it, and a hint where none is recognized."""
    texts = [re.sub(r"\r(?!\n)", " ", line.decode("utf-8", "replace")) for line in lines]

    def candidate(at: int, delimiter: str | None) -> _Candidate:
        return _candidate(name, texts[at:], delimiter, options.header is not False, chosen)

    first = candidate(0, options.delimiter)
    if first.recognized:
        return first, 0, ""
    found = [candidate(at, options.delimiter) for at in range(min(len(texts), MAX_LINES_ABOVE if may_skip else 1))]
    at = next((at for at, each in enumerate(found) if each.recognized), -1)
    if at >= 0 and max(each.n_filled for each in found[:at]) < found[at].n_filled:
        return found[at], at, ""
    hint = ""
    if at >= 0:
        hint = f"Line {at + 1} has such headings; if the table begins there, give skip_lines={at}."
    elif options.delimiter is not None and candidate(0, None).recognized:
        hint = f"The fields seem to be separated by {candidate(0, None).delimiter!r}: leave out delimiter=."
    if first.unclosed:
        return first, 0, hint
    # Of a title and a table below it, the table's headings are those to show.
    if may_skip and len(first.headings) < 2:
        at = next((at for at, each in enumerate(found) if len(each.headings) > 1 and not each.unclosed), 0)
        return found[at], at, hint
    return first, 0, hint


def _candidate(
    name: str, texts: Sequence[str], delimiter: str | None, header: bool, chosen: Mapping[str, ColumnChoice]
) -> _Candidate:
    delimiter = sniff_delimiter("".join(texts[:MAX_LINES_ABOVE])) if delimiter is None else delimiter
    reader = csv.reader(texts, delimiter=delimiter)
    try:
        headings = next(reader, [])
        n_lines = reader.line_num
        following = next(reader, [])
    except csv.Error:  # a field of more than 128 KB
        return _Candidate([""], delimiter, 1, [], False, texts[0].count('"') % 2 == 1)
    unclosed = "".join(texts[:n_lines]).count('"') % 2 == 1 and n_lines == len(texts) and n_lines > 1
    headings = [] if headings is None else headings
    known = [heading.strip() for heading in headings] if header else [str(at) for at in range(len(headings))]
    try:
        recognize_columns(known, chosen, name)
    except (InvalidDataError, InvalidParameterError):
        return _Candidate(headings, delimiter, n_lines, following, False, unclosed)
    return _Candidate(headings, delimiter, n_lines, following, True, unclosed)


def _told(name: str, text: str, lines: list[tuple[int, bytes]]) -> list[Reason]:
    """The account of lines that are no rows."""
    if not lines:
        return []
    shown = [line.decode("utf-8", "replace").strip() for _, line in lines[:N_FIRST_ROWS]]
    values = tuple(each if len(each) <= _MAX_VALUE_SHOWN else f"{each[:_MAX_VALUE_SHOWN]}…" for each in shown)
    return [Reason(name, len(lines), text, tuple(number for number, _ in lines[:N_FIRST_ROWS]), values)]


def sniff_delimiter(sample: str) -> str:
    """The delimiter of a table: the one with which most lines have as many fields as the first, then with most fields.

    Examples
    --------
    >>> sniff_delimiter("a;b;c\\n1,5;2;3\\n")
    ';'
    """
    best, best_score = ",", 0.0
    lines = sample.splitlines()[:50]
    for candidate in DELIMITERS:
        try:
            widths = [len(fields) for fields in csv.reader(lines, delimiter=candidate) if fields]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        share = sum(width == widths[0] for width in widths) / len(widths)
        score = share * (1 + 0.001 * widths[0])
        if score > best_score:
            best, best_score = candidate, score
    return best
