"""What the server answers is what the library answers, and every event counts at once."""

import numpy as np
import pytest

import ancf
from ancf.scoring.scorer import Encoder
from ancf.serving.histories import continue_history, row_of
from ancf.serving.journal import Entry
from ancf.serving.schema import ListOptions
from ancf.serving.served_model import ServedModel


def purchase(user, item, event_id, **more):
    return {"event_id": event_id, "user_id": user, "item_id": item, **more}


@pytest.fixture(scope="module")
def library(model_files):
    return ancf.load(model_files[0])


def had(model, user):
    """What the model has of a user, as ``recommend_for_history`` takes it."""
    scorer = model._fitted()
    items, weights, times = scorer.purchases_of(scorer.user_ids.position(scorer.user_ids.parse(user)))
    return scorer.item_ids.take(items), weights, times.astype("datetime64[s]")


def as_served(recommendations):
    return [(str(item), float(score)) for item, score in zip(*recommendations, strict=True)]


def items_of(answer):
    return [(each["item_id"], each["score"]) for each in answer["items"]]


def test_a_known_user_gets_the_list_of_the_library(shared_server, library):
    for user in library.user_ids_.values[:20]:
        answer = shared_server.list_of(user, n=7)
        assert items_of(answer) == as_served(library.recommend(user, N=7))
        assert [each["rank"] for each in answer["items"]] == list(range(1, 8))
        assert {each["source"] for each in answer["items"]} == {"model"}
        assert (
            answer["items"][0]["name"] == library.item_names_[library.item_ids_.position(answer["items"][0]["item_id"])]
        )


def test_somebody_unknown_gets_what_is_popular_an_error_or_nothing(shared_server, library):
    popular = library.recommend(["?"], N=4, on_unknown="popular")
    answer = shared_server.list_of("nobody", n=4)
    assert [each["item_id"] for each in answer["items"]] == popular.ids[0].tolist()
    assert {each["source"] for each in answer["items"]} == {"popular"}
    assert shared_server.list_of("nobody", on_unknown="skip")["items"] == []
    refused = shared_server.client.get("/v1/recommend/nobody?on_unknown=raise")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"
    assert "nobody" in refused.json()["detail"]


def test_a_purchase_changes_the_next_list_as_the_same_history_does(shared_server, library):
    user = str(library.user_ids_[5])
    items, weights, times = had(library, user)
    bought = shared_server.ids(user, n=3)[1]
    shared_server.events(purchase(user, bought, "change-1", time="2026-01-02T03:04:05Z"))
    expected = library.recommend_for_history(
        [*items, bought],
        weights=[*weights, 1.0],
        times=[*times, np.datetime64("2026-01-02T03:04:05")],
        N=10,
    )
    answer = shared_server.list_of(user, n=10)
    assert items_of(answer) == as_served(expected)
    assert bought not in [each["item_id"] for each in answer["items"]]
    assert {each["source"] for each in answer["items"]} == {"history"}
    again = shared_server.list_of(user, n=10, exclude_seen=False)
    assert items_of(again) == as_served(
        library.recommend_for_history(
            [*items, bought],
            weights=[*weights, 1.0],
            times=[*times, np.datetime64("2026-01-02T03:04:05")],
            filter_already_liked_items=False,
        )
    )


def test_what_the_model_does_not_know_leaves_nothing_out(shared_server, library):
    user, item = str(library.user_ids_[8]), str(library.item_ids_[0])
    client = shared_server.client
    for path in (f"/v1/recommend/{user}", "/v1/popular", f"/v1/similar/{item}", f"/v1/bought-together?item_id={item}"):
        with_it = client.get(path, params={**({"item_id": item} if "?" in path else {}), "exclude": ["new", "newer"]})
        assert with_it.json()["items"] == client.get(path).json()["items"] != []
    body = {"users": [user], "rules": {"deny": ["new"]}}
    assert client.post("/v1/recommend", json=body).json()["lists"][0]["items"] == shared_server.list_of(user)["items"]
    # One that is known in another spelling is a mistake.
    refused = client.get(f"/v1/recommend/{user}", params={"exclude": f" {item}"})
    assert refused.status_code == 422
    assert "spaces" in refused.json()["detail"] or item in refused.json()["detail"]


def test_somebody_new_is_their_events(shared_server, library):
    item = str(library.item_ids_[3])
    shared_server.events(purchase("new one", item, "new-1", quantity=4))
    assert items_of(shared_server.list_of("new%20one")) == as_served(library.recommend_for_history([item]))


