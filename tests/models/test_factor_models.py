"""ALS, BPR and SVD against NumPy twins, and what they promise beyond the battery."""

import numpy as np
import pytest

import ancf
from ancf.errors import DivergedError, InvalidDataError, InvalidParameterError, ModelFileError
from ancf.scoring import limits, scorer_arrays
from ancf.testing import ModelContract

SMALL = {
    "ALS": {"factors": 6, "epochs": 4, "unobserved_weight": 0.2, "regularization": 0.02},
    "BPR": {"factors": 6, "epochs": 30, "learning_rate": 0.15},
    "SVD": {"factors": 6, "epochs": 15, "learning_rate": 0.03},
}


def make(name, **options):
    return getattr(ancf, name)(**{**SMALL[name], **options})


def tastes(n_users=90, n_items=40, seed=2, *, rated=False):
    """Four tastes; with ``rated`` weights 1..5 that follow them."""
    rng = np.random.default_rng(seed)
    alike = np.arange(n_users)[:, None] % 4 == np.arange(n_items) % 4
    users, items = np.nonzero(rng.random(alike.shape) < np.where(alike, 0.6, 0.12))
    weight = np.where(alike[users, items], 5, 2) - rng.integers(0, 2, len(users)) if rated else None
    return ancf.Interactions.from_ids(user=users, item=items, weight=weight)


class TestWeightedALS(ModelContract):
    def make(self, **options):
        return make("ALS", use_weights=True, **options)


class TestALSWithMoreFactorsThanTheTableHas(ModelContract):
    def make(self, **options):
        return make("ALS", factors=70, **options)


class TestALSSolvedExactly(ModelContract):
    def make(self, **options):
        return make("ALS", solver="exact", **options)


class TestBPRWithPopularNegatives(ModelContract):
    fold_in_is_exact = False

    def make(self, **options):
        return make("BPR", negative_exponent=0.75, **options)


# ---- learning


@pytest.mark.parametrize("name", SMALL)
def test_what_is_to_the_taste_of_a_user_scores_higher(name):
    data = tastes(rated=name == "SVD")
    model = make(name, epochs=40).fit(data)
    users, items = np.arange(90), np.arange(40)
    scores = np.array([model.predict(int(user), items) for user in users])
    alike = users[:, None] % 4 == items % 4
    assert scores[alike].mean() > scores[~alike].mean() + scores[~alike].std()


@pytest.mark.parametrize("name", SMALL)
def test_the_training_loss_falls_and_stands_in_the_history(name):
    model = make(name).fit(tastes(rated=True))
    losses = model.history_["training_loss"]
    assert len(losses) == SMALL[name]["epochs"] == model.history_["best_epoch"]
    assert losses[-1] < losses[0]
    assert model.history_["settings"]["random_state"] == 0


