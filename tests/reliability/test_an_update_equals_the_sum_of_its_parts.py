"""An update equals the sum of its parts: two of one day are one of two days, to the byte; one that fails is none."""

import pathlib
import re
import threading
import uuid
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.models.ancf import updating
from ancf.scoring import scorer_arrays

PARTS = {"factors": 4, "epochs": 2, "random_state": 1}
MIXED = {**PARTS, "neighbors": 3, "neighbor_candidates": 5, "neighbor_weight": 1.0}
MODELS = {
    "ancf": lambda: ancf.ANCF(**MIXED, half_life=None, trend=0.0),
    "ancf with times": lambda: ancf.ANCF(**MIXED, half_life=20.0, trend=0.5, trend_half_life=15.0),
    "ancf without weights": lambda: ancf.ANCF(**PARTS, neighbors=0, repeat_weight=0.0),
    "ancf with popularity": lambda: ancf.ANCF(**MIXED, popularity_exponent=0.5),
    "popular": lambda: ancf.Popular(count="weight"),
    "item-knn": lambda: ancf.ItemKNN(neighbors=4, shrinkage=1.0, use_weights=True),
    "als": lambda: ancf.ALS(factors=4, epochs=5, warm_start=True),
    "bpr": lambda: ancf.BPR(factors=4, epochs=20, warm_start=True),
}


def base_table(timed=True):
    draws = np.random.default_rng(3)
    users, items = draws.integers(0, 12, 120), draws.integers(0, 9, 120)
    times = draws.integers(0, 40, 120) * 86400
    return ancf.Interactions.from_ids(
        user=[f"u{user}" for user in users],
        item=[f"i{item}" for item in items],
        weight=draws.integers(1, 4, 120),
        time=times if timed else None,
    )


def table_of(rows, timed=True):
    frame = pd.DataFrame(rows, columns=["user", "item", "quantity", "time"])
    frame["time"] *= 86400
    frame["name"] = "the item " + frame["item"]
    options = {} if timed else {"time": False}
    return ancf.read_interactions(frame, returns="keep", **options)


def drawn_rows(seed):
    """Some users and items are known and some new; days lie before, within and after the training."""
    draws = np.random.default_rng(seed)
    n = int(draws.integers(2, 25))
    users, items = draws.integers(0, 16, n), draws.integers(0, 13, n)
    quantities, days = draws.choice([1, 1, 2, 3, -1, -2, -5], n), draws.integers(20, 60, n)
    return [
        (f"u{user}", f"i{item}", int(quantity), int(day))
        for user, item, quantity, day in zip(users, items, quantities, days, strict=True)
    ]


FITTED = {}


def fresh(name, timed=True):
    if (name, timed) not in FITTED:
        data = base_table(timed)
        if not timed and name == "ancf with times":
            pytest.skip("this model needs times")
        FITTED[name, timed] = MODELS[name]().fit(data).to_bytes()
    return ancf.load(FITTED[name, timed])


@pytest.mark.filterwarnings("ignore::ancf.errors.TrainingWarning")
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "timeless"])
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 24), min_size=1, max_size=3))
def test_however_the_rows_are_cut_the_bytes_are_the_same(name, timed, seed, cuts):
    rows = drawn_rows(seed)
    whole = fresh(name, timed).partial_fit(table_of(rows, timed))
    parts = fresh(name, timed)
    ends = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(ends):
        if end > start:
            parts.partial_fit(table_of(rows[start:end], timed))
            parts = ancf.load(parts.to_bytes())
    assert parts.to_bytes() == whole.to_bytes()


EVENTS = {"view": 1, "cart": 3, "purchase": 9}
COLORS = ["red", "blue", "green"]


def typed_table(rows):
    """Events of types, of items with attributes of which each table has those of its own."""
    frame = pd.DataFrame(rows, columns=["user", "item", "event", "time"])
    frame["time"] *= 86400
    items = sorted(set(frame["item"]))
    attributes = pd.DataFrame({"item": items, "color": [COLORS[int(item[1:]) % 3] for item in items]})
    return ancf.read_interactions(frame, event_weights=EVENTS, returns="keep", item_features=attributes)


