"""Every model of ancf passes the battery that others may use for theirs."""

import numpy as np
import pytest

import ancf
from ancf.models import MODELS, class_of
from ancf.testing import ModelContract

# A user of the training table has a vector there that is not that of the history alone.
_WITH_A_VECTOR_OF_TRAINING = {"BPR", "GMF", "LightGCN", "MLP", "NeuMF", "SVD"}


def _contract_of(name, entry):
    """The battery for a model of the registry, as the registry's example has it."""

    def make(self, **options):
        return class_of(name)(**{**entry.example, **options})

    exact = name not in _WITH_A_VECTOR_OF_TRAINING
    return type(f"Test{name}Example", (ModelContract,), {"make": make, "fold_in_is_exact": exact})


for _name, _entry in MODELS.items():
    if _name != "Factors":  # is not made by its user
        globals()[f"Test{_name}Example"] = _contract_of(_name, _entry)


class TestWeightedItemKNN(ModelContract):
    def make(self, **options):
        return ancf.ItemKNN(neighbors=5, use_weights=True, **options)


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


class TestANCFWithoutNeighbors(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, neighbors=0, attention="mean", **options)


class TestANCFBpr(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, loss="bpr", optimizer="adagrad", biases=True, **options)


class TestANCFBceWithUserFactors(ModelContract):
    fold_in_is_exact = False

    def make(self, **options):
        return ancf.ANCF(
            factors=8, epochs=2, loss="bce", user_factors=True, user_dropout=0.3, attention="learned", **options
        )


class TestANCFLearned(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, attention="learned", use_weights=True, **options)


class TestANCFTarget(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, attention="target", biases=True, **options)


class TestANCFFactorAttention(ModelContract):
    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, factor_attention=True, biases=True, attention="mean", **options)


class TestANCFSigmoid(ModelContract):
    fold_in_is_exact = False  # a known user has a bias

    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, output="sigmoid", loss="bce", biases=True, **options)


class TestANCFSigmoidFactorAttention(ModelContract):
    fold_in_is_exact = False

    def make(self, **options):
        return ancf.ANCF(
            factors=8, epochs=2, output="sigmoid", loss="softmax", user_factors=True, factor_attention=True, **options
        )


class TestANCFConcat(ModelContract):
    fold_in_is_exact = False  # a known user has a bias

    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, output="sigmoid", layer="concat", loss="bce", biases=True, **options)


class TestANCFCosineWithUserFactors(ModelContract):
    fold_in_is_exact = False

    def make(self, **options):
        return ancf.ANCF(factors=8, epochs=2, loss="softmax", user_factors=True, optimizer="sgd", **options)


class TestANCFClassic(ModelContract):
    fold_in_is_exact = False

    def make(self, **options):
        return ancf.ANCF.classic(epochs=2, normalize="log", **options)
