"""What the default model sets aside to choose on: purchases, as those that it will be asked for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.models.ancf.selection import hold_out, hold_out_last

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
