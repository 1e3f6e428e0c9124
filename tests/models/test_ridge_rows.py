"""Item-item weights of small catalogues read rows of all co-purchases; those of a few targets sum their own."""

import numpy as np
import pytest

from ancf import _native

OPTIONS = {"candidates": 20, "user_power": 0.3, "source_power": 0.3, "l1": 0.05, "num_threads": 2}


def table(n_users, n_items, per_user):
    """Histories of items that lie near one another."""
    draws = np.random.default_rng(3)
    rows = [
        np.unique((draws.integers(n_items) + draws.integers(0, 3 * per_user, per_user)) % n_items)
        for _ in range(n_users)
    ]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
    items = np.concatenate(rows).astype(np.int32)
    return (indptr.astype(np.int64), items, np.ones(len(items), np.float32)), n_items


def dense(csr, n_columns):
    indptr, columns, values = csr
    found = np.zeros((len(indptr) - 1, n_columns), np.float32)
    found[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), columns] = values
    return found


# Few pairs of items with users in common, some, and more pairs of purchases than pairs of items.
@pytest.mark.parametrize("size", [(150, 400, 6), (150, 80, 6), (200, 40, 15)])
def test_all_weights_have_the_bits_of_those_of_each_target(size):
    pairs, n_items = table(*size)
    (weights,) = _native.ridge_neighbors(pairs, n_items, neighbors=n_items, shrinkages=[1.0], **OPTIONS)
    all_of_them = dense(weights, n_items)
    targets = np.arange(0, n_items, 3, dtype=np.int32)
    (weights,) = _native.ridge_targets(pairs, n_items, targets, shrinkages=[1.0], **OPTIONS)
    few = dense(weights, n_items)
    assert (few > 0).sum() > 3 * len(targets)
    np.testing.assert_array_equal(all_of_them[:, targets].T, few)