@pytest.mark.filterwarnings("ignore::ancf.errors.TrainingWarning")
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 24), min_size=1, max_size=3))
def test_types_attributes_and_rows_that_come_twice_may_be_cut_anywhere_too(seed, cuts):
    draws = np.random.default_rng(7)
    known = [(f"u{draws.integers(0, 12)}", f"i{draws.integers(0, 9)}", "purchase", day % 40) for day in range(120)]
    if "typed" not in FITTED:
        FITTED["typed"] = ancf.ANCF(**MIXED, half_life=20.0, trend=0.0).fit(typed_table(known)).to_bytes()
    # The moments differ, so that a row that comes twice is the same event.
    kinds = np.random.default_rng(seed).choice([*EVENTS], len(drawn_rows(seed)))
    rows = [
        (user, item, kind, 50 + at)
        for at, ((user, item, *_), kind) in enumerate(zip(drawn_rows(seed), kinds, strict=True))
    ]
    whole = ancf.load(FITTED["typed"]).partial_fit(typed_table(rows), deduplicate=True)
    parts = ancf.load(FITTED["typed"])
    ends = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(ends):
        if end > start:
            # Each export repeats the last rows of the one before.
            parts.partial_fit(typed_table(rows[max(0, start - 3) : end]), deduplicate=True)
            parts = ancf.load(parts.to_bytes())
    assert parts.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_an_update_of_nothing_changes_no_byte(name):
    model = fresh(name)
    before = model.to_bytes()
    nothing = table_of([("u1", "i1", 1, 20)])[:0]
    assert model.partial_fit(nothing).to_bytes() == before
    model.partial_fit(table_of([("u1", "i1", 1, 50)]))
    once = model.to_bytes()
    assert once != before
    again = table_of([("u1", "i1", 1, 50)])
    assert model.partial_fit(again, deduplicate=True).to_bytes() == once
    assert model.last_update_.repeated == 1


@pytest.mark.parametrize("name", ["popular", "item-knn"])
def test_a_model_that_counts_is_the_one_that_is_trained_on_everything(name):
    rows = [("u1", "i1", 2, 50), ("u20", "i3", 1, 51), ("u20", "i20", 1, 52)]
    frame = pd.DataFrame(rows, columns=["user", "item", "quantity", "time"])
    frame["time"] *= 86400
    both = ancf.concat([base_table(), ancf.read_interactions(frame)])
    assert fresh(name).partial_fit(ancf.read_interactions(frame)).to_bytes() == MODELS[name]().fit(both).to_bytes()


class Failing:
    """Stands for a function and fails the k-th time that it is called."""

    def __init__(self, function, k):
        self.function, self.left = function, k

    def __call__(self, *arguments, **keywords):
        self.left -= 1
        if self.left < 0:
            raise MemoryError("injected")
        return self.function(*arguments, **keywords)


@pytest.mark.parametrize(
    "place",
    [
        "ridge_targets",
        "mix",
        "vectors_of_today",
        "_count_buyers",
        "PurchaseTimes",
        "HistoryEncoder",
        "least_kept",
    ],
)
def test_an_update_that_fails_leaves_the_model_as_it_was(place, monkeypatch):
    model = fresh("ancf with times")
    before, lists = model.to_bytes(), model.recommend_all(N=4).to_pandas()
    rows = table_of([("u1", "i1", 1, 50), ("new", "newer", 1, 51), ("u2", "newer", 1, 51)])
    if place == "PurchaseTimes":
        monkeypatch.setattr(updating.PurchaseTimes, "from_interactions", Failing(None, 0))
    else:
        monkeypatch.setattr(updating, place, Failing(getattr(updating, place), 0))
    with pytest.raises(MemoryError, match="injected"):
        model.partial_fit(rows)
    assert model.to_bytes() == before
    assert model.recommend_all(N=4).to_pandas().equals(lists)
    assert model.last_update_ is None
    monkeypatch.undo()
    assert "new" in model.partial_fit(rows).user_ids_


