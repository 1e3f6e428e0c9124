"""What somebody only looked at stays recommendable: it is in their history, and nobody has had it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.serving.counting import Counting
from ancf.serving.histories import continue_history
from ancf.serving.journal import Entry

ITEMS = "abcde"
EVENTS = st.tuples(st.integers(1, 4), st.sampled_from(ITEMS), st.sampled_from(["view", "cart", "purchase"]))
# Every user, every item and every type occur, so that all parts of a log know the same.
FIRST = [*((user, "a", "view") for user in (1, 2, 3, 4)), *((5, item, "purchase") for item in ITEMS), (5, "a", "cart")]
START = 1_600_000_000


def read(events, start=START, **options):
    users, items, types = zip(*events, strict=True)
    times = list(range(start, start + len(events)))
    return ancf.read_interactions({"user": users, "item": items, "event": types, "time": times}, **options)


def bought(events):
    return {(user, item) for user, item, kind in events if kind == "purchase"}


def listed(model, user):
    return set(model.recommend(user, N=len(ITEMS)).ids.tolist())


@settings(max_examples=20, deadline=None)
@given(st.lists(EVENTS, max_size=25))
def test_lists_leave_out_what_was_bought_and_nothing_else(more):
    events = FIRST + more
    model = ancf.Popular().fit(read(events))
    for user in (1, 2, 3, 4, 5):
        assert listed(model, user) == {item for item in ITEMS if (user, item) not in bought(events)}


@settings(max_examples=20, deadline=None)
@given(st.lists(EVENTS, max_size=12), st.lists(EVENTS, min_size=1, max_size=12))
def test_an_update_and_a_joined_table_say_what_one_table_says(day, next_day):
    whole = read(FIRST + day + next_day)
    parts = [read(FIRST + day), read(next_day, START + len(FIRST + day))]
    joined = ancf.concat(parts)
    assert joined.fingerprint() == whole.fingerprint()
    model = ancf.Popular().fit(parts[0])
    model.partial_fit(parts[1])
    once = ancf.Popular().fit(whole)
    for user in (1, 2, 3, 4, 5):
        assert model.recommend(user, N=5).ids.tolist() == once.recommend(user, N=5).ids.tolist()
        assert listed(model, user) == {i for i in ITEMS if (user, i) not in bought(FIRST + day + next_day)}


LOG = [*FIRST, (1, "b", "purchase"), (1, "b", "view"), (1, "c", "cart"), (2, "d", "purchase")]


@pytest.mark.parametrize(
    "model", [ancf.ANCF(), ancf.ItemKNN(), ancf.ALS(factors=2, epochs=1)], ids=lambda m: type(m).__name__
)
def test_it_is_so_for_models_of_every_kind_and_in_their_files(model, tmp_path):
    model.fit(read(LOG))
    model.save(tmp_path / "m.ancf")
    for each in (model, ancf.load(tmp_path / "m.ancf")):
        assert listed(each, 1) == {"a", "c", "d", "e"}
        assert each.why_not(1, "b", N=5).reason == "seen"
        assert each.why_not(1, "a", N=5).reason == "listed"
        assert each.history(1).item_ids.tolist() == ["a", "b", "c"]


def test_a_prepared_folder_and_a_bounded_reading_keep_it(tmp_path):
    data = read(LOG)
    data.save(tmp_path / "prepared")
    again = ancf.read_interactions(tmp_path / "prepared")
    assert again.had.tolist() == data.had.tolist()
    assert again.fingerprint() == data.fingerprint()
    bounded = read(LOG, max_memory="1GB")
    assert bounded.fingerprint() == data.fingerprint()
    assert bounded.report == data.report
    assert any("5 pairs of user and item without an event of type purchase" in str(n) for n in data.report.notes)


def test_a_mask_and_a_moment_keep_it():
    data = read(LOG)
    assert data[data.weights == 1].had.tolist() == [False] * 5
    at = START + len(FIRST) - 1
    model = ancf.Popular().fit(data)
    assert set(model.recommend(1, N=5, now=at).ids.tolist()) == set(ITEMS)
    assert "b" not in model.recommend(1, N=5, now=at + 1).ids.tolist()


def test_a_table_of_one_type_and_one_without_types_are_had_as_a_whole():
    assert read([(1, "a", "view"), (2, "b", "view")]).had is None
    assert ancf.Interactions.from_ids(user=[1], item=["a"]).had is None


def test_views_that_join_purchases_are_interest():
    both = ancf.concat([read([(1, "a", "view")]), read([(1, "b", "purchase")], START + 1)])
    assert both.had.tolist() == [False, True]


def test_what_was_returned_by_a_type_of_event_is_interest_again_where_nothing_is_rejected():
    weights = {"view": 1, "purchase": 10, "refund": -10}
    events = [*FIRST[4:9], (1, "a", "purchase"), (1, "a", "view"), (1, "b", "purchase"), (1, "a", "refund")]
    for kept, found in ((False, {"a", "c", "d", "e"}), (True, {"c", "d", "e"})):
        options = {"event_weights": weights, "rejections": kept}
        netted = ancf.Popular().fit(read(events, **options))
        updated = ancf.Popular().fit(read(events[:-1], **options))
        last = read([events[-1], (2, "c", "view")], START + 8, returns="keep", **options)
        updated.partial_fit(last)
        for model in (netted, updated):
            assert listed(model, 1) == found


def test_a_measurement_asks_for_what_was_only_looked_at():
    test = ancf.Interactions.from_ids(user=[1, 1], item=["a", "b"])
    found = ancf.evaluate(ancf.Popular().fit(read(LOG)), test, metrics=["recall"], k=5)
    assert found["recall@5"] == 1.0


def test_a_server_leaves_out_what_was_bought_before_and_since():
    model = ancf.Popular().fit(read(LOG))
    scorer = model._fitted()
    row = scorer.user_ids.position(1)
    counting = Counting.of(scorer)
    later = START + 10_000
    came = [Entry("d", "purchase", 1.0, later, 1), Entry("e", "view", 1.0, later, 2)]
    continued = continue_history(scorer, row, came, counting)
    assert scorer.item_ids.take(continued.bought.items).tolist() == ["b", "d"]
    assert scorer.item_ids.take(continued.histories.items).tolist() == ["a", "b", "c", "d", "e"]
    assert np.diff(continued.bought.indptr).tolist() == [2]
