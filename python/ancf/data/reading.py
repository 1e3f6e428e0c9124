"""``read_interactions``: a purchase table of any make in, clean interactions out."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import ArrayLike

from ancf._pandas import pd
from ancf._text import format_value
from ancf.checks import check_choice, check_flag, check_threads
from ancf.data.array_folder import is_array_folder
from ancf.data.array_tables import (
    is_sequence,
    is_sparse,
)
from ancf.data.arrow_batches import parquet_table, stream_table
from ancf.data.bounded_cleaning import clean_bounded
from ancf.data.byte_source import ZipMember
from ancf.data.cleaning import clean
from ancf.data.columns import (
    ColumnChoice,
    TimeChoice,
    choose_time,
)
from ancf.data.combine import combine
from ancf.data.event_types import check_event_weights
from ancf.data.frame_reading import FrameReader
from ancf.data.id_texts import IdRules
from ancf.data.inputs import find_inputs
from ancf.data.interactions import Interactions
from ancf.data.raw_table import RawTable
from ancf.data.row_checks import Anonymous, OnBadRows, Policies, Returns
from ancf.data.spill import Budget, check_memory
from ancf.data.spilled_text import scan_within
from ancf.data.text_file import open_text
from ancf.data.text_header import TextOptions
from ancf.data.text_scan import scan_text
from ancf.data.timestamps import NO_TIME_OPTIONS, TimeOptions, TimeUnit
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call

Layout = Literal["rows", "matrix"]


class TableOptions(NamedTuple):
    """How a table is to be read, whatever its source."""

    times: TimeOptions = NO_TIME_OPTIONS
    id_rules: IdRules = IdRules()
    layout: Layout | None = None
    text: TextOptions = TextOptions()
    num_threads: int | None = None
    budget: Budget | None = None


_PLAIN = TableOptions()

ReadNamed = Callable[[tuple[str, Any]], RawTable]
_read_all: ContextVar[Callable[[ReadNamed, Sequence[tuple[str, Any]]], list[RawTable]] | None] = ContextVar(
    "read_all", default=None
)


@checks_call
def read_interactions(
    source: Any,
    *,
    user: ColumnChoice | ArrayLike = None,
    item: ColumnChoice | ArrayLike = None,
    weight: ColumnChoice = None,
    time: TimeChoice = None,
    name: ColumnChoice = None,
    category: ColumnChoice = None,
    basket: ColumnChoice = None,
    event: ColumnChoice = None,
    event_weights: Mapping[str, float] | None = None,
    rejections: bool = True,
    item_features: Any = None,
    user_features: Any = None,
    anonymous: Anonymous = "exclude",
    returns: Returns = "net",
    normalize: str = "none",
    on_bad_rows: OnBadRows = "raise",
    strict: bool = False,
    time_unit: TimeUnit | None = None,
    day_first: bool | None = None,
    time_format: str | None = None,
    layout: Layout | None = None,
    missing: Collection[str] | None = None,
    normalize_ids: bool = False,
    exclude_items: Collection[Any] | str | re.Pattern[str] = (),
    min_weight: float | None = None,
    min_user_events: int = 1,
    min_item_events: int = 1,
    header: bool | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    skip_lines: int | None = None,
    comment: str | None = None,
    max_memory: int | str | None = None,
    num_threads: int | None = None,
) -> Interactions:
    """Read a purchase table, clean it, and account for every row of it.

    Parameters
    ----------
    source : path, "-", file object, DataFrame, Series, Arrow table, SciPy sparse matrix, array or dict of arrays
        Text tables (comma, semicolon, tab or bar between the fields), JSON (one object a line, or an array of them),
        both also in gzip, bzip2 or xz; Parquet (``ancf[arrow]``), whatever has ``__arrow_c_stream__``
        (``ancf[arrow]``), such as DuckDB relations, Polars and Spark frames. Rows without names have users, items,
        weights and times in this order. Named levels of a data frame's index are columns, too. ``"-"`` is standard
        input. A folder, a pattern such as ``"sales/*.csv"``, a zip archive, and a list of any of these are read as one
        table. A folder that ``Interactions.save`` or ``ancf prepare`` wrote is there at once, as it was cleaned then.
    user, item, weight, time, name, category, basket, event : heading, position, False or None
        The column for each role; recognized by its heading if left out, none if False. What is in no role is named in
        the report. A date and a clock in two columns are one time: ``time=["date", "time"]``. Of a matrix, ``user``
        and ``item`` may be lists with an id for each row and column.
    event_weights : mapping type → weight, optional
        What an event of each type in the column ``event`` weighs; a quantity is multiplied by it. Left out, views weigh
        1, carts 3, purchases 10 and removals 0, under these names and usual others. Rows of types without a weight, or
        with a weight of 0, are left out and counted.
    rejections : bool
        Whether what a user disliked, took out of the cart or returned, by an event of such a type, and did not buy
        again since, is kept as rejected, and no list of theirs has it.
    item_features, user_features : Features, path, DataFrame or dict, optional
        Attributes of the items and users by id: categories, numbers, texts and tags, as ``ancf.read_features`` reads
        them (docs/attributes.md).
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
    layout : "rows" or "matrix", optional
        What a table in memory is: a row for each purchase, or a matrix of users × items in which NaN and zero are no
        entry. A pivot frame's ids are its index and its headings. Left out, only SciPy's sparse matrices are matrices.
    missing : words, optional
        Texts that stand for a missing id, as they are written. Left out, they are ``-1``, ``nan``, ``none``, ``null``,
        ``<na>``, ``n/a``, ``#n/a``, ``na``, ``nat``, ``-nan``, ``#na``, ``#null!``, ``(null)``, ``\\N``, ``-``, ``--``
        and ``undefined``, in capitals or not. Those that occur are counted in the report; ``()`` takes them as ids, and
        an empty field alone as missing.
    normalize_ids : bool
        Make text ids one that look alike: composed letters (NFC), no zero-width characters, white space as one space.
    exclude_items : ids, patterns or both
        Items that are no goods, such as postage and fees: ids, patterns with ``*`` and ``?`` (``"POST*"``), or compiled
        regular expressions, searched for anywhere in the id.
    min_weight : float, optional
        Rows whose weight is lower are left out, after returns were netted. With ratings, ``min_weight=4`` takes a
        rating below 4 for no purchase.
    min_user_events : int, at least 1
        Leave out users with fewer events, until all that are left have as many (the k-core).
    min_item_events : int, at least 1
        Leave out items with fewer events, in the same way.
    header : bool, optional
        Whether a text table has headings; without, name columns by position, ``user=0``.
    delimiter : str, optional
        What stands between two cells of a text table; found out if left out.
    encoding : str, optional
        Of a text table; found out if left out. What is not UTF-8 is read as Windows-1252, and reported.
    skip_lines : int, optional
        How many lines stand above the header; found out if left out.
    comment : str, optional
        The character with which lines begin that are comments, such as ``"#"``; without it no line is one.
    max_memory : int or text, optional
        How much memory reading may take, as ``"2GB"`` or a number of bytes: rows wait on the disk, and the events of
        the result are mapped from there. What is held whole are the distinct ids and texts. The result is the same.
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
    given = dict(locals())
    prepared = _prepared_folder(source)
    if prepared is not None:
        _refuse_options(prepared, given)
        return Interactions._open(prepared).with_features(item_features=item_features, user_features=user_features)
    policies = Policies(
        anonymous,
        returns,
        on_bad_rows,
        strict,
        normalize,
        exclude_items=exclude_items,
        min_weight=min_weight,
        min_user_events=min_user_events,
        min_item_events=min_item_events,
        event_weights=check_event_weights(event_weights),
        rejections=rejections,
        event_named=event is not None and event is not False,
    )
    policies.check()
    times = TimeOptions(time_unit, day_first, time_format)
    times.check()
    check_flag("normalize_ids", normalize_ids)
    check_threads(num_threads)
    budget = check_memory(max_memory)
    id_rules = IdRules.of(missing, normalize_ids)
    chosen: dict[str, Any] = {"user": user, "item": item, "weight": weight, "time": time}
    chosen |= {"name": name, "category": category, "basket": basket, "event": event}
    if basket is None and anonymous != "baskets":
        chosen["basket"] = False
    text = TextOptions(header, delimiter, encoding, skip_lines, comment)
    table = read_table(source, chosen, TableOptions(times, id_rules, layout, text, num_threads, budget))
    if budget is None:
        data = clean(table, policies, num_threads)
    else:
        data = clean_bounded(table, policies, budget, num_threads)
    return data.with_features(item_features=item_features, user_features=user_features)


