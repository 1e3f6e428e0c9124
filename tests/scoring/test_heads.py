"""Heads beyond the inner product, the users' shift and the link: the same numbers by every way."""

from dataclasses import replace

import numpy as np
import pytest

import ancf
from ancf import _native
from ancf.data.csr import Csr
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.scoring.parts import Layers, TargetAttention


def factors(n_users=40, n_items=300, d=8, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_users, d), np.float32), rng.standard_normal((n_items, d), np.float32), rng


def served(**parts):
    """A model with these parts of its scorer besides its vectors."""
    users, items, rng = factors()
    data = ancf.Interactions.from_ids(user=rng.integers(0, 40, 200), item=rng.integers(0, 300, 200))
    model = ancf.from_factors(users, items, interactions=data)
    model._scorer = replace(model._scorer, **parts)
    return model


def heads():
    _, items, rng = factors()
    sharpness, bias = rng.standard_normal(8, np.float32), rng.standard_normal(len(items), np.float32)
    yield {}
    yield {"head": "factor_attention", "sharpness": sharpness}
    yield {"head": "factor_attention", "sharpness": sharpness, "item_bias": bias}
    for exponent in (0.5, 1.0, 0.3):
        yield {
            "head": "target_attention",
            "target": TargetAttention(*rng.standard_normal((2, len(items), 4), np.float32), 3 * bias, exponent),
            "history": histories(rng),
            "item_bias": None if exponent == 0.5 else bias,
        }
    yield {"head": "layers", "layers": Layers(3, [5, 4], rng.standard_normal(29, np.float32))}