def test_als_by_conjugate_gradients_comes_as_far_as_exact_sweeps_and_never_goes_back():
    exact, stepped = (make("ALS", solver=solver, epochs=12).fit(tastes()) for solver in ("exact", "cg"))
    losses = stepped.history_["training_loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(exact.history_["training_loss"][-1], rel=1e-3)


def test_als_takes_steps_unless_weights_of_all_sizes_are_used():
    solvers = [
        make("ALS", **options).fit(tastes(rated=True)).history_["settings"]["solver"]
        for options in ({}, {"use_weights": True}, {"solver": "cg", "use_weights": True}, {"solver": "exact"})
    ]
    assert solvers == ["cg", "exact", "cg", "exact"]


def test_als_epochs_are_those_of_the_normal_equations():
    data = tastes(rated=True)
    model = make("ALS", use_weights=True).fit(data)
    scorer = model._fitted()
    items, users = scorer.item_vectors.astype(float), scorer.user_vectors.astype(float)
    dense = np.zeros((90, 40))
    indptr, columns, weights = data.to_csr()
    dense[np.repeat(np.arange(90), np.diff(indptr)), columns] = weights
    for user in range(90):
        had = dense[user] > 0
        ridge = 0.02 * (had.sum() + 0.2 * 40)
        matrix = 0.2 * items.T @ items + ridge * np.eye(6) + (items * dense[user][:, None]).T @ items
        assert users[user] == pytest.approx(np.linalg.solve(matrix, items.T @ dense[user]), abs=2e-5)
    loss = (dense * (1 - users @ items.T) ** 2).sum() + 0.2 * ((users @ items.T) ** 2).sum()
    loss += 0.02 * ((users**2).sum(1) * ((dense > 0).sum(1) + 0.2 * 40)).sum()
    loss += 0.02 * ((items**2).sum(1) * ((dense > 0).sum(0) + 0.2 * 90)).sum()
    assert model.history_["training_loss"][-1] == pytest.approx(loss / len(columns), rel=1e-5)


def test_auto_weighs_what_is_not_observed_by_the_number_of_items():
    data = ancf.Interactions.from_ids(user=np.arange(800) % 30, item=np.arange(800))
    auto, given = (
        ancf.ALS(factors=4, epochs=2).fit(data),
        ancf.ALS(factors=4, epochs=2, unobserved_weight=0.5).fit(data),
    )
    assert auto.history_["settings"]["unobserved_weight"] == 0.5
    assert auto.recommend_all(N=3).to_pandas().equals(given.recommend_all(N=3).to_pandas())
    assert ancf.ALS(factors=2, epochs=1).fit(tastes()).history_["settings"]["unobserved_weight"] == 1.0


def naive_svd(data, mean, epochs, rate, penalty, factors, rng):
    """Surprise's loop over the ratings in a random order, in float64."""
    indptr, items, ratings = data.to_csr()
    users = np.repeat(np.arange(data.n_users), np.diff(indptr))
    p, q = rng.normal(0, 0.1, (data.n_users, factors)), rng.normal(0, 0.1, (data.n_items, factors))
    b, c = np.zeros(data.n_users), np.zeros(data.n_items)
    for _ in range(epochs):
        for at in rng.permutation(len(items)):
            u, i = users[at], items[at]
            error = ratings[at] - mean - b[u] - c[i] - p[u] @ q[i]
            b[u] += rate * (error - penalty * b[u])
            c[i] += rate * (error - penalty * c[i])
            p[u], q[i] = p[u] + rate * (error * q[i] - penalty * p[u]), q[i] + rate * (error * p[u] - penalty * q[i])
    return mean + b[:, None] + c + p @ q.T


def test_svd_predicts_what_a_loop_in_numpy_learns():
    data, held_out = tastes(seed=1, rated=True), tastes(seed=9, rated=True)
    model = ancf.SVD(factors=8, epochs=30, learning_rate=0.02).fit(data)
    scores = np.array([model.predict(user, np.arange(40)) for user in range(90)])
    truth = naive_svd(data, data.weights.mean(), 30, 0.02, 0.02, 8, np.random.default_rng(3))
    indptr, items, ratings = held_out.to_csr()
    users = np.repeat(np.arange(90), np.diff(indptr))

    def rmse(found):
        return np.sqrt(np.mean((found[users, items] - ratings) ** 2))

    # Other starting numbers and another order of the same ratings: level errors, and predictions that go together as
    # much as those of two loops do.
    another = naive_svd(data, data.weights.mean(), 30, 0.02, 0.02, 8, np.random.default_rng(4))
    assert rmse(scores) == pytest.approx(rmse(truth), rel=0.05)
    assert np.corrcoef(scores.ravel(), truth.ravel())[0, 1] > np.corrcoef(another.ravel(), truth.ravel())[0, 1] - 0.03


# ---- people who were not in training


def test_somebody_folded_in_gets_the_bits_of_a_user_of_training():
    data = tastes()
    model = make("ALS").fit(data)
    indptr, items = data.to_csr().sets
    histories = [items[indptr[user] : indptr[user + 1]].tolist() for user in range(90)]
    known = model.recommend(list(range(90)), N=5)
    folded = model.recommend_for_history(histories, N=5)
    assert all(a.tolist() == b.tolist() for a, b in zip(known.ids, folded.ids, strict=True))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(known.scores, folded.scores, strict=True))


