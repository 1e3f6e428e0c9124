"""What comes back, what goes with what, lists as of a day, and what was shown before."""

import json

import pytest

import ancf as package


@pytest.fixture
def model(shop):
    return package.load(shop / "shop.ancf")


def test_buy_again_says_what_the_model_says(rows, model):
    user = str(model.user_ids_.values[3])
    assert [row["item_id"] for row in rows("buy-again", "shop.ancf", "--user", user, "-n", 4)] == (
        model.buy_again(user, N=4).ids.tolist()
    )
    everybody = rows("buy-again", "shop.ancf", "-n", 2)
    assert [row["item_id"] for row in everybody] == model.buy_again(N=2).to_pandas()["item_id"].tolist()
    assert {row["source"] for row in everybody} == {"again"}


def test_bought_together_says_what_the_model_says(rows, model):
    basket = [str(each) for each in model.item_ids_.values[:2]]
    typed = [each for item in basket for each in ("--item", item)]
    expected = model.bought_together(basket, N=5).ids.tolist()
    assert [row["item_id"] for row in rows("bought-together", "shop.ancf", *typed, "-n", 5)] == expected
    without = rows("bought-together", "shop.ancf", *typed, "-n", 5, "--without", expected[0])
    assert [row["item_id"] for row in without] == model.bought_together(
        basket, 5, filter_items=expected[:1]
    ).ids.tolist()


def test_a_day_is_asked_for_by_now(rows, ancf, model):
    purchases = model._fitted().purchases
    day = str((purchases.times.min() + purchases.times.max()) // 2)
    user = model.recommend_all(N=1, now=day).user_ids.tolist()[0]
    for command, expected in (
        ("recommend", model.recommend(user, N=4, now=day).ids.tolist()),
        ("buy-again", model.buy_again(user, N=4, now=day).ids.tolist()),
    ):
        found = [row["item_id"] for row in rows(command, "shop.ancf", "--user", user, "-n", 4, "--now", day)]
        assert found == expected
    everybody = rows("recommend-all", "shop.ancf", "-n", 1, "--now", day)
    assert [row["item_id"] for row in everybody] == model.recommend_all(N=1, now=day).to_pandas()["item_id"].tolist()
    code, out, _ = ancf("explain", "shop.ancf", "--user", user, "--item", expected[0], "--now", day, "--format", "json")
    assert code == 0
    assert json.loads(out)["score"] == model.explain(user, expected[0], now=day).score
    code, _, err = ancf("recommend", "shop.ancf", "--user", user, "--now", "soon")
    assert code == 3
    assert "'soon'" in err


def test_what_a_file_says_was_shown_comes_later(rows, ancf, model, tmp_path):
    user, other = (str(each) for each in model.user_ids_.values[3:5])
    first = model.recommend(user, N=3).ids.tolist()
    (tmp_path / "yesterday.csv").write_text("user_id,item_id\n" + f"{user},{first[0]}\n" * 5)
    found = rows("recommend", "shop.ancf", "--user", user, "-n", 3, "--shown", tmp_path / "yesterday.csv")
    expected = model.recommend(user, N=3, shown={user: [first[0]] * 5}).ids.tolist()
    assert [row["item_id"] for row in found] == expected != first
    everybody = rows("recommend-all", "shop.ancf", "-n", 3, "--shown", tmp_path / "yesterday.csv")
    assert [row["item_id"] for row in everybody if row["user_id"] == user] == expected
    assert [row["item_id"] for row in everybody if row["user_id"] == other] == model.recommend(other, N=3).ids.tolist()
    ancf("recommend-all", "shop.ancf", "-n", 3, "-o", tmp_path / "lists.csv")
    again = rows("recommend", "shop.ancf", "--user", user, "-n", 3, "--shown", tmp_path / "lists.csv")
    assert [row["item_id"] for row in again] == model.recommend(user, N=3, shown={user: first}).ids.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recommend", "shop.ancf", "--history", "P001", "--shown", "x.csv"), "--shown has no effect with --history"),
        (("recommend", "shop.ancf", "--user", "1", "--shown", "nowhere.csv"), "nowhere.csv"),
        (("bought-together", "shop.ancf", "--item", "nothing"), "nothing"),
        (("buy-again", "shop.ancf", "--user", "nobody"), "--on-unknown skip"),
    ],
)
def test_a_mistake_is_told(ancf, arguments, said):
    code, out, err = ancf(*arguments)
    assert code in (2, 3, 4)
    assert out == ""
    assert said in err
