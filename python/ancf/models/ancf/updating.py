"""New purchases in a plain model without training anew: a function of what was trained and of all purchases.

A new item has no vector; it is made of its buyers, as training makes the part of an item's vector that comes from its
users:

    v_j = s Σ_{u∈M(j)} b_ju p̂_u       b_ju = r_u / (Σ_{k∈M(j)} r_k)^β,  r_u = n_u^-½ ("degree") or 1 ("mean")

p̂_u is the unit vector of the user's trained items; s is the median, over trained items with at most 30 buyers, of what
their own length is to that of the same sum. A known item whose number of buyers has grown by a tenth since the
training, from m to n, has m of n parts of the vector that was trained and n − m of n of the sum; all others keep
theirs.

Item-item weights that point to a new item, or to one whose number of buyers has changed by a tenth since the training,
are solved anew from all purchases; the others are those of the training. Weights and vectors of the training are kept
where they are covered up. A source keeps those weights that are no less than the least that it kept in training, so
that nothing of the training is pushed out which a later update might want back; a new source keeps its strongest.

Attention priors, recency, trend, user vectors and histories are computed from all purchases, as training does.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.models.ancf.options import Settings
from ancf.models.ancf.sides import ItemParts
from ancf.models.ancf.softmax import HistoryEncoder, mix
from ancf.models.ancf.temporal import PurchaseTimes
from ancf.models.ancf.trained import NEW, TOUCHED, TRAINED, Trained, least_kept
from ancf.models.ancf.training_table import ridge_targets
from ancf.scoring.scorer import Scorer
from ancf.scoring.updates import Update

Floats = NDArray[np.float32]

# The vector of an item and the weights that point to it are made anew where its number of buyers has changed by so
# large a share.
_CHANGED = 0.1
# Known items with so many buyers at most are like new ones.
_FEW_BUYERS = 30


def update_scorer(scorer: Scorer, trained: Trained, update: Update, settings: Settings) -> Scorer:
    """The scorer over all purchases; ``trained`` is what training left of it."""
    n_known = len(scorer.item_ids)
    known_states = np.zeros(n_known, np.uint8) if trained.states is None else trained.states
    data, at = _over_served_items(scorer, update, known_states)
    n_items = data.n_items
    # 1. What training left, at the places that its items have now.
    was_trained = np.flatnonzero(known_states < NEW)
    places = at[was_trained]
    buyers = np.zeros(n_items, np.int32)
    known_buyers = _count_buyers(scorer.seen.items, n_known) if trained.buyers is None else trained.buyers
    buyers[places] = known_buyers[was_trained]
    pairs = data.to_csr()
    pairs = pairs.with_data(np.ones(len(pairs.indices), np.float32))
    n_buyers = _count_buyers(pairs.indices, n_items)
    has_changed = np.abs(n_buyers - buyers) >= np.maximum(1.0, _CHANGED * buyers)
    states = np.full(n_items, NEW, np.uint8)
    states[places] = np.where(has_changed[places], TOUCHED, TRAINED)
    own_vectors = scorer.item_vectors if trained.vectors is None else trained.vectors
    own_scaling = trained.scaling
    if not len(was_trained) == n_items == n_known:
        # Otherwise each is where it was, as ids ascend.
        found = own_vectors, own_scaling
        own_vectors, own_scaling = np.zeros((n_items, found[0].shape[1]), np.float32), np.ones(n_items, np.float32)
        own_vectors[places], own_scaling[places] = found[0][was_trained], found[1][was_trained]
    # 2. Vectors of items that are new or have more buyers.
    priors = _native.item_priors(pairs, n_items, settings.attention)
    vectors, scaling = own_vectors, own_scaling
    is_new = states == NEW
    made = np.flatnonzero((states != TRAINED) & (n_buyers > buyers))
    if len(made):
        of_trained = own_vectors[made] * own_scaling[made][:, None]
        of_buyers = _vectors_from_buyers(pairs, own_vectors, own_scaling, priors, is_new, made, settings)
        share = (buyers[made] / n_buyers[made]).astype(np.float32)[:, None]
        vectors, scaling = own_vectors.copy(), own_scaling.copy()
        vectors[made], scaling[made] = _native.serving_vectors(
            share * of_trained + (1 - share) * of_buyers, settings.serving_exponent
        )
    # 3. Item-item weights.
    neighbors, covered, thresholds = None, None, None
    if scorer.neighbors is not None and settings.neighbors and settings.neighbor_weight:
        scale = 1.0 if trained.values is not None else trained.scales.neighbors
        kept = _first_rows(scorer.neighbors, n_known, trained.values)
        known_least = trained.thresholds
        if known_least is None:
            known_least = least_kept(_between_trained(kept, known_states), n_known, settings.neighbors)
        thresholds = np.zeros(n_items, np.float32)
        thresholds[places] = known_least[was_trained]
        targets = np.flatnonzero(states != TRAINED).astype(np.int32)
        replaced = _native.replace_targets(
            kept,
            known_states == TRAINED,
            trained.covered or Csr.empty(n_known),
            at,
            targets=targets,
            solved=ridge_targets(pairs, n_items, settings, targets),
            scale=scale,
            thresholds=thresholds,
            is_new=is_new,
            k=settings.neighbors,
            num_threads=settings.num_threads,
        )
        neighbors, covered = (Csr(*parts) for parts in replaced)
    # 4. Everything on one scale, as training left it.
    scales = trained.scales if trained.values is not None else trained.scales._replace(neighbors=1.0)
    parts = ItemParts(vectors, scaling, priors, neighbors)
    mixture = mix(parts, pairs, PurchaseTimes.from_interactions(data), settings, lambda *_: scales)
    left = Trained(
        trained.scales,
        own_scaling,
        own_vectors if mixture.has_factors or (states[made] == TOUCHED).any() else None,
        None if trained.values is None or neighbors is None else neighbors.data,
        states,
        buyers,
        covered,
        thresholds,
        trained.attributes,
    )
    assert scorer.purchases is not None
    n_trained = scorer.purchases.n_trained
    return replace(
        scorer,
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        item_names=data.item_names,
        item_categories=data.item_categories,
        item_features=data.item_features,
        user_features=data.user_features,
        event_weights=data.event_weights,
        placed=None,
        placed_users=None,
        seen=pairs.sets,
        item_vectors=mixture.item_vectors,
        user_vectors=mixture.user_vectors,
        encoder=HistoryEncoder(
            mixture.item_priors,
            mixture.recency,
            settings.half_life,
            settings.repeat_half_life,
            left,
            settings.interest == "given",
        ),
        neighbors=mixture.neighbors,
        history=mixture.history,
        **update.about(data, scorer.purchases.n_events if n_trained is None else n_trained, int(is_new.sum())),
    )


def _over_served_items(
    scorer: Scorer, update: Update, known_states: NDArray[np.uint8]
) -> tuple[Interactions, NDArray[np.int64]]:
    """All purchases over the items that have any or were trained, and where the scorer's items are among them (−1:
    gone)."""
    every = update.data
    keep = np.zeros(every.n_items, bool)
    keep[every.item_ids.positions(scorer.item_ids.values[known_states < NEW])] = True
    data = every.compact(keep_items=keep)
    return data, data.item_ids.positions(scorer.item_ids.values)


def _count_buyers(items: NDArray[np.int32], n_items: int) -> NDArray[np.int32]:
    return np.bincount(items, minlength=n_items).astype(np.int32)


def _vectors_from_buyers(
    pairs: Csr,
    vectors: Floats,
    scaling: Floats,
    priors: Floats,
    is_new: NDArray[np.bool_],
    items: NDArray[np.int64],
    settings: Settings,
) -> Floats:
    """s Σ b p̂ of some items."""
    n_items, n_users = len(vectors), pairs.n_rows
    counts = np.bincount(pairs.indices, minlength=n_items)
    # The users as their trained items make them.
    users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(pairs.indptr))
    of_trained = ~is_new[pairs.indices]
    histories = Csr(
        offsets_from_lengths(np.bincount(users[of_trained], minlength=n_users)),
        pairs.indices[of_trained],
        pairs.data[of_trained],
    )
    made_users = _native.user_vectors(histories, vectors, priors * scaling, settings.num_threads)
    # Their sums at the new items, and at trained ones with few buyers, which say how long such a vector should be.
    # A radix sort, where positions have 16 bits.
    keys = pairs.indices.astype(np.uint16) if n_items <= 1 << 16 else pairs.indices
    order = np.argsort(keys, kind="stable")
    buyers = Csr(offsets_from_lengths(counts), users[order], pairs.data)
    logits = _native.item_logits(buyers, n_users, settings.attention)
    few = np.flatnonzero(~is_new & (counts > 0) & (counts <= _FEW_BUYERS))

    def sums(items: NDArray[np.int64]) -> Floats:
        some = buyers.take(items)
        some = some.with_data(np.zeros(len(some.indices), np.float32))
        weights = _native.history_weights(some, logits, settings.attention_exponent)
        return _native.weighted_sums(some.with_data(weights), made_users)

    length = np.float32(1.0)
    if len(few):
        _, of_sums = _native.serving_vectors(sums(few), 0.0)
        _, of_items = _native.serving_vectors(vectors[few] * scaling[few][:, None], 0.0)
        length = np.float32(np.median(of_items / of_sums))
    return np.asarray(length * sums(items), np.float32)


def _first_rows(neighbors: Csr, n_rows: int, values: Floats | None) -> Csr:
    """The item-item weights without the rows of repetitions, as training left them."""
    indptr = neighbors.indptr[: n_rows + 1]
    end = int(indptr[-1])
    return Csr(indptr, neighbors.indices[:end], neighbors.data[:end] if values is None else values)


def _between_trained(neighbors: Csr, states: NDArray[np.uint8]) -> Csr:
    """The item-item weights that point to trained items."""
    if (states < NEW).all():
        return neighbors
    kept = states[neighbors.indices] < NEW
    sources = np.repeat(np.arange(neighbors.n_rows), np.diff(neighbors.indptr))[kept]
    indptr = offsets_from_lengths(np.bincount(sources, minlength=neighbors.n_rows))
    return Csr(indptr, neighbors.indices[kept], neighbors.data[kept])
