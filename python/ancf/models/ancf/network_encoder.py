"""What a trained network becomes when it is served; everything is folded into what the ranker knows, so that one scorer
answers for all options:

    inner product     items [v_i, c_i], users [p_u, 1], shift c_u + c           (sigmoid output: h ⊙ v_i, and h₀ + c)
    factor attention  items h ⊙ v_i, sharpness g / h, item bias c_i, shift as above   (linear output: h = 1)
    concatenation     items [v_i, ⟨h_q, v_i⟩ + c_i], users [0, 1], shift ⟨h_p, p_u⟩ + c_u + h₀ + c
    target attention  items v_i, users z_u, keys B x_j / √d, queries C x_i, logits −½ log n_j + s_j, histories
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.data.normalize import Normalizer
from ancf.errors import InvalidDataError, ModelFileError
from ancf.models.ancf.options import Settings
from ancf.models.ancf.temporal import sparse_history
from ancf.models.network import pair_ages
from ancf.scoring.histories import Histories
from ancf.scoring.parts import Arrays, EncodedUsers, TargetAttention
from ancf.scoring.scorer import Encoder, Scorer

Floats = NDArray[np.float32]

# Below this a layer's weight is taken for it: g / h has to stay finite, and the feature is nothing either way.
_MIN_ABS_WEIGHT = 1e-12


class NetworkState(NamedTuple):
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


class ServingTables(NamedTuple):
    """A trained state as the ranker takes it."""

    item_vectors: Floats
    user_vectors: Floats
    user_shift: Floats | None
    item_bias: Floats | None
    sharpness: Floats | None
    target: TargetAttention | None


def to_serving_tables(state: NetworkState, settings: Settings) -> ServingTables:
    """Layers, biases and lengths into vectors; see the head of this file."""
    P, v = state.parameters, state.item_vectors
    d = v.shape[1]
    if settings.similarity == "cosine":
        exponent = settings.serving_exponent if settings.plain_cosine else 0.0
        v, _ = _native.serving_vectors(v, exponent, settings.num_threads)
    layer = P.get("layer")
    constant = sum(float(P[name][0]) for name in ("layer_bias", "bias") if name in P)
    shift = P["user_bias"] + np.float32(constant) if "user_bias" in P else None
    if shift is None and constant:
        shift = np.full(len(state.user_vectors), constant, np.float32)
    bias = P.get("item_bias")
    if settings.attention == "target":
        d_root = np.float32(np.sqrt(d))
        x = P["item_factors"]
        keys, queries = x @ (P["key"].T / d_root), x @ P["query"].T
        target = TargetAttention(
            _float32(keys), _float32(queries), _float32(state.item_logits), settings.attention_exponent
        )
        return ServingTables(v, state.user_vectors, shift, bias, None, target)
    if layer is not None and settings.layer == "concat":
        own = (v.astype(np.float64) @ layer[d:] + (0.0 if bias is None else bias)).astype(np.float32)
        users = np.zeros((len(state.user_vectors), d + 1), np.float32)
        users[:, d] = 1.0
        of_users = state.user_vectors.astype(np.float64) @ layer[:d] + (0.0 if shift is None else shift)
        return ServingTables(_float32(np.column_stack([v, own])), users, _float32(of_users), None, None, None)
    if layer is not None:
        layer = np.where(np.abs(layer) < _MIN_ABS_WEIGHT, np.float32(_MIN_ABS_WEIGHT), layer)
        v = v * layer
    if settings.factor_attention:
        sharpness = P["sharpness"] if layer is None else P["sharpness"] / layer
        return ServingTables(_float32(v), state.user_vectors, shift, bias, _float32(sharpness), None)
    users = state.user_vectors
    if bias is not None:
        v = np.column_stack([v, bias])
        users = np.column_stack([users, np.ones(len(users), np.float32)])
    return ServingTables(_float32(v), _float32(users), shift, None, None, None)


def _float32(values: Any) -> Floats:
    return np.ascontiguousarray(values, np.float32)


def logit_offsets(settings: Settings, decay: float, weights: Floats, ages: Floats | None) -> Floats:
    """What entries of histories add to the logits of their items."""
    logits = np.zeros(len(weights))
    if settings.use_weights:
        if (weights <= 0).any():
            raise InvalidDataError(
                f"a weight of the history is {weights[weights <= 0][0]}; this model takes their logarithm "
                "(use_weights=True). Give weights above 0."
            )
        logits += np.log(weights.astype(np.float64))
    if ages is not None:
        logits -= decay * ages.astype(np.float64)
    return _float32(logits)


class AttendedHistories(NamedTuple):
    """What attention makes of histories."""

    weights: Floats
    """a_j of each entry."""
    sums: Floats
    """Σ_j a_j v_j of each history (n, d)."""


def attend(settings: Settings, histories: Csr, state: NetworkState, num_threads: int | None) -> AttendedHistories:
    """Attention over bare histories, given with what they add to the logits."""
    weights = _native.history_weights(histories, state.item_logits, settings.attention_exponent)
    sums = _native.weighted_sums(histories.with_data(weights), state.item_vectors, num_threads)
    return AttendedHistories(weights, sums)


def normalized(settings: Settings, sums: Floats) -> Floats:
    """Users as the similarity wants them: with the cosine of length 1."""
    if settings.similarity != "cosine":
        return sums
    lengths = np.sqrt(np.square(sums.astype(np.float64)).sum(axis=1, keepdims=True))
    return _float32(np.divide(sums, lengths, out=np.zeros_like(sums, np.float64), where=lengths > _MIN_ABS_WEIGHT))


class NetworkEncoder(Encoder):
    """Somebody unknown is a user whose own vector and bias are zero."""

    def __init__(self, settings: Settings, state: NetworkState, normalizer: Normalizer | None) -> None:
        # Of the parameters what folding in and explaining need; the users' vectors are the scorer's.
        names = ("layer", "layer_bias", "bias", *(("user_factors",) if settings.similarity == "cosine" else ()))
        parameters = {name: value for name, value in state.parameters.items() if name in names}
        no_users = np.empty((0, 0), np.float32)
        self.settings, self.state = settings, state._replace(user_vectors=no_users, parameters=parameters)
        self.normalizer = normalizer

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        settings = self.settings
        d, width = self.state.item_vectors.shape[1], scorer.item_vectors.shape[1]
        vectors = np.zeros((histories.n_rows, width), np.float32)
        from_history = np.zeros((histories.n_rows, d), np.float32)
        if settings.attention not in ("target", "none"):
            attended = attend(settings, self._with_offsets(histories), self.state, num_threads)
            from_history = normalized(settings, attended.sums)
        shift = self._shift(scorer, from_history)
        if settings.attention == "target":
            return EncodedUsers(vectors, self._with_offsets(histories), shift)
        if not settings.concatenates:
            vectors[:, :d] = from_history
        if width > d:
            vectors[:, d] = 1.0
        if scorer.neighbors is None:
            return EncodedUsers(vectors, None, shift)
        recency = np.ones(len(histories.items), np.float32)
        history = sparse_history(histories.indptr, histories.items, recency, None, len(scorer.item_vectors))
        return EncodedUsers(vectors, history, shift)

    def _shift(self, scorer: Scorer, from_history: Floats) -> Floats | None:
        """Constants, and with the concatenation what the history says."""
        parameters = self.state.parameters
        constant = sum(float(parameters[name][0]) for name in ("layer_bias", "bias") if name in parameters)
        if self.settings.concatenates:
            vectors = from_history.astype(np.float64)
            return _float32(vectors @ parameters["layer"][: vectors.shape[1]] + constant)
        return np.full(len(from_history), constant, np.float32) if scorer.user_shift is not None else None

    def _with_offsets(self, histories: Histories) -> Csr:
        """Histories with what is added to their logits; without times every purchase is as fresh as the next."""
        ages = None
        if self.settings.half_life is not None and histories.times is not None:
            ages = pair_ages(histories.indptr, histories.times)
        offsets = logit_offsets(self.settings, self.state.decay, histories.weights, ages)
        return Csr(histories.indptr, histories.items, offsets)

    def history_contributions(
        self, scorer: Scorer, histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        """a_uj ⟨v_j, q_i⟩ of each item of the history, where the score (before a sigmoid) is their sum with others."""
        settings, state = self.settings, self.state
        if scorer.head != "inner" or settings.concatenates:
            return None
        weights = self.attention_weights(scorer, histories, user)
        if weights is None:
            return None
        d = state.item_vectors.shape[1]
        each = state.item_vectors[histories.items].astype(np.float64) * weights[:, None].astype(np.float64)
        total = each.sum(axis=0)
        if settings.similarity == "cosine":
            if user is not None and "user_factors" in state.parameters:
                total = total + state.parameters["user_factors"][user]
            length = float(np.linalg.norm(total))
            each = each / (length if length > _MIN_ABS_WEIGHT else 1.0)
        return inner_products(each, scorer.item_vectors[items, :d])

    def attention_weights(self, scorer: Scorer, histories: Histories, user: int | None) -> Floats | None:
        """a of the history; none with target attention, which depends on the candidate."""
        if self.settings.attention in ("target", "none"):
            return None
        if user is None:
            return attend(self.settings, self._with_offsets(histories), self.state, self.settings.num_threads).weights
        weights = self.state.weights[scorer.seen.indptr[user] : scorer.seen.indptr[user + 1]]
        return weights if len(weights) == len(histories.items) else None

    def base_terms(self, scorer: Scorer, vector: Floats, item: int, explained: float | None) -> dict[str, float]:
        if explained is None:
            if scorer.head != "inner" or self.settings.concatenates:
                return super().base_terms(scorer, vector, item, explained)
            explained = 0.0  # Without attention nothing comes from the history.
        d = self.state.item_vectors.shape[1]
        served = scorer.item_vectors[item].astype(np.float64)
        base: dict[str, float] = {}
        if self.settings.user_factors:
            base["the user's own factors"] = float(vector[:d].astype(np.float64) @ served[:d]) - explained
        if len(served) > d:
            base["the item's bias"] = float(served[d] * vector[d])
        return base

    # ---- the model file

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """The parts beside what the ranker holds."""
        state = self.state
        arrays: Arrays = {
            "pairs.item_vectors": state.item_vectors,
            "pairs.weights": state.weights,
            "pairs.item_logits": state.item_logits,
        }
        arrays |= {f"pairs.{name}": value for name, value in state.parameters.items()}
        normalizer = None if self.normalizer is None else self.normalizer.state()
        return arrays, {
            "pairs": {"decay": state.decay, "parameters": sorted(state.parameters), "normalizer": normalizer}
        }

    @classmethod
    def from_arrays(cls, settings: Settings, arrays: Arrays, meta: dict[str, Any]) -> Self:
        """The encoder of a model file, every shape and number checked.

        Raises
        ------
        ModelFileError
        """
        try:
            about = meta["pairs"]
            names = [str(name) for name in about["parameters"]]
            decay = float(about["decay"])
            normalizer = None if about["normalizer"] is None else Normalizer.from_state(about["normalizer"])
            found = {name: arrays[f"pairs.{name}"] for name in ("item_vectors", "weights", "item_logits", *names)}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                f"model file: its trained parts are incomplete ({error}). Load another copy."
            ) from error
        d, n_items, n_users = settings.factors, len(arrays["item_vectors"]), len(arrays["user_vectors"])
        entries = len(arrays["seen.items"])
        shapes: dict[str, list[tuple[int, ...]]] = {
            "item_vectors": [(n_items, d)],
            "weights": [(0,), (entries,)],
            "item_logits": [(0,), (n_items,)] if settings.attention == "none" else [(n_items,)],
            "layer": [(2 * d,) if settings.layer == "concat" else (d,)],
            "layer_bias": [(1,)],
            "bias": [(1,)],
            "user_factors": [(n_users, d)],
        }
        for name, array in found.items():
            if array.dtype != np.float32 or array.shape not in shapes.get(name, []) or not np.isfinite(array).all():
                raise ModelFileError(
                    f"model file: {name} has the shape {array.shape} or numbers that are not finite. Load another copy."
                )
        if not np.isfinite(decay) or (settings.concatenates and "layer" not in found):
            raise ModelFileError("model file: its trained parts are incomplete. Load another copy.")
        parameters = {name: found[name] for name in names}
        no_users = np.empty((0, 0), np.float32)
        state = NetworkState(found["item_vectors"], no_users, found["weights"], found["item_logits"], decay, parameters)
        return cls(settings, state, normalizer)
