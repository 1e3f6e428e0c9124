"""The softmax trainer over workers: who does what when. Its sums run in the order of one machine, and so do its bits.

Sums over an item's users are chains over rising users. The users are cut into contiguous ranges, and a chain goes on
from worker to worker; tables of items travel in blocks of rows, so that all workers are at work at once. Where a worker
is lost, a new one takes its users, all go back to the beginning of the epoch, and it is learned again.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr
from ancf.distributed.pool import Pool, bounds, get_all, patiently, user_bounds

Floats = NDArray[np.float32]
Progress = tuple[dict[str, Floats], int]

# Blocks of a table of items for each worker: the last one begins after as many blocks as there are workers before it.
_BLOCKS_PER_WORKER = 4


class SpreadLearner:
    """Item vectors learned by the workers of a pool; what the core's trainer says, it says with the same bits."""

    # Any: the options of the core. The threads are those of a worker, and of what is computed here.
    def __init__(
        self,
        pool: Pool,
        pairs: Csr,
        n_items: int,
        options: dict[str, Any],
        num_threads: int,
        threads_here: int | None,
    ) -> None:
        self._pool, self._pairs, self._n_items = pool, pairs, n_items
        self._options, self._threads, self._threads_here = options, num_threads, threads_here
        n = pool.n_workers
        self._users = user_bounds(pairs.indptr, n)
        at = bounds(n_items, n * _BLOCKS_PER_WORKER)
        self._blocks = [(first, last) for first, last in pairwise(at) if first < last]
        self._counts = np.bincount(pairs.indices, minlength=n_items).astype(np.int64)
        self._active = np.flatnonzero(np.diff(pairs.indptr)).astype(np.uint32)
        self._shards = [pool.put(self._shard(number)) for number in range(n)]
        self._shared = [pool.put(self._counts), pool.put(self._active)]
        # What the workers stand at between two epochs, and how many had been replaced when they got their users.
        self._kept: Progress | None = None
        self._begun_with = -1
        self._patiently(self._begin)

    # ---- what the core's trainer says

    @property
    def batch_size(self) -> int:
        """Users of a step."""
        found: int = self._patiently(lambda: self._pool.get(self._pool.call(0, "batch_size")))
        return found

    def epoch(self, epoch: int, num_threads: int | None = None) -> float:
        """One pass over all users; the mean loss per interaction."""

        def learned() -> tuple[float, Progress]:
            loss = self._epoch(epoch)
            numbers, steps = self._pool.get(self._pool.call(0, "progress"))
            return loss, ({name: np.array(each) for name, each in numbers.items()}, steps)

        loss, self._kept = self._patiently(learned)
        return float(loss)

    def progress(self, num_threads: int | None = None) -> Progress:
        """Every number that an epoch changes, by name, and the steps taken."""
        assert self._kept is not None
        return self._kept

    def resume(self, numbers: dict[str, Floats], steps: int, num_threads: int | None = None) -> None:
        """Go on from what ``progress`` gave."""
        self._kept = {name: each.copy() for name, each in numbers.items()}, steps
        self._patiently(self._take_kept)

    def item_vectors(self, num_threads: int | None = None) -> Floats:
        """Item vectors as they stand."""
        return np.concatenate(self._patiently(lambda: get_all(self._pool, self._vectors())))

    def validation_loss(self, targets: Csr, num_threads: int | None = None) -> float:
        """The mean loss of held-out pairs."""
        found: float = self._patiently(lambda: self._validation_loss(targets))
        return found

    # ---- how

    def _patiently(self, work: Any) -> Any:
        """Do something; where a worker is lost, replace it, go back to what was kept, and do it again."""

        def going_on() -> Any:
            if self._kept is not None and self._begun_with != self._pool.n_replaced:
                self._begin_workers()
                self._take_kept()
            return work()

        return patiently(self._pool, going_on)

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        return [self._pool.call(number, method, *arguments) for number in range(self._pool.n_workers)]

    def _shard(self, number: int) -> Csr:
        indptr, items, values = self._pairs
        first, last = self._users[number], self._users[number + 1]
        part = slice(int(indptr[first]), int(indptr[last]))
        return Csr(indptr[first : last + 1] - indptr[first], items[part], values[part])

    def _begin_workers(self) -> None:
        pool = self._pool
        for number, shard in enumerate(self._shards):
            of_users = self._users[number], *self._shared
            pool.call(number, "begin", shard, self._n_items, *of_users, self._options, self._threads)
        sums = np.zeros(self._n_items, np.float64)
        for number in range(pool.n_workers):
            sums = pool.call(number, "carry_item_sums", sums)
        get_all(pool, self._all("set_item_sums", sums))
        self._begun_with = pool.n_replaced

    def _begin(self) -> None:
        self._begin_workers()
        factors, seed = self._options["factors"], self._options["seed"]
        if self._options["spectral_start"]:
            start = self._spectrum(factors, seed)
        else:
            start = _native.softmax_random_start(self._n_items, factors, seed)
        numbers = {"vectors": start.reshape(-1)}
        zeros = np.zeros(start.size, np.float32)
        self._kept = {**numbers, "first moments": zeros, "second moments": zeros}, 0
        self._take_kept()

    def _take_kept(self) -> None:
        assert self._kept is not None
        numbers, steps = self._kept
        get_all(self._pool, self._all("resume", self._pool.put(numbers), steps))

    def _spectrum(self, factors: int, seed: int) -> Floats:
        pool, n_users = self._pool, self._pairs.n_rows
        y = _native.spectral_begin(n_users, self._n_items, factors, seed)
        width, rounds = y.shape[1], _native.spectral_rounds()
        for number in range(rounds):
            y = _native.spectral_orthonormal(y, self._threads_here)
            self._all("to_users", "spectral", pool.put(y))
            if number + 1 < rounds:
                y = np.concatenate(get_all(pool, self._carry("spectral", self._zeros(width))))
        part: Any = np.zeros((width, width), np.float32)
        total: Any = np.zeros(width * width, np.float64)
        for number in range(pool.n_workers):
            part, total = pool.call(number, "carry_gram", part, total, n_users, returns=2)
        return _native.spectral_finish(y, np.array(pool.get(total)), factors, seed, self._threads_here)

    def _carry(self, kind: str, blocks: list[Any]) -> list[Any]:
        """Each block from worker to worker, as soon as the one before is done with it."""
        for number in range(self._pool.n_workers):
            blocks = [
                self._pool.call(number, "carry", kind, first, block)
                for (first, _), block in zip(self._blocks, blocks, strict=True)
            ]
        return blocks

    def _zeros(self, width: int) -> list[Floats]:
        return [np.zeros((last - first, width), np.float32) for first, last in self._blocks]

    def _through_graph(self, kind: str) -> list[Any]:
        self._all("to_users", kind)
        return self._carry(kind, self._zeros(self._options["factors"]))

    def _vectors(self) -> list[Any]:
        """Item vectors of the bare ones, in blocks."""
        blocks = [self._pool.call(0, "bare", first, last) for first, last in self._blocks]
        if not self._options["item_attention"]:
            return blocks
        self._all("to_users", "forward")
        return self._carry("forward", blocks)

    def _epoch(self, epoch: int) -> float:
        n_pairs = np.sum(get_all(self._pool, self._all("begin_epoch", epoch)), axis=0).tolist()
        loss = 0.0
        for step, n in enumerate(n_pairs):
            passes = self._options["item_attention"] and _native.softmax_passes_in(step, len(n_pairs))
            of_step = self._step(step, n, passes)
            if not np.isfinite(of_step):
                self._pool.get(self._pool.call(0, "check", of_step, epoch))
            loss += of_step
        self._pool.get(self._pool.call(0, "check", loss, epoch))
        return loss / len(self._pairs.indices)

    def _step(self, step: int, n_pairs: int, passes: bool) -> float:
        """One step of all workers; the summed loss of its users. ``passes``: whether it goes through the graph."""
        pool, n = self._pool, self._pool.n_workers
        # 1. What item vectors have from the graph, to everybody.
        if passes:
            self._all("set_smoothed", *self._through_graph("forward"))
        self._all("begin_step")
        # 2. Users of the batch, to everybody; each worker has some of the negatives.
        found = [pool.call(number, "batch", step, n_pairs, returns=2) for number in range(n)]
        batches, losses = [batch for batch, _ in found], [of_users for _, of_users in found]
        at = bounds(min(self._n_items, self._options["negatives"]), n)
        by_negatives = [pool.call(number, "negatives", at[number], at[number + 1], *batches) for number in range(n)]
        # 3. Gradients by the item vectors, from worker to worker; then with the negatives, by blocks.
        sums = [pool.call(0, "begin_gradient", *block, returns=2) for block in self._blocks]
        for number in range(1, n):
            sums = [
                pool.call(number, "carry_gradient", first, *both, returns=2)
                for (first, _), both in zip(self._blocks, sums, strict=True)
            ]
        # Where the chains end: to share this out would send both tables once more than it saves.
        pool.call(n - 1, "set_negatives", *by_negatives)
        gradient = [
            pool.call(n - 1, "finish_gradient", first, *both)
            for (first, _), both in zip(self._blocks, sums, strict=True)
        ]
        # 4. Back over the graph to the bare vectors, and a step of everybody.
        self._all("hold", step, *gradient)
        if passes:
            self._all("set_returned", *self._through_graph("backward"))
        done = self._all("update")
        loss = _summed(get_all(pool, losses))
        get_all(pool, done)
        return loss

    def _validation_loss(self, targets: Csr) -> float:
        self._all("begin_validation", *self._vectors())
        lost = []
        for number in range(self._pool.n_workers):
            first, last = self._users[number], self._users[number + 1]
            part = slice(int(targets.indptr[first]), int(targets.indptr[last]))
            own = targets.indptr[first : last + 1] - targets.indptr[first]
            lost.append(self._pool.call(number, "validation", Csr(own, targets.indices[part], targets.data[part])))
        losses = np.concatenate(get_all(self._pool, lost))
        has_history = np.diff(self._pairs.indptr) > 0
        n_pairs = int(np.diff(targets.indptr)[has_history].sum())
        return _by_slices(losses) / max(n_pairs, 1)


def _summed(found: list[tuple[NDArray[np.uint32], NDArray[np.float64]]]) -> float:
    """The losses of a batch's users in its order."""
    losses = np.empty(sum(len(places) for places, _ in found), np.float64)
    for places, of_users in found:
        losses[places] = of_users
    return _by_slices(losses)


def _by_slices(losses: NDArray[np.float64]) -> float:
    """Slice by slice, as the core adds losses up; a sum of NumPy would take another order."""
    size, total = _native.softmax_slice(), 0.0
    for first in range(0, len(losses), size):
        total += float(np.cumsum(losses[first : first + size])[-1])
    return total