def test_what_was_only_looked_at_may_be_recommended(shared_server, library):
    item = str(library.item_ids_[3])
    shared_server.events(purchase("looker", item, "look-1", event="view"))
    answer = shared_server.list_of("looker", n=1000)
    assert item in [each["item_id"] for each in answer["items"]]
    assert {each["source"] for each in answer["items"]} == {"history"}


def test_what_came_back_counts_no_more(shared_server, library):
    user = str(library.user_ids_[6])
    before = shared_server.list_of(user)["items"]
    item = before[0]["item_id"]
    shared_server.events(purchase(user, item, "back-1", quantity=2))
    assert item not in shared_server.ids(user)
    shared_server.events(purchase(user, item, "back-2", event="return", quantity=2))
    assert [each["item_id"] for each in shared_server.list_of(user)["items"]] == [each["item_id"] for each in before]


def test_what_the_model_has_learned_is_not_counted_again(shared_server, library):
    user = str(library.user_ids_[7])
    items, _, times = had(library, user)
    before = shared_server.list_of(user, exclude_seen=False)["items"]
    assert before[0]["source"] == "model"
    shared_server.events(purchase(user, str(items[0]), "learned-1", time=f"{times[0]}Z"))
    assert shared_server.list_of(user, exclude_seen=False)["items"] == before


def test_an_event_of_the_past_that_the_model_does_not_know_counts(shared_server, library):
    user = str(library.user_ids_[8])
    bought = shared_server.ids(user)[0]
    shared_server.events(purchase(user, bought, "late-1", time="2024-06-01T00:00:00Z"))
    assert bought not in shared_server.ids(user, n=1000)


def test_an_event_that_is_sent_twice_counts_once(shared_server, library):
    item = str(library.item_ids_[3])
    event = purchase("twice", item, "twice-1")
    assert shared_server.events(event) == {"accepted": 1, "duplicates": 0, "unknown_items": []}
    once = items_of(shared_server.list_of("twice", exclude_seen=False))
    assert shared_server.events(event, event) == {"accepted": 0, "duplicates": 2, "unknown_items": []}
    assert items_of(shared_server.list_of("twice", exclude_seen=False)) == once


def test_items_that_the_model_does_not_know_are_named(shared_server):
    said = shared_server.events(purchase("someone", "not there", "unknown-1"))
    assert said == {"accepted": 1, "duplicates": 0, "unknown_items": ["not there"]}
    assert {each["source"] for each in shared_server.list_of("someone")["items"]} == {"popular"}


def test_who_is_forgotten_is_unknown_and_may_begin_anew(shared_server, library):
    user, item = str(library.user_ids_[9]), str(library.item_ids_[3])
    shared_server.events(purchase(user, item, "forget-1"), purchase(user, item, "forget-2"))
    answer = shared_server.client.delete(f"/v1/users/{user}")
    assert answer.json() == {"user_id": user, "events": 2}
    assert {each["source"] for each in shared_server.list_of(user)["items"]} == {"popular"}
    shared_server.events(purchase(user, item, "forget-3"))
    assert items_of(shared_server.list_of(user)) == as_served(library.recommend_for_history([item]))
    assert shared_server.client.delete(f"/v1/users/{user}").json()["events"] == 1


def test_a_question_that_needs_the_history_says_that_its_user_was_forgotten(shared_server, library):
    user, item = str(library.user_ids_[12]), str(library.item_ids_[3])
    shared_server.client.delete(f"/v1/users/{user}")
    client = shared_server.client
    for answer in (
        client.get(f"/v1/explain?user_id={user}&item_id={item}"),
        client.post("/v1/score", json={"user_id": user, "items": [item]}),
        client.get(f"/v1/recommend/{user}?on_unknown=raise"),
    ):
        assert answer.status_code == 404
        assert "was forgotten" in answer.json()["detail"]


def test_filters_hold_with_and_without_events(shared_server, library):
    user = str(library.user_ids_[10])
    category = library.item_categories_[0]
    chosen = [str(item) for item, of in zip(library.item_ids_, library.item_categories_, strict=True) if of == category]
    for event in (None, purchase(user, chosen[0], "filter-1")):
        if event:
            shared_server.events(event)
        listed = shared_server.ids(user, n=1000, category=category, exclude_seen=False)
        assert sorted(listed) == sorted(chosen)
        assert sorted(shared_server.ids(user, items=chosen[:3], exclude_seen=False)) == sorted(chosen[:3])
        without = shared_server.ids(user, category=category, exclude=chosen[1:], exclude_seen=False)
        assert without == chosen[:1]
    refused = shared_server.client.get(f"/v1/recommend/{user}?category=nothing")
    assert refused.status_code == 422
    assert str(category) in refused.json()["detail"]


