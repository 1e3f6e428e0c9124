"""Tables in memory, and Parquet: columns of pandas or Arrow as a raw table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ancf._pandas import pd
from ancf.data.array_tables import (
    check_guessed_weight,
    entries_of_matrix,
    frame_of_rows,
    place_row_columns,
)
from ancf.data.arrow_batches import ArrowTable, read_columns
from ancf.data.clocks import add_clock, clock_of_column
from ancf.data.columns import (
    KNOWN_HEADINGS,
    format_headings,
    ignored_columns,
    normalize_heading,
    recognize_columns,
    repeated_columns,
)
from ancf.data.frame_columns import columns_of_frame, frame_of_series, heading_text
from ancf.data.id_texts import IdRules
from ancf.data.raw_table import RawTable, encode_ids, encode_texts, parse_numbers, parse_times
from ancf.data.spill import BYTES_AS_WHOLE, Budget
from ancf.data.spilled_columns import spilled_table
from ancf.data.timestamps import TimeOptions
from ancf.errors import InvalidDataError


class FrameReader:
    """Tables in memory, and Parquet: whatever becomes a pandas column for each role."""

    def __init__(
        self, chosen: Mapping[str, Any], times: TimeOptions, id_rules: IdRules, budget: Budget | None = None
    ) -> None:
        self.chosen, self.times, self.id_rules, self.budget = chosen, times, id_rules, budget

    def read_frame(self, source: "pd.DataFrame | pd.Series[Any]", name: str) -> RawTable:
        """A data frame or Series; rows are numbered from 0, whatever its index."""
        if isinstance(source, pd.Series):
            frame = frame_of_series(source)
            self._take_values_as_weight(frame.columns[0])
        else:
            frame = source
        if not len(frame):
            raise InvalidDataError(f"{name}: there are no rows (columns: {format_headings(list(frame.columns))}).")
        frame, headings, full, ignored = columns_of_frame(frame)
        try:
            places = recognize_columns(headings, self.chosen, name, full)
        except InvalidDataError as error:
            if name == "dict" or not all(map(pd.api.types.is_numeric_dtype, source_dtypes(source))):
                raise
            raise InvalidDataError(
                f'{error} A table of users × items, with a column for each item, needs layout="matrix".'
            ) from None
        return self._raw_table(lambda at: frame.iloc[:, at], headings, full, places, len(frame), name, ignored)

    def _take_values_as_weight(self, heading: Any) -> None:
        """The values of a Series are the weight, unless they have the heading of another role."""
        others = {
            normalize_heading(name) for role, names in KNOWN_HEADINGS.items() if role != "weight" for name in names
        }
        is_other = normalize_heading(heading) in others or heading in self.chosen.values()
        if self.chosen.get("weight") is None and not is_other:
            self.chosen = {**self.chosen, "weight": heading if isinstance(heading, str) else 0}

    def _raw_table(
        self,
        column_at: "Callable[[int], pd.Series[Any]]",
        headings: Sequence[Any],
        full: Sequence[Any],
        places: Mapping[str, int],
        n_rows: int,
        source: str,
        ignored: Sequence[str] = (),
    ) -> RawTable:
        texts = [heading_text(heading) for heading in full]
        roles = {role: texts[at] for role, at in places.items()}
        table = RawTable(source, n_rows, roles, id_rules=self.id_rules)
        table.ignored = [*ignored_columns(texts, places.values()), *ignored]
        columns = {at: _plain_column(column_at(at)) for at in places.values()}
        for role, others in repeated_columns(headings, places, self.chosen).items():
            first = columns[places[role]]
            same = [_same_values(first, _plain_column(column_at(at))) for at in others]
            table.note_repeated(role, str(headings[places[role]]), [places[role], *others], same)
        for role, at in places.items():
            column = columns.pop(at)  # what becomes of it takes its place in memory
            if role == "weight":
                table.weight = parse_numbers(column)
            elif role == "time":
                table.time = parse_times(column, table, self.times)
            elif role == "clock":
                add_clock(table, clock_of_column(column), explicit=self.chosen.get("clock") is not None)
            elif role in ("name", "category", "event"):
                table.ids[role] = encode_texts(column)
            else:
                table.ids[role] = encode_ids(column, role, table)
        if table.time is None:
            self.times.refuse(source, "has no column of times")
        return table

    def read_matrix(self, matrix: Any) -> RawTable:
        """A matrix of users × items: its entries, row after row."""
        frame, source, notes, ignored = entries_of_matrix(matrix, self.chosen)
        headings = list(frame.columns)
        places = {role: at for at, role in enumerate(headings)}
        self.chosen = {}
        table = self._raw_table(lambda at: frame.iloc[:, at], headings, headings, places, len(frame), source, ignored)
        table.notes += [("matrix", note, None) for note in notes]
        return table

    def read_array(self, array: Any) -> RawTable:
        """Rows of (user, item[, weight[, time]]), or rows with names: dicts, named tuples, a structured array."""
        frame = frame_of_rows(array)
        if not isinstance(frame.columns, pd.RangeIndex):
            return self.read_frame(frame, "array")
        places = place_row_columns(frame, self.chosen)
        if "weight" in places and self.chosen.get("weight") is None:
            check_guessed_weight(frame.iloc[:, places["weight"]], places["weight"], "array")
        texts: list[Any] = [f"column {at}" for at in range(frame.shape[1])]
        for role, at in places.items():
            texts[at] = role if self.chosen.get(role) is None else texts[at]
        return self._raw_table(lambda at: frame.iloc[:, at], texts, texts, places, len(frame), "array")

    def read_arrow(self, table: ArrowTable) -> RawTable:
        """A table of Arrow, of which only the columns needed are read."""
        places = recognize_columns(table.headings, self.chosen, table.name)
        repeated = repeated_columns(table.headings, places, self.chosen).values()
        needed = [*places.values(), *(at for others in repeated for at in others)]
        of_ids = {at for role, at in places.items() if role in ("user", "item", "basket")}
        # Columns that are compared or joined row by row are read as a whole.
        budget = None if repeated or "clock" in places else self.budget
        n_rows, found = read_columns(table, needed, of_ids, budget)
        columns: dict[int, Any] = dict(found)
        del found
        if not n_rows:
            raise InvalidDataError(f"{table.name}: there are no rows (columns: {format_headings(table.headings)}).")
        if self.budget is not None and budget is None:
            self.budget.check(n_rows * BYTES_AS_WHOLE, f"columns of {table.name} are compared or joined row by row")
        if budget is not None:
            return spilled_table(columns, table, places, n_rows, self.times, self.id_rules, budget)
        return self._raw_table(lambda at: columns.pop(at), table.headings, table.headings, places, n_rows, table.name)


def source_dtypes(source: "pd.DataFrame | pd.Series[Any]") -> list[Any]:
    """The types of the columns."""
    return list(source.dtypes) if isinstance(source, pd.DataFrame) else [source.dtype]


def _plain_column(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column as pandas can work with it: dense, and in the byte order of the machine."""
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(column.to_numpy())
    if isinstance(column.dtype, np.dtype) and not column.dtype.isnative:
        column = pd.Series(column.to_numpy().astype(column.dtype.newbyteorder("=")))
    return column


def _same_values(one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    """Whether two columns hold the same in every row, whatever their types."""
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    if one.equals(other):
        return True
    return bool((one.isna() == other.isna()).all()) and one.astype(str).equals(other.astype(str))
