"""Text tables as blocks of UTF-8, from the first data row on, whatever they are packed and encoded in.

A file is read as blocks, so that neither a compressed file nor standard input has to fit into memory whole.
"""

import codecs
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ancf.data.byte_source import DAMAGE, HEAD_BYTES, ByteSource, open_bytes
from ancf.data.columns import ColumnChoice
from ancf.data.json_lines import JSON_DELIMITER, JsonRows, is_json
from ancf.data.report import Reason
from ancf.data.text_header import TextOptions, find_header
from ancf.errors import InvalidDataError, InvalidParameterError

BLOCK_BYTES = 1 << 21
"""Large enough for two threads, small enough that the memory of one block serves the next as well."""


@dataclass
class TextFile:
    """An open text table: its headings, and its bytes from the first data row on."""

    source: str
    headings: list[str]
    delimiter: str
    first_row: list[str]
    """The fields of the first data row, to guess from; empty where there is none."""
    row_base: int
    """The number of the first data row, counting lines of the header and others before it."""
    blocks: Iterator[bytes]
    """UTF-8, from the first data row on."""
    note: str = ""
    size: int = 0
    """Bytes of the file, where they are known beforehand and are those of the blocks."""
    has_header: bool = True
    comment: str | None = None
    skipped: list[Reason] = field(default_factory=list)
    """The lines above the header."""
    hint: str = ""
    """What may be wrong where no column is recognized."""
    hashes_above: bool = False
    """Whether a line above the header begins with ``#``, as comments do."""
    json_rows: JsonRows | None = None
    """What was found out about JSON while its rows were read."""


def open_text(source: Any, stack: ExitStack, options: TextOptions, chosen: Mapping[str, ColumnChoice]) -> TextFile:
    """Open a path, ``"-"`` for standard input, a file object or a ``ZipMember``; ``stack`` closes what is opened here.

    Raises
    ------
    InvalidDataError
        If the file is absent, empty, damaged or no text.
    InvalidParameterError
        If an option has no meaning, or none for this file.
    """
    options = options.checked()
    opened = open_bytes(source, stack)
    name = opened.name
    blocks, note, size = _utf8_blocks(opened, options.encoding)
    try:
        first = next(blocks, b"")
    except DAMAGE as error:
        raise _part_way(name, error) from error
    if not first.strip():
        raise InvalidDataError(f"{name}: the file is empty. Give a table with a header line and rows.")
    if b"\0" in first[:HEAD_BYTES]:
        raise _zero_bytes(name, first)
    blocks = _checked_blocks(name, first, blocks)
    if is_json(first):
        without_effect = [each for each in options.given() if not each.startswith("encoding=")]
        if without_effect:
            raise InvalidParameterError(f"{without_effect[0]}: {name} is JSON, where this says nothing. Leave it out.")
        rows = JsonRows(name, blocks, chosen)
        headings, first_row = rows.headings, rows.first_row
        return TextFile(name, headings, JSON_DELIMITER, first_row, 1, rows.blocks(), note, json_rows=rows)
    header = find_header(name, blocks, options, chosen)
    return TextFile(
        name,
        header.headings,
        header.delimiter,
        header.first_row,
        header.row_base,
        _prepend(header.rest, blocks),
        note,
        size,
        options.header is not False,
        options.comment,
        header.skipped,
        header.hint,
        header.hashes_above,
    )


def _utf8_blocks(source: ByteSource, encoding: str | None) -> tuple[Iterator[bytes], str, int]:
    """The bytes of a source as UTF-8 blocks, a note about the encoding where it is not UTF-8, and how many bytes there
    will be (0 where that is not known)."""
    name, head, stream, size = source.name, source.head, source.stream, source.size
    note = ""
    if encoding is not None:
        encoding = codecs.lookup(encoding).name
    elif head[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        encoding, note = "utf-32", "the file is UTF-32"
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
        except UnicodeError as error:
            raise InvalidDataError(
                f"{name}: this is not {encoding} ({error}). Name the right encoding; left out, it is found out."
            ) from None

    return transcoded_blocks(), note, 0


def _checked_blocks(name: str, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """All blocks, with an ``InvalidDataError`` where reading fails. Lone CR end lines, too."""
    old_mac = b"\n" not in first and b"\r" in first
    block: bytes | None = first
    try:
        while block is not None:
            yield block.replace(b"\r", b"\n") if old_mac else block
            block = next(rest, None)
    except DAMAGE as error:
        raise _part_way(name, error) from error


def _zero_bytes(name: str, block: bytes) -> InvalidDataError:
    head = block[:HEAD_BYTES]
    if head[6:9] == b"\0\0{":
        return InvalidDataError(f"{name}: this is a model file, not a table. Give the table of purchases.")
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros.count(b"\0") > len(zeros) * 3 // 4:
            return InvalidDataError(
                f"{name}: every other byte is zero, as in UTF-16. Read it with encoding={encoding!r}."
            )
    return InvalidDataError(
        f"{name}: this is no text (it has zero bytes). Give a CSV, TSV, JSON lines or Parquet file; "
        "zero bytes within a text table are taken out by: tr -d '\\000'."
    )


def _part_way(name: str, error: BaseException) -> InvalidDataError:
    return InvalidDataError(f"{name}: reading failed part-way ({error}). Get another copy.")


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