def test_old_and_new_serve_while_an_update_runs(monkeypatch):
    model = fresh("ancf")
    old = model.recommend("u1", N=3).ids.tolist()
    entered, go_on = threading.Event(), threading.Event()

    def waits(*arguments):
        entered.set()
        assert go_on.wait(30)
        return mix(*arguments)

    mix = updating.mix
    monkeypatch.setattr(updating, "mix", waits)
    rows = table_of([("new", "i1", 1, 50)])
    thread = threading.Thread(target=lambda: model.partial_fit(rows))
    thread.start()
    assert entered.wait(30)
    assert model.recommend("u1", N=3).ids.tolist() == old
    assert "new" not in model.user_ids_
    go_on.set()
    thread.join(30)
    assert "new" in model.user_ids_
    assert len(model.recommend("new", N=3).ids) == 3


def test_an_update_that_another_overtakes_is_refused(monkeypatch):
    model = fresh("ancf")
    mix = updating.mix

    def overtaken(*arguments):
        monkeypatch.setattr(updating, "mix", mix)
        model.partial_fit(table_of([("first", "i1", 1, 50)]))
        return mix(*arguments)

    monkeypatch.setattr(updating, "mix", overtaken)
    with pytest.raises(ancf.errors.InvalidCallError, match="meanwhile"):
        model.partial_fit(table_of([("second", "i1", 1, 50)]))
    assert "first" in model.user_ids_
    assert "second" not in model.user_ids_


@pytest.mark.parametrize("name", ["ancf", "ancf with times"])
def test_what_has_not_changed_enough_keeps_its_bits(name):
    model = fresh(name)
    before = model._fitted()
    # Two are a fifth of the buyers of i1; who buys again changes nothing.
    had = model.history("u3").item_ids[0]
    rows = [("a", "i1", 1, 50), ("b", "i1", 1, 50), ("u3", had, 1, 50), ("u1", "new", 1, 50)]
    after = model.partial_fit(table_of(rows))._fitted()
    trained, kept = before.encoder.trained, after.encoder.trained
    at = after.item_ids.positions(before.item_ids.values)
    assert kept.start[at].tobytes() == trained.start.tobytes()
    assert after.encoder.trained.states[at].tolist() == [int(each == "i1") for each in before.item_ids]
    weights = []
    for scorer, part in ((before, trained), (after, kept)):
        n = len(scorer.item_ids)
        values = scorer.neighbors.data[: scorer.neighbors.indptr[n]] if part.values is None else part.values
        sources = np.repeat(np.arange(n), np.diff(scorer.neighbors.indptr[: n + 1]))
        targets = scorer.neighbors.indices[: len(values)]
        names = scorer.item_ids.values
        weights.append(
            {
                (names[source], names[target]): value
                for source, target, value in zip(sources, targets, values, strict=True)
                if names[target] not in ("i1", "new")
            }
        )
    assert weights[0] == weights[1]


def test_weights_are_solved_anew_where_a_fifth_of_the_buyers_is_others_and_come_back_where_it_is_not():
    users = [f"u{user}" for user in range(40)]
    rows = [(user, f"i{item}") for at, user in enumerate(users) for item in range(4) if item == 0 or (at + item) % 3]
    data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
    model = ancf.ANCF(factors=4, epochs=1).fit(data)

    def takes_in(rows):
        user, item, weight = zip(*rows, strict=True)
        model.partial_fit(ancf.Interactions.from_ids(user=user, item=item, weight=weight))
        scorer = model._fitted()
        sources, targets = np.repeat(np.arange(4), np.diff(scorer.neighbors.indptr[:5])), scorer.neighbors.indices
        of_i0 = scorer.neighbors.data[: len(sources)][targets[: len(sources)] == 0].tolist()
        return scorer.encoder.trained.states[:4].tolist(), of_i0

    trained = takes_in([(f"n{at}", "i0", 1) for at in range(7)])
    assert trained[0] == [0, 0, 0, 0]
    assert trained[1]
    for rows in ([("u1", "i0", -1), ("u2", "i0", 3)], [("n7", "i0", 1)], [("n7", "i0", 1)]):
        assert takes_in(rows)[0] == [0, 0, 0, 0]
    many = takes_in([("n8", "i0", 1)])
    assert many[0] == [1, 0, 0, 0]
    assert many[1] != trained[1]
    model = ancf.load(model.to_bytes())
    assert takes_in([("n8", "i0", -1)]) == trained


