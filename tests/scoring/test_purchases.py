"""What a model keeps of the purchases: what a list was made of, and up to which event the model has learned."""

import numpy as np
import pytest

import ancf
from ancf.scoring import scorer_arrays
from ancf.testing.contract import example_table

TIMED = ancf.Interactions.from_ids(
    user=["ann", "ann", "ann", "bob", "cleo"],
    item=["tea", "cup", "tea", "tea", "pot"],
    weight=[2, 1, 3, 1, 4],
    time=[0, 86400, 172800, 50, 60],
)


def models():
    return [getattr(ancf.models, name)(**entry.example) for name, entry in ancf.models.MODELS.items() if entry.cli_name]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_history_has_quantities_counts_and_the_last_times(model):
    had = model.fit(TIMED).history("ann")
    assert had.item_ids.tolist() == ["cup", "tea"]
    assert had.weights.tolist() == [1.0, 5.0]
    assert had.counts.tolist() == [1, 2]
    assert had.times.tolist() == [86400, 172800]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_loaded_model_has_the_same_purchases(model):
    data = example_table()
    data.mark = "journal 17"
    model.fit(data)
    again = ancf.load(model.to_bytes())
    assert again.mark_ == model.mark_ == "journal 17"
    for user in data.user_ids:
        for mine, other in zip(model.history(user), again.history(user), strict=True):
            assert mine is other is None or np.array_equal(mine, other)
    scorer = again._fitted()
    table = scorer.purchases.interactions(scorer.user_ids, scorer.item_ids, scorer.seen)
    assert table.fingerprint() == data.fingerprint()


def test_a_history_gives_the_list_of_its_user():
    data = example_table()
    model = ancf.ANCF(factors=4, epochs=2).fit(data)
    for user in data.user_ids.values[1:5]:
        had = model.history(user)
        times = None if had.times is None else had.times
        folded = model.recommend_for_history(list(had.item_ids), weights=had.counts, times=times)
        assert folded.ids.tolist() == model.recommend(user).ids.tolist()


def test_a_file_without_events_gives_a_history_of_items_alone():
    from pathlib import Path

    model = ancf.load(Path(__file__).parents[1] / "golden" / "ancf-1.ancf.ancf")
    user = model.user_ids_[0]
    had = model.history(user)
    assert len(had.item_ids) == len(model._fitted().seen.row(0))
    assert had.weights is had.counts is had.times is None
    assert model.mark_ is None


def test_an_unknown_user_has_no_history():
    model = ancf.Popular().fit(TIMED)
    with pytest.raises(ancf.UnknownUserError, match="'dora'"):
        model.history("dora")
    with pytest.raises(ancf.InvalidParameterError, match="one user"):
        model.history(["ann", "bob"])


def test_a_mark_is_a_number_or_text():
    data = ancf.Interactions.from_ids(user=[1, 2], item=[1, 2])
    data.mark = 1.5
    with pytest.raises(ancf.InvalidDataError, match="mark"):
        ancf.Popular().fit(data)


def test_a_part_of_a_table_has_no_mark():
    data = ancf.Interactions.from_ids(user=[1, 2], item=[1, 2])
    data.mark = 7
    assert data[:1].mark is None
    assert ancf.concat([data, data]).mark == 7


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, meta: arrays.update({"events.counts": arrays["events.counts"] + 1}),
        lambda arrays, meta: arrays.update({"events.counts": -arrays["events.counts"]}),
        lambda arrays, meta: arrays.update({"events.times": arrays["events.times"][1:]}),
        lambda arrays, meta: arrays.update({"events.weights": arrays["events.weights"] * np.float32("nan")}),
        lambda arrays, meta: arrays.pop("events.counts"),
        lambda arrays, meta: meta.update(events={"n": "5"}),
        lambda arrays, meta: meta.update(events=5),
        lambda arrays, meta: meta["events"].update(mark=[1]),
    ],
)
def test_a_file_whose_events_do_not_fit_is_refused(damage):
    arrays, meta = scorer_arrays.to_arrays(ancf.Popular().fit(TIMED)._fitted())
    damage(arrays, meta)
    with pytest.raises(ancf.errors.ModelFileError, match="events"):
        ancf.Popular._from_arrays(arrays, meta)
