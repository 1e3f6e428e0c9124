"""What somebody disliked, took out of the cart or gave back is in no list of theirs until they buy it."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.scoring import scorer_arrays
from ancf.serving.counting import Counting
from ancf.serving.histories import continue_history
from ancf.serving.journal import Entry
from ancf.serving.update_job import new_events

ITEMS = "abcde"
WEIGHTS = {"view": 1, "cart": 3, "purchase": 10, "remove_from_cart": 0, "dislike": 0, "refund": -10}
KINDS = sorted(WEIGHTS)
EVENTS = st.tuples(st.integers(1, 4), st.sampled_from(ITEMS), st.sampled_from(KINDS))
# Every user, every item and every type occur, so that all parts of a log know the same.
FIRST = [
    *((user, item, "view") for user in (1, 2, 3, 4) for item in ("a", "f")),
    *((5, item, "purchase") for item in ITEMS),
    *((5, "a", kind) for kind in KINDS if kind != "refund"),
    *((6, "b", kind) for kind in ("purchase", "purchase", "refund")),
]
START = 1_600_000_000
USERS = range(1, 7)


def read(events, start=START, *, timed=True, **options):
    users, items, types = zip(*events, strict=True)
    table = {"user": users, "item": items, "event": types}
    if timed:
        table["time"] = list(range(start, start + len(events)))
    return ancf.read_interactions(table, event_weights=WEIGHTS, **options)


def rejected(events):
    """The naive twin: what is left of each pair's purchases, and what was said of it when."""
    left, disliked, others = {}, {}, set()
    for at, (user, item, kind) in enumerate(events):
        pair = (user, item)
        own = left.setdefault(pair, [])
        if kind == "purchase":
            own.append(at)
        elif kind == "dislike":
            disliked[pair] = at
        elif kind in ("remove_from_cart", "refund"):
            others.add(pair)
            if kind == "refund" and own:
                own.pop()
    return {pair for pair in others if not left[pair]} | {
        pair for pair, at in disliked.items() if not left[pair] or left[pair][-1] < at
    }


def listed(model, user, **options):
    return set(model.recommend(user, N=9, **options).ids.tolist()) - {"f"}


def pairs(data):
    return {tuple(pair) for pair in data.rejected()[["user_id", "item_id"]].values.tolist()}


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, max_size=20), st.booleans())
def test_what_stands_is_what_the_last_word_on_it_says(more, timed):
    events = FIRST + more
    if not timed:
        # Without times, returns come after all purchases of their pair, whatever the rows say.
        events = [each for each in events if each[2] != "refund"]
    data = read(events, timed=timed)
    assert pairs(data) == rejected(events)
    model = ancf.Popular().fit(data)
    for user in (1, 2, 3, 4):
        own = {item for who, item in rejected(events) if who == user}
        assert not own & listed(model, user)
        assert listed(model, user, filter_already_liked_items=False) == set(ITEMS) - own
        everybody = model.recommend_all(N=9).to_pandas()
        assert set(everybody.item_id[everybody.user_id == user]) - {"f"} == listed(model, user)


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, max_size=12), st.lists(EVENTS, min_size=1, max_size=12), st.booleans())
def test_an_update_and_a_joined_table_reject_what_one_table_rejects(day, next_day, timed):
    if not timed:
        day, next_day = ([each for each in part if each[2] != "refund"] for part in (day, next_day))
    next_day = [*next_day, (4, "a", "view")]
    events = FIRST + day
    if not timed:
        events = [each for each in events if each[2] != "refund"]
    whole = events + next_day
    parts = [
        read(events, timed=timed, returns="keep"),
        read(next_day, START + len(events), timed=timed, returns="keep"),
    ]
    model = ancf.Popular().fit(read(events, timed=timed))
    model.partial_fit(parts[1])
    once = ancf.Popular().fit(read(whole, timed=timed))
    for user in (1, 2, 3, 4):
        for filtered in (True, False):
            asked = {"filter_already_liked_items": filtered}
            assert listed(model, user, **asked) == listed(once, user, **asked)
    if not any(each[2] == "refund" for each in day + next_day):
        assert {pair for pair in pairs(ancf.concat(parts)) if pair[0] < 6} == {
            pair for pair in rejected(whole) if pair[0] < 6
        }


