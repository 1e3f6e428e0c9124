"""The traditional rivals: each is the formula that its file states, and refuses what it cannot do."""

import numpy as np
import pytest

import ancf
from ancf.models import ease
from ancf.testing import ModelContract
from ancf.testing.contract import example_table

DAY = 86400


@pytest.fixture
def table():
    """Forty users with tastes, 20 items."""
    rng = np.random.default_rng(3)
    has = rng.random((40, 20)) < np.where((np.arange(40)[:, None] + np.arange(20)) % 4 == 0, 0.6, 0.15)
    users, items = np.nonzero(has)
    return ancf.Interactions.from_ids(user=users, item=items, weight=1 + (users + items) % 3)


def dense(data, weights=False):
    matrix = np.zeros((data.n_users, data.n_items))
    indptr, items, values = data.to_csr()
    matrix[np.repeat(np.arange(data.n_users), np.diff(indptr)), items] = values if weights else 1.0
    return matrix


def scores(model):
    users, items = model.user_ids_.values, model.item_ids_.values
    return np.array([model.predict(user, items) for user in users])


def keep(matrix, k, axis):
    """The k largest positive entries of each row (axis 1) or column (axis 0)."""
    # Equal similarities differ in their last bits by the products of some machines.
    order = np.argsort(np.argsort(-np.round(matrix, 9), axis=axis, kind="stable"), axis=axis)
    return np.where((order < k) & (matrix > 0), matrix, 0)


# ---- what each model is


def test_ease_is_the_inverse_of_the_regularized_co_purchases(table):
    x = dense(table)
    p = np.linalg.inv(x.T @ x + 7.0 * np.eye(x.shape[1]))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    model = ancf.EASE(regularization=7).fit(table)
    assert np.allclose(scores(model), x @ b, atol=1e-5)
    ids, _ = model.recommend_all(N=20, filter_already_liked_items=False)
    assert np.array_equal(np.array([list(row) for row in ids]), np.argsort(-scores(model), axis=1, kind="stable"))
    assert (model._fitted().dense_neighbors < 0).any()


def test_slim_has_the_weights_of_scikit_learns_elastic_net(table):
    from sklearn.linear_model import ElasticNet

    x = dense(table)
    n = len(x)
    l1, l2 = 0.8, 2.0
    for positive in (True, False):
        b = np.zeros((20, 20))
        for target in range(20):
            others = np.delete(np.arange(20), target)
            alpha = (l1 + l2) / n
            net = ElasticNet(
                alpha=alpha,
                l1_ratio=l1 / (l1 + l2),
                fit_intercept=False,
                positive=positive,
                tol=1e-10,
                max_iter=100_000,
            )
            b[others, target] = net.fit(x[:, others], x[:, target]).coef_
        model = ancf.SLIM(l1=l1, l2=l2, positive=positive, max_iterations=5000, tolerance=1e-9).fit(table)
        assert np.allclose(scores(model), x @ b, atol=1e-4)
        assert (b < 0).any() != positive


def test_rp3beta_is_a_random_walk_with_popular_targets_held_back(table):
    x = dense(table)
    to_item, to_user = x / x.sum(axis=1, keepdims=True), (x / x.sum(axis=0)).T
    alpha, beta = 0.7, 0.4
    c = (to_user**alpha) @ (to_item**alpha) / x.sum(axis=0) ** beta
    np.fill_diagonal(c, 0)
    model = ancf.RP3beta(alpha=alpha, beta=beta, neighbors=6).fit(table)
    assert np.allclose(scores(model), x @ keep(c, 6, axis=0), rtol=1e-4, atol=1e-6)


def _documents(x, weighting):
    """Rows as documents: what their terms weigh."""
    rare = np.log(1 + len(x) / (x > 0).sum(axis=0))
    if weighting == "tfidf":
        return np.sqrt(x) * rare
    if weighting == "bm25":
        length = 0.2 + 0.8 * x.sum(axis=1, keepdims=True) / x.sum(axis=1).mean()
        return x * 101 / (100 * length + x) * rare
    return x


def _similarity(x, weighting, shrinkage):
    """Between rows, from the definitions."""
    if weighting == "pearson":
        x = x - x.mean(axis=1, keepdims=True)
    w = _documents(x, weighting)
    both, size = w @ w.T, np.sqrt((w**2).sum(axis=1))
    if weighting == "jaccard":
        return both / (x.sum(axis=1)[:, None] + x.sum(axis=1) - both + shrinkage)
    return both if weighting == "bm25" else both / (np.outer(size, size) + shrinkage)


