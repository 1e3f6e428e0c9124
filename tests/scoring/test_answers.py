"""What models answer with: lists, tables, explanations, filters, given factors, neighbors, exports."""

import sys
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ancf
from ancf import _native
from ancf.testing import histories, interactions

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def data():
    return ancf.Interactions.from_ids(
        user=["ann", "ann", "bob", "bob", "cat", "cat", "cat"],
        item=["tea", "cup", "cup", "pot", "tea", "pot", "jar"],
        item_names={"tea": "Green tea", "cup": "Cup, blue", "pot": "Tea pot"},
    )


# ---- Recommendations


def test_recommendations_unpack_index_iterate_and_print(data):
    recs = ancf.ItemKNN().fit(data).recommend(["ann", "bob"], N=2)
    ids, scores = recs
    assert ids.shape == scores.shape == (2, 2)
    assert scores.dtype == np.float32
    assert recs[0].tolist() == ids.tolist()
    assert np.array_equal(recs[-1], scores)
    rows = list(recs.rows())
    assert [(row.user_id, row.rank) for row in rows] == [("ann", 1), ("ann", 2), ("bob", 1), ("bob", 2)]
    assert all(isinstance(row.score, float) for row in rows)
    assert "Tea pot" in repr(recs)
    assert "item_id" in recs._repr_html_()
    with pytest.raises(IndexError, match="ids"):
        recs[2]


def test_a_table_is_the_same_in_pandas_and_arrow(data):
    recs = ancf.Popular().fit(data).recommend_all(N=3)
    table, arrow = recs.to_pandas(), recs.to_arrow()
    assert arrow.column_names == list(table.columns) == ["user_id", "item_id", "name", "score", "rank", "source"]
    # What has no name is None in both; pandas' own comparison takes NaN and None for the same.
    assert arrow.to_pandas().astype(object).equals(table.astype(object))


def test_uuids_become_text_in_arrow():
    ids = [uuid.UUID(int=n) for n in range(3)]
    model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 1, 2], item=ids))
    assert model.recommend([2], N=2).to_arrow()["item_id"].to_pylist() == [str(ids[0]), str(ids[1])]


def test_no_recommendations_print_as_such(data):
    model = ancf.Popular().fit(data)
    empty = model.recommend("ann", filter_items=["pot", "jar"])
    assert "no recommendations" in repr(empty)
    assert len(empty.to_pandas()) == 0
    assert model.recommend([], N=3).ids.shape == (0, 3)


def test_numpy_and_pandas_ids_are_taken_like_plain_ones(data):
    import pandas as pd

    model = ancf.ItemKNN().fit(data)
    expected = model.recommend(["ann", "bob"], N=2).ids.tolist()
    for form in (np.array(["ann", "bob"]), np.array(["ann", "bob"], object), pd.Series(["ann", "bob"]), ("ann", "bob")):
        assert model.recommend(form, N=2).ids.tolist() == expected
    assert model.recommend(pd.Categorical(["ann", "bob"]), N=2).ids.tolist() == expected
    assert model.recommend(np.str_("ann"), N=2).ids.tolist() == expected[0]
    numbers = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 2], item=[5, 6]))
    for one in (1, np.int64(1), np.int8(1), np.array(1)):
        assert numbers.recommend(one).ids.tolist() == [6]


@pytest.mark.parametrize("missing", [None, float("nan"), -1])
def test_a_missing_id_is_an_unknown_user_and_never_a_position(missing):
    model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 2], item=[5, 6]))
    with pytest.raises(ancf.UnknownUserError):
        model.recommend(missing)
    with pytest.raises(ancf.UnknownUserError):
        model.recommend([1, missing])
    with pytest.raises(ancf.UnknownItemError):
        model.predict(1, missing)


def test_an_id_of_the_other_kind_is_explained():
    model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[17850], item=["a"]))
    with pytest.raises(ancf.UnknownUserError, match="17850 is known"):
        model.recommend("17850")
    with pytest.raises(ancf.InvalidDataError, match="'b'"):
        model.recommend(17850, items=["b"])


def test_a_filter_with_a_missing_id_is_refused_and_a_new_item_passed_over(data):
    model = ancf.Popular().fit(data)
    with pytest.raises(ancf.InvalidDataError, match="missing"):
        model.recommend("ann", items=["pot", None])
    assert model.recommend("ann", items=["pot", "brand new"]).ids.tolist() == ["pot"]
    assert model.recommend("ann", filter_items="pot").ids.tolist() == ["jar"]
    with pytest.raises(ancf.InvalidDataError, match="2 lists"):
        model.recommend(["ann"], items=[["pot"], ["jar"]])
    with pytest.raises(ancf.InvalidDataError, match="'bob'"):
        model.recommend(["ann", "bob"], items={"ann": ["pot"]})
    with pytest.raises(ancf.InvalidDataError, match="mask"):
        model.recommend("ann", items=np.array([True]))


