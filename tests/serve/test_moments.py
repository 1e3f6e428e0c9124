"""Lists as of a day, and what somebody is due to buy again: those of the library, with every event up to the day."""

import asyncio
import shutil
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pytest

import ancf
from ancf.scoring.results import Source
from ancf.serving import openapi

DAY = 86_400


@pytest.fixture(scope="module")
def library(model_files):
    return ancf.load(model_files[0])


@pytest.fixture(scope="module")
def shared_server(model_files, start_server, tmp_path_factory):
    """One to which nobody else sends events of the past."""
    path = shutil.copy(model_files[0], tmp_path_factory.mktemp("moments") / "shop.ancf")
    server = start_server(path)
    yield server
    assert server.end() == 0
    server.process.stderr.close()
    server.client.close()


@pytest.fixture(scope="module")
def middle(library):
    """A day by which some users had bought everything of theirs, some a part, and some nothing."""
    times = library._fitted().purchases.times
    return np.datetime64(int(np.quantile(times, 0.4)), "s").astype("datetime64[D]")


def listed(answer):
    return [(each["item_id"], each["score"]) for each in answer["items"]]


def of_library(recommendations):
    return [(str(item), float(score)) for item, score in zip(*recommendations, strict=True)]


def test_a_list_as_of_a_day_is_the_librarys(shared_server, library, middle):
    past = library._fitted().as_of(middle).past
    kinds = {True: 0, False: 0}
    for row, user in enumerate(library.user_ids_[:60]):
        answer = shared_server.list_of(user, n=7, now=middle)
        if past.is_unknown[row]:
            assert {each["source"] for each in answer["items"]} == {"popular"}
            continue
        kinds[bool(past.is_cut[row])] += 1
        assert listed(answer) == of_library(library.recommend(user, N=7, now=middle))
    assert min(kinds.values()) > 0
    later = str(library.user_ids_[int(np.flatnonzero(past.is_unknown)[0])])
    refused = shared_server.client.get(f"/v1/recommend/{later}", params={"now": str(middle), "on_unknown": "raise"})
    assert refused.status_code == 404
    assert f"had bought nothing by {middle}" in refused.json()["detail"]


def test_events_up_to_the_day_count_and_later_ones_do_not(shared_server, library, middle):
    past = library._fitted().as_of(middle).past
    user = library.user_ids_[int(np.flatnonzero(past.is_cut & ~past.is_unknown)[-1])]
    before = shared_server.list_of(user, now=middle)
    item = before["items"][0]["item_id"]
    event = {"event_id": "moment-1", "user_id": str(user), "item_id": item}
    shared_server.events(event)
    assert listed(shared_server.list_of(user, now=middle)) == listed(before)
    shared_server.events({**event, "event_id": "moment-2", "time": f"{middle - 1}T10:00:00Z"})
    answer = shared_server.list_of(user, now=middle)
    assert item not in [each["item_id"] for each in answer["items"]]
    scorer = library._fitted().as_of(middle)
    histories = scorer.past.histories(np.array([scorer.user_ids.position(user)]), True)
    at = np.datetime64(f"{middle - 1}T10:00:00", "s")
    expected = library.recommend_for_history(
        [*library.item_ids_.values[histories.items], item],
        weights=[*histories.weights, 1.0],
        times=[*histories.times.astype("datetime64[s]"), at],
        now=middle,
    )
    assert listed(answer) == of_library(expected)
    # A basket is what is bought at that moment.
    body = {"users": [str(user)], "history": [before["items"][1]["item_id"]], "now": str(middle)}
    [with_basket] = shared_server.client.post("/v1/recommend", json=body).json()["lists"]
    assert listed(with_basket) != listed(answer)
    basket = [str(each) for each in library.item_ids_[:2]]
    [bare] = shared_server.client.post("/v1/recommend", json={"history": basket, "now": str(middle)}).json()["lists"]
    assert listed(bare) == of_library(library.recommend_for_history(basket, now=middle))


@pytest.mark.parametrize(("now", "said"), [("soon", "soon"), ("1990-01-01", "first purchase"), ("", "now")])
def test_what_is_no_moment_is_refused_with_a_remedy(shared_server, library, now, said):
    for path in (f"/v1/recommend/{library.user_ids_[0]}", f"/v1/buy-again/{library.user_ids_[0]}"):
        refused = shared_server.client.get(path, params={"now": now})
        assert refused.status_code == 422
        assert said in refused.json()["detail"]
        assert refused.json()["remedy"]


def test_what_somebody_is_due_to_buy_again_is_the_librarys(shared_server, library, middle):
    for user in library.user_ids_[30:45]:
        path = f"/v1/buy-again/{user}"
        answer = shared_server.client.get(path, params={"n": 6}).json()
        assert listed(answer) == of_library(library.buy_again(user, N=6))
        assert {each["source"] for each in answer["items"]} == {"again"}
        asked = shared_server.client.get(path, params={"n": 6, "now": str(middle)}).json()
        known = library.buy_again([user], N=6, now=middle, on_unknown="skip")
        assert [each["item_id"] for each in asked["items"]] == [str(each) for each in known.ids[0]]
    assert shared_server.client.get("/v1/buy-again/nobody").json()["items"] == []
    refused = shared_server.client.get("/v1/buy-again/nobody?on_unknown=raise")
    assert refused.status_code == 404
    assert "nobody" in refused.json()["detail"]


