"""ancf on Ray: lists and scores (``recommend_all``, ``predict``), tables read and models trained by workers
(``read_interactions``, ``fit``); needs ``ancf[ray]``.

The model travels to each machine once, as the bytes of its file in Ray's object store, where all workers of a machine
see the same memory. Each worker process opens it once and answers every batch that it gets (``Dataset.map_batches``).
``docs/engines.md`` has what it costs.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ancf import _text
from ancf._native import __version__
from ancf.checks import check_integer
from ancf.distributed.fitting import fit
from ancf.distributed.shards import read_interactions
from ancf.engines.request import fitted_model, key_of_bytes, list_request
from ancf.errors import InvalidParameterError, MissingExtraError
from ancf.models.base import Recommender
from ancf.params import checks_call
from ancf.scoring.lists import OnUnknown
from ancf.scoring.requests import ItemFilter
from ancf.scoring.rules import Rules

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["fit", "predict", "read_interactions", "recommend_all"]

# Users that a task takes at a time. Below a few thousand the calls cost more than the work.
_BATCH_USERS = 10_000
_BATCH_PAIRS = 1 << 18


@checks_call
def recommend_all(
    model: "Recommender | str | os.PathLike[str]",
    dataset: "Dataset",
    N: int = 10,
    *,
    filter_already_liked_items: bool = True,
    items: ItemFilter | None = None,
    filter_items: ItemFilter | None = None,
    on_unknown: OnUnknown = "raise",
    rules: Rules | None = None,
    shown: ItemFilter | None = None,
    num_cpus: int = 1,
) -> "Dataset":
    """The N best items for every user of a Ray dataset, with the bits of ``model.recommend``.

    Parameters
    ----------
    model : fitted model, or path of a model file that the driver can read
        A view with stock (``model.with_stock``) lists what is in stock.
    dataset : ray.data.Dataset
        With the column ``user_id``, or with one column: ids as they stood in the training table (UUIDs as text). A user
        who stands in it twice gets two lists.
    N : int, at least 1
    filter_already_liked_items, items, filter_items, on_unknown, rules, shown
        As in ``model.recommend``; a list for each user is a mapping or a table, and goes to every worker. With
        ``on_unknown="raise"`` the job fails at the first user who was not in training, and names the ids.
    num_cpus : int, at least 1
        The cores of a task, and its threads.

    Returns
    -------
    ray.data.Dataset
        ``user_id, item_id, score, rank, source``, with ``name`` where the model knows the items' names; as lazy as any
        dataset. A user's rows stand together, best first.

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    InvalidDataError
        If a filter does not fit. When the rows are made: if there is no such column, or its type is not that of the
        model's ids.
    InvalidParameterError
        If it is no dataset, or an option makes no sense.
    NotFittedError

    Examples
    --------
    >>> lists = ancf.ray.recommend_all(model, ray.data.read_parquet("customers"), N=20)  # doctest: +SKIP
    >>> lists.write_parquet("lists")  # doctest: +SKIP
    """
    model = fitted_model(model, "recommend_all")
    _check_dataset(dataset)
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
    check_integer("num_cpus", num_cpus, 1, 1024)
    worker = _on_workers(model)

    def lists(batch: Any) -> Any:
        answers, loaded = worker()
        return answers.recommend_table(loaded, batch, request, num_cpus)

    return _mapped(dataset, lists, _BATCH_USERS, num_cpus)


@checks_call
def predict(model: "Recommender | str | os.PathLike[str]", dataset: "Dataset", *, num_cpus: int = 1) -> "Dataset":
    """The scores of all pairs of a Ray dataset, with the bits of ``model.predict``.

    Parameters
    ----------
    model : fitted model, or path of a model file that the driver can read
    dataset : ray.data.Dataset
        With the columns ``user_id`` and ``item_id``, and any others.
    num_cpus : int, at least 1
        The cores of a task, and its threads.

    Returns
    -------
    ray.data.Dataset
        The columns of ``dataset`` and ``score`` (float32); as lazy as any dataset. The job fails at the first user or
        item that was not in training, and names the ids.

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    InvalidDataError
        When the rows are made: if a column is missing, its type is not that of the model's ids, or there is a column
        ``score`` already.
    InvalidParameterError
        If it is no dataset.
    NotFittedError

    Examples
    --------
    >>> scored = ancf.ray.predict(model, ray.data.read_parquet("candidates"))  # doctest: +SKIP
    """
    model = fitted_model(model, "predict")
    _check_dataset(dataset)
    check_integer("num_cpus", num_cpus, 1, 1024)
    worker = _on_workers(model)

    def scores(batch: Any) -> Any:
        answers, loaded = worker()
        return answers.predict_table(loaded, batch, num_cpus)

    return _mapped(dataset, scores, _BATCH_PAIRS, num_cpus)


def _check_dataset(dataset: Any) -> None:
    try:
        from ray.data import Dataset
    except ImportError as error:
        raise MissingExtraError("ancf.ray needs ray. Install it with: pip install 'ancf[ray]'") from error
    if not isinstance(dataset, Dataset):
        raise InvalidParameterError(
            f"dataset is {_text.format_value(dataset)}; it must be a ray.data.Dataset. ray.data.from_pandas and "
            "ray.data.from_arrow make one of a table."
        )


def _mapped(dataset: Any, function: Callable[[Any], Any], batch_size: int, num_cpus: int) -> Any:
    return dataset.map_batches(
        function, batch_size=batch_size, batch_format="pyarrow", zero_copy_batch=True, num_cpus=num_cpus
    )


def _on_workers(model: Recommender) -> Callable[[], tuple[Any, Any]]:
    """What a task begins with: the module of the answers, and the model.

    It goes to workers as code, not by its name, since there may be no ancf.
    """
    import numpy as np
    import ray

    data = model.with_stock(None).to_bytes()
    version, key = __version__, key_of_bytes(data)
    shipped = ray.put(np.frombuffer(data, np.uint8))

    def begin() -> tuple[Any, Any]:
        import sys

        import ray

        try:
            from ancf.engines import worker
        except ImportError as error:
            raise RuntimeError(
                f"a Ray worker cannot load ancf ({error}); its Python is {sys.executable}. Install ancf {version} with "
                'its extra ray for the Python of every worker, or name it in ray.init(runtime_env={"pip": [...]}).'
            ) from None
        return worker, worker.open_array(key, lambda: ray.get(shipped))

    return begin
