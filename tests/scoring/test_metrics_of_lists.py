"""AUC and what lists are like beyond their hits: equal to scikit-learn's and to the formulas written out in NumPy."""

import numpy as np
import pytest

import ancf
from ancf import _native
from ancf.evaluation import ranking

KS = [1, 3, 10]
METRICS = [f"{name}@{k}" for name in ("novelty", "diversity", "serendipity", "popularity_bias", "gini") for k in KS]


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, 70, 2000), (rng.pareto(1.2, 2000) * 8).astype(int) % 60
    part = rng.random(2000) < 0.7
    train = ancf.Interactions.from_ids(user=users[part], item=items[part])
    return train, ancf.Interactions.from_ids(user=users[~part], item=items[~part])


@pytest.fixture(scope="module")
def measured(split):
    train, test = split
    model = ancf.ItemKNN(neighbors=20).fit(train)
    return model, ancf.evaluate(model, test, METRICS)


@pytest.fixture(scope="module")
def plain(split, measured):
    """The definitions of docs/metrics.md, one user and one item at a time."""
    (train, test), (model, result) = split, measured
    had = train.to_pandas().groupby("user_id")["item_id"].agg(set)
    bought = test.to_pandas().groupby("user_id")["item_id"].agg(set)
    users_of = train.to_pandas().groupby("item_id")["user_id"].agg(set)
    n_items, n_users = len(users_of), len(had)
    places = {count: at + 1 for at, count in enumerate(sorted({len(each) for each in users_of}, reverse=True))}
    values = {name: [] for name in METRICS if not name.startswith("gini")}
    shown = {k: dict.fromkeys(users_of.index, 0) for k in KS}
    wanted_popularity = []
    for user in result.user_ids.tolist():
        new = bought[user] - had[user]
        wanted_popularity.append(np.mean([len(users_of.get(item, ())) for item in new]))
        ranked = model.recommend(user, N=max(KS)).ids.tolist()
        for k in KS:
            row = ranked[:k]
            for item in row:
                shown[k][item] += 1
            values[f"novelty@{k}"].append(-np.mean([np.log2(len(users_of[item]) / n_users) for item in row]))
            values[f"popularity_bias@{k}"].append(np.mean([len(users_of[item]) for item in row]))
            pairs = [(a, b) for at, a in enumerate(row) for b in row[:at]]
            cosines = [len(users_of[a] & users_of[b]) / np.sqrt(len(users_of[a]) * len(users_of[b])) for a, b in pairs]
            values[f"diversity@{k}"].append(1 - np.mean(cosines) if pairs else np.nan)
            # RecTools: p(rank) - p(popularity rank), where equally popular items have one rank.
            surprise = [
                max((n_items + 1 - rank) / n_items - (n_items + 1 - places[len(users_of[item])]) / n_items, 0)
                for rank, item in enumerate(row, 1)
                if item in new
            ]
            values[f"serendipity@{k}"].append(sum(surprise) / k)
    for k in KS:
        values[f"popularity_bias@{k}"] = np.array(values[f"popularity_bias@{k}"]) / np.mean(wanted_popularity)
    ginis = {}
    for k in KS:
        counts = list(shown[k].values())
        # Half the mean difference of all pairs, over the mean.
        ginis[f"gini@{k}"] = np.abs(np.subtract.outer(counts, counts)).mean() / (2 * np.mean(counts))
    return values, ginis


@pytest.mark.parametrize("name", [name for name in METRICS if not name.startswith("gini")])
def test_a_property_of_lists_equals_its_formula_for_every_user(measured, plain, name):
    _, result = measured
    assert result.per_user[name] == pytest.approx(np.array(plain[0][name]), abs=1e-12, nan_ok=True)
    finite = result.per_user[name][np.isfinite(result.per_user[name])]
    assert result[name] == pytest.approx(finite.mean() if len(finite) else np.nan, nan_ok=True)
    assert name == "diversity@1" or len(set(result.per_user[name].tolist())) > 5


@pytest.mark.parametrize("k", KS)
def test_gini_is_half_the_relative_mean_difference_of_all_pairs_of_items(measured, plain, k):
    assert measured[1][f"gini@{k}"] == pytest.approx(plain[1][f"gini@{k}"], abs=1e-12)


def test_the_example_of_rectools_for_serendipity_has_its_values():
    train = ancf.Interactions.from_ids(
        user=["u1", "u1", "u2", "u2", "u3", "u4"], item=["i1", "i2", "i1", "i2", "i1", "i4"]
    )
    test = ancf.Interactions.from_ids(
        user=["u1", "u1", "u2", "u2", "u3", "u4"], item=["i1", "i2", "i2", "i3", "i2", "i2"]
    )
    lists = {"u1": ["i1", "i2"], "u2": ["i2", "i3"], "u3": ["i3"], "u4": ["i2", "i3"]}
    result = ancf.evaluate(
        lists, test, ["serendipity@1", "serendipity@2"], train=train, filter_already_liked_items=False
    )
    n = 3  # i1, i2, i4: three users, two and one have them
    assert result.per_user["serendipity@1"].tolist() == pytest.approx([0, 1 - 2 / n, 0, 1 - 2 / n])
    assert result.per_user["serendipity@2"].tolist() == pytest.approx([0, (1 / n + 2 / n) / 2, 0, 1 / n / 2])


def test_most_popular_lists_are_the_least_novel_and_have_no_serendipity(split):
    train, test = split
    popular = ancf.evaluate(ancf.Popular().fit(train), test, METRICS)
    other = ancf.evaluate(ancf.ItemKNN(neighbors=20).fit(train), test, METRICS)
    assert popular["novelty@10"] < other["novelty@10"]
    assert popular["popularity_bias@10"] > other["popularity_bias@10"]
    assert popular["gini@10"] > other["gini@10"]
    assert popular["popularity_bias@10"] > 1


