"""Training that goes on: ``warm_start=True`` fits again from what was learned, and ``partial_fit`` goes on from it."""

import numpy as np
import pytest

import ancf
from ancf.models import all_models, class_of
from ancf.models.factor_training import FactorModel
from ancf.scoring import scorer_arrays

MODELS = {
    "als": lambda **more: ancf.ALS(factors=4, epochs=10, **more),
    "bpr": lambda **more: ancf.BPR(factors=4, epochs=10, **more),
    "svd": lambda **more: ancf.SVD(factors=4, epochs=10, **more),
    "gmf": lambda **more: ancf.GMF(factors=4, epochs=10, **more),
    "mlp": lambda **more: ancf.MLP(factors=4, layers="8,4", epochs=10, **more),
    "neu_mf": lambda **more: ancf.NeuMF(factors=4, layers="8,4", epochs=10, **more),
    "light_gcn": lambda **more: ancf.LightGCN(factors=4, epochs=10, **more),
}


ALL = {**MODELS, "ancf": lambda **more: ancf.ANCF(factors=4, epochs=6, **more)}


def table(seed, n_users=30, n_items=20, n=300):
    draws = np.random.default_rng(seed)
    users, items = draws.integers(0, n_users, n), draws.integers(0, n_items, n)
    return ancf.Interactions.from_ids(user=[f"u{user}" for user in users], item=[f"i{item}" for item in items])


@pytest.mark.parametrize("name", ALL)
def test_a_second_fit_goes_on_where_the_first_ended(name):
    model = ALL[name](warm_start=True).fit(table(0))
    first = model.history_["training_loss"]
    second = model.fit(table(0)).history_["training_loss"]
    assert second[0] < first[0]
    assert second[-1] < first[-1]
    loaded = ancf.load(ALL[name](warm_start=True).fit(table(0)).to_bytes())
    assert loaded.fit(table(0)).to_bytes() == model.to_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_without_it_a_second_fit_begins_anew_and_nothing_more_is_kept(name):
    model = MODELS[name]().fit(table(0))
    before = model.to_bytes()
    assert model.fit(table(0)).to_bytes() == before
    assert model._fitted().start is None
    with pytest.raises(ancf.errors.InvalidCallError, match="warm_start=True"):
        model.partial_fit(table(1, n=10))
    assert model.to_bytes() == before


@pytest.mark.parametrize("name", [name for name in MODELS if name != "als"])
def test_what_is_known_of_an_id_goes_with_it_into_another_table(name):
    # Steps so small that they change no number.
    model = MODELS[name](warm_start=True).fit(table(0))
    before = model._fitted().start
    after = model.set_params(learning_rate=1e-30).fit(table(1, n_users=40, n_items=15))._fitted().start
    assert set(after.user_ids) - set(before.user_ids)
    assert set(before.item_ids) - set(after.item_ids)
    for numbers, side in before.sides.items():
        if side == "all":
            assert after.numbers[numbers].tobytes() == before.numbers[numbers].tobytes()
            continue
        rows = []
        for start in (before, after):
            ids = getattr(start, f"{side[:-1]}_ids")
            vectors = start.numbers[numbers].reshape(len(ids), -1).tolist()
            rows.append(dict(zip(ids, vectors, strict=True)))
        both = set(rows[0]) & set(rows[1])
        assert len(both) >= 15
        assert all(rows[0][each] == rows[1][each] for each in both)


def test_all_models_of_epochs_in_the_registry_can_go_on():
    of_epochs = {name for name in all_models() if issubclass(class_of(name), FactorModel)}
    assert {type(make()).__name__ for make in MODELS.values()} == of_epochs


@pytest.mark.parametrize("name", MODELS)
def test_an_update_goes_on_from_the_training_and_leaves_it_to_later_ones(name):
    trained = MODELS[name](warm_start=True).fit(table(0)).to_bytes()
    model = ancf.load(trained)
    came = ancf.Interactions.from_ids(user=["new"] * 3, item=["i1", "i2", "newer"])
    model.partial_fit(came)
    assert "new" in model.user_ids_
    assert len(model.recommend("new", N=3).ids) == 3
    assert (model.last_update_.trained, model.last_update_.since) == (len(table(0)), 3)
    assert model.get_params() == ancf.load(trained).get_params()
    assert model.history_ == ancf.load(trained).history_
    assert model._fitted().start.user_ids == ancf.load(trained).user_ids_