def _prepared_folder(source: Any) -> Path | None:
    """The folder of a table that is prepared already."""
    try:
        return Path(source) if isinstance(source, (str, Path)) and is_array_folder(Path(source)) else None
    except (OSError, ValueError):  # what is wrong with the path is told when it is opened
        return None


def _refuse_options(prepared: Path, given: Mapping[str, Any]) -> None:
    """Refuse what would have been a choice when the table was prepared, and is none now."""
    for name, parameter in inspect.signature(read_interactions).parameters.items():
        value, default = given[name], parameter.default
        is_same = value is default or (type(value) is type(default) and value == default)
        if not is_same and name not in ("source", "item_features", "user_features", "num_threads"):
            raise InvalidParameterError(
                f"{name}={format_value(value)} has no effect: {prepared} is a prepared table, cleaned when it was "
                "written. Leave it out, or prepare the table again with it."
            )


def read_table(source: Any, chosen: Mapping[str, Any], options: TableOptions = _PLAIN) -> RawTable:
    """The columns of a table by role, before any row is judged; ``chosen`` are the columns that the caller named.

    Several tables are read one after the other, and become one.
    """
    if options.layout is not None:
        check_choice("layout", options.layout, ("rows", "matrix"))
    if isinstance(source, Iterator) and not hasattr(source, "read"):
        source = list(source)
    inputs = None if options.layout == "matrix" or is_sparse(source) else find_inputs(source)
    if inputs is None:
        return _read_one(source, chosen, options)
    several = len(inputs.tables) > 1
    read_all = _read_all.get() if several else None
    read = partial(_read_named, chosen, options, inputs.name, several)
    tables = list(map(read, inputs.tables)) if read_all is None else read_all(read, inputs.tables)
    if not sum(table.n_rows for table in tables):
        raise InvalidDataError(f"{inputs.name}: no table has a row below its header. Give a table with rows.")
    return combine(inputs.name, tables, inputs.passed_over)


