"""What errors of predictions are made of: sums over each user's pairs, whose ratio to their number is the figure."""

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class PairErrors(NamedTuple):
    """The errors of the pairs that were predicted, added up for each user who has one."""

    counts: NDArray[np.float64]
    """Pairs of each user."""
    squares: NDArray[np.float64]
    absolutes: NDArray[np.float64]

    @classmethod
    def of(cls, users: NDArray[np.int64], differences: NDArray[np.float64]) -> Self:
        """Of predictions minus truths, each with the number of its user."""
        found, at = np.unique(users, return_inverse=True)
        n = len(found)
        return cls(
            np.bincount(at, minlength=n).astype(np.float64),
            np.bincount(at, weights=differences**2, minlength=n).astype(np.float64),
            np.bincount(at, weights=np.abs(differences), minlength=n).astype(np.float64),
        )

    def sums(self, metric: str) -> NDArray[np.float64]:
        """What is added up for ``mse``, ``rmse`` or ``mae``."""
        return self.absolutes if metric == "mae" else self.squares

    def stderr(self, metric: str) -> float:
        """The standard error of the figure over users: that of a ratio of two sums, to first order.

        Cochran, *Sampling Techniques* (1977), 6.4; of the root by its slope.

        Examples
        --------
        >>> errors = PairErrors.of(np.array([1, 1, 2]), np.array([1.0, -1.0, 3.0]))
        >>> round(errors.stderr("mae"), 3)
        0.889
        """
        n, sums = len(self.counts), self.sums(metric)
        if n < 2:
            return math.nan
        figure = sums.sum() / self.counts.sum()
        spread = math.sqrt(n / (n - 1) * float(((sums - figure * self.counts) ** 2).sum())) / float(self.counts.sum())
        if metric != "rmse":
            return spread
        return spread / (2 * math.sqrt(figure)) if figure else 0.0
