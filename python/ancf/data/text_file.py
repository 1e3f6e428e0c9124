"""Text files of rows: what they are compressed with, encoded in and separated by, found out from their first bytes.

A file is read as blocks of UTF-8 bytes, so that neither a gzip file nor standard input has to fit into memory whole.
"""

import codecs
import csv
import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ancf.errors import InvalidDataError, InvalidParameterError

BLOCK_BYTES = 1 << 21
"""Large enough for two threads, small enough that the memory of one block serves the next as well."""

HEAD_BYTES = 1 << 16
"""How much of a file is looked at to find its delimiter and headings."""

DELIMITERS = ",;\t|"

_FOREIGN_FORMATS = {
    b"PK\x03\x04": "a zip archive (or an Excel workbook)",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x93NUMPY": "a NumPy array (load it and pass the array)",
}


@dataclass
class TextFile:
    """An open text table: its headings, and its bytes from the first data row on."""

    source: str
    headings: list[str]
    delimiter: str
    first_row: list[str]
    """The fields of the first data row, to guess from; empty where there is none."""
    row_base: int
    """The number of the first data row, counting lines of the header and blank ones before it."""
    blocks: Iterator[bytes]
    """UTF-8, from the first data row on."""
    note: str = ""
    size: int = 0
    """Bytes of the file, where they are known beforehand and are those of the blocks."""


class _PrefixedStream(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, prefix: bytes, rest: Any) -> None:
        self._prefix, self._rest = prefix, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._prefix:
            taken, self._prefix = self._prefix[: len(buffer)], self._prefix[len(buffer) :]
        else:
            taken = self._rest.read(len(buffer)) or b""
        buffer[: len(taken)] = taken
        return len(taken)


def open_text(
    source: Any, stack: ExitStack, *, header: bool | None, delimiter: str | None, encoding: str | None
) -> TextFile:
    """Open a path, ``"-"`` for standard input, or a file object; what is opened here is closed with ``stack``.

    Raises
    ------
    InvalidDataError
        If the file is absent, empty, damaged or no text.
    """
    name, stream = _open_stream(source, stack)
    try:
        blocks, note, size = _utf8_blocks(name, stream, encoding)
        first = next(blocks, b"")
    except (gzip.BadGzipFile, EOFError) as error:
        raise InvalidDataError(f"{name}: the gzip data is damaged ({error}). Get another copy.") from error
    if not first.strip():
        raise InvalidDataError(f"{name}: the file is empty. Give a table with a header line and rows.")
    if b"\0" in first[:HEAD_BYTES]:
        raise InvalidDataError(f"{name}: this is no text (it has zero bytes). Give a CSV, TSV or Parquet file.")
    text = _parse_header(name, _with_read_errors(name, first, blocks), header, delimiter, note)
    text.size = size
    return text


def _open_stream(source: Any, stack: ExitStack) -> tuple[str, Any]:
    if isinstance(source, (str, Path)) and str(source) != "-":
        path = Path(source)
        if path.is_dir():
            raise InvalidDataError(f"{source} is a folder. Give the path of one file.")
        try:
            return str(source), stack.enter_context(path.open("rb", buffering=0))
        except FileNotFoundError:
            raise InvalidDataError(f"{source}: there is no such file. Check the path.") from None
        except (OSError, ValueError) as error:
            raise InvalidDataError(f"{source}: {error}. Check that the file can be read.") from error
    if isinstance(source, (str, Path)):
        return "standard input", sys.stdin.buffer
    name = getattr(source, "name", None)
    if isinstance(source, io.TextIOBase):
        binary = getattr(source, "buffer", None)
        source = binary if binary is not None else io.BytesIO(source.read().encode("utf-8", "surrogateescape"))
    return name if isinstance(name, str) else "file object", source