def test_reasons_are_those_of_explain(shared_server, library):
    user = str(library.user_ids_[11])
    for event in (None, purchase(user, str(library.item_ids_[3]), "explain-1")):
        if event:
            shared_server.events(event)
        best = shared_server.list_of(user, n=2, explain=2)["items"][0]
        whole = shared_server.client.get("/v1/explain", params={"user_id": user, "item_id": best["item_id"]}).json()
        assert best["reasons"] == whole["reasons"][:2]
        assert whole["score"] == best["score"]
        parts = sum(each["adds"] for each in whole["reasons"]) + sum(whole["base"].values())
        assert parts == pytest.approx(whole["score"], rel=1e-4)
        scores = shared_server.client.post("/v1/score", json={"user_id": user, "items": [best["item_id"]]}).json()
        assert scores["scores"] == [best["score"]]


def test_several_users_and_baskets_are_asked_at_once(shared_server, library):
    users = [str(each) for each in library.user_ids_[13:16]]
    answer = shared_server.client.post("/v1/recommend", json={"users": [*users, "nobody"], "n": 3}).json()
    assert [each["user_id"] for each in answer["lists"]] == [*users, "nobody"]
    for user, each in zip(users, answer["lists"], strict=False):
        assert items_of(each) == as_served(library.recommend(user, N=3))
    basket = [str(each) for each in library.item_ids_[:3]]
    [only] = shared_server.client.post("/v1/recommend", json={"history": basket, "weights": [1, 2, 3]}).json()["lists"]
    assert items_of(only) == as_served(library.recommend_for_history(basket, weights=[1, 2, 3]))
    assert only["user_id"] is None


def test_similar_and_popular_items_are_those_of_the_library(shared_server, library):
    item = str(library.item_ids_[4])
    answer = shared_server.client.get(f"/v1/similar/{item}?n=5").json()
    assert items_of(answer) == as_served(library.similar_items(item, N=5))
    popular = shared_server.client.get("/v1/popular?n=3").json()
    assert [each["item_id"] for each in popular["items"]] == shared_server.ids("nobody", n=3)


def test_ids_of_every_kind_are_text(serve, model_file):
    data = ancf.Interactions.from_ids(user=[10, 10, 20, 20, 30], item=[1, 2, 2, 3, 3])
    model = ancf.ItemKNN().fit(data)
    model.save(model_file)
    server = serve()
    assert items_of(server.list_of("10")) == as_served(model.recommend(10))
    server.events(purchase("10", "3", "number-1"))
    assert server.ids("10") == []
    assert server.client.get("/v1/model").json()["item_id_kind"] == "int"


@pytest.mark.parametrize(
    "model",
    [
        ancf.ANCF(factors=8, epochs=1, half_life=30, repeat_weight=0.3, random_state=1),
        ancf.ANCF(factors=8, epochs=1, half_life=30, repeat_weight=0, neighbors=0, random_state=1),
        ancf.ANCF(factors=8, epochs=1, half_life=None, random_state=1),
        ancf.ANCF(factors=8, epochs=1, half_life=None, repeat_weight=0, random_state=1),
        ancf.ItemKNN(),
        ancf.ItemKNN(use_weights=True),
        ancf.EASE(),
        ancf.Popular(),
    ],
    ids=["half-life", "vectors alone", "attention", "without repetition", "item-kNN", "weights", "ease", "popular"],
)
def test_a_list_with_fresh_events_has_the_bits_of_recommend_for_history(purchases, model):
    model.fit(purchases)
    served = ServedModel(model, "1")
    scorer, until = served.scorer, served.scorer.purchases.until
    items, users = scorer.item_ids.values, scorer.user_ids.values
    rng = np.random.default_rng(3)
    compared = 0
    for case in range(150):
        user = str(users[case % len(users)]) if case % 7 else f"new-{case}"
        entries = [
            Entry(
                str(rng.choice(items)) if rng.random() < 0.9 else "unknown",
                event,
                float(rng.integers(1, 4)),
                until + int(rng.integers(-9, 10**6)),
            )
            for event in rng.choice(["purchase", "view", "return"], rng.integers(1, 6), p=[0.8, 0.1, 0.1])
        ]
        row = row_of(scorer, user, entries)
        continued = continue_history(scorer, row, entries, served.counting)
        seen = bool(case % 3)
        found = served.recommend(user, entries, ListOptions(n=12, exclude_seen=seen))
        if continued is None or not continued.items:
            assert found[0].source == ("model" if row >= 0 and continued is None else "popular")
            continue
        compared += 1
        one = continued.as_one()
        general = Encoder.top_n_for_items(scorer.encoder, scorer, one, 12, seen, 1)
        assert [(each.item_id, each.score) for each in found] == [
            (str(items[at]), float(score)) for at, score in zip(*general, strict=True)
        ]
        if one.had is None:
            of_library = model.recommend_for_history(
                items[one.items].tolist(),
                weights=one.weights,
                times=None if one.times is None else np.array(one.times).astype("datetime64[s]"),
                N=12,
                filter_already_liked_items=seen,
            )
            assert [(each.item_id, each.score) for each in found] == as_served(of_library)
    assert compared > 90


