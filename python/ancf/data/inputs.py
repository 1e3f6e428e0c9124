"""Which tables a source stands for: a folder, a pattern, a zip archive or a list is several, anything else is one.

Files of a folder, a pattern or an archive come in the order of their names, those of a list as they stand there.
"""

import glob
import io
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ancf.data.array_folder import is_array_folder, is_unfinished
from ancf.data.byte_source import DAMAGE, ZIP_MAGIC, ZipMember
from ancf.errors import InvalidDataError

_TABLE_NAME = re.compile(
    r"\.(csv|tsv|tab|txt|dat|json|jsonl|ndjson|parquet|pq)(\.(gz|bz2|xz|zst))?$|\.zip$", re.IGNORECASE
)
_PACKED = re.compile(r"\.(gz|bz2|xz|zst|zip)$", re.IGNORECASE)


@dataclass
class Inputs:
    """The tables that a source stands for."""

    name: str
    """Of all of them."""
    tables: list[tuple[str, Any]]
    """The name of each in the account, and what it is read from."""
    passed_over: list[str] = field(default_factory=list)
    """Names of other files beside them."""


def find_inputs(source: Any) -> Inputs | None:
    """The tables of a source that may be several; None for a source that is one.

    Raises
    ------
    InvalidDataError
        If there is no table, or one is given twice.
    """
    if isinstance(source, str) and not source.strip():
        raise InvalidDataError(f"{source!r} is no path. Give the path of a table.")
    if isinstance(source, (str, Path)):
        return _of_standard_input() if str(source) == "-" else _of_path(source)
    if hasattr(source, "read"):
        return _of_archive(source, str(getattr(source, "name", "file object"))) if _is_zip_object(source) else None
    if isinstance(source, Sequence) and len(source) and all(map(_is_table, source)):
        return _of_list(source)
    return None


def _is_table(each: Any) -> bool:
    """Whether an entry of a list is a table or a path (a list of anything else is a list of rows)."""
    return isinstance(each, (str, Path)) or hasattr(each, "read") or hasattr(each, "__arrow_c_stream__")


def _of_standard_input() -> Inputs | None:
    """An archive is kept in memory, packed as it is: its list of members stands at its end."""
    try:
        stream: Any = sys.stdin.buffer
        if _is_zip_object(stream):
            return _of_archive(stream, "standard input")
        if stream.seekable() or stream.peek(len(ZIP_MAGIC))[: len(ZIP_MAGIC)] != ZIP_MAGIC:
            return None
        packed = io.BytesIO(stream.read())
    except (AttributeError, OSError, ValueError):  # what is wrong with it is told when it is read
        return None
    return _of_archive(packed, "standard input")


def _of_path(source: str | Path) -> Inputs | None:
    path = Path(source)
    try:
        is_folder, is_archive, is_there = path.is_dir(), path.is_file() and _is_zip(path), path.exists()
    except (OSError, ValueError):  # what is wrong with the path is told when it is opened
        return None
    if is_folder:
        return _of_folder(source, path)
    if is_archive:
        return _of_archive(path, str(source))
    if is_there or not glob.has_magic(str(source)):
        return None
    found = sorted(each for each in glob.iglob(str(source), recursive=True) if Path(each).is_file())  # noqa: PTH207, a path of any kind
    if not found:
        raise InvalidDataError(f"{source}: no file has a name like this. Check the pattern.")
    names = _short_names([Path(each) for each in found])
    return _expanded(str(source), list(zip(names, map(Path, found), strict=True)))


def _of_folder(source: str | Path, folder: Path) -> Inputs:
    if is_array_folder(folder):
        raise InvalidDataError(
            f"{source} is a prepared table, which is not read together with others. Read each, and join them: "
            "ancf.concat([one, other])."
        )
    if is_unfinished(folder):
        raise InvalidDataError(
            f"{source} holds no whole table: what prepared it was interrupted. Prepare it again, or remove the folder."
        )
    tables, passed_over = [], []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_file() and _TABLE_NAME.search(path.name) and not path.name.startswith("."):
            tables.append((path.name, path))
        elif not path.name.startswith((".", "_")):  # those are marks of programs, such as _SUCCESS
            passed_over.append(path.name)
    if not tables:
        raise InvalidDataError(
            f"{source} is a folder without a table (.csv, .tsv, .txt, .jsonl, .parquet, packed or not). "
            "Give the path of the tables, such as 'folder/*.log'."
        )
    inputs = _expanded(str(source), tables)
    inputs.passed_over += passed_over
    return inputs