@pytest.mark.parametrize("name", ["BPR", "SVD"])
def test_somebody_folded_in_has_the_taste_of_their_history(name):
    model = make(name, epochs=40).fit(tastes(rated=True))
    for taste in range(4):
        loved, refused = [taste, taste + 4, taste + 8], [(taste + 1) % 4, (taste + 2) % 4]
        history = dict.fromkeys(loved, 5.0)
        if name == "SVD":
            history |= dict.fromkeys(refused, 1.0)
        ids = model.recommend_for_history(history, N=4).ids
        assert (ids % 4 == taste).sum() >= 3, (taste, ids)


def test_svd_folds_in_the_ridge_regression_of_the_ratings():
    data = tastes(rated=True)
    model = make("SVD").fit(data)
    scorer = model._fitted()
    history = {3: 5.0, 8: 1.0, 20: 4.0}
    items, biases = scorer.item_vectors[:, :-1].astype(float), scorer.item_vectors[:, -1]
    rows = np.hstack([items[list(history)], np.ones((3, 1))])
    mean = scorer.encoder.mean
    target = np.array(list(history.values())) - mean - biases[list(history)]
    solution = np.linalg.solve(rows.T @ rows + 0.02 * 3 * np.eye(7), rows.T @ target)
    wanted = mean + solution[-1] + biases + items @ solution[:-1]
    found = model.recommend_for_history(history, N=40, filter_already_liked_items=False)
    assert found.scores == pytest.approx(wanted[found.ids], abs=1e-4)


def test_als_contributions_are_the_classic_explanation():
    model = make("ALS").fit(tastes())
    why = model.explain(history=[0, 4, 1], item=8)
    assert {reason.item_id for reason in why.reasons} == {0, 4, 1}
    by_item = {reason.item_id: reason.contribution for reason in why.reasons}
    assert min(by_item[0], by_item[4]) > by_item[1]
    assert why.total == pytest.approx(why.score, rel=1e-4)
    assert make("BPR").fit(tastes()).explain(0, 1).base.keys() == {"the user's factors", "the item's bias"}
    assert "the user's shift" in make("SVD").fit(tastes(rated=True)).explain(0, 1).base


# ---- validation


@pytest.mark.filterwarnings("ignore::ancf.TrainingWarning")
@pytest.mark.parametrize("name", SMALL)
def test_a_validation_table_chooses_the_epoch(name):
    train, validation = ancf.random_split(tastes(rated=True), (0.8, 0.2), random_state=1)
    model = make(name, epochs=40, patience=2).fit(train, validation=validation)
    metric = model.validation_metric
    values = model.history_["validation_loss" if metric == "loss" else metric]
    best = model.history_["best_epoch"]
    assert len(values) <= best + 2
    assert values[best - 1] == (min(values) if metric == "loss" else max(values))
    assert len(model.history_["validation_loss"]) == len(values) == len(model.history_["training_loss"])
    # The epochs up to the best one are those of a shorter training (of BPR the rate depends on their number).
    if name != "BPR":
        again = make(name, epochs=best).fit(train)
        assert again.recommend_all(N=3).to_pandas().equals(model.recommend_all(N=3).to_pandas())


@pytest.mark.filterwarnings("ignore::ancf.TrainingWarning")
@pytest.mark.parametrize(
    "model",
    [
        ancf.SVD(factors=4, epochs=40, learning_rate=0.05, validation_metric="rmse"),
        ancf.ANCF(loss="mse", factors=4, epochs=8, validation_metric="rmse"),
    ],
    ids=["SVD", "ANCF"],
)
def test_an_error_metric_is_better_the_lower_it_is(model):
    train, validation = ancf.random_split(tastes(rated=True), (0.8, 0.2), random_state=1)
    model.fit(train, validation=validation)
    values = model.history_["rmse"]
    assert min(values) > 0
    assert model.history_["best_epoch"] == int(np.argmin(values)) + 1