def _utf8_blocks(name: str, stream: Any, encoding: str | None) -> tuple[Iterator[bytes], str, int]:
    """The unpacked bytes of a stream as UTF-8 blocks, a note about the encoding where it is not UTF-8, and how many
    bytes there will be (0 where that is not known)."""
    head = stream.read(HEAD_BYTES) or b""
    if not isinstance(head, bytes):
        raise InvalidDataError(
            f"{name}: the file object gives {type(head).__name__}, not bytes. Open it in binary mode."
        )
    size = os.fstat(stream.fileno()).st_size if isinstance(stream, io.FileIO) else 0
    if head[:2] == b"\x1f\x8b":
        size = 0
        stream = gzip.GzipFile(fileobj=io.BufferedReader(_PrefixedStream(head, stream), 1 << 20))
        head = stream.read(HEAD_BYTES)
    for magic, what in _FOREIGN_FORMATS.items():
        if head.startswith(magic):
            raise InvalidDataError(f"{name} is {what}, not a text table. Give a CSV, TSV or Parquet file.")
    note = ""
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
        except LookupError:
            raise InvalidParameterError(
                f"encoding={encoding!r} is unknown. Give one such as 'utf-8' or 'cp1252'."
            ) from None
    elif head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding, note = "utf-16", "the file is UTF-16"

    def raw_blocks() -> Iterator[bytes]:
        start = head
        # Of an ordinary table the head tells enough; completing the first block would only copy it.
        ordinary = (
            size
            and encoding is None
            and b"\n" in head
            and head[:1] not in (b"\n", b"\r", codecs.BOM_UTF8[:1])
            and not head.isspace()
        )
        if head and not ordinary:
            start += stream.read(BLOCK_BYTES - len(head)) or b""
        if start.startswith(codecs.BOM_UTF8):
            start = start[3:]
        yield start
        while block := stream.read(BLOCK_BYTES):
            yield block

    if encoding is None:
        return raw_blocks(), note, size

    def transcoded_blocks() -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(str(encoding))()
        try:
            for block in raw_blocks():
                yield decoder.decode(block).encode("utf-8")
            yield decoder.decode(b"", final=True).encode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidDataError(
                f"{name}: a byte is not {encoding} ({error.reason}: 0x{error.object[error.start]:02x}). Name the right "
                "encoding, such as encoding='cp1252'; left out, it is found out."
            ) from None

    return transcoded_blocks(), note, 0


def _with_read_errors(name: str, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """All blocks, with an ``InvalidDataError`` where reading fails later on. Lone CR end lines, too."""
    old_mac = b"\n" not in first and b"\r" in first
    block: bytes | None = first
    try:
        while block is not None:
            yield block.replace(b"\r", b"\n") if old_mac else block
            block = next(rest, None)
    except (OSError, EOFError) as error:
        raise InvalidDataError(f"{name}: reading failed part-way ({error}). Get another copy.") from error


def _parse_header(
    name: str, blocks: Iterator[bytes], header: bool | None, delimiter: str | None, note: str
) -> TextFile:
    first = next(blocks)
    n_blank = 0
    while first[:1] in (b"\n", b"\r"):  # blank lines before the header
        n_blank += first[:1] == b"\n"
        first = first[1:]
    sample = first[:HEAD_BYTES].decode("utf-8", "replace")
    if delimiter is None:
        delimiter = sniff_delimiter(sample)
    elif len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InvalidParameterError(f"delimiter={delimiter!r}: give one ASCII character, such as ',' or ';'.")
    (fields, n_characters, n_lines), *following = _first_records(sample, delimiter, 2)
    if header is False:
        positions = [str(at) for at in range(len(fields))]
        return TextFile(name, positions, delimiter, fields, n_blank + 1, _prepend(first, blocks), note)
    line = sample[:n_characters]
    rest = first[len(line.encode("utf-8", "replace")) :] if "�" not in line else _skip_lines(first, n_lines)
    headings = [heading.strip() for heading in fields]
    first_row = following[0][0] if following else []
    return TextFile(name, headings, delimiter, first_row, n_blank + 1 + n_lines, _prepend(rest, blocks), note)


def _skip_lines(data: bytes, n_lines: int) -> bytes:
    for _ in range(n_lines):
        data = data[data.index(b"\n") + 1 :] if b"\n" in data else b""
    return data


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _first_records(sample: str, delimiter: str, n: int) -> Iterator[tuple[list[str], int, int]]:
    """The first records of a sample: fields, and the characters and lines they take."""
    lines = (
        sample.splitlines(keepends=True)
        if "\v" not in sample and "\f" not in sample
        else io.StringIO(sample, newline="").readlines()
    )
    reader = csv.reader(lines, delimiter=delimiter)
    before = 0
    for fields in islice(reader, n):
        yield fields, sum(map(len, lines[before : reader.line_num])), reader.line_num - before
        before = reader.line_num


def sniff_delimiter(sample: str) -> str:
    """The delimiter of a table: the one with which most lines have as many fields as the first, then with most fields.

    Examples
    --------
    >>> sniff_delimiter("a;b;c\\n1,5;2;3\\n")
    ';'
    """
    best, best_score = ",", 0.0
    lines = sample.splitlines()[:50]
    lines = lines[:-1] if len(lines) > 1 and not sample.endswith(("\n", "\r")) and len(sample) >= HEAD_BYTES else lines
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