@pytest.mark.parametrize("weighting", ["cosine", "jaccard", "pearson", "tfidf", "bm25"])
@pytest.mark.parametrize("use_weights", [False, True])
def test_item_knn_measures_similarity_as_it_says(table, weighting, use_weights):
    if weighting == "jaccard" and use_weights:
        with pytest.raises(ancf.InvalidParameterError, match="jaccard"):
            ancf.ItemKNN(weighting=weighting, use_weights=True).fit(table)
        return
    x = dense(table, use_weights)
    c = _similarity(x.T, weighting, 3.0)
    c[(x.T @ x) == 0] = 0  # items without a common user are not compared
    np.fill_diagonal(c, 0)
    options = {} if weighting == "bm25" else {"shrinkage": 3.0}
    model = ancf.ItemKNN(weighting=weighting, neighbors=5, use_weights=use_weights, **options).fit(table)
    assert np.allclose(scores(model), x @ keep(c, 5, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighting", ["cosine", "jaccard", "tfidf", "bm25"])
@pytest.mark.parametrize("use_weights", [False, True])
def test_user_knn_sums_what_the_nearest_users_have(table, weighting, use_weights):
    if weighting == "jaccard" and use_weights:
        with pytest.raises(ancf.InvalidParameterError, match="jaccard"):
            ancf.UserKNN(weighting=weighting, use_weights=True).fit(table)
        return
    x = dense(table, use_weights)
    shrinkage = 0.0 if weighting == "bm25" else 1.5
    s = _similarity(x, weighting, shrinkage)
    np.fill_diagonal(s, 0)
    model = ancf.UserKNN(weighting=weighting, neighbors=6, use_weights=use_weights, shrinkage=shrinkage).fit(table)
    assert np.allclose(scores(model), keep(s, 6, axis=1) @ x, rtol=1e-4, atol=1e-5)


def test_user_knn_explains_by_the_purchases_that_neighbors_share(table):
    model = ancf.UserKNN(neighbors=6).fit(table)
    ids, given = model.recommend(3, N=5)
    had = {int(item) for item in model._fitted().seen.row(3)}
    for item, score in zip(ids, given, strict=True):
        why = model.explain(3, item)
        assert sum(reason.contribution for reason in why.reasons) == pytest.approx(float(score), rel=1e-5)
        assert {reason.item_id for reason in why.reasons} <= had


def test_a_user_with_the_same_items_is_no_neighbor():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["tea", "cup", "tea", "cup", "tea", "pot"])
    model = ancf.UserKNN(neighbors=1, weighting="cosine").fit(data)
    assert model.recommend(1, N=3).ids.tolist() == ["pot"]
    assert model.recommend_for_history(["tea", "cup"], N=3).scores.tolist() == model.recommend(1, N=3).scores.tolist()


def test_the_neighbors_of_an_item_are_what_is_similar_to_it(table):
    model = ancf.ItemKNN(neighbors=4, shrinkage=1).fit(table)
    c = _similarity(dense(table).T, "cosine", 1.0)
    np.fill_diagonal(c, 0)
    every = model.similar_items(model.item_ids_.values, N=10)
    for item in range(20):
        assert every.ids[item].tolist() == np.argsort(-c[item], kind="stable")[:4].tolist()
        assert model.similar_items(item, N=10).ids.tolist() == every.ids[item].tolist()


# ---- popularity


def timed(*events):
    """(user, item, day)"""
    users, items, days = zip(*events, strict=True)
    return ancf.Interactions.from_ids(user=users, item=items, time=[day * DAY for day in days])


OLD_AND_NEW = [(user, "tea", user % 30) for user in range(20)] + [(user, "cup", 99) for user in range(20, 25)]


def test_popularity_of_lately_is_the_default_where_there_are_times():
    data = timed(*OLD_AND_NEW, (30, "pot", 95), (31, "pan", 3))
    ids = ancf.Popular().fit(data).recommend(31, N=9).ids.tolist()
    assert ids == ["cup", "pot", "tea"]
    assert ancf.Popular(window=None).fit(data).recommend(31, N=9).ids.tolist() == ["tea", "cup", "pot"]
    assert ancf.Popular(window=100).fit(data).recommend(31, N=9).ids.tolist() == ["tea", "cup", "pot"]


@pytest.mark.parametrize("count", ["users", "events", "weight"])
def test_what_was_not_bought_lately_comes_behind_in_the_order_of_all_time(count):
    data = timed(*OLD_AND_NEW, (30, "pot", 1), (31, "pot", 2), (32, "pan", 3))
    ids = ancf.Popular(count=count, window=7).fit(data).recommend(24, N=9).ids.tolist()
    assert ids == ["tea", "pot", "pan"]


@pytest.mark.parametrize("n", [1, 50])
def test_one_wrong_date_does_not_move_the_window(n):
    data = timed(*OLD_AND_NEW * n, (99, "pan", 30_000))
    assert ancf.Popular(window=7).fit(data).recommend(99, N=2).ids.tolist() == ["cup", "tea"]


def test_a_window_needs_times(table):
    with pytest.raises(ancf.InvalidDataError, match="window=7 needs times"):
        ancf.Popular(window=7).fit(table)
    for wrong in (0, -1, "soon", float("nan")):
        with pytest.raises(ancf.InvalidParameterError, match="window is"):
            ancf.Popular(window=wrong).fit(table)


# ---- repeats

OWN = [
    ("ann", "tea", 0),
    ("ann", "tea", 1),
    ("ann", "tea", 2),
    ("ann", "cup", 60),
    ("ann", "cup", 61),
    ("bob", "pot", 70),
]


def test_the_own_list_is_by_frequency_and_with_a_half_life_by_recency():
    data = timed(*OWN, ("eve", "pan", 70), ("bob", "pan", 70))
    every = {"N": 9, "filter_already_liked_items": False}
    assert ancf.LastBought().fit(data).recommend("ann", **every).ids.tolist() == ["tea", "cup", "pan", "pot"]
    model = ancf.LastBought(half_life=30).fit(data)
    recs = model.recommend("ann", **every)
    assert recs.ids.tolist() == ["cup", "tea", "pan", "pot"]
    assert recs.scores[:2].tolist() == pytest.approx([2.0, 3 * 2 ** (-59 / 30)])
    assert model.explain("ann", "cup").reasons[0].contribution == 2.0
    folded = model.recommend_for_history({"tea": 3, "cup": 2}, times=[2 * DAY, 61 * DAY], **every)
    assert folded.scores.tolist() == recs.scores.tolist()


def test_what_a_customer_never_had_comes_behind_the_oldest_purchase():
    data = timed(("ann", "tea", 0), ("ann", "cup", 9000), *[(f"{user}", "pot", 9000) for user in range(5)])
    recs = ancf.LastBought(half_life=1).fit(data).recommend("ann", N=3, filter_already_liked_items=False)
    assert recs.ids.tolist() == ["cup", "tea", "pot"]


def test_a_half_life_needs_times(table):
    with pytest.raises(ancf.InvalidDataError, match="half_life=7 needs times"):
        ancf.LastBought(half_life=7).fit(table)
    with pytest.raises(ancf.InvalidParameterError, match="half_life is"):
        ancf.LastBought(half_life=0).fit(table)


# ---- what is refused


def test_ease_says_how_much_memory_it_would_need(table, monkeypatch):
    monkeypatch.setattr(ease, "available_bytes", lambda: 1000)
    with pytest.raises(ancf.InvalidParameterError, match=r"20 × 20 items need about .* GiB.*SLIM or ItemKNN"):
        ancf.EASE().fit(table)


def test_ease_refuses_a_regularization_that_float32_cannot_invert():
    data = ancf.Interactions.from_ids(user=[1, 1, 1, 2, 2, 2], item=[1, 2, 3, 1, 2, 3])
    with pytest.raises(ancf.InvalidParameterError, match="too small"):
        ancf.EASE(regularization=1e-9).fit(data)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("EASE", {"regularization": 0}, "regularization"),
        ("SLIM", {"l1": -1}, "l1"),
        ("SLIM", {"l2": "much"}, "l2"),
        ("SLIM", {"positive": 1}, "positive"),
        ("SLIM", {"max_iterations": 0}, "max_iterations"),
        ("SLIM", {"tolerance": float("nan")}, "tolerance"),
        ("RP3beta", {"alpha": -1}, "alpha"),
        ("RP3beta", {"beta": None}, "beta"),
        ("RP3beta", {"neighbors": 0}, "neighbors"),
        ("UserKNN", {"neighbors": 0}, "neighbors"),
        ("UserKNN", {"weighting": "pearson"}, "weighting"),
        ("UserKNN", {"weighting": "bm25", "shrinkage": 1}, "shrinkage"),
        ("ItemKNN", {"weighting": "dice"}, "weighting"),
        ("ItemKNN", {"weighting": "bm25", "shrinkage": 1}, "shrinkage"),
    ],
)
def test_options_that_make_no_sense_are_refused(table, name, options, says):
    with pytest.raises(ancf.InvalidParameterError, match=says):
        getattr(ancf, name)(**options).fit(table)


