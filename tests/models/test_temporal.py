"""How long ago a purchase was, and that it may be repeated."""

import numpy as np
import pytest

import ancf
from ancf.data.csr import Csr, ItemSets
from ancf.data.time_range import TimeRange
from ancf.models.ancf import options as ancf_options
from ancf.models.ancf import temporal
from ancf.models.ancf.selection import (
    HeldOut,
    Measured,
    _order_by_buyers,
    coordinate_search,
    hold_out,
    hold_out_last,
    select_mixture,
)
from ancf.models.ancf.sides import ItemSide, UserSide
from ancf.models.ancf.temporal import (
    PurchaseTimes,
    add_repeat_sources,
    recency_weights,
    repeat_factors,
    sparse_history,
    trend_factors,
)

DAY = 86_400


@pytest.fixture
def timed():
    draws = np.random.default_rng(3)
    user, item = draws.integers(0, 60, 900), draws.integers(0, 40, 900)
    return ancf.Interactions.from_ids(user=user, item=item, time=draws.integers(0, 400, 900) * DAY)


def fitted(data, **options):
    return ancf.ANCF(factors=8, epochs=2, **options).fit(data)


def test_a_purchase_one_half_life_before_the_newest_counts_half():
    indptr = np.array([0, 3, 3, 4])
    times = np.array([0, 10 * DAY, 30 * DAY, 5 * DAY])
    expected = 2.0 ** (-np.array([30, 20, 0, 0]) / 10.0)
    assert np.allclose(recency_weights(indptr, times, 10.0), expected, rtol=1e-6)
    assert recency_weights(indptr, times, 10.0)[0] == 0.125
    assert (recency_weights(indptr, None, 10.0) == 1).all()
    assert (recency_weights(indptr, times, None) == 1).all()


def test_what_people_came_back_for_within_the_last_month_counts_more_for_its_repetition():
    # Of those who had it 30 days before the end, all three came back for milk since and nobody for lamps; that lamps
    # were bought again before that does not count, nor what was bought twice by the new customer 5.
    rows = [(1, "milk", 0), (1, "milk", 80), (2, "milk", 10), (2, "milk", 71.5), (3, "milk", 70), (3, "milk", 99)]
    rows += [(2, "lamp", 0), (3, "lamp", 50), (4, "lamp", 0), (4, "lamp", 45), (5, "lamp", 75), (5, "lamp", 85)]
    user, item, days = zip(*rows, (6, "salt", 100), strict=True)
    data = ancf.Interactions.from_ids(user=user, item=item, time=[int(each * DAY) for each in days])
    rates = {"milk": (3 + 20 / 2) / (3 + 20) * 2, "lamp": 20 / 2 / (3 + 20) * 2, "salt": 1.0}
    found = repeat_factors(data, TimeRange.from_times(data.times))
    assert np.allclose(found, [rates[each] ** 0.75 for each in data.item_ids.values.tolist()])


def test_what_was_only_looked_at_again_was_not_bought_again():
    kind = ["purchase", "view"] * 3 + ["purchase"] * 7
    log = {"user": [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3, 4], "item": [*"aaaaaabbbbbb", "a"], "event": kind}
    data = ancf.read_interactions({**log, "time": [1_300_000_000 + day * DAY for day in [*[0, 90] * 6, 100]]})
    for_a, for_b = repeat_factors(data, TimeRange.from_times(data.times))
    assert for_a < 1 < for_b


def test_without_repetitions_all_items_count_the_same_for_theirs():
    data = ancf.Interactions.from_ids(user=[1, 2], item=["a", "b"], time=[0, 86_400])
    assert repeat_factors(data, TimeRange.from_times(data.times)).tolist() == [1, 1]


def test_repeats_are_sources_of_their_own():
    indptr, items = np.array([0, 2, 3]), np.array([0, 2, 1], np.int32)
    recency, repeats = np.array([1, 0.5, 1], np.float32), np.array([3, 2, 1], np.float32)
    offsets, sources, values = sparse_history(indptr, items, recency, repeats, 4)
    assert offsets.tolist() == [0, 4, 6]
    assert sources.tolist() == [0, 2, 4, 6, 1, 5]
    assert np.allclose(values, [2**-0.5, 0.5 * 2**-0.5, 3, 2, 1, 1])
    indptr, items, values = add_repeat_sources(Csr.empty(4), 4, np.array([7, 8, 9, 7], np.float32))
    assert indptr.tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4]
    assert items.tolist() == [0, 1, 2, 3]
    assert values.tolist() == [7, 8, 9, 7]


