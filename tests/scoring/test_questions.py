"""Questions as they come: ids of the other kind, iterators, reasons of bare histories, lists of some users in files."""

import json

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.scoring import bulk, sinks


def table(*columns, text=(), **options):
    users, items = (
        [str(each) for each in part] if side in text else part for side, part in zip("ui", columns, strict=True)
    )
    return ancf.Interactions.from_ids(users, items, **options)


USERS = [k // 4 for k in range(80)]
ITEMS = [(k * k + k // 4) % 15 for k in range(80)]


@pytest.fixture(scope="module")
def model():
    return ancf.ItemKNN().fit(table(USERS, ITEMS))


@pytest.fixture(scope="module")
def timed():
    rng = np.random.default_rng(8)
    users, items, times = (
        rng.integers(0, 40, 400),
        rng.integers(0, 17, 400),
        1_700_000_000 + rng.integers(0, 10**7, 400),
    )
    data = ancf.Interactions.from_ids(
        users,
        items,
        time=times,
        item_names={item: f"thing, no. {item}" for item in range(0, 17, 2)},
        item_categories={item: f"kind\n{item % 3}" for item in range(17)},
    )
    return ancf.ANCF(factors=8, epochs=2, half_life=20.0, random_state=1).fit(data)


# ---- ids of the other kind


@pytest.mark.parametrize("text", ["u", "i", "ui"])
def test_a_test_table_of_the_other_kind_is_refused_with_an_id_that_is_known(model, text):
    test = table(USERS[:20], [(each + 1) % 15 for each in ITEMS[:20]], text=text)
    what = "users" if "u" in text else "items"
    said = (
        f'none of the {what} of the test table is known.*ids given are text, the model\'s are numbers; "[01]" is known'
    )
    with pytest.raises(ancf.InvalidDataError, match=said):
        ancf.evaluate(model, test, "recall@5")
    with pytest.raises(ancf.InvalidDataError, match=said):
        ancf.compare([ancf.Popular()], table(USERS, ITEMS), test, "recall@5")
    for each in (ancf.Popular(), ancf.ItemKNN(), ancf.ANCF(factors=2, epochs=1)):
        with pytest.raises(ancf.InvalidDataError, match=f"none of the {what} of the validation table"):
            each.fit(table(USERS, ITEMS), test)
        assert each._scorer is None
    ids = {"user_ids": range(20), "item_ids": range(15)}
    with pytest.raises(ancf.InvalidDataError, match=f"none of the {what} of interactions"):
        ancf.from_factors(np.ones((20, 2)), np.ones((15, 2)), test, **ids)


def test_numbers_given_to_a_model_of_text_are_refused_too():
    model = ancf.ItemKNN().fit(table(USERS, ITEMS, text="ui"))
    with pytest.raises(
        ancf.InvalidDataError, match='the ids given are numbers, the model\'s are text; 0 is known as "0"'
    ):
        ancf.evaluate(model, table(USERS, ITEMS))


def test_unknown_users_and_items_are_counted_and_printed(model):
    test = table([0, 1, 900, 901], [7, 800, 801, 3])
    result = ancf.evaluate(model, test, "recall@5")
    assert (result.n_users, result.n_unknown_users, result.n_unknown_items) == (2, 2, 2)
    assert "2 more were not in training" in repr(result)
    assert "2 test items were not in training" in repr(result)
    both = repr(ancf.compare([ancf.Popular(), ancf.ItemKNN()], table(USERS, ITEMS), test, "recall@5"))
    assert "2 test users were not in training; 2 test items were not in training" in both
    known = ancf.evaluate(model, table([0, 1], [7, 8]), "recall@5")
    assert (known.n_unknown_users, known.n_unknown_items) == (0, 0)
    assert "not in training" not in repr(known)


def test_nobody_of_the_other_kind_is_served_as_a_stranger(model):
    for way in ("popular", "skip"):
        with pytest.raises(ancf.UnknownUserError, match='"3" is known as 3'):
            model.recommend(["3", "x"], on_unknown=way)
        with pytest.raises(ancf.UnknownItemError, match='"3" is known as 3'):
            model.recommend_for_history(["3"], on_unknown=way)
        assert model.recommend(["x"], on_unknown=way).to_pandas()["source"].eq("popular").all()


# ---- iterators


def test_what_can_be_read_once_is_read_whole(model):
    cart = [3, 7, 9]
    expected = model.recommend_for_history(cart, N=4, weights=[1, 2, 3]).to_pandas()
    for once in (
        iter,
        lambda values: map(int, values),
        lambda values: (each for each in values),
        lambda v: dict.fromkeys(v).keys(),
    ):
        assert model.recommend_for_history(once(cart), N=4, weights=iter([1, 2, 3])).to_pandas().equals(expected)
    several = model.recommend_for_history([[3], [7], [9]], N=4).to_pandas()
    assert model.recommend_for_history(([each] for each in cart), N=4).to_pandas().equals(several)
    assert model.recommend_for_history((iter([each]) for each in cart), N=4).to_pandas().equals(several)
    users = model.recommend([1, 2, 3], N=4).to_pandas()
    assert model.recommend(iter([1, 2, 3]), N=4).to_pandas().equals(users)
    assert model.recommend_all(N=4, users=iter([1, 2, 3])).to_pandas().equals(users)
    pairs = model.predict([1, 2], [3, 4]).tolist()
    assert model.predict(iter([1, 2]), iter([3, 4])).tolist() == pairs
    alike = model.similar_items([3, 4], N=2).to_pandas()
    assert model.similar_items(iter([3, 4]), N=2).to_pandas().equals(alike)
    assert len(model.recommend_for_history(iter([3]), N=2).ids) == 2


def test_models_metrics_and_cut_offs_may_be_iterators():
    train, test = table(USERS, ITEMS), table([0, 1], [7, 8])
    found = ancf.compare(
        iter([ancf.Popular(), ancf.ItemKNN()]), train, test, iter(["recall", "ndcg@3"]), k=iter([1, 2])
    )
    assert list(found) == ["Popular", "ItemKNN"]
    assert [list(each) for each in found.values()] == [["recall@1", "recall@2", "ndcg@3"]] * 2


def test_times_and_weights_may_be_iterators(timed):
    expected = timed.recommend_for_history([1, 2, 3], N=4, times=[1, 10**6, 2 * 10**6]).to_pandas()
    assert timed.recommend_for_history([1, 2, 3], N=4, times=iter([1, 10**6, 2 * 10**6])).to_pandas().equals(expected)
    both = timed.recommend_for_history([[1, 2], [3]], N=4, times=(iter(row) for row in [[1, 10**7], [5]]))
    assert both.to_pandas().equals(timed.recommend_for_history([[1, 2], [3]], N=4, times=[[1, 10**7], [5]]).to_pandas())


# ---- reasons of bare histories


def test_the_reasons_of_a_history_are_those_of_its_list(timed):
    history, times, weights = [3, 5, 8, 11], [1_700_000_000, 1_701_000_000, 1_702_000_000, 1_709_000_000], [1, 2, 1, 3]
    scores = set()
    for options in ({}, {"times": times}, {"weights": weights}, {"times": times, "weights": weights}):
        listed = timed.recommend_for_history(history, N=9, **options, filter_already_liked_items=False)
        for item, score in zip(listed.ids.tolist(), listed.scores.tolist(), strict=True):
            why = timed.explain(history=history, item=item, **options)
            assert why.score == score
            assert why.total == pytest.approx(score, rel=1e-5, abs=1e-6)
            scores.add(score)
    assert len(scores) > 9 * 2


def test_reasons_ignore_the_unknown_as_lists_do(timed):
    listed = timed.recommend_for_history([3, 999], N=1, on_unknown="skip")
    why = timed.explain(history=[3, 999], item=listed.ids[0], on_unknown="skip")
    assert why.score == listed.scores[0]
    with pytest.raises(ancf.UnknownItemError, match="999"):
        timed.explain(history=[3, 999], item=1)
    popular = timed.recommend_for_history([999], N=1, on_unknown="popular")
    why = timed.explain(history=[999], item=popular.ids[0], on_unknown="popular")
    assert (why.score, why.base, why.reasons) == (popular.scores[0], {"popularity": popular.scores[0]}, [])
    assert timed.explain(777, popular.ids[0], on_unknown="popular").score == popular.scores[0]
    with pytest.raises(ancf.InvalidDataError, match="no known item"):
        timed.explain(history=[999], item=1, on_unknown="skip")
    with pytest.raises(ancf.InvalidParameterError, match="times= belongs to history="):
        timed.explain(3, 1, times=[1])
    with pytest.raises(ancf.InvalidDataError, match="one history; 2 were given"):
        timed.explain(history=[[3], [5]], item=1)


WRONG_HISTORIES = {
    "weights that are text": ({"history": [1, 2], "weights": ["x", 1]}, "weights of history 0.*'x'"),
    "a line of a cart": ({"history": [{"item_id": 1, "qty": 1}]}, "history 0 is a line of a cart"),
    "weights of a mapping": ({"history": {1: 1.0}, "weights": [1]}, "Leave weights= out"),
    "times of one of two": ({"history": [[1], [2]], "times": [[5]]}, "times: 1 lists for 2 histories"),
    "weights of one of two": ({"history": [[1], [2]], "weights": [[5]]}, "weights: 1 lists for 2 histories"),
    "one weight": ({"history": [1, 2], "weights": 3}, "weights is 3"),
    "one time": ({"history": [1, 2], "times": "2024-01-01"}, "times is '2024-01-01'"),
    "times that are words": ({"history": [1], "times": ["soon"]}, "times: 'soon' at position 0 of history 0"),
    "a table": (
        {"history": pd.DataFrame({"item": [1], "qty": [2]})},
        "history: a table with the columns 'item', 'qty'",
    ),
    "an id among histories": ({"history": [[1], 2]}, "history 1 is 2"),
    "a history among ids": ({"history": [1, [2]]}, "history 0 holds"),
    "a set with weights": ({"history": {1, 2}, "weights": [1, 2]}, "a set, which has no order"),
}


@pytest.mark.parametrize("case", WRONG_HISTORIES)
def test_a_history_that_cannot_be_read_is_refused_in_words(timed, case):
    options, said = WRONG_HISTORIES[case]
    with pytest.raises(ancf.InvalidDataError, match=said):
        timed.recommend_for_history(**options)


def test_a_sparse_row_is_refused_with_the_way_to_its_ids(timed):
    sparse = pytest.importorskip("scipy.sparse")
    row = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [3, 5])), shape=(1, 17))
    with pytest.raises(ancf.InvalidDataError, match=r"model\.item_ids_\.values\[row\.indices\]"):
        timed.recommend_for_history(row)
    ids = timed.item_ids_.values[row.indices]
    assert timed.recommend_for_history(ids, N=3).ids.tolist() == timed.recommend_for_history([3, 5], N=3).ids.tolist()


