"""P5: top-N is exact. Lists equal the full sort, score descending and position ascending, whatever way leads to them.

The scores of the sort are those of ``predict``, which scores one pair at a time; where all numbers are small whole ones
they are compared with NumPy's besides. ``rust/core/src/rank/tests.rs`` compares the kernels with their naive twins.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf import _native

# Ties, zeros of both signs, the smallest and the largest numbers whose products still are numbers.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-45, -1e-45, 1e-38, 1.0000001, -3e18, 3e18, 7.0]


def tables(draw, n, d, values):
    return np.array(draw(st.lists(st.sampled_from(values), min_size=n * d, max_size=n * d)), np.float32).reshape(n, d)


def full_sort(scores, eligible, n):
    """Positions and scores of the n best that are eligible."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    order = order[eligible[order]][:n]
    return order, scores[order]


@st.composite
def questions(draw):
    n_users, n_items, d = draw(st.integers(1, 9)), draw(st.integers(1, 70)), draw(st.integers(1, 9))
    users, items = tables(draw, n_users, d, SPECIAL), tables(draw, n_items, d, SPECIAL)
    pairs = draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), max_size=60))
    seen = np.zeros((n_users, n_items), bool)
    for user, item in pairs:
        seen[user, item] = True
    allowed = np.array(draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    denied = draw(st.lists(st.integers(0, n_items - 1), max_size=10))
    N = draw(st.sampled_from([1, 2, 5, n_items, n_items + 1, 10 * n_items]))
    return users, items, seen, allowed, denied, N


def interactions_of(seen):
    rows, columns = np.nonzero(seen)
    return ancf.Interactions.from_ids(user=rows, item=columns) if len(rows) else None


def check(model, seen, allowed_of, denied, N, filter_seen, **options):
    """Everyone's lists by three ways against the full sort."""
    n_users, n_items = len(model.user_ids_), len(model.item_ids_)
    users = np.arange(n_users)
    many = model.recommend(users, N=N, filter_already_liked_items=filter_seen, **options)
    every = model.recommend_all(N=N, filter_already_liked_items=filter_seen, **options)
    for user in users:
        scores = model.predict(user, np.arange(n_items))
        assert np.isfinite(scores).all()
        eligible = allowed_of(user).copy()
        eligible[denied] = False
        if filter_seen:
            eligible &= ~seen[user]
        ids, expected = full_sort(scores, eligible, N)
        one = model.recommend(int(user), N=N, filter_already_liked_items=filter_seen, **options)
        for found, found_scores in (one, (many.ids[user], many.scores[user]), (every.ids[user], every.scores[user])):
            assert found.tolist() == ids.tolist()
            assert np.asarray(found_scores).tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(questions(), st.booleans())
def test_lists_of_given_factors_equal_the_full_sort_whatever_the_numbers(question, filter_seen):
    users, items, seen, allowed, denied, N = question
    model = ancf.from_factors(users, items, interactions_of(seen), np.arange(len(users)), np.arange(len(items)))
    everything = np.ones(len(items), bool)
    check(model, seen, lambda user: everything, [], N, filter_seen)
    check(model, seen, lambda user: allowed, [], N, filter_seen, items=allowed)
    check(model, seen, lambda user: allowed, denied, N, filter_seen, items=allowed, filter_items=denied)
    check(model, seen, lambda user: everything, denied, N, filter_seen, filter_items=denied)

    def own(user):
        mask = np.zeros(len(items), bool)
        mask[user % len(items) :: 2] = True
        return mask

    lists = [np.flatnonzero(own(user)).tolist() for user in range(len(users))]
    each = model.recommend(np.arange(len(users)), N=N, filter_already_liked_items=filter_seen, items=lists)
    for user in range(len(users)):
        eligible = own(user) & ~(seen[user] & filter_seen)
        ids, scores = full_sort(model.predict(user, np.arange(len(items))), eligible, N)
        assert each.ids[user].tolist() == ids.tolist()
        assert np.asarray(each.scores[user]).tobytes() == scores.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_scores_of_small_whole_numbers_are_numpys(data):
    n_users, n_items, d = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    whole = list(range(-4, 5))
    users, items = tables(data.draw, n_users, d, whole), tables(data.draw, n_items, d, whole)
    model = ancf.from_factors(users, items)
    scores = users @ items.T
    for user in range(n_users):
        assert model.predict(user, np.arange(n_items)).tolist() == scores[user].tolist()
        order, _ = full_sort(scores[user], np.ones(n_items, bool), n_items)
        assert model.recommend(user, N=n_items).ids.tolist() == order.tolist()


def csr(rows, n_columns, values):
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    items = np.array([item for row in rows for item in row], np.int32)
    return indptr, items, np.resize(np.array(values, np.float32), len(items))


@st.composite
def hybrids(draw, least_items=1, most_items=50):
    """A scorer of vectors plus item-item weights, with histories that meet seen and unseen items."""
    n_users, d = draw(st.integers(1, 7)), draw(st.sampled_from([0, 1, 3, 8, 17]))
    n_items = draw(st.integers(least_items, most_items))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = lambda n: sorted(rng.choice(n_items, rng.integers(0, min(n, n_items) + 1), replace=False).tolist())  # noqa: E731
    values = np.array([-2.0, -1.0, 0.0, 0.25, 1.0, 3.0], np.float32)
    items, users = rng.choice(values, (n_items, d)), rng.choice(values, (n_users, d))
    neighbors = csr([some(6) for _ in range(n_items)], n_items, rng.choice(values, 97))
    history = csr([some(9) for _ in range(n_users)], n_items, rng.choice(values, 31))
    seen = csr([some(12) for _ in range(n_users)], n_items, [1])[:2]
    ranker = _native.Ranker(items, neighbors=neighbors)
    ranker.set_users(users, history, seen)
    return ranker, seen, draw(st.sampled_from([1, 3, 10, n_items, 2 * n_items])), draw(st.booleans())


def check_hybrid(question, plans):
    ranker, (indptr, items), N, filter_seen = question
    everything = np.arange(ranker.n_items)
    answers = [
        ranker.top_n(None, N, filter_seen=filter_seen, num_threads=n, plan=plan) for plan in plans for n in (1, 3)
    ]
    for user in range(ranker.n_users):
        scores = ranker.scores(np.full(ranker.n_items, user), everything)
        eligible = np.ones(ranker.n_items, bool)
        if filter_seen:
            eligible[items[indptr[user] : indptr[user + 1]]] = False
        expected, expected_scores = full_sort(scores, eligible, N)
        one, one_scores = ranker.top_n_one(user, N, filter_seen)
        assert one.tolist() == expected.tolist()
        assert one_scores.tobytes() == expected_scores.tobytes()
        for ids, listed, counts in answers:
            assert ids[user, : counts[user]].tolist() == expected.tolist()
            assert np.ascontiguousarray(listed[user, : counts[user]]).tobytes() == expected_scores.tobytes()


@settings(max_examples=80, deadline=None)
@given(hybrids())
def test_lists_of_vectors_and_item_item_weights_equal_the_full_sort(question):
    check_hybrid(question, (None, "plain"))


@settings(max_examples=12, deadline=None)
@given(hybrids(least_items=2100, most_items=2600))
def test_every_plan_gives_the_full_sort_of_a_large_catalogue(question):
    check_hybrid(question, (None, "plain", "pruned"))


@settings(max_examples=40, deadline=None)
@given(hybrids(), st.data())
def test_scores_of_hybrids_are_those_of_numpy(question, data):
    # Whole and quarter numbers: every sum is exact, so that the order of adding does not matter.
    ranker, _, _, _ = question
    user = data.draw(st.integers(0, ranker.n_users - 1))
    first = ranker.scores(np.full(ranker.n_items, user), np.arange(ranker.n_items))
    again = ranker.scores(np.full(ranker.n_items, user)[::-1].copy(), np.arange(ranker.n_items)[::-1].copy())
    assert first.tobytes() == again[::-1].tobytes()


def test_a_catalogue_of_one_item_is_a_list_of_one():
    model = ancf.from_factors([[1.0], [-1.0]], [[2.0]])
    assert model.recommend_all(N=10).ids.tolist() == [[0], [0]]
    assert model.recommend_all(N=10).scores.tolist() == [[2.0], [-2.0]]


@pytest.mark.parametrize("n_items", [1, 31, 33, 4096])
def test_a_catalogue_of_nothing_but_ties_is_listed_in_its_order(n_items):
    model = ancf.from_factors(np.ones((40, 5)), np.ones((n_items, 5)))
    ids, scores = model.recommend_all(N=20)
    assert (ids == np.arange(min(20, n_items))).all()
    assert (scores == 5).all()
