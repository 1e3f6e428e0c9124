"""Conditions on attributes: what holds, and what is refused in words."""

import pickle

import numpy as np
import pytest

import ancf

ITEMS = ["cup", "jam", "mat", "pot", "tea"]
FEATURES = {
    "item_id": ITEMS,
    "price": [9.0, 3.0, None, 30.0, 4.5],
    "color": ["white", "red", "red", None, "green"],
    "tags": [["clay"], ["sweet", "vegan"], [], ["clay", "big"], ["vegan"]],
    "unit price": [1, 2, 3, 4, 5],
    "remark": ["a cup of clay", "jam from plums", "soft and warm", "a big pot", None],
}


@pytest.fixture(scope="module")
def model():
    features = ancf.read_features(FEATURES, kinds={"tags": "tags", "remark": "text", "color": "category"})
    data = ancf.Interactions.from_ids(
        user=[1, 1, 2, 2, 3, 4, 4], item=["tea", "cup", "tea", "pot", "cup", "mat", "jam"]
    )
    return ancf.Popular().fit(data.with_features(item_features=features))


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("price < 9", "jam tea"),
        ("price <= 9 and price >= 4.5", "cup tea"),
        ("4 <= price < 10", "cup tea"),
        ("10 > price >= 4", "cup tea"),
        ("price == 3 or price == 30", "jam pot"),
        ("price in [3, 30.0]", "jam pot"),
        ("price != 3", "cup pot tea"),
        ("not price == 3", "cup mat pot tea"),
        ("price not in (3, 30)", "cup tea"),
        ("price > -1", "cup jam pot tea"),
        ("price is None", "mat"),
        ("price is not None", "cup jam pot tea"),
        ("color == 'red'", "jam mat"),
        ("color != 'red'", "cup tea"),
        ("'red' == color", "jam mat"),
        ("color in ['green', 'white', 'blue']", "cup tea"),
        ("color >= 'red'", "cup jam mat"),
        ("'e' in color", "cup jam mat tea"),
        ("'vegan' in tags", "jam tea"),
        ("'vegan' not in tags", "cup pot"),
        ("tags is None", "mat"),
        ("'big' in remark", "pot"),
        ("remark == 'a big pot'", "pot"),
        ("`unit price` >= 4", "pot tea"),
        ("`unit price` >= 4 and color == 'green'", "tea"),
        ("Price < 9", "jam tea"),
        ("item_id == 'tea'", "tea"),
        ("item_id in ['tea', 'cup', 'new']", "cup tea"),
        ("item_id != 'tea'", "cup jam mat pot"),
        ("buyers >= 2", "cup tea"),
        ("(price < 9 or price is None) and not (color == 'red')", "tea"),
    ],
)
def test_a_condition_holds_for_these_items(model, condition, wanted):
    found = model.recommend([99], N=9, on_unknown="popular", rules=ancf.Rules(where=condition))
    assert sorted(found.ids[0].tolist()) == wanted.split()


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "give a condition"),
        ("price <", "cannot be read"),
        ("price", "give a condition such as"),
        ("price < 3 and color", "color stands there without a comparison"),
        ("price < color", "between an attribute and a value"),
        ("3 < 4", "between an attribute and a value"),
        ("price + 1 < 4", "neither an attribute nor a text or a number"),
        ("len(color) < 4", "neither an attribute nor a text or a number"),
        ("__import__('os').system('true') == 0", "neither an attribute"),
        ("color.upper() == 'RED'", "neither an attribute"),
        ("[x for x in color]", "it is no comparison"),
        ("lambda: 1", "it is no comparison"),
        ("f'{price}' == 'a'", "neither an attribute"),
        ("price == 1j", "neither an attribute"),
        ("color == '\\n'", "a backslash"),
        ("(" * 500 + "price < 1" + ")" * 500, "cannot be read"),
        ("price < 1 or " * 200 + "price < 1", "it may have 2,000"),
    ],
)
def test_what_is_no_condition_is_refused_before_there_is_a_model(condition, said):
    with pytest.raises(ancf.InvalidParameterError, match="where") as caught:
        ancf.Rules(where=condition)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("prize < 3", "Did you mean 'price'?"),
        ("price < '3'", "price is a number, and '3' is none"),
        ("color < 3", "color is a text; write '3'"),
        ("color == 'rad'", "did you mean 'red'?"),
        ("'wegan' in tags", "did you mean 'vegan'?"),
        ("tags == 'vegan'", "write 'vegan' in tags"),
        ("3 in price", "price is no text"),
        ("color in 'red'", "must be a list"),
        ("color == ['red']", 'a list is compared by "in"'),
        ("item_id == 'nothing'", "no item has the id 'nothing'"),
        ("item_id > 'a'", "item_id has no order"),
        ("age_days < 3", "a table without times"),
        ("price is 3", 'only None is compared by "is"'),
    ],
)
def test_a_condition_that_no_item_could_be_asked_is_refused_with_a_remedy(model, condition, said):
    with pytest.raises(ancf.InvalidParameterError) as caught:
        model.recommend(1, rules=ancf.Rules(where=condition))
    assert said in str(caught.value)


