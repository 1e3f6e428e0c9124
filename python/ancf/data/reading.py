"""``read_interactions``: a purchase table of any make in, clean interactions out."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ancf.data.cleaning import Anonymous, OnBadRows, Policies, Returns, clean
from ancf.data.clocks import add_clock, clock_of_column
from ancf.data.columns import ColumnChoice, TimeChoice, choose_time, format_headings, recognize_columns
from ancf.data.interactions import Interactions
from ancf.data.raw_table import RawTable, encode_ids, encode_texts, parse_numbers, parse_times
from ancf.data.text_file import open_text
from ancf.data.text_scan import scan_text
from ancf.data.timestamps import NO_TIME_OPTIONS, TimeOptions, TimeUnit
from ancf.errors import AncfError, InvalidDataError, MissingExtraError


def read_interactions(
    source: Any,
    *,
    user: ColumnChoice = None,
    item: ColumnChoice = None,
    weight: ColumnChoice = None,
    time: TimeChoice = None,
    name: ColumnChoice = None,
    category: ColumnChoice = None,
    basket: ColumnChoice = None,
    anonymous: Anonymous = "exclude",
    returns: Returns = "net",
    normalize: str = "none",
    on_bad_rows: OnBadRows = "raise",
    strict: bool = False,
    time_unit: TimeUnit | None = None,
    day_first: bool | None = None,
    time_format: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    num_threads: int | None = None,
) -> Interactions:
    """Read a purchase table, clean it, and account for every row of it.

    Parameters
    ----------
    source : path, "-", file object, DataFrame, Arrow table, SciPy sparse matrix, array or dict of arrays
        Text tables (comma, semicolon, tab or bar between the fields; gzip or not), Parquet (``ancf[arrow]``), whatever
        has ``__arrow_c_stream__`` (``ancf[arrow]``). A sparse matrix or an array without names has users, items,
        weights and times in this order. ``"-"`` is standard input.
    user, item, weight, time, name, category, basket : heading, position, False or None
        The column for each role; recognized by its heading if left out, none if False. A date and a clock in two
        columns are one time: ``time=["date", "time"]``.
    anonymous : "exclude", "group" or "baskets"
        Rows without a user (empty, -1): left out; one class of their own; or each basket a visitor.
    returns : "net", "drop" or "keep"
        Negative quantities: taken off what the customer had bought of the item before, latest purchase first; left out;
        or kept as they are.
    normalize : "none", "log", "minmax" or "standard"
        What a model does to the weights; fitted when the model is, on its training part alone.
    on_bad_rows : "raise" or "drop"
        Rows with a quantity that is no finite number, a date that cannot be read, or too many fields.
    strict : bool
        Raise where anything at all had to be decided, from an anonymous row to a summed duplicate.
    time_unit : "s", "ms", "us", "ns", "days", "excel" or "excel1904", optional
        What times that are numbers count since 1970, or the days of a spreadsheet; told by their size if left out.
    day_first : bool, optional
        Whether 01/12/2011 is the first of December; decided over the whole column if left out, and reported where
        nothing decides.
    time_format : str, optional
        How times are written, as ``strptime`` has it: "%d.%m.%Y %H:%M".
    header : bool, optional
        Whether a text table has headings; without, name columns by position, ``user=0``.
    delimiter, encoding : str, optional
        Of a text table; found out if left out. What is not UTF-8 is read as Windows-1252, and reported.
    num_threads : int, optional

    Returns
    -------
    Interactions
        With the account of all rows in ``report``. Ids of text tables are text, just as they stand there.

    Raises
    ------
    InvalidDataError
        If there is no table, no column is recognized, rows are bad, or none is left; says where and what to do.
    InvalidParameterError
        If an option has no meaning, or names a column that is not there.
    MissingExtraError
        If Parquet or Arrow data is given and pyarrow is not installed.

    Examples
    --------
    >>> import io, ancf
    >>> data = ancf.read_interactions(io.BytesIO(b"customer,sku,qty\\nann,007,2\\n,007,1\\nann,7,1\\n"))
    >>> data.item_ids.values.tolist()
    ['007', '7']
    >>> print(data.report)
    file object: 3 rows read, 2 used
      columns: user = customer, item = sku, weight = qty
      1 user, 2 items, 2 events
      left out: 1
        1 row has no user id (anonymous) (row 3)
    """
    policies = Policies(anonymous, returns, on_bad_rows, strict, normalize)
    policies.check()
    times = TimeOptions(time_unit, day_first, time_format)
    times.check()
    chosen: dict[str, Any] = {"user": user, "item": item, "weight": weight, "time": time}
    chosen |= {"name": name, "category": category, "basket": basket}
    if basket is None and anonymous != "baskets":
        chosen["basket"] = False
    table = read_table(
        source, chosen, times, header=header, delimiter=delimiter, encoding=encoding, num_threads=num_threads
    )
    return clean(table, policies, num_threads)


def read_table(
    source: Any,
    chosen: Mapping[str, Any],
    times: TimeOptions = NO_TIME_OPTIONS,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    num_threads: int | None = None,
    keep_minus_one: bool = False,
) -> RawTable:
    """The columns of a table by role, before any row is judged; ``chosen`` are the columns that the caller named."""
    if isinstance(source, Interactions):
        raise InvalidDataError("these are interactions already; there is nothing to read.")
    chosen = choose_time(chosen)
    reader = _FrameReader(chosen, times, keep_minus_one)
    if isinstance(source, pd.DataFrame):
        return reader.read_frame(source, "DataFrame")
    if isinstance(source, (str, Path)) or hasattr(source, "read"):
        if isinstance(source, (str, Path)) and _is_parquet(source):
            return reader.read_parquet(source)
        with ExitStack() as stack:
            text = open_text(source, stack, header=header, delimiter=delimiter, encoding=encoding)
            return scan_text(text, chosen, times, keep_minus_one, num_threads)
    if hasattr(source, "tocoo"):
        return reader.read_matrix(source)
    if hasattr(source, "__arrow_c_stream__"):
        return reader.read_arrow(source)
    if isinstance(source, Mapping):
        try:
            frame = pd.DataFrame(dict(source))
        except ValueError as error:
            raise InvalidDataError(f"dict: {error}. Give one array for each column, of the same length.") from None
        return reader.read_frame(frame, "dict")
    if isinstance(source, np.ndarray) or (isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray))):
        return reader.read_array(source)
    raise InvalidDataError(
        f"{type(source).__name__} is no purchase table. Give a path, a file object, a DataFrame, an Arrow table, "
        "a SciPy sparse matrix or arrays."
    )


class _FrameReader:
    """Tables in memory, and Parquet: whatever becomes a data frame with a column for each role."""

    def __init__(self, chosen: Mapping[str, ColumnChoice], times: TimeOptions, keep_minus_one: bool) -> None:
        self.chosen, self.times, self.keep_minus_one = chosen, times, keep_minus_one

    def read_frame(self, frame: pd.DataFrame, source: str) -> RawTable:
        """A data frame; rows are numbered from 0, whatever its index."""
        if not len(frame):
            raise InvalidDataError(f"{source}: there are no rows (columns: {format_headings(list(frame.columns))}).")
        return self._raw_table(frame, recognize_columns(list(frame.columns), self.chosen, source), source)

    def _raw_table(self, frame: pd.DataFrame, places: Mapping[str, int], source: str) -> RawTable:
        headings = {role: str(frame.columns[at]) for role, at in places.items()}
        table = RawTable(source, len(frame), headings, keep_minus_one=self.keep_minus_one)
        for role, at in places.items():
            column = frame.iloc[:, at]
            if role == "weight":
                table.weight = parse_numbers(column)
            elif role == "time":
                table.time = parse_times(column, table, self.times)
            elif role == "clock":
                add_clock(table, clock_of_column(column), explicit=self.chosen.get("clock") is not None)
            elif role in ("name", "category"):
                table.ids[role] = encode_texts(column)
            else:
                table.ids[role] = encode_ids(column, role, table)
        if table.time is None:
            self.times.refuse(source, "has no column of times")
        return table

    def read_matrix(self, matrix: Any) -> RawTable:
        """A SciPy sparse matrix: rows are users, columns items, ids are their numbers."""
        entries = matrix.tocoo()
        if not entries.nnz:
            raise InvalidDataError(f"sparse matrix: there are no entries (shape {entries.shape}).")
        frame = pd.DataFrame({"user": entries.row, "item": entries.col, "weight": entries.data})
        return self._raw_table(frame, {"user": 0, "item": 1, "weight": 2}, "sparse matrix")

    def read_array(self, array: Any) -> RawTable:
        """Rows of (user, item[, weight[, time]]), or a structured array with names."""
        if isinstance(array, np.ndarray) and array.dtype.names:
            return self.read_frame(pd.DataFrame(array), "array")
        if not len(array):
            raise InvalidDataError("array: there are no rows. Give rows of (user, item), (…, weight) or (…, time).")
        frame = pd.DataFrame(array)
        if frame.shape[1] < 2:
            raise InvalidDataError(
                f"array of shape {np.shape(array)}: give rows of (user, item[, weight[, time]]), one per purchase."
            )
        roles = [role for role in ("user", "item", "weight", "time") if self.chosen.get(role) is not False]
        frame = frame.iloc[:, : len(roles)]
        frame.columns = pd.Index(roles[: frame.shape[1]])
        return self._raw_table(frame, {role: at for at, role in enumerate(frame.columns)}, "array")

    def read_arrow(self, source: Any) -> RawTable:
        """Anything that hands out an Arrow stream: pyarrow, polars, DuckDB and others."""
        arrow = _import_pyarrow(f"an Arrow stream ({type(source).__name__})").table(source)
        name = f"{type(source).__module__.partition('.')[0]} {type(source).__name__}"
        return self._from_arrow(arrow, recognize_columns(arrow.column_names, self.chosen, name), name)

    def read_parquet(self, path: str | Path) -> RawTable:
        """A Parquet file; only the columns needed are read."""
        parquet = _import_pyarrow(f"{path} is a Parquet file, and reading it").parquet
        try:
            headings = list(parquet.read_schema(path).names)
            places = recognize_columns(headings, self.chosen, str(path))
            arrow = parquet.read_table(path, columns=[headings[at] for at in places.values()])
        except (OSError, ValueError) as error:
            if isinstance(error, AncfError):
                raise
            raise InvalidDataError(f"{path}: the Parquet file is damaged ({error}). Get another copy.") from error
        return self._from_arrow(
            arrow, {role: arrow.column_names.index(headings[at]) for role, at in places.items()}, str(path)
        )

    def _from_arrow(self, arrow: Any, places: Mapping[str, int], source: str) -> RawTable:
        if not arrow.num_rows:
            raise InvalidDataError(f"{source}: there are no rows (columns: {format_headings(arrow.column_names)}).")
        frame = arrow.select(list(places.values())).to_pandas(strings_to_categorical=True)
        return self._raw_table(frame, {role: at for at, role in enumerate(places)}, source)


def _import_pyarrow(what: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(
            f"{what} needs pyarrow, which is not installed. Run: pip install 'ancf[arrow]'"
        ) from None
    return pyarrow


def _is_parquet(path: str | Path) -> bool:
    if str(path) == "-":
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False
