"""Every argument of every question to a model, wrong in every way: an ``AncfError`` that names it and its value.

Driven by the signatures: a new parameter is tried as soon as it exists, and must have a row in ``RIGHT`` and ``WRONG``.
"""

import inspect
import re

import numpy as np
import pytest

import ancf

DATA = ancf.Interactions.from_ids(
    user=[k // 4 for k in range(80)], item=[(k * k + k // 4) % 15 for k in range(80)], time=list(range(80))
)
MODEL = ancf.ItemKNN().fit(DATA)
FACTORS = ancf.from_factors(np.eye(20, 3), np.eye(15, 3))

QUESTIONS = {
    "fit": (lambda: ancf.ItemKNN().fit, {"interactions": DATA}),
    "recommend": (lambda: MODEL.recommend, {"users": [1, 2]}),
    "recommend_for_history": (lambda: MODEL.recommend_for_history, {"history": [[1, 2], [3]]}),
    "recommend_all": (lambda: MODEL.recommend_all, {}),
    "buy_again": (lambda: MODEL.buy_again, {}),
    "explain": (lambda: MODEL.explain, {"history": [1, 2], "item": 3}),
    "predict": (lambda: MODEL.predict, {"users": [1, 2], "items": [3, 4]}),
    "similar_items": (lambda: MODEL.similar_items, {"query": [1, 2]}),
    "similar_users": (lambda: MODEL.similar_users, {"users": [1, 2]}),
    "save": (lambda: MODEL.save, {"path": "unused.ancf"}),
    "export": (lambda: FACTORS.export, {"path": "unused"}),
    "evaluate": (lambda: ancf.evaluate, {"model": MODEL, "test": DATA, "filter_already_liked_items": False}),
    "compare": (
        lambda: ancf.compare,
        {"models": [ancf.Popular()], "train": DATA, "test": DATA, "filter_already_liked_items": False},
    ),
    "from_factors": (lambda: ancf.from_factors, {"user_factors": np.eye(2), "item_factors": np.eye(2)}),
}

NAN = float("nan")
FLAG = [None, "yes", 2, NAN, [True], np.array([True, False])]
COUNT = [None, 0, -1, 2.5, NAN, "ten", True, [3], 2**40]
WORD = [None, "Raise", 5, NAN, ["raise"], np.array(["a", "b"])]
TABLE = [None, 5, "shop.csv", [1, 2], NAN, {"user": [1]}, np.eye(2)]
PATH = [None, 5, NAN, "", b"x", ["a"], "a\0b"]
IDS = [None, NAN, -1, 2.5, "1", [1, None], [[1]], object(), {"x": 1}, True]
FILTER = [NAN, -1, 2.5, "1", [1, None], [1, NAN], ["lamp"], [[1], [2], [3]], [True], object(), [1, [2]], {"x": [1]}]
VALUES = [5, "x", NAN, ["x", "y"], [1.0], [[1.0]], [[1.0], [2.0], [3.0]], [[None, 1], [1]], object()]
FACTOR_TABLE = [None, 5, "x", [1.0], [["a"]], [[NAN]], [[np.inf, 1.0]], np.empty((0, 2)), object()]

# What is tried for each parameter; a pair of question and parameter goes before the parameter alone.
WRONG = {
    "interactions": TABLE,
    "validation": TABLE[1:],
    "users": IDS,
    "query": IDS,
    "user": [*IDS[1:], 1],
    "item": IDS,
    ("predict", "items"): [*IDS, [1, 2, 3]],
    "items": FILTER,
    "filter_items": FILTER,
    "rules": [5, NAN, "x", ["deny"], {"deni": [1]}, object()],
    "shown": FILTER,
    "now": [NAN, -1, "someday", True, [5], {"x": 1}, object(), "1969-12-31"],
    "N": COUNT,
    "filter_already_liked_items": FLAG,
    "on_unknown": WORD,
    "history": [None, 5, NAN, "x", [], [None], ["lamp"], [[1], 2], [1, [2]], [{"item_id": 1}], object()],
    ("explain", "history"): [5, NAN, "x", [], [None], ["lamp"], [[1], [2]], [1, [2]], {"item_id": 1}, object()],
    "weights": VALUES,
    "times": [5, "x", NAN, ["soon", "x"], [1], [[1]], [[1], [2], [3]], [[None, 1], [1]], [[NAN, 1], [1]], object()],
    "out": [5, NAN, "", b"x", "recs.xls", "nowhere/recs.csv", ["a"], "a\0b.csv"],
    ("buy_again", "users"): [NAN, -1, 2.5, "1", [1, None], [[1]], object(), {"x": 1}, True],
    ("recommend_all", "users"): [NAN, -1, 2.5, "1", [1, None], [[1]], object(), {"x": 1}, True],
    "names": [*FLAG, True],
    "explain": [None, -1, 2.5, NAN, "ten", True, [3], 3],
    "resume": [*FLAG, True],
    "show_progress": FLAG[1:],
    "metric": WORD,
    "path": PATH,
    "format": ["csv", 5, NAN, "", ["npy"]],
    "dense_only": FLAG,
    "model": [None, 5, "ItemKNN", object(), DATA],
    "models": [None, 5, NAN, "ItemKNM", [], [5], {"a": None}, object()],
    "train": TABLE,
    ("evaluate", "train"): TABLE[1:],
    "candidates": [NAN, "some", ["lamp"], {"lamp": [1]}, {1: ["lamp"]}, object()],
    "n_negatives": COUNT,
    "test": TABLE,
    "metrics": [None, 5, NAN, "ndgc", [], ["ndcg@0"], [5], object()],
    "k": [None, 0, -1, 2.5, NAN, "ten", True, [], [0], [1, "x"]],
    "refit": FLAG,
    "keep_models": FLAG,
    "own_process": FLAG[1:],
    "tune": [0, -1, NAN, "ten", True, [3], 2.5],
    "baseline": [5, NAN, "ItemKNN", ["Popular"]],
    "timeout_per_model": [0, -1, NAN, "ten", True, [3]],
    "random_state": [None, -1, 2.5, NAN, "x", True, 2**40],
    "user_factors": FACTOR_TABLE,
    "item_factors": FACTOR_TABLE,
    ("from_factors", "interactions"): TABLE[1:],
    "user_ids": [5, "x", NAN, ["a"], ["a", "a"], ["a", None], [1, "b"], object()],
    "item_ids": [5, "x", NAN, ["a"], ["a", "a"], ["a", None], [1, "b"], object()],
    "num_threads": [0, -1, 2.5, NAN, "two", True],
}
# Words that say the same of a parameter: a table that is refused is named by its kind, an id by what it is the id of.
SAID = {
    "interactions": "fit takes|interactions|fit:",
    "validation": "validation",
    "users": "user",
    "user": "user",
    "query": "item|query",
    "item": "item",
    "items": "item",
    "history": "history|item",
    "weights": "weight",
    "times": "time",
    "metrics": "metric",
    "models": "model",
    "model": "model|no such file",
    "k": r"\bk\b|cut-off",
    "train": "train|fit takes",
    "out": r"\bout\b",
}


def parameters(question):
    return [name for name in inspect.signature(QUESTIONS[question][0]()).parameters if name != "self"]


def cases():
    for question in QUESTIONS:
        for name in parameters(question):
            for value in WRONG.get((question, name), WRONG.get(name, ())):
                yield pytest.param(question, name, value, id=f"{question}-{name}-{str(value)[:20]!r}")


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_parameter_is_tried(question):
    assert [name for name in parameters(question) if name not in WRONG and (question, name) not in WRONG] == []


@pytest.mark.parametrize(("question", "name", "value"), list(cases()))
def test_a_wrong_argument_is_an_error_of_ancf_that_names_it(question, name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find, right = QUESTIONS[question]
    with pytest.raises(ancf.AncfError) as raised:
        find()(**{**right, name: value})
    said = str(raised.value)
    assert re.search(SAID.get(name, rf"\b{name}\b"), said), said
    assert said[-1] in ".?"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_misspelt_name_is_told_with_its_value_and_what_was_meant(question):
    find, right = QUESTIONS[question]
    name = parameters(question)[-1]
    with pytest.raises(ancf.InvalidCallError, match=f"no option '{name}x' .given: 77.; did you mean '{name}'"):
        find()(**right, **{f"{name}x": 77})
