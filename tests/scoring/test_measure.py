"""Metrics: equal to trec_eval's and scikit-learn's, many cut-offs at once, one value for every user."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf import _native
from ancf.demo_shop import demo_shop
from ancf.evaluation import ranking

KS = [1, 3, 10, 20]


def random_case(seed, m=40, width=20, catalogue=60):
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(catalogue)[:width] for _ in range(m)]).astype(np.int32)
    counts = rng.integers(0, width + 1, m).astype(np.int32)
    truth = [np.sort(rng.permutation(catalogue)[: rng.integers(1, 30)]).astype(np.int32) for _ in range(m)]
    indptr = np.append(0, np.cumsum([len(row) for row in truth])).astype(np.int64)
    return items, counts, indptr, np.concatenate(truth), catalogue


def metrics_of(case, ks=KS, **keywords):
    items, counts, indptr, truth, catalogue = case
    return _native.ranking_metrics(items, counts, (indptr, truth), None, ks, catalogue, **keywords)


@pytest.mark.parametrize("seed", range(3))
def test_ranking_metrics_equal_trec_eval(seed):
    import pytrec_eval

    items, counts, indptr, truth, _ = case = random_case(seed)
    relevant = {str(u): {str(i): 1 for i in truth[indptr[u] : indptr[u + 1]]} for u in range(len(items))}
    run = {str(u): {str(i): float(-rank) for rank, i in enumerate(items[u, : counts[u]])} for u in range(len(items))}
    ours = metrics_of(case)
    theirs = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "map": "map_cut", "hit": "success"}
    cuts = ",".join(map(str, KS))
    names = {f"{name}.{cuts}" for name in theirs.values()} | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(relevant, names).evaluate(run)
    for u in range(len(items)):
        scores = found.get(str(u), {})
        for name, their_name in theirs.items():
            for k in KS:
                assert ours[f"{name}@{k}"][u] == pytest.approx(scores.get(f"{their_name}_{k}", 0.0), abs=1e-9)
        assert ours["mrr@20"][u] == pytest.approx(scores.get("recip_rank", 0.0), abs=1e-9)


def test_ndcg_equals_scikit_learn_s_over_the_whole_catalogue():
    from sklearn.metrics import ndcg_score

    items, counts, indptr, truth, catalogue = case = random_case(9, width=60)
    counts[:] = 60
    ours = metrics_of(case)
    for u in range(len(items)):
        relevance, scores = np.zeros(catalogue), np.zeros(catalogue)
        relevance[truth[indptr[u] : indptr[u + 1]]] = 1
        scores[items[u]] = -np.arange(60)
        for k in KS:
            expected = ndcg_score(relevance[None], scores[None], k=k)
            assert ours[f"ndcg@{k}"][u] == pytest.approx(expected, abs=1e-12)


def test_many_cut_offs_at_once_equal_one_at_a_time_for_every_number_of_threads():
    case = random_case(4, m=1500)
    whole = metrics_of(case, num_threads=1)
    for threads in (2, 3, 8):
        again = metrics_of(case, num_threads=threads)
        assert all(np.array_equal(whole[name], again[name]) for name in whole)
    for k in KS:
        alone = metrics_of(case, [k])
        assert all(np.array_equal(whole[name], value) for name, value in alone.items())


def test_wanted_items_the_model_does_not_know_count_as_missed():
    items, counts = np.array([[0, 1]], np.int32), np.array([2], np.int32)
    truth = (np.array([0, 1], np.int64), np.array([0], np.int32))
    result = _native.ranking_metrics(items, counts, truth, None, [2], 5, n_truth=np.array([4], np.int64))
    assert result["recall@2"][0] == 0.25
    assert result["ndcg@2"][0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=12),
    st.integers(1, 15),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_ndcg_with_exponential_gains_equals_scikit_learn_s(relevance, k, random):
    from sklearn.metrics import dcg_score

    scores = list(range(len(relevance)))
    random.shuffle(scores)
    gains = np.exp2(relevance)[None] - 1
    if len(relevance) > 1:
        assert ancf.dcg_score(relevance, scores, k=k) == pytest.approx(dcg_score(gains, [scores], k=k))
    ndcg = ancf.calculate_ndcg(relevance, scores, k=k)
    assert 0 <= ndcg <= 1 + 1e-12
    assert ancf.calculate_ndcg(relevance, relevance, k=k) == (1.0 if max(relevance) > 0 and gains.max() > 0 else 0.0)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 1500), (rng.pareto(1.2, 1500) * 8).astype(int) % 80
    part = rng.random(1500) < 0.7
    train = ancf.Interactions.from_ids(user=users[part], item=items[part])
    test = ancf.Interactions.from_ids(user=np.append(users[~part], 999), item=np.append(items[~part], 1))
    return train, test


@pytest.mark.parametrize("new_only", [True, False])
def test_evaluate_equals_a_plain_recomputation_from_the_lists(split, new_only):
    train, test = split
    model = ancf.ItemKNN(neighbors=20).fit(train)
    result = ancf.evaluate(
        model, test, ["recall@5", "ndcg@5", "coverage@5", "map@5"], filter_already_liked_items=new_only
    )
    had = train.to_pandas().groupby("user_id")["item_id"].agg(set)
    wanted = {}
    for user, item in test.to_pandas()[["user_id", "item_id"]].drop_duplicates().itertuples(index=False):
        if user in had and not (new_only and item in had[user]):
            wanted.setdefault(user, set()).add(item)
    recall, ndcg, shown = [], [], set()
    for user in sorted(wanted):
        row = model.recommend(user, N=5, filter_already_liked_items=new_only).ids.tolist()
        hits = np.array([item in wanted[user] for item in row], float)
        discount = 1 / np.log2(np.arange(5) + 2)
        recall.append(hits.sum() / len(wanted[user]))
        ndcg.append((hits * discount[: len(row)]).sum() / discount[: min(5, len(wanted[user]))].sum())
        shown |= set(row)
    assert result.user_ids.tolist() == sorted(wanted)
    assert result.per_user["recall@5"].tolist() == pytest.approx(recall)
    assert result["ndcg@5"] == pytest.approx(np.mean(ndcg))
    assert result["coverage@5"] == len(shown) / len(model.item_ids_)
    assert result.n_unknown_users == 1
    assert (result.n_known_pairs > 0) == new_only
    assert "recall@5" in repr(result)
    assert list(result.to_pandas()["metric"]) == ["recall@5", "ndcg@5", "coverage@5", "map@5"]


def test_chunks_of_users_do_not_change_the_metrics(split, monkeypatch):
    train, test = split
    model = ancf.Popular().fit(train)
    whole = ancf.evaluate(model, test)
    monkeypatch.setattr(ranking, "_CHUNK_USERS", 7)
    parts = ancf.evaluate(model, test)
    assert dict(whole) == dict(parts)


def test_errors_equal_scikit_learn_s(split):
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    train, test = split
    model = ancf.Popular().fit(train)
    result = ancf.evaluate(model, test, ["mse", "rmse", "mae"])
    table = test.to_pandas().groupby(["user_id", "item_id"], as_index=False)["weight"].sum()
    known = table["user_id"].isin(model.user_ids_.values) & table["item_id"].isin(model.item_ids_.values)
    table = table[known]
    predicted = model.predict(table["user_id"].to_numpy(), table["item_id"].to_numpy())
    assert result["mse"] == pytest.approx(mean_squared_error(table["weight"], predicted))
    assert result["rmse"] == pytest.approx(np.sqrt(result["mse"]))
    assert result["mae"] == pytest.approx(mean_absolute_error(table["weight"], predicted))
    assert len(result.per_user["mse"]) == result.n_users


@pytest.mark.parametrize("name", ["ndgc@10", "recall@0", "mse@3", "", "recall@x"])
def test_a_misspelt_metric_is_refused_with_the_names_there_are(split, name):
    train, test = split
    with pytest.raises(ancf.InvalidParameterError, match="metric"):
        ancf.evaluate(ancf.Popular().fit(train), test, [name])


def test_evaluate_metrics_measures_batches_like_the_whole(split):
    train, _ = split
    model = ancf.Popular().fit(train)
    table = train.to_pandas()
    X = table[["user_id", "item_id"]].rename(columns={"item_id": "product_id"})
    y = table["weight"]
    whole = ancf.evaluate_metrics(model, [(X, y)])
    parts = ancf.evaluate_metrics(model, [(X[at : at + 64], y[at : at + 64]) for at in range(0, len(X), 64)])
    assert parts == pytest.approx(whole)
    assert set(whole) == {"mse", "rmse", "mae", "ndcg@10"}
    predicted = model.predict(X["user_id"].to_numpy(), X["product_id"].to_numpy())
    assert whole["mse"] == pytest.approx(np.mean((predicted - y.to_numpy()) ** 2))


def test_compare_measures_all_models_on_the_same_users(split):
    train, test = split
    popular = ancf.Popular()
    result = ancf.compare([popular, ancf.ItemKNN(), ancf.ItemKNN(shrinkage=5.0)], train, test, ["recall@5", "ndcg@5"])
    assert list(result) == ["Popular", "ItemKNN()", "ItemKNN(shrinkage=5.0)"]
    with pytest.raises(ancf.NotFittedError):
        popular.recommend(1)
    assert dict(result["Popular"]) == dict(ancf.evaluate(ancf.Popular().fit(train), test, ["recall@5", "ndcg@5"]))
    assert len(result.to_pandas()) == 3
    gap = result.difference("ItemKNN()", "Popular", "recall@5")
    assert gap.value == pytest.approx(result["ItemKNN()"]["recall@5"] - result["Popular"]["recall@5"])
    assert result.best("recall@5") == max(result, key=lambda name: result[name]["recall@5"])
    errors = ancf.compare([ancf.SVD(epochs=1).fit(train), ancf.SVD(factors=2), ancf.ItemKNN()], train, test, "mse")
    assert errors.best("mse") == min((n for n in errors if "mse" in errors[n]), key=lambda name: errors[name]["mse"])
    assert errors.fit_seconds["SVD(epochs=1)"] is None
    assert "–" in repr(errors)
    assert "fit s" in repr(result)


def test_the_functions_stay_functions_after_their_modules_were_imported():
    import ancf.comparison
    import ancf.evaluation

    assert callable(ancf.evaluate)
    assert callable(ancf.compare)


def test_one_model_may_be_compared_alone():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
    assert list(ancf.compare(ancf.ItemKNN(), data, test, metrics="recall@1")) == ["ItemKNN"]


def test_evaluate_and_compare_have_the_same_groups_of_users():
    train, test = ancf.time_split(ancf.read_interactions(demo_shop(customers=200, products=60)), (0.8, 0.2))
    compared = ancf.compare("item-knn", train, test, "recall@5")
    alone = ancf.evaluate(ancf.ItemKNN().fit(train), test, "recall@5")
    for what in ("history_length", "popularity"):
        rows = alone.by(what)
        slices = compared.to_dict()["slices"][what]
        assert rows["group"].tolist() == [each["label"] for each in slices]
        assert rows["n"].tolist() == [each["users"] for each in slices]
        assert rows["mean"].tolist() == [each["means"]["ItemKNN"]["recall@5"] for each in slices]


def test_bins_beside_labels_are_refused():
    train, test = ancf.time_split(ancf.read_interactions(demo_shop(customers=50, products=30)), (0.8, 0.2))
    found = ancf.evaluate(ancf.ItemKNN().fit(train), test, "recall@5")
    labels = dict.fromkeys(found.user_ids.tolist(), "all")
    with pytest.raises(ancf.InvalidParameterError, match="bins=3 has no effect with labels"):
        found.by(labels, bins=3)
    assert found.by(labels)["n"].tolist() == [found.n_users]
    assert len(found.by("popularity", bins=2)) == 2