def test_an_id_of_another_kind_is_refused_in_rules():
    model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 1, 2], item=[7, 8, 7]))
    for rules in (ancf.Rules(where="item_id == '7'"), ancf.Rules(deny=["7", 8]), ancf.Rules(pins=["9"])):
        with pytest.raises((ancf.UnknownItemError, ancf.InvalidDataError)):
            model.recommend(2, rules=rules)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"boosts": {"price < 3": 0}}, "boosts['price < 3'] is 0"),
        ({"boosts": {"price < 3": float("nan")}}, "nan"),
        ({"boosts": {"price < 3": True}}, "True"),
        ({"boosts": {"price": 2}}, "'price' is no condition"),
        ({"boosts": 3}, "give a mapping"),
        ({"at_most": {"price": -1}}, "whole number"),
        ({"at_most": {"price": 1.5}}, "whole number"),
        ({"at_least": {"price": 1}}, "is no condition"),
        ({"pins": {0: "tea"}}, "0 is no place"),
        ({"pins": {"first": "tea"}}, "'first' is no place"),
        ({"pins": ["tea", "tea"]}, "two places"),
        ({"pins": {1: "tea", "1": "cup"}}, "given twice"),
        ({"pins": [None]}, "no id"),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"diversity_by": "color"}, "has no effect"),
        ({"fade": 0}, "fade is 0"),
    ],
)
def test_rules_without_a_meaning_are_refused(options, said):
    with pytest.raises(ancf.InvalidParameterError) as caught:
        ancf.Rules(**options)
    assert said in str(caught.value)


def test_a_misspelt_rule_gets_the_right_name_and_a_dict_is_no_rules(model):
    with pytest.raises(ancf.InvalidCallError, match="did you mean 'boosts'"):
        ancf.Rules(boost={})
    with pytest.raises(ancf.InvalidCallError, match=r"ancf.Rules\(\*\*rules\)"):
        model.recommend(1, rules={"deny": "tea"})
    with pytest.raises(ancf.InvalidParameterError, match="tags is a list"):
        model.recommend(1, rules=ancf.Rules(at_most={"tags": 1}))


def test_rules_are_values():
    rules = ancf.Rules(pins={"2": "tea"}, deny="cup", boosts={"price < 3": 2}, at_most={"color": np.int64(2).item()})
    assert rules == ancf.Rules(**rules.to_dict()) == pickle.loads(pickle.dumps(rules)) != ancf.Rules()
    assert hash(rules) == hash(ancf.Rules(**rules.to_dict()))
    assert repr(ancf.Rules(**rules.to_dict())) == repr(rules)
    with pytest.raises(AttributeError):
        rules.deny = ()
    with pytest.raises(TypeError):
        rules.boosts["price < 4"] = 2
