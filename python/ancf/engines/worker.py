"""What a worker process does: open the model once, and answer batches of Arrow with it.

Engines import this module by its name, so that the model below stays from one task to the next.
"""

import functools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ancf import _text, model_file
from ancf._native import __version__
from ancf.data.ids import IdMap
from ancf.engines.schema import check_column, id_kind, id_type, lists_schema
from ancf.errors import InvalidDataError, ModelFileError
from ancf.models.base import Recommender
from ancf.models.loading import load_arrays
from ancf.scoring.results import Recommendations
from ancf.scoring.rules import Rules

# Rows of one answer: some tens of megabytes, whatever N is and however long an engine makes its batches.
_MAX_ROWS = 1 << 18

_loading = threading.Lock()


def open_file(path: str) -> Recommender:
    """The model of a file that nobody writes to any more: mapped, not read, and kept for the next task.

    Raises
    ------
    ModelFileError
        If it is damaged, or from a later version of ancf than that of this worker.
    """
    state = Path(path).stat()
    with _loading:
        return _open_file(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open_file(path: str, size: int, time: int) -> Recommender:
    return _build(np.frombuffer(model_file.map_file(path), np.uint8), Path(path).name)


def open_array(key: str, fetch: Callable[[], NDArray[np.uint8]]) -> Recommender:
    """The model of the bytes of a file that nobody can write to, fetched once and kept for the next task of the key."""
    with _loading:
        if key not in _held:
            _held.clear()
            _held[key] = _build(fetch(), "the model")
        return _held[key]


_held: dict[str, Recommender] = {}


def _build(raw: NDArray[np.uint8], name: str) -> Recommender:
    arrays, meta = model_file.parse(raw, name)
    written = model_file.later_version(meta)
    if written is not None:
        raise ModelFileError(
            f"{name} was written by ancf {written}, and this worker has ancf {__version__}. Install ancf {written} for "
            "the Python of every worker."
        )
    return load_arrays(name, arrays, meta)


def recommend(
    model: Recommender, users: Any, request: Mapping[str, Any], num_threads: int | None
) -> Iterator[pa.RecordBatch]:
    """The lists of a batch of users as ``model.recommend`` gives them, a bounded number of rows at a time.

    Parameters
    ----------
    users : pyarrow.Array of ids, of the kind of the model's
    request : as ``ancf.engines.request.list_request`` makes it
    """
    model.num_threads = num_threads
    keywords = {name: value for name, value in request.items() if name != "stock"}
    if request["rules"] is not None:
        keywords["rules"] = Rules(**request["rules"])
    view = model if request["stock"] is None else model.with_stock(request["stock"])
    schema = lists_schema(model)
    users = _ids("users", "user_id", users, model.user_ids_)
    step = max(1, _MAX_ROWS // min(request["N"], len(model.item_ids_)))
    for start in range(0, len(users), step):
        part = users.slice(start, step)
        yield _table(model, part, view.recommend(_raw_ids(part, model.user_ids_), **keywords), schema)


def recommend_table(model: Recommender, table: Any, request: Mapping[str, Any], num_threads: int | None) -> Any:
    """The lists of the users of a table, in its column ``user_id`` or its only one, as one table."""
    users = _column(table, "user_id", of_one=True)
    return pa.Table.from_batches(recommend(model, users, request, num_threads), lists_schema(model))


def predict_table(model: Recommender, table: Any, num_threads: int | None) -> Any:
    """A table of pairs with their scores as the column ``score``."""
    if "score" in table.column_names:
        raise InvalidDataError('pairs: there is a column "score" already. Rename it, or leave it out.')
    found = predict(model, _column(table, "user_id"), _column(table, "item_id"), num_threads)
    return table.append_column("score", found)


def _column(table: Any, name: str, of_one: bool = False) -> Any:
    if name in table.column_names:
        return table.column(name)
    if of_one and table.num_columns == 1:
        return table.column(0)
    raise InvalidDataError(
        f"there is no column {name!r} among {_text.format_list(table.column_names)}. Rename the one with the ids."
    )


def predict(model: Recommender, users: Any, items: Any, num_threads: int | None) -> Any:
    """The scores of a batch of pairs as ``model.predict`` gives them, as an array of Arrow."""
    model.num_threads = num_threads
    users = _ids("pairs", "user_id", users, model.user_ids_)
    items = _ids("pairs", "item_id", items, model.item_ids_)
    return pa.array(model.predict(_raw_ids(users, model.user_ids_), _raw_ids(items, model.item_ids_)), pa.float32())


def _ids(what: str, name: str, column: Any, ids: IdMap) -> Any:
    """A column of ids in the type that those of the model have in Arrow; nothing is turned into another kind."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_null(column.type):
        check_column(what, name, id_kind(column.type), str(column.type), ids)
    return column.cast(id_type(ids))


def _raw_ids(column: Any, ids: IdMap) -> NDArray[Any]:
    """A column of ids as the model knows them; UUIDs, for which engines have no type, come as their text."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if column.null_count:
        values = np.array(column.to_pylist(), object)
    if ids.kind == "uuid":
        values = np.array([_uuid(each) for each in values.tolist()], object)
    return values


def _uuid(text: Any) -> Any:
    try:
        return uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        return text


def _table(model: Recommender, users: Any, found: Recommendations, schema: Any) -> pa.RecordBatch:
    """The columns of ``found.to_arrow()``, taken from ids that are in Arrow already."""
    _, positions, scores, counts = found.parts()
    held = np.arange(positions.shape[1])[None, :] < counts[:, None]
    n_rows = int(counts.sum())
    ends = np.cumsum(counts, dtype=np.int64)
    item_at = pa.array(positions[held])
    item_ids, item_names = _in_arrow(model)
    columns = {
        "user_id": users.take(pa.array(np.repeat(np.arange(len(counts)), counts))),
        "item_id": item_ids.take(item_at),
        "score": pa.array(scores[held]),
        "rank": pa.array(np.arange(1, n_rows + 1, dtype=np.int64) - np.repeat(ends - counts, counts)),
        "source": _sources(found, counts),
    }
    if item_names is not None:
        columns["name"] = item_names.take(item_at)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _sources(found: Recommendations, counts: NDArray[np.int32]) -> Any:
    sources = found.sources
    if isinstance(sources, str):
        return pa.repeat(sources, int(counts.sum()))
    words, codes = np.unique(sources.astype(str), return_inverse=True)
    return pa.array(words.astype(object), pa.string()).take(pa.array(np.repeat(codes, counts)))


def _in_arrow(model: Recommender) -> tuple[Any, Any]:
    """The items' ids and names as arrays of Arrow, made once for a model."""
    known = _items.get("ids")
    if known is None or known[0] is not model.item_ids_:
        ids = model.item_ids_
        values = ids.values if ids.kind != "uuid" else np.array(list(map(str, ids.values)), object)
        names = model.item_names_
        made = pa.array(values, id_type(ids)), None if names is None else pa.array(names, pa.string())
        _items["ids"] = known = (ids, *made)
    return known[1], known[2]


_items: dict[str, Any] = {}
