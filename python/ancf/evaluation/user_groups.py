"""Groups of the users measured: by how long their history is, by how many buy what they buy, by a label."""

import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.errors import InvalidParameterError

HISTORY_EDGES = (0, 1, 2, 5, 10, 20, 50)
"""The shortest history of each group; none is "new"."""
POPULARITY_GROUPS = 3


class UserGroups(NamedTuple):
    """A partition of users: each belongs to one group."""

    labels: tuple[Hashable, ...]
    groups: NDArray[np.int64]
    """The group of each user measured, its place in ``labels``."""


def by_history(lengths: NDArray[np.float64]) -> UserGroups:
    """Groups that are the same for every table; those that nobody is in are left out.

    >>> by_history(np.array([0.0, 7, 1, 9])).labels
    ('new', '1', '5-9')
    """
    labels = [
        "new" if not low else f"{low}+" if high is None else f"{low}" if high == low + 1 else f"{low}-{high - 1}"
        for low, high in zip(HISTORY_EDGES, [*HISTORY_EDGES[1:], None], strict=True)
    ]
    used, groups = np.unique(np.searchsorted(HISTORY_EDGES, lengths, side="right") - 1, return_inverse=True)
    return UserGroups(tuple(labels[each] for each in used.tolist()), groups.astype(np.int64))


def by_quantile(numbers: NDArray[np.float64], bins: int, unit: str = "") -> UserGroups:
    """Groups of about the same size; equal numbers are in one group. Labels name the smallest and largest number.

    >>> by_quantile(np.array([3.0, 1, 1, 8]), 2, " buyers")
    UserGroups(labels=('1 buyers', '3 to 8 buyers'), groups=array([1, 0, 0, 1]))
    """
    _, at, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(numbers)
    kept, groups = np.unique((middle * bins).astype(np.int64)[at], return_inverse=True)
    labels = []
    for group in range(len(kept)):
        low, high = numbers[groups == group].min(), numbers[groups == group].max()
        labels.append(f"{low:.4g}{unit}" if low == high else f"{low:.4g} to {high:.4g}{unit}")
    return UserGroups(tuple(labels), groups.astype(np.int64))


def by_label(ids: NDArray[Any], labels_of: Mapping[Any, Any], what: str) -> UserGroups:
    """The groups of users or items in ascending order of their labels; None last.

    Raises
    ------
    InvalidParameterError
        If none has a label.
    """
    found = [labels_of.get(each) for each in ids.tolist()]
    found = [None if each is None or each != each else each for each in found]
    if all(each is None for each in found):
        raise InvalidParameterError(
            f"by: none of the {what}s measured has a label. Give labels by {what} id, such as {ids.tolist()[0]!r}."
        )
    present = {each for each in found if each is not None}
    try:
        labels: list[Any] = sorted(present)
    except TypeError:
        labels = sorted(present, key=str)
    labels += [None] if None in found else []
    at = {label: group for group, label in enumerate(labels)}
    return UserGroups(tuple(labels), np.array([at[each] for each in found], np.int64))


class Mean(NamedTuple):
    """The mean of those who have a value; NaN where nobody has, and of the error where fewer than two have."""

    n: int
    value: float
    stderr: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Mean":
        """Over the finite values."""
        values = values[np.isfinite(values)]
        n = len(values)
        spread = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return cls(n, float(values.mean()) if n else math.nan, spread)