@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
def test_where_interest_counts_by_its_weights_a_list_with_fresh_events_is_that_of_the_library(timed):
    draws = np.random.default_rng(5)
    n, n_users, n_items, start = 900, 40, 30, 1_600_000_000
    kinds, chances = ["view", "cart", "purchase"], [0.6, 0.2, 0.2]
    users, items = draws.integers(0, n_users, n), draws.integers(0, n_items, n)
    quantities, events = draws.integers(1, 4, n), draws.choice(kinds, n, p=chances)
    columns = {"user": users, "item": items, "event": events, "quantity": quantities}
    times = start + 3600 * np.arange(n)
    weights = {"view": 1.0, "cart": 3.0, "purchase": 10.0}
    data = ancf.read_interactions({**columns, "time": times} if timed else columns, event_weights=weights)
    half_lives = {"half_life": 20.0, "repeat_half_life": 40.0} if timed else {}
    model = ancf.ANCF(factors=8, epochs=2, interest="given", repeat_weight=0.3, random_state=1, **half_lives).fit(data)
    served, parts = ServedModel(model, "1"), set()

    def share(event, quantity):
        return 1.0 if event == "purchase" else float(np.float32(weights[event] * quantity) / np.float32(10.0))

    for case in range(60):
        # Every third one is new.
        user = case if case < n_users and case % 3 else 1000 + case
        mine = users == user
        known = [*zip(items[mine].tolist(), events[mine], quantities[mine].tolist(), times[mine].tolist(), strict=True)]
        weighs, last, had = {}, {}, {item for item, event, *_ in known if event == "purchase"}
        for item, event, quantity, at in known:
            weighs[item], last[item] = weighs.get(item, 0.0) + share(event, quantity), at
        if not timed:
            # A pair without times is one event: a purchase if some of it is, else all that was looked at.
            for item in weighs:
                looked_at = [weights[event] * quantity for of, event, quantity, _ in known if of == item]
                weighs[item] = 1.0 if item in had else float(np.float32(sum(looked_at)) / np.float32(10.0))
        later = start + 10**8 + case
        fresh = [(int(draws.integers(0, n_items)), str(draws.choice(kinds, p=chances)), int(draws.integers(1, 4)))]
        fresh.append((fresh[0][0] if case % 2 else int(draws.integers(0, n_items)), "view", 1))
        for item, event, quantity in fresh:
            weighs[item], last[item] = weighs.get(item, 0.0) + share(event, quantity), later
            had |= {item} if event == "purchase" else set()
        parts |= {weight for weight in weighs.values() if weight < 1}
        entries = [Entry(str(item), event, float(quantity), later, 1) for item, event, quantity in fresh]
        expected = model.recommend_for_history(
            [*weighs],
            weights=[*weighs.values()],
            times=np.array([last[item] for item in weighs]).astype("datetime64[s]") if timed else None,
            N=12,
            filter_already_liked_items=False,
        )
        found = served.recommend(str(user), entries, ListOptions(n=12, exclude_seen=False))
        assert [(each.item_id, each.score) for each in found] == as_served(expected)
        every = served.recommend(str(user), entries, ListOptions(n=n_items))
        assert {int(each.item_id) for each in every} == {*range(n_items)} - had
    assert len(parts) > 5
