"""Lists made elsewhere: measured as a model's own, with an account of what was wrong with them."""

import numpy as np
import pandas as pd
import pytest

import ancf

TRAIN = ancf.Interactions.from_ids(
    user=["ann", "ann", "bob", "bob", "cid", "dan"], item=["tea", "cup", "cup", "pot", "pot", "jug"]
)
TEST = ancf.Interactions.from_ids(user=["ann", "bob", "cid", "eve"], item=["pot", "tea", "new", "tea"])


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, 80, 2500), (rng.pareto(1.2, 2500) * 8).astype(int) % 90
    part = rng.random(2500) < 0.7
    train = ancf.Interactions.from_ids(user=users[part], item=items[part])
    return train, ancf.Interactions.from_ids(user=np.append(users[~part], 999), item=np.append(items[~part], 1))


class Rival:
    """A model of another library."""

    def __init__(self, model, answer):
        self.model, self.answer = model, answer

    def recommend(self, user, N):
        return self.answer(self.model.recommend(user, N=N))


FORMS = {
    "recommendations": lambda model, users: model.recommend(users, N=20),
    "pandas": lambda model, users: model.recommend(users, N=20).to_pandas()[["user_id", "item_id", "score"]],
    "ranks": lambda model, users: (
        model.recommend(users, N=20).to_pandas()[["user_id", "item_id", "rank"]].sample(frac=1)
    ),
    "other headings": lambda model, users: (
        model.recommend(users, N=20)
        .to_pandas()
        .rename(columns={"user_id": "Customer ID", "item_id": "StockCode", "rank": "Position"})
        .drop(columns=["score", "source"])
    ),
    "arrow": lambda model, users: model.recommend(users, N=20).to_arrow(),
    "columns": lambda model, users: {
        name: values for name, values in model.recommend(users, N=20).to_dict().items() if name != "source"
    },
    "mapping": lambda model, users: {user: model.recommend(user, N=20).ids for user in users},
    "scores by item": lambda model, users: {
        user: dict(zip(*(part.tolist() for part in model.recommend(user, N=20)), strict=True)) for user in users
    },
    "object": lambda model, users: Rival(model, lambda recs: recs),
    "ids of an object": lambda model, users: Rival(model, lambda recs: recs.ids.tolist()),
    "pair of an object": lambda model, users: Rival(model, lambda recs: (recs.ids, recs.scores)),
    "pairs of an object": lambda model, users: Rival(model, lambda recs: list(zip(*recs, strict=True))),
    "table of an object": lambda model, users: Rival(model, lambda recs: recs.to_pandas()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("new_only", [True, False])
def test_lists_in_every_form_have_the_figures_of_the_model_that_made_them(split, form, new_only):
    train, test = split
    model = ancf.ItemKNN(neighbors=20).fit(train)
    users = model.user_ids_.values.tolist()
    if not new_only:
        ask = model.recommend
        model.recommend = lambda users, N: ask(users, N=N, filter_already_liked_items=False)
    lists = FORMS[form](model, users)
    metrics = ["ndcg@5", "recall@20", "map@10", "coverage@20"]
    own = ancf.evaluate(model, test, metrics, filter_already_liked_items=new_only)
    given = ancf.evaluate(lists, test, metrics, train=train, filter_already_liked_items=new_only)
    assert dict(given) == dict(own)
    assert given.user_ids.tolist() == own.user_ids.tolist()
    assert (given.n_unknown_users, given.n_known_pairs) == (own.n_unknown_users, own.n_known_pairs)


def test_a_polars_table_and_a_file_are_lists_too(split, tmp_path):
    polars = pytest.importorskip("polars")
    train, test = split
    frame = ancf.Popular().fit(train).recommend_all(10).to_pandas()
    expected = ancf.evaluate(frame, test, "ndcg@10", train=train)["ndcg@10"]
    assert ancf.evaluate(polars.from_pandas(frame.drop(columns="source")), test, "ndcg@10", train=train)["ndcg@10"] == (
        expected
    )
    frame.to_parquet(tmp_path / "lists.parquet")
    assert ancf.evaluate(tmp_path / "lists.parquet", test, "ndcg@10", train=train)["ndcg@10"] == expected


def test_a_user_without_a_list_counts_with_zero():
    result = ancf.evaluate({"ann": ["pot"]}, TEST, "hit@1", train=TRAIN)
    assert result.user_ids.tolist() == ["ann", "bob", "cid"]
    assert result.per_user["hit@1"].tolist() == [1, 0, 0]
    assert result.list_report.n_without_list == 2
    assert "2 users have no list and count with 0" in repr(result)


def test_without_a_training_table_every_user_and_purchase_counts():
    lists = {"ann": ["tea", "pot"], "eve": ["tea"], "cid": ["new"]}
    result = ancf.evaluate(lists, TEST, k=2)
    assert "coverage@2" not in result
    assert result.n_users == 4
    assert result["hit@2"] == 0.75
    assert result.list_report == (1, 2, 0, 0, 0, 0, 0)
    for name in ("coverage@2", "coverage"):
        with pytest.raises(ancf.InvalidParameterError, match="needs the catalogue"):
            ancf.evaluate(lists, TEST, name)


def test_a_list_may_hit_an_item_that_is_not_in_training_but_the_catalogue_stays_that_of_training():
    result = ancf.evaluate({"cid": ["new", "tea"]}, TEST, ["hit@1", "coverage@2"], train=TRAIN)
    assert result.per_user["hit@1"].tolist() == [0, 0, 1]
    assert result["coverage@2"] == 1 / 4
    assert result.n_unknown_items == 1


def test_what_holds_a_place_without_being_a_hit_is_counted_and_told():
    lists = {"ann": ["tea", "moon", "pot", "pot"], "bob": ["jug", "jug", "tea"]}
    result = ancf.evaluate(lists, TEST, ["recall@2", "recall@3", "mrr@4"], train=TRAIN)
    assert result.per_user["recall@2"].tolist() == [0, 0, 0]
    assert result.per_user["mrr@4"].tolist() == [1 / 3, 1 / 3, 0]
    report = result.list_report
    assert (report.n_unknown, report.n_repeated, report.n_had, report.n_short) == (1, 2, 1, 1)
    for text in (
        "1 places hold items that are neither",
        "2 places hold an item that stands further",
        "had in training",
    ):
        assert text in repr(result)
    repeats = ancf.evaluate(lists, TEST, "recall@2", train=TRAIN, filter_already_liked_items=False)
    assert repeats.list_report.n_had == 0


def test_a_repeated_hit_counts_once():
    result = ancf.evaluate({"ann": ["pot", "pot"]}, TEST, ["recall@2", "precision@2", "ndcg@2"], train=TRAIN)
    assert [values[0] for values in result.per_user.values()] == [1.0, 0.5, 1.0]


def test_equal_scores_are_in_the_order_of_the_ids_and_told():
    frame = pd.DataFrame({"user_id": ["ann"] * 3, "item_id": ["pot", "jug", "tea"], "score": [1.0, 1.0, 1.0]})
    for table in (frame, frame[::-1]):
        result = ancf.evaluate(table, TEST, ["mrr@3"], train=TRAIN)
        assert result.per_user["mrr@3"][0] == 0.5  # jug, pot, tea
        assert result.list_report.n_tied == 1
    assert ancf.evaluate({"ann": {"pot": 1, "jug": 1}}, TEST, "hit@2", train=TRAIN).list_report.n_tied == 1


def test_ranks_need_not_begin_with_one_and_come_before_scores():
    frame = pd.DataFrame({"user_id": ["ann"] * 2, "item_id": ["jug", "pot"], "rank": [7, 3], "score": [9.0, 1.0]})
    assert ancf.evaluate(frame, TEST, "hit@1", train=TRAIN).per_user["hit@1"][0] == 1


def test_no_list_is_longer_than_the_cut_off():
    lists = {"ann": ["jug", *(f"x{n}" for n in range(100)), "pot"]}
    result = ancf.evaluate(lists, TEST, ["hit@101", "hit@102"], train=TRAIN)
    assert [values[0] for values in result.per_user.values()] == [0, 1]


FRAME = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["pot", "tea"], "score": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (FRAME.drop(columns="score"), "no column that says in which order they are. Add a column rank"),
        (FRAME.rename(columns={"item_id": "what"}), "item. Found: 'user_id', 'what', 'score'. Lists have the columns"),
        (FRAME.assign(score=[1.0, np.nan]), r"1 rows have no number in the column 'score' \(row 1\)"),
        (FRAME.assign(item_id=["pot", None]), r"1 rows have no item id \(row 1\)"),
        (FRAME.assign(user_id=["xen", "yan"]), "none of the users measured has a list"),
        (FRAME.assign(user_id=[" ann", "bob "]).to_dict("list") | {"user_id": [1, 2]}, "none of the users"),
        ({"ann": {"pot", "tea"}}, "the list of user 'ann' is a set, which has no order"),
        ({"ann": "pot"}, "the list of user 'ann' is 'pot'. Give item ids, best first"),
        ({"ann": {"pot": None}}, "has a score that is no finite number"),
        ({"ann": []}, "all the lists are empty"),
        ({}, "all the lists are empty"),
        (TRAIN, "Interactions are purchases, not lists"),
        (ancf.ItemKNN().fit(TRAIN).recommend(["ann", "ann"]), "user 'ann' has two lists"),
    ],
)
def test_lists_that_cannot_be_measured_are_refused_in_words(lists, message):
    with pytest.raises(ancf.InvalidDataError, match=message):
        ancf.evaluate(lists, TEST, "hit@1", train=TRAIN)


