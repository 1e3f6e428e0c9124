"""Tables of Arrow a batch of rows at a time: Parquet files, streams (DuckDB, Polars and others), Spark frames.

A column is built up as its batches come in, so that no more of the table is held than what becomes of it: 4 bytes a row
for a column of ids or texts, whose distinct values alone become Python objects, and 8 for numbers and times.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._native import TextCoder
from ancf._pandas import pd
from ancf.data.arrow_tables import (
    arrow_name,
    damaged_parquet,
    import_pyarrow,
    open_stream,
    series_of_column,
)
from ancf.data.spill import Budget, DiskArray
from ancf.errors import InvalidDataError

# Rows of a batch: some tens of megabytes for the columns of a purchase table.
_BATCH_ROWS = 1 << 19
# Texts of a Parquet file are read as its own codes if its dictionaries have fewer bytes than this, as packed. Those of
# most writers end at a megabyte, and what follows takes three times as long as codes than as texts.
_SMALL_DICTIONARY = 1 << 18
# Distinct values of batches that wait to be joined with those of all before, at least.
_MIN_PENDING = 1 << 17


class ArrowTable(NamedTuple):
    """A table that is there to be read, once."""

    name: str
    headings: list[str]
    read: Callable[[Sequence[int]], Iterator[list[Any]]]
    """The columns at these positions, as arrays of Arrow, batch by batch"""
    n_rows: int = 0
    """How many rows there are, where that is known before they are read"""


def parquet_table(path: str | Path) -> ArrowTable:
    """A Parquet file, of which only the columns needed are read."""
    pyarrow = import_pyarrow(f"{path} is a Parquet file, and reading it")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
            large = _large_dictionaries(file.metadata)
    except (OSError, ValueError) as error:
        raise damaged_parquet(path, error) from error
    headings = list(schema.names)
    # Texts as the codes that the file has them in: half of the time of reading them, and a third of the memory.
    types = pyarrow.types
    texts = [
        field.name
        for field in schema
        if field.name not in large and (types.is_string(field.type) or types.is_large_string(field.type))
    ]

    def read(places: Sequence[int]) -> Iterator[list[Any]]:
        twice = len(set(headings)) < len(headings)
        wanted = None if twice else [headings[at] for at in places]
        try:
            file = pyarrow.parquet.ParquetFile(path, read_dictionary=texts, pre_buffer=False)
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                yield [batch.column(at if twice else batch.schema.get_field_index(headings[at])) for at in places]
        except (OSError, ValueError, NotImplementedError) as error:
            raise damaged_parquet(path, error) from error

    return ArrowTable(str(path), headings, read, n_rows)


def _large_dictionaries(metadata: Any) -> set[str]:
    """The columns of a Parquet file that have a large dictionary somewhere."""
    found = set()
    for at in range(metadata.num_row_groups):
        group = metadata.row_group(at)
        for column in map(group.column, range(group.num_columns)):
            start = column.dictionary_page_offset
            if start is not None and column.data_page_offset - start >= _SMALL_DICTIONARY:
                found.add(column.path_in_schema)
    return found


def stream_table(source: Any) -> ArrowTable:
    """Whatever hands out an Arrow stream; a Spark frame comes partition by partition."""
    name = arrow_name(source)
    if _is_spark(source):
        return _spark_table(source, name)
    reader = open_stream(source)

    def read(places: Sequence[int]) -> Iterator[list[Any]]:
        for batch in reader:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                part = batch.slice(start, _BATCH_ROWS)
                yield [part.column(at) for at in places]

    return ArrowTable(name, list(reader.schema.names), read)


def _is_spark(source: Any) -> bool:
    return type(source).__module__.startswith("pyspark.sql.") and hasattr(source, "sparkSession")


def _spark_table(frame: Any, name: str) -> ArrowTable:
    """PySpark's own stream takes no timestamps with the session's zone; as microseconds since 1970 they are exact."""
    pyarrow = import_pyarrow(f"a {name}")
    headings = list(frame.columns)

    def read(places: Sequence[int]) -> Iterator[list[Any]]:
        from pyspark.sql import functions

        kinds = [frame.schema.fields[at].dataType.typeName() for at in places]
        columns = [frame.columns[at] for at in places]
        if len(set(headings)) < len(headings):
            raise InvalidDataError(f"{name}: two columns have the same heading. Rename one: frame.toDF(...).")
        quoted = [functions.col("`" + column.replace("`", "``") + "`") for column in columns]
        wanted = frame.select(
            *(
                functions.unix_micros(column).alias(f"c{at}") if kind == "timestamp" else column.alias(f"c{at}")
                for at, (column, kind) in enumerate(zip(quoted, kinds, strict=True))
            )
        )
        for batch in open_stream(wanted):
            yield [
                array.cast(pyarrow.timestamp("us", "UTC")) if kind == "timestamp" else array
                for array, kind in zip(batch.columns, kinds, strict=True)
            ]

    return ArrowTable(name, headings, read)


class SpilledCodes(NamedTuple):
    """A column of few distinct values whose rows are on the disk."""

    rows: DiskArray
    values: "pd.Index[Any]"
    """In the order that they have in columns in memory"""
    new_code: NDArray[np.int32]
    """From the codes on the disk to those of the values, with -1 at the end"""


class SpilledNumbers(NamedTuple):
    """A column of numbers or moments whose rows are on the disk."""

    rows: DiskArray
    missing: NDArray[np.int64]
    """The rows of integers that are not there"""
    is_utc: bool

    def part(self, start: int, stop: int) -> "pd.Series[Any]":
        """Some rows as a pandas column."""
        first, last = np.searchsorted(self.missing, (start, stop)).tolist()
        return _series_of_numbers(self.rows[start:stop], self.missing[first:last] - start, self.is_utc)


def read_columns(
    table: ArrowTable, places: Sequence[int], of_ids: Collection[int], budget: Budget | None = None
) -> "tuple[int, dict[int, pd.Series[Any] | SpilledCodes | SpilledNumbers]]":
    """The number of rows, and the columns at these positions as pandas columns that lose nothing.

    Texts are categories there, and so are whole numbers in the columns ``of_ids``. With a budget, rows go to the disk
    but for those of types that only Arrow can convert.
    """
    if budget is not None:
        return _spill_columns(table, places, of_ids, budget)
    builders = [_Builder(table, at, at in of_ids) for at in places]
    n_rows = 0
    for arrays in table.read(places):
        n_rows += len(arrays[0])
        for builder, array in zip(builders, arrays, strict=True):
            builder.add(array)
    if not n_rows:
        return 0, {}
    columns = {at: builder.finish() for at, builder in zip(places, builders, strict=True)}
    # What Arrow keeps for its next table is needed for what follows.
    import_pyarrow("").default_memory_pool().release_unused()
    return n_rows, columns


def _spill_columns(
    table: ArrowTable, places: Sequence[int], of_ids: Collection[int], budget: Budget
) -> "tuple[int, dict[int, pd.Series[Any] | SpilledCodes | SpilledNumbers]]":
    builders = [_Builder(table, at, at in of_ids, budget) for at in places]
    n_rows, step = 0, min(budget.rows, _BATCH_ROWS)
    for arrays in table.read(places):
        for start in range(0, len(arrays[0]), step):
            for builder, array in zip(builders, arrays, strict=True):
                builder.add(array.slice(start, step))
        n_rows += len(arrays[0])
        held = sum(builder.n_kept_bytes for builder in builders)
        budget.check(held, f"the rows of {table.name} are of types that are converted as a whole")
        import_pyarrow("").default_memory_pool().release_unused()
    if not n_rows:
        return 0, {}
    return n_rows, {at: builder.finish() for at, builder in zip(places, builders, strict=True)}


class _Builder:
    """A column that grows by arrays of Arrow; what it is decides the type of the first of them."""

    def __init__(self, table: ArrowTable, at: int, of_ids: bool, budget: Budget | None = None) -> None:
        self.source, self.heading, self.of_ids = table.name, table.headings[at], of_ids
        self.n_rows = None if budget is not None else table.n_rows
        self.n_kept_bytes = 0
        self.parts: list[Any] = []
        self.column: _Codes | _Numbers | _Texts | None = None

    def add(self, array: Any) -> None:
        if not self.parts and self.column is None:
            self.column = self._column_of(array.type)
        if self.column is None:
            self.parts.append(array)
            self.n_kept_bytes += array.nbytes
        else:
            self.column.add(array)

    def _column_of(self, given: Any) -> "_Codes | _Numbers | _Texts | None":
        """What such a column becomes here; None for one that goes Arrow's own way."""
        from pyarrow import types

        kind = given.value_type if types.is_dictionary(given) else given
        if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
            return _Texts(self.n_rows)
        if types.is_integer(given):
            return _Codes(given, self.n_rows) if self.of_ids else _Numbers(np.dtype(str(given)), self.n_rows)
        if types.is_float32(given) or types.is_float64(given):
            return _Numbers(np.dtype({"float": "f4", "double": "f8"}[str(given)]), self.n_rows)
        if types.is_timestamp(given):
            return _Numbers(np.dtype(f"M8[{given.unit}]"), self.n_rows, given.tz is not None)
        return None

    def finish(self) -> "pd.Series[Any] | SpilledCodes | SpilledNumbers":
        import pyarrow

        try:
            if self.column is not None:
                return self.column.finish()
            column, self.parts = pyarrow.chunked_array(self.parts), []
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise InvalidDataError(f"{self.source}: the column {self.heading!r} cannot be read ({error}).") from None
        return series_of_column(column, self.heading, self.source)


