"""Options of ``ANCF`` that make no sense, refused by name and with the way out."""

import inspect
from typing import Any, get_args

import numpy as np

from ancf.checks import check_choice, check_flag, check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX
from ancf.errors import InvalidParameterError
from ancf.evaluation import check_metric
from ancf.models.ancf.options import (
    AutoChooseFor,
    AutoInterest,
    AutoNormalize,
    AutoSimilarity,
    Init,
    concatenates,
    is_plain_cosine,
    wants_network,
)
from ancf.models.network import Attention, Layer, Loss, Optimizer, Output


def check_options(estimator: Any) -> None:
    """Refuse values and combinations that make no sense, by name and with the way out."""
    for name, value in estimator.get_params().items():
        if value is not None and not isinstance(value, (bool, int, float, str, np.generic)):
            raise InvalidParameterError(f"{name} is {value!r}; an option is one number, one word, True, False or None.")
    if not isinstance(estimator.validation_metric, str):
        raise InvalidParameterError(f'validation_metric is {estimator.validation_metric!r}; give a name: "ndcg@10".')
    check_integer("verbose", int(estimator.verbose) if estimator.verbose is True else estimator.verbose, 0, 100)
    if estimator.show_progress is not None:
        check_flag("show_progress", estimator.show_progress)
    check_choice("init", estimator.init, get_args(Init))
    check_integer("factors", estimator.factors, 1, 4096)
    for name, low, high in (
        ("epochs", 1, 100_000),
        ("negatives", 1, 1 << 20),
        ("neighbors", 0, 10_000),
        ("batch_size", 1, 2**31),
    ):
        if getattr(estimator, name) != "auto":
            check_integer(name, getattr(estimator, name), low, high, words='"auto" or ')
    for name, least, most in (
        ("attention_exponent", 0.0, 2.0),
        ("negative_exponent", 0.0, 2.0),
        ("regularization", 0.0, FLOAT32_MAX),
    ):
        check_number(name, getattr(estimator, name), least, most)
    for name, most in (
        ("serving_exponent", 2.0),
        ("popularity_exponent", 2.0),
        ("neighbor_l1", 1e6),
        ("neighbor_weight", 1e6),
    ):
        if getattr(estimator, name) != "auto":
            check_number(name, getattr(estimator, name), 0.0, most, words='"auto" or ')
    if estimator.neighbor_candidates != "auto":
        check_integer("neighbor_candidates", estimator.neighbor_candidates, 1, 1024, words='"auto" or ')
    if estimator.neighbor_shrinkage != "auto":
        check_number(
            "neighbor_shrinkage", estimator.neighbor_shrinkage, 0.0, FLOAT32_MAX, above=True, words='"auto" or '
        )
    for name in ("temperature", "learning_rate"):
        if getattr(estimator, name) != "auto":
            check_number(name, getattr(estimator, name), 0.0, FLOAT32_MAX, above=True, words='"auto" or ')
    if estimator.patience is not None:
        check_integer("patience", estimator.patience, 1, 100_000, words="None or ")
    if estimator.random_state is not None:
        check_integer("random_state", estimator.random_state, 0, 2**64 - 1, words="None or ")
    check_flag("item_attention", estimator.item_attention)
    for name, choices in (
        ("loss", get_args(Loss)),
        ("optimizer", get_args(Optimizer)),
        ("attention", get_args(Attention)),
        ("output", get_args(Output)),
        ("layer", get_args(Layer)),
        ("similarity", get_args(AutoSimilarity)),
        ("normalize", get_args(AutoNormalize)),
        ("choose_for", get_args(AutoChooseFor)),
        ("interest", get_args(AutoInterest)),
    ):
        if name == "attention" and estimator.attention == "batch":
            raise InvalidParameterError(
                'attention="batch" makes a prediction depend on which others are asked for with it, so nothing can be '
                'ranked by it. Take factor_attention=True, or ancf.ANCFModel(attention="batch").'
            )
        check_choice(name, getattr(estimator, name), choices)
    for name in ("factor_attention", "user_factors", "biases", "use_weights", "warm_start"):
        check_flag(name, getattr(estimator, name))
    check_number("user_dropout", estimator.user_dropout, 0.0, 0.99)
    if estimator.half_life not in (None, "auto"):
        check_number("half_life", estimator.half_life, 0.0, FLOAT32_MAX, above=True, words='None, "auto" or ')
    check_number("repeat_weight", estimator.repeat_weight, 0.0, 1e6)
    if estimator.repeat_half_life is not None:
        check_number("repeat_half_life", estimator.repeat_half_life, 0.0, FLOAT32_MAX, above=True, words="None or ")
    if estimator.trend != "auto":
        check_number("trend", estimator.trend, 0.0, 2.0, words='"auto" or ')
    if estimator.trend_half_life != "auto":
        check_number("trend_half_life", estimator.trend_half_life, 0.0, FLOAT32_MAX, above=True, words='"auto" or ')
    _check_belonging(estimator)
    _check_combinations(estimator)
    if estimator.validation_metric not in ("auto", "loss"):
        check_metric("validation_metric", estimator.validation_metric)


