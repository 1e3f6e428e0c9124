"""NeuMF and LightGCN in float64 NumPy: the specification that the Rust core is compared with, beside ``reference``.

    NeuMF     s = b + Σ_k h_k p_k q_k + ⟨o, h_L⟩,  h_1 = max(p' U + q' V + c, 0),  h_l = max(h_{l−1} W_l + b_l, 0)
              loss = mean of log(1 + e^s) − y s                              GMF: no layers; MLP: no product
    LightGCN  f = 1/(K + 1) Σ_{k = 0..K} Â^k e
              loss = mean of −log σ(⟨f_u, f_i − f_j⟩) + λ/2 (‖e_u‖² + ‖e_i‖² + ‖e_j‖²)

He, Liao, Zhang, Nie, Hu, Chua, *Neural Collaborative Filtering* (WWW 2017); He, Deng, Wang, Li, Zhang, Wang,
*LightGCN* (SIGIR 2020). [U; V] is the first layer over the concatenation [p'; q'].
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Positions = NDArray[np.int64]
Parameters = dict[str, Array]


@dataclass(frozen=True)
class Network:
    """The shape of NeuMF."""

    product: int
    """g: numbers of an embedding that are multiplied; 0 for MLP."""
    embedding: int
    """e: numbers of an embedding that the layers read; 0 for GMF."""
    widths: tuple[int, ...]
    """Widths of the layers; none for GMF."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights that are not embeddings, by name, in the order in which the core keeps them."""
        found: dict[str, tuple[int, ...]] = {}
        if self.widths:
            found |= {"U": (self.embedding, self.widths[0]), "V": (self.embedding, self.widths[0])}
            found["c"] = (self.widths[0],)
            for at, (inputs, outputs) in enumerate(pairwise(self.widths), 2):
                found |= {f"W{at}": (inputs, outputs), f"b{at}": (outputs,)}
            found["o"] = (self.widths[-1],)
        return {**found, "b": (), "h": (self.product,)}

    def unpack(self, weights: NDArray[np.floating]) -> Parameters:
        """The weights by name, from one array."""
        found, at = {}, 0
        for name, shape in self.shapes().items():
            size = int(np.prod(shape))
            found[name] = np.array(weights[at : at + size], np.float64).reshape(shape)
            at += size
        return found

    def pack(self, weights: Parameters) -> Array:
        """The same back in one array."""
        return np.concatenate([np.ravel(weights[name]) for name in self.shapes()])

    def loss_and_gradient(
        self, users: Array, items: Array, weights: Parameters, u: Positions, i: Positions, y: Array
    ) -> tuple[float, Array, Array, Parameters]:
        """The mean cross-entropy of pairs (u, i) with labels y; its slopes by ``users``, ``items`` and ``weights``.

        ``users`` (n_users, g + e) and ``items`` (n_items, g + e) are embeddings, those of the product first.
        """
        g, n_layers = self.product, len(self.widths)
        p, q = users[u], items[i]
        # Forward.
        score = weights["b"] + (p[:, :g] * q[:, :g]) @ weights["h"]
        hidden: list[Array] = []
        if n_layers:
            hidden.append(np.maximum(p[:, g:] @ weights["U"] + q[:, g:] @ weights["V"] + weights["c"], 0.0))
            for at in range(2, n_layers + 1):
                hidden.append(np.maximum(hidden[-1] @ weights[f"W{at}"] + weights[f"b{at}"], 0.0))
            score = score + hidden[-1] @ weights["o"]
        loss = float(np.mean(np.logaddexp(0.0, score) - y * score))
        # Back.
        slope = (1.0 / (1.0 + np.exp(-score)) - y) / len(y)
        by_weight: Parameters = {"b": np.array(slope.sum()), "h": slope @ (p[:, :g] * q[:, :g])}
        by_p, by_q = np.zeros_like(p), np.zeros_like(q)
        by_p[:, :g] = slope[:, None] * weights["h"] * q[:, :g]
        by_q[:, :g] = slope[:, None] * weights["h"] * p[:, :g]
        if n_layers:
            by_weight["o"] = slope @ hidden[-1]
            back = slope[:, None] * weights["o"]
            for at in range(n_layers, 1, -1):
                back = back * (hidden[at - 1] > 0)
                by_weight[f"W{at}"], by_weight[f"b{at}"] = hidden[at - 2].T @ back, back.sum(axis=0)
                back = back @ weights[f"W{at}"].T
            back = back * (hidden[0] > 0)
            by_weight["U"], by_weight["V"], by_weight["c"] = p[:, g:].T @ back, q[:, g:].T @ back, back.sum(axis=0)
            by_p[:, g:], by_q[:, g:] = back @ weights["U"].T, back @ weights["V"].T
        by_users, by_items = np.zeros_like(users), np.zeros_like(items)
        np.add.at(by_users, u, by_p)
        np.add.at(by_items, i, by_q)
        return loss, by_users, by_items, by_weight


def propagate(has: Array, n_layers: int, users: Array, items: Array) -> tuple[Array, Array]:
    """f of users and items; ``has`` (n_users, n_items) is 1 where a user has an item, and no row or column is empty."""
    weights = has / np.sqrt(has.sum(axis=1, keepdims=True) * has.sum(axis=0, keepdims=True))
    sums, layer = (users.copy(), items.copy()), (users, items)
    for _ in range(n_layers):
        layer = weights @ layer[1], weights.T @ layer[0]
        sums = sums[0] + layer[0], sums[1] + layer[1]
    return sums[0] / (n_layers + 1), sums[1] / (n_layers + 1)


def lightgcn_loss_and_gradient(
    has: Array, n_layers: int, penalty: float, users: Array, items: Array, u: Positions, i: Positions, j: Positions
) -> tuple[float, Array, Array]:
    """The loss of purchases (u, i) against items j, and its slopes by the embeddings ``users`` and ``items``.

    Â is symmetric, so the slopes by f go back through the same propagation.
    """
    f_users, f_items = propagate(has, n_layers, users, items)
    margin = np.sum(f_users[u] * (f_items[i] - f_items[j]), axis=1)
    squares = sum(np.sum(table**2) for table in (users[u], items[i], items[j]))
    loss = float(np.mean(np.logaddexp(0.0, -margin)) + penalty / 2 * squares / len(u))
    slope = (-1.0 / (1.0 + np.exp(margin)) / len(u))[:, None]
    by_users, by_items = np.zeros_like(users), np.zeros_like(items)
    np.add.at(by_users, u, slope * (f_items[i] - f_items[j]))
    np.add.at(by_items, i, slope * f_users[u])
    np.add.at(by_items, j, -slope * f_users[u])
    by_users, by_items = propagate(has, n_layers, by_users, by_items)
    np.add.at(by_users, u, penalty / len(u) * users[u])
    for used in (i, j):
        np.add.at(by_items, used, penalty / len(u) * items[used])
    return loss, by_users, by_items
