"""P6: every gradient of the specification is the slope of its loss, by central differences in float64.

The Rust core is held against the same gradients in ``tests/models/test_network.py``.
"""

import numpy as np
import pytest

from ancf import reference, reference_neural

N_USERS, N_ITEMS, D = 5, 6, 3
ATTENTION = ("none", "mean", "degree", "learned", "target", "batch")
LOSSES = ("mse", "bce", "bpr", "softmax")

# User 4 has an empty history, user 1 one item.
USERS, ITEMS = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3], [0, 1, 2, 3, 3, 4, 0, 2, 4, 5]


def history():
    draws = np.random.default_rng(1)
    weights, ages = draws.uniform(0.5, 3, 10), draws.uniform(0, 9, 10)
    return reference.History.of((N_USERS, N_ITEMS), USERS, ITEMS, weights, ages)


def batch(loss):
    draws = np.random.default_rng(2)
    users, items = np.array([0, 1, 2, 4, 0, 3]), np.array([1, 2, 3, 0, 5, 2])
    negatives = draws.integers(0, N_ITEMS, (6, 2)) if loss == "bpr" else np.array([0, 3, 3, 5])
    return reference.Batch(users, items, draws.random(6), negatives, draws.standard_normal(4))


def parameters_of(options, scale=0.7):
    draws = np.random.default_rng(3)
    parameters = reference.start(options, 1, scale)
    for value in parameters.values():
        value += 0.3 * draws.standard_normal(value.shape)
    return parameters


def assert_right(options, parameters, batch, kept=None):
    """Four-point differences: their own error is of the order h⁴."""
    past = history()
    loss, gradient = reference.backward(options, parameters, past, batch, kept)
    assert np.isfinite(loss)
    assert gradient.keys() == parameters.keys()

    def at():
        found = reference.forward(options, parameters, past, *batch.pairs(options.loss), kept)
        return reference.loss_and_slope(options, batch, found["score"])[0]

    h = 1e-4
    for name, value in parameters.items():
        numbers, slopes = value.reshape(-1), gradient[name].reshape(-1)
        for k, number in enumerate(numbers.copy()):
            losses = []
            for shift in (-2, -1, 1, 2):
                numbers[k] = number + shift * h
                losses.append(at())
            numbers[k] = number
            slope = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * h)
            assert abs(slope - slopes[k]) <= 1e-7, f"{name}[{k}]: {slope} by differences, {slopes[k]} by the formula"


def options_of(attention, loss, **more):
    if attention in ("learned", "target"):
        more = {"use_weights": True, "half_life": 3.0, **more}
    return reference.Options(N_USERS, N_ITEMS, D, attention=attention, loss=loss, temperature=0.5, **more)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("user_factors", [True, False])
@pytest.mark.parametrize("item_attention", [True, False])
def test_every_attention_with_every_loss(attention, loss, user_factors, item_attention):
    if attention in ("none", "batch") and not user_factors:
        user_factors = True
    options = options_of(attention, loss, user_factors=user_factors, item_attention=item_attention, biases=True)
    assert_right(options, parameters_of(options), batch(loss))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("attention", ["none", "degree", "learned", "target"])
@pytest.mark.parametrize(
    "head",
    [
        {"factor_attention": True},
        {"factor_attention": True, "output": "sigmoid"},
        {"output": "sigmoid"},
        {"output": "sigmoid", "layer": "concat"},
    ],
)
@pytest.mark.parametrize("similarity", ["product", "cosine"])
def test_every_output(loss, attention, head, similarity):
    options = options_of(attention, loss, similarity=similarity, biases=True, **head)
    assert_right(options, parameters_of(options), batch(loss))


@pytest.mark.parametrize("attention", ["degree", "learned", "target"])
def test_users_whose_own_vector_is_dropped(attention):
    options = options_of(attention, "mse", item_attention=True)
    assert_right(options, parameters_of(options), batch("mse"), kept=np.array([1, 0, 1, 0, 1.0]))


