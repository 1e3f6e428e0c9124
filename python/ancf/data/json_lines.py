"""JSON as a text table: one object a line, or an array of objects; keys are headings, numbers stay as they are written.

Objects within objects are columns by the keys that lead there (``{"user": {"id": 1}}`` has a column ``user.id``). The
values of the columns that are needed go through the scanner as text, so ids are text, as in other text tables, and no
more than a block of the file is held. The keys are those of the first ``ROWS_LOOKED_AT`` objects.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from ancf.data.columns import ColumnChoice, recognize_columns
from ancf.errors import InvalidDataError

JSON_DELIMITER = "\x1f"
"""Stands between the values on their way to the scanner."""
ROWS_LOOKED_AT = 1000
MAX_OBJECT_BYTES = 1 << 24
MAX_BAD_TEXTS = 20
_ROWS_PER_BLOCK = 8192
_BEGINS_JSON = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\]])")

Row = dict[str, Any] | str | None
"""The values of an object, the text of what is none, or None for a blank line."""

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def is_json(first: bytes) -> bool:
    """Whether a text begins as JSON does.

    Examples
    --------
    >>> is_json(b'{"user": 1, "item": 2}'), is_json(b"user,item")
    (True, False)
    """
    return _BEGINS_JSON.match(first) is not None


class JsonRows:
    """The rows of JSON text as delimited text.

    Attributes
    ----------
    headings : list of str
        All keys of the first objects, in the order in which they occur.
    bad_rows : list of int
        Rows (from 0) that are no objects, known once ``blocks`` is exhausted.
    bad_texts : list of str
        What stands in the first of them.
    late_keys : dict
        Keys that the first objects do not have, and the first row of each.
    """

    def __init__(self, name: str, blocks: Iterator[bytes], chosen: Mapping[str, ColumnChoice]) -> None:
        self.name = name
        self.bad_rows: list[int] = []
        self.bad_texts: list[str] = []
        self.late_keys: dict[str, int] = {}
        first = next(blocks)
        self.is_array = first.lstrip()[:1] == b"["
        blocks = chain([first], blocks)
        rows = self._array(blocks) if self.is_array else self._lines(blocks)
        beginning = list(islice(rows, ROWS_LOOKED_AT))
        self._rows = chain(beginning, rows)
        keys = dict.fromkeys(key for row in beginning if isinstance(row, dict) for key in row)
        self.headings = list(keys)
        first_object = next((row for row in beginning if isinstance(row, dict)), None)
        if not self.headings or first_object is None or isinstance(beginning[0], str):
            raise InvalidDataError(
                f"{name}: this begins like JSON, but is neither one object a line nor an array of objects. "
                "Write one object a line, such as jq -c does, or read it by pandas and give the data frame."
            )
        self._roles = {at: role for role, at in recognize_columns(self.headings, chosen, name).items()}
        self.first_row = self._cells(0, first_object)

    def blocks(self) -> Iterator[bytes]:
        """The rows as UTF-8, only the columns that are needed filled in."""
        known = set(self.headings)
        empty = [""] * len(self.headings)
        out = io.StringIO()
        writer = csv.writer(out, delimiter=JSON_DELIMITER, lineterminator="\n")
        for at, row in enumerate(self._rows):
            if isinstance(row, dict):
                cells = self._cells(at, row)
                if not row.keys() <= known:
                    for key in row.keys() - known:
                        self.late_keys.setdefault(key, at)
            else:
                cells = [] if row is None else empty
                if row is not None:
                    self.bad_rows.append(at)
                    self.bad_texts += [row] if len(self.bad_texts) < MAX_BAD_TEXTS else []
            if cells:
                writer.writerow(cells)
            else:
                out.write("\n")
            if at % _ROWS_PER_BLOCK == _ROWS_PER_BLOCK - 1:
                yield out.getvalue().encode("utf-8", "surrogatepass")
                out.seek(0)
                out.truncate()
        yield out.getvalue().encode("utf-8", "surrogatepass")

    def _cells(self, at: int, row: dict[str, Any]) -> list[str]:
        cells = [""] * len(self.headings)
        for position, role in self._roles.items():
            value = row.get(self.headings[position])
            if isinstance(value, str):
                cells[position] = value
            elif isinstance(value, bool):
                cells[position] = "true" if value else "false"
            elif value is not None:
                raise InvalidDataError(
                    f"{self.name}: the {role} column {self.headings[position]!r} holds a list in row {at + 1} "
                    f"({_short(json.dumps(value))}). Write one row for each entry."
                )
        return cells

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[Row]:
        rest = b""
        for block in blocks:
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield _parse_line(line)
            if len(rest) > MAX_OBJECT_BYTES:
                raise InvalidDataError(
                    f"{self.name}: a line is longer than {MAX_OBJECT_BYTES >> 20} MB. Write one object a line."
                )
        if rest:
            yield _parse_line(rest)

    def _array(self, blocks: Iterator[bytes]) -> Iterator[Row]:
        """The entries of one array; a block is decoded when the entry before it is complete."""
        text, at, n_rows = "", 0, 0
        undecoded = b""
        separator = _OPENING
        for block in chain(blocks, [None]):
            if block is not None:
                undecoded += block
                cut = undecoded.rfind(b"}") + 1  # an entry ends there, and so does a character
                text, at = text[at:] + undecoded[:cut].decode("utf-8", "replace"), 0
                undecoded = undecoded[cut:]
            else:
                text, at = text[at:] + undecoded.decode("utf-8", "replace"), 0
            while True:
                begin = separator.match(text, at)
                end = begin.end() if begin else at
                if text[end : end + 1] == "]":
                    if text[end + 1 :].strip() or (undecoded.strip() and block is not None):
                        raise InvalidDataError(
                            f"{self.name}: something follows the JSON array, after row {n_rows}. Give one array alone."
                        )
                    return
                try:
                    value, at = _DECODER.raw_decode(text, end)
                except RecursionError:
                    raise InvalidDataError(
                        f"{self.name}: the JSON array is nested too deeply after row {n_rows}. Write one object a line."
                    ) from None
                except json.JSONDecodeError as error:
                    if block is None or len(text) - at > MAX_OBJECT_BYTES:
                        raise InvalidDataError(
                            f"{self.name}: the JSON array is damaged after row {n_rows} ({error.msg}). "
                            "Get another copy, or write one object a line."
                        ) from None
                    break
                n_rows, separator = n_rows + 1, _COMMA
                yield _flat(value) if isinstance(value, dict) else _short(json.dumps(value))


_OPENING, _COMMA = re.compile(r"\s*\[\s*"), re.compile(r"\s*,?\s*")


def _parse_line(line: bytes) -> Row:
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        value = _DECODER.decode(text)
    except (json.JSONDecodeError, RecursionError):
        return _short(text)
    return _flat(value) if isinstance(value, dict) else _short(text)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Objects within an object as keys with dots."""
    if not any(type(value) is dict for value in values.values()):
        return values
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": each for inner, each in _flat(value).items()}
        else:
            flat[key] = value
    return flat


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