def _of_archive(archive: Any, name: str) -> Inputs:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = sorted(each for each in opened.namelist() if not each.endswith("/"))
    except DAMAGE as error:
        raise InvalidDataError(
            f"{name}: the zip archive (or Excel workbook) is damaged ({error}). Get another copy."
        ) from error
    if "[Content_Types].xml" in members:
        raise InvalidDataError(f"{name} is an Excel workbook, not a text table. Save it as CSV (UTF-8).")
    if "mimetype" in members and "content.xml" in members:
        raise InvalidDataError(f"{name} is an OpenDocument file, not a text table. Save it as CSV (UTF-8).")
    visible = [each for each in members if not re.search(r"(^|/)(\.|__MACOSX/)", each)]
    tables = [each for each in visible if _TABLE_NAME.search(each) and not each.lower().endswith(".zip")]
    if len(visible) == 1:
        tables = visible  # whatever it is called
    if not tables:
        raise InvalidDataError(
            f"{name}: no table is in the zip archive ({', '.join(visible[:5]) or 'it is empty'}). "
            "Unpack it and give the path of the table."
        )
    passed_over = [each for each in visible if each not in tables]
    return Inputs(name, [(each, ZipMember(archive, each)) for each in tables], passed_over)


def _of_list(sources: Sequence[Any]) -> Inputs:
    paths = [each for each in sources if isinstance(each, (str, Path))]
    short = iter(_short_names([Path(each) for each in paths]))
    tables = []
    for at, each in enumerate(sources, 1):
        if isinstance(each, (str, Path)):
            tables.append((next(short), each))
        else:
            name = getattr(each, "name", None)
            tables.append((name if isinstance(name, str) else f"table {at}", each))
    names = [name for name, _ in tables]
    return _expanded(", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more", tables)


def _expanded(name: str, tables: Sequence[tuple[str, Any]]) -> Inputs:
    """With the tables of folders, patterns and archives among them in their place; nothing twice."""
    inputs = Inputs(name, [])
    for short, source in tables:
        inner = _of_path(source) if isinstance(source, (str, Path)) and str(source) != "-" else None
        if inner is None:
            inputs.tables.append((short, source))
        else:
            prefix = f"{short.rstrip('/')}/" if len(tables) > 1 else ""
            inputs.tables += [(prefix + each, table) for each, table in inner.tables]
            inputs.passed_over += [prefix + each for each in inner.passed_over]
    _refuse_twice(inputs)
    return inputs


def _refuse_twice(inputs: Inputs) -> None:
    seen: dict[Any, str] = {}
    for name, source in inputs.tables:
        key: Any = source if isinstance(source, ZipMember) else id(source)
        if isinstance(source, (str, Path)):
            # jan.csv and jan.csv.gz are one table, packed and not.
            key = "-" if str(source) == "-" else _PACKED.sub("", str(Path(source).resolve()))
        if key in seen:
            raise InvalidDataError(
                f"{inputs.name}: {name} is the same table as {seen[key]}, whose purchases would count twice. "
                "Give it once."
            )
        seen[key] = name


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) and all(names) else [str(path) for path in paths]


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == ZIP_MAGIC


def _is_zip_object(source: Any) -> bool:
    """Whether a file object that can seek stands at the beginning of a zip archive."""
    try:
        if not source.seekable() or source.tell() != 0:
            return False
        head = source.read(4)
        source.seek(0)
    except (AttributeError, OSError, ValueError, UnicodeError):
        return False
    return bool(head == ZIP_MAGIC)
