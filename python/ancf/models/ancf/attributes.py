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

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import object_array, offsets_from_lengths
from ancf.data.csr import Csr, ItemSets
from ancf.data.feature_encoding import encode
from ancf.data.ids import IdMap
from ancf.models.ancf.attribute_places import (
    Catalog,
    Places,
    first_rows,
    regressions,
    select,
    shares_of,
)
from ancf.models.ancf.attribute_trial import learn
from ancf.models.ancf.softmax import HistoryEncoder
from ancf.models.ancf.temporal import add_repeat_sources, sparse_history
from ancf.models.ancf.trained import NEW
from ancf.scoring.parts import Placed
from ancf.scoring.scorer import Scorer

# A new item with so many buyers goes by them alone.
_FULL_BUYERS = 10


def with_attributes(scorer: Scorer, num_threads: int | None) -> Scorer:
    """A scorer that was trained, with the items that nobody has bought; itself where there are no attributes."""
    encoder = scorer.encoder
    if not isinstance(encoder, HistoryEncoder) or encoder.trained is None:
        return scorer
    if scorer.item_features is None and scorer.user_features is None:
        return scorer
    trained = encoder.trained._replace(attributes=learn(scorer, num_threads))
    encoder = encoder.with_parts(encoder.item_priors, trained)
    return extend(replace(scorer, encoder=encoder), num_threads)


def extend(scorer: Scorer, num_threads: int | None) -> Scorer:
    """The scorer with items that nobody has bought and users without purchases, as far as attributes place them."""
    return _with_users(_with_items(scorer, num_threads), num_threads)


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
    found = regressions(encode(features), len(ids), targets, learned.shrinkage, num_threads)
    settled = (at >= 0) & ~is_target
    found = select(found, settled[found.indices])
    found = Csr(found.indptr, at[found.indices].astype(np.int32), found.data)
    # Whom nothing is like has no place.
    placed = np.flatnonzero(np.diff(found.indptr) > 0)
    found, targets = found.take(placed), targets[placed]
    mixtures = Catalog.of(scorer).mixtures(found, num_threads)
    places = mixtures.places(learned.own_weight).louder(learned.loudness)
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
    first = Csr.empty(n_known) if neighbors is None else first_rows(neighbors, n_known)
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
    found = regressions(encode(features.of(ids)), len(ids), targets, learned.shrinkage, num_threads)
    found = select(found, at[found.indices] >= 0)
    placed = np.flatnonzero(np.diff(found.indptr) > 0)
    if not len(placed):
        return scorer
    found, targets = found.take(placed), targets[placed]
    shares = shares_of(Csr(found.indptr, at[found.indices].astype(np.int32), found.data))
    kept = at >= 0
    kept[targets] = True
    ids, at = IdMap(ids.values[kept]), at[kept]
    is_placed = at < 0
    # 1. Vectors.
    vectors = np.zeros((len(ids), scorer.user_vectors.shape[1]), np.float32)
    vectors[~is_placed] = scorer.user_vectors
    vectors[is_placed] = _native.weighted_sums(shares, scorer.user_vectors, num_threads)
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
