"""New purchases in a plain model without training anew: a function of what was trained and of all purchases.

Item vectors are made of the bare ones that training learned and of all purchases (``updated_vectors.py``).

Item-item weights that point to a new item, or to one whose number of buyers has changed by a fifth since the training,
are solved anew from all purchases; the others are those of the training. Weights of the training are kept where
they are covered up. A source keeps those weights that are no less than the least that it kept in training, so
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
from ancf.models.ancf.updated_vectors import vectors_of_today
from ancf.scoring.scorer import Scorer
from ancf.scoring.updates import Update

Floats = NDArray[np.float32]

# The weights that point to an item are solved anew where its number of buyers has changed by so large a share.
_CHANGED = 0.2


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
    start = trained.start
    if not len(was_trained) == n_items == n_known:
        # Otherwise each is where it was, as ids ascend.
        start = np.zeros((n_items, start.shape[1]), np.float32)
        start[places] = trained.start[was_trained]
    # 2. Vectors.
    priors = _native.item_priors(pairs, n_items, settings.attention)
    graph = settings.item_attention and not trained.is_whole
    found = vectors_of_today(pairs, priors, start, buyers, n_buyers, graph, settings)
    vectors, scaling = _native.serving_vectors(found, settings.serving_exponent, settings.num_threads)
    is_new = states == NEW
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
    left = trained._replace(
        start=start,
        values=None if trained.values is None or neighbors is None else neighbors.data,
        states=states,
        buyers=buyers,
        covered=covered,
        thresholds=thresholds,
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