def test_tfidf_takes_no_negative_weights():
    data = ancf.Interactions.from_ids(user=[1, 1, 2], item=[1, 2, 1], weight=[1, -1, 2])
    for model in (
        ancf.ItemKNN(weighting="tfidf", use_weights=True),
        ancf.UserKNN(weighting="bm25", use_weights=True),
    ):
        with pytest.raises(ancf.InvalidDataError, match="at least 0"):
            model.fit(data)


# ---- other set-ups pass the battery, too


def _with_times(data):
    times = np.arange(len(data)) % 40 * DAY
    return ancf.Interactions(data.user_ids, data.item_ids, data.users, data.items, data.weights, times)


class TestUserKNNWithWeights(ModelContract):
    def make(self, **options):
        return ancf.UserKNN(neighbors=5, use_weights=True, weighting="bm25", **options)


class TestSignedSLIM(ModelContract):
    def make(self, **options):
        return ancf.SLIM(l1=0.2, positive=False, **options)


class TestLastBoughtWithTimes(ModelContract):
    fold_in_is_exact = False  # the battery's histories have no times

    @pytest.fixture
    def data(self):
        return _with_times(example_table())

    def make(self, **options):
        return ancf.LastBought(half_life=9, **options)


class TestPopularOfLately(ModelContract):
    @pytest.fixture
    def data(self):
        return _with_times(example_table())

    def make(self, **options):
        return ancf.Popular(window=5, **options)