def histories(rng):
    lengths = rng.integers(0, 9, 40)
    items = np.concatenate([np.sort(rng.choice(300, n, replace=False)) for n in lengths]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Csr(indptr, items, rng.standard_normal(len(items), np.float32))


def target_scores(users, items, head):
    """Every score of a target attention, in float64."""
    keys, queries, logits, exponent = head["target"]
    indptr, columns, additions = (
        part.astype(np.float64) if part.dtype == np.float32 else part for part in head["history"]
    )
    users, items = users.astype(np.float64), items.astype(np.float64)
    scores = users @ items.T
    for user in range(len(users)):
        had = columns[indptr[user] : indptr[user + 1]]
        if len(had):
            logit = (logits[had] + additions[indptr[user] : indptr[user + 1]])[:, None]
            weights = np.exp(logit + keys[had].astype(np.float64) @ queries.T)
            scores[user] += (weights * (items[had] @ items.T)).sum(0) / weights.sum(0) ** exponent
    return scores if head["item_bias"] is None else scores + head["item_bias"]


NAMES = ["inner", "attention", "attention with bias", "target", "target softmax", "target odd", "layers"]


@pytest.mark.parametrize("head", list(heads())[3:6], ids=NAMES[3:6])
def test_target_attention_is_its_formula(head):
    model = served(**head)
    users, items, _ = factors()
    wanted = target_scores(users, items, head)
    ids, scores = model.recommend_all(N=300, filter_already_liked_items=False)
    np.testing.assert_allclose(scores, np.take_along_axis(wanted, ids, 1), rtol=1e-4, atol=1e-4)  # float32
    first_ids, first_scores, _ = model._scorer.ranker.top_n_for(users[:3], tuple_rows(head["history"], 3), None, 300)
    np.testing.assert_array_equal(first_ids, ids[:3])
    np.testing.assert_array_equal(first_scores, scores[:3])


def tuple_rows(history, n):
    indptr, items, values = history
    return indptr[: n + 1], items[: indptr[n]], values[: indptr[n]]


@pytest.mark.parametrize("head", list(heads()), ids=NAMES)
def test_a_shift_and_a_link_change_scores_and_never_the_order(head):
    shift = np.linspace(-3, 3, 40, dtype=np.float32)
    plain, shown = served(**head), served(**head, user_shift=shift, link="sigmoid")
    ids, scores = plain.recommend_all(N=20)
    shown_ids, shown_scores = shown.recommend_all(N=20)
    np.testing.assert_array_equal(ids, shown_ids)
    wanted = 1 / (1 + np.exp(-(scores.astype(np.float64) + shift[:, None])))
    np.testing.assert_allclose(shown_scores, wanted, rtol=1e-6)  # float32 against float64


@pytest.mark.parametrize("head", list(heads()), ids=NAMES)
def test_every_way_to_a_score_gives_the_same_bits(head, tmp_path):
    model = served(**head, user_shift=np.linspace(-3, 3, 40, dtype=np.float32), link="sigmoid")
    ids, scores = model.recommend_all(N=20)
    for user in range(0, 40, 7):
        one_ids, one_scores = model.recommend(user, N=20)
        np.testing.assert_array_equal(one_ids, ids[user])
        np.testing.assert_array_equal(one_scores, scores[user])
        np.testing.assert_array_equal(model.predict(user, one_ids), one_scores)
    model.recommend_all(N=20, out=tmp_path / "recs.parquet")
    import pyarrow.parquet as pq

    np.testing.assert_array_equal(pq.read_table(tmp_path / "recs.parquet")["score"].to_numpy(), scores.ravel())
    model.save(tmp_path / "model.ancf")
    again_ids, again_scores = ancf.load(tmp_path / "model.ancf").recommend_all(N=20)
    np.testing.assert_array_equal(again_ids, ids)
    np.testing.assert_array_equal(again_scores, scores)


def test_a_bias_moves_items_as_one_more_factor_would():
    users, items, rng = factors()
    bias = 10 * rng.standard_normal(len(items), np.float32)
    model = served(head="factor_attention", sharpness=np.zeros(8, np.float32), item_bias=bias)
    ids, _ = model.recommend_all(N=5, filter_already_liked_items=False)
    mean = users.astype(np.float64) @ items.T / 8 + bias
    np.testing.assert_array_equal(ids, np.argsort(-mean, axis=1, kind="stable")[:, :5])


@pytest.mark.parametrize("head", list(heads())[1:], ids=NAMES[1:])
def test_an_explanation_adds_up_before_the_link(head):
    model = served(**head, user_shift=np.linspace(-3, 3, 40, dtype=np.float32), link="sigmoid")
    why = model.explain(3, 17)
    assert why.score == model.predict(3, 17)
    assert why.score == pytest.approx(1 / (1 + np.exp(-why.total)), rel=1e-5)
    assert why.to_pandas()["share"].sum() == pytest.approx(1)


def test_parts_that_do_not_belong_together_are_refused():
    _, items, _ = factors()
    sharpness, bias = np.ones(8, np.float32), np.ones(300, np.float32)
    with pytest.raises(InvalidParameterError, match="a bias of an inner product is one more factor"):
        _native.Ranker(items, item_bias=bias)
    with pytest.raises(InvalidDataError, match="item biases: 299 numbers for 300 rows"):
        _native.Ranker(items, head="factor_attention", sharpness=sharpness, item_bias=bias[1:])
    with pytest.raises(InvalidDataError, match="item_bias is empty"):
        _native.Ranker(items, head="factor_attention", sharpness=sharpness, item_bias=bias[:0])
    table = np.ones((300, 2), np.float32)
    target = {"keys": table, "queries": table, "item_logits": bias, "attention_exponent": 0.5}
    with pytest.raises(InvalidParameterError, match="needs sharpness"):
        _native.Ranker(items, head="factor_attention", sharpness=sharpness, **target)
    none = (np.zeros(301, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    with pytest.raises(InvalidParameterError, match="neighbors do not go"):
        _native.Ranker(items, head="target_attention", neighbors=none, **target)
    with pytest.raises(InvalidParameterError, match="attention_exponent is 3"):
        _native.Ranker(items, head="target_attention", **{**target, "attention_exponent": 3.0})
    for name, wrong in (("keys", table[:-1]), ("queries", table[:, :1]), ("item_logits", bias * np.nan)):
        with pytest.raises(InvalidDataError, match=name.replace("_", " ")):
            _native.Ranker(items, head="target_attention", **{**target, name: np.ascontiguousarray(wrong)})
    numbers = np.ones(29, np.float32)
    for wrong, what in (
        ((3, [5, 4], numbers[:-1]), "28 numbers; there must be 29"),
        ((2, [5, 4], numbers), "read 7 numbers; vectors have 8"),
        ((3, [5, 0], numbers), "widths from 1"),
        ((3, [5, 4], numbers * np.nan), "number 0 is NaN"),
    ):
        with pytest.raises((InvalidDataError, InvalidParameterError), match=what):
            _native.Ranker(items, head="layers", layers=wrong)
    with pytest.raises(InvalidParameterError, match='head="layers" layers'):
        _native.Ranker(items, head="layers")
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
