"""``read_features``: a table of attributes in, one checked row for each id out.

Each column becomes one of four kinds by what stands in it, or by what its caller says:

- number: all values are numbers; booleans, dates and numbers with leading zeros are none,
- tags: lists, or texts in which ``|`` or ``;`` separates what comes up in several rows,
- text: several words, and nearly every row has another one,
- category: everything else.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf._text import format_value
from ancf.checks import check_choice
from ancf.data.arrow_tables import open_stream, read_parquet, series_of_column
from ancf.data.byte_source import DAMAGE, open_bytes
from ancf.data.columns import KNOWN_HEADINGS, ColumnChoice, format_headings, is_position, normalize_heading
from ancf.data.feature_columns import KINDS, FeatureColumn, Kind, NumericColumn, column_from_cells
from ancf.data.features import FeatureReport, Features
from ancf.data.frame_columns import columns_of_frame, heading_text
from ancf.data.ids import IdMap
from ancf.data.json_lines import is_json
from ancf.data.raw_table import RawTable, encode_ids, parse_number
from ancf.data.report import N_FIRST_ROWS, Reason
from ancf.data.text_header import TextOptions, sniff_delimiter
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call

Side = Literal["items", "users"]
KindChoice = Literal["category", "number", "text", "tags", "ignore"]

MISSING_WORDS = frozenset({"", "nan", "null", "<na>", "n/a", "#n/a", "na", "nat", "\\n"})
"""What stands for a missing attribute, in capitals or not."""

_SEPARATORS = ("|", ";", ",")
_LONG_WORD = 8
"""A text without spaces that is longer may be several words of a language that writes none."""
_TAGGED_SHARE = 0.2
"""The least share of values with a separator in a column of tags."""


@checks_call
def read_features(
    source: Any,
    *,
    of: Side = "items",
    id: ColumnChoice = None,  # noqa: A002
    kinds: Mapping[str, KindChoice] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Features:
    """Read a table of attributes of items or users: categories, numbers, texts and tags by id.

    Parameters
    ----------
    source : path, "-", file object, DataFrame, Arrow table or dict
        A text table, JSON (one object a line, or an array of them), Parquet; a dict of columns, or a dict from an id to
        a dict of its attributes. Rows of one id beyond its last are left out, and counted.
    of : "items" or "users"
        Whose attributes they are, which says how the column of ids is recognized.
    id : heading or position, optional
        The column of ids; recognized by its heading if left out.
    kinds : mapping column → "category", "number", "text", "tags" or "ignore", optional
        What is not told is recognized.
    delimiter, encoding : str, optional
        Of a text table; found out if left out.

    Returns
    -------
    Features

    Raises
    ------
    InvalidDataError
        If there is no table, no column of ids, two columns have one name, or values are not of the kind that was told.
    InvalidParameterError
        If an option has no meaning, or names a column that is not there.
    MissingExtraError
        If Parquet or Arrow data is given and pyarrow is not installed.

    Examples
    --------
    >>> import io, ancf
    >>> ancf.read_features(io.BytesIO(b"sku,price,tags\\n007,3.5,tea|green\\n008,,tea\\n"))
    Features(2 rows: price (number, 1 missing), tags (tags, 2 values))
    """
    check_choice("of", of, ("items", "users"))
    return _read(source, of, id, kinds, TextOptions(delimiter=delimiter, encoding=encoding).checked(), None)


def read_features_like(source: Any, of: Side, known: Features | None) -> Features:
    """A table whose columns have the kinds that they have in another one, where that has them."""
    return _read(source, of, None, None, TextOptions(), known)


def _read(source: Any, of: Side, choice: Any, kinds: Any, text: TextOptions, known: Features | None) -> Features:
    if isinstance(source, Features):
        raise InvalidDataError("these are attributes already; there is nothing to read.")
    frame, name, row_base = _frame_of(source, text)
    frame, headings, full, _ = columns_of_frame(frame)
    names = [heading_text(heading) for heading in headings]
    at = _place_of_ids(choice, headings, full, of, name)
    told = _told_kinds(kinds, names, at, name)
    if known is not None:
        told |= {heading: known[heading].kind for heading in names if heading in known}
    report = FeatureReport(name, names[at], len(frame))
    if not len(frame):
        raise InvalidDataError(f"{name}: there are no rows (columns: {format_headings(names)}).")
    ids, rows = _rows_by_id(frame.iloc[:, at], "item" if of == "items" else "user", report, row_base)
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise InvalidDataError(f"{name}: the heading {twice!r} stands {names.count(twice)} times. Rename one of them.")
    columns: dict[str, FeatureColumn] = {}
    for place, heading in enumerate(names):
        if place == at or told.get(heading) == "ignore":
            continue
        column = _column(frame.iloc[:, place].iloc[rows], told.get(heading), f"{name}: the column {heading!r}", report)
        if column is None or column.missing.all():
            report.ignored += (heading,)
        else:
            columns[heading] = column
    return Features(ids, columns, report)


# ---- from a source to a frame


def _frame_of(source: Any, text: TextOptions) -> "tuple[pd.DataFrame, str, int]":
    """The table as a frame, what messages call it, and the number of its first row."""
    if isinstance(source, (str, Path)) and _is_parquet(source):
        return _frame_of_arrow(read_parquet(source), str(source), text), str(source), 0
    if isinstance(source, (str, Path)) or hasattr(source, "read"):
        return _frame_of_text(source, text)
    for each in text.given():
        raise InvalidParameterError(f"{each}: a {type(source).__name__} is no text table, so this says nothing.")
    if isinstance(source, pd.DataFrame):
        return source, "DataFrame", 0
    if isinstance(source, pd.Series):
        return source.to_frame("value" if source.name is None else source.name), "Series", 0
    if hasattr(source, "__arrow_c_stream__"):
        name = type(source).__name__
        return _frame_of_arrow(open_stream(source).read_all(), name, text), name, 0
    if isinstance(source, Mapping):
        try:
            if source and all(isinstance(each, Mapping) for each in source.values()):
                rows = list(source.values())
                keys = dict.fromkeys(key for row in rows for key in row)
                columns = {key: pd.Series([row.get(key) for row in rows], dtype=object) for key in keys}
                frame = pd.DataFrame({"id": pd.Series(list(source), dtype=object), **columns})
                return frame, "dict", 0
            return pd.DataFrame({key: _series_of(value) for key, value in source.items()}), "dict", 0
        except (ValueError, TypeError) as error:
            raise InvalidDataError(f"dict: {error}. Give one value in each column for each id.") from None
    raise InvalidDataError(
        f"{format_value(source)} is no table of attributes. Give a path, a file object, a DataFrame, an Arrow table, a "
        "dict of columns, or a dict from an id to a dict of its attributes."
    )


def _series_of(value: Any) -> "pd.Series[Any]":
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise TypeError(f"{format_value(value)} is no column")
    if isinstance(value, (pd.Series, np.ndarray)):
        return pd.Series(value)
    listed = list(value)
    # Text stays as it is, also where it is no valid Unicode.
    return (
        pd.Series(listed, dtype=object)
        if any(isinstance(each, (str, list, tuple)) for each in listed)
        else pd.Series(listed)
    )


def _is_parquet(source: str | Path) -> bool:
    try:
        with Path(source).open("rb") as file:
            return file.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False


def _frame_of_arrow(table: Any, name: str, text: TextOptions) -> "pd.DataFrame":
    for each in text.given():
        raise InvalidParameterError(f"{each}: {name} is no text table, so this says nothing. Leave it out.")
    columns = [
        series_of_column(column, heading, name)
        for column, heading in zip(table.columns, table.column_names, strict=True)
    ]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    return frame.set_axis(list(table.column_names), axis=1)


def _frame_of_text(source: Any, options: TextOptions) -> "tuple[pd.DataFrame, str, int]":
    with ExitStack() as stack:
        opened = open_bytes(source, stack)
        name = opened.name
        try:
            raw = opened.head + (opened.stream.read() if opened.head else b"")
        except DAMAGE as error:
            raise InvalidDataError(f"{name}: reading failed part-way ({error}). Get another copy.") from error
    if not raw.strip():
        raise InvalidDataError(f"{name}: the file is empty. Give a table with a header line and rows.")
    text = _decode(raw, options.encoding, name)
    if is_json(raw):
        if options.delimiter is not None:
            raise InvalidParameterError(
                f"delimiter={options.delimiter!r}: {name} is JSON, where this says nothing. Leave it out."
            )
        return _frame_of_json(text, name), name, 1
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    delimiter = sniff_delimiter(lines[: 1 << 16]) if options.delimiter is None else options.delimiter
    reader = csv.reader(io.StringIO(lines), delimiter=delimiter)
    try:
        headings = next((row for row in reader if any(cell.strip() for cell in row)), [])
        first_row = reader.line_num + 1
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InvalidDataError(f"{name}: line {reader.line_num}: {error}. Check its quotes.") from None
    long = next((at for at, row in enumerate(rows) if len(row) > len(headings)), None)
    if long is not None:
        raise InvalidDataError(
            f"{name}: row {long + first_row} has {len(rows[long])} fields where the header has {len(headings)}. "
            "Put fields that hold the delimiter in quotes."
        )
    width = len(headings)
    filled = [row + [""] * (width - len(row)) for row in rows]
    columns = {at: pd.Series([row[at] for row in filled], dtype=object) for at in range(width)}
    frame = pd.DataFrame(columns).set_axis([heading.strip() for heading in headings], axis=1)
    return frame, name, first_row


def _decode(raw: bytes, encoding: str | None, name: str) -> str:
    if encoding is None:
        for mark, known in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
            if raw.startswith(mark):
                encoding = known
    try:
        return raw.decode(encoding or "utf-8")
    except UnicodeError as error:
        if encoding is not None:
            raise InvalidDataError(f"{name}: this is not {encoding} ({error}). Name the right encoding.") from None
        return raw.decode("cp1252", "replace")


def _frame_of_json(text: str, name: str) -> "pd.DataFrame":
    try:
        if text.lstrip()[:1] == "[":
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(f"{name}: this is no JSON ({error}). Write one object a line.") from None
    wrong = next((at for at, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise InvalidDataError(f"{name}: row {wrong + 1} is {format_value(rows[wrong])}, no object.")
    keys = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame({key: pd.Series([row.get(key) for row in rows], dtype=object) for key in keys})


# ---- ids


def _place_of_ids(choice: Any, headings: Sequence[Any], full: Sequence[Any], of: Side, name: str) -> int:
    if choice is not None:
        for listed in (full, headings):
            for at, heading in enumerate(listed):
                if type(heading) is type(choice) and heading == choice:
                    return at
        if is_position(choice) and 0 <= choice < len(headings):
            return int(choice)
        same = [at for at, each in enumerate(headings) if normalize_heading(each) == normalize_heading(choice)]
        if len(same) == 1 and not isinstance(choice, bool):
            return same[0]
        raise InvalidParameterError(f"id={choice!r}: {name} has no such column. It has {format_headings(headings)}.")
    normalized = [normalize_heading(heading) for heading in headings]
    for known in (*KNOWN_HEADINGS["item" if of == "items" else "user"], "id", "key", "index", "code"):
        if known in normalized:
            return normalized.index(known)
    raise InvalidDataError(
        f"{name}: no column is recognized as the ids of {of}. Found: {format_headings(headings)}. Rename the column "
        f"to 'id', or name it: ancf.read_features(table, id={str(headings[0])!r})."
        if len(headings)
        else f"{name}: there are no columns. Give a table with a column of ids."
    )


def _rows_by_id(column: Any, role: str, report: FeatureReport, row_base: int) -> tuple[IdMap, NDArray[np.int64]]:
    """The ids, ascending, and the row of each: its last one."""
    table = RawTable(report.source, len(column), {role: report.id_column}, row_base=row_base)
    encoded = encode_ids(column.reset_index(drop=True), role, table)
    for note, text, noted in table.notes:
        rows = noted if isinstance(noted, np.ndarray) else np.empty(0, np.int64)
        report.notes.append(_reason(note, text, np.flatnonzero(rows) if rows.dtype == bool else rows, row_base))
    present = np.flatnonzero(encoded.codes >= 0)
    absent = np.flatnonzero(encoded.codes < 0)
    if len(absent):
        report.reasons.append(_reason("no_id", f"have no {role} id", absent, row_base))
    if not len(present):
        raise InvalidDataError(f"{report.source}: no row has an id in the column {report.id_column!r}. Name another.")
    ids, codes = IdMap.factorize(encoded.values[encoded.codes[present]], "ids")
    rows = np.zeros(len(ids), np.int64)
    rows[codes] = present  # the last row of an id is written last
    earlier = np.setdiff1d(present, rows)
    if len(earlier):
        text = f"repeat the {role} id of a later row, which counts"
        report.reasons.append(_reason("repeated_id", text, earlier, row_base))
    report.rows_used = len(ids)
    return ids, rows


def _reason(name: str, text: str, rows: NDArray[Any], row_base: int) -> Reason:
    return Reason(name, len(rows), text, tuple(int(row) + row_base for row in rows[:N_FIRST_ROWS]))


# ---- columns


def _told_kinds(kinds: Any, names: Sequence[str], at: int, name: str) -> dict[str, KindChoice]:
    if kinds is None:
        return {}
    if not isinstance(kinds, Mapping):
        raise InvalidParameterError(
            f'kinds is {format_value(kinds)}; give a mapping, such as kinds={{"size": "number"}}.'
        )
    told: dict[str, KindChoice] = {}
    for heading, kind in kinds.items():
        if kind not in (*KINDS, "ignore"):
            raise InvalidParameterError(
                f"kinds: {heading!r} is {kind!r}; give one of {', '.join(map(repr, (*KINDS, 'ignore')))}."
            )
        same = [each for each in names if normalize_heading(each) == normalize_heading(heading)]
        exact = [each for each in names if each == str(heading)] or same
        if len(set(exact)) != 1:
            raise InvalidParameterError(f"kinds: {name} has no column {heading!r}. It has {format_headings(names)}.")
        if exact[0] == names[at]:
            raise InvalidParameterError(f"kinds: {heading!r} is the column of ids. Leave it out.")
        told[exact[0]] = kind
    return told


def _column(column: Any, kind: Any, what: str, report: FeatureReport) -> FeatureColumn | None:
    """One column as the kind that was told, or is recognized; None where nothing stands in it."""
    dtype = column.dtype
    types = pd.api.types
    if types.is_datetime64_any_dtype(dtype):
        if kind in (None, "number"):
            moments = column.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(dtype, "tz", None) else column
            days = moments.to_numpy("datetime64[s]").astype(np.int64) / 86400.0
            return NumericColumn(np.where(column.isna(), np.nan, days))
        column = column.astype(str)
    elif types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) and kind in (None, "number"):
        return NumericColumn(_finite(column.to_numpy(dtype=np.float64, na_value=np.nan), what))
    cells = [_cell(value) for value in column.to_numpy(dtype=object, na_value=None).tolist()]
    present = [cell for cell in cells if cell is not None]
    if not present:
        return None
    if kind is None:
        kind = "category" if isinstance(dtype, pd.CategoricalDtype) else _recognize(present)
    if kind == "tags":
        return column_from_cells("tags", _lists(cells))
    if any(isinstance(cell, list) for cell in present):
        raise InvalidDataError(f'{what} holds lists, which are no {kind}. Take kind "tags".')
    if kind == "number":
        numbers = [np.nan if cell is None else _number(cell) for cell in cells]
        bad = next(
            (cell for cell, number in zip(cells, numbers, strict=True) if cell is not None and number != number), None
        )
        if bad is not None:
            raise InvalidDataError(f'{what} holds {bad!r}, which is no number. Correct it, or take kind "category".')
        return NumericColumn(_finite(np.array(numbers, np.float64), what))
    return column_from_cells(kind, [None if cell is None else _text(cell) for cell in cells])


def _finite(numbers: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    if np.isinf(numbers).any():
        raise InvalidDataError(f"{what} holds a number that is infinite. Leave it empty.")
    return np.array(numbers)


def _cell(value: Any) -> Any:
    """A value as text, number, bool or list of texts; None where it is missing."""
    if isinstance(value, str):
        text = value.strip()
        return None if text.casefold() in MISSING_WORDS else text
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        parts = sorted(map(str, value)) if isinstance(value, (set, frozenset)) else value
        listed = [_text(each).strip() for each in map(_cell, parts) if each is not None]
        return [each for each in listed if each] or None
    if value is None or (isinstance(value, float) and value != value) or value is pd.NaT or value is pd.NA:
        return None
    return value


def _text(cell: Any) -> str:
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def _number(cell: Any) -> float:
    if isinstance(cell, (bool, np.bool_)):
        return float(cell)
    return parse_number(cell) if isinstance(cell, str) else float(cell)


def _recognize(present: Sequence[Any]) -> Kind:
    """The kind of a column by its values, none of which is missing."""
    if any(isinstance(cell, list) for cell in present):
        return "tags"
    if any(isinstance(cell, (bool, np.bool_)) for cell in present):
        return "category"
    if not any(isinstance(cell, str) for cell in present):
        return (
            "number"
            if all(isinstance(cell, (int, float, np.number)) or hasattr(cell, "as_tuple") for cell in present)
            else "category"
        )
    texts = [_text(cell) for cell in present]
    leading_zero = any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in texts)
    if not leading_zero and all(parse_number(text) == parse_number(text) for text in texts):
        return "number"
    separator = _separator(texts, told=False)
    if separator is not None:
        return "tags"
    distinct = len(set(texts))
    words = sum(len(text.split()) > 1 or (len(text) > _LONG_WORD and not text.isascii()) for text in set(texts))
    if distinct > max(0.5 * len(texts), 1) and words > 0.5 * distinct:
        return "text"
    return "category"


def _separator(texts: Sequence[str], *, told: bool) -> str | None:
    """What separates tags: a sign in enough of the texts whose parts come up more than once."""
    for separator in _SEPARATORS if told else _SEPARATORS[:2]:
        n_with = sum(separator in text for text in texts)
        if n_with == 0 or (not told and n_with < _TAGGED_SHARE * len(texts)):
            continue
        parts = [part.strip() for text in texts for part in text.split(separator)]
        if told or len(set(parts)) < 0.7 * len(parts) or max(map(len, parts)) <= 20:
            return separator
    return None


def _lists(cells: Sequence[Any]) -> list[list[str] | None]:
    """Tags as lists: those that are lists already, JSON lists, and texts cut at their separator."""
    decoded = [_json_list(cell) if isinstance(cell, str) else cell for cell in cells]
    separator = _separator([cell for cell in decoded if isinstance(cell, str)], told=True)
    found: list[list[str] | None] = []
    for cell in decoded:
        if cell is None or isinstance(cell, list):
            found.append(cell or None)
            continue
        text = _text(cell)
        parts = [part.strip() for part in (text.split(separator) if separator else [text])]
        found.append([part for part in parts if part] or None)
    return found


def _json_list(cell: str) -> Any:
    if cell[:1] == "[" and cell[-1:] == "]":
        try:
            return _cell(json.loads(cell))
        except ValueError:
            return cell
    return cell