def _check_belonging(estimator: Any) -> None:
    """An option that the others leave without effect is refused rather than ignored."""
    defaults = inspect.signature(type(estimator).__init__).parameters
    plain_cosine = is_plain_cosine(estimator)
    learns = estimator.attention in ("learned", "target")
    for name, applies, where in (
        ("temperature", estimator.loss == "softmax", 'loss="softmax"'),
        ("negatives", estimator.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("negative_exponent", estimator.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("normalize", estimator.loss == "mse", 'loss="mse", the only one that reads quantities'),
        ("use_weights", learns, 'attention="learned" or "target"'),
        ("half_life", learns or not wants_network(estimator), 'attention="learned" or "target", or the plain softmax'),
        *(
            (name, not wants_network(estimator), "the plain softmax")
            for name in (
                *("popularity_exponent", "trend", "trend_half_life", "repeat_weight", "repeat_half_life"),
                *("interest", "warm_start"),
            )
        ),
        ("user_dropout", estimator.user_factors, "user_factors=True"),
        ("layer", estimator.output == "sigmoid", 'output="sigmoid"'),
        ("serving_exponent", plain_cosine, 'the plain cosine (similarity="cosine", output="linear")'),
        (
            "attention_exponent",
            estimator.attention != "none" or estimator.item_attention,
            "some attention over histories",
        ),
    ):
        value, default = getattr(estimator, name), defaults[name].default
        if not applies and value != default:
            raise InvalidParameterError(f"{name}={value!r} has no effect here: it belongs to {where}. Leave it out.")


def _check_combinations(estimator: Any) -> None:
    concat = concatenates(estimator)
    plain = estimator.output == "linear" and not estimator.factor_attention
    has_neighbors = estimator.neighbors not in ("auto", 0)
    target = estimator.attention == "target"
    for wrong, message in (
        (
            estimator.attention == "none" and not estimator.user_factors,
            'attention="none" without user_factors leaves nothing of a user. Set user_factors=True, or take "degree".',
        ),
        (
            estimator.factor_attention and concat,
            'factor_attention weighs the product, which layer="concat" does not have. Take layer="product".',
        ),
        (
            concat and estimator.loss in ("bpr", "softmax"),
            f"layer=\"concat\" adds a user's part and an item's part, of which loss={estimator.loss!r} sees the item's "
            'alone. Take layer="product", or loss="mse" or "bce".',
        ),
        (
            target and not plain,
            'attention="target" is ranked exactly by inner products. Take output="linear" and factor_attention=False, '
            'or attention="learned"; ancf.ANCFModel scores single pairs with all of them.',
        ),
        (
            target and estimator.similarity == "cosine",
            'attention="target" gives each candidate a user of another length, so similarity="cosine" has no one user '
            'to divide. Take similarity="product".',
        ),
        (
            has_neighbors and (target or not plain),
            f"neighbors={estimator.neighbors} adds item-item weights to an inner product; with factor attention, "
            "target attention or a sigmoid output there is none. Take neighbors=0.",
        ),
    ):
        if wrong:
            raise InvalidParameterError(message)
