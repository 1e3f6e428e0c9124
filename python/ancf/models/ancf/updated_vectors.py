"""Item vectors over all purchases, of the bare ones that training left.

As training makes them, but for x of an item that has other buyers by now:

    v_j = x'_j + s_j           s_j = Σ_u b_ju p⁰_u,   p⁰_u = Σ_j a_uj x_j              (``item_attention``, else s = 0)
    x'_j = (m x_j + (n − m) c t_j) / n             t_j = Σ_u b_ju p̂_u

over users u who have j; m is their number in training, n that of today (x'_j = x_j where n is no more than m), p̂_u the
unit vector of u by x + s. So a new item has c t_j, where training would have pulled it to. c is what describes x by t
best (least squares) over trained items with at most 30 buyers.
"""

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import inner_products
from ancf.data.csr import Csr
from ancf.models.ancf.options import Settings

Floats = NDArray[np.float32]

# Trained items with so many buyers at most are like new ones.
_FEW_BUYERS = 30


def vectors_of_today(
    pairs: Csr,
    priors: Floats,
    bare: Floats,
    n_trained: NDArray[np.int32],
    n_buyers: NDArray[np.int32],
    graph: bool,
    settings: Settings,
) -> Floats:
    """v of all items (n_items, d).

    ``priors``: what each weighs in a history; ``bare`` has rows of zeros for items that training did not have,
    ``n_trained`` how many buyers each had then; ``graph``: whether there is an s.
    """
    n_items, threads = len(bare), settings.num_threads
    of_items, parts = _native.attention_weights(
        pairs, n_items, settings.attention, settings.attention_exponent, threads
    )
    buyers = Csr(*parts)
    smoothed = np.zeros_like(bare)
    if graph:
        smoothed = _native.weighted_sums(
            buyers, _native.weighted_sums(pairs.with_data(of_items), bare, threads), threads
        )
    vectors = bare + smoothed
    grown = np.flatnonzero(n_buyers > n_trained)
    if not len(grown):
        return vectors
    units = _native.user_vectors(pairs, vectors, priors, threads)
    known = (n_trained > 0) & (n_buyers > 0)
    few = np.flatnonzero(known & (n_buyers <= _FEW_BUYERS))
    few = few if len(few) else np.flatnonzero(known)
    per_sum = _least_squares(_native.weighted_sums(buyers.take(few), units, threads), bare[few])
    of_buyers = per_sum * _native.weighted_sums(buyers.take(grown), units, threads)
    share = (n_trained[grown] / n_buyers[grown]).astype(np.float32)[:, None]
    vectors[grown] = share * bare[grown] + (1 - share) * of_buyers + smoothed[grown]
    return vectors


def _least_squares(given: Floats, wanted: Floats) -> np.float32:
    """c of the smallest Σ (wanted − c given)²."""
    flat, other = given.reshape(1, -1), wanted.reshape(1, -1)
    squares = inner_products(flat, flat)[0, 0]
    return np.float32(inner_products(flat, other)[0, 0] / squares) if squares > 0 else np.float32(0.0)