LOG = [*FIRST, (1, "b", "purchase"), (1, "b", "dislike"), (1, "c", "remove_from_cart"), (2, "c", "dislike")]


@pytest.mark.parametrize(
    "model", [ancf.ANCF(), ancf.ItemKNN(), ancf.ALS(factors=2, epochs=1)], ids=lambda m: type(m).__name__
)
def test_it_is_so_for_models_of_every_kind_and_in_their_files(model, tmp_path):
    model.fit(read(LOG))
    model.save(tmp_path / "m.ancf")
    for each in (model, ancf.load(tmp_path / "m.ancf"), pickle.loads(pickle.dumps(model))):
        assert listed(each, 1) == {"a", "d", "e"}
        assert listed(each, 1, filter_already_liked_items=False) == {"a", "d", "e"}
        assert listed(each, 2, filter_items=["d"]) == {"a", "b", "e"}
        assert each.why_not(1, "b", N=5).reason == "rejected"
        assert each.why_not(1, "c", N=5, filter_already_liked_items=False).reason == "rejected"
        assert each.history(1).item_ids.tolist() == ["a", "b", "f"]


def test_reading_without_rejections_lists_what_was_disliked():
    model = ancf.Popular().fit(read(LOG, rejections=False))
    assert listed(model, 1) == {"a", "c", "d", "e"}
    assert read(LOG, rejections=False).rejections is None


def test_a_prepared_folder_and_a_bounded_reading_keep_it(tmp_path):
    for timed in (True, False):
        data = read(LOG, timed=timed)
        data.save(tmp_path / "prepared")
        again = ancf.read_interactions(tmp_path / "prepared")
        assert again.fingerprint() == data.fingerprint()
        assert pairs(again) == pairs(data) == rejected(LOG)
        bounded = read(LOG, timed=timed, max_memory="1GB")
        assert bounded.fingerprint() == data.fingerprint()
        assert bounded.report == data.report
    assert any("pairs of user and item with an event of type" in str(note) for note in data.report.notes)


def test_a_table_shows_what_was_had_and_what_is_rejected():
    shown = read(LOG).to_pandas().set_index(["user_id", "item_id"])
    assert bool(shown.loc[(1, "b"), "rejected"].all())
    assert not shown.loc[(1, "a"), "had"].any()
    assert "rejected" not in ancf.Interactions.from_ids(user=[1], item=["a"]).to_pandas()


def test_parts_by_time_have_the_rejections_of_their_time():
    data = read([*FIRST, (1, "b", "dislike"), (2, "c", "view"), (1, "c", "dislike"), (2, "d", "view")])
    train, test = ancf.time_split(data, at=START + len(FIRST) + 1)
    assert (1, "b") in pairs(train)
    assert (1, "c") not in pairs(train)
    assert pairs(ancf.concat([train, test])) == pairs(data)
    assert pairs(data[data.weights > 0]) == pairs(data)


def test_a_moment_has_what_was_rejected_by_then():
    events = [*FIRST, (1, "b", "dislike"), (2, "c", "purchase"), (1, "b", "purchase"), (2, "d", "dislike")]
    model = ancf.Popular().fit(read(events))
    at = START + len(FIRST)
    for filtered in (True, False):
        seen = {"filter_already_liked_items": filtered}
        assert "b" in listed(model, 1, now=at - 1, **seen)
        assert "b" not in listed(model, 1, now=at, **seen)
        assert ("b" in listed(model, 1, now=at + 2, **seen)) is not filtered
        assert "d" in listed(model, 2, now=at + 1, **seen)
        assert "d" not in listed(model, 2, now=at + 3, **seen)


def test_what_was_returned_is_rejected_once_nothing_of_it_is_left():
    events = [*FIRST, *[(1, "c", "purchase")] * 2, (1, "c", "refund")]
    assert (1, "c") not in pairs(read(events))
    assert (1, "c") in pairs(read([*events, (1, "c", "refund")]))
    assert (1, "c") not in pairs(read([*events, (1, "c", "refund"), (1, "c", "purchase")]))


def test_what_nobody_has_bought_yet_stays_rejected_when_somebody_does():
    model = ancf.Popular().fit(read([*FIRST, (1, "new", "dislike")]))
    model.partial_fit(read([(2, "new", "purchase")], START + 100))
    assert "new" not in model.recommend(1, N=9).ids.tolist()
    assert "new" in model.recommend(3, N=9).ids.tolist()


