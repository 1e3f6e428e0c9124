"""GMF, MLP, NeuMF and LightGCN: the core's gradients, the ranking, folding in, explanations, options."""

import numpy as np
import pytest

import ancf
from ancf import _native, reference_neural
from ancf.data.csr import Csr
from ancf.errors import DivergedError, InvalidParameterError
from ancf.testing.contract import example_table

# Small and quick; the options of a sensible model are the defaults.
QUICK = {"factors": 8, "epochs": 8, "batch_size": 64, "learning_rate": 0.03}
NETWORKS = [
    ancf.GMF(**QUICK),
    ancf.MLP(layers="8,4", **QUICK),
    ancf.NeuMF(layers="16,8,4", dropout=0.2, **QUICK),
]


@pytest.fixture(scope="module")
def data():
    return example_table()


def pairs_of(data):
    csr = data.compact().to_csr()
    return Csr(csr.indptr, csr.indices, np.ones(len(csr.indices), np.float32))


# ---- gradients: the core in float32 against the specification in float64


@pytest.mark.parametrize("shape", [(6, 0, ()), (0, 5, (8,)), (0, 5, (17, 4)), (7, 5, (16, 8, 3))])
@pytest.mark.parametrize("group", [1, 5])
def test_gradients_of_the_network_are_those_of_the_specification(data, shape, group):
    product, embedding, widths = shape
    trainer = _native.NeuralTrainer(
        pairs_of(data),
        data.n_items,
        product=product,
        embedding=embedding,
        widths=list(widths),
        epochs=5,
        batch_size=50,
        negatives=3,
        learning_rate=0.05,
        regularization=0.0,
        dropout=0.0,
        seed=3,
    )
    for epoch in range(3):  # numbers of some size, biases other than 0
        trainer.epoch(epoch)
    draws = np.random.default_rng(1)
    users, items = draws.integers(0, data.n_users, 60), draws.integers(0, data.n_items, 60 * group)
    labels = draws.integers(0, 2, 60 * group).astype(np.float32)
    found, loss = trainer.gradients(users, items, labels)
    network = reference_neural.Network(*shape)
    e_users, e_items, weights = (each.astype(np.float64) for each in trainer.parameters())
    truth, by_users, by_items, by_weights = network.loss_and_gradient(
        e_users, e_items, network.unpack(weights), np.repeat(users, group), items, labels.astype(np.float64)
    )
    assert loss == pytest.approx(truth, rel=1e-6)
    for mine, theirs in zip(found, (by_users, by_items, network.pack(by_weights)), strict=True):
        assert np.abs(mine - theirs).max() <= 1e-6 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("n_layers", [1, 3])
def test_gradients_over_the_graph_are_those_of_the_specification(data, n_layers):
    pairs = pairs_of(data)
    trainer = _native.LightGcnTrainer(
        pairs,
        data.n_items,
        factors=5,
        n_layers=n_layers,
        epochs=5,
        batch_size=100,
        learning_rate=0.05,
        regularization=0.1,
        seed=3,
    )
    for epoch in range(3):
        trainer.epoch(epoch)
    has = np.zeros((data.n_users, data.n_items))
    has[np.repeat(np.arange(data.n_users), np.diff(pairs.indptr)), pairs.indices] = 1.0
    draws = np.random.default_rng(2)
    users, items = draws.integers(0, data.n_users, 70), draws.integers(0, data.n_items, (70, 2))
    found, _ = trainer.gradients(users, items.ravel())
    e_users, e_items = (each.astype(np.float64) for each in found[:2])
    _, by_users, by_items = reference_neural.lightgcn_loss_and_gradient(
        has, n_layers, 0.1, e_users, e_items, users, items[:, 0], items[:, 1]
    )
    for mine, theirs in zip(found[2:], (by_users, by_items), strict=True):
        assert np.abs(mine - theirs).max() <= 1e-6
    served = reference_neural.propagate(has, n_layers, e_users, e_items)
    for mine, theirs in zip(trainer.state(), served, strict=False):
        assert np.allclose(mine, theirs, rtol=1e-5, atol=1e-6)


# ---- what is learned and served


@pytest.mark.filterwarnings("ignore::ancf.errors.TrainingWarning")
@pytest.mark.parametrize("model", [*NETWORKS, ancf.LightGCN(factors=8, epochs=20, batch_size=128)], ids=str)
def test_the_loss_falls_and_a_validation_table_chooses_the_epoch(model, data):
    train, validation = ancf.random_split(data, (0.8, 0.2), random_state=1)
    history = model.clone().set_params(patience=2).fit(train, validation).history_
    assert history["training_loss"][-1] < history["training_loss"][0]
    assert len(history["validation_loss"]) == len(history["ndcg@10"]) == len(history["training_loss"])
    assert history["best_epoch"] == 1 + int(np.argmax(history["ndcg@10"]))


