"""Lists as of a day: what had happened by then counts, and nothing that came later."""

import datetime

import numpy as np
import pandas as pd
import pytest

import ancf

DAY = 86400
START = 1_300_000_000 // DAY * DAY


def purchases(seed=5):
    rng = np.random.default_rng(seed)
    n = 900
    return {
        "user": rng.integers(0, 30, n).tolist(),
        "item": [f"i{each}" for each in (rng.pareto(1.2, n) * 5).astype(int) % 40],
        "time": (START + rng.integers(0, 100, n) * DAY + rng.integers(0, DAY, n)).tolist(),
    }


COLUMNS = purchases()
DATA = ancf.Interactions.from_ids(**COLUMNS)
NOW = START + 60 * DAY
OPTIONS = {
    "ANCF": {"factors": 8, "epochs": 2, "half_life": 20.0, "trend": 1.0, "trend_half_life": 15.0, "random_state": 1},
    "ALS": {"factors": 8, "epochs": 2, "random_state": 1},
    "SVD": {"factors": 4, "epochs": 2, "random_state": 1},
}
MODELS = ("ANCF", "ALS", "SVD", "ItemKNN", "UserKNN", "Popular", "LastBought")


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return getattr(ancf, request.param)(**OPTIONS.get(request.param, {})).fit(DATA)


def history_by(now, user):
    """Items, summed weights or counts, and last times of a user by a moment."""
    mine = [
        (item, time)
        for who, item, time in zip(COLUMNS["user"], COLUMNS["item"], COLUMNS["time"], strict=True)
        if who == user and time <= now
    ]
    items = sorted({item for item, _ in mine})
    counts = [sum(item == each for item, _ in mine) for each in items]
    times = [max(time for item, time in mine if item == each) for each in items]
    return items, counts, times


def test_at_the_end_of_the_table_nothing_changes(model):
    if isinstance(model, ancf.Popular):
        pytest.skip("its window ends with the last day")
    for now in (max(COLUMNS["time"]), max(COLUMNS["time"]) + 5 * DAY):
        mine = model.recommend_all(N=8, now=now)
        assert mine.to_pandas().equals(model.recommend_all(N=8).to_pandas())


def test_somebody_is_their_history_up_to_then(model):
    users = [user for user in range(30) if history_by(NOW, user)[0] and max(time_of(user)) > NOW]
    assert len(users) > 10
    parts = [history_by(NOW, user) for user in users]
    mine = model.recommend(users, 10, now=NOW)
    theirs = model.recommend_for_history(
        [part[0] for part in parts],
        10,
        weights=[part[1] for part in parts],
        times=[part[2] for part in parts],
        now=NOW,
    )
    assert [row[1:4] for row in mine.rows()] == [row[1:4] for row in theirs.rows()]
    for user, (items, _, _) in zip(users, parts, strict=True):
        assert not set(model.recommend(user, 40, now=NOW).ids.tolist()) & set(items)


def time_of(user):
    return [time for who, time in zip(COLUMNS["user"], COLUMNS["time"], strict=True) if who == user]


def test_what_comes_after_then_in_a_history_does_not_count(model):
    items, times = ["i1", "i2", "i3"], [NOW - DAY, NOW, NOW + 1]
    mine = model.recommend_for_history(items, 10, times=times, now=NOW)
    theirs = model.recommend_for_history(items[:2], 10, times=times[:2], now=NOW)
    assert mine.to_pandas().equals(theirs.to_pandas())
    with pytest.raises(ancf.InvalidDataError, match=r"history 0 is empty at .*now="):
        model.recommend_for_history(["i3"], times=[NOW + 1], now=NOW)


