"""What a trained network becomes when it is served; everything is folded into what the ranker knows, so that one scorer
answers for all options:

    inner product     items [v_i, c_i], users [p_u, 1], shift c_u + c           (sigmoid output: h ⊙ v_i, and h₀ + c)
    factor attention  items h ⊙ v_i, sharpness g / h, item bias c_i, shift as above   (linear output: h = 1)
    concatenation     items [v_i, ⟨h_q, v_i⟩ + c_i], users [0, 1], shift ⟨h_p, p_u⟩ + c_u + h₀ + c
    target attention  items v_i, users z_u, keys B x_j / √d, queries C x_i, logits −½ log n_j + s_j, histories
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.normalize import Normalizer
from ancf.errors import InvalidDataError, ModelFileError
from ancf.models._asking import Histories
from ancf.models._history import spoken
from ancf.models._pair_options import half_life, plain_cosine, similarity
from ancf.models.base import Rows, Target
from ancf.models.network import pair_ages

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.models._pairs import Table
    from ancf.models.ancf import ANCF

Floats = NDArray[np.float32]

# Below this a layer's weight is taken for it: g / h has to stay finite, and the feature is nothing either way.
_LEAST_WEIGHT = 1e-12


class Parts(NamedTuple):
    """A trained state: all that serving is made of."""

    item_vectors: Floats
    """v (n_items, d)."""
    user_vectors: Floats
    """p (n_users, d), unit with the cosine; with target attention z."""
    weights: Floats
    """a of each entry of the histories; none with target attention."""
    item_logits: Floats
    """−½ log n_j + s_j, what a bare history's attention needs."""
    decay: float
    """ρ, by which a day lowers a logit."""
    parameters: dict[str, Floats]


class Folded(NamedTuple):
    """The parts as the ranker takes them."""

    item_vectors: Floats
    user_vectors: Floats
    user_shift: Floats | None
    item_bias: Floats | None
    sharpness: Floats | None
    target: Target | None


def fold(model: "ANCF", parts: Parts, exponent: float) -> Folded:
    """Layers, biases and lengths into vectors; see the head of this file."""
    P, v = parts.parameters, parts.item_vectors
    d = v.shape[1]
    cosine = similarity(model) == "cosine"
    if cosine:
        v = _native.serving_vectors(v, exponent if plain_cosine(model) else 0.0)[0]
    layer = P.get("layer")
    constant = sum(float(P[name][0]) for name in ("layer_bias", "bias") if name in P)
    shift = P["user_bias"] + np.float32(constant) if "user_bias" in P else None
    if shift is None and constant:
        shift = np.full(len(parts.user_vectors), constant, np.float32)
    bias = P.get("item_bias")
    if model.attention == "target":
        d_root = np.float32(np.sqrt(d))
        x = P["item_factors"]
        keys, queries = x @ (P["key"].T / d_root), x @ P["query"].T
        target = Target(_array(keys), _array(queries), _array(parts.item_logits), float(model.attention_exponent))
        return Folded(v, parts.user_vectors, shift, bias, None, target)
    if layer is not None and model.layer == "concat":
        own = (v.astype(np.float64) @ layer[d:] + (0.0 if bias is None else bias)).astype(np.float32)
        users = np.zeros((len(parts.user_vectors), d + 1), np.float32)
        users[:, d] = 1.0
        told = (parts.user_vectors.astype(np.float64) @ layer[:d] + (0.0 if shift is None else shift)).astype(
            np.float32
        )
        return Folded(_array(np.column_stack([v, own])), users, told, None, None, None)
    if layer is not None:
        layer = np.where(np.abs(layer) < _LEAST_WEIGHT, np.float32(_LEAST_WEIGHT), layer)
        v = v * layer
    if model.factor_attention:
        sharpness = P["sharpness"] if layer is None else P["sharpness"] / layer
        return Folded(_array(v), parts.user_vectors, shift, bias, _array(sharpness), None)
    users = parts.user_vectors
    if bias is not None:
        v = np.column_stack([v, bias])
        users = np.column_stack([users, np.ones(len(users), np.float32)])
    return Folded(_array(v), _array(users), shift, None, None, None)


def _array(values: Any) -> Floats:
    return np.ascontiguousarray(values, np.float32)


