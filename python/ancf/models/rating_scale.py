"""In which unit ratings are learned: stars as they are, quantities of any size by their spread.

Steps of gradient descent are as large as the errors. A rate that suits stars overflows on quantities, most of which are
small and a few of which are thousands.

    unit    half the distance between the 16th and the 84th percentile: the standard deviation where ratings are normal,
            and not moved by a few large ones
    limits  median ± 10 units; what lies beyond counts as lying there, as Huber's loss bounds what an outlier may do
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

REACH = 10.0
"""Ratings this near to their median are taken as they are; of others, so many units on either side count."""
_PERCENTILES = (16.0, 84.0)


class RatingScale(NamedTuple):
    """A unit of ratings, and the range in which they count."""

    unit: float = 1.0
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of(cls, ratings: NDArray[np.float32]) -> Self:
        """The scale of a table's ratings; the plain one where all are within ten of their median.

        Examples
        --------
        >>> import numpy as np
        >>> RatingScale.of(np.array([1, 4, 5, 3, 5], np.float32))
        RatingScale(unit=1.0, low=-inf, high=inf)
        >>> RatingScale.of(np.array([1, 2, 2, 4, 9000], np.float32)).high < 20_000
        True
        """
        values = ratings.astype(np.float64)
        median = float(np.median(values))
        if np.abs(values - median).max() <= REACH:
            return cls()
        low, high = np.percentile(values, _PERCENTILES)
        # Where most are the same, the few others say what a unit is.
        unit = float(high - low) / 2 or float(np.abs(values - median).mean())
        return cls(unit, median - REACH * unit, median + REACH * unit)

    @property
    def is_limited(self) -> bool:
        """Whether ratings are not taken as they are."""
        return bool(np.isfinite(self.high))

    def settings(self) -> dict[str, Any]:
        """What ``history_`` says of it; nothing of the plain one."""
        return {"rating_unit": self.unit, "rating_limits": [self.low, self.high]} if self.is_limited else {}

    def clip(self, ratings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What counts of each rating."""
        return np.clip(ratings.astype(np.float64), self.low, self.high).astype(np.float32)

    def in_units(self, ratings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What counts of each rating, in units."""
        return (np.clip(ratings.astype(np.float64), self.low, self.high) / self.unit).astype(np.float32)