def test_a_table_or_a_shape_that_does_not_fit_is_refused_and_the_model_stays():
    model = ancf.BPR(factors=4, epochs=2, warm_start=True).fit(table(0))
    before = model.to_bytes()
    with pytest.raises(ancf.InvalidDataError, match="of kind 'int'"):
        model.fit(ancf.Interactions.from_ids(user=[1, 2, 2], item=["i1", "i2", "i1"]))
    with pytest.raises(ancf.InvalidParameterError, match=r"warm_start: factors was 4 .* and is 5"):
        model.set_params(factors=5).fit(table(0))
    assert model.set_params(factors=4).to_bytes() == before
    network = ancf.MLP(factors=4, layers="8,4", epochs=1, warm_start=True).fit(table(0))
    with pytest.raises(ancf.InvalidParameterError, match="warm_start: layers was"):
        network.set_params(layers="8,6").fit(table(0))
    with pytest.raises(ancf.InvalidParameterError, match="warm_start"):
        ancf.ALS(warm_start=1).fit(table(0))


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, meta: arrays.update({"start.users": arrays["start.users"][1:]}),
        lambda arrays, meta: arrays.update({"start.users": arrays["start.users"] * np.float32("nan")}),
        lambda arrays, meta: arrays.update({"start.items": arrays["start.items"].astype(np.float64)}),
        lambda arrays, meta: meta["start"].update(sides={"users": "everybody"}),
        lambda arrays, meta: meta["start"].update(sides={"others": "users"}),
        lambda arrays, meta: meta["start"].pop("sides"),
        lambda arrays, meta: meta.update(start=3),
    ],
)
def test_a_damaged_file_is_refused(damage):
    model = ancf.SVD(factors=4, epochs=2, warm_start=True).fit(table(0)).partial_fit(table(1, n_users=40, n=20))
    arrays, meta = scorer_arrays.to_arrays(model._fitted())
    damage(arrays, meta)
    with pytest.raises(ancf.errors.ModelFileError, match="Load another copy"):
        ancf.SVD._from_arrays(arrays, meta)


def test_ancf_keeps_the_settings_and_vectors_of_the_training_before():
    model = ancf.ANCF(factors=4, epochs=6, warm_start=True).fit(table(0))
    chosen, start = model.history_["settings"], model._fitted().start
    model.set_params(epochs=1, learning_rate=1e-30).fit(table(1, n_users=40, n_items=25))
    open_choices = ("neighbor_weight", "serving_exponent", "neighbor_shrinkage", "half_life", "trend")
    assert {name: model.history_["settings"][name] for name in open_choices} == {
        name: chosen[name] for name in open_choices
    }
    after = model._fitted().start
    assert set(after.item_ids) > set(start.item_ids)
    at = after.item_ids.positions(start.item_ids.values)
    assert np.array_equal(
        after.numbers["vectors"].reshape(len(after.item_ids), -1)[at],
        start.numbers["vectors"].reshape(len(start.item_ids), -1),
    )
    model.partial_fit(table(2, n=10))
    assert np.array_equal(model._fitted().start.numbers["vectors"], after.numbers["vectors"])


def test_ancf_without_it_keeps_nothing_more_and_begins_anew():
    model = ancf.ANCF(factors=4, epochs=2).fit(table(0))
    before = model.to_bytes()
    assert model._fitted().start is None
    assert model.fit(table(1)).fit(table(0)).to_bytes() == before


def test_ancf_refuses_another_shape_and_options_that_have_no_start():
    model = ancf.ANCF(factors=4, epochs=2, warm_start=True).fit(table(0))
    with pytest.raises(ancf.InvalidParameterError, match=r"warm_start: factors was 4 .* and is 5"):
        model.set_params(factors=5).fit(table(0))
    with pytest.raises(ancf.InvalidParameterError, match="warm_start=True has no effect here"):
        ancf.ANCF(loss="bpr", warm_start=True).fit(table(0))
