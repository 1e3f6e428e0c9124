"""The model in float64 NumPy: the specification that the Rust core is compared with.

Read it from top to bottom; it is written to be understood, not to be fast. Histories are dense matrices (users ×
items), and every pair (user, item) of a batch attends to its user's history by itself, so the formulas stand as they
are written. ``ancf.ANCFModel`` computes the same in Rust; ``tests/golden`` holds what both must give.

Notation: users u, items i, j; d factors; N(u) the items of u's history, n_j the users of item j; tables Z (users × d)
and X (items × d).

    items     v_j = x_j + Σ_{u∈M(j)} b_ju p⁰_u,   p⁰_u = z_u + Σ_j a⁰_uj x_j        (item attention, by the prior alone)
    logits    ℓ_uj = −½ log n_j + [log w_uj] − [ρ age_uj] + s_j + ⟨A z_u, B x_j⟩/√d            ("learned")
              ℓ_uij = … + s_j + ⟨C x_i, B x_j⟩/√d: each candidate i looks at the history its own way    ("target")
    weights   a_uj = exp(ℓ_uj) / (Σ_{k∈N(u)} exp ℓ_uk)^β                 ("degree": −½ log n_j alone; "mean": ℓ = 0)
    user      p_u = z_u + Σ_j a_uj v_j;  item  q_i = v_i;  with similarity="cosine" both are divided by their length
    features  x = p ⊙ q                                                       (or the concatenation [p; q])
              factor attention   f_k = softmax_k(g ⊙ x)_k x_k
              batch attention    f = softmax_b(⟨g, x_b⟩) x, the softmax running over the pairs of the batch
    score     s = Σ_k f_k + [c_u + c_i + c],   or with output="sigmoid"  s = ⟨h, f⟩ + h₀ + […] and ŷ = 1 / (1 + e^−s)

The prior −½ log n_j with β = ½ is the symmetric normalization of graph models (He et al.: LightGCN, SIGIR 2020);
history attention without a user table is that of FISM and NAIS (He et al., TKDE 2018), item attention is its mirror.
Target attention is that of DIN (Zhou et al., KDD 2018). A starts at zero and B at the identity: with both at zero
neither would ever have a gradient.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parameters = dict[str, Array]

#: Below this length a vector has no direction: its cosine is 0.
TINY = 1e-12
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

#: Parameters with a row for each user or item. An optimizer leaves rows without a gradient alone, moments and all, so
#: that a step costs what its batch touches (lazy updates).
BY_ROW = ("user_factors", "item_factors", "salience", "user_bias", "item_bias")


@dataclass(frozen=True)
class Options:
    """What ``ancf.ANCFModel`` takes, under the same names."""

    num_users: int
    num_items: int
    embedding_dim: int = 50
    attention: str = "none"
    attention_exponent: float = 0.5
    item_attention: bool = False
    user_factors: bool = True
    use_weights: bool = False
    half_life: float | None = None
    factor_attention: bool = False
    similarity: str = "product"
    output: str = "linear"
    layer: str = "product"
    biases: bool = False
    loss: str = "mse"
    temperature: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 0.001
    regularization: float = 0.0

    @property
    def learns_attention(self) -> bool:
        return self.attention in ("learned", "target")

    @property
    def batch_attention(self) -> bool:
        """The founding variant: no history, and a softmax over the pairs that stand in the same batch."""
        return self.attention == "batch"

    @property
    def compares(self) -> bool:
        """Whether the loss sees differences of scores only, in which a constant cancels."""
        return self.loss in ("bpr", "softmax")


class History(NamedTuple):
    """Who had what, dense: ``mask`` (users × items), and for each pair log w and the age in days."""

    mask: NDArray[np.bool_]
    log_weights: Array
    ages: Array

    @classmethod
    def empty(cls, n_users: int, n_items: int) -> "History":
        shape = (n_users, n_items)
        return cls(np.zeros(shape, bool), np.zeros(shape), np.zeros(shape))

    @classmethod
    def of(cls, shape: tuple[int, int], users: Any, items: Any, weights: Any = None, ages: Any = None) -> "History":
        """From pairs, with their weights (above 0) and ages."""
        new = cls.empty(*shape)
        new.mask[users, items] = True
        if weights is not None:
            new.log_weights[users, items] = np.log(np.asarray(weights, np.float64))
        if ages is not None:
            new.ages[users, items] = ages
        return new


class Batch(NamedTuple):
    """What one step learns from.

    ``mse`` and ``bce`` take pairs and ``targets`` (B,). ``bpr`` takes positives and for each of them ``negatives``
    (B, n). ``softmax`` takes positives and ``negatives`` (M,) that all of them share, with the logarithms of their
    weights ω (0 if left out).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    targets: Array | None = None
    negatives: NDArray[np.int64] | None = None
    log_weights: Array | None = None

    def pairs(self, loss: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All pairs that need a score: the positives, then each positive's negatives, row by row."""
        if loss in ("mse", "bce"):
            return self.users, self.items
        assert self.negatives is not None
        rows = np.broadcast_to(self.negatives, (len(self.users), self.negatives.shape[-1]))
        return (
            np.concatenate([self.users, np.repeat(self.users, rows.shape[1])]),
            np.concatenate([self.items, rows.ravel()]),
        )


# ---- parameters


def start(options: Options, seed: int = 0, scale: float = 0.1) -> Parameters:
    """Parameters to begin with. ``ANCFModel`` draws other numbers; take its ``parameters`` to compare."""
    o, d = options, options.embedding_dim
    draws = np.random.default_rng(seed)
    parameters: Parameters = {}
    if o.user_factors:
        parameters["user_factors"] = scale * draws.standard_normal((o.num_users, d))
    parameters["item_factors"] = scale * draws.standard_normal((o.num_items, d))
    if o.learns_attention:
        parameters["salience"] = np.zeros(o.num_items)
        if o.half_life is not None:
            parameters["log_decay"] = np.array([np.log(np.log(2.0) / o.half_life)])
        if o.attention == "target" or o.user_factors:
            parameters["query"] = np.zeros((d, d))  # A, or C with target attention
            parameters["key"] = np.eye(d)  # B
    if o.factor_attention or o.batch_attention:
        parameters["sharpness"] = np.ones(d)
    if o.output == "sigmoid":
        parameters["layer"] = np.ones(d) if o.layer == "product" else draws.standard_normal(2 * d) / np.sqrt(2 * d)
        if not o.compares:
            parameters["layer_bias"] = np.zeros(1)
    if o.biases:
        parameters["item_bias"] = np.zeros(o.num_items)
        if not o.compares:
            parameters["user_bias"], parameters["bias"] = np.zeros(o.num_users), np.zeros(1)
    return parameters


# ---- forward


def prior_attention(options: Options, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """a⁰ (users × items) and b (items × users): attention by the prior alone, from both sides."""

    def weights(rows: NDArray[np.bool_]) -> Array:
        counts = np.maximum(rows.sum(axis=0), 1)
        prior = rows * (1.0 if options.attention == "mean" else counts**-0.5)
        total = prior.sum(axis=1, keepdims=True)
        return np.asarray(prior / np.where(total > 0, total, 1.0) ** options.attention_exponent)

    forth, back = weights(mask), weights(mask.T)
    return (np.zeros_like(forth) if options.attention in ("none", "batch") else forth), back


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, e) / (1.0 + e))


