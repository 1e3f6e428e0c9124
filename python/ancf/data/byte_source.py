"""The bytes of a file, an archive's member, standard input or a file object, unpacked as they are read.

What is no text table is told from its first bytes and refused by name, whatever the file is called.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ancf.errors import InvalidDataError

HEAD_BYTES = 1 << 16
"""How much of a file is looked at to find out what it is."""

DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
"""What reading damaged data raises, by the way it is packed."""

_UNPACKERS: tuple[tuple[bytes, str, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
)

ZIP_MAGIC = b"PK\x03\x04"

_FOREIGN_FORMATS = {
    b"\x28\xb5\x2f\xfd": "compressed with zstd, which is not unpacked here. Unpack it first: zstd -d",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive. Unpack it first",
    b"Rar!": "a RAR archive. Unpack it first",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document. Export the table as CSV instead",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save it as CSV (UTF-8)",
    b"\x93NUMPY": "a NumPy array. Load it and pass the array",
    b"PAR1": "Parquet, which is read by the path of its file alone. Give the path of the unpacked file",
    b"ARROW1": "an Arrow file. Load it with pyarrow and pass the table",
    b"ORC": "an ORC file. Load it with pyarrow and pass the table",
    b"\x89HDF": "an HDF5 file. Load it with pandas and pass the frame",
    b"SQLite format 3": "an SQLite database. Export the table as CSV",
}
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|\?xml)", re.IGNORECASE)
_TAR_MAGIC_AT = 257


@dataclass(frozen=True)
class ZipMember:
    """A table in a zip archive."""

    archive: Any
    """A path, or a file object that can seek."""
    member: str


@dataclass
class ByteSource:
    """An open source: its first bytes, and the stream of those after them."""

    name: str
    head: bytes
    stream: Any
    size: int = 0
    """Bytes of the file, where they are known beforehand."""


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


def open_bytes(source: Any, stack: ExitStack) -> ByteSource:
    """Open a path, ``"-"`` for standard input, a file object or a ``ZipMember``; ``stack`` closes what is opened here.

    Raises
    ------
    InvalidDataError
        If the file is absent, damaged, or of a kind that holds no text table.
    """
    name, stream = _open_stream(source, stack)
    try:
        head = stream.read(HEAD_BYTES) or b""
    except DAMAGE as error:
        raise InvalidDataError(f"{name}: {error}. Check that the file can be read, or get another copy.") from error
    if not isinstance(head, bytes):
        raise InvalidDataError(
            f"{name}: the file object gives {type(head).__name__}, not bytes. Open it in binary mode."
        )
    size = os.fstat(stream.fileno()).st_size if isinstance(stream, io.FileIO) else 0
    for magic, method, unpack in _UNPACKERS:
        if head.startswith(magic):
            size = 0
            stream = unpack(io.BufferedReader(_PrefixedStream(head, stream), 1 << 20))
            try:
                head = stream.read(HEAD_BYTES)
            except DAMAGE as error:
                raise InvalidDataError(f"{name}: the {method} data is damaged ({error}). Get another copy.") from error
            break
    _refuse_foreign(name, head)
    return ByteSource(name, head, stream, size)


def _open_stream(source: Any, stack: ExitStack) -> tuple[str, Any]:
    if isinstance(source, ZipMember):
        return _open_member(source, stack)
    if isinstance(source, (str, Path)) and str(source) != "-":
        try:
            return str(source), stack.enter_context(Path(source).open("rb", buffering=0))
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


def _open_member(source: ZipMember, stack: ExitStack) -> tuple[str, Any]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(source.archive))
        return source.member, stack.enter_context(archive.open(source.member))
    except RuntimeError as error:
        raise InvalidDataError(
            f"{source.member}: the archive asks for a password. Unpack it first and give the folder."
        ) from error
    except DAMAGE as error:
        raise InvalidDataError(f"{source.member}: the zip data is damaged ({error}). Get another copy.") from error


def _refuse_foreign(name: str, head: bytes) -> None:
    found = next((what for magic, what in _FOREIGN_FORMATS.items() if head.startswith(magic)), "")
    if head.startswith(ZIP_MAGIC):
        found = (
            "an Excel workbook. Save it as CSV (UTF-8)"
            if b"[Content_Types].xml" in head or b"xl/" in head
            else "a zip archive, which can be read by its path alone. Give the path, or unpack it first"
        )
    elif head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        found = "a tar archive. Unpack it first and give the folder"
    elif _MARKUP.match(head):
        page = b"?xml" not in head[:64].lower()
        found = (
            "an HTML page, perhaps an error or a log-in in place of a download. Get the table itself"
            if page
            else "an XML document. Export the table as CSV"
        )
    if found:
        what, _, remedy = found.partition(". ")
        raise InvalidDataError(
            f"{name} is {what}, not a text table. {remedy or 'Give a CSV, TSV, JSON lines or Parquet file'}."
        )
