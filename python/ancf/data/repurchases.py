"""How much more often than others an item is bought again these days.

    r_i = (c_i + K s) / (s b_i + K s)         b_i: the people who bought i first at least 30 days ago, c_i: those of
                                              them who bought it once more within the last 30 days, s = Σ c / Σ b
    K   = 1 / φ − 1, at least 20              φ = (Σ (c_i² / b_i) − s Σ c) / (s − s²) − (n − 1)
                                                  divided by Σ b − Σ b_i² / Σ b − (n − 1),    n: items with b_i > 0

So an item has 1 of which nothing is known. φ is the part that items have in whether somebody comes back, the
intraclass correlation of c_i out of b_i, estimated by moments: where items differ by no more than chance makes them,
all have 1. That r is of the last days, and not of all, is most of its worth: what people come back for goes with the
season (``docs/measurements/choices.md``).
"""

import math

import numpy as np
from numpy.typing import NDArray

REPURCHASE_DAYS = 30
_LEAST_SMOOTHING = 20.0


def repurchase_rates(
    items: NDArray[np.int32], first: NDArray[np.int64], last: NDArray[np.int64], today: int, n_items: int
) -> NDArray[np.float64]:
    """r of the items (n_items,), from the first and the last day of purchase of each pair of a user and an item."""
    known = first <= today - REPURCHASE_DAYS
    returned = known & (last > today - REPURCHASE_DAYS)
    buyers = np.bincount(items[known], minlength=n_items)
    back = np.bincount(items[returned], minlength=n_items)
    correlation = _intraclass_correlation(buyers[buyers > 0], back[buyers > 0])
    if correlation <= 0:
        return np.ones(n_items)
    share = back.sum() / buyers.sum()
    smoothing = max(1 / correlation - 1, _LEAST_SMOOTHING)
    return np.asarray((back + smoothing * share) / (share * (buyers + smoothing)))


def _intraclass_correlation(buyers: NDArray[np.int64], back: NDArray[np.int64]) -> float:
    """φ, and 0 where it cannot be told."""
    n, all_buyers, all_back = len(buyers) - 1, int(buyers.sum()), int(back.sum())
    if not 0 < all_back < all_buyers:
        return 0.0
    pairs = all_buyers - int((buyers * buyers).sum()) / all_buyers - n
    share = all_back / all_buyers
    # Summed exactly, so that it is the same anywhere.
    spread = math.fsum((back * back / buyers).tolist()) - share * all_back
    return (spread / (share - share * share) - n) / pairs if pairs > 0 else 0.0
