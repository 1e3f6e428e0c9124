"""Lists and scores on Spark: ``ancf.spark.recommend_all`` and ``ancf.spark.predict``; needs ``ancf[spark]``.

The model travels to each machine once, as a file (``SparkContext.addFile``). Each Python worker maps it once and
answers every batch of users that it gets (``mapInArrow``), with as many threads as its task has cores. No row changes
its partition. ``docs/engines.md`` has what it costs.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ancf import _text
from ancf._native import __version__
from ancf.data.ids import IdMap
from ancf.engines.request import fitted_model, list_request, write_file
from ancf.engines.schema import check_column
from ancf.errors import InvalidDataError, InvalidParameterError, MissingExtraError
from ancf.models.base import Recommender
from ancf.params import checks_call
from ancf.scoring.lists import OnUnknown
from ancf.scoring.requests import ItemFilter
from ancf.scoring.rules import Rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["predict", "recommend_all"]

_SPARK_TYPES = {"int": "bigint", "str": "string", "uuid": "string", "bytes": "binary"}
_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "int"),
    "string": "str",
    "binary": "bytes",
}


@checks_call
def recommend_all(
    model: "Recommender | str | os.PathLike[str]",
    users_df: "DataFrame",
    N: int = 10,
    *,
    filter_already_liked_items: bool = True,
    items: ItemFilter | None = None,
    filter_items: ItemFilter | None = None,
    on_unknown: OnUnknown = "raise",
    rules: Rules | None = None,
    shown: ItemFilter | None = None,
) -> "DataFrame":
    """The N best items for every user of a Spark frame, with the bits of ``model.recommend``.

    Parameters
    ----------
    model : fitted model, or path of a model file that the driver can read
        A view with stock (``model.with_stock``) lists what is in stock.
    users_df : Spark DataFrame
        With the column ``user_id``, or with one column: ids as they stood in the training table (UUIDs as text). A user
        who stands in it twice gets two lists.
    N : int, at least 1
    filter_already_liked_items, items, filter_items, on_unknown, rules, shown
        As in ``model.recommend``; a list for each user is a mapping or a table, and goes to every worker. With
        ``on_unknown="raise"`` the job fails at the first user who was not in training, and names the ids.

    Returns
    -------
    Spark DataFrame
        ``user_id, item_id, score, rank, source``, with ``name`` where the model knows the items' names; as lazy as any
        frame. A user's rows stand together, best first.

    Raises
    ------
    MissingExtraError
        If pyspark is not installed, or the Python of the workers has no ancf.
    InvalidDataError
        If the frame has no such column, or its type is not that of the model's ids; if a filter does not fit.
    InvalidParameterError
        If it is no frame of a Spark session in this process, or an option makes no sense.
    NotFittedError

    Examples
    --------
    >>> lists = ancf.spark.recommend_all(model, spark.table("customers").select("user_id"), N=20)  # doctest: +SKIP
    >>> lists.write.parquet("lists")  # doctest: +SKIP
    """
    source = model
    model = fitted_model(model, "recommend_all")
    _check_frame(users_df, "users_df")
    column = users_df.columns[0] if len(users_df.columns) == 1 else "user_id"
    _check_id_column(users_df, "users_df", column, model.user_ids_)
    request = list_request(
        model,
        N,
        filter_already_liked_items=filter_already_liked_items,
        items=items,
        filter_items=filter_items,
        on_unknown=on_unknown,
        rules=rules,
        shown=shown,
    )
    user_type, item_type = (_SPARK_TYPES[ids.kind] for ids in (model.user_ids_, model.item_ids_))
    name = ", name string" if model.item_names_ is not None else ""
    schema = f"user_id {user_type}, item_id {item_type}{name}, score float, rank bigint, source string"
    worker = _on_workers(_ship(model, source, users_df))

    def lists(batches: Iterator[Any]) -> Iterator[Any]:
        answers, loaded, n_threads = worker()
        for batch in batches:
            yield from answers.recommend(loaded, batch.column(0), request, n_threads)

    return users_df.select(column).mapInArrow(lists, schema)


@checks_call
def predict(model: "Recommender | str | os.PathLike[str]", pairs_df: "DataFrame") -> "DataFrame":
    """The scores of all pairs of a Spark frame, with the bits of ``model.predict``.

    Parameters
    ----------
    model : fitted model, or path of a model file that the driver can read
    pairs_df : Spark DataFrame
        With the columns ``user_id`` and ``item_id``, and any others.

    Returns
    -------
    Spark DataFrame
        The columns of ``pairs_df`` and ``score`` (float); as lazy as any frame. The job fails at the first user or item
        that was not in training, and names the ids.

    Raises
    ------
    MissingExtraError
        If pyspark is not installed, or the Python of the workers has no ancf.
    InvalidDataError
        If a column is missing, its type is not that of the model's ids, or there is a column ``score`` already.
    InvalidParameterError
        If it is no frame of a Spark session in this process.
    NotFittedError

    Examples
    --------
    >>> scored = ancf.spark.predict(model, spark.table("candidates"))  # doctest: +SKIP
    """
    source = model
    model = fitted_model(model, "predict")
    _check_frame(pairs_df, "pairs_df")
    for column, ids in (("user_id", model.user_ids_), ("item_id", model.item_ids_)):
        _check_id_column(pairs_df, "pairs_df", column, ids)
    if "score" in pairs_df.columns:
        raise InvalidDataError('pairs_df: it has a column "score" already. Rename it, or leave it out.')
    from pyspark.sql.types import FloatType, StructType

    schema = StructType([*pairs_df.schema.fields]).add("score", FloatType())
    worker = _on_workers(_ship(model, source, pairs_df))

    def scores(batches: Iterator[Any]) -> Iterator[Any]:
        answers, loaded, n_threads = worker()
        for batch in batches:
            found = answers.predict(loaded, batch.column("user_id"), batch.column("item_id"), n_threads)
            yield batch.append_column("score", found)

    return pairs_df.mapInArrow(scores, schema)


def _check_frame(frame: Any, what: str) -> None:
    try:
        from pyspark.sql import DataFrame
    except ImportError as error:
        raise MissingExtraError("ancf.spark needs pyspark. Install it with: pip install 'ancf[spark]'") from error
    if not isinstance(frame, DataFrame):
        raise InvalidParameterError(f"{what} is a {type(frame).__name__}; it must be a Spark DataFrame.")
    if not hasattr(frame.sparkSession, "sparkContext") or type(frame).__module__.startswith("pyspark.sql.connect"):
        raise InvalidParameterError(
            f"{what} belongs to a session of Spark Connect, through which no model file can be shipped. Run the job "
            "with spark-submit, or in a session of its own: SparkSession.builder.master(...)."
        )


def _check_id_column(frame: Any, what: str, column: str, ids: IdMap) -> None:
    types: dict[str, str] = dict(frame.dtypes)
    if column not in types:
        raise InvalidDataError(
            f"{what}: there is no column {column!r} among {_text.format_list(frame.columns)}. Rename the one with the "
            f"ids: {what}.withColumnRenamed(..., {column!r})."
        )
    kind = types[column]
    check_column(what, column, _KINDS.get(kind, kind), kind, ids)


def _check_workers(context: Any) -> None:
    """Refuse a session whose workers have no ancf or no pyarrow, without which Spark itself fails with less to go by.

    A task of one row, once a session and Python. Workers that differ from the one that took it say so themselves.
    """
    key = (context.applicationId, context.pythonExec, *sorted(context.environment.items()))
    if key in _checked:
        return

    def look(_: int) -> tuple[str, list[str]]:
        import importlib
        import sys

        lacking = []
        for name in ("pyarrow", "ancf"):
            try:
                importlib.import_module(name)
            except ImportError as error:
                lacking.append(str(error))
        return sys.executable, lacking

    ((executable, lacking),) = context.parallelize([0], 1).map(look).collect()
    if lacking:
        raise MissingExtraError(
            f"the Python of a Spark worker, {executable}, cannot be used ({'; '.join(lacking)}). Install ancf "
            f"{__version__} with its extra spark for the Python of every worker, or name a Python that has it before "
            "the session begins: PYSPARK_PYTHON, or spark.pyspark.python."
        )
    _checked.add(key)


_checked: set[tuple[Any, ...]] = set()


def _ship(model: Recommender, source: Any, frame: Any) -> str:
    """Send the model's file to all machines that have or will have a worker; its name there."""
    context = frame.sparkSession.sparkContext
    _check_workers(context)
    folder = Path(tempfile.mkdtemp(prefix="ancf-spark-"))
    # Workers that start later fetch the file from the driver, so it stays as long as that does.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = write_file(model, source, folder)
    if path.name not in {Path(each).name for each in context.listFiles}:
        context.addFile(str(path))
    return path.name


def _on_workers(file: str) -> Callable[[], tuple[Any, Any, int]]:
    """What a task begins with: the module of the answers, the model, the number of threads.

    It goes to workers as code, not by its name, since there may be no ancf.
    """
    version = __version__

    def begin() -> tuple[Any, Any, int]:
        import sys

        from pyspark import SparkFiles, TaskContext

        try:
            from ancf.engines import worker
        except ImportError as error:
            raise RuntimeError(
                f"a Spark worker cannot load ancf ({error}); its Python is {sys.executable}. Install ancf {version} "
                "with its extra spark for the Python of every worker, or name a Python that has it: PYSPARK_PYTHON, or "
                "spark.pyspark.python."
            ) from None
        task = TaskContext.get()
        return worker, worker.open_file(SparkFiles.get(file)), 1 if task is None else task.cpus()

    return begin
