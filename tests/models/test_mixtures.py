"""Many mixtures of the same two parts of a score are measured together, as each would be served."""

from dataclasses import replace

import numpy as np
import pytest

import ancf
from ancf import _native
from ancf.models.ancf.options import resolve
from ancf.models.ancf.selection import CUT_OFF, hold_out_last, ndcg
from ancf.models.ancf.sides import ItemParts, ItemSide, UserSide
from ancf.models.ancf.softmax import SoftmaxTrainer
from ancf.models.ancf.temporal import recency_weights, sparse_history
from ancf.models.ancf.training_table import TrainingTable, ridge_neighbors
from ancf.scoring.results import TopN

DAY = 86_400
CHOICES = [
    {"neighbor_weight": 0.0, "serving_exponent": 0.0, "half_life": None},
    {"neighbor_weight": 0.5, "serving_exponent": 0.7, "half_life": 60.0, "trend": 0.5, "trend_half_life": 15.0},
    {"neighbor_weight": 1.0, "serving_exponent": 1.0, "half_life": None, "popularity_exponent": 0.5},
    {"neighbor_weight": 2.0, "serving_exponent": 0.5, "half_life": 60.0, "popularity_exponent": 0.1, "trend": 1.0},
]


@pytest.fixture(scope="module")
def trained():
    draws = np.random.default_rng(4)
    taste, user = draws.integers(0, 6, 200), draws.integers(0, 200, 4000)
    liked = np.where(draws.random(4000) < 0.7, taste[user], draws.integers(0, 6, 4000))
    item, time = 6 * draws.integers(0, 15, 4000) + liked, draws.integers(0, 300, 4000) * DAY
    data = ancf.Interactions.from_ids(user=user, item=item, time=time).compact()
    settings = resolve(ancf.ANCF(factors=8, epochs=3), data.n_items, timed=True)
    settings = replace(settings, trend=0.0, trend_half_life=15.0)
    table = TrainingTable(data, settings)
    held_out = hold_out_last(data, table.matrix.sets, 0)
    trainer = SoftmaxTrainer(table, settings, held_out)
    for epoch in range(3):
        trainer.epoch(epoch)
    return trainer, ridge_neighbors(trainer.pairs, data.n_items, settings), held_out, settings


def as_served(trainer, weights, held_out, chosen):
    """The lists of one mixture with each part made as it is for serving."""
    pairs, n_items = trainer.pairs, len(trainer.state().whole)
    vectors, scaling = _native.serving_vectors(trainer.state().whole, chosen.serving_exponent)
    priors = _native.item_priors(pairs, n_items, chosen.attention)
    items = ItemSide.of(ItemParts(vectors, scaling, priors, weights), pairs, held_out.purchases, chosen)
    times = held_out.purchases.times
    users = UserSide(pairs, times, 1).vectors(items, chosen.half_life)
    of_vectors, of_neighbors = _native.score_scales(users, items.vectors, pairs, items.neighbors)
    scale = np.float32(chosen.neighbor_weight * of_vectors / of_neighbors)
    ranker = _native.Ranker(items.vectors, neighbors=items.neighbors.with_data(items.neighbors.data * scale))
    history = sparse_history(*pairs.sets, recency_weights(pairs.indptr, times, chosen.half_life), None, n_items)
    ranker.set_users(users, history, pairs.sets)
    return ranker.top_n(held_out.users, CUT_OFF)


def test_each_of_many_mixtures_is_measured_as_it_would_be_served(trained):
    trainer, weights, held_out, settings = trained
    found = trainer.ndcg_by_mixture(trainer.state(), weights, held_out, settings)(CHOICES)
    for choice, measured in zip(CHOICES, found, strict=True):
        top = TopN(*as_served(trainer, weights, held_out, replace(settings, **choice)))
        served = ndcg(top, held_out, len(trainer.state().whole), 1)
        assert served.mean() > 0
        # Rounding may only swap what has nearly the same score.
        assert (measured == served).mean() > 0.97
        np.testing.assert_allclose(measured.mean(), served.mean(), rtol=1e-2)


def test_what_stands_beside_a_mixture_changes_nothing_of_it(trained):
    trainer, weights, held_out, settings = trained
    together = trainer.ndcg_by_mixture(trainer.state(), weights, held_out, settings)(CHOICES)
    for choice, measured in zip(CHOICES, together, strict=True):
        (alone,) = trainer.ndcg_by_mixture(trainer.state(), weights, held_out, settings)([choice])
        np.testing.assert_array_equal(alone, measured)


@pytest.mark.parametrize("half_life", [None, 30.0])
def test_some_of_the_users_are_measured_as_they_are_among_all(trained, half_life):
    trainer, weights, held_out, settings = trained
    choices = [{**choice, "half_life": half_life} for choice in CHOICES]
    of_all = trainer.ndcg_by_mixture(trainer.state(), weights, held_out, settings)(choices)
    measure = trainer.ndcg_by_mixture(trainer.state(), weights, held_out, settings)
    for first in (0, 1):
        asked = slice(first, None, 2)
        for alone, measured in zip(measure(choices, asked), of_all, strict=True):
            np.testing.assert_array_equal(alone, measured[asked])