def test_ids_of_another_kind_are_refused(split):
    train, test = split
    frame = ancf.Popular().fit(train).recommend_all(5).to_pandas()
    with pytest.raises(ancf.InvalidDataError, match="the ids given are text, the model's are numbers"):
        ancf.evaluate(frame.assign(item_id=frame["item_id"].astype(str)), test, "hit@1", train=train)


@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        ("mse", {"train": TRAIN}, "metric 'mse': lists predict no quantity"),
        ("ndgc@10", {}, "Did you mean 'ndcg@10'?"),
        ("hit@1", {"k": 0}, "k is 0"),
    ],
)
def test_what_lists_cannot_answer_is_refused(metrics, options, message):
    with pytest.raises(ancf.InvalidParameterError, match=message):
        ancf.evaluate({"ann": ["pot"]}, TEST, metrics, **options)


def test_a_training_table_is_for_lists_alone():
    with pytest.raises(ancf.InvalidParameterError, match="train= is for lists made elsewhere"):
        ancf.evaluate(ancf.Popular().fit(TRAIN), TEST, train=TRAIN)
    with pytest.raises(ancf.InvalidDataError, match="as train, not list"):
        ancf.evaluate({"ann": ["pot"]}, TEST, train=[1])
    with pytest.raises(ancf.InvalidParameterError, match="model is 3; give a fitted model of ancf, or lists"):
        ancf.evaluate(3, TEST)


def test_an_error_of_another_library_says_whom_it_was_asked_for():
    class Broken:
        def recommend(self, user, N):
            raise KeyError(user)

    with pytest.raises(KeyError) as caught:
        ancf.evaluate(Broken(), TEST, "hit@1", train=TRAIN)
    assert caught.value.__notes__ == ["while Broken.recommend('ann', 1) was asked for a list"]


def test_unknown_test_users_are_left_out_or_refused_as_for_a_model():
    assert ancf.evaluate({"ann": ["pot"], "eve": ["tea"]}, TEST, "hit@1", train=TRAIN).n_unknown_users == 1
    with pytest.raises(ancf.UnknownUserError, match="1 users of the test table were not in training"):
        ancf.evaluate({"ann": ["pot"]}, TEST, "hit@1", train=TRAIN, on_unknown="raise")
