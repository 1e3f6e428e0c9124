"""What customers are due to buy again: the formula against a naive twin, and everything that lists obey."""

import math

import numpy as np
import pytest

import ancf
from ancf.data.repurchases import repurchase_rates

DAY = 86400
START = 1_300_000_000 // DAY * DAY


def purchases(seed, n=1500):
    rng = np.random.default_rng(seed)
    return list(
        zip(
            rng.integers(0, 25, n).tolist(),
            [f"i{each}" for each in (rng.pareto(1.0, n) * 4).astype(int) % 30],
            (START + rng.integers(0, 150, n) * DAY + rng.integers(0, DAY, n)).tolist(),
            strict=True,
        )
    )


def fitted(rows, model=None):
    users, items, times = zip(*rows, strict=True)
    return (model or ancf.Popular()).fit(ancf.Interactions.from_ids(users, items, time=times))


def naive(rows, now):
    """The scores by (user, item), one number after the other."""
    days = {}
    for user, item, time in rows:
        if time <= now:
            days.setdefault((user, item), set()).add(time // DAY)
    today, items = now // DAY, {item for _, item in days}
    first, last = ([end(when) for when in days.values()] for end in (min, max))
    names = sorted(items)
    positions = np.array([names.index(item) for _, item in days], np.int32)
    rates = repurchase_rates(positions, np.array(first), np.array(last), today, len(names))
    spans = sum(max(when) - min(when) for when in days.values())
    gaps = sum(len(when) - 1 for when in days.values())
    usual = spans / gaps if gaps else 30.0
    found = {}
    for item in items:
        of_item = {pair: when for pair, when in days.items() if pair[1] == item}
        between = (sum(max(when) - min(when) for when in of_item.values()) + 10 * usual) / (
            sum(len(when) - 1 for when in of_item.values()) + 10
        )
        for pair, when in of_item.items():
            own = (max(when) - min(when) + between) / len(when)
            x = (today - max(when) + 1) / (own + 1)
            due = x**0.125 if x < 1 else x**-0.25
            found[pair] = len(when) * rates[names.index(item)] ** 0.75 * due
    return found


def listed(answer):
    return {(row.user_id, row.item_id): row.score for row in answer.rows()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("days", [20, 60, 149, 400])
def test_scores_are_those_of_the_formula(seed, days):
    rows = purchases(seed)
    now = START + days * DAY + 5000
    found = listed(fitted(rows).buy_again(N=40, now=now))
    expected = naive(rows, now)
    assert found.keys() == expected.keys()
    for pair, score in expected.items():
        assert math.isclose(found[pair], score, rel_tol=1e-6)


def test_a_day_gives_what_a_model_of_that_day_gives():
    rows = purchases(9)
    now = START + 80 * DAY
    early = [row for row in rows if row[2] <= now]
    mine, theirs = (fitted(part).buy_again(N=10, now=now).to_pandas() for part in (rows, early))
    assert mine.equals(theirs)


def test_without_a_day_the_end_of_the_table_is_meant():
    rows = purchases(2)
    ordered = sorted(time for _, _, time in rows)
    end = ordered[-1 - 3]
    model = fitted(rows)
    plain = listed(model.buy_again(N=40))
    # Later events happened at the end, by which nearly all have.
    expected = naive([(user, item, min(time, end)) for user, item, time in rows], end)
    assert {pair: pytest.approx(score, rel=1e-6) for pair, score in expected.items()} == plain


def test_a_wrong_date_changes_one_purchase_alone():
    rows = purchases(4, 4000)
    clean = fitted(rows).buy_again(N=5, users=list(range(1, 25)))
    for wrong in (253370764800, 0):
        stray = [(0, "i1", wrong), *rows]
        mine = fitted(stray).buy_again(N=5, users=list(range(1, 25)))
        same = np.mean([a[:2] == b[:2] for a, b in zip(mine.rows(), clean.rows(), strict=True)])
        assert same > 0.95


def test_the_model_does_not_matter_and_a_file_keeps_the_lists(tmp_path):
    rows = purchases(5)
    expected = fitted(rows).buy_again(N=6).to_pandas()
    model = fitted(rows, ancf.ANCF(factors=4, epochs=1, random_state=0))
    assert model.buy_again(N=6).to_pandas().equals(expected)
    model.save(tmp_path / "shop.ancf")
    assert ancf.load(tmp_path / "shop.ancf").buy_again(N=6).to_pandas().equals(expected)
    half = len(rows) // 2
    updated = fitted(rows[:half]).partial_fit(
        ancf.Interactions.from_ids(*zip(*[r[:2] for r in rows[half:]], strict=True), time=[r[2] for r in rows[half:]])
    )
    assert updated.buy_again(N=6).to_pandas().equals(expected)
    assert set(expected["source"]) == {"again"}


def test_lists_hold_what_may_be_listed_of_what_was_bought():
    rows = purchases(6)
    model = fitted(rows)
    whole = {user: model.buy_again(user, N=40).ids.tolist() for user in (1, 2)}
    assert set(whole[1]) == {item for user, item, _ in rows if user == 1}
    only = ["i1", "i2", "i3", "i7"]
    for calls in (
        (model.buy_again([1, 2], N=3, items=only), only),
        (model.with_stock(only).buy_again([1, 2], N=3), only),
        (model.buy_again([1, 2], N=3, rules=ancf.Rules(where=f"item_id in {only}")), only),
        (
            model.buy_again([1, 2], N=3, filter_items=whole[1][:2]),
            [each for each in whole[2] + whole[1] if each not in whole[1][:2]],
        ),
    ):
        answer, allowed = calls
        for user, row in zip((1, 2), answer.ids, strict=True):
            assert list(row) == [each for each in whole[user] if each in allowed][:3]
    pinned = model.buy_again(1, N=3, rules=ancf.Rules(pins=[whole[1][5]])).ids.tolist()
    assert pinned == [whole[1][5], *whole[1][:2]]
    shown = model.buy_again(1, N=40, shown={1: [whole[1][0]] * 9}).ids.tolist()
    assert shown.index(whole[1][0]) > 0
    never = next(f"i{each}" for each in range(30) if f"i{each}" not in whole[1])
    assert never not in model.buy_again(1, N=40, rules=ancf.Rules(boosts={f"item_id == '{never}'": 9})).ids.tolist()


def test_unknown_customers_are_named_or_skipped():
    model = fitted(purchases(7))
    with pytest.raises(ancf.UnknownUserError, match=r'99 was not in training.*on_unknown="skip"'):
        model.buy_again([1, 99])
    assert model.buy_again([1, 99], on_unknown="skip", N=2).counts.tolist() == [2, 0]
    with pytest.raises(ancf.InvalidParameterError, match="on_unknown"):
        model.buy_again([1], on_unknown="popular")
    with pytest.raises(ancf.UnknownUserError, match="had bought nothing by"):
        fitted([(1, "a", 0), (2, "a", DAY)]).buy_again(2, now=100)


def test_a_model_without_times_says_so():
    model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 1], item=["a", "b"]))
    with pytest.raises(ancf.InvalidDataError, match=r"buy_again needs the times of purchases.*without times"):
        model.buy_again(1)


def with_views(rows, seed=1):
    """The same shop with as many views as purchases, of the same users and items."""
    draws = np.random.default_rng(seed)
    seen = [(user, item, int(START + draws.integers(0, 150 * DAY))) for user, item, _ in rows]
    return [(*row, "purchase") for row in rows] + [(*row, "view") for row in seen]


def read(rows):
    user, item, time, event = zip(*rows, strict=True)
    return ancf.read_interactions({"user": user, "item": item, "time": time, "event": event})


def test_what_was_only_looked_at_is_not_bought_again_and_counts_for_no_interval():
    rows = purchases(7)
    log = with_views(rows)
    now = START + 120 * DAY
    mine = ancf.Popular().fit(read(log)).buy_again(N=40, now=now)
    assert listed(mine) == listed(
        ancf.Popular().fit(read([row for row in log if row[3] == "purchase"])).buy_again(N=40, now=now)
    )
    assert listed(mine).keys() == naive(rows, now).keys()
