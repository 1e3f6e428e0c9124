"""How much what was only looked at counts in a history of the default model: as a purchase, or by its event weights."""

import numpy as np
import pytest

import ancf
from ancf.serving.counting import Counting
from ancf.serving.histories import continue_history
from ancf.serving.journal import Entry
from ancf.serving.schema import ListOptions
from ancf.serving.served_model import ServedModel

START = 1_600_000_000


def log(seed, n_users=60, n_items=20, n=900, start=START):
    """Purchases stay in the user's half of the items; views are of anything."""
    draws = np.random.default_rng(seed)
    users, kinds = draws.integers(0, n_users, n), draws.random(n) < 0.3
    items = np.where(kinds, 2 * draws.integers(0, n_items // 2, n) + users % 2, draws.integers(0, n_items, n))
    event = np.where(kinds, "purchase", "view")
    time = start + 86_400 * np.arange(n) // 10
    return ancf.read_interactions({"user": users, "item": items, "event": event, "time": time})


def fitted(data, **options):
    return ancf.ANCF(factors=8, epochs=4, **options).fit(data)


def test_it_is_chosen_told_and_stored():
    model = fitted(log(0))
    assert model.history_["settings"]["interest"] in ("equal", "given")
    assert ancf.load(model.to_bytes()).history_["settings"] == model.history_["settings"]


def test_views_count_less_where_that_ranks_what_was_held_out_better():
    assert fitted(log(0, n_users=300, n_items=40, n=6000)).history_["settings"]["interest"] == "given"


def test_a_history_of_purchases_and_parts_of_them_is_the_user_of_the_table():
    model = fitted(log(0), interest="given", half_life=None, trend=0.0)
    scorer = model._fitted()
    row = 5
    items, weights, times = scorer.purchases_of(row)
    assert weights.min() < 1 <= weights.max()
    had = scorer.item_ids.take(items).tolist()
    options = {"N": 20, "filter_already_liked_items": False}
    when = {**options, "times": times.tolist()}
    folded = model.recommend_for_history(had, weights=weights.tolist(), **when)
    assert folded.ids.tolist() == model.recommend(int(scorer.user_ids.values[row]), **options).ids.tolist()
    whole = model.recommend_for_history(had, **when)
    assert whole.scores.tolist() != folded.scores.tolist()


def test_files_and_updates_keep_it():
    data = log(0)
    model = fitted(data, interest="given")
    again = ancf.load(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    assert np.array_equal(again.recommend_all(N=5).ids, model.recommend_all(N=5).ids)
    more = log(1, n=60, start=START + 86_400 * 100)
    parts = [more[more.times < START + 86_400 * 103], more[more.times >= START + 86_400 * 103]]
    for part in parts:
        again.partial_fit(part)
    assert again._fitted().encoder.heeds_interest
    assert again.to_bytes() == model.partial_fit(more).to_bytes()


def test_a_table_of_purchases_alone_has_nothing_to_choose():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=list("abbcca"))
    assert "interest" not in fitted(data).history_["settings"]
    with pytest.raises(ancf.InvalidParameterError, match='interest="given" has no effect'):
        fitted(data, interest="given")


def test_a_server_continues_a_history_in_purchases_with_and_without_times():
    for timed in (True, False):
        data = log(0)
        frame = data.to_pandas()
        kinds = np.where(frame.had, "purchase", "view")
        columns = {"user": frame.user_id, "item": frame.item_id, "event": kinds}
        data = ancf.read_interactions({**columns, "time": frame.time} if timed else columns)
        scorer = fitted(data, interest="given")._fitted()
        counting, came = Counting.of(scorer), [Entry("0", "view", 1.0, START + 10**9, 1)]
        row = int(np.flatnonzero(~np.isin(np.arange(data.n_users), data.users[data.items == 0]))[0])
        found = continue_history(scorer, row, came, counting).histories
        assert found.items[0] == 0
        assert found.weights[0] == pytest.approx(0.1)
        assert found.weights[1:].tolist() == scorer.purchases_of(row)[1].tolist()


def test_as_of_a_moment_a_server_continues_a_history_in_purchases():
    data = log(0)
    model = fitted(data, interest="given", half_life=20.0, repeat_weight=0.3)
    scorer, served, moment = model._fitted(), ServedModel(model, "1"), int(data.times[len(data) // 2])
    now, options = str(np.datetime64(moment, "s")), {"N": 12, "filter_already_liked_items": False}
    for row in range(5):
        user = int(scorer.user_ids.values[row])
        mine = data.users == row
        columns = (data.items[mine].tolist(), data.had[mine].tolist(), data.times[mine].tolist())
        weighs, last = {}, {}
        for position, had, at in zip(*columns, strict=True):
            if at <= moment:
                item = int(scorer.item_ids.values[position])
                weighs[item] = weighs.get(item, 0.0) + (1.0 if had else float(np.float32(0.1)))
                last[item] = np.datetime64(at, "s")
        whole = model.recommend_for_history(
            [*weighs], weights=[*weighs.values()], times=[*last.values()], now=now, **options
        )
        assert model.recommend(user, now=now, **options).scores.tolist() == whole.scores.tolist()
        new = next(each for each in range(20) if scorer.item_ids.position(each) not in columns[0])
        more = model.recommend_for_history(
            [*weighs, new],
            weights=[*weighs.values(), float(np.float32(0.1))],
            times=[*last.values(), np.datetime64(moment - 5, "s")],
            now=now,
            **options,
        )
        came = [Entry(str(new), "view", 1.0, moment - 5, 1)]
        found = served.recommend(str(user), came, ListOptions(n=12, exclude_seen=False, now=now))
        assert [(int(each.item_id), each.score) for each in found] == [
            (item, float(score)) for item, score in zip(more.ids.tolist(), more.scores, strict=True)
        ]
