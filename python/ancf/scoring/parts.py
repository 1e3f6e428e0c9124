"""What scorers and encoders hand to each other, and to the ranker of the core."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr

Arrays = dict[str, NDArray[Any]]


class TargetAttention(NamedTuple):
    """What target attention knows of the items beside their vectors."""

    keys: NDArray[np.float32]  # (n_items, d_keys), already divided by √d_keys
    queries: NDArray[np.float32]  # (n_items, d_keys)
    item_logits: NDArray[np.float32]  # (n_items,)
    attention_exponent: float


class Layers(NamedTuple):
    """Fully connected layers that every pair goes through; see ``rust/core/src/model/layers.rs``."""

    product: int
    """How many numbers of a user's and an item's vector are multiplied; the others are sums of the first layer."""
    widths: list[int]
    numbers: NDArray[np.float32]
    """W_2, b_2, …, W_L, b_L, o, b: matrices with a row for each input."""

    def output(self, sums: NDArray[np.float64]) -> tuple[float, float]:
        """For the sums of one pair in the first layer: what the last layer makes of them, and the bias b."""
        hidden, at = np.maximum(sums, 0.0), 0
        for inputs, outputs in pairwise(self.widths):
            matrix = self.numbers[at : at + inputs * outputs].reshape(inputs, outputs).astype(np.float64)
            at += (inputs + 1) * outputs
            hidden = np.maximum(hidden @ matrix + self.numbers[at - outputs : at], 0.0)
        return float(hidden @ self.numbers[at:-1]), float(self.numbers[-1])


class Placed(NamedTuple):
    """Items that have their scores from their attributes, wholly or in part."""

    items: NDArray[np.int32]
    """Positions (n,), rising."""
    companions: Csr
    """What each of them is a mixture of: a row for each, shares of known items."""


class EncodedUsers(NamedTuple):
    """Bare histories as the ranker takes users."""

    vectors: NDArray[np.float32]
    """(n, d)"""
    history: Csr | None = None
    """The weighted history that the sparse part of the score, or target attention, reads."""
    shift: NDArray[np.float32] | None = None
    """What is added to the scores that come out (n,)."""


class Folding(NamedTuple):
    """How the core folds a history in by itself; see ``rust/core/src/model/fold_in.rs``."""

    priors: NDArray[np.float32] | None
    """Of the attention (n_items,); None without vectors."""
    half_lives: tuple[float | None, float | None]
    """In days, of item-item weights and of repetitions."""
    uses_weights: bool
    sees_sets: tuple[bool, bool]
    """``Encoder.sees_sets``, without and with ``filter_seen``."""
