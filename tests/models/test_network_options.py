"""The options of ``ANCF`` beyond its default: refused by name, resolved, printed, kept."""

import numpy as np
import pytest

import ancf
from ancf.models.ancf import options
from ancf.testing.contract import example_table


def weighted(seed=3, n=900):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 60, n), rng.integers(0, 25, n)
    weight = 1.0 + (users % 5) * (items % 5)
    return ancf.Interactions.from_ids(user=users, item=items, weight=weight, time=rng.integers(0, 10**7, n))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"attention": "batch"}, "nothing can be ranked"),
        ({"attention": "none"}, "user_factors=True"),
        ({"loss": "mse", "temperature": 0.2}, "temperature=0.2 has no effect"),
        ({"loss": "mse", "negatives": 5}, "negatives=5 has no effect"),
        ({"normalize": "log"}, "normalize='log' has no effect"),
        ({"use_weights": True}, "use_weights=True has no effect"),
        ({"loss": "bpr", "half_life": 3.0}, "half_life=3.0 has no effect"),
        ({"user_dropout": 0.2}, "user_dropout=0.2 has no effect"),
        ({"layer": "concat"}, "layer='concat' has no effect"),
        ({"loss": "bpr", "serving_exponent": 0.5}, "serving_exponent=0.5 has no effect"),
        ({"output": "sigmoid", "layer": "concat"}, 'Take layer="product"'),
        ({"attention": "target", "output": "sigmoid"}, 'Take output="linear"'),
        ({"attention": "target", "factor_attention": True}, "factor_attention=False"),
        ({"attention": "target", "similarity": "cosine"}, 'similarity="product"'),
        ({"factor_attention": True, "neighbors": 10}, "Take neighbors=0"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"loss": "bce", "optimizer": "adamw"}, "optimizer is 'adamw'"),
    ],
)
def test_what_has_no_effect_or_makes_no_sense_is_refused_by_name(options, says):
    with pytest.raises(ancf.InvalidParameterError, match=says):
        ancf.ANCF(factors=4, epochs=1, **options).fit(example_table())


def test_what_the_table_cannot_give_is_refused():
    with pytest.raises(ancf.InvalidDataError, match=r"half_life=3\.0 needs times"):
        ancf.ANCF(factors=4, epochs=1, attention="learned", half_life=3.0).fit(example_table())
    with pytest.raises(ancf.InvalidParameterError, match='normalize="minmax"'):
        ancf.ANCF(factors=4, epochs=1, loss="mse", output="sigmoid", normalize="none").fit(weighted())
    returned = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "a"], weight=[1.0, -2.0, 1.0])
    with pytest.raises(ancf.InvalidDataError, match="user 1 and item 'b' is -2"):
        ancf.ANCF(factors=2, epochs=1, attention="learned", use_weights=True).fit(returned)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("loss", ["mse", "bce", "bpr", "softmax"])
def test_an_absurd_rate_diverges_with_epoch_and_rate_and_leaves_the_model_as_it_was(loss, optimizer):
    data = weighted()
    model = ancf.ANCF(factors=4, epochs=3, loss=loss, optimizer=optimizer, user_factors=True, neighbors=0).fit(data)
    before, settings = model.recommend_all(N=3).to_pandas(), model.history_
    model.set_params(learning_rate=1e38, regularization=1.0, similarity="product")
    with pytest.raises(ancf.DivergedError, match=r"epoch \d at learning rate 1"):
        model.fit(data)
    assert model.recommend_all(N=3).to_pandas().equals(before)
    assert model.history_ is settings


def test_classic_learns_the_normalized_quantity_and_is_measured_in_it():
    data = weighted()
    train, _, test = ancf.random_split(data, random_state=1, on_leak="ignore")
    model = ancf.ANCF.classic(epochs=60, learning_rate=0.01).fit(train)
    assert model.get_params()["factors"] == 50
    assert model.normalizer_.kind == "minmax"
    losses = model.history_["training_loss"]
    assert losses[-1] < 0.5 * losses[0]
    found = ancf.evaluate(model, test, ["mse"])["mse"]
    table = test.to_pandas().groupby(["user_id", "item_id"])["weight"].sum()
    pairs = [(u, i, w) for (u, i), w in table.items() if model.item_ids_.position(i) >= 0]
    users, items, weights = zip(*pairs, strict=True)
    truth = model.normalizer_.transform(weights)
    expected = float(np.mean((model.predict(list(users), list(items)) - truth) ** 2))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_losses_of_each_epoch_are_printed(capsys):
    data = weighted()
    train, valid, _ = ancf.random_split(data, random_state=1, on_leak="ignore")
    model = ancf.ANCF.classic(epochs=2, verbose=1).fit(train, validation=valid)
    lines = capsys.readouterr().out.splitlines()
    for name in ("Training", "Validation"):
        losses = model.history_[f"{name.lower()}_loss"]
        assert [line for line in lines if f"{name} Loss" in line] == [
            f"Epoch {at + 1}/2, {name} Loss: {loss:.4f}" for at, loss in enumerate(losses)
        ]