def test_one_and_all_and_a_file_and_scores_and_reasons_agree(model, tmp_path):
    every = model.recommend_all(N=6, now=NOW).to_pandas()
    some = every["user_id"].unique().tolist()
    assert model.recommend(some, 6, now=NOW).to_pandas().equals(every)
    model.recommend_all(N=6, out=tmp_path / "lists.csv", now=NOW, explain=1)
    written = pd.read_csv(tmp_path / "lists.csv")
    assert written["item_id"].tolist() == every["item_id"].tolist()
    assert model.predict(every["user_id"].tolist(), every["item_id"].tolist(), now=NOW).tolist() == (
        every["score"].tolist()
    )
    for row in every.head(12).itertuples():
        why = model.explain(row.user_id, row.item_id, now=NOW)
        assert np.float32(why.score) == np.float32(row.score)
        if why.link == "identity":
            total = sum(each.contribution for each in why.reasons) + sum(why.base.values())
            assert total == pytest.approx(row.score, abs=1e-4, rel=1e-4)
        found = model.why_not(row.user_id, row.item_id, 6, now=NOW)
        assert (found.reason, found.place) == ("listed", row.rank)


def test_a_resumed_file_is_of_one_day(tmp_path, monkeypatch):
    model = ancf.ItemKNN().fit(DATA)
    from ancf.scoring import bulk

    keys = []
    for now in (None, NOW, NOW + DAY):
        request = {"filter_already_liked_items": True, "users": None, "items": None, "filter_items": None}
        chunks = bulk._Chunks(model._fitted().as_of(now), 5, names=False, explain=0, num_threads=None, **request)
        keys.append(chunks.fingerprint(".csv"))
    assert len(set(keys)) == 3


def test_who_had_bought_nothing_by_then_is_unknown_then():
    data = ancf.Interactions.from_ids(
        user=["ann", "ann", "bob", "cleo"], item=["tea", "cup", "tea", "mat"], time=[0, 9 * DAY, 1 * DAY, 8 * DAY]
    )
    model = ancf.ItemKNN().fit(data)
    with pytest.raises(ancf.UnknownUserError, match=r"user 'cleo' had bought nothing by 1970-01-06 \(now=\)"):
        model.recommend("cleo", now="1970-01-06")
    with pytest.raises(ancf.UnknownUserError, match="was not in training"):
        model.recommend("dan", now="1970-01-06")
    assert model.recommend(["ann", "cleo"], now="1970-01-06", on_unknown="skip").counts.tolist() == [0, 0]
    popular = model.recommend("cleo", now="1970-01-06", on_unknown="popular")
    assert popular.ids.tolist() == ["tea"]
    assert popular.scores.tolist() == [2.0]
    assert set(model.recommend_all(now="1970-01-06", filter_already_liked_items=False).to_pandas()["user_id"]) == {
        "ann",
        "bob",
    }


def test_what_nobody_had_bought_by_then_is_not_listed():
    data = ancf.Interactions.from_ids(
        user=[1, 1, 2, 2, 3], item=["tea", "cup", "tea", "mat", "cup"], time=[0, 1 * DAY, 0, 9 * DAY, 1 * DAY]
    )
    model = ancf.ItemKNN().fit(data)
    assert model.recommend(1).ids.tolist() == ["mat"]
    assert model.recommend(1, now=2 * DAY).ids.tolist() == []
    assert str(model.why_not(1, "mat", now=2 * DAY)) == "'mat' is not listed: nobody had bought it by then (now=)."
    shop = model.with_stock(["mat"])
    assert shop.recommend(3, now=2 * DAY).ids.tolist() == []
    assert shop.recommend(3, now=9 * DAY).ids.tolist() == ["mat"]