# ---- files


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("records")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = pd.read_csv(path, keep_default_na=False).to_dict("records")
    return [{**row, **({"reasons": json.loads(row["reasons"])} if "reasons" in row else {})} for row in found]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_files_have_names_categories_and_the_first_reasons_of_explain(timed, tmp_path, monkeypatch, suffix, resume):
    monkeypatch.setattr(bulk, "_CHUNK_USERS", 3)
    users = [5, 2, 30, 7, 9, 1, 0]
    out = tmp_path / f"recs{suffix}"
    result = timed.recommend_all(N=4, out=out, users=users, names=True, explain=2, resume=resume)
    rows, expected = read(out), timed.recommend(users, N=4).to_pandas()
    assert (result.n_users, result.n_rows) == (7, len(expected)) == (7, len(rows))
    assert list(rows[0]) == ["user_id", "item_id", "name", "category", "score", "rank", "source", "reasons"]
    missing = "" if suffix == ".csv" else None
    for row, (_, listed) in zip(rows, expected.iterrows(), strict=True):
        assert (row["user_id"], row["item_id"], row["rank"]) == (listed["user_id"], listed["item_id"], listed["rank"])
        assert np.float32(row["score"]) == listed["score"]
        name = f"thing, no. {row['item_id']}" if row["item_id"] % 2 == 0 else missing
        assert row["name"] == name or (name is None and pd.isna(row["name"]))
        assert row["category"] == f"kind\n{row['item_id'] % 3}"
        why = timed.explain(row["user_id"], row["item_id"]).reasons[:2]
        assert [(each["item_id"], each["name"], each["adds"]) for each in row["reasons"]] == [
            tuple(each) for each in why
        ]


