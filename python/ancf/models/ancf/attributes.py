"""Products that nobody has bought yet, placed by their attributes among those that have buyers.

An item's properties (``data/feature_encoding.py``) are written as a mixture of those of other items, its companions, by
ridge regression in closed form:

    (K_SS + λ I) b = K_Si        K_ij = Σ over properties shared by i and j of m^−0.1,  m: how many items have one

which is kernel ridge regression from attributes to whatever the items have (Saunders et al., ICML 1998), on the S = 200
strongest companions; negative weights are dropped. It is the core's regression for item-item weights, with properties
in the place of users. Two things are made of b:

    place     a_ji ∝ b_ji², the 20 strongest, Σ_j a_ji = 1:  q_i = g Σ_j a_ji q_j,  c_hi = g Σ_j a_ji c_hj
    own       c_hi += g w σ b_hi: who had something alike is shown the new item

so that both a score and its reasons are those of every other item. σ brings both parts on one scale.

λ and w are chosen by NDCG@20 among a tenth of the items with buyers, which are treated as new for that: their purchases
are taken out of the histories, and their place is made of their attributes. g, how loud new items are, is the loudest
of a few at which this tenth takes at most a fiftieth of the slots of everybody's lists of 20: so known items lose
little.

Users without purchases who have attributes are placed among others in the same way, with the same λ:
p_u = Σ_v a_vu p_v, and the weighted history is Σ_v a_vu of the others', so that their scores are the mean of those of
the 20 closest.

A new item that has n buyers since the training is a mixture of its place and of what its buyers make of it
(``updating.py``): the share of attributes is max(0, 1 − n / 10). With the tenth buyer it is gone.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import object_array, offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.data.feature_encoding import encode
from ancf.data.ids import IdMap
from ancf.models.ancf.softmax import HistoryEncoder
from ancf.models.ancf.temporal import add_repeat_sources, sparse_history
from ancf.models.ancf.trained import NEW, Learned
from ancf.scoring.scorer import Placed, Scorer

Floats = NDArray[np.float32]

# Found on tables in which other items were taken out than in the benchmark (benches/new_products.py).
_PROPERTY_POWER = 0.1
_CANDIDATES = 200
_STRONGEST = 20
_SHRINKAGES = (0.1, 0.5, 2.0)
_OWN_WEIGHTS = (1.0, 2.0, 4.0)
_LOUDNESS = (1.6, 1.3, 1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
_SLOTS = 0.02
_CUT_OFF = 20
_FULL_BUYERS = 10
_MAX_USERS = 1000
_MAX_TRIED = 1000
_LEAST_ITEMS = 40
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


# ---- places


def _regressions(
    properties: Csr, n_items: int, targets: NDArray[np.int64], shrinkage: float, threads: int | None
) -> Csr:
    """b: a row for each target, over all items."""
    found = _native.ridge_targets(
        properties,
        n_items,
        targets.astype(np.int32),
        candidates=_CANDIDATES,
        shrinkage=shrinkage,
        user_power=_PROPERTY_POWER,
        source_power=0.0,
        num_threads=threads,
    )
    return Csr(*found)


def _select(weights: Csr, kept: NDArray[np.bool_]) -> Csr:
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
    return _select(weights, rank < k)


def _shares(weights: Csr) -> Csr:
    """a: the strongest weights squared, adding up to 1."""
    strong = _strongest(weights, _STRONGEST)
    rows = np.repeat(np.arange(strong.n_rows), np.diff(strong.indptr))
    squares = strong.data.astype(np.float64) ** 2
    total = np.bincount(rows, weights=squares, minlength=strong.n_rows)
    return strong.with_data((squares / total[rows]).astype(np.float32))


def _first_rows(neighbors: Csr, n: int) -> Csr:
    end = int(neighbors.indptr[n])
    return Csr(neighbors.indptr[: n + 1], neighbors.indices[:end], neighbors.data[:end])


def _transposed(matrix: Csr, n_columns: int) -> Csr:
    rows = np.repeat(np.arange(matrix.n_rows, dtype=np.int32), np.diff(matrix.indptr))
    order = np.argsort(matrix.indices, kind="stable")
    indptr = offsets_from_lengths(np.bincount(matrix.indices, minlength=n_columns))
    return Csr(indptr, rows[order], matrix.data[order])


class _Catalog(NamedTuple):
    """The items with buyers as they are served."""

    vectors: Floats
    priors: Floats
    by_target: Csr
    """The item-item weights, a row for each target."""

    @classmethod
    def of(cls, scorer: Scorer) -> "_Catalog":
        encoder, n = scorer.encoder, len(scorer.item_ids)
        assert isinstance(encoder, HistoryEncoder)
        neighbors = Csr.empty(n) if scorer.neighbors is None else _first_rows(scorer.neighbors, n)
        return cls(scorer.item_vectors, encoder.item_priors, _transposed(neighbors, n))

    def mixtures(self, weights: Csr) -> "_Mixtures":
        """What companions make of the items that are the rows of b."""
        n = weights.n_rows
        shares = _shares(weights)
        vectors = _native.weighted_sums(shares, self.vectors)
        priors = _native.weighted_sums(shares, np.ascontiguousarray(self.priors[:, None]))[:, 0]
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
        return _Mixtures(vectors, priors.copy(), keys, place, own, shares)


class _Mixtures(NamedTuple):
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


def _item_weights(places: Places, n_sources: int) -> Csr:
    """The weights that point to these items, a row for each source."""
    sources = places.keys // max(places.n, 1)
    indptr = offsets_from_lengths(np.bincount(sources, minlength=n_sources))
    return Csr(indptr, (places.keys % max(places.n, 1)).astype(np.int32), places.values)


# ---- learning


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
        self.histories = _select(mine, ~tried)
        truth = _select(mine, tried)
        self.truth = ItemSets(truth.indptr, self.place_of[truth.indices].astype(np.int32))
        self.vectors = _native.user_vectors(self.histories, scorer.item_vectors, encoder.item_priors, threads)
        self.sparse = sparse_history(*self.histories.sets, self.histories.data, None, n)
        self.catalog = _Catalog.of(scorer)

    def weights(self, shrinkage: float) -> Csr:
        """b over items that are not tried."""
        found = _regressions(self.properties, self.n, self.tried, shrinkage, self.threads)
        return _select(found, self.place_of[found.indices] < 0)

    def own_scale(self, weights: Csr, mixtures: _Mixtures) -> float:
        """σ: the root mean square of the scores of the place, against that of what is alike."""
        places = mixtures.places(0.0)
        vectors = np.zeros_like(self.scorer.item_vectors)
        vectors[self.tried] = places.vectors
        by_source = _item_weights(places, self.n)
        by_source = by_source._replace(indices=self.tried[by_source.indices].astype(np.int32))
        own = _transposed(weights, self.n)
        own = own._replace(indices=self.tried[own.indices].astype(np.int32))
        of_vectors, of_weights = _native.score_scales(self.vectors, vectors, self.histories, by_source, self.threads)
        _, of_own = _native.score_scales(self.vectors, vectors, self.histories, own, self.threads)
        return float(np.sqrt(of_vectors**2 + of_weights**2) / of_own) if of_own > 0 else 0.0

    def ndcg(self, places: Places) -> float:
        """NDCG@20 among the tried items."""
        ranker = _native.Ranker(places.vectors, neighbors=_item_weights(places, self.n))
        top = ranker.top_n_for(self.vectors, self.sparse, None, _CUT_OFF, num_threads=self.threads)
        found = _native.ranking_metrics(
            top[0], top[2], self.truth, None, [_CUT_OFF], len(self.tried), num_threads=self.threads
        )
        return float(np.asarray(found[f"ndcg@{_CUT_OFF}"]).mean())

    def share_of_slots(self, places: Places) -> float:
        """How many slots of everybody's lists the tried items take."""
        vectors = self.scorer.item_vectors.copy()
        vectors[self.tried] = places.vectors
        known = _transposed(self.catalog.by_target, self.n)
        known = _select(known, self.place_of[known.indices] < 0)
        columns = self.tried[places.keys % places.n]
        neighbors = _joined(known, places.keys // places.n, columns, places.values)
        ranker = _native.Ranker(vectors, neighbors=neighbors)
        items, _, counts = ranker.top_n_for(
            self.vectors, self.sparse, self.histories.sets, _CUT_OFF, num_threads=self.threads
        )
        held = np.arange(items.shape[1])[None, :] < counts[:, None]
        return float((self.place_of[items[held]] >= 0).sum() / max(int(counts.sum()), 1))


def with_attributes(scorer: Scorer, num_threads: int | None) -> Scorer:
    """A scorer that was trained, with the items that nobody has bought; itself where there are no attributes."""
    encoder = scorer.encoder
    if not isinstance(encoder, HistoryEncoder) or encoder.trained is None:
        return scorer
    if scorer.item_features is None and scorer.user_features is None:
        return scorer
    trained = encoder.trained._replace(attributes=_learn(scorer, num_threads))
    encoder = encoder.with_parts(encoder.item_priors, trained)
    return extend(replace(scorer, encoder=encoder), num_threads)


def extend(scorer: Scorer, num_threads: int | None) -> Scorer:
    """The scorer with items that nobody has bought and users without purchases, as far as attributes place them."""
    return _with_users(_with_items(scorer, num_threads), num_threads)


def _learn(scorer: Scorer, num_threads: int | None) -> Learned:
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
        mixtures = trial.catalog.mixtures(weights)
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


# ---- serving


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


def _with_items(scorer: Scorer, num_threads: int | None) -> Scorer:
    """The scorer with the items that nobody has bought, as far as their attributes say something.

    Scores of known items keep their bits, but where users had items that came since the training.
    """
    encoder = scorer.encoder
    if scorer.item_features is None or not isinstance(encoder, HistoryEncoder):
        return scorer
    learned = None if encoder.trained is None else encoder.trained.attributes
    if learned is None:
        return scorer
    known_ids = scorer.item_ids
    absent = scorer.item_features.ids.values[known_ids.positions(scorer.item_features.ids.values) < 0]
    ids, _ = IdMap.factorize(np.concatenate([known_ids.values, absent]))
    of_known = scorer.features_of_items
    assert of_known is not None
    features = scorer.item_features.of(ids).with_texts("name", _spread(scorer.item_names, known_ids, ids))
    features = features.with_texts("category", _spread(scorer.item_categories, known_ids, ids))
    at = known_ids.positions(ids.values)
    n = len(known_ids)
    buyers = np.bincount(scorer.seen.items, minlength=n)
    is_new = np.zeros(n, bool)
    if encoder.trained is not None and encoder.trained.states is not None:
        is_new = (encoder.trained.states == NEW) & (buyers < _FULL_BUYERS)
    is_target = np.append(is_new, True)[at]
    targets = np.flatnonzero(is_target)
    found = _regressions(encode(features), len(ids), targets, learned.shrinkage, num_threads)
    settled = (at >= 0) & ~is_target
    found = _select(found, settled[found.indices])
    found = Csr(found.indptr, at[found.indices].astype(np.int32), found.data)
    # Whom nothing is like has no place.
    placed = np.flatnonzero(np.diff(found.indptr) > 0)
    found, targets = found.take(placed), targets[placed]
    places = _Catalog.of(scorer).mixtures(found).places(learned.own_weight).louder(learned.loudness)
    unbought = at[targets] < 0
    kept = (at >= 0) | np.isin(np.arange(len(ids)), targets[unbought])
    return _with_places(scorer, IdMap(ids.values[kept]), ids.values[targets], places, num_threads)


def _spread_rows(rows: NDArray[Any], to: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Numbers of known items over all n, 0 for others."""
    spread = np.zeros((n, *rows.shape[1:]), rows.dtype)
    spread[to] = rows
    return spread


def _spread(texts: NDArray[Any] | None, known: IdMap, ids: IdMap) -> NDArray[Any] | None:
    """Texts of known items over all."""
    if texts is None:
        return None
    spread: NDArray[Any] = np.append(texts, object_array([None]))[known.positions(ids.values)]
    return spread


def _with_places(
    scorer: Scorer, ids: IdMap, placed_ids: NDArray[Any], places: Places, num_threads: int | None
) -> Scorer:
    """The scorer over these ids, with places for some of them, wholly or in part."""
    encoder, known = scorer.encoder, scorer.item_ids
    assert isinstance(encoder, HistoryEncoder)
    n, n_known = len(ids), len(known)
    to = ids.positions(known.values)
    targets = ids.positions(placed_ids)
    buyers = np.zeros(n, np.int64)
    buyers[to] = np.bincount(scorer.seen.items, minlength=n_known)
    share = np.zeros(n)
    share[targets] = 1.0 - buyers[targets] / _FULL_BUYERS
    unbought = np.zeros(n, bool)
    unbought[targets] = buyers[targets] == 0
    unbought[to] = False
    # 1. Vectors and what items weigh in histories.
    d = scorer.item_vectors.shape[1]
    vectors, priors = np.zeros((n, d), np.float32), np.zeros(n, np.float32)
    vectors[to], priors[to] = scorer.item_vectors, encoder.item_priors
    of_place = share[targets].astype(np.float32)
    vectors[targets] = vectors[targets] * (1 - of_place)[:, None] + places.vectors * of_place[:, None]
    fresh = unbought[targets]
    priors[targets[fresh]] = places.priors[fresh]
    # 2. Item-item weights: those that point to a mixed item are mixed, and its place adds others.
    neighbors, trained_values = scorer.neighbors, None if encoder.trained is None else encoder.trained.values
    repeats = neighbors is not None and neighbors.n_rows > n_known
    first = Csr.empty(n_known) if neighbors is None else _first_rows(neighbors, n_known)
    known_rows = to[np.repeat(np.arange(n_known), np.diff(first.indptr))]
    columns = to[first.indices]
    keys = np.concatenate((known_rows * n + columns, to[places.keys // places.n] * n + targets[places.keys % places.n]))
    left = first.data * (1.0 - share[columns]).astype(np.float32)
    values = np.concatenate((left, places.values * of_place[places.keys % places.n]))
    united, which = np.unique(keys, return_inverse=True)
    summed = np.bincount(which, weights=values, minlength=len(united)).astype(np.float32)
    made = Csr(offsets_from_lengths(np.bincount(united // n, minlength=n)), (united % n).astype(np.int32), summed)
    if trained_values is not None:
        kept_values = np.zeros(len(united), np.float32)
        kept_values[which[: len(trained_values)]] = trained_values
        trained_values = kept_values
    trained = encoder.trained
    if trained is not None:
        states = np.full(n, NEW, np.uint8)
        states[to] = 0 if trained.states is None else trained.states
        has_states = trained.states is not None or bool(unbought.any())
        trained = trained._replace(
            start=_spread_rows(trained.start, to, n),
            values=trained_values,
            states=states if has_states else None,
            buyers=None if trained.buyers is None else _spread_rows(trained.buyers, to, n),
            covered=None if trained.covered is None else _moved(trained.covered, to, n),
            thresholds=None if trained.thresholds is None else _spread_rows(trained.thresholds, to, n),
        )
    # 3. Histories by the new positions, and users anew where they had a mixed item.
    seen = ItemSets(scorer.seen.indptr, to[scorer.seen.items].astype(np.int32))
    users = scorer.user_vectors
    if (share[to] > 0).any():
        users = _native.user_vectors(Csr(*seen, encoder.recency), vectors, priors, num_threads)
    history, final = scorer.history, made
    if repeats and neighbors is not None and encoder.trained is not None:
        weights = np.full(n, encoder.trained.scales.repeats, np.float32)
        weights[to] = neighbors.data[neighbors.indptr[n_known] :]
        final = add_repeat_sources(made, n, weights)
    if history is not None:
        repeated = history.indices >= n_known
        items = np.where(repeated, n, 0) + to[history.indices % n_known]
        history = Csr(history.indptr, items.astype(np.int32), history.data)
    else:
        history = sparse_history(*seen, encoder.recency, None, n)
    names, categories = (_texts(scorer, role, ids) for role in ("name", "category"))
    companions = Csr(places.companions.indptr, to[places.companions.indices].astype(np.int32), places.companions.data)
    return replace(
        scorer,
        item_ids=ids,
        item_names=names,
        item_categories=categories,
        seen=seen,
        item_vectors=vectors,
        user_vectors=users,
        encoder=encoder.with_parts(priors, trained),
        neighbors=final,
        history=history,
        placed=Placed(targets.astype(np.int32), companions),
    )


def _with_users(scorer: Scorer, num_threads: int | None) -> Scorer:
    """The scorer with users who have attributes and no purchases."""
    encoder, features, known = scorer.encoder, scorer.user_features, scorer.user_ids
    if features is None or not isinstance(encoder, HistoryEncoder) or encoder.trained is None:
        return scorer
    learned = encoder.trained.attributes
    absent = features.ids.values[known.positions(features.ids.values) < 0]
    if learned is None or not len(absent):
        return scorer
    ids, _ = IdMap.factorize(np.concatenate([known.values, absent]))
    at = known.positions(ids.values)
    targets = np.flatnonzero(at < 0)
    found = _regressions(encode(features.of(ids)), len(ids), targets, learned.shrinkage, num_threads)
    found = _select(found, at[found.indices] >= 0)
    placed = np.flatnonzero(np.diff(found.indptr) > 0)
    if not len(placed):
        return scorer
    found, targets = found.take(placed), targets[placed]
    shares = _shares(Csr(found.indptr, at[found.indices].astype(np.int32), found.data))
    kept = at >= 0
    kept[targets] = True
    ids, at = IdMap(ids.values[kept]), at[kept]
    is_placed = at < 0
    # 1. Vectors.
    vectors = np.zeros((len(ids), scorer.user_vectors.shape[1]), np.float32)
    vectors[~is_placed] = scorer.user_vectors
    vectors[is_placed] = _native.weighted_sums(shares, scorer.user_vectors)
    # 2. What they are like has bought: items, without repetitions.
    history, n_items = scorer.history, len(scorer.item_ids)
    if history is not None:
        taken = history.take(shares.indices)
        lengths = np.diff(taken.indptr)
        rows = np.repeat(np.repeat(np.arange(shares.n_rows), np.diff(shares.indptr)), lengths)
        values = taken.data.astype(np.float64) * np.repeat(shares.data.astype(np.float64), lengths)
        bought = taken.indices < n_items
        keys, which = np.unique(rows[bought] * n_items + taken.indices[bought], return_inverse=True)
        summed = np.bincount(which, values[bought], len(keys)).astype(np.float32)
        of_placed = np.bincount(keys // n_items, minlength=shares.n_rows)
        counts = np.zeros(len(ids), np.int64)
        counts[~is_placed], counts[is_placed] = np.diff(history.indptr), of_placed
        of_known = np.repeat(~is_placed, counts)
        indices, data = np.empty(len(of_known), np.int32), np.empty(len(of_known), np.float32)
        indices[of_known], data[of_known] = history.indices, history.data
        indices[~of_known], data[~of_known] = keys % n_items, summed
        history = Csr(offsets_from_lengths(counts), indices, data)
    seen_counts = np.zeros(len(ids), np.int64)
    seen_counts[~is_placed] = np.diff(scorer.seen.indptr)
    return replace(
        scorer,
        user_ids=ids,
        user_vectors=vectors,
        history=history,
        seen=ItemSets(offsets_from_lengths(seen_counts), scorer.seen.items),
        placed_users=np.flatnonzero(is_placed).astype(np.int32),
    )


def _texts(scorer: Scorer, role: Any, ids: IdMap) -> NDArray[Any] | None:
    """Names or categories of all items: those of the purchases, then those of the attributes."""
    own = _spread(scorer.item_names if role == "name" else scorer.item_categories, scorer.item_ids, ids)
    assert scorer.item_features is not None
    others = scorer.item_features.of(ids).texts_of(role)
    if own is None or others is None:
        return others if own is None else own
    return object_array([b if a is None else a for a, b in zip(own, others, strict=True)])


def _moved(matrix: Csr, to: NDArray[np.int64], n: int) -> Csr:
    """A matrix of items with items over n of them, where each of its own stands at ``to``."""
    lengths = np.zeros(n, np.int64)
    lengths[to] = np.diff(matrix.indptr)
    by_place = matrix.take(np.argsort(to))
    return Csr(offsets_from_lengths(lengths), to[by_place.indices].astype(np.int32), by_place.data)
