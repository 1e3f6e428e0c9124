"""``ancf.ray.fit``: a model trained by workers, with the bits of ``model.fit``."""

from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checkpoints import CheckpointPath
from ancf.checks import check_integer
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.distributed.learner import SpreadLearner
from ancf.distributed.pool import Pool, bounds, get_all, patiently
from ancf.distributed.ray_pool import RayPool
from ancf.distributed.shards import read_interactions
from ancf.distributed.users import SpreadUsers
from ancf.errors import InvalidParameterError
from ancf.models.ancf.estimator import ANCF
from ancf.models.ancf.machines import SoftmaxLearner, Users, computing_on
from ancf.models.ancf.option_checks import check_options
from ancf.models.ancf.options import beyond_plain_softmax
from ancf.params import checks_call


class Spread:
    """The machines of a training: the workers of a pool."""

    def __init__(self, pool: Pool, num_threads: int) -> None:
        self._pool, self._threads = pool, num_threads

    def softmax_learner(
        self, pairs: Csr, n_items: int, options: dict[str, Any], num_threads: int | None
    ) -> SoftmaxLearner:
        """The softmax trainer over the workers, by ranges of users."""
        return SpreadLearner(self._pool, pairs, n_items, options, self._threads, num_threads)

    def users(self, pairs: Csr, times: NDArray[np.int64] | None, num_threads: int | None) -> Users:
        """The users over the workers, by ranges as well."""
        return SpreadUsers(self._pool, pairs, times, self._threads)

    def ridge_path(
        self, pairs: Csr, n_items: int, *, neighbors: int, num_threads: int | None, **options: Any
    ) -> list[Csr]:
        """Item-item weights by each λ, by ranges of items; every worker sees all interactions."""
        pool, at = self._pool, bounds(n_items, self._pool.n_workers)
        given = {**options, "num_threads": self._threads}
        shared = pool.put(pairs)

        def solved() -> list[list[Csr]]:
            calls = [
                pool.call(number, "ridge", shared, n_items, first, last, given)
                for number, (first, last) in enumerate(pairwise(at))
            ]
            return get_all(pool, calls)

        paths = zip(*patiently(pool, solved), strict=True)
        return [
            Csr(*_native.strongest_of_sources(_stacked(list(rows)), n_items, neighbors, num_threads)) for rows in paths
        ]


def _stacked(parts: list[Csr]) -> Csr:
    """The rows of all, one part after the other."""
    ends = np.cumsum([0, *(len(each.indices) for each in parts)])
    indptr = np.concatenate([each.indptr[:-1] + end for each, end in zip(parts, ends, strict=False)] + [ends[-1:]])
    return Csr(
        indptr.astype(np.int64),
        np.concatenate([each.indices for each in parts]),
        np.concatenate([each.data for each in parts]),
    )


@checks_call
def fit(
    model: ANCF,
    interactions: Any,
    validation: Any = None,
    *,
    num_workers: int = 2,
    num_cpus: int = 1,
    checkpoint: CheckpointPath | None = None,
    every: int = 1,
    resume: bool = False,
) -> ANCF:
    """Train a model by workers on Ray; it ends in the bytes of ``model.fit`` on one machine, for any number of them.

    The users are cut into contiguous ranges, one for each worker, which an actor keeps. Item-item weights are solved
    by ranges of items; what is chosen on held-out purchases and the metrics of a validation table go by lists that each
    worker makes of its users. The table is held, and the model put together, where this is called (``docs/scale.md``).
    A worker that dies is replaced, and the epoch is learned again.

    Parameters
    ----------
    model : ANCF
        With the plain softmax, which its defaults are.
    interactions, validation : Interactions, or tables
        As in ``model.fit``. Anything else is read by ``ancf.ray.read_interactions`` without options: a path, a data
        frame, a ``ray.data.Dataset``, or shards, a list of tables and paths that workers read.
    num_workers : int, at least 1
    num_cpus : int, at least 1
        The cores of a worker, and its threads.
    checkpoint, every, resume
        As in ``model.fit``; a training that was begun with other workers, or without, goes on as well.

    Returns
    -------
    the model itself, fitted

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    InvalidParameterError
        If the model is none that workers can train, or an option makes no sense.
    InvalidDataError, DivergedError
        As ``model.fit``.

    Examples
    --------
    >>> model = ancf.ray.fit(ancf.ANCF(), data, num_workers=4)  # doctest: +SKIP
    """
    check_integer("num_workers", num_workers, 1, 10_000)
    check_integer("num_cpus", num_cpus, 1, 1024)
    _check_model(model)
    interactions, validation = (
        each if each is None or isinstance(each, Interactions) else read_interactions(each, num_cpus=num_cpus)
        for each in (interactions, validation)
    )
    with closing(RayPool(num_workers, num_cpus)) as pool, computing_on(Spread(pool, num_cpus)):
        return model.fit(interactions, validation, checkpoint=checkpoint, every=every, resume=resume)


def _check_model(model: Any) -> None:
    """Refuse what is trained on one machine alone."""
    if not isinstance(model, ANCF):
        raise InvalidParameterError(
            f"fit: workers train ANCF, and not a {type(model).__name__}. Train it on one machine: model.fit(...)."
        )
    check_options(model)
    other = beyond_plain_softmax(model)
    if other:
        raise InvalidParameterError(
            f"fit: workers train ANCF with the plain softmax alone, and this one has {other}. Leave that out, or train "
            "on one machine: model.fit(...). docs/scale.md says why."
        )
