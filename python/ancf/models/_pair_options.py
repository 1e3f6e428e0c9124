"""Options of ``ANCF`` beyond one softmax row per user: what they take, what goes together, what ``auto`` becomes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ancf.checks import check_choice, check_flag, check_number
from ancf.data.normalize import NORMALIZERS
from ancf.errors import InvalidParameterError

if TYPE_CHECKING:
    from ancf.models.ancf import ANCF

LOSSES = ("softmax", "mse", "bce", "bpr")
ATTENTION = ("none", "mean", "degree", "learned", "target")


def needed(model: "ANCF") -> bool:
    """Whether these options go beyond one softmax row per user."""
    return not (
        model.loss == "softmax"
        and model.optimizer == "adam"
        and model.attention in ("mean", "degree")
        and model.output == "linear"
        and model.similarity in ("auto", "cosine")
        and not (model.user_factors or model.factor_attention or model.biases)
    )


def check(model: "ANCF") -> None:
    """Refuse values and combinations that make no sense, by name and with the way out."""
    for name, choices in (
        ("loss", LOSSES),
        ("optimizer", ("adam", "adagrad", "sgd")),
        ("attention", ATTENTION),
        ("output", ("linear", "sigmoid")),
        ("layer", ("product", "concat")),
        ("similarity", ("auto", "product", "cosine")),
        ("normalize", ("auto", *NORMALIZERS)),
    ):
        if name == "attention" and model.attention == "batch":
            raise InvalidParameterError(
                'attention="batch" makes a prediction depend on which others are asked for with it, so nothing can be '
                'ranked by it. Take factor_attention=True, or ancf.ANCFModel(attention="batch").'
            )
        check_choice(name, getattr(model, name), choices)
    for name in ("factor_attention", "user_factors", "biases", "use_weights"):
        check_flag(name, getattr(model, name))
    check_number("user_dropout", model.user_dropout, 0.0, 0.99)
    if model.half_life not in (None, "auto"):
        check_number("half_life", model.half_life, 0.0, np.inf, above=True, words='None, "auto" or ')
    check_number("repeat_weight", model.repeat_weight, 0.0, 1e6)
    if model.trend != "auto":
        check_number("trend", model.trend, 0.0, 2.0, words='"auto" or ')
    if model.trend_half_life != "auto":
        check_number("trend_half_life", model.trend_half_life, 0.0, np.inf, above=True, words='"auto" or ')
    _check_belonging(model)
    _check_combinations(model)


def _check_belonging(model: "ANCF") -> None:
    """An option that the others leave without effect is refused rather than passed over."""
    learns = model.attention in ("learned", "target")
    for name, applies, where in (
        ("temperature", model.loss == "softmax", 'loss="softmax"'),
        ("negatives", model.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("negative_exponent", model.loss != "mse", 'loss="softmax", "bce" or "bpr"'),
        ("normalize", model.loss == "mse", 'loss="mse", the only one that reads quantities'),
        ("use_weights", learns, 'attention="learned" or "target"'),
        ("half_life", learns or not needed(model), 'attention="learned" or "target", or the plain softmax'),
        *((name, not needed(model), "the plain softmax") for name in ("trend", "trend_half_life", "repeat_weight")),
        ("user_dropout", model.user_factors, "user_factors=True"),
        ("layer", model.output == "sigmoid", 'output="sigmoid"'),
        ("serving_exponent", plain_cosine(model), 'the plain cosine (similarity="cosine", output="linear")'),
        ("attention_exponent", model.attention != "none" or model.item_attention, "some attention over histories"),
    ):
        value, default = getattr(model, name), model._default(name)
        if not applies and value != default:
            raise InvalidParameterError(f"{name}={value!r} has no effect here: it belongs to {where}. Leave it out.")


def _check_combinations(model: "ANCF") -> None:
    concat = model.output == "sigmoid" and model.layer == "concat"
    plain = model.output == "linear" and not model.factor_attention
    asked = model.neighbours not in ("auto", 0)
    target = model.attention == "target"
    for wrong, message in (
        (
            model.attention == "none" and not model.user_factors,
            'attention="none" without user_factors leaves nothing of a user. Set user_factors=True, or take "degree".',
        ),
        (
            model.factor_attention and concat,
            'factor_attention weighs the product, which layer="concat" does not have. Take layer="product".',
        ),
        (
            concat and model.loss in ("bpr", "softmax"),
            f"layer=\"concat\" adds a user's part and an item's part, of which loss={model.loss!r} sees the item's "
            'alone. Take layer="product", or loss="mse" or "bce".',
        ),
        (
            target and not plain,
            'attention="target" is ranked exactly by inner products. Take output="linear" and factor_attention=False, '
            'or attention="learned"; ancf.ANCFModel scores single pairs with all of them.',
        ),
        (
            target and model.similarity == "cosine",
            'attention="target" gives each candidate a user of another length, so similarity="cosine" has no one user '
            'to divide. Take similarity="product".',
        ),
        (
            asked and (target or not plain),
            f"neighbours={model.neighbours} adds item-item weights to an inner product; with factor attention, target "
            "attention or a sigmoid output there is none. Take neighbours=0.",
        ),
    ):
        if wrong:
            raise InvalidParameterError(message)


def plain_cosine(model: "ANCF") -> bool:
    """Whether the score is learned as a cosine, and served with another power of the items' lengths."""
    return similarity(model) == "cosine" and model.output == "linear" and not model.factor_attention


