"""What ``docs/scores.md`` says of the unit and the range of each model's score."""

import numpy as np
import pytest

import ancf

RNG = np.random.default_rng(11)
PAIRS = np.unique(RNG.integers(0, [40, 25], (500, 2)), axis=0)
WEIGHTS = RNG.integers(1, 6, len(PAIRS)).astype(float)
SIGNED = np.where(RNG.random(len(PAIRS)) < 0.4, -WEIGHTS, WEIGHTS)


def table(weights=WEIGHTS):
    return ancf.Interactions.from_ids(user=PAIRS[:, 0], item=PAIRS[:, 1], weight=weights)


def scores(model):
    """Of every pair (n_users, n_items)."""
    users, items = model.user_ids_.values, model.item_ids_.values
    return model.predict(np.repeat(users, len(items)), np.tile(items, len(users))).reshape(len(users), len(items))


def inner_products(model):
    return model.user_vectors_.astype(float) @ model.item_vectors_.T.astype(float)


def test_popular_counts_from_one_and_says_the_same_to_everybody():
    for count, low in (("users", 1), ("events", 1), ("weight", 1)):
        found = scores(ancf.Popular(count=count).fit(table()))
        assert found.min() >= low
        assert (found == found[0]).all()
    assert scores(ancf.Popular(count="weight").fit(table(SIGNED))).min() < 0


def test_item_knn_lies_between_zero_and_the_length_of_the_history():
    found = scores(ancf.ItemKNN(shrinkage=0).fit(table()))
    lengths = np.bincount(PAIRS[:, 0])
    assert found.min() >= 0
    assert (found <= lengths[:, None]).all()
    assert (scores(ancf.ItemKNN(shrinkage=0).fit(table(SIGNED))) == found).all()


def test_item_knn_with_weights_has_no_upper_end_and_negative_weights_make_it_any_number():
    found = scores(ancf.ItemKNN(use_weights=True).fit(table(WEIGHTS * 1000)))
    assert found.min() >= 0
    assert found.max() > np.bincount(PAIRS[:, 0]).max()
    assert scores(ancf.ItemKNN(use_weights=True).fit(table(SIGNED))).min() < 0


def test_als_scores_mostly_lie_between_zero_and_one():
    found = scores(ancf.ALS(factors=8, epochs=10, random_state=1).fit(table()))
    assert ((found > 0) & (found < 1)).mean() > 0.6


def test_svd_scores_are_ratings_with_a_shift_for_each_person():
    model = ancf.SVD(factors=4, epochs=20, random_state=1).fit(table())
    found = scores(model)
    assert abs(found.mean() - WEIGHTS.mean()) < 0.5
    shift = found - inner_products(model)
    np.testing.assert_allclose(shift, np.repeat(shift[:, :1], found.shape[1], 1), atol=1e-4)  # float32 sums


@pytest.mark.parametrize("model", [ancf.Popular(), ancf.ALS(factors=4, epochs=2), ancf.BPR(factors=4, epochs=2)])
def test_the_inner_product_of_the_vectors_is_the_whole_score(model):
    model.fit(table())
    np.testing.assert_allclose(scores(model), inner_products(model), rtol=1e-5, atol=1e-5)  # float32 against float64


def test_a_sigmoid_lies_between_zero_and_one_and_biases_have_their_names():
    options = {"factors": 4, "epochs": 2, "loss": "bce", "biases": True, "attention": "degree"}
    found = scores(ancf.ANCF(**options, output="sigmoid", neighbors=0).fit(table()))
    assert found.min() >= 0
    assert found.max() <= 1
    base = ancf.ANCF(**options, factor_attention=False, neighbors=0).fit(table()).explain(0, 1).base
    assert {"the item's bias", "the user's shift"} <= set(base)


def test_an_item_s_bias_is_not_told_as_the_user_s_taste_without_attention():
    options = {"factors": 4, "epochs": 2, "loss": "bpr", "attention": "none", "user_factors": True, "neighbors": 0}
    model = ancf.ANCF(**options, biases=True).fit(table())
    bias = [model.explain(user, 1).base["the item's bias"] for user in (0, 3)]
    assert bias[0] == bias[1] != 0
    assert set(ancf.ANCF(**options).fit(table()).explain(0, 1).base) == {"the user's own factors"}


def test_popular_lists_of_any_model_are_counts_of_users_and_of_popular_its_own():
    n_users = np.bincount(PAIRS[:, 1])
    for model in (ancf.ItemKNN(), ancf.ALS(factors=2, epochs=1), ancf.ANCF(factors=2, epochs=1)):
        found = model.fit(table()).recommend(999, N=25, on_unknown="popular")
        assert dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)) == dict(enumerate(n_users.tolist()))
    found = ancf.Popular(count="weight").fit(table()).recommend(999, N=25, on_unknown="popular")
    assert found.scores.sum() == WEIGHTS.sum()