UPDATED = [(user, item) for user in ("u3", "v", "w", "x") for item in ("i1", "new")] + [("v", "i2"), ("w", "i2")]


def attention_of(rows, degrees, beta):
    """Weights of the entries of each row: those of small degree count more."""
    found = [degrees[row] ** -0.5 for row in rows]
    return [each / each.sum() ** beta for each in found]


@pytest.mark.parametrize("graph", [True, False])
def test_vectors_are_those_of_the_bare_ones_over_all_purchases_and_what_buyers_say_of_new_ones(graph):
    p, beta = 0.5, 0.7
    options = {**PARTS, "neighbors": 0, "repeat_weight": 0.0, "serving_exponent": p, "attention_exponent": beta}
    before = ancf.ANCF(**options, item_attention=graph).fit(base_table(timed=False))
    was = np.bincount(before._fitted().seen.items)
    bare = before._fitted().encoder.trained.start
    known = before.item_ids_
    model = ancf.load(before.to_bytes())
    model.partial_fit(ancf.Interactions.from_ids(*zip(*UPDATED, strict=True)))
    after = model._fitted()
    had = [after.seen.items[start:end] for start, end in pairwise(after.seen.indptr)]
    now = np.bincount(after.seen.items)
    buyers = [np.array([user for user, items in enumerate(had) if item in items]) for item in range(len(now))]
    x, m = np.zeros((len(now), 4)), np.zeros(len(now))
    at = after.item_ids.positions(known.values)
    x[at], m[at] = bare, was
    a = attention_of(had, now, beta)
    b = attention_of(buyers, np.array([len(items) for items in had]), beta)
    by_items = np.array([each @ x[items] for each, items in zip(a, had, strict=True)])
    s = np.array([each @ by_items[users] for each, users in zip(b, buyers, strict=True)]) if graph else 0 * x
    users = np.array([each @ (x + s)[items] for each, items in zip(a, had, strict=True)])
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    t = np.array([each @ users[which] for each, which in zip(b, buyers, strict=True)])
    c = (t[at] * x[at]).sum() / (t[at] ** 2).sum()
    assert set(np.flatnonzero(now > m)) == {after.item_ids.position(item) for item in ("i1", "i2", "new")}
    share = np.minimum(m / now, 1)[:, None]
    v = share * x + (1 - share) * c * t + s
    served = v * np.linalg.norm(v, axis=1, keepdims=True) ** (p - 1)
    np.testing.assert_allclose(after.item_vectors, served, rtol=2e-5, atol=2e-6)


def test_without_new_buyers_vectors_are_those_of_training():
    model = fresh("ancf")
    before = model.item_vectors_.copy()
    had = model.history("u3").item_ids[0]
    model.partial_fit(table_of([("u3", had, 1, 50)]))
    np.testing.assert_allclose(model.item_vectors_, before, rtol=1e-5, atol=1e-6)


def as_files_were_before(model):
    """With whole vectors and what turns served ones back into these."""
    arrays, meta = scorer_arrays.to_arrays(model._fitted())
    del arrays["trained.bare"]
    arrays["trained.scaling"] = np.linspace(0.5, 2, len(arrays["item_vectors"]), dtype=np.float32)
    arrays["trained.vectors"] = np.sqrt(1 + np.abs(arrays["item_vectors"]))
    return ancf.ANCF._from_arrays(arrays, meta)