class _Texts:
    """Texts as codes among the distinct ones, in ascending order as those of text tables."""

    def __init__(self, n_rows: int | None) -> None:
        self.codes = _rows_of(np.dtype(np.int32), n_rows)
        self.coder = TextCoder()
        self.dictionary: Any = None
        """The last one, with the codes of its texts and -1 at the end"""

    def add(self, array: Any) -> None:
        import pyarrow
        from pyarrow import types

        if types.is_dictionary(array.type) and array.dictionary.null_count:
            array = array.cast(array.type.value_type)
        if not types.is_dictionary(array.type):
            self.codes.add(self._codes_of(array))
            return
        # The batches of a row group of Parquet share their dictionary.
        if self.dictionary is None or _place(self.dictionary[0]) != _place(array.dictionary):
            self.dictionary = array.dictionary, np.append(self._codes_of(array.dictionary), np.int32(-1))
        indices = array.indices.cast(pyarrow.int32())
        self.codes.add(self.dictionary[1][(indices.fill_null(-1) if array.null_count else indices).to_numpy()])

    def _codes_of(self, texts: Any) -> NDArray[np.int32]:
        import pyarrow

        if pyarrow.types.is_string_view(texts.type):
            texts = texts.cast(pyarrow.large_string())
        if texts.null_count:
            codes = np.full(len(texts), -1, np.int32)
            codes[texts.is_valid().to_numpy(zero_copy_only=False)] = self._codes_of(texts.drop_null())
            return codes
        _, ends, joined = texts.buffers()
        width = np.int64 if pyarrow.types.is_large_string(texts.type) else np.int32
        offsets = np.zeros(1, width) if ends is None or not len(texts) else np.frombuffer(ends, width)
        offsets = offsets[texts.offset :][: len(texts) + 1] if len(texts) else offsets
        held = np.empty(0, np.uint8) if joined is None else np.frombuffer(joined, np.uint8)
        return self.coder.add(offsets.astype(np.int64, copy=False), held)

    def finish(self) -> "pd.Series[Any] | SpilledCodes":
        joined, offsets, place_of = self.coder.finish()
        self.coder, self.dictionary = TextCoder(), None  # their memory is needed for what follows
        raw = joined.tobytes()
        if raw.count(b"\n") == len(offsets) - 1:  # no text has a line end in it
            texts = raw.decode().split("\n")[:-1]
        else:
            texts = [raw[start : end - 1].decode() for start, end in pairwise(offsets.tolist())]
        values = pd.Index(texts, dtype=object)
        codes = self.codes.finish()
        if isinstance(codes, DiskArray):
            return SpilledCodes(codes, values, place_of)
        np.take(place_of, codes, out=codes, mode="wrap")
        return pd.Series(pd.Categorical.from_codes(codes, categories=values, validate=False), copy=False)