def test_unknown_users_get_the_popular_items_within_the_filters(data):
    model = ancf.ItemKNN().fit(data)
    recs = model.recommend(["nobody", "ann"], N=2, items={"nobody": ["jar"], "ann": ["pot"]}, on_unknown="popular")
    assert [row.tolist() for row in recs.ids] == [["jar"], ["pot"]]
    assert recs.to_pandas()["source"].tolist() == ["popular", "model"]


# ---- histories


def test_an_empty_history_is_an_error_or_popular_or_skipped(data):
    model = ancf.ItemKNN().fit(data)
    with pytest.raises(ancf.InvalidDataError, match="empty"):
        model.recommend_for_history([])
    assert model.recommend_for_history([], N=1, on_unknown="popular").ids.tolist() == ["cup"]
    both = model.recommend_for_history([["tea"], []], N=1, on_unknown="skip")
    assert [len(row) for row in both.ids] == [1, 0]
    with pytest.raises(ancf.InvalidDataError, match="list of item ids"):
        model.recommend_for_history("tea")


def test_weights_of_a_history_come_as_a_mapping_or_beside_it(data):
    model = ancf.ItemKNN(use_weights=True).fit(data)
    first = model.recommend_for_history({"tea": 2.0, "cup": 1.0}, N=2)
    assert first.scores.tolist() == model.recommend_for_history(["tea", "cup"], N=2, weights=[2, 1]).scores.tolist()
    assert first.scores.tolist() == model.recommend_for_history(["tea", "cup", "tea"], N=2).scores.tolist()
    with pytest.raises(ancf.InvalidDataError, match="weights"):
        model.recommend_for_history(["tea"], weights=[1, 2])
    with pytest.raises(ancf.InvalidDataError, match="finite"):
        model.recommend_for_history({"tea": float("inf")})


@given(st.data())
@QUICK
def test_histories_in_any_order_and_number_give_the_lists_of_one_at_a_time(draw):
    data = draw.draw(interactions())
    model = ancf.ItemKNN().fit(data)
    several = [draw.draw(histories(data)) for _ in range(3)]
    together = model.recommend_for_history(several, N=4)
    for history, ids, scores in zip(several, together.ids, together.scores, strict=True):
        alone = model.recommend_for_history(history[::-1], N=4)
        assert alone.ids.tolist() == ids.tolist()
        assert alone.scores.tobytes() == np.ascontiguousarray(scores).tobytes()


# ---- explanations


@given(interactions(weighted=True, kinds=("str",)))
@QUICK
def test_every_explanation_adds_up(data):
    for model in (ancf.ItemKNN(use_weights=True).fit(data), ancf.Popular(count="weight").fit(data)):
        user = model.user_ids_.values[0]
        for item in model.item_ids_.values:
            why = model.explain(user, item)
            assert why.total == pytest.approx(why.score, rel=1e-5, abs=1e-6)
            assert why.score == model.predict(user, item)


def test_an_explanation_names_the_purchases_and_the_strongest_comes_first(data):
    why = ancf.ItemKNN().fit(data).explain("ann", "pot")
    assert [reason.name for reason in why] == ["Cup, blue", "Green tea"] or len(why) == 2
    assert why.reasons[0].contribution >= why.reasons[1].contribution
    assert "Tea pot" in repr(why)
    assert "Green tea" in repr(why)
    table = why.to_pandas()
    assert table["share"].sum() == pytest.approx(1.0)
    history = ancf.ItemKNN().fit(data).explain(history=["tea", "cup"], item="pot")
    assert history.score == why.score
    with pytest.raises(ancf.InvalidParameterError, match="history="):
        ancf.ItemKNN().fit(data).explain("ann", "pot", history=["tea"])


# ---- given factors


