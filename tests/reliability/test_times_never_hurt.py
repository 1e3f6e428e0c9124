"""Times and the default model: one wrong date changes one purchase; with times no list is worse than without."""

import numpy as np
import pytest

import ancf
from ancf.models.ancf.selection import hold_out_last
from ancf.models.ancf.temporal import PurchaseTimes, trend_factors

DAY = 86_400
START = 1_700_000_000
OPTIONS = {"factors": 16, "epochs": 4}


def seasonal_shop(n_users: int = 400, n_items: int = 36) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each item sells in its own month."""
    draws = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users), 8)
    items = draws.integers(0, 12, len(users)) + 12 * (users % (n_items // 12))
    days = np.clip(draws.normal(30 * (items % 12) + 15, 12), 0, 359)
    return users, items, START + (days * DAY).astype(np.int64)


def untimed(data: ancf.Interactions) -> ancf.Interactions:
    """The same purchases without their times."""
    return ancf.Interactions.from_ids(data.user_ids.take(data.users), data.item_ids.take(data.items))


def lists(model: ancf.ANCF) -> tuple[list[list[int]], list[list[float]]]:
    found = model.recommend_all(N=10)
    return found.ids.tolist(), found.scores.tolist()


@pytest.fixture(scope="module")
def shop() -> ancf.Interactions:
    users, items, times = seasonal_shop()
    return ancf.Interactions.from_ids(users, items, time=times)


@pytest.mark.parametrize("wrong", [START + 3650 * DAY, 253_402_214_400, 0])
def test_a_wrong_date_leaves_the_trend_of_all_other_items_as_it_is(wrong: int) -> None:
    users, items, times = seasonal_shop()
    bad = times.copy()
    bad[100] = wrong
    factors = [
        trend_factors(PurchaseTimes.from_interactions(ancf.Interactions.from_ids(users, items, time=t)), 36, 1.0, 15.0)
        for t in (times, bad)
    ]
    others = np.arange(36) != items[100]
    assert factors[0].max() > 2
    assert np.abs(factors[1] / factors[0] - 1)[others].max() < 0.03
    assert abs(factors[1][items[100]] / factors[0][items[100]] - 1) < 0.1


def test_the_trend_of_an_item_stays_within_sixteen_times() -> None:
    users = np.arange(40_000) % 500
    items = np.arange(40_000) % 80
    times = START + (np.arange(40_000) // 200) * DAY
    items[-4000:] = 0  # nothing else sells in the last weeks
    data = ancf.Interactions.from_ids(users, items, time=times)
    factors = trend_factors(PurchaseTimes.from_interactions(data), 80, 1.0, 2.0)
    assert factors.max() <= 16
    assert factors.min() >= np.float32(1 / 16)
    assert factors.min() == np.float32(1 / 16)


@pytest.mark.parametrize("wrong", [400, 3650])
def test_events_far_from_all_others_choose_nothing(wrong: int) -> None:
    """Up to one row in a thousand, whatever it says, is not among the purchases on which a mixture is chosen."""
    users, items, times = seasonal_shop()
    clean = ancf.Interactions.from_ids(users, items, time=times)
    held = hold_out_last(clean, clean.to_csr().sets, 0)
    moved = np.flatnonzero(items == 0)[:3]
    bad = times.copy()
    bad[moved] = START + wrong * DAY
    data = ancf.Interactions.from_ids(users, items, time=bad)
    found = hold_out_last(data, data.to_csr().sets, 0)
    assert held is not None
    assert found is not None
    assert not np.isin(np.flatnonzero(data.item_ids.values == 0), found.truth.items).any()
    assert abs(len(found.truth.items) - len(held.truth.items)) <= 3


def test_one_wrong_date_leaves_first_places_as_they_are() -> None:
    users, items, times = seasonal_shop()
    bad = times.copy()
    bad[np.flatnonzero(items == 0)[0]] = START + 3650 * DAY
    firsts = []
    for each in (times, bad):
        model = ancf.ANCF(**OPTIONS).fit(ancf.Interactions.from_ids(users, items, time=each))
        assert model.history_["settings"]["trend"] > 0
        firsts.append(np.bincount(model.recommend_all(N=1).ids.ravel(), minlength=36))
    assert abs(firsts[1][0] - firsts[0][0]) <= 5
    assert np.abs(firsts[1] - firsts[0]).sum() < 0.2 * firsts[0].sum()


@pytest.mark.parametrize("split", ["random_split", "kfold"])
def test_after_a_random_split_a_table_with_times_gives_the_lists_of_one_without(
    shop: ancf.Interactions, split: str
) -> None:
    if split == "kfold":
        train = next(ancf.kfold(shop, 5, on_leak="ignore"))[0]
    else:
        train = ancf.random_split(shop, on_leak="ignore")[0]
    assert train.split_by == "random"
    timed = ancf.ANCF(**OPTIONS, repeat_weight=0.0).fit(train)
    assert timed.history_["settings"]["choose_for"] == "random"
    assert lists(timed) == lists(ancf.ANCF(**OPTIONS, repeat_weight=0.0).fit(untimed(train)))


def test_each_split_tells_its_parts_how_they_came_about(shop: ancf.Interactions) -> None:
    assert shop.split_by is None
    for parts, how in (
        (ancf.random_split(shop, on_leak="ignore"), "random"),
        (ancf.time_split(shop), "time"),
        (ancf.leave_last_out(shop, on_leak="ignore"), "last"),
        (ancf.leave_last_out(untimed(shop), on_leak="ignore"), "random"),
        (ancf.user_split(shop), "user"),
        (ancf.time_split(ancf.random_split(shop, on_leak="ignore")[0]), "time"),
    ):
        assert [part.split_by for part in parts] == [how] * len(parts)
        assert parts[0].compact().split_by == how
    assert shop.split_by is None


def test_what_is_chosen_follows_the_split(shop: ancf.Interactions) -> None:
    last, _ = ancf.leave_last_out(shop, on_leak="ignore")
    future, _ = ancf.time_split(shop, (0.8, 0.2))
    chosen = {}
    for name, part in (("last", last), ("future", future), ("whole", shop)):
        chosen[name] = ancf.ANCF(**OPTIONS).fit(part).history_["settings"]
    assert [chosen[name]["choose_for"] for name in chosen] == ["next", "future", "future"]
    assert chosen["last"]["trend"] == 0
    assert chosen["future"]["trend"] > 0


def test_choose_for_goes_before_what_the_split_says(shop: ancf.Interactions) -> None:
    train = ancf.random_split(shop, on_leak="ignore")[0]
    whole = untimed(train)
    forced = ancf.ANCF(**OPTIONS, choose_for="future").fit(train)
    assert forced.history_["settings"]["choose_for"] == "future"
    assert forced.history_["settings"]["trend"] > 0
    plain = ancf.Interactions.from_ids(
        train.user_ids.take(train.users), train.item_ids.take(train.items), time=train.times
    )
    as_random = ancf.ANCF(**OPTIONS, repeat_weight=0.0, choose_for="random").fit(plain)
    assert lists(as_random) == lists(ancf.ANCF(**OPTIONS, repeat_weight=0.0).fit(whole))


def test_choose_for_the_future_needs_times(shop: ancf.Interactions) -> None:
    for value in ("future", "next"):
        with pytest.raises(ancf.InvalidDataError, match=f"choose_for='{value}' needs times"):
            ancf.ANCF(**OPTIONS, choose_for=value).fit(untimed(shop))
    with pytest.raises(ancf.InvalidParameterError, match="choose_for is 'tomorrow'"):
        ancf.ANCF(choose_for="tomorrow").fit(shop)