def test_a_window_and_ages_end_at_the_day():
    data = ancf.Interactions.from_ids(
        user=[1, 2, 3, 4, 5, 6],
        item=["old", "old", "old", "new", "new", "other"],
        time=[0, 0, DAY, 50 * DAY, 51 * DAY, 90 * DAY],
    )
    model = ancf.Popular(window=14).fit(data)
    assert model.recommend(1, N=1, now=55 * DAY).ids.tolist() == ["new"]
    assert model.recommend(4, N=1, now=55 * DAY, on_unknown="popular").ids.tolist() == ["old"]
    assert model.recommend(4, N=2, now=89 * DAY).ids.tolist() == ["old"]
    young = ancf.Rules(where="age_days <= 5")
    assert model.recommend(1, rules=young, now=55 * DAY).ids.tolist() == ["new"]
    assert model.recommend(1, rules=young, now=60 * DAY).ids.tolist() == []
    few = ancf.Rules(where="buyers < 2")
    assert model.recommend(1, rules=few, now=50 * DAY).ids.tolist() == ["new"]
    assert model.recommend(1, rules=few, now=55 * DAY).ids.tolist() == []


def test_the_trend_is_that_of_the_day():
    from ancf.models.ancf.temporal import PurchaseTimes, trend_factors

    model = ancf.ANCF(**OPTIONS["ANCF"], popularity_exponent=0.0).fit(DATA)
    scorer, then = model._fitted(), model._fitted().as_of(NOW)
    early = DATA.subset(DATA.times <= NOW)
    of_then, of_end = (
        trend_factors(PurchaseTimes.from_interactions(data), DATA.n_items, 1.0, 15.0) for data in (early, DATA)
    )
    assert not np.array_equal(of_then, of_end)
    assert np.array_equal(then.item_vectors, scorer.item_vectors * (of_then / of_end)[:, None])
    assert model.recommend(3, now=NOW).scores.tolist() != model.recommend(3, filter_items=[]).scores.tolist()


def test_what_is_bought_again_is_told_by_the_purchases_of_the_day():
    from ancf.models.ancf.temporal import PurchaseTimes

    model = ancf.ANCF(**{**OPTIONS["ANCF"], "trend": 0.0}, popularity_exponent=0.0).fit(DATA)
    scorer, then = model._fitted(), model._fitted().as_of(NOW)
    early = DATA.subset(DATA.times <= NOW)
    of_then, of_end = (PurchaseTimes.from_interactions(data).repeated for data in (early, DATA))
    assert not np.array_equal(of_then, of_end)
    own = slice(scorer.neighbors.indptr[DATA.n_items], None)
    assert np.array_equal(then.neighbors.data[own], scorer.neighbors.data[own] * (of_then / of_end))
    assert np.array_equal(then.neighbors.data[: own.start], scorer.neighbors.data[: own.start])


def test_a_day_is_read_as_times_are_elsewhere():
    model = ancf.ItemKNN().fit(DATA)
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    expected = model.recommend_all(N=5, now=NOW).to_pandas()
    for now in (
        moment,
        moment.date(),
        moment.replace(tzinfo=None),
        moment.strftime("%Y-%m-%d"),
        pd.Timestamp(NOW, unit="s"),
        np.datetime64(NOW, "s"),
        np.int64(NOW),
        float(NOW),
        NOW * 1000,
    ):
        assert model.recommend_all(N=5, now=now).to_pandas().equals(expected), now
    for now, said in (
        ("someday", "now: 'someday'"),
        ([NOW], "give one moment"),
        (True, "now"),
        (float("nan"), "now"),
        ("1999-01-01", "the first purchase of this model was at 2011-03-13"),
    ):
        with pytest.raises(ancf.InvalidDataError, match=said):
            model.recommend(1, now=now)


def test_a_model_without_times_says_that_it_has_no_days():
    model = ancf.ItemKNN().fit(ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "a"]))
    calls = (
        lambda: model.recommend(1, now=NOW),
        lambda: model.recommend_all(now=NOW),
        lambda: model.recommend_for_history(["a"], now=NOW),
        lambda: model.predict(1, "a", now=NOW),
        lambda: model.explain(1, "a", now=NOW),
        lambda: model.why_not(1, "a", now=NOW),
        lambda: model.buy_again(1, now=NOW),
    )
    for call in calls:
        with pytest.raises(ancf.InvalidDataError, match=r"now= needs the times of purchases.*without times"):
            call()
