"""How attributes become a place, chosen on items with buyers that are treated as new.

The formulas are in ``attributes.py``.
"""

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.data.feature_encoding import encode
from ancf.models.ancf.attribute_places import (
    Catalog,
    Floats,
    Mixtures,
    Places,
    item_weights,
    regressions,
    select,
    transposed,
)
from ancf.models.ancf.softmax import HistoryEncoder
from ancf.models.ancf.temporal import sparse_history
from ancf.models.ancf.trained import Learned
from ancf.scoring.scorer import Scorer

# Found on tables in which other items were taken out than in the benchmark (benches/new_products.py).
_SHRINKAGES = (0.1, 0.5, 2.0)
_OWN_WEIGHTS = (1.0, 2.0, 4.0)
_LOUDNESS = (1.6, 1.3, 1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
_SLOTS = 0.02
_CUT_OFF = 20
_MAX_USERS = 1000
_MAX_TRIED = 1000
_LEAST_ITEMS = 40


def learn(scorer: Scorer, num_threads: int | None) -> Learned:
    """How attributes become a place, chosen on items of training where there are enough to choose on."""
    default = Learned(_SHRINKAGES[1], _OWN_WEIGHTS[1], _LOUDNESS[5])
    features = scorer.features_of_items
    if scorer.item_features is None or features is None:
        return default
    trial = _Trial(scorer, encode(features), num_threads)
    if len(trial.tried) * 10 < _LEAST_ITEMS or not len(trial.users):
        return default
    best: tuple[float, float, float, Places] | None = None
    for shrinkage in _SHRINKAGES:
        weights = trial.weights(shrinkage)
        mixtures = trial.catalog.mixtures(weights, num_threads)
        scale = trial.own_scale(weights, mixtures)
        for own in _OWN_WEIGHTS:
            places = mixtures.places(own * scale)
            found = trial.ndcg(places)
            if best is None or found > best[0]:
                best = (found, shrinkage, own * scale, places)
    assert best is not None
    _, shrinkage, own_weight, places = best
    # Louder items take more slots: the loudest that is not too loud is found by halving.
    low, high = 0, len(_LOUDNESS) - 1
    while low < high:
        middle = (low + high) // 2
        if trial.share_of_slots(places.louder(_LOUDNESS[middle])) <= _SLOTS:
            high = middle
        else:
            low = middle + 1
    return Learned(shrinkage, own_weight, _LOUDNESS[low])


class _Trial:
    """Items with buyers that are treated as new, and the users who have some of them."""

    def __init__(self, scorer: Scorer, properties: Csr, threads: int | None) -> None:
        encoder, n = scorer.encoder, len(scorer.item_ids)
        assert isinstance(encoder, HistoryEncoder)
        self.scorer, self.properties, self.threads, self.n = scorer, properties, threads, n
        described = np.flatnonzero(np.bincount(properties.indices, minlength=n) > 0)
        draws = np.random.Generator(np.random.PCG64(0))
        n_tried = min(len(described) // 10, _MAX_TRIED)
        self.tried = np.sort(draws.permutation(described)[:n_tried])
        self.place_of = np.full(n, -1, np.int64)
        self.place_of[self.tried] = np.arange(n_tried)
        users = np.repeat(np.arange(scorer.seen.n_rows), np.diff(scorer.seen.indptr))
        is_tried = self.place_of[scorer.seen.items] >= 0
        n_users = scorer.seen.n_rows
        wanted, left = np.bincount(users[is_tried], minlength=n_users), np.bincount(users[~is_tried], minlength=n_users)
        able = np.flatnonzero((wanted > 0) & (left > 0))
        self.users = able[:: max(1, -(-len(able) // _MAX_USERS))]
        pairs = Csr(*scorer.seen, encoder.recency)
        mine = pairs.take(self.users)
        tried = self.place_of[mine.indices] >= 0
        self.histories = select(mine, ~tried)
        truth = select(mine, tried)
        self.truth = ItemSets(truth.indptr, self.place_of[truth.indices].astype(np.int32))
        self.vectors = _native.user_vectors(self.histories, scorer.item_vectors, encoder.item_priors, threads)
        self.sparse = sparse_history(*self.histories.sets, self.histories.data, None, n)
        self.catalog = Catalog.of(scorer)

    def weights(self, shrinkage: float) -> Csr:
        """b over items that are not tried."""
        found = regressions(self.properties, self.n, self.tried, shrinkage, self.threads)
        return select(found, self.place_of[found.indices] < 0)

    def own_scale(self, weights: Csr, mixtures: Mixtures) -> float:
        """σ: the root mean square of the scores of the place, against that of what is alike."""
        places = mixtures.places(0.0)
        vectors = np.zeros_like(self.scorer.item_vectors)
        vectors[self.tried] = places.vectors
        by_source = item_weights(places, self.n)
        by_source = by_source._replace(indices=self.tried[by_source.indices].astype(np.int32))
        own = transposed(weights, self.n)
        own = own._replace(indices=self.tried[own.indices].astype(np.int32))
        of_vectors, of_weights = _native.score_scales(self.vectors, vectors, self.histories, by_source, self.threads)
        _, of_own = _native.score_scales(self.vectors, vectors, self.histories, own, self.threads)
        return float(np.sqrt(of_vectors**2 + of_weights**2) / of_own) if of_own > 0 else 0.0

    def ndcg(self, places: Places) -> float:
        """NDCG@20 among the tried items."""
        ranker = _native.Ranker(places.vectors, neighbors=item_weights(places, self.n))
        top = ranker.top_n_for(self.vectors, self.sparse, None, _CUT_OFF, num_threads=self.threads)
        found = _native.ranking_metrics(
            top[0], top[2], self.truth, None, [_CUT_OFF], len(self.tried), num_threads=self.threads
        )
        return float(np.asarray(found[f"ndcg@{_CUT_OFF}"]).mean())

    def share_of_slots(self, places: Places) -> float:
        """How many slots of everybody's lists the tried items take."""
        vectors = self.scorer.item_vectors.copy()
        vectors[self.tried] = places.vectors
        known = transposed(self.catalog.by_target, self.n)
        known = select(known, self.place_of[known.indices] < 0)
        columns = self.tried[places.keys % places.n]
        neighbors = _joined(known, places.keys // places.n, columns, places.values)
        ranker = _native.Ranker(vectors, neighbors=neighbors)
        items, _, counts = ranker.top_n_for(
            self.vectors, self.sparse, self.histories.sets, _CUT_OFF, num_threads=self.threads
        )
        held = np.arange(items.shape[1])[None, :] < counts[:, None]
        return float((self.place_of[items[held]] >= 0).sum() / max(int(counts.sum()), 1))


def _joined(known: Csr, sources: NDArray[np.int64], targets: NDArray[np.int64], values: Floats) -> Csr:
    """A matrix with entries at other places added to its rows."""
    width = 1 + int(max(known.indices.max(initial=0), targets.max(initial=0)))
    rows = np.repeat(np.arange(known.n_rows, dtype=np.int64), np.diff(known.indptr))
    keys = np.concatenate((rows * width + known.indices, sources * width + targets))
    order = np.argsort(keys, kind="stable")
    data = np.concatenate((known.data, values))[order]
    keys = keys[order]
    return Csr(
        offsets_from_lengths(np.bincount(keys // width, minlength=known.n_rows)), (keys % width).astype(np.int32), data
    )