def test_given_factors_rank_by_their_inner_product():
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((20, 8)).astype(np.float32), rng.standard_normal((50, 8)).astype(np.float32)
    ids, scores = ancf.from_factors(users, items).recommend_all(N=50)
    exact = users.astype(np.float64) @ items.T.astype(np.float64)
    assert np.allclose(np.take_along_axis(exact, ids, 1), scores, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_given_factors_leave_out_what_the_interactions_hold():
    data = ancf.Interactions.from_ids(user=["a", "a", "b"], item=["x", "y", "y"])
    model = ancf.from_factors(np.ones((2, 1)), np.array([[3.0], [2.0]]), data)
    assert [row.tolist() for row in model.recommend(["a", "b"]).ids] == [[], ["x"]]
    numbered = ancf.Interactions.from_ids(user=[1, 5], item=[0, 7])
    model = ancf.from_factors(np.ones((3, 1)), np.array([[3.0], [2.0], [1.0]]), numbered)
    assert [row.tolist() for row in model.recommend([0, 1, 2], N=2).ids] == [[0, 1], [1, 2], [0, 1]]


def test_a_history_is_folded_into_given_factors_by_least_squares():
    rng = np.random.default_rng(3)
    items = rng.standard_normal((40, 5))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    model = ancf.from_factors(np.ones((1, 5)), items)
    ids, scores = model.recommend_for_history({7: 2.0, 9: 1.0}, N=40, filter_already_liked_items=False)
    matrix = items.T @ items / 40 + 2 * np.outer(items[7], items[7]) + np.outer(items[9], items[9])
    vector = np.linalg.solve(matrix + np.eye(5) * np.trace(matrix) / 5000, 2 * items[7] + items[9])
    assert np.allclose(scores, (items @ vector)[ids], atol=1e-5)
    assert model.recommend_for_history([7], N=1, filter_already_liked_items=False).ids.tolist() == [7]


@pytest.mark.parametrize(
    ("users", "items", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "3 columns"),
        (np.ones(3), np.ones((2, 3)), "shape"),
        (np.array([[1.0, np.nan]]), np.ones((2, 2)), "row 0"),
        (np.ones((2, 2)), np.array([[1.0, 1.0], [np.inf, 1.0]]), "row 1"),
        ([["a"]], np.ones((2, 2)), "numbers"),
        (np.empty((0, 3)), np.ones((2, 3)), "at least one row"),
    ],
)
def test_factors_that_do_not_fit_are_refused(users, items, said):
    with pytest.raises(ancf.InvalidDataError, match=said):
        ancf.from_factors(users, items)


def test_factors_and_ids_must_agree_in_number():
    with pytest.raises(ancf.InvalidDataError, match="item_ids"):
        ancf.from_factors(np.ones((1, 1)), np.ones((2, 1)), item_ids=["a"])
    data = ancf.Interactions.from_ids(user=["a", "b"], item=["x", "y"])
    with pytest.raises(ancf.InvalidDataError, match="user_ids="):
        ancf.from_factors(np.ones((3, 1)), np.ones((2, 1)), data)
    with pytest.raises(ancf.InvalidParameterError, match="no fit"):
        ancf.from_factors(np.ones((3, 1)), np.ones((2, 1))).fit(data)


# ---- item-kNN


@given(interactions(weighted=True), st.sampled_from([0.0, 2.5]), st.booleans(), st.sampled_from([1, 3, 100]))
@QUICK
def test_neighbors_equal_the_dense_cosine(data, shrinkage, use_weights, k):
    model = ancf.ItemKNN(neighbors=k, shrinkage=shrinkage, use_weights=use_weights).fit(data)
    dense = np.zeros((len(model.user_ids_), len(model.item_ids_)))
    indptr, items, weights = data.compact().to_csr()
    dense[np.repeat(np.arange(len(dense)), np.diff(indptr)), items] = weights if use_weights else 1.0
    size = np.sqrt((dense**2).sum(axis=0))
    cosine = dense.T @ dense / (np.outer(size, size) + shrinkage)
    np.fill_diagonal(cosine, 0)
    indptr, targets, values = model._fitted().neighbors
    sources = np.repeat(np.arange(len(size)), np.diff(indptr))
    for item in range(len(size)):
        part = targets == item
        best = np.sort(cosine[item][cosine[item] > 0])[::-1][:k]
        assert np.allclose(np.sort(values[part])[::-1], best, rtol=1e-5)
        assert np.allclose(values[part], cosine[item][sources[part]], rtol=1e-5)


@pytest.mark.parametrize("options", [{"neighbors": 0}, {"neighbors": 1.5}, {"shrinkage": -1}, {"shrinkage": "much"}])
def test_options_that_make_no_sense_are_refused(data, options):
    with pytest.raises(ancf.InvalidParameterError, match=next(iter(options))):
        ancf.ItemKNN(**options).fit(data)


