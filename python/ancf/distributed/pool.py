"""A pool of workers: calls by name, whose results stay with the workers until somebody asks for them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf.distributed.worker import Worker

T = TypeVar("T")

# How often something is begun again before it is no accident any more.
_MAX_ATTEMPTS = 20


class WorkerLostError(Exception):
    """A worker has died, and with it the results that it had."""


class Pool(Protocol):
    """Workers by number. Calls of one worker run in the order in which they are made, those of several at once."""

    n_workers: int
    n_replaced: int
    """How many workers have been replaced so far."""

    def put(self, value: Any) -> Any:
        """A handle of a value that several calls get; sent to each machine once."""

    def call(self, worker: int, method: str, *arguments: Any, returns: int = 1) -> Any:
        """Begin a call; a handle of its result, or as many as it returns. Handles among the arguments become values."""

    def get(self, handle: Any) -> Any:
        """The value of a handle.

        Raises
        ------
        WorkerLostError
            If whoever had it, or was to make it, has died.
        """

    def replace_lost(self) -> None:
        """Put new workers in the place of those that have died."""


class LocalPool:
    """Workers in this process, one call after the other: the protocol without an engine.

    ``before`` sees each call before it is made, and may raise ``WorkerLostError`` in its place.
    """

    def __init__(self, n_workers: int, before: Callable[[int, str], None] | None = None) -> None:
        self.n_workers, self.n_replaced = n_workers, 0
        self._before = before
        self._workers: list[Worker | None] = [Worker() for _ in range(n_workers)]

    def put(self, value: Any) -> Any:
        """The value itself."""
        return value

    def call(self, worker: int, method: str, *arguments: Any, returns: int = 1) -> Any:
        """The result itself."""
        try:
            if self._before is not None:
                self._before(worker, method)
        except WorkerLostError:
            self._workers[worker] = None
            raise
        found = getattr(self._workers[worker], method)(*arguments)
        return list(found) if returns > 1 else found

    def get(self, handle: Any) -> Any:
        """The value itself."""
        return handle

    def replace_lost(self) -> None:
        """New workers where there are none."""
        for number, worker in enumerate(self._workers):
            if worker is None:
                self._workers[number] = Worker()
                self.n_replaced += 1


def bounds(n: int, parts: int) -> list[int]:
    """Where n things are cut into as many parts of the same size; the last may be smaller, or empty."""
    size = max(1, -(-n // parts))
    return [min(at * size, n) for at in range(parts + 1)]


def user_bounds(indptr: NDArray[np.int64], parts: int, multiple: int = 1) -> list[int]:
    """Where the users are cut into contiguous ranges with about as many interactions each, at multiples of a number."""
    shares = np.arange(1, parts) * int(indptr[-1]) // parts
    cuts = np.searchsorted(indptr, shares) // multiple * multiple
    return [0, *cuts.tolist(), len(indptr) - 1]


def patiently(pool: Pool, work: Callable[[], T]) -> T:
    """Do something, again with new workers where some are lost.

    Raises
    ------
    WorkerLostError
        If workers are lost time after time, so that something else must be wrong.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        try:
            return work()
        except WorkerLostError:
            pool.replace_lost()
    return work()


def get_all(pool: Pool, handles: Sequence[Any]) -> list[Any]:
    """The values of handles, once all are there."""
    return [pool.get(handle) for handle in handles]
