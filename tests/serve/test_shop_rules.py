"""The rules of a shop, its stock, and the rules of a request: the server lists what the library lists."""

import time

import pytest

import ancf
from ancf.errors import AncfError, InvalidDataError, InvalidParameterError
from ancf.serving.shop_rules import joined, make_rules, read_rules, read_stock


@pytest.fixture(scope="module")
def library(model_files):
    return ancf.load(model_files[0])


def ids_of(recommendations):
    return [str(each) for each in recommendations.ids]


def write(path, text):
    """In one step, as an editor or a job does it; never the same moment as before."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, "utf-8")
    return new.replace(path)


def until(condition):
    """The server looks at its files once a second."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the server did not follow")


def test_a_request_has_rules_of_its_own(shared_server, library):
    user = library.user_ids_[3]
    rules = {"at_most": {"category": 1}, "boosts": {"category == 'Toys'": 3.0}, "deny": [str(library.item_ids_[0])]}
    answer = shared_server.client.post("/v1/recommend", json={"users": [str(user)], "rules": rules}).json()
    listed = answer["lists"][0]["items"]
    assert [each["item_id"] for each in listed] == ids_of(library.recommend(user, rules=ancf.Rules(**rules)))
    assert len({each["category"] for each in listed}) == len(listed)
    history = [str(each) for each in library.item_ids_[:3]]
    answer = shared_server.client.post("/v1/recommend", json={"history": history, "rules": rules}).json()
    expected = library.recommend_for_history(history, rules=ancf.Rules(**rules))
    assert [each["item_id"] for each in answer["lists"][0]["items"]] == ids_of(expected)


def test_diversity_is_an_option_of_every_list(shared_server, library):
    user = library.user_ids_[3]
    expected = library.recommend(user, rules=ancf.Rules(diversity=0.7))
    assert shared_server.ids(str(user), diversity=0.7) == ids_of(expected)
    assert ids_of(expected) != ids_of(library.recommend(user))
    by = library.recommend(user, rules=ancf.Rules(diversity=0.7, diversity_by="category"))
    assert shared_server.ids(str(user), diversity=0.7, diversity_by="category") == ids_of(by)


def test_what_was_bought_together_is_what_the_library_says(shared_server, library):
    basket = [str(each) for each in library.item_ids_[:2]]
    answer = shared_server.client.get("/v1/bought-together", params={"item_id": basket, "n": 5}).json()
    assert [each["item_id"] for each in answer["items"]] == ids_of(library.bought_together(basket, N=5))
    assert {each["source"] for each in answer["items"]} == {"together"}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"where": "color == 'red'"}, "color"),
        ({"where": "category =="}, "category =="),
        ({"diversity_by": "category"}, "diversity"),
        ({"diversity": 2}, "diversity"),
        ({"wish": 1}, "wish"),
        ({"pins": {"0": "a"}}, "pins"),
    ],
)
def test_rules_without_meaning_are_refused(shared_server, rules, said):
    answer = shared_server.client.post("/v1/recommend", json={"users": ["u"], "rules": rules})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_the_rules_and_the_stock_of_the_shop_hold_in_every_list(serve, model_file, tmp_path, library):
    stock = [str(each) for each in library.item_ids_[5:60]]
    rules_file = write(tmp_path / "ancf.toml", "[rules]\nat_most = {category = 2}\n")
    stock_file = write(tmp_path / "stock.txt", "# this week\n" + "\n".join(stock))
    server = serve("--rules", rules_file, "--stock", stock_file)
    shop, rules = library.with_stock(stock), ancf.Rules(at_most={"category": 2})
    user = library.user_ids_[3]
    assert server.ids(str(user)) == ids_of(shop.recommend(user, rules=rules))
    assert server.list_of("nobody")["items"][0]["source"] == "popular"
    for path in ("/v1/recommend/nobody?n=80", "/v1/popular?n=80", f"/v1/similar/{stock[0]}?n=80"):
        listed = [each["item_id"] for each in server.client.get(path).json()["items"]]
        assert listed
        assert set(listed) <= set(stock)
    about = server.client.get("/v1/model").json()
    assert (about["rules"], about["in_stock"]) == ({"at_most": {"category": 2}}, len(stock))
    # A purchase, and rules of the request on top of those of the shop.
    server.events({"event_id": "1", "user_id": str(user), "item_id": stock[0]})
    assert stock[0] not in server.ids(str(user), n=80)
    body = {"users": [str(user)], "rules": {"at_most": {"category": 1}}}
    few = server.client.post("/v1/recommend", json=body).json()["lists"][0]["items"]
    assert len({each["category"] for each in few}) == len(few)
    # Other files are followed; those that make no sense are not.
    write(stock_file, "\n".join(stock[:20]))
    until(lambda: server.client.get("/v1/model").json()["in_stock"] == 20)
    assert set(server.ids("nobody", n=80)) <= set(stock[:20])
    write(rules_file, "[rules]\nwhere = \"color == 'red'\"\n")
    until(lambda: any(each["event"] == "rules and stock not taken" for each in server.log))
    assert server.client.get("/v1/model").json()["rules"] == {"at_most": {"category": 2}}


