"""Lists by rules that the core makes by itself are those that it chooses from the rankings of all items."""

import numpy as np
import pytest

from ancf import _native


def arrays(rng, n_users, n_items, d, heads):
    item_vectors = (rng.normal(size=(n_items, d)) * rng.pareto(2.0, n_items)[:, None]).astype(np.float32)
    per_row = min(12, n_items)
    rows = [np.sort(rng.permutation(n_items)[:per_row]) for _ in range(n_items)]
    neighbors = (
        np.arange(n_items + 1, dtype=np.int64) * per_row,
        np.concatenate(rows).astype(np.int32),
        rng.random(n_items * per_row).astype(np.float32),
    )
    had = [np.sort(rng.permutation(n_items)[: rng.integers(0, 9)]) for _ in range(n_users)]
    indptr = np.concatenate(([0], np.cumsum([len(each) for each in had]))).astype(np.int64)
    items = np.concatenate(had).astype(np.int32)
    history = (indptr, items, rng.random(len(items)).astype(np.float32))
    ranker = _native.Ranker(item_vectors, neighbors=neighbors if heads != "no neighbors" else None)
    history = None if heads == "no neighbors" else history
    vectors = rng.normal(size=(n_users, d)).astype(np.float32)
    ranker.set_users(vectors, history, (indptr, items))
    return ranker, vectors, history, (indptr, items)


def rules(rng, n_items, allowed=None):
    """Rules of every kind but diversity."""
    factors = np.where(rng.random(n_items) < 0.1, 1.3, 1.0)
    factors[rng.random(n_items) < 0.02] = 0.5
    at_most = [(rng.integers(-1, 6, n_items).astype(np.int32), 2)]
    at_least = [((rng.random(n_items) < 0.03).astype(np.uint8), 1), ((rng.random(n_items) < 0.4).astype(np.uint8), 2)]
    return _native.ListRules(
        n_items, factors=factors, at_most=at_most, at_least=at_least, pins=[(2, 5), (4, 7)], allowed=allowed
    )


@pytest.mark.parametrize(
    ("n_users", "n_items", "d"),
    [(1, 900, 16), (3, 40, 8), (9, 3000, 64), (60, 40, 8), (500, 900, 16), (90, 3000, 64), (40, 50, 0)],
)
@pytest.mark.parametrize("heads", ["neighbors", "no neighbors"])
@pytest.mark.parametrize("threads", [1, 3])
def test_lists_are_those_that_the_rankings_of_all_items_make(n_users, n_items, d, heads, threads):
    rng = np.random.default_rng(n_users + n_items)
    ranker, vectors, history, seen = arrays(rng, n_users, n_items, d, heads)
    flags = (rng.random(n_items) < 0.9).astype(np.uint8)
    of_all, of_some = rules(np.random.default_rng(7), n_items), rules(np.random.default_rng(7), n_items, flags)
    deny = np.array([1, 7], np.int64)
    users = rng.permutation(n_users)[: max(1, n_users - 1)].astype(np.int64)

    def wanted(n, ranked):
        top = (*ranked, n_items + 1)
        lists, proven = of_all.arrange(n, top, pins=top)
        assert proven.all()
        return lists

    for n in (1, 10, 40):
        for filter_seen in (True, False):
            for whom in (None, users):
                options = {"filter_seen": filter_seen, "deny": deny, "num_threads": threads}
                full = ranker.top_n(whom, n_items + 1, allow=flags, finish=False, **options)
                for found in (
                    ranker.top_n_by_rules(whom, n, of_some, **options),
                    ranker.top_n_by_rules(whom, n, of_all, allow=flags, **options),
                ):
                    for mine, theirs in zip(found, wanted(n, full), strict=True):
                        np.testing.assert_array_equal(mine, theirs)
        full = ranker.top_n_for(vectors, history, seen, n_items + 1, finish=False)
        found = ranker.top_n_by_rules_for(vectors, history, seen, n, of_all, num_threads=threads)
        for mine, theirs in zip(found, wanted(n, full), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_tables_made_for_one_model_serve_no_other():
    rng = np.random.default_rng(1)
    of_both = rules(rng, 3000)
    for _ in range(2):
        ranker, *_ = arrays(rng, 5, 3000, 64, "neighbors")
        full = ranker.top_n(None, 3001, finish=False)
        lists, _ = of_both.arrange(10, (*full, 3001), pins=(*full, 3001))
        np.testing.assert_array_equal(ranker.top_n_by_rules(None, 10, of_both)[0], lists[0])


def test_what_fits_no_ranker_is_refused():
    ranker, *_ = arrays(np.random.default_rng(1), 5, 40, 8, "neighbors")
    with pytest.raises(ValueError, match="rules for 41 items"):
        ranker.top_n_by_rules(None, 10, rules(np.random.default_rng(7), 41))
    with pytest.raises(ValueError, match="one flag for each item"):
        rules(np.random.default_rng(7), 40, np.ones(39, np.uint8))


@pytest.mark.parametrize(("n_items", "d"), [(40, 8), (900, 16), (3000, 64), (50, 0)])
@pytest.mark.parametrize("heads", ["neighbors", "no neighbors"])
@pytest.mark.parametrize("share", [0.05, 0.6])
def test_items_of_each_user_are_ranked_as_a_mask_of_them_is(n_items, d, heads, share):
    rng = np.random.default_rng(n_items)
    ranker, *_ = arrays(rng, 30, n_items, d, heads)
    allowed = rng.random((30, n_items)) < share
    each = (np.concatenate(([0], allowed.sum(1).cumsum())).astype(np.int64), np.nonzero(allowed)[1].astype(np.int32))
    for n in (1, 10):
        for filter_seen in (True, False):
            items, scores, counts = ranker.top_n(None, n, filter_seen=filter_seen, allow_each=each)
            for user, mask in enumerate(allowed.astype(np.uint8)):
                whom = np.array([user], np.int64)
                alone = ranker.top_n(whom, n, filter_seen=filter_seen, allow=mask, plan="plain")
                for mine, theirs in zip((items, scores, counts), alone, strict=True):
                    np.testing.assert_array_equal(mine[user], theirs[0])
