"""How popular an item is may multiply its scores, where held-out purchases are ranked better so."""

import numpy as np
import pytest

import ancf
from ancf.data.csr import ItemSets
from ancf.models.ancf.selection import POPULARITY_EXPONENTS, HeldOut, Measured, select_mixture
from ancf.models.ancf.temporal import PurchaseTimes, popularity_factors

DAY = 86_400


def table(seed=0, n_users=120, n_items=40, n=1500, power=1.6, timed=False):
    """What people have follows popularity alone."""
    draws = np.random.default_rng(seed)
    share = np.arange(1, n_items + 1) ** -power
    items = draws.choice(n_items, n, p=share / share.sum())
    users = draws.integers(0, n_users, n)
    times = draws.integers(0, 100, n) * DAY if timed else None
    return ancf.Interactions.from_ids(user=users, item=[f"i{each:02}" for each in items], time=times)


def fitted(data, **options):
    return ancf.ANCF(**{"factors": 8, "epochs": 2, "neighbor_weight": 1.0, "random_state": 1, **options}).fit(data)


def test_the_factor_is_a_power_of_the_smoothed_number_of_users():
    n_users = np.array([0, 5, 25])
    assert np.allclose(popularity_factors(n_users, 0.5), np.sqrt((n_users + 5) / 15), rtol=1e-6)
    assert popularity_factors(n_users, 0.0) is None


def test_each_item_s_scores_are_multiplied_by_its_factor():
    data = table()
    options = {"serving_exponent": 1.0, "repeat_weight": 0.0, "neighbors": 0}
    plain = fitted(data, popularity_exponent=0.0, **options)
    popular = fitted(data, popularity_exponent=0.5, **options)
    user = data.user_ids.values[0]
    n_users = np.bincount(data.to_csr().indices, minlength=data.n_items)
    gains = [popular.predict(user, item) / plain.predict(user, item) for item in data.item_ids.values]
    assert np.allclose(gains, popularity_factors(n_users, 0.5), rtol=1e-4)


def test_explanations_histories_and_lists_agree_with_it():
    data = table()
    model = fitted(data, popularity_exponent=0.75)
    user = data.user_ids.values[3]
    first = model.recommend(user, N=1).ids[0]
    told = model.explain(user, first)
    assert sum(reason.contribution for reason in told) == pytest.approx(told.score, rel=1e-5)
    history = model.history(user).item_ids
    assert np.allclose(model.recommend_for_history(history, N=5).scores, model.recommend(user, N=5).scores, rtol=1e-6)


def test_more_of_it_lists_more_popular_items():
    data = table()
    n_users = dict(zip(data.item_ids.values, np.bincount(data.to_csr().indices), strict=True))
    means = []
    for exponent in (0.0, 0.5, 1.0):
        lists = fitted(data, popularity_exponent=exponent).recommend_all(N=5)
        means.append(np.mean([n_users[item] for item in lists.to_pandas()["item_id"]]))
    assert means == sorted(means)
    assert means[2] > means[0]


def held_out(alternates):
    none = ItemSets(np.zeros(1, np.int64), np.empty(0, np.int32))
    return HeldOut(none, np.empty(0), PurchaseTimes(None, None, None), np.empty(0), none, 0.2, alternates)


@pytest.mark.parametrize(
    ("gain", "spread", "alternates", "chosen"),
    [
        (0.3, 0.0, False, 1.0),
        (0.3, 0.0, True, 1.0),
        (0.15, 0.0, False, 0.0),
        (0.3, 2.0, False, 0.0),
        (-0.2, 0.0, True, 0.0),
    ],
)
def test_it_leaves_0_for_a_fifth_and_three_standard_errors_alone(gain, spread, alternates, chosen):
    noise = spread * np.tile([1.0, 1.0, -1.0, -1.0], 25)

    def measure(choice):
        exponent = choice.get("popularity_exponent", 0.0)
        found = np.ones(100)
        if exponent:
            found = found + gain * min(exponent, 2 - exponent) + noise
        # Those who are asked for what belongs together like it in any case.
        return found + (np.arange(100) % 2) * exponent if alternates else found

    grids = {"neighbor_weight": (1.0,), "popularity_exponent": POPULARITY_EXPONENTS}
    found = select_mixture(held_out(alternates), Measured.one_by_one(measure), grids, {"neighbor_weight": 1.0})
    assert found == {"neighbor_weight": 1.0, "popularity_exponent": chosen}


def test_a_dip_on_the_way_hides_no_better_one():
    means = dict(zip(POPULARITY_EXPONENTS, (1.0, 1.1, 1.09, 1.2, 1.3, 1.4, 1.3, 1.2, 1.1), strict=True))
    measured = Measured.one_by_one(lambda choice: np.full(100, means[choice.get("popularity_exponent", 0.0)]))
    grids = {"neighbor_weight": (1.0,), "popularity_exponent": POPULARITY_EXPONENTS}
    found = select_mixture(held_out(False), measured, grids, {"neighbor_weight": 1.0})
    assert found["popularity_exponent"] == 0.75


def test_what_is_chosen_is_told_and_kept():
    model = ancf.ANCF(factors=8, epochs=2, random_state=1).fit(table())
    assert model.history_["settings"]["popularity_exponent"] == 0.0
    assert fitted(table(), serving_exponent=0.5).history_["settings"]["popularity_exponent"] == 0.0
    given = fitted(table(), popularity_exponent=0.5)
    assert ancf.load(given.to_bytes()).history_["settings"]["popularity_exponent"] == 0.5


def test_a_list_as_of_a_day_counts_who_had_an_item_by_then():
    data = table(timed=True)
    options = {"half_life": None, "trend": 0.0, "repeat_weight": 0.0, "neighbors": 0, "serving_exponent": 0.5}
    popular, plain = (fitted(data, popularity_exponent=each, **options) for each in (1.0, 0.0))
    now = 40 * DAY
    kept = data.subset(data.times <= now)
    items = data.item_ids.values.tolist()
    n_users = np.bincount(kept.to_csr().indices, minlength=data.n_items)
    wanted = dict(zip(items, popularity_factors(n_users, 1.0), strict=True))
    for user in kept.user_ids.take(np.unique(kept.users)).tolist()[:5]:
        asked = {"N": len(items), "now": now, "filter_already_liked_items": False}
        mine, of_plain = (
            dict(zip(each.ids, each.scores, strict=True))
            for each in (popular.recommend(user, **asked), plain.recommend(user, **asked))
        )
        assert mine.keys() == of_plain.keys()
        assert len(mine) > 10
        for item, score in mine.items():
            assert score == pytest.approx(of_plain[item] * wanted[item], rel=1e-4, abs=1e-6)


def test_it_is_refused_where_it_has_no_effect():
    with pytest.raises(ancf.InvalidParameterError, match=r"popularity_exponent=0\.5 has no effect"):
        ancf.ANCF(loss="bpr", popularity_exponent=0.5).fit(table())
