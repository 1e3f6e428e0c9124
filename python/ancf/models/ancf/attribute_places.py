"""The places that attributes give to items: regressions, and what the companions of an item make of it.

The formulas are in ``attributes.py``.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr
from ancf.models.ancf.softmax import HistoryEncoder
from ancf.scoring.scorer import Scorer

Floats = NDArray[np.float32]

# Found on tables in which other items were taken out than in the benchmark (benches/new_products.py).
_PROPERTY_POWER = 0.1
_CANDIDATES = 200
_STRONGEST = 20
_MAX_ENTRIES = 500
"""Item-item weights that point to one new item."""


@dataclass(frozen=True)
class Places:
    """What attributes make of some items."""

    vectors: Floats
    """(n, d)"""
    priors: Floats
    keys: NDArray[np.int64]
    """source · n + which of these items, rising."""
    values: Floats
    """The item-item weights at ``keys``."""
    companions: Csr
    """a: a row for each of these items, over the known ones."""

    def louder(self, factor: float) -> "Places":
        """With all scores multiplied."""
        by = np.float32(factor)
        return replace(self, vectors=self.vectors * by, values=self.values * by)

    @property
    def n(self) -> int:
        return len(self.vectors)


def regressions(
    properties: Csr, n_items: int, targets: NDArray[np.int64], shrinkage: float, threads: int | None
) -> Csr:
    """b: a row for each target, over all items."""
    (found,) = _native.ridge_targets(
        properties,
        n_items,
        targets.astype(np.int32),
        candidates=_CANDIDATES,
        shrinkages=[shrinkage],
        user_power=_PROPERTY_POWER,
        source_power=0.0,
        num_threads=threads,
    )
    return Csr(*found)


def select(weights: Csr, kept: NDArray[np.bool_]) -> Csr:
    """Those entries of a matrix."""
    rows = np.repeat(np.arange(weights.n_rows), np.diff(weights.indptr))[kept]
    indptr = offsets_from_lengths(np.bincount(rows, minlength=weights.n_rows))
    return Csr(indptr, weights.indices[kept], weights.data[kept])


def _strongest(weights: Csr, k: int) -> Csr:
    """The k greatest entries of each row, ties to the smaller column."""
    rows = np.repeat(np.arange(weights.n_rows), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, rows))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - weights.indptr[rows[order]]
    return select(weights, rank < k)


def shares_of(weights: Csr) -> Csr:
    """a: the strongest weights squared, adding up to 1."""
    strong = _strongest(weights, _STRONGEST)
    rows = np.repeat(np.arange(strong.n_rows), np.diff(strong.indptr))
    squares = strong.data.astype(np.float64) ** 2
    total = np.bincount(rows, weights=squares, minlength=strong.n_rows)
    return strong.with_data((squares / total[rows]).astype(np.float32))


def first_rows(neighbors: Csr, n: int) -> Csr:
    """Without the rows after the first n."""
    end = int(neighbors.indptr[n])
    return Csr(neighbors.indptr[: n + 1], neighbors.indices[:end], neighbors.data[:end])


def transposed(matrix: Csr, n_columns: int) -> Csr:
    """Rows as columns, in order."""
    rows = np.repeat(np.arange(matrix.n_rows, dtype=np.int32), np.diff(matrix.indptr))
    order = np.argsort(matrix.indices, kind="stable")
    indptr = offsets_from_lengths(np.bincount(matrix.indices, minlength=n_columns))
    return Csr(indptr, rows[order], matrix.data[order])


class Catalog(NamedTuple):
    """The items with buyers as they are served."""

    vectors: Floats
    priors: Floats
    by_target: Csr
    """The item-item weights, a row for each target."""

    @classmethod
    def of(cls, scorer: Scorer) -> "Catalog":
        encoder, n = scorer.encoder, len(scorer.item_ids)
        assert isinstance(encoder, HistoryEncoder)
        neighbors = Csr.empty(n) if scorer.neighbors is None else first_rows(scorer.neighbors, n)
        return cls(scorer.item_vectors, encoder.item_priors, transposed(neighbors, n))

    def mixtures(self, weights: Csr, num_threads: int | None) -> "Mixtures":
        """What companions make of the items that are the rows of b."""
        n = weights.n_rows
        shares = shares_of(weights)
        vectors = _native.weighted_sums(shares, self.vectors, num_threads)
        priors = _native.weighted_sums(shares, np.ascontiguousarray(self.priors[:, None]), num_threads)[:, 0]
        # Σ_j a_ji c_hj, entry after entry.
        taken = self.by_target.take(shares.indices)
        lengths = np.diff(taken.indptr)
        rows = np.repeat(np.repeat(np.arange(n), np.diff(shares.indptr)), lengths)
        values = taken.data.astype(np.float64) * np.repeat(shares.data.astype(np.float64), lengths)
        of_own = weights.indices.astype(np.int64) * n + np.repeat(np.arange(n), np.diff(weights.indptr))
        keys = np.concatenate((taken.indices.astype(np.int64) * n + rows, of_own))
        keys, which = np.unique(keys, return_inverse=True)
        place: NDArray[np.float64] = np.bincount(which[: len(values)], values, len(keys)).astype(np.float64)
        own_values = weights.data.astype(np.float64)
        own: NDArray[np.float64] = np.bincount(which[len(values) :], own_values, len(keys)).astype(np.float64)
        return Mixtures(vectors, priors.copy(), keys, place, own, shares)


class Mixtures(NamedTuple):
    """The parts of places."""

    vectors: Floats
    priors: Floats
    keys: NDArray[np.int64]
    """source · n + which of these items, rising."""
    place: NDArray[np.float64]
    own: NDArray[np.float64]
    """b, at the same keys."""
    shares: Csr

    def places(self, own_weight: float) -> Places:
        """Both parts added up, without loudness."""
        n, keys = len(self.vectors), self.keys
        summed = (self.place + self.own * own_weight).astype(np.float32)
        items = keys % n if n else keys
        # Each item keeps its strongest.
        order = np.lexsort((keys, -summed, items))
        starts = offsets_from_lengths(np.bincount(items, minlength=n))
        rank = np.empty(len(keys), np.int64)
        rank[order] = np.arange(len(keys)) - starts[items[order]]
        kept = (rank < _MAX_ENTRIES) & (summed != 0)
        return Places(self.vectors, self.priors, keys[kept], summed[kept], self.shares)


def item_weights(places: Places, n_sources: int) -> Csr:
    """The weights that point to these items, a row for each source."""
    sources = places.keys // max(places.n, 1)
    indptr = offsets_from_lengths(np.bincount(sources, minlength=n_sources))
    return Csr(indptr, (places.keys % max(places.n, 1)).astype(np.int32), places.values)