def test_similarity_can_weigh_users_and_keep_the_item_itself(data):
    indptr, items, weights = data.to_csr()
    offsets, neighbors, values = _native.item_neighbors(
        indptr, items, weights, data.n_items, 10, user_power=1.0, source_power=0.0, target_power=0.0, keep_diagonal=True
    )
    dense = np.zeros((3, 4))
    dense[np.repeat(np.arange(3), np.diff(indptr)), items] = 1
    expected = dense.T @ (dense / dense.sum(axis=1, keepdims=True))
    found = np.zeros((4, 4))
    found[np.repeat(np.arange(4), np.diff(offsets)), neighbors] = values
    assert np.allclose(found, expected)


# ---- what is alike


def test_similar_items_and_users_equal_the_dense_cosine():
    rng = np.random.default_rng(5)
    users, items = rng.standard_normal((12, 4)), rng.standard_normal((15, 4))
    model = ancf.from_factors(users, items)
    for table, ask, column in ((items, model.similar_items, "item_id"), (users, model.similar_users, "user_id")):
        units = table / np.linalg.norm(table, axis=1, keepdims=True)
        for metric, scores in (("cosine", units @ units.T), ("inner", table @ table.T)):
            every = ask(list(range(len(table))), N=5, metric=metric)
            for at in range(len(table)):
                order = np.argsort(-scores[at])
                assert every.ids[at].tolist() == [other for other in order if other != at][:5]
                assert np.allclose(every.scores[at], scores[at][every.ids[at]], atol=1e-5)
        assert list(every.to_pandas().columns) == [f"query_{column}", column, "score", "rank", "source"]
    with pytest.raises(ancf.InvalidParameterError, match="metric"):
        model.similar_items(0, metric="angle")
    with pytest.raises(ancf.UnknownItemError, match="99"):
        model.similar_items(99)


def test_item_knn_finds_similar_items_and_users_by_purchases(data):
    model = ancf.ItemKNN().fit(data)
    assert model.similar_items("tea", N=9).ids.tolist() == ["jar", "cup", "pot"]
    ids, scores = model.similar_users("ann", N=9)
    assert ids.tolist() == ["bob", "cat"]
    assert scores.tolist() == pytest.approx([1 / 2, 1 / np.sqrt(6)])
    assert model.similar_users("ann", metric="inner").scores.tolist() == [1, 1]


# ---- export


def test_exported_vectors_give_the_scores_of_the_model(tmp_path):
    rng = np.random.default_rng(6)
    model = ancf.from_factors(rng.standard_normal((4, 3)), rng.standard_normal((5, 3)), item_ids=list("abcde"))
    written = model.export(tmp_path / "vectors")
    users, items = np.load(tmp_path / "vectors/user_vectors.npy"), np.load(tmp_path / "vectors/item_vectors.npy")
    assert np.load(tmp_path / "vectors/item_ids.npy").tolist() == list("abcde")
    assert np.allclose(users @ items.T, [model.predict(user, list("abcde")) for user in range(4)], atol=1e-6)
    assert all(path.exists() for path in written)


def test_exported_arrow_files_hold_ids_and_vectors(tmp_path):
    import pyarrow as pa

    model = ancf.from_factors(np.eye(2), np.ones((3, 2)), item_ids=["a", "b", "c"])
    written = model.export(tmp_path, "arrow")
    with pa.OSFile(str(written[0])) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.to_pylist()[0] == {"id": "a", "vector": [1.0, 1.0]}


def test_an_exported_usearch_index_finds_the_items_of_the_model(tmp_path):
    index_type = pytest.importorskip("usearch.index").Index
    rng = np.random.default_rng(7)
    model = ancf.from_factors(rng.standard_normal((4, 8)), rng.standard_normal((60, 8)))
    model.export(tmp_path, "usearch")
    found = index_type.restore(str(tmp_path / "items.usearch")).search(model._fitted().user_vectors, 5)
    assert [set(row) for row in found.keys] == [set(row) for row in model.recommend_all(N=5).ids]


def test_a_model_is_not_exported_by_half(data, tmp_path, monkeypatch):
    with pytest.raises(ancf.InvalidParameterError, match="sparse item-item part"):
        ancf.ItemKNN().fit(data).export(tmp_path)
    with pytest.raises(ancf.InvalidParameterError, match="npy, arrow, usearch"):
        ancf.Popular().fit(data).export(tmp_path, "csv")
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ancf.MissingExtraError, match=r"ancf\[usearch\]"):
        ancf.from_factors(np.eye(2), np.eye(2)).export(tmp_path, "usearch")