class _Codes:
    """Whole numbers as codes among the distinct ones."""

    def __init__(self, of: Any, n_rows: int | None) -> None:
        import pyarrow

        self.type = pyarrow.dictionary(pyarrow.int32(), of)
        self.codes = _rows_of(np.dtype(np.int32), n_rows)
        self.pending: list[Any] = []
        self.n_pending = 0
        self.known: Any = None
        """All values that came up before the pending ones"""

    def add(self, array: Any) -> None:
        import pyarrow

        array = array.dictionary_encode()
        if array.type != self.type:
            array = pyarrow.DictionaryArray.from_arrays(
                array.indices.cast(pyarrow.int32()), array.dictionary.cast(self.type.value_type)
            )
        self.pending.append(array)
        self.n_pending += len(array.dictionary)
        if self.n_pending >= max(_MIN_PENDING, 0 if self.known is None else len(self.known)):
            self._join()

    def _join(self) -> None:
        """Give the pending arrays the codes of all; what is known keeps its own, as it comes first."""
        import pyarrow

        dictionaries = [*([] if self.known is None else [self.known]), *(each.dictionary for each in self.pending)]
        whole = [
            pyarrow.DictionaryArray.from_arrays(np.arange(len(each), dtype=np.int32), each) for each in dictionaries
        ]
        joined = pyarrow.chunked_array(whole).unify_dictionaries().chunks[-len(self.pending) :]
        for array, each in zip(self.pending, joined, strict=True):
            indices = array.indices.fill_null(-1) if array.null_count else array.indices
            self.codes.add(np.append(each.indices.to_numpy(), np.int32(-1))[indices.to_numpy()])
        self.known = joined[-1].dictionary
        self.pending, self.n_pending = [], 0

    def finish(self) -> "pd.Series[Any] | SpilledCodes":
        if self.pending:
            self._join()
        codes = self.codes.finish()
        values: Any = self.known.to_numpy(zero_copy_only=False)
        if isinstance(codes, DiskArray):
            same = np.append(np.arange(len(values), dtype=np.int32), np.int32(-1))
            return SpilledCodes(codes, pd.Index(values), same)
        return pd.Series(pd.Categorical.from_codes(codes, categories=values, validate=False), copy=False)