def test_neither_threads_nor_chunks_change_a_bit(split, monkeypatch):
    train, test = split
    model = ancf.ItemKNN(neighbors=20).fit(train)
    model.num_threads = 1
    whole = ancf.evaluate(model, test, [*METRICS, "auc", "coverage@3"])
    monkeypatch.setattr(ranking, "_CHUNK_USERS", 7)
    monkeypatch.setattr(ranking, "_CHUNK_PLACES", 100)
    model.num_threads = 3
    parts = ancf.evaluate(model, test, [*METRICS, "auc", "coverage@3"])
    assert all(np.array_equal(whole.per_user[name], parts.per_user[name], equal_nan=True) for name in whole.per_user)
    assert [value for value in whole.values() if value == value] == [
        value for value in parts.values() if value == value
    ]


@pytest.mark.parametrize("new_only", [True, False])
def test_auc_equals_scikit_learn_s_with_ties_and_all(split, new_only):
    from sklearn.metrics import roc_auc_score

    train, test = split
    model = ancf.Popular().fit(train)  # many items are equally popular
    result = ancf.evaluate(model, test, "auc", filter_already_liked_items=new_only)
    had = train.to_pandas().groupby("user_id")["item_id"].agg(set)
    bought = test.to_pandas().groupby("user_id")["item_id"].agg(set)
    items = model.item_ids_.values
    expected = []
    for user in result.user_ids.tolist():
        ranked = [item for item in items.tolist() if not (new_only and item in had[user])]
        relevant = [item in bought[user] for item in ranked]
        expected.append(roc_auc_score(relevant, model.predict(user, ranked)) if any(relevant) else np.nan)
    assert result.per_user["auc"] == pytest.approx(np.array(expected), abs=1e-12, nan_ok=True)
    assert 0.5 < result["auc"] < 1


def test_a_constant_model_has_an_auc_of_a_half(split):
    train, test = split
    model = ancf.from_factors(
        np.ones((train.n_users, 1)),
        np.ones((train.n_items, 1)),
        user_ids=train.user_ids.values,
        item_ids=train.item_ids.values,
    )
    assert ancf.evaluate(model, test, "auc")["auc"] == 0.5
    with pytest.raises(ancf.InvalidParameterError, match="'novelty@10' needs the purchases of training"):
        ancf.evaluate(model, test, "novelty")


def test_label_ranking_of_scikit_learn_is_map_over_the_whole_list(split):
    from sklearn.metrics import label_ranking_average_precision_score

    train, test = split
    model = ancf.ItemKNN(neighbors=60).fit(train)
    n = len(model.item_ids_)
    result = ancf.evaluate(model, test, f"map@{n}", filter_already_liked_items=False)
    bought = test.to_pandas().groupby("user_id")["item_id"].agg(set)
    for at, user in enumerate(result.user_ids.tolist()):
        ids = model.recommend(user, N=n, filter_already_liked_items=False).ids
        if not bought[user] <= set(ids.tolist()):
            continue
        relevant = np.array([item in bought[user] for item in ids])
        expected = label_ranking_average_precision_score([relevant], [-np.arange(len(ids))])
        assert result.per_user[f"map@{n}"][at] == pytest.approx(expected)


def test_a_list_without_an_item_has_no_novelty_and_is_left_out_of_that_mean(split):
    train, test = split
    user = int(test.user_ids.values[test.users[0]])
    lists = {user: ancf.Popular().fit(train).recommend(user, N=3).ids}
    result = ancf.evaluate(lists, test, ["novelty@3", "serendipity@3", "hit@3"], train=train)
    assert np.isfinite(result.per_user["novelty@3"]).sum() == 1
    assert result["novelty@3"] == result.per_user["novelty@3"][result.user_ids == user][0]
    assert np.isfinite(result.per_user["serendipity@3"]).all()


def test_k_above_the_catalogue_is_told(split):
    train, test = split
    result = ancf.evaluate(ancf.Popular().fit(train), test, ["precision@1000", "recall@1000"])
    assert result["recall@1000"] <= 1
    assert f"k=1,000 is above the {len(ancf.Popular().fit(train).item_ids_)} items of the catalogue" in repr(result)
    assert "above" not in repr(ancf.evaluate(ancf.Popular().fit(train), test, "recall@5"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "Did you mean 'ndcg@10'"),
        ("novelt", "Did you mean 'novelty'"),
        ("auc@5", "auc has no cut-off. Write 'auc'"),
        ("rsme", "Did you mean 'rmse'"),
        ("xyzzy", "There are ndcg@k, recall@k"),
    ],
)
def test_a_misspelt_metric_gets_the_nearest_name(split, name, message):
    train, test = split
    with pytest.raises(ancf.InvalidParameterError, match=message):
        ancf.evaluate(ancf.Popular().fit(train), test, [name])


def test_wrong_arrays_do_not_reach_the_kernels():
    items, counts = np.array([[5]], np.int32), np.array([1], np.int32)
    truth, numbers = (np.array([0, 1], np.int64), np.array([0], np.int32)), np.ones(2)
    with pytest.raises(ancf.InvalidDataError, match="names item 5; there are 2"):
        _native.list_properties(items, counts, truth, [1], numbers, numbers, numbers, 2)
    with pytest.raises(ancf.InvalidDataError, match="holds position 0; there are 0"):
        _native.sample_negatives(1, np.zeros(1, np.int64), truth, 0, 3)
