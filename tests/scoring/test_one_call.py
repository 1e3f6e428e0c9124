"""The short paths of one person give what the general way gives."""

import uuid
from dataclasses import replace

import numpy as np
import pytest

import ancf
from ancf.data.csr import ItemSets
from ancf.scoring import scorer_arrays


def table(kind):
    rng = np.random.default_rng(4)
    make = {"int": int, "str": lambda n: f"{n:02d}", "uuid": lambda n: uuid.UUID(int=int(n))}[kind]
    users, items = rng.integers(0, 20, 200), rng.integers(0, 25, 200)
    return ancf.Interactions.from_ids(user=[make(user) for user in users], item=[make(item) for item in items])


@pytest.mark.parametrize("kind", ["int", "str", "uuid"])
@pytest.mark.parametrize("seen", [True, False])
def test_one_person_gets_on_the_short_path_what_the_general_way_gives(kind, seen):
    model = ancf.ItemKNN(neighbors=8).fit(table(kind))
    for user in model.user_ids_.values.tolist():
        short = model.recommend(user, N=6, filter_already_liked_items=seen)
        general = model.recommend([user], N=6, filter_already_liked_items=seen)
        assert short.ids.tolist() == general.ids[0].tolist()
        assert short.scores.tobytes() == np.ascontiguousarray(general.scores[0]).tobytes()
        assert short.to_pandas().equals(general.to_pandas())


@pytest.mark.parametrize("kind", ["int", "str"])
@pytest.mark.parametrize("seen", [True, False])
def test_one_history_gets_on_the_short_path_what_the_general_way_gives(kind, seen):
    model = ancf.ItemKNN(neighbors=8).fit(table(kind))
    history = model.item_ids_.values[[3, 9, 1]].tolist()
    short = model.recommend_for_history(history, N=6, filter_already_liked_items=seen)
    general = model.recommend_for_history([tuple(history)], N=6, filter_already_liked_items=seen)
    repeated = model.recommend_for_history(history + history[:1], N=6, filter_already_liked_items=seen)
    assert short.to_pandas().equals(general.to_pandas())
    assert short.to_pandas().equals(repeated.to_pandas())


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"repeat_weight": 0.0}, {"neighbors": 0, "repeat_weight": 0.0}, {"neighbors": 0}]
)
def test_a_history_folded_in_by_the_core_has_the_bits_of_every_other_way(options, seen):
    fresh = ancf.ANCF(factors=7, epochs=2, random_state=3, num_threads=1, **options)
    model = fresh.clone().fit(table("str"))
    raw = model.item_ids_.values
    for size in (1, 3, 12):
        history = raw[np.random.default_rng(size).permutation(len(raw))[:size]].tolist()
        short = model.recommend_for_history(history, N=25, filter_already_liked_items=seen)
        general = model.recommend_for_history([history], N=25, filter_already_liked_items=seen)
        assert len(short.ids) == len(raw) - size * seen
        assert short.scores.tobytes() == np.ascontiguousarray(general.scores[0]).tobytes()
        assert short.to_pandas().equals(general.to_pandas())
        for item, score in list(zip(short.ids.tolist(), short.scores.tolist(), strict=True))[:3]:
            assert model.explain(history=history, item=item).score == score
    # A user of the training table whose purchases are all of one time and made once is what the bare history is.
    bought = raw[[2, 3, 11]].tolist()
    once = ancf.Interactions.from_ids(user=["u"] * 3 + ["v"] * len(raw), item=bought + raw.tolist())
    model = fresh.fit(once)
    known = model.recommend("u", N=9, filter_already_liked_items=seen)
    bare = model.recommend_for_history(bought, N=9, filter_already_liked_items=seen)
    assert known.ids.tolist() == bare.ids.tolist()
    assert known.scores.tobytes() == bare.scores.tobytes()
    assert model.predict("u", bare.ids.tolist()).tobytes() == bare.scores.tobytes()


def test_the_short_path_checks_what_the_general_way_checks():
    model = ancf.ItemKNN().fit(table("int"))
    with pytest.raises(ancf.InvalidParameterError, match="on_unknown"):
        model.recommend(1, on_unknown="perhaps")
    with pytest.raises(ancf.InvalidParameterError, match="N is"):
        model.recommend_for_history([1], N=0)
    with pytest.raises(ancf.UnknownItemError, match="999"):
        model.recommend_for_history([1, 999])
    with pytest.raises(ancf.UnknownUserError, match="True"):
        model.recommend(True)


