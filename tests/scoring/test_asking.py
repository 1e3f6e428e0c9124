"""A view with a table of stock, why an item is missing, and what is bought together."""

import copy
import pickle
from itertools import combinations

import numpy as np
import pytest

import ancf


def purchases():
    rng = np.random.default_rng(3)
    n = 900
    items = (rng.pareto(1.2, n) * 5).astype(int) % 40
    return ancf.Interactions.from_ids(user=rng.integers(0, 30, n), item=items, time=rng.integers(0, 60, n) * 86400)


DATA = purchases()


@pytest.fixture(scope="module", params=["ItemKNN", "ANCF", "Popular"])
def model(request):
    options = {"ANCF": {"factors": 8, "epochs": 1}}.get(request.param, {})
    return getattr(ancf, request.param)(**options).fit(DATA)


def test_a_view_lists_what_is_in_stock_by_every_way(model, tmp_path):
    stock = [3, 7, 11, 12, 25, 999]
    shop = model.with_stock(stock)
    assert type(shop) is type(model)
    for mine, plain in (
        (shop.recommend(1), model.recommend(1, items=stock)),
        (shop.recommend([1, 2, "nobody"], on_unknown="popular"), None),
        (shop.recommend([1, 2], items=[3, 7, 30]), model.recommend([1, 2], items=[3, 7])),
        (shop.recommend_for_history([3, 5]), model.recommend_for_history([3, 5], items=stock)),
        (shop.recommend_for_history([[3, 5], [8]]), model.recommend_for_history([[3, 5], [8]], items=stock)),
        (shop.recommend_all(), model.recommend_all(items=stock)),
        (shop.bought_together([5]), model.bought_together([5], items=stock)),
    ):
        assert set(mine.to_pandas()["item_id"]) <= set(stock)
        if plain is not None:
            assert mine.to_pandas().equals(plain.to_pandas())
    if not isinstance(model, ancf.Popular):
        assert shop.similar_items(3).to_pandas().equals(model.similar_items(3, items=stock).to_pandas())
    for name, each in (("view", shop), ("model", model)):
        each.recommend_all(out=tmp_path / f"{name}.csv", **({} if each is shop else {"items": stock}))
    assert (tmp_path / "view.csv").read_bytes() == (tmp_path / "model.csv").read_bytes()
    assert shop.predict(1, 30) == model.predict(1, 30)
    metrics = ["recall@5"]
    assert ancf.evaluate(shop, DATA, metrics, filter_already_liked_items=False)["recall@5"] <= 1
    assert shop.with_stock(None).recommend(1).to_pandas().equals(model.recommend(1).to_pandas())


def test_evaluation_of_a_view_measures_its_lists(model):
    shop = model.with_stock([3])
    frame = DATA.to_pandas()
    found = ancf.evaluate(shop, DATA, ["recall@1"], filter_already_liked_items=False)
    had = frame.groupby("user_id")["item_id"].agg(set)
    assert found["recall@1"] == pytest.approx(np.mean([(3 in items) / len(items) for items in had]))


def test_a_view_goes_to_other_processes_with_its_stock(model):
    shop = model.with_stock([3, 7])
    for other in (pickle.loads(pickle.dumps(shop)), copy.deepcopy(shop), copy.copy(shop)):
        assert other.recommend_all().to_pandas().equals(shop.recommend_all().to_pandas())


def test_a_view_shares_what_the_model_has_and_changes_nothing_of_it(model):
    before = model.recommend_all().to_pandas()
    shop = model.with_stock([3])
    assert shop._scorer.ranker is model._scorer.ranker
    assert model.recommend_all().to_pandas().equals(before)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "save", "to_bytes"])
def test_a_view_is_not_fitted_updated_or_saved(model, call, tmp_path):
    shop = model.with_stock([3])
    given = {"save": (tmp_path / "shop.ancf",), "to_bytes": ()}.get(call, (DATA,))
    with pytest.raises(ancf.InvalidCallError, match="a view with a table of stock"):
        getattr(shop, call)(*given)
    assert shop.recommend(1).ids.tolist() in ([], [3])
    assert not list(tmp_path.iterdir())


# ---- why not