def _place(array: Any) -> tuple[Any, ...]:
    """Where the values of an array are in memory."""
    return (len(array), array.offset, *(each and each.address for each in array.buffers()))


class _Numbers:
    """Numbers or moments in one array, and where none is there."""

    def __init__(self, dtype: np.dtype[Any], n_rows: int | None, is_utc: bool = False) -> None:
        self.values = _rows_of(dtype, n_rows)
        self.missing: list[NDArray[np.int64]] = []
        self.none: Any = {"f": np.nan, "M": None}.get(dtype.kind, 0)
        self.is_utc = is_utc

    def add(self, array: Any) -> None:
        if array.null_count and self.none == 0:
            self.missing.append(self.values.length + np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)))
        if array.null_count and self.none is not None:
            array = array.fill_null(self.none)
        self.values.add(array.to_numpy(zero_copy_only=False))

    def finish(self) -> "pd.Series[Any] | SpilledNumbers":
        values = self.values.finish()
        missing = np.concatenate([np.empty(0, np.int64), *self.missing]).astype(np.int64)
        if isinstance(values, DiskArray):
            return SpilledNumbers(values, missing, self.is_utc)
        return _series_of_numbers(values, missing, self.is_utc)


def _series_of_numbers(values: NDArray[Any], missing: NDArray[np.int64], is_utc: bool) -> "pd.Series[Any]":
    if is_utc:
        return pd.Series(pd.DatetimeIndex(values, copy=False).tz_localize("UTC"), copy=False)
    if not len(missing):
        return pd.Series(values, copy=False)
    mask = np.zeros(len(values), bool)
    mask[missing] = True
    return pd.Series(pd.arrays.IntegerArray(values, mask), copy=False)


def _rows_of(dtype: np.dtype[Any], n_rows: int | None) -> "_Growing | _OnDisk":
    """Room for rows in memory, or on the disk if their number is None."""
    return _OnDisk(dtype) if n_rows is None else _Growing(dtype, n_rows)


class _OnDisk(DiskArray):
    """The same as ``_Growing`` on the disk."""

    add = DiskArray.append

    def finish(self) -> Any:
        return self


class _Growing:
    """An array that grows at its end; the system moves its pages, so there is never a second copy."""

    def __init__(self, dtype: np.dtype[Any], n_rows: int) -> None:
        self.array = np.empty(n_rows, dtype)
        self.length = 0

    def add(self, values: NDArray[Any]) -> None:
        end = self.length + len(values)
        if end > len(self.array):
            # refcheck: nobody else has seen the array before it is finished.
            self.array.resize(max(end, len(self.array) * 5 // 4), refcheck=False)
        self.array[self.length : end] = values
        self.length = end

    def finish(self) -> NDArray[Any]:
        if self.length < len(self.array):
            self.array.resize(self.length, refcheck=False)
        return self.array
