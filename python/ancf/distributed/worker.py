"""What one worker does: the parts of a step of its users, regressions of some items, and lists of some users."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr, ItemSets
from ancf.models.ancf.sides import ItemFactors, ItemSide, UserSide
from ancf.scoring.results import TopN

Floats = NDArray[np.float32]
Batch = tuple[NDArray[np.uint32], Floats, Floats, Floats]
"""Of the users of a batch that a worker has: places in the batch, unit vectors, factors, shifts."""
Part = tuple[Csr, NDArray[np.int64] | None]
"""Histories of some users, and when each pair was bought."""


class Worker:
    """A contiguous range of the users. Tables of items come in blocks of rows, one after the other."""

    def __init__(self) -> None:
        self._serving: tuple[int, ItemSide, UserSide] | None = None

    def begin(
        self,
        pairs: Csr,
        n_items: int,
        first_user: int,
        counts: Any,
        active: Any,
        options: dict[str, Any],
        num_threads: int,
    ) -> None:
        """Take the histories of the users from ``first_user`` on."""
        self._threads = num_threads
        self._factors = options["factors"]
        self._shard = _native.SoftmaxShard(pairs, n_items, first_user, counts, active, options, num_threads)

    def batch_size(self) -> int:
        """Users of a step, of all workers."""
        return self._shard.batch_size

    def carry_item_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sums of the priors of each item's users, with those here."""
        return self._shard.carry_item_sums(sums)

    def set_item_sums(self, sums: NDArray[np.float64]) -> None:
        """Take these sums over all users."""
        self._shard.set_item_sums(sums)

    def progress(self) -> tuple[dict[str, Floats], int]:
        """Every number that an epoch changes, and the steps taken; the same on every worker."""
        return self._shard.progress(self._threads)

    def resume(self, numbers: dict[str, Floats], steps: int) -> None:
        """Go on from what ``progress`` gave."""
        self._shard.resume(numbers, steps, self._threads)

    def begin_epoch(self, epoch: int) -> list[int]:
        """Of each step of the epoch the interactions of the users here."""
        return self._shard.begin_epoch(epoch)

    def to_users(self, kind: str, *blocks: Floats) -> None:
        """Numbers of each user here from a table of items, or from the one that the kind is for where none is given."""
        self._shard.to_users(kind, np.concatenate(blocks) if blocks else None, self._threads)

    def carry(self, kind: str, first: int, rows: Floats) -> Floats:
        """Rows of items from ``first`` on, with what their users here add."""
        return self._shard.carry(kind, first, rows, self._threads)

    def carry_gram(self, part: Floats, total: NDArray[np.float64], n_users: int) -> tuple[Floats, NDArray[np.float64]]:
        """The products of the users' numbers, with those here."""
        return self._shard.carry_gram(part, total, n_users, self._threads)

    def bare(self, first: int, last: int) -> Floats:
        """Rows of the bare item vectors."""
        return self._shard.bare(first, last)

    def set_smoothed(self, *blocks: Floats) -> None:
        """Take what the item vectors have from the graph."""
        self._shard.set_smoothed(np.concatenate(blocks))

    def begin_step(self) -> None:
        """Make the item vectors, and draw the negatives of the next step."""
        self._shard.begin_step(self._threads)

    def begin_validation(self, *blocks: Floats) -> None:
        """Take the item vectors for validation, and draw its negatives."""
        self._shard.begin_validation(np.concatenate(blocks), self._threads)

    def batch(self, step: int, n_pairs: int) -> tuple[Batch, tuple[NDArray[np.uint32], NDArray[np.float64]]]:
        """The users here of a step: what the others need of them, and their places with their losses."""
        places, vectors, factors, shifts, losses = self._shard.batch(step, n_pairs, self._threads)
        return (places, vectors, factors, shifts), (places, losses)

    def negatives(self, first: int, last: int, *batches: Batch) -> Floats:
        """Rows of the gradient by the negatives' unit vectors, of all users of the batch in its order."""
        n = sum(len(places) for places, *_ in batches)
        vectors = np.empty((n, self._factors), np.float32)
        factors, shifts = np.empty(n, np.float32), np.empty(n, np.float32)
        for places, of_users, of_factors, of_shifts in batches:
            vectors[places], factors[places], shifts[places] = of_users, of_factors, of_shifts
        return self._shard.negatives(first, last, vectors, factors, shifts, self._threads)

    def begin_gradient(self, first: int, last: int) -> tuple[Floats, Floats]:
        """Gradients of no users yet, with what the users here add."""
        zeros = np.zeros((last - first, self._factors), np.float32)
        return self.carry_gradient(first, zeros, zeros)

    def carry_gradient(self, first: int, by_vectors: Floats, by_units: Floats) -> tuple[Floats, Floats]:
        """Gradients by items from ``first`` on and by their unit vectors, with what their users here add."""
        return self._shard.carry_gradient(first, by_vectors, by_units, self._threads)

    def set_negatives(self, *by_negatives: Floats) -> None:
        """Take the whole gradient by the negatives' unit vectors."""
        self._by_negatives = np.concatenate(by_negatives)

    def finish_gradient(self, first: int, by_vectors: Floats, by_units: Floats) -> Floats:
        """The gradient by the vectors of these items."""
        return self._shard.finish_gradient(first, by_vectors, by_units, self._by_negatives, self._threads)

    def hold(self, step: int, *gradient: Floats) -> None:
        """Take the gradient by the item vectors of a step of the epoch."""
        self._shard.hold(step, np.concatenate(gradient), self._threads)

    def set_returned(self, *blocks: Floats) -> None:
        """Take what the bare vectors have from the gradients that are held."""
        self._shard.set_returned(np.concatenate(blocks))

    def update(self) -> None:
        """A step of the optimizer, the same on every worker."""
        self._shard.update(self._threads)

    def check(self, loss: float, epoch: int) -> None:
        """Refuse a loss or vectors that training has lost."""
        self._shard.check(loss, epoch, self._threads)

    def validation(self, targets: Csr) -> NDArray[np.float64]:
        """The losses of held-out pairs, one number for each user here who has some."""
        return self._shard.validation(targets, self._threads)

    def ridge(self, pairs: Csr, n_items: int, first: int, last: int, options: dict[str, Any]) -> list[Csr]:
        """The item-item weights that point to some items by each λ, before sources are cut to their strongest."""
        targets = np.arange(first, last, dtype=np.int32)
        return [Csr(*each) for each in _native.ridge_targets(pairs, n_items, targets, **options)]

    def user_vectors(self, part: Part, items: ItemSide, half_life: float | None, num_threads: int) -> Floats:
        """The vectors of these users."""
        return UserSide(*part, num_threads).vectors(items, half_life)

    def gram_parts(self, part: Part, items: ItemSide, half_life: float | None, num_threads: int) -> Floats:
        """Products of these vectors by themselves, chunk after chunk of users."""
        return UserSide(*part, num_threads).gram_parts(items, half_life)

    def top_n(
        self,
        part: Part,
        key: int,
        items: ItemSide,
        half_life: float | None,
        rows: NDArray[np.int64],
        n: int,
        num_threads: int,
    ) -> TopN:
        """Lists of some of these users by the vectors; the ranker of the last ``key`` is kept."""
        if self._serving is None or self._serving[0] != key:
            self._serving = None
            self._serving = key, items, UserSide(*part, num_threads)
        _, items, users = self._serving
        return users.top_n(items, half_life, rows, n)

    def mixed_ndcg(
        self,
        part: Part,
        items: ItemSide,
        weights: Csr | None,
        half_life: float | None,
        mixtures: list[ItemFactors],
        rows: NDArray[np.int64],
        wanted: ItemSets,
        n: int,
        num_threads: int,
    ) -> list[NDArray[np.float64]]:
        """NDCG@n of what some of these users want by each mixture."""
        users = UserSide(*part, num_threads)
        return users.mixed_ndcg(items._replace(neighbors=weights), half_life, mixtures, rows, wanted, n)

    def process(self) -> int:
        """The number of its process: an answer of who is alive."""
        return os.getpid()
