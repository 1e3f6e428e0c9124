"""The client's lists are the model's."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import ancf


@pytest.fixture(scope="module")
def client(shared_server):
    with ancf.Client(shared_server.url, timeout=20) as opened:
        yield opened


@pytest.fixture(scope="module")
def library(model_files):
    return ancf.load(model_files[0])


def assert_same(found, expected):
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.scores.dtype == np.float32
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.to_pandas().equals(expected.to_pandas())


def test_lists_are_those_of_the_model(client, library):
    user, item = library.user_ids_[0], library.item_ids_[0]
    assert_same(client.recommend(user, N=7), library.recommend(user, N=7))
    assert_same(
        client.recommend(user, filter_items=[item], filter_already_liked_items=False),
        library.recommend(user, filter_items=[item], filter_already_liked_items=False),
    )
    assert_same(client.recommend_for_history([item], N=3), library.recommend_for_history([item], N=3))
    assert_same(client.similar_items(item, N=4), library.similar_items(item, N=4))
    assert client.recommend("nobody at all", on_unknown="skip").ids.tolist() == []


def test_rules_and_baskets_are_those_of_the_model(client, library):
    user, items = library.user_ids_[0], [str(each) for each in library.item_ids_[:3]]
    rules = ancf.Rules(at_most={"category": 1}, deny=[items[0]], pins={2: items[1]}, diversity=0.2)
    assert_same(client.recommend(user, rules=rules), library.recommend(user, rules=rules))
    assert_same(client.recommend_for_history(items, rules=rules), library.recommend_for_history(items, rules=rules))
    assert_same(client.bought_together(items, N=4), library.bought_together(items, N=4))
    assert client.recommend(user, model="main").ids.tolist() == library.recommend(user).ids.tolist()
    with pytest.raises(ancf.ServerError, match="there is no such model here"):
        client.similar_items(items[0], model="other")


def test_all_filters_of_the_routes_are_those_of_the_model(client, library):
    user, items = library.user_ids_[0], [str(each) for each in library.item_ids_[:3]]
    category = library.item_categories_[0]
    chosen = library.item_categories_ == category
    mine = {"category": category, "filter_items": items}
    theirs = {"items": chosen, "filter_items": items}
    assert_same(client.recommend(user, **mine), library.recommend(user, **theirs))
    for options in ({}, {"filter_already_liked_items": False}):
        assert_same(
            client.recommend_for_history(items, weights=[1, 2, 3], **mine, **options),
            library.recommend_for_history(items, weights=[1, 2, 3], **theirs, **options),
        )
    assert_same(
        client.recommend_for_history(items, items=library.item_ids_.values[:20]),
        library.recommend_for_history(items, items=library.item_ids_.values[:20]),
    )
    for metric in ("cosine", "inner"):
        assert_same(
            client.similar_items(items[0], metric=metric, **mine),
            library.similar_items(items[0], metric=metric, **theirs),
        )
    assert_same(client.bought_together(items[:1], **mine), library.bought_together(items[:1], **theirs))
    popular = library.recommend(["?"], N=7, on_unknown="popular", **theirs)
    found = client.popular(7, **mine)
    assert found.ids.tolist() == popular.ids[0].tolist()
    np.testing.assert_array_equal(found.scores, popular.scores[0])


def test_long_filters_are_taken_too(client, library):
    user = library.user_ids_[0]
    many = [*library.item_ids_.values[:30], *(f"unknown item of a long list {n}" for n in range(2000))]
    assert_same(client.recommend(user, items=many), library.recommend(user, items=library.item_ids_.values[:30]))


def test_scores_and_reasons_are_those_of_the_model(client, library):
    user, items = library.user_ids_[0], [str(each) for each in library.item_ids_[:5]]
    scores = client.score(user, items)
    np.testing.assert_array_equal(scores, library.predict(user, items))
    assert scores.dtype == np.float32
    mine, theirs = client.explain(user, items[0]), library.explain(user, items[0])
    assert mine.reasons == theirs.reasons
    for name in ("user_id", "item_id", "score", "base", "name", "link", "companions"):
        assert getattr(mine, name) == getattr(theirs, name)
    assert mine.to_pandas().equals(theirs.to_pandas())


def test_a_product_without_a_buyer_is_explained_by_its_companions(serve, model_file, purchases):
    sold = ~np.isin(purchases.items, [0])
    model = ancf.ANCF(factors=4, epochs=1).fit(purchases.subset(sold).with_features(item_features=features(purchases)))
    model.save(model_file)
    user, item = model.user_ids_[0], str(purchases.item_ids[0])
    why = model.explain(user, item)
    assert why.companions
    with ancf.Client(serve().url, timeout=20) as client:
        assert client.explain(user, item).companions == why.companions


def features(purchases):
    table = {"item_id": purchases.item_ids.values, "kind": purchases.item_categories}
    return ancf.read_features(pd.DataFrame(table), of="items")


def test_admins_reload_and_update(serve, model):
    with ancf.Client(serve().url, timeout=20) as client:
        version = client.model()["model_version"]
        assert client.reload() == {"model_version": version, "previous_version": None, "changed": False}
        with pytest.raises(ancf.ServerError, match="no earlier model") as refused:
            client.reload("previous")
        assert refused.value.status == 409
        assert client.update()["state"] in ("running", "unchanged")
        with pytest.raises(ancf.ServerError, match="no such model"):
            client.update("other")
        assert client.model("main")["variant"] == "main"


def test_both_clients_have_the_same_methods():
    mine, theirs = (
        {name for name in dir(each) if not name.startswith("_")} for each in (ancf.Client, ancf.AsyncClient)
    )
    assert mine == theirs


def test_the_asynchronous_client_says_the_same(shared_server, library):
    user, item = library.user_ids_[0], library.item_ids_[0]

    async def ask():
        async with ancf.AsyncClient(shared_server.url, timeout=20) as client:
            said = await client.add_events([{"event_id": "async-1", "user_id": "async", "item_id": item}])
            lists = await asyncio.gather(
                client.recommend(user, N=5),
                client.recommend_for_history([item]),
                client.similar_items(item),
                client.bought_together([item]),
                client.popular(3),
                client.explain(user, item),
                client.score(user, [item]),
            )
            return said, lists, await client.forget_user("async"), await client.model()

    said, lists, forgotten, model = asyncio.run(ask())
    assert said["accepted"] == forgotten == 1
    assert_same(lists[0], library.recommend(user, N=5))
    assert_same(lists[1], library.recommend_for_history([item]))
    assert_same(lists[2], library.similar_items(item))
    assert_same(lists[3], library.bought_together([item]))
    assert lists[4].ids.tolist() == library.recommend(["?"], N=3, on_unknown="popular").ids[0].tolist()
    assert lists[5].reasons == library.explain(user, item).reasons
    assert lists[6].tolist() == library.predict(user, [item]).tolist()
    assert model["model"] == "ANCF"


def test_events_may_have_times_of_every_kind(client, library):
    item = library.item_ids_[0]
    times = [datetime(2026, 1, 2, tzinfo=UTC), np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05Z"]
    events = [{"event_id": f"kinds-{n}", "user_id": 7, "item_id": item, "time": time} for n, time in enumerate(times)]
    assert client.add_events(events)["accepted"] == 3
    assert client.forget_user(7) == 3


def test_ids_come_back_as_numbers_where_the_table_had_numbers(serve, model_file):
    data = ancf.Interactions.from_ids(user=[10, 10, 20, 20, 30], item=[1, 2, 2, 3, 3])
    model = ancf.ItemKNN().fit(data)
    model.save(model_file)
    with ancf.Client(serve().url, timeout=20) as client:
        assert_same(client.recommend(10), model.recommend(10))
        assert client.recommend(10).ids.dtype == model.recommend(10).ids.dtype


def test_a_refusal_has_status_place_and_remedy(client):
    with pytest.raises(ancf.ServerError, match="query n: Expected") as refused:
        client.recommend("u", N=0)
    assert (refused.value.status, refused.value.place) == (422, "query n")
    with pytest.raises(ancf.ServerError, match="not in training") as refused:
        client.recommend("nobody", on_unknown="raise")
    assert refused.value.status == 404
    assert isinstance(refused.value, OSError)
    for wrong in (None, 1.5, True):
        with pytest.raises(ancf.InvalidDataError, match="is no id"):
            client.recommend(wrong)


def test_a_server_that_is_not_there_is_named():
    with ancf.Client("http://127.0.0.1:1") as client, pytest.raises(ancf.ServerError, match=r"127\.0\.0\.1:1") as gone:
        client.model()
    assert gone.value.status is None
    with pytest.raises(ancf.InvalidParameterError, match="url='127"):
        ancf.Client("127.0.0.1:8000")


def test_without_httpx_the_client_names_the_extra():
    code = "import sys; sys.modules['httpx'] = None; import ancf; ancf.Client('http://x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'ancf[client]'" in done.stderr