# ---- mistakes


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        *[(name, "factors", 0) for name in SMALL],
        *[(name, "epochs", 1.5) for name in SMALL],
        *[(name, "patience", 0) for name in SMALL],
        *[(name, "random_state", -1) for name in SMALL],
        *[(name, "validation_metric", "ndgc@10") for name in SMALL],
        *[(name, "regularization", float("nan")) for name in SMALL],
        ("ALS", "regularization", 0.0),
        ("ALS", "unobserved_weight", -1.0),
        ("ALS", "regularization_exponent", 3.0),
        ("ALS", "use_weights", "yes"),
        ("ALS", "solver", "cholesky"),
        ("BPR", "learning_rate", 0.0),
        ("BPR", "negative_exponent", 3.0),
        ("BPR", "bias_regularization", -0.1),
        ("SVD", "learning_rate", float("inf")),
        ("SVD", "init_scale", -1.0),
    ],
)
def test_an_absurd_option_is_named_with_its_value(name, option, value):
    with pytest.raises(InvalidParameterError, match=f"{option.removeprefix('validation_')}.*{value}"):
        make(name, **{option: value}).fit(tastes())


@pytest.mark.parametrize("name", ["BPR", "SVD"])
def test_a_rate_too_high_says_so_and_leaves_the_model_as_it_was(name):
    data = tastes(rated=True)
    model = make(name).fit(data)
    before = model.recommend_all(N=3).to_pandas()
    with pytest.raises(DivergedError, match="learning_rate"):
        model.set_params(learning_rate=1e5).fit(data)
    assert model.recommend_all(N=3).to_pandas().equals(before)


def test_weights_of_zero_are_refused_with_user_and_item():
    data = ancf.Interactions.from_ids(user=["ann", "bob"], item=["tea", "pot"], weight=[1.0, -2.0])
    with pytest.raises(InvalidDataError, match="'bob' and item 'pot' is -2"):
        ancf.ALS(use_weights=True).fit(data)
    model = make("ALS", use_weights=True).fit(tastes())
    with pytest.raises(InvalidDataError, match="weight of -1"):
        model.recommend_for_history({1: 1.0, 2: -1.0})


@pytest.mark.parametrize("name", SMALL)
def test_vectors_that_would_not_fit_are_refused_before_they_are_made(name, monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 1 << 20)
    data = ancf.Interactions.from_ids(user=np.arange(20_000), item=np.arange(20_000) % 5000)
    with pytest.raises(InvalidParameterError, match=r"4096 factors of 20,000 users .* GiB.*fewer factors"):
        make(name, factors=4096).fit(data)


@pytest.mark.parametrize(("name", "array"), [("ALS", "gramian"), ("ALS", "confidence")])
def test_a_damaged_array_of_a_file_is_named(name, array):
    model = make(name, use_weights=True).fit(tastes())
    arrays, meta = scorer_arrays.to_arrays(model._fitted())
    for broken in (arrays[array][:-1], arrays[array].astype(np.float64), np.full_like(arrays[array], np.nan)):
        with pytest.raises(ModelFileError, match=array):
            ancf.ALS._from_arrays({**arrays, array: broken}, meta)


@pytest.mark.parametrize(("name", "key", "values"), [("BPR", "seed", [None, -1, 1.5]), ("SVD", "mean", [None, "3"])])
def test_a_damaged_number_of_a_file_is_named(name, key, values):
    arrays, meta = scorer_arrays.to_arrays(make(name).fit(tastes())._fitted())
    for value in values:
        with pytest.raises(ModelFileError, match=key):
            getattr(ancf, name)._from_arrays(arrays, {**meta, key: value})


@pytest.mark.parametrize("name", SMALL)
def test_without_a_seed_each_fit_draws_one_and_says_which(name):
    data = tastes(rated=True)
    first, second = (make(name, random_state=None).fit(data) for _ in range(2))
    seeds = [model.history_["settings"]["random_state"] for model in (first, second)]
    assert seeds[0] != seeds[1]
    again = make(name, random_state=seeds[0]).fit(data)
    assert again.recommend_all(N=3).to_pandas().equals(first.recommend_all(N=3).to_pandas())


@pytest.mark.parametrize("name", SMALL)
def test_one_user_with_one_item_is_a_table_too(name):
    data = ancf.Interactions.from_ids(user=["ann"], item=["tea"])
    model = make(name).fit(data)
    assert model.recommend("ann", N=3).ids.tolist() == []
    assert np.isfinite(model.predict("ann", "tea"))