@pytest.mark.parametrize(
    "odd", [{"N": True}, {"N": 0}, {"N": -3}, {"N": "3"}, {"filter_already_liked_items": 1}, {"users": 3.5}]
)
def test_what_the_short_path_does_not_read_is_said_as_the_general_way_says_it(odd):
    model = ancf.ItemKNN().fit(table("int"))
    asked = {"users": 3, **odd}
    with pytest.raises((ancf.InvalidParameterError, ancf.UnknownUserError)) as general:
        model.recommend(**{**asked, "users": [asked["users"]]})
    with pytest.raises(type(general.value)) as short:
        model.recommend(**asked)
    assert str(short.value) == str(general.value)


def test_numbers_of_numpy_take_the_short_path():
    model = ancf.ItemKNN().fit(table("int"))
    wanted = model.recommend(3, N=4).to_pandas()
    for user in (np.int64(3), np.int8(3)):
        assert model.recommend(user, N=np.int64(4)).to_pandas().equals(wanted)
    found = model._scorer.ranker.top_n_of_id(model.user_ids_.native_index, 3, 4, True)
    assert found[1].flags.owndata
    assert found[1].tobytes() == model.recommend(3, N=4).scores.tobytes()
    refused = [
        (99, 4, True),
        (True, 4, True),
        (3, 0, True),
        (3, True, True),
        (3, 4, 1),
        ("3", 4, True),
        (None, 4, True),
    ]
    assert [model._scorer.ranker.top_n_of_id(model.user_ids_.native_index, *each) for each in refused] == [None] * 7


def test_factor_attention_is_ranked_predicted_and_explained_alike():
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((5, 6)).astype(np.float32), rng.standard_normal((9, 6)).astype(np.float32)
    sharpness = rng.standard_normal(6).astype(np.float32)
    model = ancf.from_factors(users, items)
    model._scorer = replace(model._scorer, head="factor_attention", sharpness=sharpness)
    product = users[:, None, :] * items[None]
    weight = np.exp(sharpness * product)
    exact = (weight * product).sum(axis=2) / weight.sum(axis=2)
    assert np.allclose([model.predict(user, range(9)) for user in range(5)], exact, atol=1e-5)
    why = model.explain(2, 3)
    assert why.total == pytest.approx(why.score, rel=1e-5)
    again = type(model)._from_arrays(*scorer_arrays.to_arrays(model._scorer))
    assert again.recommend_all(N=9).to_pandas().equals(model.recommend_all(N=9).to_pandas())
    with pytest.raises(ancf.InvalidParameterError, match="head 'factor_attention'"):
        model.export("nowhere")


def test_a_history_that_is_not_what_was_seen_survives_the_state():
    data = table("str")
    model = ancf.ItemKNN().fit(data)
    indptr, items = model._scorer.seen
    model._scorer = replace(model._scorer, seen=ItemSets(np.zeros(len(indptr), np.int64), items[:0]), purchases=None)
    again = ancf.ItemKNN._from_arrays(*scorer_arrays.to_arrays(model._scorer))
    assert again.recommend_all(N=5).to_pandas().equals(model.recommend_all(N=5).to_pandas())


@pytest.mark.parametrize(
    "lost", ["item_vectors", "seen.indptr", "history.weights", "neighbours.values", "user_ids.bytes"]
)
def test_a_state_without_one_of_its_parts_is_refused(lost):
    arrays, meta = scorer_arrays.to_arrays(ancf.ItemKNN().fit(table("str"))._scorer)
    del arrays[lost]
    with pytest.raises((ancf.ModelFileError, ancf.InvalidDataError)):
        ancf.ItemKNN._from_arrays(arrays, meta)


@pytest.mark.parametrize(
    "question",
    [{"item": ["i1", "i2"]}, {"item": []}, {"user": ["u1"]}, {"user": ["u1", "u2"]}],
    ids=["two items", "no item", "a list of one user", "two users"],
)
def test_an_explanation_is_of_one_item_for_one_user(question):
    model = ancf.ItemKNN().fit(table("str"))
    one = {"user": model.user_ids_.values[0], "item": model.item_ids_.values[0]}
    with pytest.raises(ancf.InvalidDataError, match=r"explain: (item|user) is .*; give one id\."):
        model.explain(**{**one, **question})


@pytest.mark.parametrize("options", [{}, {"loss": "bce"}], ids=["softmax", "network"])
@pytest.mark.parametrize("lost", ["item_vectors", "user_vectors", "seen.items", "seen.indptr"])
def test_a_file_without_one_of_its_arrays_says_which(options, lost):
    arrays, meta = scorer_arrays.to_arrays(ancf.ANCF(factors=4, epochs=1, **options).fit(table("int"))._scorer)
    del arrays[lost]
    with pytest.raises(ancf.ModelFileError, match=f"'{lost}' is missing. The file is damaged"):
        ancf.ANCF._from_arrays(arrays, meta)