def test_what_was_bought_most_and_last_comes_first_where_lists_may_hold_it():
    user = [1, 1, 1, 1, 2, 2, 3, 3]
    item = ["tea", "tea", "cup", "pot", "tea", "cup", "pot", "jar"]
    time = [0, 90 * DAY, 90 * DAY, 0, 0, 0, 0, 0]
    data = ancf.Interactions.from_ids(user=user, item=item, time=time)
    model = fitted(data, half_life=30.0)
    ids, _ = model.recommend(1, N=3, filter_already_liked_items=False)
    assert ids.tolist() == ["tea", "cup", "pot"]
    without = fitted(data, half_life=30.0, repeat_weight=0.0)
    for user in (1, 2, 3):
        new, scores = model.recommend(user, N=4)
        other, others = without.recommend(user, N=4)
        assert new.tolist() == other.tolist()
        assert np.array_equal(scores, others)


def test_a_history_with_its_times_and_counts_gets_the_lists_of_the_user_who_had_it(timed):
    model = fitted(timed, half_life=50.0)
    data = timed.compact()
    counts, times = data.pair_counts(), data.pair_times()
    indptr, items, _ = data.to_csr()
    for row in (0, 7, 31):
        part = slice(indptr[row], indptr[row + 1])
        history = data.item_ids.values[items[part]].tolist()
        ids, scores = model.recommend(data.user_ids.values[row], N=40, filter_already_liked_items=False)
        folded, others = model.recommend_for_history(
            history, N=40, weights=counts[part].tolist(), times=times[part], filter_already_liked_items=False
        )
        assert ids.tolist() == folded.tolist()
        assert np.allclose(scores, others, rtol=1e-6)


def test_reasons_add_up_with_recency_and_repeats(timed, tmp_path):
    model = fitted(timed, half_life=50.0)
    model.save(tmp_path / "shop.ancf")
    for each in (model, ancf.load(tmp_path / "shop.ancf")):
        for item in each.recommend(5, N=6, filter_already_liked_items=False).ids.tolist():
            told = each.explain(5, item)
            assert sum(reason.contribution for reason in told) == pytest.approx(told.score, rel=1e-5)