def mix(
    model: "ANCF", folded: Folded, pairs: Rows, ridge: Rows | None, weight: float
) -> tuple[Rows | None, Rows | None]:
    """The item-item weights on the vectors' scale, and what they weigh in each history."""
    if ridge is None or not weight:
        return None, None
    vectors, weights = _native.score_scales(folded.user_vectors, folded.item_vectors, pairs, ridge, model.num_threads)
    scale = np.float32(weight * (vectors / weights if weights > 0 and vectors > 0 else 1.0))
    recent = np.ones(len(pairs[1]), np.float32)
    return (ridge[0], ridge[1], ridge[2] * scale), spoken(pairs[0], pairs[1], recent, None, len(folded.item_vectors))


def serve(
    model: "ANCF", data: "Interactions", table: "Table", parts: Parts, ridge: Rows | None, settings: dict[str, Any]
) -> None:
    """Make this the model that answers."""
    folded = fold(model, parts, settings["serving_exponent"])
    pairs = (table.indptr, table.items, np.ones(len(table.items), np.float32))
    mixed, history = mix(model, folded, pairs, ridge, settings["neighbour_weight"])
    head = "inner"
    if folded.target is not None:
        head = "target_attention"
        history = (table.indptr, table.items, additions(model, parts.decay, table.weights, table.ages))
    elif folded.sharpness is not None:
        head = "factor_attention"
    model._install(
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        item_names=data.item_names,
        seen=pairs[:2],
        item_vectors=folded.item_vectors,
        user_vectors=folded.user_vectors,
        neighbours=mixed,
        history=history,
        head=head,
        sharpness=folded.sharpness,
        item_bias=folded.item_bias,
        target=folded.target,
        user_shift=folded.user_shift,
        link="sigmoid" if model.output == "sigmoid" else "identity",
    )
    model._parts = parts._replace(user_vectors=np.empty((0, 0), np.float32))


# ---- answering


def additions(model: "ANCF", decay: float, weights: Floats, ages: Floats | None) -> Floats:
    """What entries of histories add to the logits of their items."""
    logits = np.zeros(len(weights))
    if model.use_weights:
        if (weights <= 0).any():
            raise InvalidDataError(
                f"a weight of the history is {weights[weights <= 0][0]}; this model takes their logarithm "
                "(use_weights=True). Give weights above 0."
            )
        logits += np.log(weights.astype(np.float64))
    if ages is not None:
        logits -= decay * ages.astype(np.float64)
    return _array(logits)


def attend(model: "ANCF", histories: Rows, parts: Parts) -> tuple[Floats, Floats]:
    """Attention weights of bare histories with what they add to the logits, and Σ_j a_j v_j."""
    weights = _native.history_weights(histories, parts.item_logits, float(model.attention_exponent))
    return weights, _native.weighted_sums((*histories[:2], weights), parts.item_vectors)


def scaled(model: "ANCF", sums: Floats) -> Floats:
    if similarity(model) != "cosine":
        return sums
    lengths = np.sqrt(np.square(sums.astype(np.float64)).sum(axis=1, keepdims=True))
    return _array(np.divide(sums, lengths, out=np.zeros_like(sums, np.float64), where=lengths > _LEAST_WEIGHT))


def _rows(model: "ANCF", histories: Histories, parts: Parts) -> Rows:
    """Histories with additions to their logits; without times every purchase is as fresh as the next."""
    ages = None
    if half_life(model) is not None and histories.times is not None:
        ages = pair_ages(histories.indptr, histories.times)
    return histories.indptr, histories.items, additions(model, parts.decay, histories.weights, ages)


def fold_in(model: "ANCF", histories: Histories) -> tuple[Floats, Rows | None]:
    """Served user vectors for bare histories: those of a user whose own vector is zero."""
    parts = model._served_parts()
    d, width = parts.item_vectors.shape[1], model._item_vectors.shape[1]
    vectors = np.zeros((histories.n, width), np.float32)
    if model.attention == "target":
        return vectors, _rows(model, histories, parts)
    if not _concat(model):
        vectors[:, :d] = _told(model, histories, parts)
    if width > d:
        vectors[:, d] = 1.0
    if model._neighbours is None:
        return vectors, None
    recent = np.ones(len(histories.items), np.float32)
    return vectors, spoken(histories.indptr, histories.items, recent, None, len(model._item_vectors))


def _concat(model: "ANCF") -> bool:
    return model.output == "sigmoid" and model.layer == "concat"


def _told(model: "ANCF", histories: Histories, parts: Parts) -> Floats:
    """p of bare histories."""
    if model.attention == "none":
        return np.zeros((histories.n, parts.item_vectors.shape[1]), np.float32)
    return scaled(model, attend(model, _rows(model, histories, parts), parts)[1])


