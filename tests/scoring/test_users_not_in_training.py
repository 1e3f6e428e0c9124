"""Test users who were not in training: left out, or measured with what the shop would show them."""

import numpy as np
import pytest

import ancf


@pytest.fixture
def tables():
    draws = np.random.default_rng(5)
    train = ancf.Interactions.from_ids(user=draws.integers(10, 60, 600), item=draws.integers(0, 40, 600))
    # Some strangers come before all known users in the order of ids, some after.
    test = ancf.Interactions.from_ids(user=draws.integers(0, 80, 400), item=draws.integers(0, 45, 400))
    return train.compact(), test


def strangers(train, test):
    return np.array([user not in train.user_ids for user in test.user_ids.values[np.unique(test.users)].tolist()])


def test_they_are_measured_with_what_is_popular(tables):
    train, test = tables
    model = ancf.ItemKNN().fit(train)
    result = ancf.evaluate(model, test, "recall@5", on_unknown="popular")
    alone = ancf.evaluate(model, test, "recall@5")
    is_new = strangers(train, test)
    assert result.includes_strangers
    assert not alone.includes_strangers
    assert result.n_unknown_users == alone.n_unknown_users == is_new.sum()
    new = np.isin(result.user_ids, train.user_ids.values, invert=True)
    assert new.sum() == is_new.sum()
    assert np.array_equal(result.per_user["recall@5"][~new], alone.per_user["recall@5"])
    for user, value in zip(result.user_ids[new].tolist(), result.per_user["recall@5"][new].tolist(), strict=True):
        shown, _ = model.recommend(user, N=5, on_unknown="popular")
        wanted = test.item_ids.values[np.unique(test.items[test.user_ids.values[test.users] == user])]
        assert value == pytest.approx(np.isin(shown, wanted).sum() / len(wanted))
    assert "of them were not in training" in repr(result)


def test_among_sampled_items_they_rank_by_popularity_too(tables):
    train, test = tables
    model = ancf.ItemKNN().fit(train)
    result = ancf.evaluate(model, test, ["hit@5", "auc"], on_unknown="popular", candidates="sampled", n_negatives=10)
    popular = ancf.evaluate(
        ancf.Popular(window=None).fit(train),
        test,
        ["hit@5", "auc"],
        on_unknown="popular",
        candidates="sampled",
        n_negatives=10,
    )
    new = np.isin(result.user_ids, train.user_ids.values, invert=True)
    for metric in ("hit@5", "auc"):
        assert np.array_equal(result.per_user[metric][new], popular.per_user[metric][new], equal_nan=True)


def test_lists_made_elsewhere_are_theirs_as_they_stand(tables):
    train, test = tables
    new = int(test.user_ids.values[np.unique(test.users)][strangers(train, test)][0])
    wanted = test.item_ids.values[test.items[test.user_ids.values[test.users] == new]].tolist()
    result = ancf.evaluate({new: wanted}, test, "hit@5", train=train, on_unknown="popular")
    at = result.user_ids.tolist().index(new)
    assert result.per_user["hit@5"][at] == 1
    assert result.per_user["hit@5"].sum() == 1
    with pytest.raises(ancf.InvalidParameterError, match="no effect without train="):
        ancf.evaluate({new: wanted}, test, "hit@5", on_unknown="popular")


def test_a_compare_tells_them_apart(tables):
    train, test = tables
    result = ancf.compare([ancf.Popular(window=None), "item-knn"], train, test, "recall@5", on_unknown="popular")
    labels, groups = result.slices["history_length"]
    assert labels[0] == "new"
    assert (groups == 0).sum() == strangers(train, test).sum()
    both = [result[name].per_user["recall@5"][groups == 0] for name in result]
    assert np.array_equal(*both)  # both models show strangers what is popular
    without = ancf.compare(["popular", "item-knn"], train, test, "recall@5")
    assert "new" not in without.slices["history_length"].labels


def test_errors_are_of_known_users_alone(tables):
    train, test = tables
    rated = ancf.SVD(factors=4, epochs=2).fit(train)
    with_strangers = ancf.evaluate(rated, test, ["rmse", "ndcg@5"], on_unknown="popular")
    assert with_strangers["rmse"] == ancf.evaluate(rated, test, "rmse")["rmse"]
    new = np.isin(with_strangers.user_ids, train.user_ids.values, invert=True)
    assert np.isnan(with_strangers.per_user["rmse"][new]).all()