def unit(vectors: Array) -> tuple[Array, Array]:
    """Vectors of length one, and the lengths they had; what has no direction becomes zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    safe = np.where(length > TINY, length, np.inf)
    return vectors / safe, safe


def softmax(logits: Array, axis: int = -1) -> Array:
    e = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def forward(
    options: Options,
    parameters: Parameters,
    history: History,
    users: Any,
    items: Any,
    kept: Array | None = None,
) -> dict[str, Any]:
    """Scores of pairs and everything on the way to them.

    Parameters
    ----------
    users, items : int arrays (B,)
    kept : array (n_users,), optional
        0 where the user's own vector is dropped (training does that at random, so that the unknown are served well).

    Returns
    -------
    dict with ``score`` (B,), the number before any squashing, ``prediction`` (B,), and the intermediate results.
    """
    o, P, d = options, parameters, options.embedding_dim
    users, items = np.asarray(users, np.int64), np.asarray(items, np.int64)
    X = P["item_factors"]
    t: dict[str, Any] = {"users": users, "items": items}
    # 1. Users' own vectors; zero without a table.
    t["kept"] = np.ones(o.num_users) if kept is None else np.asarray(kept, np.float64)
    t["z"] = t["kept"][:, None] * P["user_factors"] if o.user_factors else np.zeros((o.num_users, d))
    # 2. Items aggregate their users.
    t["a0"], t["b"] = prior_attention(o, history.mask)
    t["v"] = X + t["b"] @ (t["z"] + t["a0"] @ X) if o.item_attention else X
    # 3. Attention of each pair over its user's history.
    t["a"] = t["a0"][users]
    if o.learns_attention:
        counts = np.maximum(history.mask.sum(axis=0), 1)
        logits = -0.5 * np.log(counts) + P["salience"] + np.zeros((len(users), 1))
        if o.use_weights:
            logits = logits + history.log_weights[users]
        if o.half_life is not None:
            logits = logits - np.exp(P["log_decay"]) * history.ages[users]
        if "query" in P:
            t["query_row"] = X[items] if o.attention == "target" else t["z"][users]
            t["queries"] = t["query_row"] @ P["query"].T
            t["y"] = t["queries"] @ P["key"] / np.sqrt(d)
            logits = logits + t["y"] @ X.T
        mask = history.mask[users]
        logits = np.where(mask, logits, -np.inf)
        highest = np.where(mask.any(axis=1), logits.max(axis=1, initial=-np.inf), 0.0)[:, None]
        total = np.exp(logits - highest).sum(axis=1, keepdims=True)
        log_total = highest + np.log(np.where(total > 0, total, 1.0))
        t["a"] = np.exp(logits - o.attention_exponent * log_total)
        t["share"] = np.exp(logits - log_total)
    # 4. Vectors of the pair.
    t["p"], t["q"] = t["z"][users] + t["a"] @ t["v"], t["v"][items]
    if o.similarity == "cosine":
        t["p"], t["p_length"] = unit(t["p"])
        t["q"], t["q_length"] = unit(t["q"])
    # 5. Features.
    t["x"] = x = t["p"] * t["q"]
    if o.factor_attention:
        t["alpha"] = softmax(P["sharpness"] * x)
        t["f"] = t["alpha"] * x
    elif o.batch_attention:
        t["alpha"] = softmax(x @ P["sharpness"], axis=0)[:, None]
        t["f"] = t["alpha"] * x
    elif o.output == "sigmoid" and o.layer == "concat":
        t["f"] = np.concatenate([t["p"], t["q"]], axis=1)
    else:
        t["f"] = x
    # 6. Output.
    score = t["f"] @ P["layer"] if o.output == "sigmoid" else t["f"].sum(axis=1)
    if "layer_bias" in P:
        score = score + P["layer_bias"]
    if o.biases:
        score = score + P["item_bias"][items]
        if not o.compares:
            score = score + P["user_bias"][users] + P["bias"]
    t["score"] = score
    t["prediction"] = sigmoid(score) if o.output == "sigmoid" else score
    return t


# ---- losses


def loss_and_slope(options: Options, batch: Batch, score: Array) -> tuple[float, Array]:
    """The mean loss of a batch, and its derivative by every score of ``batch.pairs``.

    mse      (ŷ − y)²
    bce      log(1 + e^s) − y s: the cross-entropy of y and 1 / (1 + e^−s)
    bpr      log(1 + e^−(s_ui − s_uj)), the mean over a positive's negatives j (Rendle et al., UAI 2009)
    softmax  −s_ui / τ + log Σ_k ω_k exp(s_uk / τ) over the negatives k that the batch shares. With cosines the
             positive stands in the sum only where it was drawn, so with all items as negatives this is the full
             softmax. Products have no bound, and a positive that was not drawn would run away: with them it stands in
             the sum once more, by itself.

    ``bce``, ``bpr`` and ``softmax`` read the score before it is squashed.
    """
    n = len(batch.users)
    if options.loss == "mse":
        assert batch.targets is not None
        guess = sigmoid(score) if options.output == "sigmoid" else score
        slope = 2.0 * (guess - batch.targets) / n
        if options.output == "sigmoid":
            slope = slope * guess * (1.0 - guess)
        return float(np.mean((guess - batch.targets) ** 2)), slope
    if options.loss == "bce":
        assert batch.targets is not None
        losses = np.maximum(score, 0.0) + np.log1p(np.exp(-np.abs(score))) - batch.targets * score
        return float(losses.mean()), (sigmoid(score) - batch.targets) / n
    positive, rows = score[:n], score[n:].reshape(n, -1)
    if options.loss == "bpr":
        difference = positive[:, None] - rows
        losses = np.maximum(-difference, 0.0) + np.log1p(np.exp(-np.abs(difference)))
        slopes = -sigmoid(-difference) / difference.size
        return float(losses.mean()), np.concatenate([slopes.sum(axis=1), -slopes.ravel()])
    logits = rows / options.temperature
    if batch.log_weights is not None:
        logits = logits + batch.log_weights
    own = positive / options.temperature
    with_own = options.similarity == "product"
    if with_own:
        logits = np.column_stack([logits, own])
    highest = logits.max(axis=1)
    losses = -own + highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    shares = softmax(logits) / (n * options.temperature)
    slope = np.full(n, -1.0 / (n * options.temperature))
    if with_own:
        slope, shares = slope + shares[:, -1], shares[:, :-1]
    return float(losses.mean()), np.concatenate([slope, shares.ravel()])


# ---- backward


def backward(
    options: Options, parameters: Parameters, history: History, batch: Batch, kept: Array | None = None
) -> tuple[float, Parameters]:
    """The mean loss of a batch and its gradient by every parameter: the passes of ``forward`` in reverse."""
    o, P, d = options, parameters, options.embedding_dim
    users, items = batch.pairs(o.loss)
    t = forward(o, P, history, users, items, kept)
    loss, ds = loss_and_slope(o, batch, t["score"])
    G = {name: np.zeros_like(value) for name, value in P.items()}
    X, x, p, q = P["item_factors"], t["x"], t["p"], t["q"]
    # 6. Output.
    if o.biases:
        np.add.at(G["item_bias"], items, ds)
        if not o.compares:
            np.add.at(G["user_bias"], users, ds)
            G["bias"][0] = ds.sum()
    if "layer_bias" in P:
        G["layer_bias"][0] = ds.sum()
    if o.output == "sigmoid":
        G["layer"] = t["f"].T @ ds
    df = ds[:, None] * (P["layer"] if o.output == "sigmoid" else np.ones(t["f"].shape[1]))
    # 5. Features.
    if o.output == "sigmoid" and o.layer == "concat":
        dp, dq = df[:, :d].copy(), df[:, d:].copy()
    else:
        if o.factor_attention:
            d_alpha = df * x
            d_logits = t["alpha"] * (d_alpha - (t["alpha"] * d_alpha).sum(axis=1, keepdims=True))
            G["sharpness"] = (d_logits * x).sum(axis=0)
            dx = df * t["alpha"] + d_logits * P["sharpness"]
        elif o.batch_attention:
            d_alpha = (df * x).sum(axis=1, keepdims=True)
            d_logits = t["alpha"] * (d_alpha - (t["alpha"] * d_alpha).sum())
            G["sharpness"] = (d_logits * x).sum(axis=0)
            dx = df * t["alpha"] + d_logits * P["sharpness"]
        else:
            dx = df
        dp, dq = dx * q, dx * p
    # 4. Vectors of the pair.
    if o.similarity == "cosine":
        dp = (dp - p * (p * dp).sum(axis=1, keepdims=True)) / t["p_length"]
        dq = (dq - q * (q * dq).sum(axis=1, keepdims=True)) / t["q_length"]
    dz, dX, dv = np.zeros((o.num_users, d)), np.zeros_like(X), np.zeros_like(X)
    np.add.at(dz, users, dp)
    np.add.at(dv, items, dq)
    dv += t["a"].T @ dp
    # 3. Attention: log a = ℓ − β log Σ exp ℓ.
    if o.learns_attention:
        by_log = t["a"] * (dp @ t["v"].T)
        dl = by_log - o.attention_exponent * t["share"] * by_log.sum(axis=1, keepdims=True)
        G["salience"] = dl.sum(axis=0)
        if o.half_life is not None:
            G["log_decay"][0] = -np.exp(P["log_decay"][0]) * (dl * history.ages[users]).sum()
        if "query" in P:
            dX += dl.T @ t["y"]
            dy = dl @ X / np.sqrt(d)
            G["key"] = t["queries"].T @ dy
            d_queries = dy @ P["key"].T
            G["query"] = d_queries.T @ t["query_row"]
            np.add.at(
                dX if o.attention == "target" else dz,
                items if o.attention == "target" else users,
                d_queries @ P["query"],
            )
    # 2. Items aggregate their users.
    dX += dv
    if o.item_attention:
        d_p0 = t["b"].T @ dv
        dz += d_p0
        dX += t["a0"].T @ d_p0
    # 1. Users' own vectors.
    G["item_factors"] = dX
    if o.user_factors:
        G["user_factors"] = t["kept"][:, None] * dz
    return loss, G


# ---- optimizers


class Optimizer:
    """SGD, Adagrad (Duchi et al., JMLR 2011) or Adam (Kingma, Ba, ICLR 2015), in place, with lazy rows (``BY_ROW``).

    The L2 penalty ½λ‖θ‖² is added to the gradient of the rows that have one.
    """

    def __init__(self, options: Options, parameters: Parameters) -> None:
        self.options, self.steps = options, 0
        self.first = {name: np.zeros_like(value) for name, value in parameters.items()}
        self.second = {name: np.zeros_like(value) for name, value in parameters.items()}

    def step(self, parameters: Parameters, gradient: Parameters) -> None:
        o = self.options
        self.steps += 1
        for name, value in parameters.items():
            rows: Any = slice(None)
            if name in BY_ROW:
                rows = np.flatnonzero(gradient[name].reshape(len(value), -1).any(axis=1))
            g = gradient[name][rows] + o.regularization * value[rows]
            m, s = self.first[name], self.second[name]
            if o.optimizer == "sgd":
                value[rows] -= o.learning_rate * g
            elif o.optimizer == "adagrad":
                s[rows] += g * g
                value[rows] -= o.learning_rate * g / (np.sqrt(s[rows]) + EPSILON)
            else:
                m[rows] = BETA1 * m[rows] + (1 - BETA1) * g
                s[rows] = BETA2 * s[rows] + (1 - BETA2) * g * g
                rate = o.learning_rate / (1 - BETA1**self.steps)
                value[rows] -= rate * m[rows] / (np.sqrt(s[rows] / (1 - BETA2**self.steps)) + EPSILON)


def train(
    options: Options, parameters: Parameters, history: History, batches: Iterable[Batch]
) -> tuple[Parameters, list[float]]:
    """One step for each batch on a copy of the parameters; what they became, and the loss before each step."""
    learned = {name: value.copy() for name, value in parameters.items()}
    optimizer = Optimizer(options, learned)
    losses = []
    for batch in batches:
        loss, gradient = backward(options, learned, history, batch)
        optimizer.step(learned, gradient)
        losses.append(loss)
    return learned, losses


# ---- lists


def top_n(
    options: Options, parameters: Parameters, history: History, user: int, n: int, *, new_only: bool = True
) -> tuple[NDArray[np.int64], Array]:
    """The n items with the highest predictions, equal ones by rising position; without those of the history.

    Batch attention has no list: its predictions depend on which pairs are asked for together.
    """
    items = np.arange(options.num_items)
    scores = forward(options, parameters, history, np.full(len(items), user), items)["prediction"]
    if new_only:
        items = items[~history.mask[user]]
    order = np.lexsort((items, -scores[items]))[:n]
    return items[order], scores[items[order]]