@pytest.mark.parametrize("output_format", ["json", "table"])
def test_open_files_have_the_same_columns(timed, tmp_path, output_format):
    path = tmp_path / "recs"
    with path.open("wb") as file:
        n = bulk.write_lists_to(timed._fitted(), file, output_format, 2, users=[3, 4], names=True, explain=1)
    text = path.read_text(encoding="utf-8")
    if output_format == "json":
        rows = json.loads(text)
        assert [(row["user_id"], row["rank"]) for row in rows] == [(3, 1), (3, 2), (4, 1), (4, 2)]
        assert len(rows[0]["reasons"]) == 1
    else:
        head, *lines = text.splitlines()
        assert head.split() == ["user_id", "item_id", "name", "category", "score", "rank", "source", "reasons"]
        assert len(lines) == n == 4


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("block", [1 << 20, 3])
def test_rows_are_counted_not_line_ends(tmp_path, monkeypatch, suffix, block):
    model = ancf.Popular().fit(ancf.Interactions.from_ids(["a\nb", 'c"\n,"', "c"], ["x\n", "x\n", "y\r\n\n"]))
    monkeypatch.setattr(sinks, "_COUNT_BYTES", block)
    result = model.recommend_all(N=5, out=tmp_path / f"o{suffix}", resume=True, filter_already_liked_items=False)
    assert result.n_rows == len(read(result.path)) == 6


