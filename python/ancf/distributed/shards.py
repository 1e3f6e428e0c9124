"""Tables of many parts, each read by a worker on Ray: the interactions that one machine would read of them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ancf.checks import check_integer
from ancf.data.interactions import Interactions
from ancf.data.raw_table import RawTable
from ancf.data.reading import read_interactions as read_here
from ancf.data.reading import tables_read_by
from ancf.distributed.ray_pool import started_ray
from ancf.errors import InvalidParameterError
from ancf.params import checks_call


class Block:
    """A table in Ray's object store, which whoever reads it fetches."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def table(self) -> Any:
        """The table itself."""
        return started_ray().get(self._reference)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table().__arrow_c_stream__(requested_schema)


@checks_call
def read_interactions(
    source: Any,
    *,
    num_cpus: int = 1,
    # Any: those of the library's function once more would be a second list of them.
    **options: Any,
) -> Interactions:
    """Read a purchase table whose parts workers on Ray read; what comes out is what ``ancf.read_interactions`` reads.

    A part's columns are read where Ray has a free worker, and sent here as codes and numbers: 4 bytes a row for each
    column of ids, 8 for quantities and for times. Rows are judged here, all of them together, so that returns, repeated
    purchases and the account are those of one table.

    Parameters
    ----------
    source : ray.data.Dataset, or a list, folder or pattern of tables
        Each block of a data set is a part, and so is each table of a list: paths that every machine can read, data
        sets, and ``ray.ObjectRef`` of data frames or Arrow tables. Tables in the memory of this process are read here,
        as is a source that is one table.
    num_cpus : int, at least 1
        The cores for a part, and the threads that read it.
    options
        As in ``ancf.read_interactions``, without ``max_memory``.

    Returns
    -------
    Interactions

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    InvalidDataError, InvalidParameterError
        As ``ancf.read_interactions``; what a worker finds is raised as it was there.

    Examples
    --------
    >>> data = ancf.ray.read_interactions("/shared/sales/*.parquet", user="customer")  # doctest: +SKIP
    """
    check_integer("num_cpus", num_cpus, 1, 1024)
    if options.get("max_memory") is not None:
        raise InvalidParameterError(
            f"max_memory={options['max_memory']!r}: what workers read comes together here, in memory. Leave it out, or "
            "read the table with ancf.read_interactions."
        )
    ray = started_ray()

    def read_all(read: Callable[[tuple[str, Any]], RawTable], tables: Sequence[tuple[str, Any]]) -> list[RawTable]:
        on_worker = ray.remote(num_cpus=num_cpus)(_read)
        asked = [on_worker.remote(read, each) if _travels(each[1]) else None for each in tables]
        # Those of this process, while the workers read theirs.
        here = [read(each) for each, reference in zip(tables, asked, strict=True) if reference is None]
        try:
            found = iter(ray.get([reference for reference in asked if reference is not None]))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        rest = iter(here)
        return [next(rest) if reference is None else next(found) for reference in asked]

    with tables_read_by(read_all):
        return read_here(_with_blocks(source, ray), **{"num_threads": num_cpus, **options})


def _travels(table: Any) -> bool:
    return isinstance(table, (Path, Block)) or (isinstance(table, str) and table != "-")


def _read(read: Callable[[tuple[str, Any]], RawTable], each: tuple[str, Any]) -> RawTable:
    name, table = each
    return read((name, table.table() if isinstance(table, Block) else table))


def _with_blocks(source: Any, ray: Any) -> Any:
    """The source with a table for each block of the data sets in it."""
    if not isinstance(source, (list, tuple)):
        blocks = _blocks(source, ray)
        return source if blocks is None else list(blocks)
    found: list[Any] = []
    for each in source:
        blocks = _blocks(each, ray)
        found.extend([each] if blocks is None else blocks)
    return found if any(isinstance(each, Block) for each in found) else source


def _blocks(source: Any, ray: Any) -> Iterable[Block] | None:
    if isinstance(source, ray.ObjectRef):
        return [Block(source)]
    if type(source).__module__.startswith("ray.data"):
        return map(Block, source.to_arrow_refs())
    return None
