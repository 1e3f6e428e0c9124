"""What is left of purchases after returns: each return takes back what was bought before it, latest purchase first.

With S_k the sum of a pair's quantities up to event k, what is left of purchase k is min_{t≥k} S_t - S_{k-1}, at least 0
and at most what was bought: later returns reduce it only after what was bought later is used up, and a return of
something bought before the table begins takes nothing back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.report import Report

NETTED = "are returns, netted against earlier purchases"
"""The text of the reason "returns" in a report, where they were not dropped."""


def n_netted(report: Report) -> int:
    """How many returns were taken off purchases of their own table when it was read."""
    return sum(reason.rows for reason in report.reasons if reason.name == "returns" and reason.text == NETTED)


def remaining_quantities(pairs: NDArray[Any], quantities: NDArray[Any]) -> NDArray[np.float64]:
    """What is left of each event; 0 for returns.

    Parameters
    ----------
    pairs, quantities : arrays (n,)
        Sorted by pair, and within a pair by time with purchases before returns.

    Examples
    --------
    >>> remaining_quantities(np.array([0, 0, 0, 1]), np.array([2.0, 3.0, -4.0, -1.0])).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    quantity = pd.Series(np.asarray(quantities, np.float64))
    running = quantity.groupby(pairs).cumsum()
    lowest_from_here = running[::-1].groupby(pairs[::-1]).cummin()[::-1]
    before = np.append(0.0, running.to_numpy()[:-1])
    before[1:][pairs[1:] != pairs[:-1]] = 0.0
    left = lowest_from_here.to_numpy() - before
    values = quantity.to_numpy()
    # Cumulative sums have rounding errors of about 1e-16 of what was bought.
    left = np.where(left >= values * (1 - 1e-9), values, left)
    left[left <= 1e-9 * np.abs(values)] = 0.0
    return np.asarray(left)


def had_after_returns(pairs: NDArray[Any], quantities: NDArray[Any], had: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which events say that somebody still has the item: a return takes that back from purchases alone.

    Parameters
    ----------
    pairs, quantities : arrays (n,)
        As ``remaining_quantities`` takes them.
    had : bool array (n,)
        Which events are purchases or returns; others are interest.

    Examples
    --------
    >>> bought_looked_at_returned = np.array([10.0, 1.0, -10.0])
    >>> had_after_returns(np.zeros(3), bought_looked_at_returned, np.array([True, False, True])).tolist()
    [False, False, False]
    """
    still = np.zeros(len(had), bool)
    at = np.flatnonzero(had)
    still[at] = remaining_quantities(np.asarray(pairs)[at], np.asarray(quantities)[at]) > 0
    return still
