"""Several models side by side, and what they tell of items, users and histories."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import ancf
from ancf.errors import InvalidParameterError
from ancf.serving.settings import Settings


@pytest.fixture(scope="module")
def two(model_files, start_server, tmp_path_factory):
    """The model of all and another one, which three of ten users get."""
    folder = tmp_path_factory.mktemp("two")
    first, second = (shutil.copy(each, folder) for each in model_files)
    server = start_server(first, "--also", f"new={second}", "--share", "new=0.3")
    yield server
    assert server.end() == 0
    server.process.stderr.close()
    server.client.close()


def test_a_request_names_its_model_and_the_list_has_the_bits_of_it(two, model_files):
    for name, path in zip(("main", "new"), model_files, strict=True):
        model = ancf.load(path)
        user = str(model.user_ids_[3])
        answer = two.list_of(user, model=name)
        expected = model.recommend(model.user_ids_[3], N=10)
        assert answer["variant"] == name
        assert [each["item_id"] for each in answer["items"]] == expected.ids.astype(str).tolist()
        assert np.float32([each["score"] for each in answer["items"]]).tobytes() == expected.scores.tobytes()
        similar = two.client.get(f"/v1/similar/{model.item_ids_[0]}", params={"model": name}).json()
        assert similar["variant"] == name


def test_a_user_always_gets_the_same_model_and_the_shares_are_kept(two):
    users = [f"user-{at}" for at in range(1000)]
    variants = []
    for start in range(0, 1000, 100):
        answer = two.client.post("/v1/recommend", json={"users": users[start : start + 100], "n": 1}).json()
        variants += [each["variant"] for each in answer["lists"]]
    # A binomial number of 1,000 with 0.3: five standard deviations are 72.
    assert 228 < variants.count("new") < 372
    assert variants.count("main") == 1000 - variants.count("new")
    for user in users[:20]:
        assert two.list_of(user)["variant"] == variants[users.index(user)]
    text = two.client.get("/metrics").text
    assert 'ancf_lists_total{source="popular",variant="new"}' in text
    models = two.client.get("/v1/model").json()
    assert [(each["name"], each["share"]) for each in models["variants"]] == [("main", 0.7), ("new", 0.3)]
    assert two.client.get("/v1/model", params={"model": "new"}).json()["model"] == "ItemKNN"


def test_each_model_is_reloaded_by_itself(serve, model_files, tmp_path):
    other = shutil.copy(model_files[1], tmp_path / "other.ancf")
    server = serve("--also", f"new={other}")
    versions = {
        name: server.client.get("/v1/model", params={"model": name}).json()["model_version"] for name in ("main", "new")
    }
    shutil.copy(model_files[0], tmp_path / "next.ancf")
    (tmp_path / "next.ancf").rename(other)
    answer = server.client.post("/v1/reload", json={"model": "new"}).json()
    assert answer == {"model_version": versions["main"], "previous_version": versions["new"], "changed": True}
    back = server.client.post("/v1/reload", json={"model": "new", "to": "previous"}).json()
    assert back["model_version"] == versions["new"]
    assert server.client.get("/v1/model").json()["previous_version"] is None


@pytest.mark.parametrize(
    ("more", "split", "said"),
    [
        ({"main": "b"}, {}, "'main' is no name for another model"),
        ({"a b": "b"}, {}, "'a b' is no name"),
        ({}, {"new": 0.5}, "no other model 'new'"),
        ({"new": "b"}, {"new": 0.0}, "share of new is 0.0"),
        ({"new": "b"}, {"new": float("nan")}, "share of new is nan"),
        ({"new": "b", "old": "c"}, {"new": 0.6, "old": 0.6}, "add up to 1.2"),
    ],
)
def test_models_and_shares_that_make_no_sense_are_refused(more, split, said):
    with pytest.raises(InvalidParameterError, match=said):
        Settings(model="a", journal="sqlite:///j", more_models=more, split=split)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--also", "new"], "--also new: give each name once"),
        (["--also", "a=1", "--also", "a=2"], "--also a=2: give each name once"),
        (["--share", "new=much"], "--share"),
        (["--share", "new=0.5"], "--share new: no --also gives a model of that name"),
    ],
)
def test_the_command_says_what_is_wrong_with_models(model_file, options, said):
    run = subprocess.run([sys.executable, "-m", "ancf", "serve", model_file, *options], capture_output=True, text=True)
    assert run.returncode == 2 or "no --also gives" in said
    assert run.returncode
    assert said in " ".join(run.stderr.split())


# ---- items, users, histories


def test_items_come_by_how_many_had_them_and_are_searched(shared_server, purchases):
    answer = shared_server.client.get("/v1/items", params={"n": 1000}).json()
    counts = [each["users"] for each in answer["items"]]
    assert answer["total"] == len(counts) == purchases.n_items
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == np.bincount(np.unique(np.stack([purchases.users, purchases.items]), axis=1)[1]).max()
    word = answer["items"][0]["name"].split()[-2]
    found = shared_server.client.get("/v1/items", params={"n": 1000, "search": word.upper()}).json()["items"]
    assert found == [each for each in answer["items"] if word.lower() in f"{each['item_id']} {each['name']}".lower()]
    category = answer["items"][0]["category"]
    of = shared_server.client.get("/v1/items", params={"n": 3, "offset": 1, "category": category}).json()
    assert of["items"] == [each for each in answer["items"] if each["category"] == category][1:4]


def test_users_are_listed_with_how_much_they_have(shared_server, model):
    answer = shared_server.client.get("/v1/users", params={"n": 5, "offset": 2}).json()
    assert [each["user_id"] for each in answer["users"]] == [str(each) for each in model.user_ids_[2:7]]
    assert answer["total"] == len(model.user_ids_)
    assert all(each["items"] > 0 for each in answer["users"])
    one = answer["users"][0]
    assert one in shared_server.client.get("/v1/users", params={"search": one["user_id"]}).json()["users"]


def test_a_history_is_what_was_bought_with_attention_that_adds_up(shared_server, purchases, model):
    user = model.user_ids_[4]
    bought = purchases.item_ids.take(purchases.items[purchases.users == purchases.user_ids.position(user)])
    answer = shared_server.client.post("/v1/history", json={"user_id": str(user)}).json()
    assert {each["item_id"] for each in answer["items"]} == {str(each) for each in bought}
    assert sum(each["attention"] for each in answer["items"]) == pytest.approx(1, abs=1e-4)
    times = [each["time"] for each in answer["items"]]
    assert times == sorted(times, reverse=True)
    new = next(str(each) for each in model.item_ids_ if each not in bought)
    more = shared_server.client.post("/v1/history", json={"user_id": str(user), "history": [new]}).json()["items"]
    assert more[0]["item_id"] == new
    assert len(more) == len(answer["items"]) + 1
    # Nothing was kept of the basket.
    assert shared_server.client.post("/v1/history", json={"user_id": str(user)}).json() == answer


def test_a_basket_beside_a_user_counts_as_if_it_were_bought(shared_server, model):
    user, first, second = "basket-1", *(str(each) for each in model.item_ids_[:2])
    shared_server.events({"event_id": "basket-1", "user_id": user, "item_id": first})
    body = {"users": [user], "history": [second], "explain": 2}
    with_basket = shared_server.client.post("/v1/recommend", json=body).json()["lists"][0]
    assert with_basket["items"] != shared_server.list_of(user, explain=2)["items"]
    assert second not in [each["item_id"] for each in with_basket["items"]]
    shared_server.events({"event_id": "basket-2", "user_id": user, "item_id": second})
    bought = shared_server.list_of(user, explain=2)["items"]
    assert [each["item_id"] for each in bought] == [each["item_id"] for each in with_basket["items"]]
