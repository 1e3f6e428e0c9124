"""What came back: the server's lists take it as a training table of the same events does."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ancf
from ancf.serving.counting import Counting
from ancf.serving.histories import continue_history
from ancf.serving.journal import Entry
from ancf.serving.schema import ListOptions
from ancf.serving.served_model import ServedModel

WEIGHTS = {"purchase": 10.0, "view": 1.0, "return": -10.0}
START = 1_600_000_000
EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([*WEIGHTS]), st.integers(1, 3)), min_size=1, max_size=12
)
# Every item, every type and one more user occur in all tables.
KNOWN = [*(("other", item, "purchase", 1) for item in "abcd"), ("other", "d", "view", 1), ("me", "d", "purchase", 2)]


def table(events, weights):
    users, items, types, quantities = zip(*events, strict=True)
    times = list(range(START, START + len(events)))
    columns = {"user": users, "item": items, "event": types, "quantity": quantities, "time": times}
    return ancf.read_interactions(columns, event_weights=weights)


def fitted(events, counted, weights=WEIGHTS, **options):
    model = (
        ancf.ANCF(factors=2, epochs=1, half_life=10, repeat_weight=0.3, **options)
        if counted
        else ancf.ItemKNN(use_weights=True)
    )
    return model.fit(table(events, weights))


def history_of(items, weights, times, had):
    return [*zip(items, weights, times, had, strict=True)]


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.integers(0, 12), st.booleans(), st.booleans())
@example([("a", "purchase", 1), ("a", "view", 2), ("a", "return", 1)], 1, True, True)
def test_events_after_the_table_make_the_history_that_a_table_with_them_makes(events, cut, counted, heeds):
    options = {"interest": "given"} if counted and heeds else {"interest": "equal"}
    mine = [("me", *each) for each in events]
    cut = min(cut, len(mine))
    whole = fitted([*KNOWN, *mine], counted, **options)._fitted()
    before = fitted([*KNOWN, *mine[:cut]], counted, **options)._fitted()
    entries = [
        Entry(item, event, float(quantity), START + len(KNOWN) + at, at + 1)
        for at, (_, item, event, quantity) in enumerate(mine)
    ][cut:]
    row = before.user_ids.position("me")
    continued = continue_history(before, row, entries, Counting.of(before, WEIGHTS, "journal"))
    expected = whole.purchases_of(at := whole.user_ids.position("me"))
    had = set(whole.had.row(at).tolist())
    of_table = history_of(*(each.tolist() for each in expected), [item in had for item in expected[0].tolist()])
    if continued is None:
        items, weights, times = before.purchases_of(row)
        had = set(before.had.row(row).tolist())
        found = history_of(items.tolist(), weights.tolist(), times.tolist(), [item in had for item in items.tolist()])
    else:
        one = continued.as_one()
        weights = np.float32(one.weights).tolist()
        found = history_of(one.items, weights, one.times, [one.had is None or item in one.had for item in one.items])
    if not counted or heeds:
        assert found == of_table
    else:
        # A purchase is one, however many pieces of it are left; what was looked at counts as a part of one.
        assert [(item, time, bought) for item, _, time, bought in found] == [
            (item, time, bought) for item, _, time, bought in of_table
        ]


@pytest.mark.parametrize("counted", [False, True])
def test_what_is_returned_in_part_is_still_had_and_what_is_returned_whole_is_listed_again(counted):
    # Where the table has returns as a type of their own, what came back whole is rejected.
    of_others = [("other", "a", "purchase", 1), ("other", "a", "return", 1)]
    rejecting = ServedModel(fitted([*KNOWN, *of_others], counted), "1")
    served = ServedModel(fitted(KNOWN, counted, {"purchase": 10.0, "view": 1.0}), "1")

    def listed(*entries, model=served, **options):
        return {each.item_id for each in model.recommend("me", entries, ListOptions(n=4, **options))}

    later = START + 1000
    three, one = Entry("a", "purchase", 3.0, later, 1), Entry("a", "return", 1.0, later + 1, 2)
    assert listed(three) == listed(three, one) == {"b", "c"}
    two_more = Entry("a", "refund", 2.0, later + 2, 3)
    assert listed(three, one, two_more) == {"a", "b", "c"}
    assert listed(three, one, two_more, model=rejecting) == {"b", "c"}
    assert listed(three, one, model=rejecting, exclude_seen=False) == {"a", "b", "c", "d"}
    # Of the training table, too: two pieces of d.
    d = Entry("d", "return", 1.0, later, 4)
    assert listed(d) == {"a", "b", "c"}
    assert listed(d, d._replace(seq=5)) == {"a", "b", "c", "d"}
    # A return of what nobody bought is nothing; what is taken out of the basket is rejected until it is bought.
    assert listed(Entry("a", "return", 1.0, later, 7)) == {"a", "b", "c"}
    removed = Entry("a", "remove_from_cart", 1.0, later, 6)
    assert listed(removed) == {"b", "c"}
    assert listed(removed, exclude_seen=False) == {"b", "c", "d"}
    assert listed(removed, three._replace(seq=8), exclude_seen=False) == {"a", "b", "c", "d"}