@pytest.mark.parametrize("model", NETWORKS, ids=str)
def test_a_score_is_the_probability_of_the_specification(model, data):
    fitted = model.clone().fit(data)
    scorer = fitted._fitted()
    user, items = fitted.user_ids_[3], fitted.item_ids_.values
    vector = scorer.user_vectors[3].astype(np.float64)
    other = scorer.item_vectors.astype(np.float64)
    if scorer.layers is None:
        logits = other @ vector
    else:
        g = scorer.layers.product
        parts = [sum(scorer.layers.output(vector[g:] + row[g:])) for row in other]
        logits = np.array(parts) + other[:, :g] @ vector[:g]
    assert np.allclose(fitted.predict(user, items), 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_filters_and_blocks_of_users_give_the_order_of_the_predicted_scores(data):
    model = NETWORKS[2].clone().fit(data)
    users, some = model.user_ids_.values[1:], model.item_ids_.values[2:25:2]
    lists = model.recommend(list(users), N=4, items=list(some), filter_items=some[3])
    had = data.to_pandas().groupby("user_id")["item_id"].agg(set)
    for user, ids in zip(users, lists.ids, strict=True):
        left = [item for item in some if item != some[3] and item not in had[user]]
        scores = model.predict(user, left)
        best = [left[at] for at in np.lexsort((np.arange(len(left)), -scores))[:4]]
        assert list(ids) == best


@pytest.mark.parametrize("model", NETWORKS, ids=str)
def test_the_same_history_is_the_same_user_alone_and_among_many(model, data):
    fitted = model.clone().fit(data)
    many = fitted.recommend_for_history([["P01"], ["P05", "P02"], ["P01"]], N=5)
    alone = fitted.recommend_for_history(["P02", "P05"], N=5)
    assert many.ids[0].tolist() == many.ids[2].tolist()
    assert many.ids[1].tolist() == alone.ids.tolist()
    assert many.scores[1].tobytes() == alone.scores.tobytes()
    assert many.ids[0].tolist() != alone.ids.tolist()


def test_of_an_unknown_user_lightgcn_knows_what_each_purchase_adds(data):
    model = ancf.LightGCN(factors=8, epochs=20, batch_size=128).fit(data)
    why = model.explain(history=["P01", "P05"], item="P07")
    assert why.base == {}
    assert {reason.item_id for reason in why.reasons} == {"P01", "P05"}
    assert why.total == pytest.approx(why.score, rel=1e-5, abs=1e-6)
    known = model.explain("003", "P07")
    assert set(known.base) == {"the user's own embedding"}


@pytest.mark.parametrize("model", NETWORKS, ids=str)
def test_the_explanation_of_a_network_names_its_parts(model, data):
    fitted = model.clone().fit(data)
    why = fitted.explain("003", "P07")
    named = {"GMF": {"the product of the embeddings"}, "MLP": {"the layers"}}
    both = named["GMF"] | named["MLP"]
    assert set(why.base) == {"the bias"} | named.get(type(model).__name__, both)
    assert why.reasons == []


# ---- options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layers", "8,"),
        ("layers", ""),
        ("layers", "8,0"),
        ("layers", (8, 4)),
        ("layers", "8,5000"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("n_negatives", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("regularization", -1.0),
        ("factors", 0),
    ],
)
def test_an_option_that_makes_no_sense_is_named(option, value, data):
    with pytest.raises(InvalidParameterError, match=option):
        ancf.NeuMF(**{option: value}).fit(data)


@pytest.mark.parametrize(("option", "value"), [("n_layers", 0), ("n_layers", 1.5), ("batch_size", -1)])
def test_an_option_of_lightgcn_that_makes_no_sense_is_named(option, value, data):
    with pytest.raises(InvalidParameterError, match=option):
        ancf.LightGCN(**{option: value}).fit(data)


@pytest.mark.parametrize("model", [ancf.GMF(), ancf.NeuMF(), ancf.LightGCN()], ids=str)
def test_a_rate_that_is_too_high_says_so_and_leaves_the_model_as_it_was(model, data):
    model = model.clone().set_params(epochs=3).fit(data)
    before = model.recommend_all(N=3).to_pandas()
    with pytest.raises(DivergedError, match="learning_rate"):
        model.set_params(learning_rate=1e30, epochs=5).fit(data)
    assert model.recommend_all(N=3).to_pandas().equals(before)


def test_who_has_every_item_is_learned_from_without_negatives():
    data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])
    for model in (ancf.NeuMF(factors=4, epochs=2), ancf.LightGCN(factors=4, epochs=2)):
        assert model.fit(data).recommend(2, N=5).ids.tolist() == ["cup"]
        assert len(model.recommend(1, N=5).ids) == 0
