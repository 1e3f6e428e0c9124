"""What mattered in a search: how much of the spread of its figures goes with each option.

    η² = Σ_g n_g (ȳ_g − ȳ)² / Σ (y − ȳ)²        ε² = 1 − (1 − η²) (n − 1) / (n − k), at least 0

Trials are grouped by an option's value, numbers by their thirds; η² is the correlation ratio (Fisher 1925), ε² the
same without what k groups explain by chance (Kelley 1935). Each option is looked at alone: what two do only together
does not show, and the sum need not be 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.search_space import Categorical, SearchSpace
from ancf.tuning.trial import Trial

MIN_TRIALS = 12
"""Four for each third of a number: with fewer, chance explains most."""
_GROUPS = 3


def setting_importance(space: SearchSpace, trials: Sequence[Trial], given: Mapping[str, Any]) -> dict[str, float]:
    """Option → its part of the spread, from the most on; empty where there are too few complete trials to say."""
    complete = [trial for trial in trials if trial.value is not None]
    values = np.array([trial.value for trial in complete], np.float64)
    if len(complete) < MIN_TRIALS or values.min() == values.max():
        return {}
    parts: dict[str, float] = {}
    for name, dimension in space.items():
        settings: list[Any] = [trial.params.get(name, given.get(name)) for trial in complete]
        numbers = [isinstance(each, (int, float)) and not isinstance(each, bool) for each in settings]
        if isinstance(dimension, Categorical):
            kept, groups = np.ones(len(settings), bool), _codes(settings)
        else:
            # What a model chooses itself ("auto") has no place among the numbers.
            kept = np.array(numbers)
            groups = _thirds(np.array([float(each) for each, is_one in zip(settings, numbers, strict=True) if is_one]))
        parts[name] = _explained(values[kept], groups)
    return dict(sorted(parts.items(), key=lambda each: -each[1]))


def _codes(settings: list[Any]) -> NDArray[np.intp]:
    names = [repr(each) for each in settings]
    return np.unique(names, return_inverse=True)[1]


def _thirds(numbers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Equal numbers are in one group."""
    cuts = np.quantile(numbers, [at / _GROUPS for at in range(1, _GROUPS)]) if len(numbers) else numbers
    return np.searchsorted(cuts, numbers)


def _explained(values: NDArray[np.float64], groups: NDArray[np.intp]) -> float:
    present, codes = np.unique(groups, return_inverse=True)
    n, k = len(values), len(present)
    spread = float(((values - values.mean()) ** 2).sum()) if n else 0.0
    if k < 2 or n <= k or spread == 0:
        return 0.0
    means = np.bincount(codes, weights=values) / np.bincount(codes)
    between = float((np.bincount(codes) * (means - values.mean()) ** 2).sum())
    return max(0.0, 1.0 - (1.0 - between / spread) * (n - 1) / (n - k))
