"""Heads beyond the inner product, the users' shift and the link: the same numbers by every way."""

import numpy as np
import pytest

import ancf
from ancf import _native
from ancf.errors import InvalidDataError, InvalidParameterError


def factors(n_users=40, n_items=300, d=8, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_users, d), np.float32), rng.standard_normal((n_items, d), np.float32), rng


def served(**parts):
    """A model with these parts of ``_install`` besides its vectors."""
    users, items, rng = factors()
    data = ancf.Interactions.from_ids(user=rng.integers(0, 40, 200), item=rng.integers(0, 300, 200))
    model = ancf.from_factors(users, items, interactions=data)
    model._install(
        user_ids=model.user_ids_,
        item_ids=model.item_ids_,
        item_names=None,
        seen=model._seen,
        item_vectors=items,
        user_vectors=users,
        **parts,
    )
    return model


def heads():
    _, items, rng = factors()
    sharpness, bias = rng.standard_normal(8, np.float32), rng.standard_normal(len(items), np.float32)
    yield {}
    yield {"head": "factor_attention", "sharpness": sharpness}
    yield {"head": "factor_attention", "sharpness": sharpness, "item_bias": bias}


@pytest.mark.parametrize("head", list(heads()), ids=["inner", "attention", "attention with bias"])
def test_a_shift_and_a_link_change_scores_and_never_the_order(head):
    shift = np.linspace(-3, 3, 40, dtype=np.float32)
    plain, shown = served(**head), served(**head, user_shift=shift, link="sigmoid")
    before, after = plain.recommend_all(N=20), shown.recommend_all(N=20)
    np.testing.assert_array_equal(before[0], after[0])
    wanted = 1 / (1 + np.exp(-(before[1].astype(np.float64) + shift[:, None])))
    np.testing.assert_allclose(after[1], wanted, rtol=1e-6)  # float32 against float64


@pytest.mark.parametrize("head", list(heads()), ids=["inner", "attention", "attention with bias"])
def test_every_way_to_a_score_gives_the_same_bits(head, tmp_path):
    model = served(**head, user_shift=np.linspace(-3, 3, 40, dtype=np.float32), link="sigmoid")
    ids, scores = model.recommend_all(N=20)
    for user in range(0, 40, 7):
        one = model.recommend(user, N=20)
        np.testing.assert_array_equal(one[0], ids[user])
        np.testing.assert_array_equal(one[1], scores[user])
        np.testing.assert_array_equal(model.predict(user, one[0]), one[1])
    model.recommend_all(N=20, out=tmp_path / "recs.parquet")
    import pyarrow.parquet as pq

    np.testing.assert_array_equal(pq.read_table(tmp_path / "recs.parquet")["score"].to_numpy(), scores.ravel())
    model.save(tmp_path / "model.ancf")
    again = ancf.load(tmp_path / "model.ancf").recommend_all(N=20)
    np.testing.assert_array_equal(again[0], ids)
    np.testing.assert_array_equal(again[1], scores)


def test_a_bias_moves_items_as_one_more_factor_would():
    users, items, rng = factors()
    bias = 10 * rng.standard_normal(len(items), np.float32)
    model = served(head="factor_attention", sharpness=np.zeros(8, np.float32), item_bias=bias)
    ids, _ = model.recommend_all(N=5, filter_already_liked_items=False)
    mean = users.astype(np.float64) @ items.T / 8 + bias
    np.testing.assert_array_equal(ids, np.argsort(-mean, axis=1, kind="stable")[:, :5])


@pytest.mark.parametrize("head", list(heads())[1:], ids=["attention", "attention with bias"])
def test_an_explanation_adds_up_before_the_link(head):
    model = served(**head, user_shift=np.linspace(-3, 3, 40, dtype=np.float32), link="sigmoid")
    why = model.explain(3, 17)
    assert why.score == model.predict(3, 17)
    assert why.score == pytest.approx(1 / (1 + np.exp(-why.total)), rel=1e-5)
    assert why.to_pandas()["share"].sum() == pytest.approx(1)


def test_parts_that_do_not_belong_together_are_refused():
    _, items, _ = factors()
    sharpness, bias = np.ones(8, np.float32), np.ones(300, np.float32)
    with pytest.raises(InvalidParameterError, match="item_bias may go with it"):
        _native.Ranker(items, item_bias=bias)
    with pytest.raises(InvalidDataError, match="item biases: 299 numbers for 300 rows"):
        _native.Ranker(items, head="factor_attention", sharpness=sharpness, item_bias=bias[1:])
    with pytest.raises(InvalidDataError, match="item_bias is empty"):
        _native.Ranker(items, head="factor_attention", sharpness=sharpness, item_bias=bias[:0])
    with pytest.raises(InvalidParameterError, match='"identity" or "sigmoid"'):
        _native.Ranker(items, link="logit")
    ranker = _native.Ranker(items)
    with pytest.raises(InvalidDataError, match="shifts of users: 1 numbers for 2 rows"):
        ranker.set_users(np.ones((2, 8), np.float32), shift=np.ones(1, np.float32))
    with pytest.raises(InvalidDataError, match="finite"):
        ranker.set_users(np.ones((1, 8), np.float32), shift=np.array([np.nan], np.float32))


def test_vectors_are_not_exported_without_what_else_makes_the_score(tmp_path):
    for parts in ({"link": "sigmoid"}, {"user_shift": np.zeros(40, np.float32)}):
        with pytest.raises(InvalidParameterError, match="dense_only"):
            served(**parts).export(tmp_path)