def test_files_of_which_the_model_knows_no_id_stop_no_server_and_are_told(serve, tmp_path, library):
    rules_file = write(tmp_path / "ancf.toml", "[rules]\ndeny = ['old one', 'older one']\nat_most = {category = 2}\n")
    stock_file = write(tmp_path / "stock.txt", "not yet\nnor this\nnor that\n")
    server = serve("--rules", rules_file, "--stock", stock_file)
    about = server.client.get("/v1/model").json()
    assert (about["unknown_ids"], about["in_stock"]) == ({"deny": 2, "stock": 3}, 0)
    assert [each.partition(":")[0] for each in about["warnings"]] == ["deny", "stock"]
    assert [line["message"] for line in server.log if line["event"] == "warning"] == about["warnings"]
    user = str(library.user_ids_[3])
    for path in (f"/v1/recommend/{user}", "/v1/recommend/nobody", "/v1/popular"):
        assert server.client.get(path).json()["items"] == []
    # With another table of stock the rest of the rules holds, also below those of a request.
    stock = [str(each) for each in library.item_ids_[5:60]]
    write(stock_file, "\n".join([*stock, "not yet"]))
    until(lambda: server.client.get("/v1/model").json()["in_stock"] == len(stock))
    shop = library.with_stock(stock)
    assert server.ids(user) == ids_of(shop.recommend(user, rules=ancf.Rules(at_most={"category": 2})))
    body = {"users": [user], "rules": {"deny": stock[:20]}}
    listed = server.client.post("/v1/recommend", json=body).json()["lists"][0]["items"]
    expected = shop.recommend(user, rules=ancf.Rules(at_most={"category": 2}, deny=stock[:20]))
    assert [each["item_id"] for each in listed] == ids_of(expected)
    assert 'ancf_shop_unknown_ids{of="stock",variant="main"} 1.0' in server.client.get("/metrics").text
    # A call says it as an error, with the hint.
    with pytest.raises(InvalidDataError, match="none of the 2 ids is known"):
        library.recommend(user, rules=ancf.Rules(deny=["old one", "older one"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [("[rules", "no TOML"), ("[rule]\n", "no table"), ("[rules]\nwish = 1\n", "wish"), ("rules = 1\n", "no table")],
)
def test_a_file_of_rules_that_makes_no_sense_is_refused(tmp_path, content, said):
    with pytest.raises(AncfError, match=said):
        read_rules(write(tmp_path / "ancf.toml", content))


def test_a_table_of_stock_is_ids_on_lines(tmp_path):
    assert read_stock(write(tmp_path / "stock.txt", "\ufeff a \n\n# not\nb\na\n")) == ("a", "b")
    with pytest.raises(InvalidDataError, match="no id"):
        read_stock(write(tmp_path / "stock.txt", "# nothing\n"))


def test_what_the_shop_denies_a_request_cannot_allow():
    shop = ancf.Rules(deny=["a"], where="price < 9", at_most={"category": 1})
    both = joined(shop, {"deny": ["b"], "where": "price > 2", "at_most": {"category": 5}})
    assert both == ancf.Rules(deny=["a", "b"], where="(price < 9) and (price > 2)", at_most={"category": 5})
    assert joined(shop, {}) is shop
    with pytest.raises(InvalidParameterError, match="wish"):
        make_rules({"wish": 1}, "rules")
