"""A model says what a user had, so that a history with it is the user."""

import numpy as np
import pytest

import ancf
from ancf.demo_shop import demo_shop


@pytest.fixture(scope="module")
def shop():
    return ancf.read_interactions(demo_shop(customers=150, products=60))


MODELS = {
    "chosen": lambda: ancf.ANCF(factors=8, epochs=2, random_state=1),
    "ages and repeats": lambda: ancf.ANCF(factors=8, epochs=2, half_life=30, repeat_weight=0.5, random_state=1),
    "target": lambda: ancf.ANCF(factors=8, epochs=1, attention="target", random_state=1),
    "last bought": lambda: ancf.LastBought(half_life=30.0),
    "item-kNN": lambda: ancf.ItemKNN(use_weights=True),
    "als": lambda: ancf.ALS(factors=8, epochs=2, use_weights=True, random_state=1),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_history_of_a_user_folded_in_is_the_user(shop, make):
    model = ancf.load(make().fit(shop).to_bytes())
    for user in shop.user_ids.values[:20]:
        scorer = model._fitted()
        items, weights, times = scorer.purchases_of(scorer.user_ids.position(user))
        items = scorer.item_ids.take(items)
        for bought in (True, False):
            list_of_user = model.recommend(user, filter_already_liked_items=bought)
            folded = model.recommend_for_history(items, weights=weights, times=times, filter_already_liked_items=bought)
            np.testing.assert_array_equal(folded.ids, list_of_user.ids)
            np.testing.assert_array_equal(folded.scores, list_of_user.scores)