@pytest.mark.parametrize("attention", ["mean", "degree", "learned", "target"])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_empty_history_and_a_history_of_one(attention, loss):
    options = options_of(attention, loss)
    for user in (4, 1):
        lone = batch(loss)._replace(users=np.full(6, user))
        assert_right(options, parameters_of(options), lone)


@pytest.mark.parametrize("attention", ["learned", "target"])
@pytest.mark.parametrize("similarity", ["product", "cosine"])
def test_equal_items(attention, similarity):
    options = options_of(attention, "softmax", similarity=similarity, factor_attention=True)
    parameters = parameters_of(options)
    parameters["item_factors"][:] = parameters["item_factors"][0]
    parameters["salience"][:] = 0.0
    assert_right(options, parameters, batch("softmax"))


@pytest.mark.parametrize("attention", ["learned", "target"])
@pytest.mark.parametrize("loss", LOSSES)
def test_huge_logits(attention, loss):
    options = options_of(attention, loss, attention_exponent=1.0)
    parameters = parameters_of(options)
    parameters["salience"] += np.array([700.0, -700.0, 699.0, 701.0, -700.0, 0.0])
    assert_right(options, parameters, batch(loss))


@pytest.mark.parametrize("loss", ["bce", "bpr", "softmax"])
def test_huge_scores(loss):
    options = options_of("none", loss, biases=True)
    parameters = parameters_of(options)
    parameters["item_bias"] += np.array([400.0, -400.0, 399.5, 0.0, -399.0, 400.5])
    assert_right(options, parameters, batch(loss))


# ---- NeuMF and LightGCN, of `ancf.reference_neural`


def assert_slopes(loss_at, arrays, slopes):
    h = 1e-4
    for name, array in arrays.items():
        numbers, found = array.reshape(-1), np.reshape(slopes[name], -1)
        for k, number in enumerate(numbers.copy()):
            losses = []
            for shift in (-2, -1, 1, 2):
                numbers[k] = number + shift * h
                losses.append(loss_at())
            numbers[k] = number
            slope = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * h)
            assert abs(slope - found[k]) <= 1e-7, f"{name}[{k}]: {slope} by differences, {found[k]} by the formula"


@pytest.mark.parametrize("shape", [(3, 0, ()), (0, 3, (4,)), (0, 2, (5, 3)), (2, 3, (4, 3, 2))])
def test_products_and_layers(shape):
    network = reference_neural.Network(*shape)
    draws = np.random.default_rng(4)
    width = network.product + network.embedding
    users, items = draws.standard_normal((N_USERS, width)), draws.standard_normal((N_ITEMS, width))
    weights = {name: np.array(draws.standard_normal(size)) for name, size in network.shapes().items()}
    u, i, y = draws.integers(0, N_USERS, 9), draws.integers(0, N_ITEMS, 9), np.array([1.0, 0, 0] * 3)

    def found():
        return network.loss_and_gradient(users, items, weights, u, i, y)

    _, by_users, by_items, by_weight = found()
    arrays, slopes = {"users": users, "items": items, **weights}, {"users": by_users, "items": by_items, **by_weight}
    assert arrays.keys() == slopes.keys()
    assert_slopes(lambda: found()[0], arrays, slopes)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_embeddings_propagated_over_the_graph(n_layers):
    draws = np.random.default_rng(5)
    has = np.zeros((N_USERS, N_ITEMS))
    has[[*USERS, 4], [*ITEMS, 1]] = 1.0
    users, items = draws.standard_normal((N_USERS, D)), draws.standard_normal((N_ITEMS, D))
    u, i, j = np.array([0, 0, 1, 4]), np.array([0, 2, 3, 1]), np.array([3, 5, 0, 0])

    def found():
        return reference_neural.lightgcn_loss_and_gradient(has, n_layers, 0.1, users, items, u, i, j)

    _, by_users, by_items = found()
    assert_slopes(lambda: found()[0], {"users": users, "items": items}, {"users": by_users, "items": by_items})
