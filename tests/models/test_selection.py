"""What the default model sets aside to choose on: purchases, as those that it will be asked for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.models.ancf import options, shrinkage
from ancf.models.ancf.selection import hold_out, hold_out_last
from ancf.models.ancf.training_table import TrainingTable, ridge_neighbors

EVENTS = st.tuples(st.integers(1, 6), st.integers(1, 8), st.sampled_from(["view", "cart", "purchase"]))


def read(events):
    users, items, types = zip(*events, strict=True)
    time = [86_400 * at for at in range(len(events))]
    return ancf.read_interactions({"user": users, "item": items, "event": types, "time": time}, strict=False)


def pairs_of(users, sets):
    return list(zip(np.repeat(users, np.diff(sets.indptr)).tolist(), sets.items.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENTS, min_size=6, max_size=60), st.booleans(), st.integers(0, 3))
def test_only_purchases_are_held_out(events, timed, seed):
    data = read([*events, (1, 1, "view"), (1, 1, "purchase")])
    pairs, had = data.to_csr().sets, data.pair_had()
    rows = np.repeat(np.arange(data.n_users), np.diff(pairs.indptr))
    bought = set(zip(rows[had].tolist(), pairs.items[had].tolist(), strict=True))
    found = hold_out(pairs, data.pair_times() if timed else None, seed, had)
    if found is not None:
        held = pairs_of(found.users, found.truth)
        assert set(held) <= bought
        assert len(held) + len(found.kept.items) == len(pairs.items)
        assert set(found.users.tolist()) == {user for user, _ in held}
    last = hold_out_last(data, pairs, seed)
    if last is not None:
        assert set(pairs_of(last.users, last.truth)) <= bought


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, min_size=6, max_size=60), st.booleans(), st.integers(0, 3))
def test_where_every_pair_is_a_purchase_it_is_as_without_types(events, timed, seed):
    data = read(events)
    pairs, times = data.to_csr().sets, data.pair_times() if timed else None
    one, other = (hold_out(pairs, times, seed, had) for had in (None, np.ones(len(pairs.items), bool)))
    assert (one is None) == (other is None)
    if one is not None:
        assert pairs_of(one.users, one.truth) == pairs_of(other.users, other.truth)


def shop(n_users=90, n_items=24, seed=4):
    """Two tastes, and what is bought by the way."""
    draws = np.random.default_rng(seed)
    alike = np.arange(n_items) % 2 == np.arange(n_users)[:, None] % 2
    users, items = np.nonzero(draws.random((n_users, n_items)) < np.where(alike, 0.45, 0.08))
    return ancf.Interactions.from_ids(user=users, item=items)


@pytest.mark.parametrize(
    ("gain", "expected", "hold_outs"),
    [(0.2, 0.8, 1), (0.07, 8 / 3, 1), (0.02, 8 / 3, 4), (0.005, 8.0, 4), (-0.1, 8.0, 1)],
)
def test_the_shrinkage_is_left_only_for_more_than_the_noise_of_all_hold_outs(monkeypatch, gain, expected, hold_outs):
    data = shop()
    resolved = options.resolve(ancf.ANCF(), data.n_items, timed=False)
    table = TrainingTable(data, resolved)
    seen = []

    def noisy(first, second, pairs, held_out, settings):
        seen.append(len(pairs.indices))
        noise = np.random.default_rng(7).normal(0, 0.2, len(held_out.users[:: held_out.step]))
        return noise - noise.mean() + gain

    monkeypatch.setattr(shrinkage, "_gain", noisy)
    held_out = hold_out(table.matrix.sets, None, resolved.random_state)
    chosen, weights = shrinkage.choose_shrinkage(table, held_out, resolved)
    assert chosen == pytest.approx(expected)
    # More are held out only as long as that is in doubt, and the smallest is tried only for a large gain.
    assert len(seen) == hold_outs + (gain == 0.2)
    assert max(seen) < len(table.matrix.indices)
    solved = ridge_neighbors(table.pairs(held_out), data.n_items, replace(resolved, neighbor_shrinkage=chosen))
    np.testing.assert_allclose(weights.data.sum(), solved.data.sum(), rtol=1e-2)


def test_what_the_weights_alone_rank_is_what_was_held_out():
    data = shop()
    resolved = options.resolve(ancf.ANCF(), data.n_items, timed=False)
    table = TrainingTable(data, resolved)
    held_out = hold_out(table.matrix.sets, None, 1, alternates_strategies=False)
    pairs = table.pairs(held_out)
    weights = ridge_neighbors(pairs, data.n_items, resolved)
    found = shrinkage._ndcg_of_weights(weights, pairs, held_out, resolved)
    # Cosines of one factor are all the same, and prefer nobody among items without weights.
    by_weights = {"neighbor_weight": 1e6, "repeat_weight": 0.0, "neighbor_shrinkage": 8.0}
    lists = ancf.ANCF(factors=1, epochs=1, serving_exponent=0.0, **by_weights)
    kept = ancf.Interactions.from_ids(
        user=np.repeat(np.arange(data.n_users), np.diff(held_out.kept.indptr)), item=held_out.kept.items
    )
    asked = ancf.Interactions.from_ids(
        user=np.repeat(held_out.users, np.diff(held_out.truth.indptr)), item=held_out.truth.items
    )
    expected = ancf.evaluate(lists.fit(kept), asked, ["ndcg@20"])["ndcg@20"]
    assert found.mean() == pytest.approx(expected, rel=1e-4)


def test_with_a_larger_l1_fewer_companions_count():
    data = shop()
    counts = [
        len(ancf.ANCF(factors=2, epochs=1, neighbor_l1=l1, neighbor_weight=1.0, repeat_weight=0.0).fit(data)
            ._fitted().neighbors.indices)
        for l1 in (0.0, 0.08, 0.5, 1.0, 100.0)
    ]  # fmt: skip
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > counts[3]
    assert counts[-1] == 0
