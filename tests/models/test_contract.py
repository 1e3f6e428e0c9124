"""Every model of ancf passes the battery that others may use for theirs."""

import numpy as np
import pytest

import ancf
from ancf.testing import ModelContract


class TestPopular(ModelContract):
    compares_items = False

    def make(self, **options):
        return ancf.Popular(**options)


class TestItemKNN(ModelContract):
    def make(self, **options):
        return ancf.ItemKNN(neighbours=12, shrinkage=1.5, **options)


class TestWeightedItemKNN(ModelContract):
    def make(self, **options):
        return ancf.ItemKNN(neighbours=5, use_weights=True, **options)


class TestFromFactors(ModelContract):
    fits = False
    fold_in_is_exact = False

    def fitted(self, data, **options):
        rng = np.random.default_rng(1)
        users, items = rng.standard_normal((data.n_users, 6)), rng.standard_normal((data.n_items, 6))
        return ancf.from_factors(users, items, data, **options)


@pytest.mark.parametrize("model", [ancf.Popular(count="weight"), ancf.ItemKNN(shrinkage=3.0)])
def test_models_clone_as_scikit_learn_clones(model):
    from sklearn.base import clone

    assert clone(model).get_params() == model.get_params()


class TestANCF(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=3, **options)


class TestANCFWithoutNeighbours(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, neighbours=0, attention="mean", **options)