def test_the_half_life_is_chosen_where_there_are_times_and_only_there(timed):
    assert fitted(timed, half_life=None).history_["settings"]["half_life"] is None
    draws = np.random.default_rng(0)
    # Everybody has moved once from one shelf to another: the latest purchases tell the next ones.
    rows = []
    for user in range(150):
        shelves = draws.permutation(5)[:2]
        for month in range(8):
            rows += [(user, shelves[month // 4] * 30 + int(draws.integers(0, 30)), month * 30 * DAY) for _ in range(3)]
    user, item, time = map(np.array, zip(*rows, strict=True))
    moving = ancf.Interactions.from_ids(user=user, item=item, time=time)
    assert fitted(moving).history_["settings"]["half_life"] is not None
    assert fitted(ancf.Interactions.from_ids(user=user, item=item)).history_["settings"]["half_life"] is None


def test_what_sells_better_lately_scores_higher_and_only_where_it_is_asked_for():
    # Two items that the same people bought equally often, one of them of late.
    user = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
    item = ["old", "old", "new", "new", "both", "both"] + ["base"] * 6
    time = [0, 0, 300 * DAY, 300 * DAY, 0, 300 * DAY] + [150 * DAY] * 6
    data = ancf.Interactions.from_ids(user=[*user, 7], item=[*item, "base"], time=[*time, 150 * DAY])
    trend = trend_factors(PurchaseTimes.from_interactions(data.compact()), 4, 1.0, 15.0)
    place = {name: at for at, name in enumerate(data.compact().item_ids.values.tolist())}
    assert trend[place["new"]] > trend[place["both"]] > trend[place["old"]]
    assert trend_factors(PurchaseTimes.from_interactions(data.compact()), 4, 0.0, 15.0) is None
    options = {"half_life": None, "neighbor_weight": 1.0, "serving_exponent": 1.0}
    with_trend = fitted(data, trend=1.0, trend_half_life=15.0, **options)
    without = fitted(data, trend=0.0, **options)
    gains = {}
    for name in ("old", "new"):
        before, after = without.predict(7, name), with_trend.predict(7, name)
        gains[name] = after / before
        told = with_trend.explain(7, name)
        assert sum(reason.contribution for reason in told) == pytest.approx(told.score, rel=1e-5)
    assert gains["new"] > gains["old"]
    assert np.allclose(
        with_trend.recommend_for_history(["base"], N=3).scores, with_trend.recommend(7, N=3).scores, rtol=1e-6
    )


def test_the_last_tenth_is_held_out_where_there_are_times():
    draws = np.random.default_rng(1)
    user, item, day = draws.integers(0, 30, 500), draws.integers(0, 50, 500), np.arange(500)
    data = ancf.Interactions.from_ids(user=user, item=item, time=day * DAY).compact()
    held = hold_out_last(data, data.to_csr().sets, 0)
    cut = 449 * DAY
    known = {(u, i) for u, i, t in zip(data.users, data.items, data.times, strict=True) if t < cut}
    assert len(held.kept.items) == len(known)
    assert held.purchases.times.max() < cut
    truth = {(int(user), int(item)) for row, user in enumerate(held.users) for item in held.truth.row(row)}
    later = {(u, i) for u, i, t in zip(data.users, data.items, data.times, strict=True) if t >= cut} - known
    assert truth == {(int(u), int(i)) for u, i in later}
    one_moment = ancf.Interactions.from_ids(user=[1, 2], item=[1, 2], time=[5, 5]).compact()
    assert hold_out_last(one_moment, one_moment.to_csr().sets, 0) is None


def test_without_times_every_second_user_is_asked_for_what_belongs_together():
    # Forty users buy five things of either kind; four hundred others, each of one kind only, tell the kinds apart.
    draws = np.random.default_rng(4)
    rows = np.array([np.r_[draws.permutation(10)[:5], 10 + draws.permutation(10)[:5]] for _ in range(40)])
    alone = np.array([draws.permutation(10)[:5] + 10 * (user % 2) for user in range(400)])
    user = np.r_[np.repeat(np.arange(40), 10), 40 + np.repeat(np.arange(400), 5)]
    data = ancf.Interactions.from_ids(user=user, item=np.r_[rows.ravel(), alone.ravel()]).compact()
    pairs = data.to_csr().sets
    held = hold_out(pairs, None, 0)
    kinds = []
    for row, who in enumerate(held.users):
        asked = held.truth.row(row)
        if len(asked) == 2:
            kinds.append((row % 2, len({int(each) // 10 for each in data.item_ids.take(asked)})))
        assert not set(asked) & set(held.kept.row(who))
    assert all(n == 1 for turn, n in kinds if turn == 1)
    assert any(n == 2 for turn, n in kinds if turn == 0)
    assert len(held.kept.items) + len(held.truth.items) == len(pairs.items)
    assert held.kept.items.tolist() == pairs.items[held.places].tolist()


def test_items_are_as_close_as_their_other_buyers_say():
    # The history 0, 1, 2; one more person has 0 and 1, another 2.
    pairs = ItemSets(np.array([0, 3, 5, 6]), np.array([0, 1, 2, 0, 1, 2], np.int32))
    order = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    _order_by_buyers(pairs, np.array([0]), order, 1)
    np.testing.assert_allclose(order, [1.0, 0.5, 0.0, 0.3, 0.4, 0.5], atol=1e-5)


@pytest.mark.parametrize(("apart", "together", "chosen"), [(0.5, 0.25, 0.25), (0.25, 0.5, 0.25), (0.5, 0.5, 0.5)])
def test_what_belongs_together_may_make_the_item_item_part_lighter_not_heavier(apart, together, chosen):
    # Users in turn, each with a weight at which their NDCG is highest; those of siblings feel it twice as much.
    def measure(choice):
        weight = choice["neighbor_weight"]
        return np.array([1 - abs(weight - apart), 1 - 2 * abs(weight - together)] * 30)

    held = HeldOut(None, None, None, np.arange(60), None, 0.5, alternates_strategies=True)
    grids, start = {"neighbor_weight": (0.0, 0.25, 0.5, 1.0)}, {"neighbor_weight": 1.0}
    assert select_mixture(held, Measured.one_by_one(measure), grids, start) == {"neighbor_weight": chosen}
    assert select_mixture(held._replace(alternates_strategies=False), Measured.one_by_one(measure), grids, start) == {
        "neighbor_weight": together
    }


@pytest.mark.parametrize("options", [{"half_life": 30.0}, {"trend": 0.5}])
def test_what_needs_times_is_refused_without_them(options):
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=[1, 2, 2, 3])
    with pytest.raises(ancf.InvalidDataError, match="needs times"):
        fitted(data, **options)


def test_the_best_choice_is_found_one_option_after_the_other():
    asked = []

    def measure(choice):
        asked.append(dict(choice))
        return np.array(
            [-abs(choice["a"] - 2) - (0 if choice["b"] is None else choice["b"]) - 0.5 * (choice["c"] != 5)]
        )

    start = {"a": 1, "b": None, "c": 7}
    assert coordinate_search(Measured.one_by_one(measure), {"a": (0, 1, 2), "b": (None, 1.0), "c": (5,)}, start) == {
        "a": 2,
        "b": None,
        "c": 5,
    }
    assert len(asked) == len({tuple(each.values()) for each in asked})


def test_the_users_of_one_kind_are_measured_alone_until_all_are_asked_for():
    calls = []

    def measure(choices, asked):
        calls.append((len(choices), asked))
        return [10.0 * choice["a"] + np.arange(5.0)[asked] for choice in choices]

    measured, step = Measured(measure, step=2, at_once=True), 2
    measured.expect([{"a": 1}, {"a": 2}], step)
    np.testing.assert_array_equal(measured.of_some({"a": 2}, step), [20, 22, 24])
    assert calls == [(2, slice(0, None, 2))]
    np.testing.assert_array_equal(measured({"a": 1}), [10, 11, 12, 13, 14])
    np.testing.assert_array_equal(measured.of_some({"a": 1}, 1), [10, 11, 12, 13, 14])
    assert calls == [(2, slice(0, None, 2)), (1, slice(1, None, 2))]


@pytest.mark.parametrize(
    ("start", "chosen", "tried"),
    [(3, 1, {0, 1, 2, 3}), (1, 1, {0, 1, 2}), (0, 1, {0, 1, 2}), (5, 6, {4, 5, 6})],
)
def test_a_fine_grid_is_gone_along_only_as_long_as_the_mean_rises(start, chosen, tried):
    means, asked = [1.0, 5.0, 4.0, 3.0, 2.0, 6.0, 7.0], set()

    def measure(choice):
        asked.add(choice["neighbor_weight"])
        return np.full(3, means[choice["neighbor_weight"]])

    found = coordinate_search(
        Measured.one_by_one(measure), {"neighbor_weight": tuple(range(7))}, {"neighbor_weight": start}
    )
    assert found == {"neighbor_weight": chosen}
    assert asked == tried


@pytest.mark.parametrize(("gains", "chosen"), [([3.0, -2.0, 1.0], 0.5), ([3.0, 1.0, 2.0], 0.0)])
def test_the_serving_exponent_stays_unless_the_gain_is_above_its_standard_error(gains, chosen):
    def measure(choice):
        return np.zeros(3) if choice["serving_exponent"] else np.array(gains)

    found = coordinate_search(Measured.one_by_one(measure), {"serving_exponent": (0.0, 0.5)}, {"serving_exponent": 0.5})
    assert found == {"serving_exponent": chosen}


@pytest.mark.parametrize(
    "wrong", [{"half_life": 0}, {"half_life": "long"}, {"repeat_weight": -1}, {"trend": "up"}, {"trend_half_life": 0}]
)
def test_time_and_repeat_options_that_make_no_sense_are_refused_by_name(timed, wrong):
    with pytest.raises(ancf.InvalidParameterError, match=next(iter(wrong))):
        fitted(timed, **wrong)


@pytest.mark.parametrize("counted", [False, True])
def test_what_one_history_says_is_what_it_says_among_others(counted):
    lengths = (3, 0, 1, 7)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int64)
    rng = np.random.default_rng(3)
    items = np.concatenate([np.sort(rng.choice(20, n, replace=False)) for n in lengths]).astype(np.int32)
    recency, counts = rng.random((2, len(items)), np.float32)
    offsets, sources, values = sparse_history(indptr, items, recency, counts if counted else None, 20)
    for row in range(len(lengths)):
        part = slice(indptr[row], indptr[row + 1])
        one_offsets, one_sources, one_values = sparse_history(
            np.array([0, lengths[row]]), items[part], recency[part], counts[part] if counted else None, 20
        )
        among = slice(offsets[row], offsets[row + 1])
        assert one_offsets.tolist() == [0, offsets[row + 1] - offsets[row]]
        assert one_sources.dtype == sources.dtype
        assert one_sources.tolist() == sources[among].tolist()
        assert one_values.dtype == values.dtype
        assert one_values.tobytes() == values[among].tobytes()


def test_a_small_catalogue_chooses_its_shrinkage_where_the_weight_is_open_too(timed):
    tried = {0.08: (8.0, 8 / 3, 0.8), 0.0: (30.0, 10.0, 3.0)}
    for l1, expected in tried.items():
        chosen = fitted(timed, neighbors=5, neighbor_l1=l1).history_["settings"]
        assert chosen["neighbor_shrinkage"] in expected
        assert chosen["neighbor_l1"] == l1

        def shrinkages(n_items, l1=l1, **options):
            estimator = ancf.ANCF(neighbor_l1=l1, **options)
            return ancf_options.shrinkages(ancf_options.resolve(estimator, n_items, timed=False))

        assert shrinkages(40) == expected
        assert shrinkages(40, neighbor_weight=1.0) == expected[:1]
        assert shrinkages(40, neighbor_shrinkage=7.0) == (7.0,)
        assert len(shrinkages(3000)) == 1
    assert [ancf_options.resolve(ancf.ANCF(), n, timed=False).neighbor_l1 for n in (5_000, 5_001)] == [0.08, 0.0]


def test_recency_is_two_to_the_power_of_the_half_lives_that_have_passed():
    rng = np.random.default_rng(5)
    for case in range(300):
        n = int(rng.integers(1, 65))
        times = rng.integers(0, [10, 10**5, 10**8][case % 3], n)
        if case % 10 == 0:
            times[0] = -(2**62)
        half_life = float(rng.choice([0.01, 1.0, 7.3, 60.0, 240.0]))
        found = recency_weights(np.array([0, n, n, n + 1]), np.append(times, 5), half_life)
        expected = temporal._halve((times.max() - times) / 86400 / half_life).astype(np.float32)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [*expected, 1.0])
        np.testing.assert_allclose(found[:n], 2.0 ** -np.minimum((times.max() - times) / 86400 / half_life, 60), 1e-6)


def test_whose_entries_are_weighed_first_changes_no_list(timed):
    data = timed.compact()
    draws = np.random.default_rng(5)
    vectors = draws.normal(size=(data.n_items, 4)).astype(np.float32)
    ones = np.ones(data.n_items, np.float32)
    items = ItemSide(vectors, ones, None, False)
    pairs, times = data.to_csr(), data.pair_times()
    shares = np.full(len(pairs.indices), 0.5, np.float32)
    rows = np.array([41, 3, 17])

    def side():
        return UserSide(pairs, times, 1, shares)

    for half_life in (None, 30.0):
        before = side().top_n(items, half_life, rows, 5)
        after = side()
        after.vectors(items, 60.0)
        after.vectors(items, half_life)
        assert np.array_equal(after.top_n(items, half_life, rows, 5).scores, before.scores)
        after.vectors(items, 60.0)
        assert np.array_equal(after.top_n(items, half_life, rows, 5).items, before.items)
