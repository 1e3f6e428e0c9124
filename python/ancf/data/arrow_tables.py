"""Columns of Arrow tables and Parquet files as pandas columns that lose nothing.

pandas has no null among its integers, so that Arrow's own conversion makes floats of such a column, and two neighboring
64-bit ids become one. Here it becomes a nullable column.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

from ancf._pandas import pd
from ancf.errors import InvalidDataError, MissingExtraError


def import_pyarrow(what: str) -> Any:
    """pyarrow; ``what`` says what needs it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(
            f"{what} needs pyarrow, which is not installed. Run: pip install 'ancf[arrow]'"
        ) from None
    return pyarrow


def arrow_name(source: Any) -> str:
    """What messages call a table in memory: ``polars DataFrame``."""
    return f"{type(source).__module__.partition('.')[0]} {type(source).__name__}"


def open_stream(source: Any) -> Any:
    """A reader of the batches of whatever hands out an Arrow stream or array.

    Raises
    ------
    InvalidDataError
        If it is one column, or has a type that Arrow does not know.
    """
    pyarrow = import_pyarrow(f"an Arrow stream ({type(source).__name__})")
    objects = _polars_columns(source, "Object")
    if objects:
        raise InvalidDataError(
            f"{arrow_name(source)}: {', '.join(objects)} hold{'s' if len(objects) == 1 else ''} Python objects, which "
            "Arrow does not take. Cast them to text or numbers, or leave them out."
        )
    try:
        if hasattr(source, "__arrow_c_stream__"):
            return pyarrow.RecordBatchReader.from_stream(source)
        return pyarrow.table(source).to_reader()
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        if "non-struct" in str(error) or "struct" in str(error).lower():
            raise InvalidDataError(
                f"{arrow_name(source)} is one column, not a table. Give a table with columns for user and item."
            ) from None
        wide = _polars_columns(source, "Int128") + _polars_columns(source, "UInt128")
        named = f"columns {', '.join(wide)} have" if len(wide) > 1 else f"column {wide[0]} has" if wide else "it has"
        raise InvalidDataError(
            f"{arrow_name(source)}: {named} a type that Arrow does not take ({error}). Cast 128-bit integers to 64 "
            "bits or to text first, and leave out columns that are not needed."
        ) from None


def _polars_columns(source: Any, kind: str) -> list[str]:
    """The columns of a Polars frame that have this type, for a message."""
    try:
        return [repr(name) for name, dtype in dict(source.schema).items() if str(dtype) == kind]
    except (AttributeError, TypeError, ValueError):
        return []


def read_parquet(path: str | Path) -> Any:
    """A Parquet file as a table of Arrow."""
    pyarrow = import_pyarrow(f"{path} is a Parquet file, and reading it")
    try:
        return pyarrow.parquet.ParquetFile(path).read()
    except (OSError, ValueError, NotImplementedError) as error:
        raise damaged_parquet(path, error) from error


def damaged_parquet(path: str | Path, error: Exception) -> InvalidDataError:
    """The error of a Parquet file that cannot be read."""
    return InvalidDataError(f"{path}: the Parquet file is damaged ({error}). Get another copy.")


def series_of_column(column: Any, heading: str, source: str) -> "pd.Series[Any]":
    """A chunked array as a pandas column: texts as categories, integers beside nulls as nullable integers.

    Raises
    ------
    InvalidDataError
        If its type has no counterpart.
    """
    import pyarrow
    from pyarrow import compute

    given = kind = column.type
    types = pyarrow.types
    try:
        if isinstance(kind, pyarrow.BaseExtensionType):
            is_uuid = kind.extension_name == "arrow.uuid"
            column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
            if is_uuid:
                encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
                return _categories(encoded, lambda values: [UUID(bytes=value) for value in values])
            kind = column.type
        if types.is_run_end_encoded(kind):
            column = pyarrow.chunked_array([compute.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
            kind = column.type
        if types.is_dictionary(kind) and any(chunk.dictionary.null_count for chunk in column.chunks):
            column = column.cast(kind.value_type)
            kind = column.type
        if types.is_string_view(kind) or types.is_large_string(kind) or types.is_string(kind):
            column = column.dictionary_encode()
            kind = column.type
        if types.is_dictionary(kind):
            column = column.unify_dictionaries()
            value_type = kind.value_type
            if types.is_string_view(value_type) or types.is_large_string(value_type) or types.is_string(value_type):
                return _categories(column.combine_chunks(), list)
            column = column.cast(value_type)
            kind = column.type
        if types.is_binary_view(kind):
            column = column.cast(pyarrow.large_binary())
        nullable = _nullable_integers(pyarrow) if column.null_count else {}
        series: pd.Series[Any] = column.to_pandas(types_mapper=nullable.get)
    except (pyarrow.ArrowException, NotImplementedError, TypeError, ValueError) as error:
        raise InvalidDataError(
            f"{source}: the column {heading!r} of Arrow's type {given} cannot be read ({error}). Cast "
            "it to integers, text, numbers or dates first."
        ) from None
    return series


def _categories(encoded: Any, convert: Any) -> "pd.Series[Any]":
    """A dictionary-encoded array (in one chunk) as a categorical column."""
    if hasattr(encoded, "chunks"):
        encoded = encoded.chunk(0)
    codes = encoded.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
    values = pd.Index(convert(encoded.dictionary.to_pylist()), dtype=object)
    return pd.Series(pd.Categorical.from_codes(codes, categories=values))


def _nullable_integers(pyarrow: Any) -> dict[Any, Any]:
    signed = {getattr(pyarrow, f"int{bits}")(): getattr(pd, f"Int{bits}Dtype")() for bits in (8, 16, 32, 64)}
    return signed | {getattr(pyarrow, f"uint{bits}")(): getattr(pd, f"UInt{bits}Dtype")() for bits in (8, 16, 32, 64)}