def test_a_file_of_whole_vectors_is_updated_and_keeps_them():
    model = as_files_were_before(fresh("ancf with times"))
    trained = model._fitted().encoder.trained
    rows = [("u1", "new", 1, 50), ("u2", "new", 1, 50)], [("u3", "i1", 2, 51), ("u4", "newer", 1, 52)]
    whole = as_files_were_before(fresh("ancf with times")).partial_fit(table_of(rows[0] + rows[1]))
    for part in rows:
        model = ancf.load(model.partial_fit(table_of(part)).to_bytes())
    assert model.to_bytes() == whole.to_bytes()
    kept = model._fitted().encoder.trained
    assert kept.is_whole
    at = model.item_ids_.positions(fresh("ancf with times").item_ids_.values)
    assert kept.start[at].tobytes() == trained.start.tobytes()
    i0 = model.item_ids_.position("i0")
    served, own = model.item_vectors_[i0].astype(np.float64), kept.start[i0].astype(np.float64)
    assert served @ own == pytest.approx(np.linalg.norm(served) * np.linalg.norm(own), rel=1e-6)
    assert "new" in model.recommend("u5", N=12).ids


def test_a_new_item_is_listed_for_those_who_are_like_its_buyers():
    users = [f"u{user}" for user in range(40)]
    rows = [(user, f"i{at % 2 + 2 * each}") for at, user in enumerate(users) for each in range(5) if (at + each) % 6]
    data = ancf.Interactions.from_ids(user=[user for user, _ in rows], item=[item for _, item in rows])
    model = ancf.ANCF(factors=8, epochs=8).fit(data)
    came = [(user, "new") for user in users[:20:2]]
    model.partial_fit(ancf.Interactions.from_ids(user=[user for user, _ in came], item=[item for _, item in came]))
    scores = model.predict(users[20:], "new")
    assert scores[::2].min() > scores[1::2].max()
    assert "new" in model.recommend(users[22], N=3).ids


def test_what_an_update_brought_is_told():
    model = fresh("ancf")
    rows = [("u1", "i1", 1, 50), ("u30", "i30", 2, 50), ("u30", "i30", -2, 51), ("u31", "i2", 3, 52)]
    model.partial_fit(table_of(rows))
    told = model.last_update_
    assert (told.events, told.new_users, told.new_items, told.touched_items) == (4, 1, 0, 3)
    assert (told.returns, told.cancelled) == (1, 1)
    assert "u30" not in model.user_ids_
    assert "4 events taken in: 1 new user, 0 new items, 3 items touched, 1 return (1 purchase gone)" in str(told)
    assert told.to_dict()["since"] == told.since == 2
    assert told.untrained_items == 0
    model.partial_fit(table_of([("u1", "i30", 1, 53)]))
    assert model.last_update_.untrained_items == 1
    assert "of the training, " in str(model.last_update_)
    assert "and 1 item that it did not have" in str(model.last_update_)
    assert ancf.load(model.to_bytes()).last_update_ is None


def test_a_return_takes_back_what_was_trained_on():
    model = fresh("ancf")
    had = model.history("u1")
    rows = [("u1", item, -int(weight), 60) for item, weight in zip(had.item_ids[1:], had.weights[1:], strict=True)]
    model.partial_fit(table_of(rows))
    assert model.history("u1").item_ids.tolist() == had.item_ids[:1].tolist()
    assert set(had.item_ids[1:]) & set(model.recommend("u1", N=20).ids)


def test_a_return_that_comes_before_its_purchase_finds_it():
    late = fresh("popular").partial_fit(table_of([("u40", "i1", -1, 55)]))
    assert "u40" not in late.user_ids_
    late.partial_fit(table_of([("u40", "i1", 3, 54)]))
    assert late.history("u40").weights.tolist() == [2.0]


def test_a_corrected_quantity_corrects_where_rows_come_twice():
    model = fresh("popular").partial_fit(table_of([("u40", "i1", 3, 55), ("u40", "i2", 1, 55)]))
    again = table_of([("u40", "i1", 5, 55), ("u40", "i2", 1, 55), ("u40", "i3", 1, 55)])
    model.partial_fit(again, deduplicate=True)
    assert model.history("u40").weights.tolist() == [5.0, 1.0, 1.0]
    told = model.last_update_
    assert (told.events, told.repeated, told.corrected) == (2, 2, 1)
    model.partial_fit(again)
    assert model.history("u40").weights.tolist() == [10.0, 2.0, 2.0]