def test_popularity_counts_who_has_an_item():
    model = ancf.Popular(window=None).fit(read([*FIRST[:13], (1, "c", "purchase"), (2, "b", "view"), (3, "b", "view")]))
    found = model.recommend(4, N=5)
    assert found.ids.tolist()[0] == "c"
    assert ancf.ItemKNN().fit(read(FIRST))._fitted().buyers().tolist() == [1, 2, 1, 1, 1, 0]


def test_a_server_leaves_out_what_was_rejected_before_and_since():
    model = ancf.ItemKNN().fit(read(LOG))
    scorer = model._fitted()
    row, later = scorer.user_ids.position(1), START + 10_000
    counting = Counting.of(scorer)

    def left_out(*came):
        entries = [Entry(item, kind, 1.0, later + at, at) for at, (item, kind) in enumerate(came, 1)]
        found = continue_history(scorer, row, entries, counting)
        sets = found.left_out(exclude_seen=False)
        return set() if sets is None else set(scorer.item_ids.take(sets.items).tolist())

    assert left_out(("d", "dislike")) == {"b", "c", "d"}
    assert left_out(("d", "remove_from_cart"), ("b", "purchase")) == {"c", "d"}
    assert left_out(("d", "purchase"), ("d", "remove_from_cart")) == {"b", "c"}
    assert left_out(("d", "purchase"), ("d", "refund")) == {"b", "c", "d"}
    assert left_out(("d", "dislike"), ("d", "purchase")) == {"b", "c"}
    assert Counting.of(ancf.Popular().fit(ancf.Interactions.from_ids([1], ["a"]))._fitted()).weights.get("return")[
        3
    ] is (None)
    assert (
        np.diff(continue_history(scorer, row, [Entry("d", "dislike", 1.0, later, 1)], counting).bought.indptr)[0] == 1
    )


def test_an_option_that_rejects_nothing_says_so():
    with pytest.raises(ancf.InvalidParameterError, match="no column that is recognized as the event type"):
        ancf.read_interactions({"user": [1], "item": ["a"]}, rejections=False)


class Journal:
    """As much of one as an update reads."""

    name = "1f"

    def __init__(self, *events):
        self.events = events

    def newest(self):
        return len(self.events)

    def between(self, first, last):
        return [(at, *event) for at, event in enumerate(self.events, 1) if first < at <= last]


def test_what_a_model_learns_of_a_journal_is_rejected_as_the_server_did():
    model = ancf.ItemKNN().fit(read(LOG))
    later = START + 10_000
    came = [("1", "d", "dislike"), ("1", "b", "purchase"), ("2", "a", "refund"), ("2", "e", "remove_from_cart")]
    journal = Journal(*((user, item, kind, 1.0, later + at) for at, (user, item, kind) in enumerate(came)))
    found = new_events(model._fitted(), Counting.of(model._fitted()), journal)
    assert found.n_events == 5
    model.partial_fit(found.data)
    assert listed(model, 1, filter_already_liked_items=False) == {"a", "b", "e"}
    assert listed(model, 2, filter_already_liked_items=False) == {"b", "d"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, meta: arrays.update({"rejections.users": arrays["rejections.users"] + np.int32(9)}),
        lambda arrays, meta: arrays.update({"rejections.items": arrays["rejections.items"] - np.int32(1)}),
        lambda arrays, meta: arrays.update({"rejections.times": arrays["rejections.times"][1:]}),
        lambda arrays, meta: arrays.update({"rejections.dislikes": arrays["rejections.dislikes"] + np.uint8(2)}),
        lambda arrays, meta: arrays.update({"rejections.users": arrays["rejections.users"].astype(np.int64)}),
        lambda arrays, meta: arrays.pop("rejections.items"),
        lambda arrays, meta: meta.update(rejections=3),
        lambda arrays, meta: meta["rejections"].pop("user_ids"),
    ],
)
def test_a_damaged_file_is_refused(damage):
    arrays, meta = scorer_arrays.to_arrays(ancf.Popular().fit(read(LOG))._fitted())
    ancf.Popular._from_arrays(dict(arrays), dict(meta))
    damage(arrays, meta)
    with pytest.raises(ancf.errors.ModelFileError, match="Load another copy"):
        ancf.Popular._from_arrays(arrays, meta)
