"""Where training computes: here, or on workers (``ancf.distributed``), with the same bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr, ItemSets
from ancf.models.ancf.sides import ItemFactors, ItemSide, UserSide
from ancf.scoring.results import TopN

Floats = NDArray[np.float32]


class SoftmaxLearner(Protocol):
    """What learns item vectors by a softmax: the core's trainer, or workers that share its work."""

    @property
    def batch_size(self) -> int: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, Floats], int]: ...
    def resume(self, numbers: dict[str, Floats], steps: int, num_threads: int | None = None) -> None: ...
    def validation_loss(self, targets: Csr, num_threads: int | None = None) -> float: ...
    def item_vectors(self, num_threads: int | None = None) -> Floats: ...


class Users(Protocol):
    """Users who are their histories: ``UserSide`` says what each of these is. Rows are asked for in rising order."""

    def vectors(self, items: ItemSide, half_life: float | None) -> Floats: ...
    def gram_parts(self, items: ItemSide, half_life: float | None) -> Floats: ...
    def top_n(self, items: ItemSide, half_life: float | None, rows: NDArray[np.int64], n: int) -> TopN: ...
    def mixed_ndcg(
        self,
        items: ItemSide,
        half_life: float | None,
        mixtures: list[ItemFactors],
        rows: NDArray[np.int64],
        wanted: ItemSets,
        n: int,
    ) -> list[NDArray[np.float64]]: ...


class Machines(Protocol):
    """What does the work that grows with the table."""

    # Any: the options of the core.
    def softmax_learner(
        self, pairs: Csr, n_items: int, options: dict[str, Any], num_threads: int | None
    ) -> SoftmaxLearner: ...
    def ridge_path(
        self, pairs: Csr, n_items: int, *, neighbors: int, num_threads: int | None, **options: Any
    ) -> list[Csr]: ...
    def users(self, pairs: Csr, times: NDArray[np.int64] | None, num_threads: int | None) -> Users: ...


class _Here:
    def softmax_learner(
        self, pairs: Csr, n_items: int, options: dict[str, Any], num_threads: int | None
    ) -> SoftmaxLearner:
        return _native.SoftmaxTrainer(pairs, n_items, options, num_threads)

    def users(self, pairs: Csr, times: NDArray[np.int64] | None, num_threads: int | None) -> Users:
        return UserSide(pairs, times, num_threads)

    def ridge_path(
        self, pairs: Csr, n_items: int, *, neighbors: int, num_threads: int | None, **options: Any
    ) -> list[Csr]:
        given = {"neighbors": neighbors, "num_threads": num_threads, **options}
        return [Csr(*each) for each in _native.ridge_neighbors(pairs, n_items, **given)]


_HERE = _Here()
_machines: ContextVar[Machines | None] = ContextVar("machines", default=None)


def machines() -> Machines:
    """Those of the present call."""
    return _machines.get() or _HERE


def is_elsewhere() -> bool:
    """Whether training does not compute here."""
    return machines() is not _HERE


@contextmanager
def computing_on(others: Machines) -> Iterator[None]:
    """Within the block, training computes there."""
    token = _machines.set(others)
    try:
        yield
    finally:
        _machines.reset(token)
