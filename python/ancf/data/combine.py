"""Several raw tables as one, rows in the order of the tables; each row's table stays known by its name.

Columns are matched by role, so they may stand in any order and have other headings in each table. Dates that are text
are read together: what one table says about the order of day and month holds for all.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data import timestamps
from ancf.data.raw_table import (
    MAX_UNPARSED_TEXTS,
    EncodedColumn,
    LeftOut,
    NumberColumn,
    RawTable,
    TimeColumn,
    Unparsed,
)
from ancf.data.report import FileAccount, Noted, Reason, RowSample
from ancf.data.spill import join_rows, recode_rows
from ancf.errors import InvalidDataError

_OPTIONAL_TEXTS = ("name", "category", "event", "basket")
_TIME_NOTES = frozenset({"date_order", "time_zones", "time_unit", "mixed_units", "early_numbers", "far_times"})
"""Notes of reading times."""


def combine(source: str, tables: Sequence[RawTable], passed_over: Sequence[str] = ()) -> RawTable:
    """One raw table of several; ``passed_over`` are files beside them that are none.

    Raises
    ------
    InvalidDataError
        If a table lacks the quantity or the time that another has, or ids are text in one and numbers in another.
    """
    roles = [
        role for role in ("user", "item", "weight", "time", *_OPTIONAL_TEXTS) if any(role in t.columns for t in tables)
    ]
    for role in ("weight", "time"):
        _refuse_lacking(role, tables)
    headings = {role: " / ".join(dict.fromkeys(t.columns[role] for t in tables if role in t.columns)) for role in roles}
    starts = np.concatenate([[0], np.cumsum([table.n_rows for table in tables])])
    whole = RawTable(
        source,
        int(starts[-1]),
        headings,
        row_base=tables[0].row_base,
        id_rules=tables[0].id_rules,
        files=[FileAccount(table.source, table.n_rows, 0, table.row_base) for table in tables],
    )
    whole.ignored = list(dict.fromkeys(name for table in tables for name in table.ignored))
    whole.blank_rows = _shifted([table.blank_rows for table in tables], starts)
    whole.long_rows = _shifted([table.long_rows for table in tables], starts)
    _combine_accounts(whole, tables, starts)
    for role in (each for each in roles if each not in ("weight", "time")):
        whole.ids[role] = _combine_ids(role, tables, whole)
    weights = [table.weight for table in tables if table.weight is not None]
    if weights:
        values = join_rows([weight.values for weight in weights])
        whole.weight = NumberColumn(values, _combine_unparsed([each.unparsed for each in weights], starts))
    if "time" in roles:
        whole.time = _combine_times(tables, whole, starts)
    if passed_over:
        shown = ", ".join(passed_over[:5]) + (", …" if len(passed_over) > 5 else "")
        noun = "file is" if len(passed_over) == 1 else "files are"
        whole.notes.append(("passed_over", f"{len(passed_over)} other {noun} not read: {shown}", None))
    return whole


def _refuse_lacking(role: str, tables: Sequence[RawTable]) -> None:
    having = [table for table in tables if role in table.columns]
    lacking = [table for table in tables if role not in table.columns]
    if having and lacking:
        what = "quantity" if role == "weight" else "time"
        names = ", ".join(table.source for table in lacking[:5]) + (", …" if len(lacking) > 5 else "")
        raise InvalidDataError(
            f"{names}: no column is recognized as the {what}, which {having[0].source} has "
            f"({having[0].columns[role]!r}). Name the column alike in all tables, or read all without: {role}=False."
        )


def _shifted(parts: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([rows + start for rows, start in zip(parts, starts[:-1], strict=True)]).astype(np.int64)


def _combine_accounts(whole: RawTable, tables: Sequence[RawTable], starts: NDArray[np.int64]) -> None:
    """Rows left out, lines skipped and notes of all tables; equal ones become one."""
    notes: dict[tuple[str, str], list[tuple[str, Noted | None]]] = {}
    left_out: dict[tuple[str, str, bool], tuple[list[NDArray[np.int64]], list[str]]] = {}
    for table, start in zip(tables, starts[:-1], strict=True):
        for name, text, noted in table.notes:
            if name not in _TIME_NOTES or table.time_texts is None:  # decided for all together
                notes.setdefault((name, text), []).append((table.source, None if noted is None else noted + start))
        for each in table.left_out:
            rows, values = left_out.setdefault((each.name, each.text, each.is_bad), ([], []))
            values += each.values if sum(map(len, rows)) == len(values) else []
            rows.append(each.rows + start)
        for reason in table.skipped:
            files = (table.source,) * len(reason.first_rows)
            whole.skipped.append(Reason(reason.name, reason.rows, reason.text, reason.first_rows, reason.values, files))
    for (name, text), parts in notes.items():
        known_rows = [rows for _, rows in parts if rows is not None]
        if len(known_rows) == len(parts):
            whole.notes.append((name, text, _join_noted(known_rows)))
        else:
            names = ", ".join(source for source, _ in parts[:5]) + (", …" if len(parts) > 5 else "")
            whole.notes.append((name, text if len(parts) == len(tables) else f"{text} ({names})", None))
    for (name, text, is_bad), (rows, values) in left_out.items():
        whole.left_out.append(LeftOut(name, text, np.concatenate(rows), values[:MAX_UNPARSED_TEXTS], is_bad))


def _join_noted(parts: Sequence[Noted]) -> Noted:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)  # type: ignore[arg-type]
    return reduce(RowSample.joined, map(RowSample.of, parts))


def _kind_of_ids(column: EncodedColumn) -> str:
    if not len(column.values):
        return ""
    if column.values.dtype != object:
        return "numbers"
    return "text" if isinstance(column.values[0], str) else type(column.values[0]).__name__


def _combine_ids(role: str, tables: Sequence[RawTable], whole: RawTable) -> EncodedColumn:
    columns = [table.ids.get(role) for table in tables]
    kinds: dict[str, str] = {}
    for table, column in zip(tables, columns, strict=True):
        if column is not None and (kind := _kind_of_ids(column)):
            kinds.setdefault(kind, table.source)
    if len(kinds) > 1:
        (kind, source), (other_kind, other_source), *_ = kinds.items()
        raise InvalidDataError(
            f"{other_source}: the {role} ids are {other_kind} where those of {source} are {kind}, and none would be "
            f"equal. Give both as text: frame.astype({{{tables[0].columns[role]!r}: str}}), or save both files as CSV."
        )
    lacking = [table.source for table, column in zip(tables, columns, strict=True) if column is None]
    if lacking:
        whole.notes.append((f"no_{role}", f"no {role} column is in {', '.join(lacking[:5])}", None))
    values = [column.values for column in columns if column is not None and len(column.values)]
    if not values:
        return EncodedColumn(np.full(whole.n_rows, -1, np.int32), np.empty(0, object))
    codes, distinct = pd.factorize(np.concatenate(values))
    recoded, at = [], 0
    for table, column in zip(tables, columns, strict=True):
        if column is None:
            recoded.append(np.full(table.n_rows, -1, np.int32))
            continue
        new_code = codes[at : at + len(column.values)].astype(np.int32)
        recoded.append(recode_rows(column.codes, new_code))
        at += len(column.values)
    return EncodedColumn(join_rows(recoded), np.asarray(distinct))


def _combine_unparsed(parts: Sequence[Unparsed], starts: NDArray[np.int64]) -> Unparsed:
    rows: list[NDArray[np.int64]] = []
    texts: list[str] = []
    for part, start in zip(parts, starts[:-1], strict=True):
        # The texts are those of the first rows, without a gap.
        texts += part.texts if sum(map(len, rows)) == len(texts) else []
        rows.append(part.rows + start)
    return Unparsed(np.concatenate(rows), texts[:MAX_UNPARSED_TEXTS])


def _combine_times(tables: Sequence[RawTable], whole: RawTable, starts: NDArray[np.int64]) -> TimeColumn:
    _read_texts_together(tables, whole, starts)
    times = [table.time for table in tables if table.time is not None]
    seconds = join_rows([time.seconds for time in times])
    return TimeColumn(seconds, _combine_unparsed([time.unparsed for time in times], starts), times[0].options)


def _read_texts_together(tables: Sequence[RawTable], whole: RawTable, starts: NDArray[np.int64]) -> None:
    """Read the dates that are text once more, now with those of the other tables."""
    dated = [(table, table.time_texts) for table in tables if table.time_texts is not None]
    if not dated:
        return
    starts_of = [
        (table, start) for table, start in zip(tables, starts[:-1], strict=True) if table.time_texts is not None
    ]
    pooled: dict[str, int] = {}
    joined: list[NDArray[Any]] = []
    for _, column in dated:
        new_code = [pooled.setdefault(text, len(pooled)) for text in column.values]
        joined.append(np.append(np.array(new_code, np.int32), np.int32(-1))[column.codes[:]])
    texts = list(pooled)
    first = dated[0][0].time
    assert first is not None
    all_codes = np.concatenate(joined)
    what = f"the time column {whole.columns['time']!r} of {whole.source}"
    together = timestamps.read_rows(
        len(all_codes), first.options, what, texts=(np.arange(len(all_codes)), all_codes, texts)
    )
    # Rows of these tables among those of all.
    rows_of = np.concatenate([np.arange(table.n_rows) + start for table, start in starts_of])
    for name, text, noted, hint in together.notes:
        whole.notes.append((name, "; ".join(filter(None, (text, hint))), None if noted is None else rows_of[noted]))
    at = 0
    for (table, _), codes in zip(dated, joined, strict=True):
        seconds = together.seconds[at : at + len(codes)]
        rows = np.flatnonzero(seconds == timestamps.UNKNOWN)
        shown = ["" if code < 0 else texts[code] for code in codes[rows[:MAX_UNPARSED_TEXTS]].tolist()]
        table.time = TimeColumn(seconds, Unparsed(rows, shown), first.options)
        at += len(codes)