def test_why_not_says_the_first_rule_that_keeps_an_item_out(model):
    user = 1
    had = model.history(user).item_ids.tolist()
    new = [item for item in model.item_ids_.values.tolist() if item not in had]
    assert model.why_not(user, had[0]).reason == "seen"
    assert model.why_not(user, had[0], N=40, filter_already_liked_items=False).reason == "listed"
    assert model.why_not(user, 12345).reason == "unknown"
    assert model.with_stock(new[:1]).why_not(user, new[1]).reason == "stock"
    assert model.why_not(user, new[1], items=new[:1]).reason == "items"
    assert model.why_not(user, new[1], filter_items={user: new[1:3]}).reason == "filter_items"
    assert model.why_not(user, new[1], rules=ancf.Rules(deny=new[1])).reason == "deny"
    where = f"item_id == {new[0]}"
    assert model.why_not(user, new[1], rules=ancf.Rules(where=where)).rule == where
    order = model.recommend(user, N=40).ids.tolist()
    last = model.why_not(user, order[-1], N=2)
    assert (last.reason, last.place, last.n, last.length) == ("ranked", len(order), len(order), 2)
    assert last.score == model.predict(user, order[-1])
    first = model.why_not(user, order[0], N=2)
    assert (first.reason, first.place) == ("listed", 1)
    quota = ancf.Rules(at_most={"item_id is not None": 1})
    assert model.why_not(user, order[1], N=2, rules=quota).reason == "at_most"
    pins = ancf.Rules(pins=[order[-1]])
    assert model.why_not(user, order[1], N=2, rules=pins).reason == "displaced"
    boosted = model.why_not(user, order[3], N=1, shown=order[:2], rules=ancf.Rules(fade=1e-6))
    assert boosted.place <= 4
    assert boosted.reason in ("ranked", "listed")


def test_why_not_agrees_with_the_list_for_every_item(model):
    rules = ancf.Rules(at_most={"buyers > 5": 2}, boosts={"buyers < 4": 3.0}, at_least={"buyers < 3": 1})
    listed = model.recommend(4, N=6, rules=rules).ids.tolist()
    for item in model.item_ids_.values.tolist():
        found = model.why_not(4, item, N=6, rules=rules)
        assert (found.reason == "listed") == (item in listed), found
        assert str(found).startswith(repr(item))


def test_why_not_of_unknown_people_and_several_items_is_refused(model):
    with pytest.raises(ancf.UnknownUserError):
        model.why_not("nobody", 3)
    with pytest.raises(ancf.UnknownItemError, match="'3'"):
        model.why_not(1, "3")
    with pytest.raises(ancf.InvalidParameterError, match="one item"):
        model.why_not(1, [3])


# ---- bought together


def cosines(data):
    """Of the baskets, by hand."""
    frame = data.to_pandas()
    baskets = [set(rows["item_id"]) for _, rows in frame.groupby(["user_id", "time"])]
    n = {item: sum(item in basket for basket in baskets) for item in data.item_ids.values.tolist()}
    both = {}
    for basket in baskets:
        for pair in combinations(sorted(basket), 2):
            both[pair] = both.get(pair, 0) + 1
    return {pair: count / (np.sqrt(n[pair[0]] * n[pair[1]]) + 10) for pair, count in both.items()}


def test_what_is_bought_together_stands_in_the_same_baskets(model):
    near = cosines(DATA)
    for basket in ([2], [0, 5], [1, 2, 9]):
        wanted = {}
        for item in DATA.item_ids.values.tolist():
            total = sum(near.get(tuple(sorted((item, other))), 0) for other in basket)
            if item not in basket and total > 0:
                wanted[item] = total
        found = model.bought_together(basket, N=40)
        assert dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)) == pytest.approx(wanted, rel=1e-5)
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
        assert set(found.to_pandas()["source"]) <= {"together"}
    several = model.bought_together([[2], [0, 5]], N=3)
    assert several.ids[1].tolist() == model.bought_together([0, 5], N=3).ids.tolist()


def test_what_is_bought_together_obeys_filters_and_rules(model):
    plain = model.bought_together([0], N=40).ids.tolist()
    assert model.bought_together([0], N=3, filter_items=plain[:2]).ids.tolist() == plain[2:5]
    assert model.bought_together([0], N=3, items=plain[5:7]).ids.tolist() == plain[5:7]
    pinned = model.bought_together([0], N=3, rules=ancf.Rules(pins=[plain[9]], deny=plain[0]))
    assert pinned.ids.tolist() == [plain[9], *plain[1:3]]
    assert model.bought_together([0], filter_basket=False, N=40).counts[0] >= len(plain)


def test_baskets_that_say_nothing_are_refused(model):
    with pytest.raises(ancf.InvalidDataError, match="basket 1 is empty"):
        model.bought_together([[0], []])
    with pytest.raises(ancf.UnknownItemError):
        model.bought_together([0, 999])
    bare = ancf.from_factors(np.eye(2), np.eye(2))
    with pytest.raises(ancf.InvalidDataError, match="no purchases"):
        bare.bought_together([0])


def test_without_times_a_basket_is_what_one_person_has():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=["a", "b", "b", "c"])
    assert ancf.Popular().fit(data).bought_together(["b"]).ids.tolist() == ["a", "c"]