@contextmanager
def tables_read_by(read_all: Callable[[ReadNamed, Sequence[tuple[str, Any]]], list[RawTable]]) -> Iterator[None]:
    """Within the block, several tables are read by somebody else, who gets what reads one, and them by name."""
    token = _read_all.set(read_all)
    try:
        yield
    finally:
        _read_all.reset(token)


def _read_named(
    chosen: Mapping[str, Any], options: TableOptions, of: str, several: bool, named: tuple[str, Any]
) -> RawTable:
    name, each = named
    table = _read_one(each, chosen, options, name if several else None)
    table.source = name if several else f"{of}: {name}"
    return table


def _read_one(source: Any, chosen: Mapping[str, Any], options: TableOptions, name: str | None = None) -> RawTable:
    """One table; ``name`` is what it is called among several, which may be empty."""
    if isinstance(source, Interactions):
        raise InvalidDataError("these are interactions already; there is nothing to read.")
    chosen = choose_time(chosen)
    reader = FrameReader(chosen, options.times, options.id_rules, options.budget)
    is_parquet = isinstance(source, (str, Path)) and _is_parquet(source)
    if is_sparse(source) or options.layout == "matrix":
        _check_matrix(source, options.layout)
        return reader.read_matrix(source)
    if (isinstance(source, (str, Path, ZipMember)) or hasattr(source, "read")) and not is_parquet:
        with ExitStack() as stack:
            text = open_text(source, stack, options.text, chosen)
            may_be_empty = name is not None
            if options.budget is not None:
                return scan_within(
                    text, chosen, options.times, options.id_rules, options.budget, options.num_threads, may_be_empty
                )
            return scan_text(text, chosen, options.times, options.id_rules, options.num_threads, may_be_empty)
    if name is None:
        for each in options.text.given():
            what = f"{source} is Parquet" if is_parquet else f"a {type(source).__name__} is no text table"
            raise InvalidParameterError(f"{each}: {what}, so this says nothing. Leave it out.")
    if is_parquet:
        return reader.read_arrow(parquet_table(source))
    if isinstance(source, (pd.DataFrame, pd.Series)):
        return reader.read_frame(source, name or type(source).__name__)
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        return reader.read_arrow(stream_table(source))
    if isinstance(source, Mapping):
        if source and all(isinstance(each, Mapping) for each in source.values()):
            raise InvalidDataError(
                "dict: its values are dicts themselves. Is each key a user, with items and weights below it, give "
                'pandas.DataFrame(table).T and layout="matrix".'
            )
        try:
            frame = pd.DataFrame(dict(source))
        except (ValueError, TypeError) as error:
            raise InvalidDataError(f"dict: {error}. Give one array for each column, of the same length.") from None
        return reader.read_frame(frame, "dict")
    if is_sequence(source):
        return reader.read_array(source)
    remedy = "Call its collect() first, or give" if hasattr(source, "collect") else "Give"
    raise InvalidDataError(
        f"{type(source).__name__} is no purchase table. {remedy} a path, a file object, a DataFrame, an Arrow table, "
        "a SciPy sparse matrix or arrays."
    )


def _check_matrix(source: Any, layout: Layout | None) -> None:
    """Refuse what cannot be a matrix of users × items."""
    if layout == "rows":
        raise InvalidParameterError('layout="rows": a sparse matrix is one of users × items. Leave layout out.')
    is_arrow = hasattr(source, "__arrow_c_stream__") and not isinstance(source, (pd.DataFrame, pd.Series))
    if isinstance(source, (str, Path)) or hasattr(source, "read") or is_arrow:
        raise InvalidParameterError(
            f'layout="matrix" is for arrays and data frames in memory, not for {type(source).__name__}. Read it with '
            "pandas first, with the users as its index: pandas.read_csv(path, index_col=0)."
        )


def _is_parquet(path: str | Path) -> bool:
    if str(path) == "-":
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False