def test_names_that_nobody_knows_and_columns_without_a_file_are_refused(model, timed, tmp_path):
    with pytest.raises(ancf.InvalidParameterError, match="knows neither names nor categories"):
        model.recommend_all(N=1, out=tmp_path / "a.csv", names=True)
    for option in ({"names": True}, {"explain": 2}, {"resume": True}):
        with pytest.raises(ancf.InvalidParameterError, match="needs out="):
            timed.recommend_all(N=1, **option)
    with pytest.raises(ancf.UnknownUserError, match="4444"):
        timed.recommend_all(N=1, users=[1, 4444])
    assert list(tmp_path.iterdir()) == []


def test_categories_live_in_the_model_file(timed, tmp_path):
    timed.save(tmp_path / "shop.ancf")
    again = ancf.load(tmp_path / "shop.ancf")
    assert again.item_categories_.tolist() == timed.item_categories_.tolist() == [f"kind\n{i % 3}" for i in range(17)]


def test_tables_and_the_notebook_view_keep_the_names(timed):
    recs = timed.recommend(3, N=5)
    frame = recs.to_pandas()
    assert list(frame.columns) == ["user_id", "item_id", "name", "score", "rank", "source"]
    for item, name in zip(frame["item_id"], frame["name"], strict=True):
        assert name == f"thing, no. {item}" if item % 2 == 0 else pd.isna(name)
    assert "thing, no." in recs._repr_html_()
    assert "None" not in recs._repr_html_()


def test_the_validation_table_may_be_given_by_its_place():
    train, valid = table(USERS, ITEMS), table([0, 1], [7, 8])
    for model in (ancf.Popular(), ancf.ItemKNN()):
        assert (
            model.clone()
            .fit(train, valid)
            .recommend_all()
            .to_pandas()
            .equals(model.fit(train).recommend_all().to_pandas())
        )
    by_place = ancf.ANCF(factors=2, epochs=2).fit(train, valid)
    assert by_place.history_ == ancf.ANCF(factors=2, epochs=2).fit(train, validation=valid).history_
    assert len(by_place.history_["validation_loss"]) == 2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda m: m.recommend(1, filter_item=[2]),
            "recommend has no option 'filter_item'.*did you mean 'filter_items'",
        ),
        (lambda m: m.recommend(1, n=5), "recommend has no option 'n'"),
        (lambda m: m.recommend(), "missing 1 required positional argument: 'users'.*recommend takes users, N"),
        (lambda m: m.recommend(1, 2, 3), "recommend takes users, N"),
        (lambda m: ancf.ALS().fit(), r"^ALS\.fit\(\) missing"),
        (lambda m: ancf.NeuMF().fit(1, 2, 3), r"^NeuMF\.fit\(\) takes from 2 to 3 positional"),
        (lambda m: ancf.ItemKNN().similar_items(), r"^ItemKNN\.similar_items\(\) missing"),
        (lambda m: ancf.Popular().save(), r"^Popular\.save\(\) missing"),
        (lambda m: ancf.read_interactions(), r"^read_interactions\(\) missing"),
        (lambda m: m.fit(table(USERS, ITEMS), valid=1), "fit has no option 'valid'.*did you mean 'validation'"),
        (lambda m: ancf.evaluate(m, table(USERS, ITEMS), metric="mse"), "did you mean 'metrics'"),
        (lambda m: ancf.compare([m], train=1, tests=2), "compare has no option 'tests'.*did you mean 'test'"),
        (lambda m: ancf.from_factors([[1]], [[1]], users=[1]), "from_factors has no option 'users'"),
        (lambda m: ancf.ItemKNN(neighbor=3), "did you mean 'neighbors'"),
    ],
)
def test_a_call_that_does_not_fit_is_a_type_error_that_says_what_fits(model, call, said):
    with pytest.raises(ancf.InvalidCallError, match=said) as raised:
        call(model)
    assert isinstance(raised.value, TypeError)


def test_a_type_error_within_a_call_stays_what_it_is(model):
    class Odd:
        def __iter__(self):
            raise TypeError("mine")

    with pytest.raises(TypeError, match="mine") as raised:
        model.recommend(Odd())
    assert not isinstance(raised.value, ancf.AncfError)
