"""Users who are their histories, by ranges on the workers of a pool: what choosing, validation and serving ask of them.

Nothing that counts stays with a worker between two calls. Each brings the histories of the range and the items' side,
which lie in the pool's store and go to each machine once.
"""

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.distributed.pool import Pool, get_all, patiently, user_bounds
from ancf.models.ancf.sides import ItemFactors, ItemSide
from ancf.scoring.results import TopN

Floats = NDArray[np.float32]

# By which a worker knows again what it has made a ranker of.
_keys = count()


class SpreadUsers:
    """The users of a table, or of what was not held out of it; the numbers are those of ``UserSide``, bit for bit."""

    def __init__(self, pool: Pool, pairs: Csr, times: NDArray[np.int64] | None, num_threads: int) -> None:
        self._pool, self._threads = pool, num_threads
        self._pairs = pairs
        # A range begins where a chunk of products does.
        self._at = user_bounds(pairs.indptr, pool.n_workers, _native.gram_rows())
        self._parts = [pool.put(_part(pairs, times, first, last)) for first, last in pairwise(self._at)]
        # What was sent last; the next call most often asks for the same.
        self._sent: tuple[ItemSide, int, Any] | None = None
        self._weights: list[tuple[ItemSide, NDArray[np.int64], list[Any]]] = []

    def vectors(self, items: ItemSide, half_life: float | None) -> Floats:
        """User vectors (n_users, d), gathered."""
        return self._of_all("user_vectors", items, half_life)

    def gram_parts(self, items: ItemSide, half_life: float | None) -> Floats:
        """Products of the user vectors by themselves, chunk after chunk of users."""
        return self._of_all("gram_parts", items, half_life)

    def top_n(self, items: ItemSide, half_life: float | None, rows: NDArray[np.int64], n: int) -> TopN:
        """Lists of some users, by the vectors alone."""
        key, sent = self._send(items)

        def of_worker(number: int, own: NDArray[np.int64]) -> Any:
            given = self._parts[number], key, sent, half_life, own, n, self._threads
            return self._pool.call(number, "top_n", *given)

        return _joined(self._of_some(rows, of_worker), n)

    def mixed_ndcg(
        self,
        items: ItemSide,
        half_life: float | None,
        mixtures: list[ItemFactors],
        rows: NDArray[np.int64],
        wanted: ItemSets,
        n: int,
    ) -> list[NDArray[np.float64]]:
        """NDCG@n of what some users want by each mixture; a worker gets the item-item weights of what its own of them
        had, and no others."""
        _, sent = self._send(items)
        weights = None if items.neighbors is None else self._send_weights(items, rows)
        factors = self._pool.put(mixtures)

        def of_worker(number: int, own: NDArray[np.int64]) -> Any:
            of_own = None if weights is None else weights[number]
            first = int(np.searchsorted(rows, self._at[number]))
            wants = wanted.take(np.arange(first, first + len(own)))
            given = self._parts[number], sent, of_own, half_life, factors, own, wants, n, self._threads
            return self._pool.call(number, "mixed_ndcg", *given)

        found = self._of_some(rows, of_worker)
        return [np.concatenate([np.zeros(0), *(each[place] for each in found)]) for place in range(len(mixtures))]

    def _of_some(self, rows: NDArray[np.int64], of_worker: Callable[[int, NDArray[np.int64]], Any]) -> list[Any]:
        """What the workers that have some of these users find; each is called with its own as it counts them."""
        pool = self._pool

        def found() -> list[Any]:
            parts = enumerate(self._split(rows))
            return get_all(pool, [of_worker(number, own - self._at[number]) for number, own in parts if len(own)])

        return patiently(pool, found)

    def _split(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Those of each worker."""
        cuts = np.searchsorted(rows, self._at).tolist()
        return [rows[first:last] for first, last in pairwise(cuts)]

    def _of_all(self, method: str, items: ItemSide, half_life: float | None) -> Floats:
        pool, (_, sent) = self._pool, self._send(items)

        def found() -> list[Floats]:
            parts = enumerate(self._parts)
            return get_all(
                pool, [pool.call(number, method, part, sent, half_life, self._threads) for number, part in parts]
            )

        return np.concatenate(patiently(pool, found))

    def _send(self, items: ItemSide) -> tuple[int, Any]:
        """A key and a handle of these items without their weights."""
        if self._sent is None or self._sent[0] is not items:
            self._sent = items, next(_keys), self._pool.put(items._replace(neighbors=None))
        return self._sent[1:]

    def _send_weights(self, items: ItemSide, rows: NDArray[np.int64]) -> list[Any]:
        """A handle for each worker of the weights that its users' histories have."""
        for of_items, of_rows, sent in self._weights:
            if of_items is items and of_rows is rows:
                return sent
        assert items.neighbors is not None
        had = [np.unique(self._pairs.take(own).indices) for own in self._split(rows)]
        sent = [self._pool.put(_rows_alone(items.neighbors, each)) for each in had]
        # Those of everybody who is asked and of a part of them take turns.
        self._weights = [*self._weights[-1:], (items, rows, sent)]
        return sent


def _part(pairs: Csr, times: NDArray[np.int64] | None, first: int, last: int) -> tuple[Csr, NDArray[np.int64] | None]:
    """The histories of a range of users."""
    indptr = pairs.indptr[first : last + 1]
    part = slice(int(indptr[0]), int(indptr[-1]))
    own = Csr(indptr - indptr[0], pairs.indices[part], pairs.data[part])
    return own, None if times is None else times[part]


def _rows_alone(weights: Csr, rows: NDArray[np.int32]) -> Csr:
    """A matrix in which all other rows are empty."""
    kept = weights.take(rows)
    lengths = np.zeros(weights.n_rows, np.int64)
    lengths[rows] = np.diff(kept.indptr)
    return Csr(offsets_from_lengths(lengths), kept.indices, kept.data)


def _joined(parts: list[TopN], n: int) -> TopN:
    """Lists one after the other, as wide as the widest."""
    width = max((part.items.shape[1] for part in parts), default=n)
    n_lists, at = sum(len(part.counts) for part in parts), 0
    joined = TopN(
        np.zeros((n_lists, width), np.int32), np.zeros((n_lists, width), np.float32), np.zeros(n_lists, np.int32)
    )
    for items, scores, counts in parts:
        end = at + len(counts)
        joined.items[at:end, : items.shape[1]] = items
        joined.scores[at:end, : items.shape[1]] = scores
        joined.counts[at:end] = counts
        at = end
    return joined