def test_much_that_is_newer_than_the_training_is_warned_of_with_figures():
    rows = [(f"u{at % 12}", f"i{at % 9}", 1, 50 + at % 7) for at in range(80)]
    rows += [("u1", "newer", 1, 58), ("u2", "newest", 1, 58)]
    with pytest.warns(ancf.errors.TrainingWarning, match=r"\d+ events and 2 items came since the training on \d+"):
        fresh("ancf").partial_fit(table_of(rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pd.DataFrame({"user": [1], "item": ["i1"], "time": [86400]}), "users .* kind 'int'"),
        (pd.DataFrame({"user": ["u1"], "item": [1], "time": [86400]}), "items .* kind 'int'"),
        (pd.DataFrame({"user": ["u1"], "item": ["i1"]}), "no times"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(rows, message):
    model = fresh("ancf")
    before = model.to_bytes()
    with pytest.raises(ancf.InvalidDataError, match=message):
        model.partial_fit(ancf.read_interactions(rows))
    assert model.to_bytes() == before
    with pytest.raises(ancf.InvalidDataError, match="time=False"):
        fresh("ancf", timed=False).partial_fit(table_of([("u1", "i1", 1, 50)]))
    with pytest.raises(ancf.InvalidDataError, match="partial_fit takes"):
        model.partial_fit(rows)
    with pytest.raises(ancf.InvalidParameterError, match="deduplicate"):
        model.partial_fit(table_of([("u1", "i1", 1, 50)]), deduplicate="yes")


@pytest.mark.parametrize("of", [int, lambda at: uuid.UUID(int=at)], ids=["numbers", "uuids"])
def test_texts_of_a_file_are_ids_as_the_models_are(of):
    draws = np.random.default_rng(5)
    users, items = draws.integers(2, 30, 200).tolist(), draws.integers(0, 9, 200).tolist()
    table = ancf.Interactions.from_ids(user=[of(each) for each in users], item=[of(each) for each in items])
    file = ancf.ANCF(**PARTS).fit(table.with_features(item_features={"item": [of(3)], "price": [3]})).to_bytes()
    rows = [(9, 2, "purchase"), (10, 2, "purchase"), (100, 11, "purchase"), (9, 3, "dislike")]

    def updated(kind, **options):
        frame = pd.DataFrame(rows, columns=["user", "item", "event"])
        frame["user"], frame["item"] = ([kind(each) for each in frame[name]] for name in ("user", "item"))
        came = ancf.read_interactions(frame).with_features(item_features={"item": [kind(11)], "price": [5]})
        return ancf.load(file).partial_fit(came, **options)

    beside = {"item": ["12", "3"] if of is int else [str(of(12)), str(of(3))], "price": [1, 2]}
    texts = updated(lambda each: str(of(each)), item_features=beside)
    same = updated(of, item_features={**beside, "item": [of(12), of(3)]})
    assert texts.to_bytes() == same.to_bytes()
    assert texts.history(of(100)).item_ids.tolist() == [of(11)]


@pytest.mark.parametrize("text", ["007", "7.0", " 7", "+7", "seven", "9" * 25])
def test_a_text_that_is_not_spelled_as_a_number_is_no_id_of_a_model_of_numbers(text):
    model = ancf.ItemKNN().fit(ancf.Interactions.from_ids(user=[7, 8, 7], item=["tea", "tea", "cup"]))
    before = model.to_bytes()
    with pytest.raises(ancf.InvalidDataError, match=f"'{re.escape(text)}' is not written as such an id is"):
        model.partial_fit(ancf.Interactions.from_ids(user=["8", text], item=["tea", "tea"]))
    came, beside = ancf.Interactions.from_ids(user=[8], item=["cup"]), {"user": [f"{text}x", "8"], "age": [3, 4]}
    with pytest.raises(ancf.InvalidDataError, match=f"'{re.escape(text.strip())}x' is not written"):
        model.partial_fit(came, user_features=beside)
    assert model.to_bytes() == before


def test_returns_that_were_netted_at_reading_are_told():
    frame = pd.DataFrame({"user": ["u1", "u1"], "item": ["i1", "i2"], "quantity": [-1, 2], "time": [86400, 86400]})
    with pytest.warns(ancf.errors.TrainingWarning, match="returns='keep'"):
        fresh("popular").partial_fit(ancf.read_interactions(frame))


def test_a_purchase_must_be_left():
    data = ancf.Interactions.from_ids(user=[1, 2], item=[1, 2])
    model = ancf.Popular().fit(data)
    gone = ancf.Interactions.from_ids(user=[1, 2], item=[1, 2], weight=[-1, -1])
    with pytest.raises(ancf.InvalidDataError, match="no purchase would be left"):
        model.partial_fit(gone)
    assert model.history(1).item_ids.tolist() == [1]


def test_a_model_that_cannot_be_updated_says_what_to_do():
    data = base_table()
    for model in (ancf.BPR(epochs=1), ancf.SVD(epochs=1)):
        with pytest.raises(ancf.errors.InvalidCallError, match="anew with warm_start=True"):
            model.fit(data).partial_fit(data)
    network = ancf.ANCF(loss="bpr", factors=4, epochs=1, neighbors=0).fit(data)
    with pytest.raises(ancf.errors.InvalidCallError, match="plain softmax"):
        network.partial_fit(data)
    with pytest.raises(ancf.errors.InvalidCallError, match="training anew"):
        ancf.from_factors(np.eye(2), np.eye(2)).partial_fit(data)
    with pytest.raises(ancf.errors.NotFittedError):
        ancf.ANCF().partial_fit(data)


def test_a_file_that_keeps_too_little_says_to_train_again():
    golden = pathlib.Path(__file__).parents[1] / "golden"
    for path in sorted(golden.glob("*.ancf")):
        model = ancf.load(path)
        table = ancf.Interactions.from_ids(user=model.user_ids_.values[:1], item=model.item_ids_.values[:1])
        with pytest.raises((ancf.InvalidDataError, ancf.errors.InvalidCallError), match=r"[Tt]rain"):
            model.partial_fit(table)


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, meta: arrays.update({"trained.states": arrays["trained.states"] + np.uint8(3)}),
        lambda arrays, meta: arrays.update({"trained.bare": arrays["trained.bare"][1:]}),
        lambda arrays, meta: arrays.update({"trained.bare": arrays["trained.bare"] * np.float32("nan")}),
        lambda arrays, meta: arrays.update({"trained.whole": arrays.pop("trained.bare").astype(np.float64)}),
        lambda arrays, meta: arrays.update({"trained.values": arrays["trained.values"][1:]}),
        lambda arrays, meta: arrays.pop("trained.buyers"),
        lambda arrays, meta: arrays.pop("trained.covered.values"),
        lambda arrays, meta: arrays.update({"trained.covered.items": arrays["trained.covered.items"] + np.int32(99)}),
        lambda arrays, meta: meta["trained"].pop("neighbors"),
        lambda arrays, meta: meta.update(trained=3),
        lambda arrays, meta: arrays.pop("trained.bare"),
        lambda arrays, meta: arrays.pop("returns.users"),
        lambda arrays, meta: arrays.update({"returns.items": arrays["returns.items"] + np.int32(900)}),
        lambda arrays, meta: arrays.update({"returns.weights": arrays["returns.weights"] * np.float32("inf")}),
        lambda arrays, meta: arrays.update({"returns.users": arrays["returns.users"].astype(np.int64)}),
        lambda arrays, meta: meta["returns"].pop("user_ids"),
        lambda arrays, meta: meta.update(returns=7),
    ],
)
def test_a_damaged_file_is_refused(damage):
    rows = [("u1", "i2", 1, 50), ("u1", "i2", -9, 51), ("a", "i1", 1, 50), ("b", "i1", 1, 50)]
    model = fresh("ancf with times").partial_fit(table_of(rows))
    arrays, meta = scorer_arrays.to_arrays(model._fitted())
    damage(arrays, meta)
    with pytest.raises(ancf.errors.ModelFileError, match="Load another copy"):
        ancf.ANCF._from_arrays(arrays, meta)
