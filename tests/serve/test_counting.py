"""Which events count on top of what a model has learned, and what they weigh: the model knows, and its file says it."""

import numpy as np
import pytest

import ancf
from ancf.serving.counting import Counting, EventWeights, learned_seq, mark_of
from ancf.serving.histories import continue_history
from ancf.serving.journal import Entry
from ancf.serving.schema import ListOptions
from ancf.serving.served_model import ServedModel

JOURNAL = "1f"


@pytest.fixture(scope="module")
def data():
    """Of a table with views at 1 and orders at 10."""
    table = ancf.Interactions.from_ids(
        user=["ann", "ann", "bob", "bob", "cleo", "cleo"],
        item=["tea", "cup", "tea", "pot", "pot", "cup"],
        weight=[10, 1, 10, 10, 1, 1],
        time=[100, 110, 120, 130, 140, 150],
    )
    table.event_weights = {"order": 10.0, "view": 1.0}
    return table


def test_weights_are_those_of_the_models_table_and_a_return_takes_back_a_purchase(data):
    weights = ServedModel(ancf.ItemKNN().fit(data), "1").counting.weights
    assert [weights.get(each).weight for each in ("order", "purchase", "Buy", "view", "click")] == [10, 10, 10, 1, 1]
    assert weights.get("return").weight == -10
    assert weights.get("cart").weight == pytest.approx(3)
    assert weights.get("stars") is None
    assert weights.to_dict()["order"] == 10


def test_without_types_a_view_is_a_tenth_of_a_purchase():
    weights = EventWeights({})
    assert {name: weights.get(name).weight for name in ("purchase", "cart", "view", "return", "remove_from_cart")} == {
        "purchase": 1.0,
        "cart": 0.3,
        "view": 0.1,
        "return": -1.0,
        "remove_from_cart": 0.0,
    }


def test_what_the_operator_says_goes_before_what_the_model_says():
    weights = EventWeights({"view": 0.5, "stars": 2.0}, {"view": 1.0, "purchase": 10.0})
    assert [weights.get(each).weight for each in ("view", "click", "stars", "purchase")] == [0.5, 0.5, 2.0, 10.0]


def test_only_a_purchase_or_the_heaviest_type_means_that_somebody_has_an_item():
    assert [EventWeights({}).get(each).had for each in ("purchase", "order", "view", "cart", "return")] == [
        1,
        1,
        0,
        0,
        -1,
    ]
    plays = EventWeights({}, {"play": 5.0, "skip": 1.0})
    assert [plays.get(each).had for each in ("play", "skip", "view")] == [1, 0, 0]
    carts = EventWeights({}, {"cart": 5.0, "buy": 1.0})
    assert [carts.get(each).had for each in ("cart", "buy")] == [0, 1]


def test_a_list_weighs_events_as_the_training_table_did(data):
    model = ancf.ItemKNN(use_weights=True).fit(data)
    served = ServedModel(model, "1")
    entries = [Entry("pot", "view", 1.0, 200), Entry("tea", "order", 2.0, 210)]
    found = served.recommend("new", entries, ListOptions(n=3, exclude_seen=False))
    expected = model.recommend_for_history(["pot", "tea"], weights=[1, 20], filter_already_liked_items=False, N=3)
    assert [(each.item_id, each.score) for each in found] == list(
        zip(expected.ids.tolist(), map(float, expected.scores), strict=True)
    )
    # What was only looked at may be listed.
    assert [each.item_id for each in served.recommend("new", entries, ListOptions(n=3))] == ["pot", "cup"]


def test_a_mark_is_of_one_journal():
    assert learned_seq(mark_of("1f", 12), "1f") == 12
    for mark in (None, 12, "12", "a file", mark_of("2e", 12), "journal 1f:-3", "journal 1f:" + "9" * 40):
        assert learned_seq(mark, "1f") is None


@pytest.mark.parametrize("at", [50, 10**9], ids=["long ago", "later than all"])
def test_what_the_mark_names_is_learned_whenever_it_happened_and_nothing_else_is(data, at):
    marked = data.subset(np.ones(len(data), bool))
    marked.event_weights, marked.mark = data.event_weights, mark_of(JOURNAL, 7)
    scorer = ancf.ItemKNN().fit(marked)._fitted()
    counting = Counting.of(scorer, journal=JOURNAL)
    assert (counting.seq, counting.until) == (7, None)
    row = scorer.user_ids.position("ann")
    known, new = Entry("tea", "order", 1.0, at, 7), Entry("tea", "order", 1.0, at, 8)
    assert continue_history(scorer, row, [known], counting) is None
    tea = scorer.item_ids.position("tea")
    continued = continue_history(scorer, row, [known, new], counting).histories
    assert continued.weights[continued.items.tolist().index(tea)] == 20
    # Who is not in the model has learned nothing.
    assert continue_history(scorer, -1, [known], counting).items == [tea]


def test_what_no_training_table_had_is_never_learned():
    plain = ancf.Interactions.from_ids(user=["ann", "bob"], item=["tea", "cup"], time=[100, 200])
    scorer = ancf.Popular().fit(plain)._fitted()
    counting, row = Counting.of(scorer), scorer.user_ids.position("ann")
    assert continue_history(scorer, row, [Entry("tea", "purchase", 1.0, 100)], counting) is None
    viewed = continue_history(scorer, row, [Entry("tea", "view", 1.0, 100)], counting)
    assert viewed.histories.weights == pytest.approx([1.1])
    assert viewed.bought.items.tolist() == viewed.histories.items.tolist()
