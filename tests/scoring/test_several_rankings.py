"""Several rankings of the same users in one pass: each has the bits that it has by itself."""

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


@pytest.mark.parametrize(
    ("n_users", "n_items", "d"),
    [(1, 900, 16), (3, 40, 8), (9, 3000, 64), (60, 40, 8), (500, 900, 16), (90, 3000, 64), (40, 50, 0)],
)
@pytest.mark.parametrize("heads", ["neighbors", "no neighbors"])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_of_several_rankings_is_what_it_is_alone(n_users, n_items, d, heads, threads):
    rng = np.random.default_rng(n_users + n_items)
    ranker, vectors, history, seen = arrays(rng, n_users, n_items, d, heads)
    some = (rng.random(n_items) < 0.1).astype(np.uint8)
    rare = (rng.random(n_items) < 0.03).astype(np.uint8)
    one = np.zeros(n_items, np.uint8)
    one[5] = 1
    wanted = [(10, None), (15, some), (4, rare), (1, one), (n_items + 1, None), (4, np.zeros(n_items, np.uint8))]
    deny = np.array([1, 7], np.int64)
    users = rng.permutation(n_users)[: max(1, n_users - 1)].astype(np.int64)
    for filter_seen in (True, False):
        for whom in (None, users):
            found = ranker.rank_several(whom, wanted, filter_seen=filter_seen, deny=deny, num_threads=threads)
            for lists, (n, allow) in zip(found, wanted, strict=True):
                alone = ranker.top_n(whom, n, filter_seen=filter_seen, allow=allow, deny=deny, finish=False)
                assert all(np.array_equal(mine, theirs) for mine, theirs in zip(lists[:3], alone, strict=True))
    found = ranker.rank_several_for(vectors, history, seen, wanted, num_threads=threads)
    for lists, (n, allow) in zip(found, wanted, strict=True):
        alone = ranker.top_n_for(vectors, history, seen, n, allow=allow, finish=False)
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(lists[:3], alone, strict=True))


@pytest.mark.parametrize(("n_users", "n_items", "d"), [(1, 900, 16), (9, 3000, 64), (60, 40, 8), (90, 3000, 64)])
@pytest.mark.parametrize("heads", ["neighbors", "no neighbors"])
def test_a_ranking_that_ends_early_holds_all_from_its_floor_on(n_users, n_items, d, heads):
    rng = np.random.default_rng(n_users + d)
    ranker, *_ = arrays(rng, n_users, n_items, d, heads)
    some, wanted = ((rng.random(n_items) < share).astype(np.uint8) for share in (0.1, 0.3))
    masks = [(10, None), (30, some), (3, wanted), (4, some & wanted)]
    n_cut, n_skipped = 0, 0
    for factor in (1.0, 1.3, 4.0):
        extents = [None, (0, factor), (0, 10, 3), (2, factor)]
        for filter_seen in (True, False):
            full = ranker.rank_several(None, masks, filter_seen=filter_seen)
            found = ranker.rank_several(None, masks, extents=extents, filter_seen=filter_seen)
            assert found[0][3] is None
            for name, whole, part in zip(("main", "lifted", "missing", "lifted"), full, found, strict=True):
                for row in range(n_users):
                    items, scores = (each[row, : whole[2][row]] for each in whole[:2])
                    floor = -np.inf if part[3] is None else part[3][row]
                    n_held = int((scores >= floor).sum())
                    assert part[0][row, :n_held].tolist() == items[:n_held].tolist()
                    assert part[1][row, :n_held].tolist() == scores[:n_held].tolist()
                    n_cut += name == "lifted" and n_held < len(items)
                    n_skipped += name == "missing" and floor == np.inf
                    if name == "missing":
                        top = found[0][0][row, : found[0][2][row]]
                        # Where the dense part pushes wanted items out, they are left out all the same.
                        assert floor == np.inf or len(top) < 10 or wanted[top].sum() < 3
    assert n_cut > n_users
    assert n_skipped
    for wrong in ([(0, 2.0)], [None, (1, 2.0)], [None, (0, 0.5)], [None, (0, float("nan"))]):
        with pytest.raises(ValueError, match="ranking"):
            ranker.rank_several(None, masks[:2], extents=wrong)


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