def test_a_purchase_of_this_minute_counts_for_what_is_due_as_in_a_table_with_it(serve, model_file, purchases):
    keep = purchases.times < purchases.times.max() - 40 * DAY
    before, after = purchases[keep], purchases[~keep]
    model = ancf.Popular().fit(before)
    model.save(model_file)
    server = serve()
    scorer = model._fitted()
    came = after.user_ids.values[np.unique(after.users)].tolist()
    users = [each for each in came if scorer.user_ids.position(each) >= 0][:8]
    assert users
    for user in users:
        mine = after.users == after.user_ids.position(user)
        bought = [
            (str(after.item_ids.values[item]), int(at))
            for item, at in zip(after.items[mine], after.times[mine], strict=True)
        ]
        bought = [each for each in bought if scorer.item_ids.position(each[0]) >= 0]
        server.events(
            *(
                {
                    "event_id": f"{user}-{at}-{item}",
                    "user_id": user,
                    "item_id": item,
                    "time": datetime.fromtimestamp(at, UTC).isoformat(),
                }
                for item, at in bought
            )
        )
        row = scorer.user_ids.position(user)
        known = {str(scorer.item_ids.values[item]) for item in scorer.seen.row(row)}
        answer = server.client.get(f"/v1/buy-again/{user}", params={"n": 1000}).json()["items"]
        assert {each["item_id"] for each in answer} == known | {item for item, _ in bought}
        # Of an earlier day, it is the list that it was.
        then = np.datetime64(int(before.times.max()), "s")
        asked = server.client.get(f"/v1/buy-again/{user}", params={"n": 1000, "now": f"{then}Z"}).json()
        assert listed(asked) == of_library(model.buy_again(user, N=1000, now=then))


def test_what_is_bought_just_now_is_less_due_than_before_and_what_is_returned_is_not_due_at_all(serve, model_file):
    days = np.array([0, 10, 20, 0, 10, 20, 19])
    data = ancf.Interactions.from_ids(
        user=["ann"] * 6 + ["bob"], item=["milk"] * 3 + ["bread"] * 3 + ["soap"], time=days * DAY
    )
    ancf.Popular().fit(data).save(model_file)
    server = serve()

    def due(user, **query):
        return [each["item_id"] for each in server.client.get(f"/v1/buy-again/{user}", params=query).json()["items"]]

    assert set(due("ann")) == {"milk", "bread"}
    event = {"event_id": "1", "user_id": "ann", "item_id": due("ann")[0], "time": "1970-01-31T12:00:00Z"}
    server.events(event)
    assert due("ann")[-1] == event["item_id"]
    server.events({**event, "event_id": "2", "user_id": "cleo", "item_id": "soap"})
    assert due("cleo") == ["soap"]
    assert due("cleo", exclude="soap") == []
    server.events({**event, "event_id": "3", "user_id": "cleo", "item_id": "soap", "event": "return"})
    assert due("cleo") == []


def test_models_without_times_say_so(serve, model_file):
    ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 2], item=["a", "b"])).save(model_file)
    server = serve()
    for path in ("/v1/recommend/1?now=2026-01-01", "/v1/buy-again/1"):
        refused = server.client.get(path)
        assert refused.status_code == 422
        assert "Train it on a table with a column of times" in refused.json()["remedy"]


def test_both_clients_ask_for_it(shared_server, library, middle):
    user, item = library.user_ids_[50], library.item_ids_[0]
    again, then = library.buy_again(user, N=4), library.recommend([user], N=4, now=middle, on_unknown="popular")

    async def ask():
        async with ancf.AsyncClient(shared_server.url, timeout=20) as client:
            return await client.buy_again(user, N=4), await client.recommend(user, N=4, now=middle)

    with ancf.Client(shared_server.url, timeout=20) as client:
        now = datetime.fromisoformat(f"{middle}T00:00:00")
        for found, at in ((client.buy_again(user, N=4), client.recommend(user, N=4, now=now)), asyncio.run(ask())):
            assert found.to_pandas().equals(again.to_pandas())
            assert at.ids.tolist() == then.ids[0].tolist()
        by_history = client.recommend_for_history([item], now=middle)
        assert by_history.ids.tolist() == library.recommend_for_history([item], now=middle).ids.tolist()
        with pytest.raises(ancf.ServerError, match="nobody"):
            client.buy_again("nobody")
        assert len(client.buy_again("nobody", on_unknown="skip").ids) == 0


def test_answers_may_have_every_source_that_the_library_knows():
    described = openapi.document()["components"]["schemas"]["Item"]["properties"]["source"]
    assert set(described["enum"]) == set(get_args(Source))


def test_scores_and_reasons_are_those_of_the_day(shared_server, library, middle):
    past = library._fitted().as_of(middle).past
    user = library.user_ids_[int(np.flatnonzero(past.is_cut & ~past.is_unknown)[0])]
    best = shared_server.list_of(user, n=1, explain=3, now=middle)["items"][0]
    with ancf.Client(shared_server.url, timeout=20) as client:
        assert client.score(user, [best["item_id"]], now=middle).tolist() == [best["score"]]
        mine, theirs = (each.explain(user, best["item_id"], now=middle) for each in (client, library))
    assert mine.score == theirs.score == best["score"]
    assert mine.reasons == theirs.reasons
    assert [each["adds"] for each in best["reasons"]] == [each.contribution for each in theirs.reasons[:3]]
    later = shared_server.list_of(user, n=1, explain=3)["items"][0]
    assert later["reasons"] != best["reasons"]