@pytest.mark.parametrize("options", [{}, {"loss": "mse"}])
def test_only_a_table_can_be_held_out(options):
    model = ancf.ANCF(epochs=1, **options)
    with pytest.raises(ancf.InvalidDataError, match="as validation, not str"):
        model.fit(weighted(), validation="valid.csv")


def test_a_model_that_learns_by_heart_warns_and_keeps_its_best_epoch():
    rng = np.random.default_rng(0)
    data = ancf.Interactions.from_ids(
        user=rng.integers(0, 30, 300), item=rng.integers(0, 20, 300), weight=1 + rng.random(300), normalize="standard"
    )
    train, valid, _ = ancf.random_split(data, random_state=1, on_leak="ignore")
    model = ancf.ANCF(
        factors=16, epochs=40, loss="mse", attention="none", item_attention=False, user_factors=True, patience=None
    )
    with pytest.warns(ancf.TrainingWarning, match="validation loss has risen"):
        model.fit(train, validation=valid)
    losses = model.history_["validation_loss"]
    assert model.history_["best_epoch"] == int(np.argmin(losses)) + 1 < 40


def test_a_newer_purchase_speaks_louder_with_a_half_life():
    model = ancf.ANCF(
        factors=8, epochs=3, attention="learned", half_life=10.0, loss="bpr", neighbors=0, random_state=1
    ).fit(weighted())
    items = list(model.item_ids_.values[:3])
    day = 86400
    fresh = model.recommend_for_history(items, N=5, times=[0, 0, 0])
    aged = model.recommend_for_history(items, N=5, times=[0, 0, 400 * day])
    alone = model.recommend_for_history(items[2:], N=5, items=list(aged.ids))
    assert not np.allclose(fresh.scores, aged.scores)
    assert np.allclose(sorted(aged.scores), sorted(alone.scores), atol=1e-3)


def test_settings_say_what_auto_became(tmp_path):
    model = ancf.ANCF(factors=4, epochs=1, loss="bpr").fit(weighted())
    settings = model.history_["settings"]
    assert {"negatives", "batch_size", "learning_rate", "similarity", "neighbors", "neighbor_weight"} <= set(settings)
    model.save(tmp_path / "m.ancf")
    assert ancf.load(tmp_path / "m.ancf").history_ == model.history_


@pytest.mark.parametrize("options", [{"attention": "target"}, {"factor_attention": True}, {"similarity": "product"}])
def test_products_do_not_run_away_from_negatives_that_miss_the_positive(options):
    model = ancf.ANCF(factors=8, epochs=25, negatives=3, batch_size=8, neighbors=0, **options).fit(weighted())
    losses = model.history_["training_loss"]
    assert min(losses) > 0
    assert losses[-1] < losses[0]


def test_a_large_table_s_users_with_queries_of_their_own_can_be_saved_and_explained(tmp_path):
    # So many pairs that what is held out for choosing is learned from in one run.
    draws = np.random.default_rng(2)
    user, item = draws.integers(0, 45_000, 200_000), draws.integers(0, 60, 200_000)
    model = ancf.ANCF(factors=4, epochs=1, attention="learned", user_factors=True)
    model.fit(ancf.Interactions.from_ids(user=user, item=item))
    model.save(tmp_path / "shop.ancf")
    again = ancf.load(tmp_path / "shop.ancf")
    for row in (0, 7_000, 44_000):
        someone = model.user_ids_.values[row]
        ids, scores = model.recommend(someone, N=3)
        for item, score in zip(ids, scores, strict=True):
            assert model.explain(someone, item).total == pytest.approx(score, rel=1e-5)
            assert again.explain(someone, item).total == pytest.approx(score, rel=1e-5)


def test_large_catalogues_take_fewer_negatives_and_candidates():
    def resolved(n_items, **given):
        settings = options.resolve(ancf.ANCF(**given), n_items, timed=False)
        return settings.negatives, settings.neighbor_candidates

    found = {n: resolved(n) for n in (1_000, 4_000, 8_192, 8_193, 10_000, 20_000, 40_981, 1_000_000)}
    assert list(found.values()) == [
        *((4096, 500), (4096, 200), (4096, 200), (2048, 200)),
        *((2048, 200), (2048, 141), (2048, 100), (2048, 100)),
    ]
    assert resolved(40_981, negatives=4096, neighbor_candidates=200) == (4096, 200)
    assert resolved(40_981, loss="softmax", attention="learned")[0] == 4096
