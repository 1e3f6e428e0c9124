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
from pathlib import Path
from typing import Any

from ancf.errors import InvalidDataError, InvalidParameterError

BLOCK = 1 << 21
"""Bytes per block: large enough for two threads, small enough that the memory of one block serves the next as well."""

HEAD = 1 << 16
"""Bytes that are looked at to find the delimiter and the headings."""

DELIMITERS = ",;\t|"

_FOREIGN = {
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


class _Prefixed(io.RawIOBase):
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
    name, stream = _opened(source, stack)
    try:
        blocks, note, size = _utf8_blocks(name, stream, encoding)
        first = next(blocks, b"")
    except (gzip.BadGzipFile, EOFError) as error:
        raise InvalidDataError(f"{name}: the gzip data is damaged ({error}). Get another copy.") from error
    if not first.strip():
        raise InvalidDataError(f"{name}: the file is empty. Give a table with a header line and rows.")
    if b"\0" in first[:HEAD]:
        raise InvalidDataError(f"{name}: this is no text (it has zero bytes). Give a CSV, TSV or Parquet file.")
    text = _with_header(name, _watched(name, first, blocks), header, delimiter, note)
    text.size = size
    return text


def _opened(source: Any, stack: ExitStack) -> tuple[str, Any]:
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
    head = stream.read(HEAD) or b""
    if not isinstance(head, bytes):
        raise InvalidDataError(
            f"{name}: the file object gives {type(head).__name__}, not bytes. Open it in binary mode."
        )
    size = os.fstat(stream.fileno()).st_size if isinstance(stream, io.FileIO) else 0
    if head[:2] == b"\x1f\x8b":
        size = 0
        stream = gzip.GzipFile(fileobj=io.BufferedReader(_Prefixed(head, stream), 1 << 20))
        head = stream.read(HEAD)
    for magic, what in _FOREIGN.items():
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

    def raw() -> Iterator[bytes]:
        start = head
        # Of an ordinary table the head tells enough, and the rest need not be moved for it.
        ordinary = (
            size
            and encoding is None
            and b"\n" in head
            and head[:1] not in (b"\n", b"\r", codecs.BOM_UTF8[:1])
            and not head.isspace()
        )
        if head and not ordinary:
            start += stream.read(BLOCK - len(head)) or b""
        if start.startswith(codecs.BOM_UTF8):
            start = start[3:]
        yield start
        while block := stream.read(BLOCK):
            yield block

    if encoding is None:
        return raw(), note, size

    def transcoded() -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(str(encoding))()
        try:
            for block in raw():
                yield decoder.decode(block).encode("utf-8")
            yield decoder.decode(b"", final=True).encode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidDataError(
                f"{name}: a byte is not {encoding} ({error.reason}: 0x{error.object[error.start]:02x}). Name the right "
                "encoding, such as encoding='cp1252'; left out, it is found out."
            ) from None

    return transcoded(), note, 0


def _watched(name: str, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """All blocks; damage that shows only later is told as plainly as damage at the start. Lone CR ends lines too."""
    old_mac = b"\n" not in first and b"\r" in first
    block: bytes | None = first
    try:
        while block is not None:
            yield block.replace(b"\r", b"\n") if old_mac else block
            block = next(rest, None)
    except (OSError, EOFError) as error:
        raise InvalidDataError(f"{name}: reading failed part-way ({error}). Get another copy.") from error


def _with_header(name: str, blocks: Iterator[bytes], header: bool | None, delimiter: str | None, note: str) -> TextFile:
    first = next(blocks)
    skipped = 0
    while first[:1] in (b"\n", b"\r"):  # blank lines before the header
        skipped += first[:1] == b"\n"
        first = first[1:]
    sample = first[:HEAD].decode("utf-8", "replace")
    if delimiter is None:
        delimiter = sniff(sample)
    elif len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise InvalidParameterError(f"delimiter={delimiter!r}: give one ASCII character, such as ',' or ';'.")
    lines = list(_records(sample, delimiter, 2))
    headings = [heading.strip() for heading in lines[0][0]]
    if header is False:
        width = len(headings)
        return TextFile(
            name, [str(at) for at in range(width)], delimiter, lines[0][0], skipped + 1, _chain(first, blocks), note
        )
    consumed = lines[0][1]
    rest = (
        first[len(sample[:consumed].encode("utf-8", "replace")) :]
        if "�" not in sample[:consumed]
        else _after(first, lines[0][2])
    )
    following = lines[1][0] if len(lines) > 1 else []
    return TextFile(name, headings, delimiter, following, skipped + 1 + lines[0][2], _chain(rest, blocks), note)


def _after(data: bytes, n_lines: int) -> bytes:
    for _ in range(n_lines):
        data = data[data.index(b"\n") + 1 :] if b"\n" in data else b""
    return data


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _records(sample: str, delimiter: str, n: int) -> Iterator[tuple[list[str], int, int]]:
    """The first records of a sample: fields, and the characters and lines they take."""
    lines = (
        sample.splitlines(keepends=True)
        if "\v" not in sample and "\f" not in sample
        else io.StringIO(sample, newline="").readlines()
    )
    used = 0

    def feed() -> Iterator[str]:
        nonlocal used
        for line in lines:
            used += 1
            yield line

    reader = csv.reader(feed(), delimiter=delimiter)
    before = 0
    for _ in range(n):
        fields = next(reader, None)
        if fields is None:
            return
        yield fields, sum(map(len, lines[before:used])), used - before
        before = used


def sniff(sample: str) -> str:
    """The delimiter of a table: the one that cuts the most lines into as many fields as the first, and most fields.

    Examples
    --------
    >>> sniff("a;b;c\\n1,5;2;3\\n")
    ';'
    """
    best, most = ",", 0.0
    lines = sample.splitlines()[:50]
    lines = lines[:-1] if len(lines) > 1 and not sample.endswith(("\n", "\r")) and len(sample) >= HEAD else lines
    for candidate in DELIMITERS:
        try:
            widths = [len(fields) for fields in csv.reader(lines, delimiter=candidate) if fields]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        share = sum(width == widths[0] for width in widths) / len(widths)
        if share * (1 + 0.001 * widths[0]) > most:
            best, most = candidate, share * (1 + 0.001 * widths[0])
    return best