def fold_in_shift(model: "ANCF", histories: Histories) -> Floats | None:
    """Constants, and with the concatenation what the history says."""
    parts = model._served_parts()
    P = parts.parameters
    constant = sum(float(P[name][0]) for name in ("layer_bias", "bias") if name in P)
    if _concat(model):
        told = _told(model, histories, parts).astype(np.float64)
        return _array(told @ P["layer"][: told.shape[1]] + constant)
    return np.full(histories.n, constant, np.float32) if model._user_shift is not None else None


def contributions(model: "ANCF", histories: Histories, user: int | None, item: int) -> NDArray[np.float64] | None:
    """a_uj ⟨v_j, q_i⟩ of each item of the history, where the score (before a sigmoid) is their sum with others."""
    parts = model._served_parts()
    if model._head != "inner" or _concat(model) or model.attention == "none":
        return None
    if user is None:
        weights = attend(model, _rows(model, histories, parts), parts)[0]
    else:
        weights = parts.weights[model._seen[0][user] : model._seen[0][user + 1]]
        if len(weights) != len(histories.items):
            return None
    d = parts.item_vectors.shape[1]
    each = parts.item_vectors[histories.items].astype(np.float64) * weights[:, None].astype(np.float64)
    total = each.sum(axis=0)
    if similarity(model) == "cosine":
        if user is not None and "user_factors" in parts.parameters:
            total = total + parts.parameters["user_factors"][user]
        length = float(np.linalg.norm(total))
        each = each / (length if length > _LEAST_WEIGHT else 1.0)
    return np.asarray(each @ model._item_vectors[item, :d].astype(np.float64))


def beside(model: "ANCF", vector: Floats, item: int, told: float) -> dict[str, float]:
    """What the dense part of a score has beside the history's contributions."""
    d = model._served_parts().item_vectors.shape[1]
    served = model._item_vectors[item].astype(np.float64)
    base: dict[str, float] = {}
    if model.user_factors:
        base["the user's own factors"] = float(vector[:d].astype(np.float64) @ served[:d]) - told
    if len(served) > d:
        base["the item's bias"] = float(served[d] * vector[d])
    return base


# ---- the model file


def state(model: "ANCF") -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The parts beside what the ranker holds."""
    parts = model._served_parts()
    arrays: dict[str, NDArray[Any]] = {
        "pairs.item_vectors": parts.item_vectors,
        "pairs.weights": parts.weights,
        "pairs.item_logits": parts.item_logits,
    }
    kept = {
        name: value
        for name, value in parts.parameters.items()
        if name in ("layer", "layer_bias", "bias") or (name == "user_factors" and similarity(model) == "cosine")
    }
    arrays |= {f"pairs.{name}": value for name, value in kept.items()}
    normalizer = None if model.normalizer_ is None else model.normalizer_.state()
    return arrays, {"pairs": {"decay": parts.decay, "parameters": sorted(kept), "normalizer": normalizer}}


def restore(model: "ANCF", arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Parts from a model file, every shape and number checked."""
    try:
        about = meta["pairs"]
        names = [str(name) for name in about["parameters"]]
        decay = float(about["decay"])
        normalizer = None if about["normalizer"] is None else Normalizer.from_state(about["normalizer"])
        found = {name: arrays[f"pairs.{name}"] for name in ("item_vectors", "weights", "item_logits", *names)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"model file: its trained parts are incomplete ({error}). Load another copy.") from error
    d, n_items = int(model.factors), len(model.item_ids_)
    entries = len(model._seen[1])
    shapes: dict[str, list[tuple[int, ...]]] = {
        "item_vectors": [(n_items, d)],
        "weights": [(0,), (entries,)],
        "item_logits": [(0,), (n_items,)] if model.attention == "none" else [(n_items,)],
        "layer": [(2 * d,) if model.layer == "concat" else (d,)],
        "layer_bias": [(1,)],
        "bias": [(1,)],
        "user_factors": [(len(model.user_ids_), d)],
    }
    for name, array in found.items():
        if array.dtype != np.float32 or array.shape not in shapes.get(name, []) or not np.isfinite(array).all():
            raise ModelFileError(
                f"model file: {name} has the shape {array.shape} or numbers that are not finite. Load another copy."
            )
    if not np.isfinite(decay) or (_concat(model) and "layer" not in found):
        raise ModelFileError("model file: its trained parts are incomplete. Load another copy.")
    none = np.empty((0, 0), np.float32)
    parameters = {name: found[name] for name in names}
    model._parts = Parts(found["item_vectors"], none, found["weights"], found["item_logits"], decay, parameters)
    model.normalizer_ = normalizer