def half_life(model: "ANCF") -> float | None:
    """Days that the learned attention starts from; auto: no such term."""
    return None if model.half_life in (None, "auto") else float(model.half_life)


def similarity(model: "ANCF") -> str:
    """auto: the cosine for the plain softmax, which needs bounded scores; the product otherwise."""
    if model.similarity != "auto":
        return model.similarity
    plain = model.output == "linear" and not (model.factor_attention or model.biases)
    return "cosine" if model.loss == "softmax" and plain and model.attention != "target" else "product"


def neighbours(model: "ANCF") -> int:
    """auto: item-item weights where lists are learned and the score is a plain inner product."""
    if model.neighbours != "auto":
        return int(model.neighbours)
    plain = model.output == "linear" and not model.factor_attention and model.attention != "target"
    return 100 if plain and model.loss != "mse" else 0


def negatives(model: "ANCF") -> int:
    """auto: for the softmax items of a step, fewer where they cost more; for other losses those of each purchase."""
    if model.negatives != "auto":
        return int(model.negatives)
    if model.loss != "softmax":
        return {"bpr": 1, "bce": 4, "mse": 1}[model.loss]
    return 256 if model.attention == "target" else 1024 if model.factor_attention else 4096


def schedule(model: "ANCF", n_items: int) -> dict[str, Any]:
    """Epochs, negatives and the rate at the start. auto: more and longer steps where the plain softmax sees a part of
    the catalogue only; measured in ``docs/quality.md``."""
    some = negatives(model)
    drawn = n_items > some and not needed(model)
    epochs, rate = (24, 0.03) if drawn else (16, {"adam": 0.02, "adagrad": 0.1, "sgd": 1.0}[model.optimizer])
    return {
        "epochs": epochs if model.epochs == "auto" else int(model.epochs),
        "negatives": some,
        "learning_rate": rate if model.learning_rate == "auto" else float(model.learning_rate),
    }


def settings_of(model: "ANCF", n_users: int, n_items: int, n_pairs: int) -> dict[str, Any]:
    """What ``auto`` becomes for this training; measured in ``docs/quality.md``."""
    batch_size = model.batch_size
    if batch_size == "auto":
        # A step takes in the whole graph with item attention: few, large steps.
        if model.loss == "softmax":
            batch_size = max(256, -(-n_users // 30))
        else:
            batch_size = max(1024, -(-n_pairs // 100)) if model.item_attention else 1024
    return {
        "batch_size": int(batch_size),
        "similarity": similarity(model),
        "neighbours": neighbours(model),
    }
