"""SVD on quantities of any size: it ends, it is better than one number for all, and stars stay as they are."""

from itertools import product

import numpy as np
import pytest

import ancf
from ancf.errors import ModelFileError
from ancf.models.rating_scale import RatingScale
from ancf.scoring import scorer_arrays

SPACE = ancf.SVD().search_space()


def quantities(seed=1):
    """Amounts of 60 users and 30 items: each user buys small or large lots, and one order in a hundred is huge."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((60, 30)) < 0.5)
    amounts = np.ceil(np.exp(1.0 + (users % 3) + rng.normal(0, 0.4, len(users))))
    amounts[rng.random(len(users)) < 0.01] = 50_000
    return users, items, amounts


def wholesale(seed=1):
    """Amounts of a hundred small customers and forty large ones, ten of whom order by the pallet every other time."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(140), [160] * 40 + [8] * 100)
    items = np.concatenate([rng.choice(400, size, replace=False) for size in np.bincount(users)])
    amounts = np.ceil(np.exp(1 + rng.normal(0, 0.7, len(users))))
    amounts[(users < 10) & (rng.random(len(users)) < 0.5)] = 500
    return users, items, amounts


def table(users, items, amounts):
    return ancf.Interactions.from_ids(user=users, item=items, weight=amounts)


CORNERS = [dict(zip(SPACE, ends, strict=True)) for ends in product(*(each.grid(2) for each in SPACE.values()))]


@pytest.mark.parametrize("corner", CORNERS, ids=repr)
def test_no_corner_of_the_search_space_diverges_on_quantities_or_on_stars(corner):
    users, items, amounts = wholesale()
    stars = np.clip(np.round(3 + np.random.default_rng(2).normal(0, 1.5, len(users))), 1, 5)
    for ratings in (amounts, stars):
        losses = ancf.SVD(epochs=5, **corner).fit(table(users, items, ratings)).history_["training_loss"]
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("rate", [0.005, 0.03, 0.05])
def test_quantities_with_huge_ones_among_them_are_learned_beyond_the_rates_of_the_space(rate):
    users, items, amounts = quantities()
    model = ancf.SVD(learning_rate=rate, epochs=40).fit(table(users, items, amounts))
    usual = amounts < 50_000
    error = np.abs(model.predict(users, items) - amounts)[usual].mean()
    assert error < 0.7 * np.abs(np.median(amounts) - amounts)[usual].mean()
    settings = model.history_["settings"]
    assert 2 < settings["rating_unit"] < 20
    assert settings["rating_limits"][1] == np.median(amounts) + 10 * settings["rating_unit"]


def test_where_nearly_all_quantities_are_the_same_the_others_say_what_a_unit_is():
    users, items, amounts = quantities()
    amounts = np.where(amounts == 50_000, 1e6, 1.0)
    model = ancf.SVD(learning_rate=0.05).fit(table(users, items, amounts))
    assert np.isfinite(model.predict(users, items)).all()
    assert model.history_["settings"]["rating_unit"] == np.abs(amounts - 1).mean()


def test_in_another_unit_quantities_give_the_same_model_in_that_unit():
    users, items, amounts = quantities()
    few, many = (ancf.SVD(factors=8).fit(table(users, items, amounts * unit)) for unit in (1.0, 64.0))
    assert np.array_equal(many.predict(users, items), 64 * few.predict(users, items))
    history = {int(item): float(amount) for item, amount in zip(items[:5], amounts[:5], strict=True)}
    larger = {item: 64 * amount for item, amount in history.items()}
    assert few.recommend_for_history(history, N=5).ids.tolist() == many.recommend_for_history(larger, N=5).ids.tolist()


def test_stars_are_taken_as_they_are():
    users, items, _ = quantities()
    stars = np.random.default_rng(3).integers(1, 11, len(users))
    model = ancf.SVD().fit(table(users, items, stars))
    assert RatingScale.of(stars.astype(np.float32)) == RatingScale()
    assert "rating_unit" not in model.history_["settings"]
    assert "rating_limits" not in scorer_arrays.to_arrays(model._fitted())[1]


def test_a_history_counts_up_to_the_limits_of_training_also_after_loading(tmp_path):
    users, items, amounts = quantities()
    model = ancf.SVD(factors=8).fit(table(users, items, amounts))
    top = model.history_["settings"]["rating_limits"][1]
    model.save(tmp_path / "svd.ancf")
    for each in (model, ancf.load(tmp_path / "svd.ancf")):
        huge, limit, less = (
            each.recommend_for_history({0: amount, 1: 3.0}, N=5).scores for amount in (1e6, top, top / 2)
        )
        assert np.array_equal(huge, limit)
        assert not np.array_equal(less, limit)


@pytest.mark.parametrize("limits", [3.0, [1.0], ["1", "2"], [2.0, 1.0]])
def test_damaged_limits_of_a_file_are_named(limits):
    arrays, meta = scorer_arrays.to_arrays(ancf.SVD(factors=8).fit(table(*quantities()))._fitted())
    with pytest.raises(ModelFileError, match="rating limits"):
        ancf.SVD._from_arrays(arrays, {**meta, "rating_limits": limits})
